/* A PC in protected mode: console at COM1, interrupt table, 8259s, 8254. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define BITS(n) (sizeof(n) * 8)
enum { EXIT = 0xF4, COM1 = 0x3F8, PIC1 = 0x20, PIC2 = 0xA0, PIT = 0x40 };
enum { KERNEL_CODE = 0x08, KERNEL_DATA = 0x10, USER_CODE = 0x1B, USER_DATA = 0x23, TASK = 0x28, ABSENT = 0x30 };

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 in8(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void print_char(char c) {
    while (!(in8(COM1 + 5) & 0x20))
        ;
    out8(COM1, c);
}
static void print(const char *text) {
    while (*text)
        print_char(*text++);
}
static void print_hex(u32 value) {
    for (int shift = 28; shift >= 0; shift -= 4)
        print_char("0123456789abcdef"[value >> shift & 15]);
}
static void line(const char *text, u32 value) {
    print(text);
    print_char(' ');
    print_hex(value);
    print_char('\n');
}
__attribute__((noreturn)) static void finish(void) {
    out8(EXIT, 0);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* What a handler gets; user_sp and user_ss only from an outer privilege level. */
struct frame {
    u32 edi, esi, ebp, esp, ebx, edx, ecx, eax, vector, code, eip, cs, eflags, user_sp, user_ss;
};

static u64 idt[256];
static u64 gdt[8];
static u32 tss[26 + 1];
extern u8 stub_start[]; /* 16 bytes for each vector */
void handle(struct frame *frame);

static void gate(int vector, u32 handler, u16 selector, u8 access) {
    idt[vector] = (handler & 0xFFFF) | (u64)selector << 16 | (u64)access << 40 | (u64)(handler >> 16) << 48;
}
static u64 segment(u32 base, u32 limit, u8 access, u8 flags) {
    return (limit & 0xFFFF) | (u64)(base & 0xFFFFFF) << 16 | (u64)access << 40 | (u64)(limit >> 16 & 15) << 48 |
           (u64)flags << 52 | (u64)(base >> 24) << 56;
}
static u32 stub(int vector) { return (u32)stub_start + 16 * vector; }

__asm__(".balign 16\n"
        "stub_start:\n"
        ".set number, 0\n"
        ".rept 256\n"
        ".balign 16\n"
        ".if !(number == 8 || (number >= 10 && number <= 14) || number == 17)\n"
        "pushl $0\n"
        ".endif\n"
        "pushl $number\n"
        "jmp common\n"
        ".set number, number + 1\n"
        ".endr\n");
