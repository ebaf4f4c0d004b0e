"""setjmp and longjmp: a jump buffer contains the registers that a callee must preserve.

The registers are stored in the guest's jmp_buf, so a copied buffer works as in C. Every C library's jmp_buf is
large enough: AArch64 needs most, 22 words of glibc's 39.

After a host function, the machine continues at the return address (a register, or the top of the stack). `longjmp`
restores that, the stack pointer and the preserved registers from `setjmp`'s entry, and so returns from `setjmp` a
second time. A jump over a frame of a host function (for example out of a comparator called by qsort) would leave
the host function unfinished and is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.isa.convention import CallingConvention
    from emu.libc.library import Libc


def _return_address(libc: Libc, saved: CallingConvention, stack: int) -> int:
    link = saved.link_register
    return libc.pointer(stack) if link is None else libc.registers.read_register(link)


@export("int setjmp(void *buffer)", alias=("_setjmp",))
def setjmp(libc: Libc, buffer: int) -> int:
    saved = libc.isa.convention
    read = libc.registers.read_register
    stack = read("sp")
    words = [_return_address(libc, saved, stack), stack, libc.call_depth, *map(read, saved.preserved_integers)]
    block = b"".join(word.to_bytes(libc.word, "little") for word in words)
    block += bytes(-len(block) % 8)
    block += b"".join((read(name) & ((1 << 64) - 1)).to_bytes(8, "little") for name in saved.preserved_floats)
    libc.memory.write(buffer, block)
    return 0


@export("int __sigsetjmp(void *buffer, int save_mask)", alias=("sigsetjmp",))
def sigsetjmp(libc: Libc, buffer: int, save_mask: int) -> int:
    return setjmp(libc, buffer)


@export("int longjmp(void *buffer, int value)", alias=("_longjmp", "siglongjmp", "__longjmp_chk"))
def longjmp(libc: Libc, buffer: int, value: int) -> int:
    saved = libc.isa.convention
    registers = libc.registers
    integers = 3 + len(saved.preserved_integers)
    floats_at = (integers * libc.word + 7) & -8
    block = libc.memory.read(buffer, floats_at + 8 * len(saved.preserved_floats))
    words = [int.from_bytes(block[i : i + libc.word], "little") for i in range(0, integers * libc.word, libc.word)]
    target, stack, depth = words[:3]
    if not target:
        raise GuestAbort(f"longjmp with the buffer at {buffer:#x}, which no setjmp filled")
    if depth != libc.call_depth:
        raise GuestAbort(
            f"longjmp by {buffer:#x} out of a call that Python made: "
            f"setjmp ran at call depth {depth}, longjmp at {libc.call_depth}"
        )
    if stack < registers.read_register("sp"):
        raise GuestAbort(f"longjmp into a function that has returned (stack {stack:#x}), by {buffer:#x}")
    registers.write_register("sp", stack)
    for name, word in zip(saved.preserved_integers, words[3:], strict=True):
        registers.write_register(name, word)
    for number, name in enumerate(saved.preserved_floats):
        at = floats_at + 8 * number
        registers.write_register(name, int.from_bytes(block[at : at + 8], "little"))
    if saved.link_register is None:
        libc.set_pointer(stack, target)
    else:
        registers.write_register(saved.link_register, target)
    return value or 1
