"""Machine code for the host that tells Unicorn which pages hold code, when it fills its TLB.

It is the hook of Unicorn's UC_TLB_VIRTUAL mode, called by the C ABI with (engine, address of the page, kind of
access, a uc_tlb_entry, user data), where the user data is a Fill. A page that has been fetched from is noted in a
table of bits, by a hash of its address, and gets all permissions; any other gets those to read and to write. What
a mapping permits is checked by the engine elsewhere. In C:

    bool fill(void *engine, uint64_t page, int kind, struct { uint64_t address; int permissions; } *entry,
              struct Fill *fill)
    {
        uint64_t bit = (page >> 10) * fill->multiplier >> 46;
        uint8_t *noted = fill->fetched + bit / 8;
        entry->address = page;
        if (kind == 18) {                                        // UC_MEM_FETCH
            *noted |= 1 << bit % 8;
            entry->permissions = 7;
            return true;
        }
        entry->permissions = *noted >> bit % 8 & 1 ? 7 : 3;
        if (fill->it_state) {
            fill->read(engine, fill->number, &fill->value);
            if (fill->value & fill->it_state) {
                fill->value &= ~fill->it_state;
                fill->write(engine, fill->number, &fill->value);
            }
        }
        return true;
    }

The last part is for Thumb: for the hook Unicorn notes the place of the instruction, and with it the state of the
IT block, which translated code takes as clear until it ends (see `emu.cpu.unicorn.devices`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Final

from emu.cpu.hooks.stop_hook import HOST, MULTIPLIER, mapped_code

FILL_CODE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "488931"  # 0: mov [rcx], rsi
        "4889f0"  # 3: mov rax, rsi
        "48c1e80a"  # 6: shr rax, 0xa
        "490faf4038"  # a: imul rax, [r8 + 0x38]
        "48c1e82e"  # f: shr rax, 0x2e
        "4989c2"  # 13: mov r10, rax
        "49c1ea03"  # 16: shr r10, 3
        "4d0310"  # 1a: add r10, [r8]
        "83e007"  # 1d: and eax, 7
        "450fb61a"  # 20: movzx r11d, byte ptr [r10]
        "83fa12"  # 24: cmp edx, 0x12
        "7514"  # 27: jne 0x3d
        "410fabc3"  # 29: bts r11d, eax
        "45881a"  # 2d: mov byte ptr [r10], r11b
        "c7410807000000"  # 30: mov dword ptr [rcx + 8], 7
        "b801000000"  # 37: mov eax, 1
        "c3"  # 3c: ret
        "41b903000000"  # 3d: mov r9d, 3
        "410fa3c3"  # 43: bt r11d, eax
        "7306"  # 47: jae 0x4f
        "41b907000000"  # 49: mov r9d, 7
        "44894908"  # 4f: mov dword ptr [rcx + 8], r9d
        "b801000000"  # 53: mov eax, 1
        "4183783000"  # 58: cmp dword ptr [r8 + 0x30], 0
        "7501"  # 5d: jne 0x60
        "c3"  # 5f: ret
        "53"  # 60: push rbx
        "55"  # 61: push rbp
        "4883ec08"  # 62: sub rsp, 8
        "4889fb"  # 66: mov rbx, rdi
        "4c89c5"  # 69: mov rbp, r8
        "8b7520"  # 6c: mov esi, dword ptr [rbp + 0x20]
        "488d5528"  # 6f: lea rdx, [rbp + 0x28]
        "ff5510"  # 73: call [rbp + 0x10]
        "8b4528"  # 76: mov eax, dword ptr [rbp + 0x28]
        "8b4d30"  # 79: mov ecx, dword ptr [rbp + 0x30]
        "85c8"  # 7c: test eax, ecx
        "7414"  # 7e: je 0x94
        "f7d1"  # 80: not ecx
        "21c8"  # 82: and eax, ecx
        "894528"  # 84: mov dword ptr [rbp + 0x28], eax
        "4889df"  # 87: mov rdi, rbx
        "8b7520"  # 8a: mov esi, dword ptr [rbp + 0x20]
        "488d5528"  # 8d: lea rdx, [rbp + 0x28]
        "ff5518"  # 91: call [rbp + 0x18]
        "4883c408"  # 94: add rsp, 8
        "5d"  # 98: pop rbp
        "5b"  # 99: pop rbx
        "b801000000"  # 9a: mov eax, 1
        "c3"  # 9f: ret
    ),
    "aarch64": bytes.fromhex(
        "610000f9"  # 0: str x1, [x3]
        "25fc4ad3"  # 4: lsr x5, x1, #0xa
        "861c40f9"  # 8: ldr x6, [x4, #0x38]
        "a57c069b"  # c: mul x5, x5, x6
        "a5fc6ed3"  # 10: lsr x5, x5, #0x2e
        "860040f9"  # 14: ldr x6, [x4]
        "c60c458b"  # 18: add x6, x6, x5, lsr #3
        "c7004039"  # 1c: ldrb w7, [x6]
        "a5080012"  # 20: and w5, w5, #7
        "28008052"  # 24: mov w8, #1
        "0821c51a"  # 28: lsl w8, w8, w5
        "5f480071"  # 2c: cmp w2, #0x12
        "e1000054"  # 30: b.ne #0x4c
        "e700082a"  # 34: orr w7, w7, w8
        "c7000039"  # 38: strb w7, [x6]
        "e9008052"  # 3c: mov w9, #7
        "690800b9"  # 40: str w9, [x3, #8]
        "20008052"  # 44: mov w0, #1
        "c0035fd6"  # 48: ret
        "e9008052"  # 4c: mov w9, #7
        "6a008052"  # 50: mov w10, #3
        "ff00086a"  # 54: tst w7, w8
        "29118a1a"  # 58: csel w9, w9, w10, ne
        "690800b9"  # 5c: str w9, [x3, #8]
        "893040b9"  # 60: ldr w9, [x4, #0x30]
        "69000035"  # 64: cbnz w9, #0x70
        "20008052"  # 68: mov w0, #1
        "c0035fd6"  # 6c: ret
        "fd7bbea9"  # 70: stp x29, x30, [sp, #-0x20]!
        "f35301a9"  # 74: stp x19, x20, [sp, #0x10]
        "f30300aa"  # 78: mov x19, x0
        "f40304aa"  # 7c: mov x20, x4
        "812240b9"  # 80: ldr w1, [x20, #0x20]
        "82a20091"  # 84: add x2, x20, #0x28
        "890a40f9"  # 88: ldr x9, [x20, #0x10]
        "20013fd6"  # 8c: blr x9
        "892a40b9"  # 90: ldr w9, [x20, #0x28]
        "8a3240b9"  # 94: ldr w10, [x20, #0x30]
        "3f010a6a"  # 98: tst w9, w10
        "00010054"  # 9c: b.eq #0xbc
        "29012a0a"  # a0: bic w9, w9, w10
        "892a00b9"  # a4: str w9, [x20, #0x28]
        "e00313aa"  # a8: mov x0, x19
        "812240b9"  # ac: ldr w1, [x20, #0x20]
        "82a20091"  # b0: add x2, x20, #0x28
        "890e40f9"  # b4: ldr x9, [x20, #0x18]
        "20013fd6"  # b8: blr x9
        "f35341a9"  # bc: ldp x19, x20, [sp, #0x10]
        "fd7bc2a8"  # c0: ldp x29, x30, [sp], #0x20
        "20008052"  # c4: mov w0, #1
        "c0035fd6"  # c8: ret
    ),
}
TABLE_BYTES: Final = 1 << 18 >> 3


class Fill(ctypes.Structure):
    """The data of the hook."""

    _fields_ = (
        ("fetched", ctypes.c_void_p),  #: TABLE_BYTES bytes
        ("unused", ctypes.c_uint64),
        ("read", ctypes.c_void_p),  #: uc_reg_read
        ("write", ctypes.c_void_p),  #: uc_reg_write
        ("number", ctypes.c_uint64),  #: of CPSR
        ("value", ctypes.c_uint64),
        ("it_state", ctypes.c_uint64),  #: its bits in CPSR; 0: not Arm
        ("multiplier", ctypes.c_uint64),
    )

    value: int


def fill(table: int, read: int | None, write: int | None, cpsr: int | None, it_state: int) -> Fill:
    """The data for a table at this address, and for Arm the number of CPSR."""
    return Fill(table, 0, read, write, cpsr or 0, 0, 0 if cpsr is None else it_state, MULTIPLIER)


def fill_hook() -> int | None:
    """The address of the hook; None where `emu.cpu.hooks.stop_hook` has none."""
    return mapped_code(FILL_CODE.get(HOST))
