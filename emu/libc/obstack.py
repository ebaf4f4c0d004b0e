"""Obstacks (<obstack.h>): stacks of objects in chunks. The header's macros do the quick cases themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.table import export

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emu.libc.library import Libc

_DEFAULT_SIZE, _OVERHEAD = 4096, 32  #: a chunk fits into a page with what malloc adds to it
_ROOM = 100  #: bytes beyond an object that has outgrown its chunk
_WITH_ARGUMENT, _EMPTY_OBJECT = 1, 2  #: bits of the last word: use_extra_arg, maybe_empty_object


class _Obstack:
    """A struct obstack in guest memory: its words, and those of its chunks (limit, previous chunk)."""

    def __init__(self, libc: Libc, address: int) -> None:
        self.libc, self.address = libc, address

    def word(self, index: int) -> int:
        return self.libc.pointer(self.address + index * self.libc.word)

    def set(self, first: int, *values: int) -> None:
        for index, value in enumerate(values, first):
            self.libc.set_pointer(self.address + index * self.libc.word, value)

    @property
    def flags(self) -> int:
        return self.libc.memory.read_uint(self.address + 10 * self.libc.word, 4)

    @flags.setter
    def flags(self, value: int) -> None:
        self.libc.memory.write_uint(self.address + 10 * self.libc.word, 4, value)

    def content(self, chunk: int) -> int:
        """Where the first object of a chunk begins."""
        mask = self.libc.memory.read_uint(self.address + 6 * self.libc.word, 4)
        return chunk + 2 * self.libc.word + mask & ~mask

    def new(self, size: int, previous: int) -> int:
        """A chunk of `size` bytes, the newest one. Raises GuestAbort when the program has no memory for it."""
        if not 0 <= size < 1 << 8 * self.libc.word - 1:
            raise GuestAbort("obstack: memory exhausted")
        allocate, extra = self.word(7), self.word(9)
        if self.flags & _WITH_ARGUMENT:
            chunk = self.libc.call_int(allocate, "unsigned long(void *, long)", extra, size)
        else:
            chunk = self.libc.call_int(allocate, "unsigned long(long)", size)
        if not chunk:
            raise GuestAbort("obstack: memory exhausted")
        self.libc.set_pointer(chunk, chunk + size)
        self.libc.set_pointer(chunk + self.libc.word, previous)
        self.set(1, chunk)
        self.set(4, chunk + size)
        return chunk

    def free(self, chunk: int) -> None:
        if self.flags & _WITH_ARGUMENT:
            self.libc.call(self.word(8), "void(void *, void *)", self.word(9), chunk)
        else:
            self.libc.call(self.word(8), "void(void *)", chunk)

    def chunks(self) -> Iterator[int]:
        """The addresses of the chunks, newest first. A chunk may be freed: its link has been read before."""
        chunk = self.word(1)
        while chunk:
            self.libc.check_budget()
            previous = self.libc.pointer(chunk + self.libc.word)
            yield chunk
            chunk = previous

    def limit(self, chunk: int) -> int:
        return self.libc.pointer(chunk)


def _begin(
    libc: Libc, address: int, size: int, alignment: int, functions: tuple[int, int, int], flags: int
) -> int:
    stack = _Obstack(libc, address)
    alignment = alignment or 2 * libc.word
    size = size or _DEFAULT_SIZE - _OVERHEAD
    stack.set(0, size)
    libc.memory.write_uint(address + 6 * libc.word, 4, alignment - 1)
    stack.set(7, *functions)
    stack.flags = flags
    start = stack.content(stack.new(size, 0))
    stack.set(2, start, start)
    return 1


@export("int _obstack_begin(void *stack, int size, int alignment, void *allocate, void *release)")
def obstack_begin(libc: Libc, stack: int, size: int, alignment: int, allocate: int, release: int) -> int:
    return _begin(libc, stack, size, alignment, (allocate, release, 0), 0)


@export("int _obstack_begin_1(void *stack, int size, int alignment, void *allocate, void *release, void *extra)")
def obstack_begin_1(
    libc: Libc, stack: int, size: int, alignment: int, allocate: int, release: int, extra: int
) -> int:
    return _begin(libc, stack, size, alignment, (allocate, release, extra), _WITH_ARGUMENT)


@export("void _obstack_newchunk(void *stack, int length)")
def obstack_newchunk(libc: Libc, stack: int, length: int) -> None:
    """Move the object that grows to a new chunk, which has room for `length` bytes more."""
    this = _Obstack(libc, stack)
    old, base = this.word(1), this.word(2)
    size = this.word(3) - base
    mask = libc.memory.read_uint(stack + 6 * libc.word, 4)
    chunk = this.new(max(size + length + (size >> 3) + mask + _ROOM, this.word(0)), old)
    start = this.content(chunk)
    libc.memory.write(start, libc.memory.read(base, size))
    if not this.flags & _EMPTY_OBJECT and base == this.content(old):  # it was alone in its chunk
        libc.set_pointer(chunk + libc.word, libc.pointer(old + libc.word))
        this.free(old)
    this.set(2, start, start + size)
    this.flags &= ~_EMPTY_OBJECT


@export("void obstack_free(void *stack, void *object)", alias=("_obstack_free",))
def obstack_free(libc: Libc, stack: int, target: int) -> None:
    """Free the object and all later ones; all there are for a null pointer. Raises GuestAbort if it is none."""
    this = _Obstack(libc, stack)
    for chunk in this.chunks():
        if chunk < target <= this.limit(chunk):
            this.set(1, chunk)
            this.set(2, target, target)
            this.set(4, this.limit(chunk))
            return
        this.free(chunk)
        this.flags |= _EMPTY_OBJECT
    this.set(1, 0)
    if target:
        raise GuestAbort(f"obstack_free: the object at {target:#x} is not in the obstack at {stack:#x}")


@export("int _obstack_memory_used(void *stack)")
def obstack_memory_used(libc: Libc, stack: int) -> int:
    this = _Obstack(libc, stack)
    return sum(this.limit(chunk) - chunk for chunk in this.chunks())


@export("int _obstack_allocated_p(void *stack, void *object)")
def obstack_allocated_p(libc: Libc, stack: int, target: int) -> int:
    this = _Obstack(libc, stack)
    return int(any(chunk < target <= this.limit(chunk) for chunk in this.chunks()))


def append(libc: Libc, stack: int, text: bytes) -> int:
    """Append `text` to the object that grows (obstack_printf); return its size."""
    this = _Obstack(libc, stack)
    if this.word(3) + len(text) > this.word(4):
        obstack_newchunk(libc, stack, len(text))
    libc.memory.write(this.word(3), text)
    this.set(3, this.word(3) + len(text))
    return len(text)
