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
from emu.libc.signal_delivery import Signals
from emu.libc.signals import block as block_signals
from emu.libc.signals import blocked
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.isa.convention import CallingConvention
    from emu.libc.library import Libc


_MASK = 16  #: bytes behind the registers: whether the signal mask is saved, and the mask


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
    libc.memory.write(buffer, block + bytes(_MASK))
    return 0


@export("int __sigsetjmp(void *buffer, int save_mask)", alias=("sigsetjmp",))
def sigsetjmp(libc: Libc, buffer: int, save_mask: int) -> int:
    """As setjmp; with `save_mask` a 1 and the mask of blocked signals are kept behind the registers."""
    setjmp(libc, buffer)
    if save_mask:
        at = buffer + _size(libc)
        libc.memory.write_uint(at, 8, 1)
        libc.memory.write_uint(at + 8, 8, blocked(libc))
    return 0


def _size(libc: Libc) -> int:
    """Bytes of the registers."""
    saved = libc.isa.convention
    return ((3 + len(saved.preserved_integers)) * libc.word + 7 & -8) + 8 * len(saved.preserved_floats)


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
    sp = registers.read_register("sp")
    if stack < sp and not libc.state(Signals).alternate.is_left(sp, stack):
        raise GuestAbort(f"longjmp into a function that has returned (stack {stack:#x}), by {buffer:#x}")
    if libc.memory.read_uint(buffer + _size(libc), 8) == 1:
        block_signals(libc, libc.memory.read_uint(buffer + _size(libc) + 8, 8))
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
