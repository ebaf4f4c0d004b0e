"""Machine code for the host that looks at each new block of code, and lets those run that need no inspection.

It is the hook of Unicorn's edges (see `emu.cpu.hooks.inspector`), with a `Screen` as the user data. A block
passes if none of its instructions can be one that the engine executes wrongly: on x86 by tables of opcodes that
are right with any operands, with their sizes; elsewhere by two tables of bits, for the halves of each word. At any
other the engine stops, and the block is inspected. `emu.cpu.corrections.screens` makes the tables. Compiled by GCC
(-Os -fPIC -ffreestanding -fno-jump-tables) from:

    typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long u64;
    struct Request { long left; int stopped, again; void (*stop)(void *); };
    struct Block { u64 address; u16 count, size; };
    struct Screen {
        struct Request *request, *first;
        int (*read)(void *, u64, void *, u64);
        u64 begin;
        u32 kind, most;
        const u8 *one, *two;
        u8 code[512];
    };
    static int plain_words(struct Screen *s, u32 size)
    {
        for (u32 at = 0; at + 2 <= size;) {
            u32 low = s->code[at] | s->code[at + 1] << 8, high = s->code[at + 2] | s->code[at + 3] << 8;
            if ((s->one[low >> 3] >> (low & 7) & 1) && (s->two[high >> 3] >> (high & 7) & 1))
                return 0;
            at += s->kind ? s->kind : (low & 3) == 3 ? 4 : 2;
        }
        return 1;
    }
    static int plain_x86(struct Screen *s, u32 size, int rex_bits)
    {
        const u8 *code = s->code;
        u32 at = 0;
        while (at < size) {
            u32 wide = 0, narrow = 0, repeat = 0, byte = code[at++], known, modrm, escape = 0;
            for (u32 n = 0; n < 3; n++) {
                if (byte == 0x66)
                    narrow = 1;
                else if (byte == 0xF2 || byte == 0xF3)
                    repeat = 1;
                else if (byte != 0x64 && byte != 0x65 && byte != 0x2E && byte != 0xF0)
                    break;
                byte = code[at++];
            }
            if (rex_bits && (byte & 0xF0) == 0x40) {
                wide = byte & 8;
                byte = code[at++];
            }
            if (byte == 0x0F) {
                known = s->two[code[at++]];
                if (((known & 0x20) && !(narrow | repeat)) || ((known & 0x80) && (narrow || !repeat)) ||
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
    void screen(void *engine, struct Block *block, struct Block *before, struct Screen *s)
    {
        struct Request *request = s->request;
        (void)before;
        if (request->left != 1) {
            if (request->left > 1)
                request->left--;
            return;
        }
        u32 size = block->size;
        if (size <= s->most && !s->read(engine, block->address, s->code, size) &&
            (s->kind >= 32 ? plain_x86(s, size, s->kind == 64) : plain_words(s, size))) {
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
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emu.cpu.hooks.stop_hook import StopRequest, mapped_code

SCREEN_CODE: Final[Mapping[str, str]] = {
    "x86_64": (
        "415741564155415455534883ec184c8b2948897c2408498b45004883f80174120f8e2e03000048ffc849894500e92203"
        "0000440fb7760a4889cb4989f44c89f1443973240f82e9020000488d6b38488b36488b7c24084889eaff531085c00f85"
        "cf020000448b7b2031c94183ff1f0f866202000031c04439f00f830802000089c28d70014531c083c0040fb654150031"
        "ff83fa66742a8d8a0effffff83f901762683fa2e410f95c181faf00000000f95c14184c974178d4a9c83f901760feb1f"
        "bf01000000eb0641b8010000008d4e010fb654350039c1740489ceebb489c631c9894c24044183ff40751c89d025f000"
        "000083f840751083e20889f0ffc6895424040fb654050083fa0f75500fb64c35008d4601488b73300fb60c0e89cef6c1"
        "20740c4589c34109fb0f84040200004084f679134183f0014109f80f85f20100004080e610eb0e4080e610742089fe83"
        "f6014409c67416e9d7010000488b4b2889d04531db0fb60c0189f0eb0641bb010000004189c94183e1010f84b3010000"
        "89fe83e6014088742403f6c14074094084f60f859b010000f6c1020f84900000004189c08d7001460fb6540500448854"
        "240241c1ea064183fa037442448a4424024183e0074180f8047406450fb6c0eb0c448a4435008d70024183e0074183fa"
        "02740c41f6c20175094183f805750383c60431c041ffca0f94c001f0eb0289f04585db752cf6c1107427408a74240283"
        "e6384080fe0f771981faf6000000740e83ff014519c94183e1024183c1024401c889ca83e20483fa0183d8fff6c10874"
        "0c83ff0119d283e2028d4410024585db0f8520fefffff6c120741b837c240400ba08000000750d807c24030119d283e2"
        "0283c20201d080e1800f84f7fdffff83c002e9effdffff4139c60f85a3000000eb778d410189ca488b7b280fb6440338"
        "0fb6541338c1e00809d089c2c1ea030fb63c1789c283e2070fa3d772234489fa4585ff750f83e00331d283f8030f94c2"
        "8d54120201d18d71024139f673b4eb298d51030fb6743338488b7b300fb6541338c1e20809f289d683e207c1ee030fb6"
        "34370fa3d673b6eb2a488b4318493904247541488b430831d248c74318ffffffff83780c00488910742a48c700020000"
        "00eb2141c7450801000000498b4510488b7c24084883c4185b5d415c415d415e415fffe04883c4185b5d415c415d415e"
        "415fc3"
    ),
    "aarch64": (
        "fd7bbca9fd030091f76303a9770040f9f55b02a9f60301aaf35301a9e10240f93f0400f1200100546d000054210400d1"
        "e10200f9f35341a9f55b42a9f76343a9fd7bc4a8c0035fd6d8164079f40300aa612440b9f30303aa3f00186b230d0054"
        "c10240f975e00091640a40f9033f4092e20315aa80003fd6400c0035692240b93f7d0071c81600540200805244008052"
        "85008052410800111f03016be3130054400400116342228b6002008b661640f963e0403900e040396020002a033c43d3"
        "c3686338060800126328c61aa3010036430c00116142218b6302038b661a40f921e0403963e040392320032a613c43d3"
        "63080012c16861382128c31a2108003769130035000400121f0c00718010851a4200000be0ffff17a34a643886040011"
        "8410001108008052070080527f980171a004005460c803511f04007129050054609001517fb800710018417ae9030054"
        "7fc00371a00300543f01017161040054600c1c121f000171010400546b001d12a34a6638c60400117f3c007161050054"
        "611a40f9c4040011a04a663820686038e503002a60002836e100082a2103003480023836080100520801072aa8020035"
        "800220372200805221000014e603002adbffff1727008052c0040011a34a66381f00046b41ffff54e603042adfffff17"
        "28008052f9ffff170b008052e3ffff1720fe2736e00000520000082ac0fdff34f55b42a920008052e00a00b9e00314aa"
        "e10a40f9f35341a9f00301aaf76343a9fd7bc4a800021fd6611640f9e003032ae403062a0200805225686038a8000012"
        "05fe073645003036c7fdff3545040836a64a643881040011ca7c06535f0d007160070054c00800121f10007181000054"
        "a04a613881080011000800125f090071c00000541f14007144010052ee179f1a9f000e6a40000054211000115f050071"
        "2414811a8201003565012036c6081d12df3c0071080100547fd80371a0000054ff00007148008052800080520811801a"
        "8400080ba00842d38400000b85001836ff00007180118d1a8400000b02010035a50028360b030035ff000071a0018c1a"
        "8400000b45003836840800111f03046b48f0ff5461f7ff54c10240f9600e40f93f0000eb81e8ff54610640f900008092"
        "600e00f9200c40b91f000071400080d200109f9a200000f93bffff17e403012ad5ffff1700018052eaffff1704008052"
        "4c0080528d008052e9ffff17e003092a68ffff17"
    ),
}
MOST: Final = 480  #: bytes of a block that is looked at; others stop the engine
NOWHERE: Final = (1 << 64) - 1
X86, X86_64 = 32, 64  #: values of `Screen.kind`; others are the bytes from each instruction to the next


class Tables(NamedTuple):
    """What blocks of an ISA pass by; of `one` and `two` an element is a byte."""

    kind: int
    one: NDArray[np.uint8]
    two: NDArray[np.uint8]


class Screen(ctypes.Structure):
    """The data of the hook. With `most` 0 no block passes."""

    _fields_ = (
        ("request", ctypes.c_void_p),  #: the StopRequest for blocks that do not pass
        ("first", ctypes.c_void_p),  #: the StopRequest by which the engine stops before the first block of a run
        ("read", ctypes.c_void_p),  #: uc_mem_read
        ("begin", ctypes.c_uint64),  #: the address of that block; NOWHERE when it has passed, or there is none
        ("kind", ctypes.c_uint32),  #: X86, X86_64; 4, 2: bytes of each step; 0: RISC-V's 2 or 4
        ("most", ctypes.c_uint32),  #: bytes of a block that may pass
        ("one", ctypes.c_void_p),
        ("two", ctypes.c_void_p),
        ("code", ctypes.c_uint8 * 512),
    )

    begin: int
    most: int

    @classmethod
    def of(cls, tables: Tables, request: StopRequest, first: StopRequest, read: int | None) -> Screen:
        """A screen by these tables."""
        screen = cls(
            ctypes.addressof(request), ctypes.addressof(first), read, NOWHERE, tables.kind, MOST,
            tables.one.ctypes.data, tables.two.ctypes.data,
        )  # fmt: skip
        screen.kept = tables, request, first
        return screen

    kept: object  #: what it points to


def screen_hook() -> int | None:
    """The address of the hook; None where `emu.cpu.hooks.stop_hook` has none."""
    code = SCREEN_CODE.get(platform.machine())
    return mapped_code(None if code is None else bytes.fromhex(code))
