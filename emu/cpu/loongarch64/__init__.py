"""LoongArch64 for icicle: the SLEIGH specification, and the instructions that the host executes.

The engine does not support LoongArch, but it reads its instruction sets from files: for `riscv64` and `riscv64gc`
it reads `$GHIDRA_SRC/Ghidra/Processors/RISCV/data/languages/riscv.ldefs`, and adds no RISC-V specific code.
`Ghidra/` in this folder is such a tree with the language LoongArch64, in a form for either kind of engine. The
folder and id names are those of RISC-V because the engine's list of architectures is fixed.
"""

from __future__ import annotations

from pathlib import Path

#: The value of `$GHIDRA_SRC` while the engine is created.
SLEIGH_ROOT = Path(__file__).parent
#: The name under which the engine accepts this instruction set, by whether it compiles.
ENGINE_ARCHITECTURES = {False: "riscv64gc", True: "riscv64"}
