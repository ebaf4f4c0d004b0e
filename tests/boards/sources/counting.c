int counter;
int add(int a,int b){ return a+b; }
__attribute__((noinline)) int hooked(int x){ __asm__ volatile("nop\n nop\n nop\n nop\n nop\n nop"); return x+1; }
float half(float x){ return x*0.5f; }
void main_loop(void){ for(;;){ counter=hooked(counter); } }
extern unsigned char stack_top[];
__attribute__((section(".vectors"),used)) void *const v[16]={stack_top,main_loop};
