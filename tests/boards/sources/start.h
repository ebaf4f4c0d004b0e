/* What the bare-metal test programs share: vector table, output by semihosting, system registers. */
#include <stdint.h>
#define REG(a) (*(volatile uint32_t *)(a))
#define BYTE(a) (*(volatile uint8_t *)(a))
#define SYST_CSR REG(0xE000E010)
#define SYST_RVR REG(0xE000E014)
#define SYST_CVR REG(0xE000E018)
#define ISER REG(0xE000E100)
#define ICER REG(0xE000E180)
#define ISPR REG(0xE000E200)
#define ICPR REG(0xE000E280)
#define IABR REG(0xE000E300)
#define IPR(n) REG(0xE000E400 + 4 * ((n) / 4))
#define ICSR REG(0xE000ED04)
#define VTOR REG(0xE000ED08)
#define AIRCR REG(0xE000ED0C)
#define CCR REG(0xE000ED14)
#define SHPR2 REG(0xE000ED1C)
#define SHPR3 REG(0xE000ED20)
#define SHCSR REG(0xE000ED24)
#define CFSR REG(0xE000ED28)
#define HFSR REG(0xE000ED2C)
#define BFAR REG(0xE000ED38)
#define CPACR REG(0xE000ED88)
#define BARRIER() __asm__ volatile("dsb\n isb" ::: "memory")
#define MSR(name, value) __asm__ volatile("msr " name ", %0\n isb" ::"r"(value) : "memory")
#define MRS(name) ({ uint32_t v; __asm__ volatile("mrs %0, " name : "=r"(v)); v; })

static inline uint32_t semihost(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static void say(const char *text) { semihost(4, text); }
static void hex(uint32_t value) {
    char text[10];
    for (int i = 0; i < 8; i++) text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
    text[8] = 0;
    say(text);
}
static void note(const char *what, uint32_t value) { say(what), say(" "), hex(value), say("\n"); }
static void finish(void) {
    say("end\n");
    semihost(0x18, (void *)0x20026);
    for (;;) {}
}
static void irq_priority(int n, uint32_t priority) {
    int shift = 8 * (n % 4);
    IPR(n) = (IPR(n) & ~(255u << shift)) | priority << shift;
}
void program(void);
extern uint32_t stack_top[], data_load[], data_start[], data_end[], bss_start[], bss_end[];
void reset(void) {
    for (uint32_t *from = data_load, *to = data_start; to < data_end;) *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
    program();
    finish();
}
void unexpected(void) { note("unexpected", MRS("ipsr")), finish(); }
/* board.ld makes those that a program has not `unexpected`. */
void on_nmi(void);
void on_hard(void);
void on_mem(void);
void on_bus(void);
void on_usage(void);
void on_svc(void);
void on_pendsv(void);
void on_systick(void);
void on_irq0(void);
void on_irq1(void);
void on_irq2(void);
void on_irq3(void);
__attribute__((section(".vectors"), used, aligned(128))) void *const vectors[32] = {
    stack_top, reset, on_nmi, on_hard, on_mem, on_bus, on_usage, 0, 0, 0, 0, on_svc, 0, 0, on_pendsv, on_systick,
    on_irq0, on_irq1, on_irq2, on_irq3, unexpected, unexpected, unexpected, unexpected,
    unexpected, unexpected, unexpected, unexpected, unexpected, unexpected, unexpected, unexpected,
};
/* A handler that calls what##_c with its EXC_RETURN value and frame. */
#define HANDLER(what)                                                                                                  \
    void what##_c(uint32_t *frame, uint32_t link);                                                                     \
    __attribute__((naked)) void what(void) {                                                                           \
        __asm__ volatile(                                                                                              \
            "mov r1, lr\n mov r2, lr\n movs r3, #4\n tst r2, r3\n bne 1f\n mrs r0, msp\n b 2f\n 1: mrs r0, psp\n"        \
            "2: push {r1, lr}\n bl " #what "_c\n pop {r1, pc}\n");                                                     \
    }                                                                                                                  \
    void what##_c(uint32_t *frame, uint32_t link)
