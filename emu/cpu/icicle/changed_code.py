"""Code that changes while it runs: what the engine refuses, and how it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from emu.cpu.loongarch64.decoding import data_access
from emu.cpu.loongarch64.registers import PLAIN_REGISTERS
from emu.cpu.pages import PAGE_SIZE
from relink.memory.address_space import Protection

if TYPE_CHECKING:
    from emu.cpu.icicle.engine import Engine

#: A page for running a single instruction, at an address that `IcicleCpu.map` refuses.
SCRATCH_PAGE: Final = (1 << 63) - PAGE_SIZE


def is_other_code(engine: Engine, pc: int) -> bool:
    """Whether the engine, which says that code changes itself, refuses the instruction at `pc` because another was
    there when it was translated before; not because the instruction is a store to code.

    The engine looks for stores to code only at the first store to a page since code of it was translated.
    """
    if int(engine.raw.exception_value) != pc:
        return False
    word = int.from_bytes(engine.mem_read(pc, 4), "little")
    access = data_access(word, lambda number: engine.reg_read(PLAIN_REGISTERS[f"r{number}"]) if number else 0)
    return access is None or not access.writes or access.address != pc


def run_alone(engine: Engine, pc: int) -> bool:
    """Execute the store at `pc`, in an engine that has no translations; False where it faults.

    If the code that it changes follows closely, both would be translated together, and the store be refused again.
    So a copy of the store is executed alone at the end of a separate page. (No store is relative to pc.)
    """
    engine.mem_map(SCRATCH_PAGE, PAGE_SIZE, Protection.R | Protection.X)
    alone, raw = SCRATCH_PAGE + PAGE_SIZE - 4, engine.raw
    engine.mem_write(alone, engine.mem_read(pc, 4))
    raw.pc = alone
    raw.icount_limit = raw.icount + 1
    done: bool = raw.run() == engine.words.instruction_limit
    engine.mem_unmap(SCRATCH_PAGE, PAGE_SIZE)
    raw.pc = pc + 4 if done else pc
    return done
