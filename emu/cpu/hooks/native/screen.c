/* Letting those new blocks run that need no inspection (emu.cpu.hooks.screen). */
#include "hook.h"

/* Of `kind`; others below 32 are the bytes of each step, 0 is RISC-V's 2 or 4. */
enum { AARCH64 = 4, X86 = 32, X86_64 = 64 };

struct screen {
    struct request *request, *first;
    int (*read)(void *engine, u64 address, void *bytes, u64 size);
    u64 begin;
    u32 kind, most;
    const u8 *one, *two;
    u8 code[512];
};

/* uc_tb */
struct block {
    u64 address;
    u16 count, size;
};

/* By two tables of bits, for the halves of each word. */
static int plain_words(struct screen *s, u32 size)
{
    for (u32 at = 0; at + 2 <= size;) {
        u32 low = s->code[at] | s->code[at + 1] << 8, high = s->code[at + 2] | s->code[at + 3] << 8;
        if ((s->one[low >> 3] >> (low & 7) & 1) && (s->two[high >> 3] >> (high & 7) & 1))
            return 0;
        /* AArch64's system instructions, but for those of op1 3 that are not DAIF */
        if (s->kind == AARCH64 && high >> 6 == 0x354 &&
            ((high & 7) != 3 || (high == 0xD503 && (low & 0xF01F) == 0x401F) ||
             ((high & ~0x20) == 0xD51B && low >> 5 == 0x211)))
            return 0;
        at += s->kind ? s->kind : (low & 3) == 3 ? 4 : 2;
    }
    return 1;
}

/* By tables of opcodes that are right with any operands, with their sizes. */
static int plain_x86(struct screen *s, u32 size, int rex_bits)
{
    const u8 *code = s->code;
    u32 at = 0;
    while (at < size) {
        u32 wide = 0, narrow = 0, repeat = 0, byte = code[at++], known, modrm, escape = 0;
        for (u32 n = 0; n < 3; n++) {
            if (byte == 0x66)
                narrow = 1;
            else if (byte == 0xF2 || byte == 0xF3) {
                if (repeat)
                    return 0;
                repeat = byte;
            } else if (byte != 0x64 && byte != 0x65 && byte != 0x2E)
                break;
            byte = code[at++];
        }
        if (rex_bits && (byte & 0xF0) == 0x40) {
            wide = byte & 8;
            byte = code[at++];
        }
        if (byte == 0x0F) {
            known = s->two[code[at++]];
            if ((narrow && repeat) || ((known & 0x20) && !(narrow | repeat)) ||
                ((known & 0x80) && (narrow || repeat < ((known & 0x40) ? 0xF3 : 1))) ||
                ((known & 0x10) && (repeat || !narrow)))
                return 0;
            escape = 1;
        } else
            known = s->one[byte];
        if (!(known & 1) || ((known & 0x40) && narrow))
            return 0;
        if (known & 2) {
            modrm = code[at++];
            u32 mode = modrm >> 6, base = modrm & 7;
            if (mode != 3) {
                if (base == 4)
                    base = code[at++] & 7;
                if (mode == 2 || (mode == 0 && base == 5))
                    at += 4;
                at += mode == 1;
            }
            if (!escape && (known & 0x10) && (modrm & 0x38) < 0x10)
                at += byte == 0xF6 ? 1 : narrow ? 2 : 4;
        }
        if (known & 4)
            at += 1;
        if (known & 8)
            at += narrow ? 2 : 4;
        if (!escape && (known & 0x20))
            at += wide ? 8 : narrow ? 2 : 4;
        if (!escape && (known & 0x80))
            at += 2;
    }
    return at == size;
}

HOOK void screen(void *engine, struct block *block, struct block *before, struct screen *s)
{
    struct request *request = s->request;
    (void)before;
    if (request->left != 1) {
        if (request->left > 1)
            request->left = request->left - 1;
        return;
    }
    u32 size = block->size;
    if (size <= s->most && !s->read(engine, block->address, s->code, size) &&
        (s->kind >= X86 ? plain_x86(s, size, s->kind == X86_64) : plain_words(s, size))) {
        if (block->address == s->begin) {
            s->begin = ~0ul;
            s->first->left = 0;
            if (s->first->again)
                s->first->left = 2;
        }
        return;
    }
    request->stopped = 1;
    request->stop(engine);
}
ENTRY(screen, screen)
