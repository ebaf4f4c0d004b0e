"""The registers of LoongArch64: their names in the psABI and in the SLEIGH specification.

Source: LoongArch Reference Manual volume 1, chapters 2.1 and 3.1; LoongArch ELF psABI, register convention.
"""

from __future__ import annotations

#: r0 to r31 under their psABI names. r21 is reserved and has no other name.
INTEGER_REGISTERS: tuple[str, ...] = (
    "zero", "ra", "tp", "sp",
    *(f"a{number}" for number in range(8)),
    *(f"t{number}" for number in range(9)),
    "r21", "fp",
    *(f"s{number}" for number in range(9)),
)  # fmt: skip

FLOAT_REGISTERS = tuple(f"f{number}" for number in range(32))
#: The upper halves of vector registers; the lower halves are the floating-point registers.
VECTOR_UPPER_HALVES = tuple(f"v{number}_h" for number in range(32))
CONDITION_FLAGS = tuple(f"fcc{number}" for number in range(8))

#: Not architectural: the reservation of ll/sc, and the last floating-point operation, from which the Cause field
#: of fcsr is computed when it is read (see `hostops`).
HIDDEN_REGISTERS: tuple[str, ...] = (
    "ll_valid", "ll_address", "ll_value", "cause_word", "cause_j", "cause_k", "cause_a",
    "cause_jh", "cause_kh", "cause_ah",
)  # fmt: skip

#: The complete state of the hart, under the names of the SLEIGH specification.
ENGINE_REGISTERS = (
    *INTEGER_REGISTERS,
    *FLOAT_REGISTERS,
    *VECTOR_UPPER_HALVES,
    *CONDITION_FLAGS,
    "fcsr",
    *HIDDEN_REGISTERS,
    "pc",
)

#: Every accepted name of a register -> its name in the SLEIGH specification.
ALIASES: dict[str, str] = {
    **{name: name for name in (*INTEGER_REGISTERS, *FLOAT_REGISTERS, *CONDITION_FLAGS, "fcsr", "pc")},
    **{f"r{number}": name for number, name in enumerate(INTEGER_REGISTERS)},
    **{f"fa{number}": f"f{number}" for number in range(8)},
    **{f"ft{number}": f"f{number + 8}" for number in range(16)},
    **{f"fs{number}": f"f{number + 24}" for number in range(8)},
    "s9": "fp",
}

#: The same of those that are written as they are: 64 bits, and nothing else depends on them.
PLAIN_REGISTERS: dict[str, str] = {
    name: register for name, register in ALIASES.items() if register not in {"zero", "fcsr", *CONDITION_FLAGS}
}

#: The 128-bit registers by both their names -> their halves, the lower first.
VECTOR_REGISTERS: dict[str, tuple[str, str]] = {
    f"{prefix}{number}": halves
    for number, halves in enumerate(zip(FLOAT_REGISTERS, VECTOR_UPPER_HALVES, strict=True))
    for prefix in ("v", "vr")
}

#: The implemented bits of registers that are not 64 bits wide.
WRITE_MASKS: dict[str, int] = {**dict.fromkeys(CONDITION_FLAGS, 1), "fcsr": 0x1F1F031F}
