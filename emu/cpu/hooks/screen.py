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
        "415741564155415455534883ec184c8b2948897c2408498b45004883f80174120f8eaf03000048ffc849894500e9a303"
        "0000440fb7760a4889cb4989f44c89f1443973240f826a030000488d6b38488b36488b7c24084889eaff531085c00f85"
        "50030000448b5b2031c94183fb1f0f86a402000031c04439f00f833402000089c28d780131f683c0040fb65415004531"
        "c083fa6674288d8a0effffff83f901770e4585c00f850a0300004189d0eb148d4a9c83f901760c83fa2e7407eb17be01"
        "0000008d4f010fb6543d0039c8740489cfebbe89c731c9890c244183fb40751b89d025f000000083f840750f83e20889"
        "f8ffc78914240fb654050083fa0f0f85850000000fb64c3d008d4701488b7b304585c0410f95c10fb60c0f89cf85f674"
        "094584c90f858a02000040f6c720740c4189f74509c70f84780200004084ff793085f60f856b0200004189f94183e140"
        "4180f9014519c94180e10e4181c1f30000004539c80f82490200004080e710eb114080e710742385f60f843502000045"
        "84c97416e92b020000488b4b2889d04531ff0fb60c0189f8eb0641bf010000004189c94183e1010f840702000089f783"
        "e70140887c2407f6c14074094084ff0f85ef010000f6c1020f84900000004189c08d7801460fb6540500448854240641"
        "c1ea064183fa037442448a4424064183e0074180f8047406450fb6c0eb0c448a443d008d78024183e0074183fa02740c"
        "41f6c20175094183f805750383c70431c041ffca0f94c001f8eb0289f84585ff752cf6c1107427408a7c240683e73840"
        "80ff0f771981faf6000000740e83fe014519c94183e1024183c1024401c889ca83e20483fa0183d8fff6c108740c83fe"
        "0119d283e2028d4410024585ff0f85f3fdfffff6c120741a833c2400ba08000000750d807c24070119d283e20283c202"
        "01d080e1800f84cbfdffff83c002e9c3fdffff4139c60f84ce000000e9f30000008d410189ca0fb6743338488b7b280f"
        "b64403380fb6541338c1e00809d08d51030fb6541338c1e20809f289c6c1ee030fb63c3789c683e6070fa3f772244183"
        "fb04756c89d7be04000000c1ef0681ff54030000742501f18d71024139f673a1eb68488b7b3089d6c1ee030fb63c3789"
        "d683e6070fa3f773c5eb7989d783e70783ff03756f81fa03d50000750c251ff000003d1f400000eb1383e2df81fa1bd5"
        "000075b2c1e8053d1102000075a8eb444489de4585db759e83e00331f683f803400f94c68d743602eb8c488b43184939"
        "04247541488b430831d248c74318ffffffff83780c00488910742a48c70002000000eb2141c7450801000000498b4510"
        "488b7c24084883c4185b5d415c415d415e415fffe04883c4185b5d415c415d415e415fc3"
    ),
    "aarch64": (
        "fd7bbba9fd030091f76303a9770040f9f92300f9f35301a9f90240f9f55b02a93f0700f1400100546d000054390700d1"
        "f90200f9f35341a9f55b42a9f76343a9f92340f9fd7bc5a8c0035fd638144079f60301aa612440b9f40300aaf30303aa"
        "3f00186b430f0054c10240f975e00091640a40f9033f4092e20315aa80003fd6600e0035662240b9df7c007108190054"
        "440080528500805267a09a5268a39a52e9039e52ea038852010800111f03016bc3150054020400116342208b6202028b"
        "6142218b6b1640f963e0403942e0403921e040396220022a030c00116302038b63e040392320032a413c43d361696138"
        "4b0800122128cb1ae10000366b1a40f9613c43d3616961386b0800122128cb1ae1090037df10007101160054617c0653"
        "3f500d7121010054610800123f0c0071e10800547f00076b411400544200090a5f000a6b40080054e203062aa7000014"
        "a54a643883040011841000110700805202008052bf98017120060054a0c803511f04007168010054a2060035e203052a"
        "60040011a54a63381f00046b61000054e303042a07000014e303002af2ffff17a0900151bfb800710018417aa9feff54"
        "df00017101040054a00c1c121f000171a1030054ab001d12a54a633863040011bf3c007121050054611a40f95f000071"
        "a04a633864040011e3079f1a21686038e003012a7f00076aa1020054610028364800072a48020034a101383607020035"
        "3f007af2c311991a5f00036b8301005461012037210080521900001427008052d4ffff170b008052e6ffff1741ff2736"
        "e10000526300012ae3feff34f55b42a920008052f92340f9e00a00b9e10a40f9e00314aaf35341a9f00301aaf76343a9"
        "fd7bc5a800021fd6611640f9e003052ae403032a206860380100805209000012e0fd073640003036a7fdff3540040836"
        "a84a6438830400110a7d06535f0d007160070054020900125f10007181000054a24a633883080011420800125f090071"
        "c00000545f14007144010052ef179f1a9f000f6a40000054631000115f0500716414831a810100356001203608091d12"
        "1f3d007108010054bfd80371a0000054ff00007149008052820080522911821a8400090b020842d38400020b80001836"
        "ff00007182118d1a8400020b01010035a00028360b030035ff000071a1018c1a8400010b40003836840800111f03046b"
        "88efff5441f7ff54c10240f9600e40f93f0000eb01e6ff54610640f900008092600e00f9200c40b91f000071400080d2"
        "00109f9a200000f927ffff17e403032ad5ffff1701018052eaffff17040080524c0080528d0080526e1e8052e8ffff17"
        "63781a127f00086b01ecff54427c05535f4408715cffff1786ebff35420400125f0c00718210851a0000020b2fffff17"
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
