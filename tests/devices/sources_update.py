"""The C of a device that updates itself: two slots in NOR flash, a boot record, UART and watchdog."""

from __future__ import annotations

AGENT = r"""
typedef unsigned char uint8_t; typedef unsigned int uint32_t;
#define UART (*(volatile uint32_t *)0x50000000)
#define WATCHDOG (*(volatile uint32_t *)0x50001000)
#define SECTOR 4096u
#define REC0 0x08000000u
#define REC1 0x08001000u
#define SLOT(n) (0x08010000u + (n) * 0x10000u)
int nor_erase(uint32_t address);
int nor_write(uint32_t address, const void *data, uint32_t size);
typedef struct { uint32_t seq, slot, size, crc, check; } record_t;
static void say(const char *s) { while (*s) UART = *s++; }
static uint32_t crc(const uint8_t *p, uint32_t n) {
    uint32_t c = ~0u;
    while (n--) { c ^= *p++; for (int k = 0; k < 8; k++) c = c >> 1 ^ (0xedb88320u & -(c & 1)); }
    return ~c;
}
static const record_t *current(void) {
    const record_t *best = 0, *r[2] = {(void *)REC0, (void *)REC1};
    for (int i = 0; i < 2; i++)
        if (r[i]->check == crc((void *)r[i], 16) && r[i]->seq != ~0u && (!best || r[i]->seq > best->seq))
            best = r[i];
    return best;
}
uint32_t boot(void) {
    WATCHDOG = 0xAAAA;
    const record_t *r = current();
    if (!r || crc((void *)SLOT(r->slot), r->size) != r->crc) { say("BRICK\n"); return 0; }
    say("boot\n");
    return SLOT(r->slot);
}
int install(const uint8_t *image, uint32_t size) {
    const record_t *r = current();
    uint32_t slot = r ? !r->slot : 0, to = SLOT(slot);
    for (uint32_t o = 0; o < size; o += SECTOR) { WATCHDOG = 0xAAAA; if (nor_erase(to + o)) return -1; }
    for (uint32_t o = 0; o < size; o += 256)
        if (nor_write(to + o, image + o, size - o < 256 ? size - o : 256)) return -2;
    record_t n = {r ? r->seq + 1 : 1, slot, size, crc(image, size), 0};
    n.check = crc((void *)&n, 16);
    uint32_t at = r == (void *)REC0 ? REC1 : REC0;
    if (nor_erase(at) || nor_write(at, &n, sizeof n)) return -3;
    say("installed\n");
    return slot;
}
"""
#: An application; its `board_read` is an entry of a jump table at a fixed address of the device.
APP = """
int board_read(int pin);
static int calls = VERSION * 100;
static int history[8];
int version(void) { return VERSION; }
int tick(int pin) { int v = board_read(pin); history[calls & 7] = v; return v * VERSION + ++calls; }
"""
