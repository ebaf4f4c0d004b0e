"""Each machine's dynamic relocation types, and the formulas of `reference`, written out."""

# ruff: noqa: N803  (the psABIs' letters)

from __future__ import annotations

from collections.abc import Callable, Mapping

RELATIVE = {
    "x86_64": 8,
    "i386": 8,
    "aarch64": 1027,
    "arm": 23,
    "riscv64": 3,
    "riscv32": 3,
    "loongarch64": 3,
}
IRELATIVE = {
    "x86_64": 37,
    "i386": 42,
    "aarch64": 1032,
    "arm": 160,
    "riscv64": 58,
    "riscv32": 58,
    "loongarch64": 12,
}
JUMP_SLOT = {
    "x86_64": 7,
    "i386": 7,
    "aarch64": 1026,
    "arm": 22,
    "riscv64": 5,
    "riscv32": 5,
    "loongarch64": 5,
}
COPY = {"x86_64": 5, "i386": 5, "aarch64": 1024, "arm": 20, "riscv64": 4, "riscv32": 4, "loongarch64": 4}
DESCRIPTOR = {
    "x86_64": 36,
    "i386": 41,
    "aarch64": 1031,
    "arm": 13,
    "riscv64": 12,
    "riscv32": 12,
    "loongarch64": 14,
}

#: type → (bytes written, value), by machine. Letters as in the psABIs; M and T are the module's id and offset.
Formula = Callable[..., Mapping[int, tuple[int, int]]]


def x86_64(S: int, A: int, P: int, B: int, M: int, T: int, Z: int) -> Mapping[int, tuple[int, int]]:
    return {
        1: (8, S + A), 2: (4, S + A - P), 6: (8, S), 7: (8, S), 8: (8, B + A), 10: (4, S + A), 11: (4, S + A),
        16: (8, M), 17: (8, S + A), 18: (8, S + A + T), 24: (8, S + A - P), 32: (4, Z + A), 33: (8, Z + A),
    }  # fmt: skip


def i386(S: int, A: int, P: int, B: int, M: int, T: int, Z: int) -> Mapping[int, tuple[int, int]]:
    return {
        1: (4, S + A), 2: (4, S + A - P), 6: (4, S), 7: (4, S), 8: (4, B + A), 14: (4, S + A + T),
        35: (4, M), 36: (4, S + A), 37: (4, A - (S + T)), 38: (4, Z + A),
    }  # fmt: skip


def aarch64(S: int, A: int, P: int, B: int, M: int, T: int, Z: int) -> Mapping[int, tuple[int, int]]:
    return {
        257: (8, S + A), 258: (4, S + A), 260: (8, S + A - P), 261: (4, S + A - P), 1025: (8, S + A),
        1026: (8, S + A), 1027: (8, B + A), 1028: (8, M), 1029: (8, S + A), 1030: (8, S + A + T),
    }  # fmt: skip


def arm(S: int, A: int, P: int, B: int, M: int, T: int, Z: int) -> Mapping[int, tuple[int, int]]:
    return {
        2: (4, S + A),
        3: (4, S + A - P),
        17: (4, M),
        18: (4, S + A),
        19: (4, S + A + T),
        21: (4, S),
        22: (4, S),
        23: (4, B + A),
    }


def riscv64(S: int, A: int, P: int, B: int, M: int, T: int, Z: int) -> Mapping[int, tuple[int, int]]:
    return {
        1: (4, S + A),
        2: (8, S + A),
        3: (8, B + A),
        5: (8, S),
        7: (8, M),
        9: (8, S + A - 0x800),
        11: (8, S + A + T),
        57: (4, S + A - P),
    }


def riscv32(S: int, A: int, P: int, B: int, M: int, T: int, Z: int) -> Mapping[int, tuple[int, int]]:
    return {
        1: (4, S + A),
        3: (4, B + A),
        5: (4, S),
        6: (4, M),
        8: (4, S + A - 0x800),
        10: (4, S + A + T),
        57: (4, S + A - P),
    }


def loongarch64(S: int, A: int, P: int, B: int, M: int, T: int, Z: int) -> Mapping[int, tuple[int, int]]:
    return {
        1: (4, S + A),
        2: (8, S + A),
        3: (8, B + A),
        5: (8, S),
        7: (8, M),
        9: (8, S + A),
        11: (8, S + A + T),
        99: (4, S + A - P),
        109: (8, S + A - P),
    }


MACHINES: Mapping[str, Formula] = {
    f.__name__: f for f in (x86_64, i386, aarch64, arm, riscv64, riscv32, loongarch64)
}
