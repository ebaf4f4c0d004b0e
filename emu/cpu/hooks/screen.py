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
            /* AArch64's system instructions, but for those of op1 3 that are not DAIF */
            if (s->kind == 4 && high >> 6 == 0x354 &&
                ((high & 7) != 3 || (high == 0xD503 && (low & 0xF01F) == 0x401F) ||
                 ((high & ~0x20) == 0xD51B && low >> 5 == 0x211)))
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
                else if (byte == 0xF2 || byte == 0xF3) {
                    if (repeat)
                        return 0;
                    repeat = 1;
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
                if ((narrow & repeat) || ((known & 0x20) && !(narrow | repeat)) ||
                    ((known & 0x80) && (narrow || !repeat)) || ((known & 0x10) && (repeat || !narrow)))
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
        "415741564155415455534883ec184c8b2948897c2408498b45004883f80174120f8e8503000048ffc849894500e97903"
        "0000440fb7760a4889cb4989f44c89f1443973240f8240030000488d6b38488b36488b7c24084889eaff531085c00f85"
        "26030000448b5b2031c94183fb1f0f867a02000031c04439f00f830a02000089c28d780131f683c0040fb65415004531"
        "c083fa66742b8d8a0effffff83f90177114585c00f85e002000041b801000000eb148d4a9c83f901760c83fa2e7407eb"
        "17be010000008d4f010fb6543d0039c8740489cfebbb89c731c9894c24044183fb40751c89d025f000000083f8407510"
        "83e20889f8ffc7895424040fb654050083fa0f75590fb64c3d008d4701488b7b300fb60c0f89cf4185f00f856a020000"
        "f6c120740c4589c74109f70f84590200004084ff79134183f0014109f00f85470200004080e710eb0e4080e710742089"
        "f783f7014409c77416e92c020000488b4b2889d04531ff0fb60c0189f8eb0641bf010000004189c94183e1010f840802"
        "000089f783e70140887c2403f6c14074094084ff0f85f0010000f6c1020f84900000004189c08d7801460fb654050044"
        "8854240241c1ea064183fa037442448a4424024183e0074180f8047406450fb6c0eb0c448a443d008d78024183e00741"
        "83fa02740c41f6c20175094183f805750383c70431c041ffca0f94c001f8eb0289f84585ff752cf6c1107427408a7c24"
        "0283e7384080ff0f771981faf6000000740e83fe014519c94183e1024183c1024401c889ca83e20483fa0183d8fff6c1"
        "08740c83fe0119d283e2028d4410024585ff0f851efefffff6c120741b837c240400ba08000000750d807c24030119d2"
        "83e20283c20201d080e1800f84f5fdffff83c002e9edfdffff4139c60f84ce000000e9f30000008d410189ca0fb67433"
        "38488b7b280fb64403380fb6541338c1e00809d08d51030fb6541338c1e20809f289c6c1ee030fb63c3789c683e6070f"
        "a3f772244183fb04756c89d7be04000000c1ef0681ff54030000742501f18d71024139f673a1eb68488b7b3089d6c1ee"
        "030fb63c3789d683e6070fa3f773c5eb7989d783e70783ff03756f81fa03d50000750c251ff000003d1f400000eb1383"
        "e2df81fa1bd5000075b2c1e8053d1102000075a8eb444489de4585db759e83e00331f683f803400f94c68d743602eb8c"
        "488b4318493904247541488b430831d248c74318ffffffff83780c00488910742a48c70002000000eb2141c745080100"
        "0000498b4510488b7c24084883c4185b5d415c415d415e415fffe04883c4185b5d415c415d415e415fc3"
    ),
    "aarch64": (
        "fd7bbca9fd030091f76303a9770040f9f55b02a9f60301aaf35301a9e10240f93f0400f1200100546d000054210400d1"
        "e10200f9f35341a9f55b42a9f76343a9fd7bc4a8c0035fd6d8164079f40300aa612440b9f30303aa3f00186bc30e0054"
        "c10240f975e00091640a40f9033f4092e20315aa80003fd6e00d0035672240b9ff7c0071681800544400805285008052"
        "66a09a5268a39a52e9039e52ea038852010800111f03016b23150054020400116342208b6202028b6142218b6b1640f9"
        "63e0403942e0403921e040396220022a030c00116302038b63e040392320032a413c43d3616961384b0800122128cb1a"
        "e10000366b1a40f9613c43d3616961386b0800122128cb1a61090037ff10007141150054617c06533f500d7121010054"
        "610800123f0c0071610800547f00066b811300544200090a5f000a6bc0070054e103072aa1000014a04a643883040011"
        "8410001108008052050080521f980171a005005401c803513f04007168010054250600352500805261040011a04a6338"
        "3f00046b61000054e303042a07000014e303012af2ffff17019001511fb800712018417aa9feff54ff00017181030054"
        "010c1c123f000171210300540b001d12a04a6338630400111f3c007181040054621a40f964040011a14a633841686138"
        "e603012abf00086a6102005461002836a200082a0202003461013836a5000052a500082a850100356101203723008052"
        "1800001428008052d8ffff170b008052eaffff1741ff2736010100522100052ae1feff34f55b42a920008052e00a00b9"
        "e00314aae10a40f9f35341a9f00301aaf76343a9fd7bc4a800021fd6621640f9e103002ae403032a0300805246686138"
        "c900001206fe073646003036c8fdff3546040836a54a643881040011aa7c06535f0d007160070054a20800125f100071"
        "81000054a24a613881080011420800125f090071c00000545f14007144010052ee179f1a9f000e6a4000005421100011"
        "5f0500712414811a8301003566012036a5081d12bf3c0071080100541fd80371a00000541f0100714900805280008052"
        "2911801a8400090bc00842d38400000b860018361f01007180118d1a8400000b03010035a60028360b0300351f010071"
        "a0018c1a8400000b46003836840800111f03046b28f0ff5461f7ff54c10240f9600e40f93f0000ebe1e6ff54610640f9"
        "00008092600e00f9200c40b91f000071400080d200109f9a200000f92effff17e403012ad5ffff1700018052eaffff17"
        "040080524c0080528d008052e9ffff1763781a127f00086bc1ecff54427c05535f44087162ffff1747ecff3542040012"
        "5f0c00718110851a0000010b35ffff17"
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
