/* RISC-V machine mode, less usual: order and nesting of traps, CSRs that keep some bits only, CLINT and PLIC. */
#include "virt.h"
static volatile uintptr_t resume, plan;
__attribute__((interrupt, aligned(4))) void on_trap(void) {
    uintptr_t cause = READ(mcause), place = READ(mepc), status = READ(mstatus);
    note((intptr_t)cause < 0 ? "interrupt" : "cause", cause & 15);
    note(" status", status & 0x1888);
    if ((intptr_t)cause < 0) {
        if ((cause & 15) == 7) alarm(~0ull);
        if ((cause & 15) == 3) MSIP = 0;
        note(" pending", READ(mip) & 0x888);
        return;
    }
    note(" value", READ(mtval));
    if (cause != 1) note(" offset", place - resume);
    if (plan == 1) {
        plan = 0, MSIP = 1;
        SET(mstatus, 8);
        say(" behind the nested interrupt\n");
        CLEAR(mstatus, 8);
        note(" status", READ(mstatus) & 0x1888);
        WRITE(mstatus, status);
    }
    if (plan == 2) CLEAR(mstatus, 0x80);
    WRITE(mepc, resume);
}
#define TRY(name, assembly)                                                                                            \
    say("- " name "\n");                                                                                               \
    __asm__ volatile("la t0, 9f\n" STORE " t0, 0(%0)\n .option push\n .option norvc\n" assembly                        \
                     "\n nop\n .option pop\n .align 2\n 9: nop" ::"r"(&resume) : "t0", "t1", "t2", "memory")
#if __riscv_xlen == 64
#define STORE "sd"
#else
#define STORE "sw"
#endif
static void csrs(void) {
    WRITE(mtvec, (uintptr_t)on_trap | 2);
    note("mtvec", READ(mtvec) == (uintptr_t)on_trap);
    WRITE(mscratch, (uintptr_t)-5);
    note("mscratch", READ(mscratch));
    WRITE(mie, ~0ul);
    note("mie", READ(mie) & 0x888);
    WRITE(mie, 0);
    SET(mip, 0x888);
    note("mip", READ(mip) & 0x888);
    WRITE(mcause, 0x8 | (uintptr_t)1 << (__riscv_xlen - 1));
    note("mcause", READ(mcause));
    note("mhartid", READ(mhartid));
    TRY("a read-only register written", "csrw mhartid, t0");
    TRY("a read-only register whose bits are set", "csrs mhartid, t0");
    TRY("a read-only register read", "csrrs t1, mhartid, x0");
    TRY("cycle written", "csrw cycle, t0");
    TRY("mcountinhibit", "csrwi 0x320, 0");
    TRY("half an instruction of zeros", ".half 0");
    TRY("reserved", ".word 0x0000707b");
    TRY("a jump to nowhere", "li t1, 0x18000000\n jalr t1");
    TRY("misaligned", "mv t1, sp\n lw t2, -7(t1)\n sh t2, -7(t1)");
    TRY("sc without lr", "addi t1, sp, -16\n sc.w t2, x0, (t1)");
    TRY("fence.i and fence", ".word 0x0000100f\n fence");
}
static void traps(void) {
    SET(mie, 0x88);
    SET(mstatus, 8);
    plan = 1;
    TRY("nested", "ecall");
    note("status", READ(mstatus) & 0x1888);
    plan = 2;
    TRY("returns with interrupts off", "ecall");
    plan = 0;
    note("status", READ(mstatus) & 0x1888);
    say("- both pending\n");
    MSIP = 0xFE, note("msip", MSIP), MSIP = 0xFF, note("msip", MSIP);
    alarm(5);
    note("mip", READ(mip) & 0x888);
    SET(mstatus, 8);
    note("mip", READ(mip) & 0x888);
    CLEAR(mstatus, 8);
    say("- time set back\n");
    alarm((uint64_t)1 << 40);
    note("mip", READ(mip) & 0x888);
    REG(0x200BFFC) = 0x101;
    note("mip", READ(mip) & 0x888);
    REG(0x200BFFC) = 0, REG(0x200BFF8) = 0;
    note("mip", READ(mip) & 0x888), note("high", REG(0x200BFFC));
    CLEAR(mie, 0x88);
}
static void plic(void) {
    say("- plic\n");
    REG(0xC000028) = 0xFF, note("priority", REG(0xC000028));
    REG(0xC002000) = ~0u, note("enabled", REG(0xC002000) | 1);
    REG(0xC200000) = 0xFE, note("threshold", REG(0xC200000));
    note("claim", REG(0xC200004));
    REG(0xC200004) = 10, note("pending", REG(0xC001000));
}
__attribute__((used)) static void program(void) {
    WRITE(mtvec, (uintptr_t)on_trap);
    alarm(~0ull);
    csrs(), traps(), plic();
    finish();
}
