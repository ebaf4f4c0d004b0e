"""Machine code for the host that stops Unicorn before a block whose x87 instructions would fault on the stack.

It takes the place of the hook of `emu.cpu.hooks.stop_hook`, which it calls in the end. A block has a row in a
table that says which of the stack's registers it reads, and which it pushes onto; 65,536 bits, by the lowest bits
of the address, say of most other blocks that they have none. (A hook per instruction would do, but each that
Unicorn has slows down all the others.) Compiled by GCC from:

    struct Row { uint64_t address; uint32_t full, empty; };
    struct Watch {
        int (*read)(void *, int *, void **, int);
        int registers[2];
        void *values[2];
        uint64_t status, tags;
        uint64_t mask;
        struct Row *rows;
        uint8_t *bits;
    };
    struct Request {
        int64_t left; int stopped; void (*stop)(void *);
        uint64_t other[7];
        struct Watch *watch;
        void (*next)(void *, uint64_t, uint32_t, struct Request *);
    };
    static __attribute__((noinline))
    void look(void *engine, uint64_t address, uint32_t size, struct Request *request)
    {
        struct Watch *watch = request->watch;
        uint64_t at = address * 0x9e3779b97f4a7c15u >> 32;
        struct Row *row;
        while ((row = watch->rows + (at++ & watch->mask))->address != address)
            if (!row->address) {
                request->next(engine, address, size, request);
                return;
            }
        watch->read(engine, watch->registers, watch->values, 2);
        uint32_t turned = (uint32_t)watch->tags * 0x10001u >> (watch->status >> 10 & 14);
        uint32_t empties = turned & turned >> 1;
        if ((empties & row->full) | (~empties & row->empty)) {
            request->stopped = 8;
            request->stop(engine);
        } else
            request->next(engine, address, size, request);
    }
    void hook(void *engine, uint64_t address, uint32_t size, struct Request *request)
    {
        struct Watch *watch = request->watch;
        if (watch && watch->bits[address >> 3 & 0x1fff] >> (address & 7) & 1)
            look(engine, address, size, request);
        else
            request->next(engine, address, size, request);
    }
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from emu.cpu.hooks.stop_hook import HOST, MULTIPLIER, PLACE_SHIFT, StopRequest, mapped_code
from emu.cpu.misrun import StackNeeds


class _Code(NamedTuple):
    content: bytes
    entry: int  #: the offset of `hook`


STACK_CODE: Final[Mapping[str, _Code]] = {
    "x86_64": _Code(
        bytes.fromhex(
            "48b8157c4a7fb979379e"  # movabs $0x9e3779b97f4a7c15,%rax
            "4157"  # push %r15
            "4989ff"  # mov %rdi,%r15
            "4156"  # push %r14
            "480fafc6"  # imul %rsi,%rax
            "4189d6"  # mov %edx,%r14d
            "4155"  # push %r13
            "4154"  # push %r12
            "4989cc"  # mov %rcx,%r12
            "55"  # push %rbp
            "48c1e820"  # shr $0x20,%rax
            "4889f5"  # mov %rsi,%rbp
            "53"  # push %rbx
            "4883ec08"  # sub $0x8,%rsp
            "4c8b6950"  # mov 0x50(%rcx),%r13
            "498b7538"  # mov 0x38(%r13),%rsi
            "498b4d30"  # mov 0x30(%r13),%rcx
            "eb05"  # jmp 3f
            "4885d2"  # test %rdx,%rdx
            "747a"  # je b9
            "4889c3"  # mov %rax,%rbx
            "4883c001"  # add $0x1,%rax
            "4821cb"  # and %rcx,%rbx
            "48c1e304"  # shl $0x4,%rbx
            "4801f3"  # add %rsi,%rbx
            "488b13"  # mov (%rbx),%rdx
            "4839ea"  # cmp %rbp,%rdx
            "75e2"  # jne 3a
            "498d5510"  # lea 0x10(%r13),%rdx
            "b902000000"  # mov $0x2,%ecx
            "498d7508"  # lea 0x8(%r13),%rsi
            "4c89ff"  # mov %r15,%rdi
            "41ff5500"  # call *0x0(%r13)
            "498b5528"  # mov 0x28(%r13),%rdx
            "498b4d20"  # mov 0x20(%r13),%rcx
            "89d0"  # mov %edx,%eax
            "48c1e90a"  # shr $0xa,%rcx
            "c1e010"  # shl $0x10,%eax
            "83e10e"  # and $0xe,%ecx
            "01d0"  # add %edx,%eax
            "d3e8"  # shr %cl,%eax
            "8b4b0c"  # mov 0xc(%rbx),%ecx
            "89c2"  # mov %eax,%edx
            "d1ea"  # shr %edx
            "21d0"  # and %edx,%eax
            "8b5308"  # mov 0x8(%rbx),%edx
            "31ca"  # xor %ecx,%edx
            "21d0"  # and %edx,%eax
            "39c1"  # cmp %eax,%ecx
            "7421"  # je b9
            "41c744240808000000"  # movl $0x8,0x8(%r12)
            "498b442410"  # mov 0x10(%r12),%rax
            "4883c408"  # add $0x8,%rsp
            "4c89ff"  # mov %r15,%rdi
            "5b"  # pop %rbx
            "5d"  # pop %rbp
            "415c"  # pop %r12
            "415d"  # pop %r13
            "415e"  # pop %r14
            "415f"  # pop %r15
            "ffe0"  # jmp *%rax
            "498b442458"  # mov 0x58(%r12),%rax
            "4883c408"  # add $0x8,%rsp
            "4c89e1"  # mov %r12,%rcx
            "4489f2"  # mov %r14d,%edx
            "5b"  # pop %rbx
            "4889ee"  # mov %rbp,%rsi
            "4c89ff"  # mov %r15,%rdi
            "5d"  # pop %rbp
            "415c"  # pop %r12
            "415d"  # pop %r13
            "415e"  # pop %r14
            "415f"  # pop %r15
            "ffe0"  # jmp *%rax
            "4c8b4150"  # mov 0x50(%rcx),%r8
            "4d85c0"  # test %r8,%r8
            "7420"  # je 103
            "4889f0"  # mov %rsi,%rax
            "4d8b4040"  # mov 0x40(%r8),%r8
            "48c1e803"  # shr $0x3,%rax
            "25ff1f0000"  # and $0x1fff,%eax
            "450fb60400"  # movzbl (%r8,%rax,1),%r8d
            "89f0"  # mov %esi,%eax
            "83e007"  # and $0x7,%eax
            "410fa3c0"  # bt %eax,%r8d
            "7203"  # jb 106
            "ff6158"  # jmp *0x58(%rcx)
            "e9f5feffff"  # jmp 0
        ),
        0xDA,
    ),
    "aarch64": _Code(
        b"".join(
            word.to_bytes(4, "little")
            for word in (
                0xD28F_82A5,  # mov x5, #0x7c15
                0xA9BC_7BFD,  # stp x29, x30, [sp, #-64]!
                0xF2AF_E945,  # movk x5, #0x7f4a, lsl #16
                0xF2CF_3725,  # movk x5, #0x79b9, lsl #32
                0x9100_03FD,  # mov x29, sp
                0xF2F3_C6E5,  # movk x5, #0x9e37, lsl #48
                0xA902_5BF5,  # stp x21, x22, [sp, #32]
                0xAA03_03F5,  # mov x21, x3
                0x9B05_7C25,  # mul x5, x1, x5
                0xF940_2876,  # ldr x22, [x3, #80]
                0xA901_53F3,  # stp x19, x20, [sp, #16]
                0xD360_FCA5,  # lsr x5, x5, #32
                0xAA01_03F3,  # mov x19, x1
                0xA903_63F7,  # stp x23, x24, [sp, #48]
                0xAA00_03F7,  # mov x23, x0
                0xA943_1AC1,  # ldp x1, x6, [x22, #48]
                0x2A02_03F8,  # mov w24, w2
                0x1400_0002,  # b 4c
                0xB400_0464,  # cbz x4, d4
                0x8A05_0024,  # and x4, x1, x5
                0x9100_04A5,  # add x5, x5, #0x1
                0xD37C_EC84,  # lsl x4, x4, #4
                0x8B04_00D4,  # add x20, x6, x4
                0xF864_68C4,  # ldr x4, [x6, x4]
                0xEB13_009F,  # cmp x4, x19
                0x54FF_FF21,  # b.ne 48
                0xAA16_03E1,  # mov x1, x22
                0x9100_42C2,  # add x2, x22, #0x10
                0x5280_0043,  # mov w3, #0x2
                0xAA17_03E0,  # mov x0, x23
                0xF840_8424,  # ldr x4, [x1], #8
                0xD63F_0080,  # blr x4
                0xA942_06C0,  # ldp x0, x1, [x22, #32]
                0x2941_0E82,  # ldp w2, w3, [x20, #8]
                0x4A02_0062,  # eor w2, w3, w2
                0xD34A_FC00,  # lsr x0, x0, #10
                0x0B01_4021,  # add w1, w1, w1, lsl #16
                0x121F_0800,  # and w0, w0, #0xe
                0x1AC0_2421,  # lsr w1, w1, w0
                0x0A41_0421,  # and w1, w1, w1, lsr #1
                0x0A02_0021,  # and w1, w1, w2
                0x6B01_007F,  # cmp w3, w1
                0x5400_0160,  # b.eq d4
                0xA941_53F3,  # ldp x19, x20, [sp, #16]
                0x5280_0100,  # mov w0, #0x8
                0xB900_0AA0,  # str w0, [x21, #8]
                0xAA17_03E0,  # mov x0, x23
                0xF940_0AA1,  # ldr x1, [x21, #16]
                0xA942_5BF5,  # ldp x21, x22, [sp, #32]
                0xAA01_03F0,  # mov x16, x1
                0xA943_63F7,  # ldp x23, x24, [sp, #48]
                0xA8C4_7BFD,  # ldp x29, x30, [sp], #64
                0xD61F_0200,  # br x16
                0xF940_2EA4,  # ldr x4, [x21, #88]
                0x2A18_03E2,  # mov w2, w24
                0xAA13_03E1,  # mov x1, x19
                0xAA17_03E0,  # mov x0, x23
                0xA941_53F3,  # ldp x19, x20, [sp, #16]
                0xAA15_03E3,  # mov x3, x21
                0xA942_5BF5,  # ldp x21, x22, [sp, #32]
                0xAA04_03F0,  # mov x16, x4
                0xA943_63F7,  # ldp x23, x24, [sp, #48]
                0xA8C4_7BFD,  # ldp x29, x30, [sp], #64
                0xD61F_0200,  # br x16
                0xF940_2868,  # ldr x8, [x3, #80]
                0xAA03_03E4,  # mov x4, x3
                0xAA00_03E6,  # mov x6, x0
                0xAA01_03E5,  # mov x5, x1
                0x2A02_03E7,  # mov w7, w2
                0xB400_00E8,  # cbz x8, 130
                0xF940_210A,  # ldr x10, [x8, #64]
                0xD343_3C28,  # ubfx x8, x1, #3, #13
                0x1200_0829,  # and w9, w1, #0x7
                0x3868_6948,  # ldrb w8, [x10, x8]
                0x1AC9_2908,  # asr w8, w8, w9
                0x3700_0108,  # tbnz w8, #0, 14c
                0xF940_2C88,  # ldr x8, [x4, #88]
                0x2A07_03E2,  # mov w2, w7
                0xAA05_03E1,  # mov x1, x5
                0xAA06_03E0,  # mov x0, x6
                0xAA04_03E3,  # mov x3, x4
                0xAA08_03F0,  # mov x16, x8
                0xD61F_0200,  # br x16
                0x17FF_FFAD,  # b 0
            )
        ),
        0x100,
    ),
}
_ROW: Final = np.dtype([("address", "<u8"), ("full", "<u4"), ("empty", "<u4")])
_BITS: Final = 1 << 16
_FEWEST: Final = 256


class _Watch(ctypes.Structure):
    _fields_ = (
        ("read", ctypes.c_void_p),  #: the address of uc_reg_read_batch
        ("registers", ctypes.c_int32 * 2),  #: the status word and the tags
        ("places", ctypes.c_void_p * 2),
        ("values", ctypes.c_uint64 * 2),
        ("mask", ctypes.c_uint64),  #: the number of rows less 1
        ("rows", ctypes.c_void_p),
        ("bits", ctypes.c_void_p),
    )


class StackWatch:
    """The blocks of one engine. `request` is its data of the hook; `read` the address of uc_reg_read_batch,
    `registers` Unicorn's numbers of the status word and the tags.
    """

    def __init__(self, request: StopRequest, read: ctypes.c_void_p, registers: tuple[int, int]) -> None:
        self._request, self._needs = request, dict[int, StackNeeds]()
        self._data = _Watch(read=read, registers=registers)
        values = ctypes.addressof(self._data) + _Watch.values.offset
        self._data.places[:] = values, values + 8
        self._bits: Any = None

    def add(self, address: int, needs: StackNeeds) -> None:
        """Stop before the block at an address, unless these hold."""
        known = self._needs.get(address)
        if known is not None:
            needs = StackNeeds(known.full | needs.full, known.empty | needs.empty)
        self._set(address, needs)

    def remove(self, address: int) -> None:
        """Stop before this block no more."""
        if address in self._needs:
            self._set(address, StackNeeds(0, 0))

    def _set(self, address: int, needs: StackNeeds) -> None:
        if self._bits is None:
            self._bits = np.zeros(_BITS // 8, np.uint8)
            self._data.bits = self._bits.ctypes.data
            self._enlarge(_FEWEST)
            self._request.watch = ctypes.addressof(self._data)
        self._needs[address] = needs
        self._bits[address >> 3 & _BITS // 8 - 1] |= 1 << (address & 7)
        if 2 * len(self._needs) > len(self._rows):
            self._enlarge(2 * len(self._rows))
        else:
            self._put(address, needs)

    def _enlarge(self, count: int) -> None:
        self._rows = np.zeros(count, _ROW)
        self._data.rows, self._data.mask = self._rows.ctypes.data, count - 1
        for address, needs in self._needs.items():
            self._put(address, needs)

    def _put(self, address: int, needs: StackNeeds) -> None:
        at = (address * MULTIPLIER & (1 << 64) - 1) >> PLACE_SHIFT
        while self._rows[at & self._data.mask]["address"] not in (0, address):
            at += 1
        self._rows[at & self._data.mask] = address, needs.full, needs.empty


def stack_hook(next_hook: int, request: StopRequest) -> int | None:
    """The address of the hook; `next_hook` is the one it calls, with the same data."""
    request.next = next_hook
    code = STACK_CODE.get(HOST)
    address = mapped_code(None if code is None else code.content)
    return None if address is None or code is None else address + code.entry
