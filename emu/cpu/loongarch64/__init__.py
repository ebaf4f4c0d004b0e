"""LoongArch64 for icicle: the SLEIGH specification, and the instructions the host finishes for it.

The engine has no LoongArch, but it reads its instruction sets from files: it reads
`$GHIDRA_SRC/Ghidra/Processors/RISCV/data/languages/riscv.ldefs` when asked for `riscv64gc` and attaches no
RISC-V specific code to what it finds there. `Ghidra/` in this folder is such a tree; the language in it is
LoongArch64. The odd folder and id names are the price of an engine whose list of architectures is closed.
"""

from __future__ import annotations

from pathlib import Path

#: What `$GHIDRA_SRC` must name while the engine is constructed.
SLEIGH_ROOT = Path(__file__).parent
#: The name under which the engine accepts this instruction set.
ENGINE_ARCHITECTURE = "riscv64gc"
