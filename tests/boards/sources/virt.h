/* What the RISC-V test programs share: QEMU's "virt" board, output, CSRs. */
#define REG(a) (*(volatile uint32_t *)(uintptr_t)(a))
#define UART (*(volatile uint8_t *)0x10000000)
#define FINISH REG(0x100000)
#define MSIP REG(0x2000000)
#define READ(csr) ({ uintptr_t v; __asm__ volatile("csrr %0, " #csr : "=r"(v)); v; })
#define WRITE(csr, value) __asm__ volatile("csrw " #csr ", %0" ::"r"((uintptr_t)(value)) : "memory")
#define SET(csr, value) __asm__ volatile("csrs " #csr ", %0" ::"r"((uintptr_t)(value)) : "memory")
#define CLEAR(csr, value) __asm__ volatile("csrc " #csr ", %0" ::"r"((uintptr_t)(value)) : "memory")
#include "console.h"
static uint64_t now(void) { return REG(0x200BFF8) | (uint64_t)REG(0x200BFFC) << 32; }
static void alarm(uint64_t when) {
    REG(0x2004004) = ~0u;
    REG(0x2004000) = (uint32_t)when;
    REG(0x2004004) = (uint32_t)(when >> 32);
}
static void finish(void) {
    say("end\n");
    FINISH = 0x5555;
    for (;;) {}
}
static void program(void);
__attribute__((naked, section(".text.start"))) void start(void) {
    __asm__ volatile("la sp, stack_top\n j program");
}
