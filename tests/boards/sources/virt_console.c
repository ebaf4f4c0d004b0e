/* Output and end of programs with picolibc on QEMU's RISC-V board "virt": its UART and its finisher. */
#include <stdio.h>
static int put(char c, FILE *file) {
    (void)file;
    *(volatile unsigned char *)0x10000000 = (unsigned char)c;
    return (unsigned char)c;
}
static FILE console = FDEV_SETUP_STREAM(put, NULL, NULL, _FDEV_SETUP_WRITE);
FILE *const stdout = &console;
FILE *const stderr = &console;
FILE *const stdin = &console;
void _exit(int status) {
    *(volatile unsigned *)0x100000 = status ? (unsigned)status << 16 | 0x3333 : 0x5555;
    for (;;) {}
}
