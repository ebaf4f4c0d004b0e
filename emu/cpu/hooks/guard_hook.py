"""Machine code for the host that stops Unicorn before an instruction if an operand is a signalling NaN, or if an
MMX register does not have ones as its exponent, or if the upper half of a register matters.

Called by the C ABI as the hook of `emu.cpu.hooks.stop_hook` is, with a `Guard` as the user data, compiled by GCC
from:

    struct Request { int64_t left; int stopped; void (*stop)(void *); };
    struct Guard {
        struct Request *request;
        int (*read)(void *, int, void *);
        int registers[2];
        uint64_t shift, limit, quiet;
    };
    void guard(void *engine, uint64_t address, uint32_t size, struct Guard *guard)
    {
        struct Request *request = guard->request;
        if (request->left != 1) {
            if (request->left > 1)
                request->left--;
            return;
        }
        for (int i = 0; i < 2; i++) {
            uint64_t value = 0;
            guard->read(engine, guard->registers[i], &value);
            if ((value << guard->shift) > guard->limit && !(value & guard->quiet)) {
                request->stopped = 1;
                request->stop(engine);
                return;
            }
        }
    }
    void exponent(void *engine, uint64_t address, uint32_t size, struct Guard *guard)
    {
        struct Request *request = guard->request;
        uint64_t value[2];
        if (request->left != 1) {
            if (request->left > 1)
                request->left--;
            return;
        }
        guard->read(engine, guard->registers[0], value);
        if ((uint16_t)value[1] != 0xffff) {
            request->stopped = 1;
            request->stop(engine);
        }
    }
    void upper(void *engine, uint64_t address, uint32_t size, struct Guard *guard)
    {
        struct Request *request = guard->request;
        uint64_t low = 0, kept = 0;
        if (request->left != 1) {
            if (request->left > 1)
                request->left--;
            return;
        }
        guard->read(engine, guard->registers[0], &kept);
        guard->read(engine, guard->registers[1], &low);
        if (kept >> 32 && !(low & guard->quiet)) {
            request->stopped = 1;
            request->stop(engine);
        }
    }
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Final

from emu.cpu.hooks.stop_hook import HOST, mapped_code

GUARD_CODE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "4156"  # push %r14
        "4155"  # push %r13
        "4154"  # push %r12
        "55"  # push %rbp
        "53"  # push %rbx
        "4883ec10"  # sub $0x10,%rsp
        "4c8b29"  # mov (%rcx),%r13
        "498b4500"  # mov 0x0(%r13),%rax
        "4883f801"  # cmp $0x1,%rax
        "7417"  # je 30
        "7e08"  # jle 23
        "4883e801"  # sub $0x1,%rax
        "49894500"  # mov %rax,0x0(%r13)
        "4883c410"  # add $0x10,%rsp
        "5b"  # pop %rbx
        "5d"  # pop %rbp
        "415c"  # pop %r12
        "415d"  # pop %r13
        "415e"  # pop %r14
        "c3"  # ret
        "4989fc"  # mov %rdi,%r12
        "4889cb"  # mov %rcx,%rbx
        "bd00000000"  # mov $0x0,%ebp
        "4c8d742408"  # lea 0x8(%rsp),%r14
        "eb0a"  # jmp 4c
        "4883c504"  # add $0x4,%rbp
        "4883fd08"  # cmp $0x8,%rbp
        "74d7"  # je 23
        "48c744240800000000"  # movq $0x0,0x8(%rsp)
        "8b742b10"  # mov 0x10(%rbx,%rbp,1),%esi
        "4c89f2"  # mov %r14,%rdx
        "4c89e7"  # mov %r12,%rdi
        "ff5308"  # call *0x8(%rbx)
        "488b442408"  # mov 0x8(%rsp),%rax
        "488b4b18"  # mov 0x18(%rbx),%rcx
        "4889c2"  # mov %rax,%rdx
        "48d3e2"  # shl %cl,%rdx
        "48395320"  # cmp %rdx,0x20(%rbx)
        "73cb"  # jae 42
        "48234328"  # and 0x28(%rbx),%rax
        "75c5"  # jne 42
        "41c7450801000000"  # movl $0x1,0x8(%r13)
        "4c89e7"  # mov %r12,%rdi
        "41ff5510"  # call *0x10(%r13)
        "eb95"  # jmp 23
    ),
    "aarch64": b"".join(
        word.to_bytes(4, "little")
        for word in (
            0xA9BB_7BFD,  # stp x29, x30, [sp, #-80]!
            0x9100_03FD,  # mov x29, sp
            0xA902_5BF5,  # stp x21, x22, [sp, #32]
            0xF940_0076,  # ldr x22, [x3]
            0xF940_02C1,  # ldr x1, [x22]
            0xF100_043F,  # cmp x1, #0x1
            0x5400_00A0,  # b.eq 2c
            0x5400_050D,  # b.le bc
            0xD100_0421,  # sub x1, x1, #0x1
            0xF900_02C1,  # str x1, [x22]
            0x1400_0025,  # b bc
            0xA901_53F3,  # stp x19, x20, [sp, #16]
            0xA903_63F7,  # stp x23, x24, [sp, #48]
            0xAA00_03F5,  # mov x21, x0
            0xAA03_03F3,  # mov x19, x3
            0x9100_4074,  # add x20, x3, #0x10
            0x9100_6078,  # add x24, x3, #0x18
            0x9101_23F7,  # add x23, sp, #0x48
            0x1400_0004,  # b 58
            0x9100_1294,  # add x20, x20, #0x4
            0xEB18_029F,  # cmp x20, x24
            0x5400_0300,  # b.eq b4
            0xF900_27FF,  # str xzr, [sp, #72]
            0xF940_0663,  # ldr x3, [x19, #8]
            0xAA17_03E2,  # mov x2, x23
            0xB940_0281,  # ldr w1, [x20]
            0xAA15_03E0,  # mov x0, x21
            0xD63F_0060,  # blr x3
            0xF940_27E2,  # ldr x2, [sp, #72]
            0xF940_0E61,  # ldr x1, [x19, #24]
            0x9AC1_2041,  # lsl x1, x2, x1
            0xF940_1260,  # ldr x0, [x19, #32]
            0xEB00_003F,  # cmp x1, x0
            0x54FF_FE49,  # b.ls 4c
            0xF940_1660,  # ldr x0, [x19, #40]
            0xEA00_005F,  # tst x2, x0
            0x54FF_FDE1,  # b.ne 4c
            0x5280_0020,  # mov w0, #0x1
            0xB900_0AC0,  # str w0, [x22, #8]
            0xF940_0AC1,  # ldr x1, [x22, #16]
            0xAA15_03E0,  # mov x0, x21
            0xD63F_0020,  # blr x1
            0xA941_53F3,  # ldp x19, x20, [sp, #16]
            0xA943_63F7,  # ldp x23, x24, [sp, #48]
            0x1400_0003,  # b bc
            0xA941_53F3,  # ldp x19, x20, [sp, #16]
            0xA943_63F7,  # ldp x23, x24, [sp, #48]
            0xA942_5BF5,  # ldp x21, x22, [sp, #32]
            0xA8C5_7BFD,  # ldp x29, x30, [sp], #80
            0xD65F_03C0,  # ret
        )
    ),
}


#: The same for an exponent.
EXPONENT_CODE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "55"  # push %rbp
        "53"  # push %rbx
        "4883ec18"  # sub $0x18,%rsp
        "488b29"  # mov (%rcx),%rbp
        "488b4500"  # mov 0x0(%rbp),%rax
        "4883f801"  # cmp $0x1,%rax
        "7415"  # je 28
        "7e08"  # jle 1d
        "4883e801"  # sub $0x1,%rax
        "48894500"  # mov %rax,0x0(%rbp)
        "4883c418"  # add $0x18,%rsp
        "5b"  # pop %rbx
        "5d"  # pop %rbp
        "c3"  # ret
        "0f1f4000"  # nopl 0x0(%rax)
        "8b7110"  # mov 0x10(%rcx),%esi
        "4889fb"  # mov %rdi,%rbx
        "4889e2"  # mov %rsp,%rdx
        "ff5108"  # call *0x8(%rcx)
        "66837c2408ff"  # cmpw $0xffff,0x8(%rsp)
        "74e1"  # je 1d
        "c7450801000000"  # movl $0x1,0x8(%rbp)
        "4889df"  # mov %rbx,%rdi
        "ff5510"  # call *0x10(%rbp)
        "4883c418"  # add $0x18,%rsp
        "5b"  # pop %rbx
        "5d"  # pop %rbp
        "c3"  # ret
    ),
    "aarch64": b"".join(
        word.to_bytes(4, "little")
        for word in (
            0xA9BC_7BFD,  # stp x29, x30, [sp, #-64]!
            0x9100_03FD,  # mov x29, sp
            0xF900_13F5,  # str x21, [sp, #32]
            0xF940_0075,  # ldr x21, [x3]
            0xA901_53F3,  # stp x19, x20, [sp, #16]
            0xF940_02B4,  # ldr x20, [x21]
            0xF100_069F,  # cmp x20, #0x1
            0x5400_0100,  # b.eq 3c
            0x5400_006D,  # b.le 2c
            0xD100_0694,  # sub x20, x20, #0x1
            0xF900_02B4,  # str x20, [x21]
            0xA941_53F3,  # ldp x19, x20, [sp, #16]
            0xF940_13F5,  # ldr x21, [sp, #32]
            0xA8C4_7BFD,  # ldp x29, x30, [sp], #64
            0xD65F_03C0,  # ret
            0xF940_0464,  # ldr x4, [x3, #8]
            0xAA00_03F3,  # mov x19, x0
            0xB940_1061,  # ldr w1, [x3, #16]
            0x9100_C3E2,  # add x2, sp, #0x30
            0xD63F_0080,  # blr x4
            0x7940_73E1,  # ldrh w1, [sp, #56]
            0x529F_FFE0,  # mov w0, #0xffff
            0x6B00_003F,  # cmp w1, w0
            0x54FF_FE80,  # b.eq 2c
            0xF940_0AA1,  # ldr x1, [x21, #16]
            0xB900_0AB4,  # str w20, [x21, #8]
            0xAA13_03E0,  # mov x0, x19
            0xD63F_0020,  # blr x1
            0xA941_53F3,  # ldp x19, x20, [sp, #16]
            0xF940_13F5,  # ldr x21, [sp, #32]
            0xA8C4_7BFD,  # ldp x29, x30, [sp], #64
            0xD65F_03C0,  # ret
        )
    ),
}


#: The same for the upper half of a register.
UPPER_CODE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "4154"  # push %r12
        "55"  # push %rbp
        "53"  # push %rbx
        "4883ec10"  # sub $0x10,%rsp
        "4c8b21"  # mov (%rcx),%r12
        "48c744240800000000"  # movq $0x0,0x8(%rsp)
        "48c7042400000000"  # movq $0x0,(%rsp)
        "498b0424"  # mov (%r12),%rax
        "4883f801"  # cmp $0x1,%rax
        "7413"  # je 39
        "7e08"  # jle 30
        "4883e801"  # sub $0x1,%rax
        "49890424"  # mov %rax,(%r12)
        "4883c410"  # add $0x10,%rsp
        "5b"  # pop %rbx
        "5d"  # pop %rbp
        "415c"  # pop %r12
        "c3"  # ret
        "4889fd"  # mov %rdi,%rbp
        "4889cb"  # mov %rcx,%rbx
        "4889e2"  # mov %rsp,%rdx
        "8b7110"  # mov 0x10(%rcx),%esi
        "ff5108"  # call *0x8(%rcx)
        "488d542408"  # lea 0x8(%rsp),%rdx
        "8b7314"  # mov 0x14(%rbx),%esi
        "4889ef"  # mov %rbp,%rdi
        "ff5308"  # call *0x8(%rbx)
        "837c240400"  # cmpl $0x0,0x4(%rsp)
        "74d3"  # je 30
        "488b4328"  # mov 0x28(%rbx),%rax
        "4823442408"  # and 0x8(%rsp),%rax
        "75c8"  # jne 30
        "41c744240801000000"  # movl $0x1,0x8(%r12)
        "4889ef"  # mov %rbp,%rdi
        "41ff542410"  # call *0x10(%r12)
        "ebb5"  # jmp 30
    ),
    "aarch64": b"".join(
        word.to_bytes(4, "little")
        for word in (
            0xA9BC_7BFD,  # stp x29, x30, [sp, #-64]!
            0x9100_03FD,  # mov x29, sp
            0xA901_53F3,  # stp x19, x20, [sp, #16]
            0xF900_13F5,  # str x21, [sp, #32]
            0xAA00_03F4,  # mov x20, x0
            0xF940_0075,  # ldr x21, [x3]
            0xF900_1FFF,  # str xzr, [sp, #56]
            0xF900_1BFF,  # str xzr, [sp, #48]
            0xF940_02A0,  # ldr x0, [x21]
            0xF100_041F,  # cmp x0, #0x1
            0x5400_0100,  # b.eq 48
            0x5400_006D,  # b.le 38
            0xD100_0400,  # sub x0, x0, #0x1
            0xF900_02A0,  # str x0, [x21]
            0xA941_53F3,  # ldp x19, x20, [sp, #16]
            0xF940_13F5,  # ldr x21, [sp, #32]
            0xA8C4_7BFD,  # ldp x29, x30, [sp], #64
            0xD65F_03C0,  # ret
            0xAA03_03F3,  # mov x19, x3
            0xF940_0463,  # ldr x3, [x3, #8]
            0x9100_C3E2,  # add x2, sp, #0x30
            0xB940_1261,  # ldr w1, [x19, #16]
            0xAA14_03E0,  # mov x0, x20
            0xD63F_0060,  # blr x3
            0xF940_0663,  # ldr x3, [x19, #8]
            0x9100_E3E2,  # add x2, sp, #0x38
            0xB940_1661,  # ldr w1, [x19, #20]
            0xAA14_03E0,  # mov x0, x20
            0xD63F_0060,  # blr x3
            0xB940_37E0,  # ldr w0, [sp, #52]
            0xB4FF_FE00,  # cbz x0, 38
            0xF940_1661,  # ldr x1, [x19, #40]
            0xF940_1FE0,  # ldr x0, [sp, #56]
            0xEA00_003F,  # tst x1, x0
            0x54FF_FD81,  # b.ne 38
            0x5280_0020,  # mov w0, #0x1
            0xB900_0AA0,  # str w0, [x21, #8]
            0xF940_0AA1,  # ldr x1, [x21, #16]
            0xAA14_03E0,  # mov x0, x20
            0xD63F_0020,  # blr x1
            0x17FF_FFE6,  # b 38
        )
    ),
}


class GuardData(ctypes.Structure):
    """The data of these hooks: two registers, and what a NaN is in them; or the first alone."""

    _fields_ = (
        ("request", ctypes.c_void_p),  #: the address of a StopRequest: 1 in `left`: look at the operands
        ("read", ctypes.c_void_p),  #: the address of uc_reg_read
        ("registers", ctypes.c_int32 * 2),
        ("shift", ctypes.c_uint64),  #: a NaN, shifted left by this, is more than `limit`
        ("limit", ctypes.c_uint64),
        (
            "quiet",
            ctypes.c_uint64,
        ),  #: the bit that is clear in a signalling NaN; bits that are clear in the second
    )


def formatted(guard: GuardData, double: bool) -> GuardData:
    """Set what a NaN of double or single precision is."""
    guard.shift = 1 if double else 33
    guard.limit = (0x7FF0 << 48 if double else 0x7F80 << 48) << 1
    guard.quiet = 1 << (51 if double else 22)
    return guard


def guard_hook() -> int | None:
    """The address of the hook; None on unsupported hosts."""
    return mapped_code(GUARD_CODE.get(HOST))


def exponent_hook() -> int | None:
    """The address of the hook for an exponent; None on unsupported hosts."""
    return mapped_code(EXPONENT_CODE.get(HOST))


def upper_hook() -> int | None:
    """The address of the hook for the upper half of a register; None on unsupported hosts."""
    return mapped_code(UPPER_CODE.get(HOST))
