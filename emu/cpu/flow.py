"""Where blocks of code end, and whether they end in a conditional branch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from emu.cpu.loongarch64.decoding import branch
from emu.isa.registry import ISAS
from relink.errors import RelinkError
from relink.records import cached_property

_LONGEST_BLOCK = 2048  #: bytes
_X86_CONDITIONAL = ("loop", "jcxz", "jecxz", "jrcxz")
_FIXED_CONDITIONAL = frozenset(
    "beq bne blt bge bltu bgeu beqz bnez blez bgez bltz bgtz c.beqz c.bnez cbz cbnz tbz tbnz".split()
)


class Instruction(NamedTuple):
    """An instruction, as far as the flow of control is concerned."""

    address: int
    size: int
    leaves: bool  #: whether another than the next may follow
    conditional: bool  #: whether it is a branch that may be taken or not


class Flow:
    """The flow of control in the code of one ISA. `read` returns guest bytes or raises RelinkError."""

    def __init__(self, arch: str, read: Callable[[int, int], bytes]) -> None:
        self._arch, self._read = arch, read

    def block_size(self, address: int, *, thumb: bool = False) -> int:
        """The size of the block that begins at an address; 0 if nothing is mapped there."""
        end = address
        for instruction in self._instructions(address, address + _LONGEST_BLOCK, thumb=thumb):
            end = instruction.address + instruction.size
            if instruction.leaves:
                break
        return end - address

    def conditional_end(self, address: int, size: int, *, thumb: bool = False) -> bool:
        """Whether the block ends in a conditional branch."""
        found = list(self._instructions(address, address + size, thumb=thumb))
        return bool(found) and found[-1].conditional and found[-1].address + found[-1].size == address + size

    def _instructions(self, start: int, end: int, *, thumb: bool) -> Iterator[Instruction]:
        code = self._code(start, end)
        if self._arch == "loongarch64":
            for offset in range(0, len(code) - 3, 4):
                at = start + offset
                jump = branch(int.from_bytes(code[offset : offset + 4], "little"), at)
                conditional = jump is not None and jump.target is not None and jump.falls_through
                call = int.from_bytes(code[offset : offset + 4], "little") >> 26 == 0x15
                yield Instruction(at, 4, jump is not None, conditional and not call)
            return
        if self._arch in ("riscv64", "riscv32"):
            yield from self._riscv(code, start)
            return
        engine = self._thumb if thumb else self._plain
        for instruction in engine.disasm(code, start):
            name: str = instruction.mnemonic
            yield Instruction(
                instruction.address, instruction.size, self._leaves(instruction), self._is_conditional(name)
            )

    def _code(self, start: int, end: int) -> bytes:
        """The mapped bytes from the start of [start, end)."""
        try:
            return self._read(start, end - start)
        except RelinkError:
            try:
                return self._read(start, min(end, (start | 4095) + 1) - start)
            except RelinkError:
                return b""

    def _riscv(self, code: bytes, start: int) -> Iterator[Instruction]:
        """Branches by their opcodes: capstone does not know all extensions (Unprivileged ISA, tables 24.1,
        16.6).
        """
        offset, wide = 0, self._arch == "riscv64"
        while offset + 2 <= len(code):
            half = int.from_bytes(code[offset : offset + 2], "little")
            at = start + offset
            if half & 3 == 3:
                opcode = half & 0x7F
                system = opcode == 0x73 and half >> 12 & 7 == 0
                yield Instruction(at, 4, opcode in (0x63, 0x67, 0x6F) or system, opcode == 0x63)
                offset += 4
                continue
            kind = half & 3, half >> 13
            jumps = kind == (1, 5) or (kind == (1, 1) and not wide)
            by_register = kind == (2, 4) and not half >> 2 & 31
            conditional = kind in ((1, 6), (1, 7))
            yield Instruction(at, 2, jumps or by_register or conditional, conditional)
            offset += 2

    @cached_property
    def _plain(self) -> Any:
        return self._engine(0)

    @cached_property
    def _thumb(self) -> Any:
        return self._engine(-1)

    def _engine(self, number: int) -> Any:
        import capstone

        named = ISAS[self._arch].instruction_sets[number].capstone
        assert named is not None
        mode = sum(getattr(capstone, f"CS_MODE_{name}") for name in named[1])
        engine = capstone.Cs(getattr(capstone, f"CS_ARCH_{named[0]}"), mode)
        engine.detail = True
        return engine

    def _leaves(self, instruction: Any) -> bool:
        import capstone

        groups = instruction.groups
        if any(
            group in groups
            for group in (
                capstone.CS_GRP_JUMP,
                capstone.CS_GRP_CALL,
                capstone.CS_GRP_RET,
                capstone.CS_GRP_INT,
                capstone.CS_GRP_IRET,
                capstone.CS_GRP_BRANCH_RELATIVE,
            )
        ):
            return True
        if self._arch == "arm":
            return bool(capstone.arm.ARM_REG_PC in instruction.regs_access()[1])
        return bool(instruction.mnemonic in ("syscall", "sysenter", "svc", "brk", "hlt"))

    def _is_conditional(self, name: str) -> bool:
        if self._arch in ("x86_64", "i386"):
            return (name.startswith("j") and name != "jmp") or name.startswith(_X86_CONDITIONAL)
        name = name.removesuffix(".w").removesuffix(".n")
        if self._arch == "arm":
            return name in ("cbz", "cbnz") or (
                len(name) == 3 and name[0] == "b" and name not in ("bic", "blx", "bfi", "bfc")
            )
        return name in _FIXED_CONDITIONAL or name.startswith("b.")
