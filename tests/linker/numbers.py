"""Type numbers of the dynamic roles on each architecture, from the psABIs."""

from __future__ import annotations

SYMBOLIC = {
    "x86_64": 1,
    "i386": 1,
    "aarch64": 257,
    "arm": 2,
    "riscv64": 2,
    "riscv32": 1,
    "loongarch64": 2,
}
TPOFF = {
    "x86_64": 18,
    "i386": 14,
    "aarch64": 1030,
    "arm": 19,
    "riscv64": 11,
    "riscv32": 10,
    "loongarch64": 11,
}
DTPMOD = {
    "x86_64": 16,
    "i386": 35,
    "aarch64": 1028,
    "arm": 17,
    "riscv64": 7,
    "riscv32": 6,
    "loongarch64": 7,
}
COPY = {"x86_64": 5, "i386": 5, "aarch64": 1024, "arm": 20, "riscv64": 4, "riscv32": 4, "loongarch64": 4}
