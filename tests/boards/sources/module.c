extern int counter; int add(int,int); extern int host(int);
int twice(int x){ return add(x,x)+host(x); }
int peek(void){ return counter; }

