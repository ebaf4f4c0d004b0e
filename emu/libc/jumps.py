"""setjmp and longjmp, at the trap: what the ABI has a callee preserve is what a jump buffer holds.

The registers are kept in the guest's own jmp_buf, so a copied buffer works as it does in C. Every libc's
jmp_buf has room: the largest set here is AArch64's 22 words, of glibc's 39.

After a host function, the machine resumes at the return address (a register, or the top of the stack).
`longjmp` puts that, the stack pointer and the preserved registers back as they were at `setjmp`'s entry, and
so returns from `setjmp` a second time. Jumping over a frame of the host (out of a comparator that qsort
called, say) would leave that host call waiting for ever: it is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc


@dataclass(frozen=True, slots=True)
class Preserved:
    """Callee-saved registers, beside sp. `link` None: the return address is on the stack."""

    integers: tuple[str, ...]
    floats: tuple[str, ...]
    link: str | None


def _numbered(letter: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(f"{letter}{n}" for n in range(first, last + 1))


_RISCV = Preserved(_numbered("s", 0, 11), _numbered("fs", 0, 11), "ra")
#: The psABIs' "preserved across calls".
PRESERVED: dict[str, Preserved] = {
    "x86_64": Preserved(("rbx", "rbp", *_numbered("r", 12, 15)), (), None),
    "i386": Preserved(("ebx", "esi", "edi", "ebp"), (), None),
    "aarch64": Preserved(_numbered("x", 19, 29), _numbered("d", 8, 15), "x30"),
    "arm": Preserved(_numbered("r", 4, 11), _numbered("d", 8, 15), "lr"),
    "riscv64": _RISCV,
    "riscv32": _RISCV,
    "loongarch64": Preserved(("r21", "fp", *_numbered("s", 0, 8)), _numbered("fs", 0, 7), "ra"),
}


def _return_address(libc: Libc, saved: Preserved, stack: int) -> int:
    return libc.pointer(stack) if saved.link is None else libc.registers.read_register(saved.link)


@export("int setjmp(void *buffer)", alias=("_setjmp",))
def setjmp(libc: Libc, buffer: int) -> int:
    saved = PRESERVED[libc.arch.name]
    read = libc.registers.read_register
    stack = read("sp")
    words = [_return_address(libc, saved, stack), stack, libc.call_depth, *map(read, saved.integers)]
    block = b"".join(word.to_bytes(libc.word, "little") for word in words)
    block += bytes(-len(block) % 8)
    block += b"".join((read(name) & ((1 << 64) - 1)).to_bytes(8, "little") for name in saved.floats)
    libc.memory.write(buffer, block)
    return 0


@export("int __sigsetjmp(void *buffer, int save_mask)", alias=("sigsetjmp",))
def sigsetjmp(libc: Libc, buffer: int, save_mask: int) -> int:
    return setjmp(libc, buffer)


@export("int longjmp(void *buffer, int value)", alias=("_longjmp", "siglongjmp", "__longjmp_chk"))
def longjmp(libc: Libc, buffer: int, value: int) -> int:
    saved = PRESERVED[libc.arch.name]
    registers = libc.registers
    integers = 3 + len(saved.integers)
    floats_at = (integers * libc.word + 7) & -8
    block = libc.memory.read(buffer, floats_at + 8 * len(saved.floats))
    words = [int.from_bytes(block[i : i + libc.word], "little") for i in range(0, integers * libc.word, libc.word)]
    target, stack, depth = words[:3]
    if not target:
        raise GuestAbort(f"longjmp with a buffer no setjmp filled, at {buffer:#x}")
    if depth != libc.call_depth:
        raise GuestAbort(
            f"longjmp by {buffer:#x} out of a call that Python made: "
            f"setjmp ran at call depth {depth}, longjmp at {libc.call_depth}"
        )
    if stack < registers.read_register("sp"):
        raise GuestAbort(f"longjmp into a function that has returned (stack {stack:#x}), by {buffer:#x}")
    registers.write_register("sp", stack)
    for name, word in zip(saved.integers, words[3:], strict=True):
        registers.write_register(name, word)
    for number, name in enumerate(saved.floats):
        at = floats_at + 8 * number
        registers.write_register(name, int.from_bytes(block[at : at + 8], "little"))
    if saved.link is None:
        libc.set_pointer(stack, target)
    else:
        registers.write_register(saved.link, target)
    return value or 1
