/* Exceptions, gates, privilege levels and hardware interrupts of an i386. Prints what happens, in order. */
#include "pc.h"

extern u32 stack_top[], kernel_top[], user_top[];
static volatile u32 ticks, skip;

__asm__(".section .multiboot,\"a\"\n"
        ".long 0x1BADB002, 0, -0x1BADB002\n"
        ".text\n"
        ".globl start\n"
        "start: mov $stack_top, %esp\n call run\n"
        "common: pusha\n push %esp\n call handle\n pop %esp\n popa\n add $8, %esp\n iret\n");

static u32 resume; /* where the kernel continues after user code */

static void describe(struct frame *f) {
    print("exception ");
    print_hex(f->vector);
    print(" code ");
    print_hex(f->code);
    print(" cs ");
    print_hex(f->cs & 0xFFFF);
    print(" flags ");
    print_hex(f->eflags & 0x600); /* DF, IF: QEMU does not set RF */
    print_char('\n');
}

void handle(struct frame *f) {
    u32 flags;
    __asm__ volatile("pushf; pop %0" : "=r"(flags));
    if (f->vector >= 0x20 && f->vector < 0x30) {
        ticks++;
        if (f->vector == 0x20)
            line("timer, if", flags & 0x200);
        else
            line("irq", f->vector - 0x20);
        if (f->vector == 0x24) {
            line("iir", in8(COM1 + 2) & 0xF);
            out8(COM1 + 1, 0);
        }
        if (f->vector >= 0x28)
            out8(PIC2, 0x20);
        out8(PIC1, 0x20);
        return;
    }
    describe(f);
    if (f->vector >= 0x40) {
        line("software, if", flags & 0x200);
        if (f->vector == 0x42) { /* from user code: where it was, and back to the kernel */
            line("user esp", f->user_sp - (u32)user_top);
            line("user ss", f->user_ss & 0xFFFF);
        }
        if (f->vector == 0x43) {
            f->cs = KERNEL_CODE;
            f->eflags |= 0x200;
            f->eip = resume;
            __asm__ volatile("mov %1, %%ds; mov %1, %%es; mov %0, %%esp; popa; add $8, %%esp; iret"
                             :
                             : "r"(f), "S"(KERNEL_DATA));
        }
        return;
    }
    f->eip += skip;
}

/* A fault of `length` bytes that the handler skips. */
#define FAULT(what, length, code)                                                                                 \
    do {                                                                                                          \
        print(what ": ");                                                                                         \
        skip = length;                                                                                            \
        __asm__ volatile(code : : : "eax", "ecx", "edx", "cc", "memory");                                         \
    } while (0)

static void exceptions(void) {
    FAULT("divide", 2, "xor %%edx, %%edx; xor %%ecx, %%ecx; divl %%ecx");
    FAULT("overflow of a division", 2, "mov $2, %%edx; mov $1, %%ecx; divl %%ecx");
    FAULT("int3", 0, "int3");
    FAULT("into", 0, "mov $0x7fffffff, %%eax; add $1, %%eax; into");
    FAULT("ud2", 2, "ud2");
    FAULT("data segment beyond the table", 2, "mov $0x88, %%eax; mov %%eax, %%ds");
    FAULT("absent segment", 2, "mov $0x30, %%eax; mov %%eax, %%es");
    FAULT("absent stack segment", 2, "mov $0x30, %%eax; mov %%eax, %%ss");
    FAULT("null stack segment", 2, "mov $0, %%eax; mov %%eax, %%ss");
    FAULT("code as stack segment", 2, "mov $8, %%eax; mov %%eax, %%ss");
    FAULT("far jump to data", 7, "ljmp $0x10, $0");
    FAULT("gate beyond the table", 2, "int $0xf0");
    FAULT("empty gate", 2, "int $0x50");
    FAULT("absent gate", 2, "int $0x51");
    FAULT("gate to data", 2, "int $0x52");
    FAULT("gate to the null segment", 2, "int $0x53");
    FAULT("busy task", 3, "mov $0x28, %%eax; ltr %%ax; ltr %%ax");
    FAULT("software, interrupt gate", 0, "sti; int $0x40; cli");
    FAULT("software, trap gate", 0, "sti; int $0x41; cli");
    skip = 0;
    __asm__ volatile("pushf; orl $0x100, (%%esp); popf; nop; pushf; andl $~0x100, (%%esp); popf" : : : "cc", "memory");
}

static void user_code(void) {
    __asm__ volatile("int $0x42\n" /* allowed */
                     "int $0x40\n" /* its gate is the kernel's */
                     "cli\n nop\n" /* two bytes are skipped */
                     "hlt\n nop\n"
                     "inb $0x21, %%al\n"
                     "inb $0x60, %%al\n" /* the map of ports allows 0x60 to 0x67 */
                     "nop\n"
                     :
                     :
                     : "eax", "memory");
    __asm__ volatile("clts");
    __asm__ volatile("int $0x43");
}

static void user(void) {
    tss[1] = (u32)kernel_top;
    tss[2] = KERNEL_DATA;
    tss[25] = 0x5C << 16; /* the map of ports is 12 bytes long from 0x5c on, and the last has ports 0x60 to 0x67 */
    resume = (u32) && back;
    print("to user mode\n");
    skip = 2;
    static volatile u32 never;
    if (!never)
        __asm__ volatile("mov %0, %%ds; mov %0, %%es; pushl %0; pushl %1; pushl $0x202; pushl %2; pushl %3; iret"
                         :
                         : "r"(USER_DATA), "r"(user_top), "r"(USER_CODE), "r"(user_code)
                         : "memory");
back:
    __asm__ volatile("mov $stack_top - 256, %%esp" : : : "memory");
    print("back in the kernel\n");
}

static void init_pic(void) {
    out8(PIC1, 0x11), out8(PIC2, 0x11);
    out8(PIC1 + 1, 0x20), out8(PIC2 + 1, 0x28);
    out8(PIC1 + 1, 4), out8(PIC2 + 1, 2);
    out8(PIC1 + 1, 1), out8(PIC2 + 1, 1);
    out8(PIC1 + 1, 0xFF), out8(PIC2 + 1, 0xFF);
}

static void interrupts(void) {
    print("mode 2\n");
    out8(PIC1 + 1, 0xFE);
    out8(PIT + 3, 0x34), out8(PIT, 0x00), out8(PIT, 0x40); /* counter 0, mode 2 */
    ticks = 0;
    __asm__ volatile("sti");
    while (ticks < 3)
        __asm__ volatile("hlt");
    __asm__ volatile("cli");
    out8(PIC1 + 1, 0xFF);
    print("mode 0\n");
    out8(PIT + 3, 0x30), out8(PIT, 0x00), out8(PIT, 0x10); /* counter 0, mode 0: once */
    init_pic();
    out8(PIC1 + 1, 0xFE);
    ticks = 0;
    __asm__ volatile("sti; hlt; cli");
    line("ticks", ticks);
    out8(PIC1 + 1, 0xEF);
    print("transmitter empty\n");
    out8(COM1 + 4, 0x0B);
    out8(COM1 + 1, 2);
    ticks = 0;
    __asm__ volatile("sti");
    while (!ticks)
        ;
    __asm__ volatile("cli");
    line("mask", in8(PIC1 + 1));
    out8(PIC1, 0x0B);
    line("in service", in8(PIC1));
    out8(PIC1, 0x0A);
    print("poll\n");
    u32 polls = 0;
    out8(PIT + 3, 0x30), out8(PIT, 0x00), out8(PIT, 0x10);
    while (!(in8(PIC1) & 1))
        polls++;
    line("requested", in8(PIC1));
    line("polls", polls > 0);
}

__attribute__((used)) static void run(void) {
    out8(COM1 + 3, 0x80), out8(COM1, 1), out8(COM1 + 1, 0), out8(COM1 + 3, 3);
    gdt[1] = segment(0, 0xFFFFF, 0x9A, 0xC), gdt[2] = segment(0, 0xFFFFF, 0x92, 0xC);
    gdt[3] = segment(0, 0xFFFFF, 0xFA, 0xC), gdt[4] = segment(0, 0xFFFFF, 0xF2, 0xC);
    gdt[5] = segment((u32)tss, sizeof tss - 1, 0x89, 0), gdt[6] = segment(0, 0xFFFFF, 0x12, 0xC);
    struct { u16 limit; u32 base; } __attribute__((packed)) table = {sizeof gdt - 1, (u32)gdt};
    __asm__ volatile("lgdt %0; ljmp $0x08, $1f; 1: mov %1, %%ds; mov %1, %%es; mov %1, %%ss; mov %1, %%fs; mov %1, %%gs"
                     :
                     : "m"(table), "r"(KERNEL_DATA));
    for (int vector = 0; vector < 0x80; vector++)
        gate(vector, stub(vector), KERNEL_CODE, 0x8E);
    gate(0x41, stub(0x41), KERNEL_CODE, 0x8F), gate(0x42, stub(0x42), KERNEL_CODE, 0xEE);
    gate(0x43, stub(0x43), KERNEL_CODE, 0xEE), gate(3, stub(3), KERNEL_CODE, 0xEE);
    idt[0x50] = 0;
    gate(0x51, stub(0x51), KERNEL_CODE, 0x0E), gate(0x52, stub(0x52), KERNEL_DATA, 0x8E);
    gate(0x53, stub(0x53), 0, 0x8E);
    table.limit = 0x80 * 8 - 1, table.base = (u32)idt;
    __asm__ volatile("lidt %0" : : "m"(table));
    init_pic();
    exceptions();
    interrupts();
    user();
    finish();
}
