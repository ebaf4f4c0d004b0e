"""Returning host memory that the engine shares with the guest to earlier contents, by dropping changed pages.

A buffer becomes a private mapping of a file in memory (memfd) at the same address, so the engine keeps its
pointers and the guest its speed. The kernel copies a page at its first write. `madvise(MADV_DONTNEED)` drops the
copies, and the file's content is there again; that takes a third of a microsecond per changed page. The file is
also mapped a second time, shared, to change what the buffer returns to.

On hosts without memfd the base is a plain copy, and changed pages are found by comparing.

A child process of `os.fork` shares the file with its parent. Before either writes to it, the writer moves to
another file.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import struct
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from emu.errors import SnapshotError
from relink.arrays import I64, U8, U64, distinct
from relink.memory.address_space import PAGE
from relink.memory.host_pages import mapped_at

try:
    import fcntl
except ImportError:  # not Linux
    fcntl = None  # type: ignore[assignment]

_DONTNEED = 4
_PROCESS_MADVISE = 440  #: the number of the system call, the same on all architectures
_PIDFD_SELF = -10000
_PAGEMAP_SCAN = 0xC060_6610
_SCAN_FILE, _SCAN_ANY = 1 << 2, 1 << 3 | 1 << 4  # file page; present or swapped
_SCANNED = 512  #: ranges of pages that one scan reports at most
_PRESENT, _SWAPPED, _FILE = 63, 62, 61  #: bits of /proc/self/pagemap
_CHUNK = 1 << 21

_forks = 0  #: how often this process or an ancestor of it has forked, as far as this process knows


def _forked() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_forked, after_in_child=_forked)


def has_memfd() -> bool:
    """Whether this host has files in memory, and pages of 4 KiB."""
    return sys.platform == "linux" and hasattr(os, "memfd_create") and mmap.PAGESIZE == PAGE


# ---------------------------------------------------------------- files in memory


class _File:
    """A file in memory, whose ranges are given to buffers."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("relink-emu snapshot", os.MFD_CLOEXEC)
        self.size = 0
        self.forks = _forks

    def extend(self, size: int) -> int:
        """Append a range of zeros; return its offset."""
        start = self.size
        os.ftruncate(self.descriptor, start + size)
        self.size = start + size
        return start

    def free(self, start: int, size: int) -> None:
        """Give the memory of a range back to the host, unless another process may use it."""
        if self.forks != _forks:
            return
        with contextlib.suppress(OSError, AttributeError):
            _libc().fallocate(self.descriptor, 3, start, size)  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class Files:
    """The file of one machine's buffers; another one after a fork."""

    def __init__(self) -> None:
        self._file: _File | None = None
        self.has_replaced = False  #: whether any buffer may have ranges that were discarded since the last `drop`

    def current(self) -> _File:
        """A file that no other process writes to."""
        if self._file is None or self._file.forks != _forks:
            try:
                self._file = _File()
            except OSError as error:
                raise SnapshotError(f"the host has no memory for a snapshot: {error}") from error
        return self._file


# ---------------------------------------------------------------- a buffer over its base


class HostPages:
    """The pages of one buffer, and the base they go back to. Pages are numbered from the start of the buffer."""

    def __init__(self, buffer: U8, files: Files, *, has_file: bool = True) -> None:
        """`has_file`: whether pages of the buffer may come from a file."""
        self.buffer = buffer
        self.address, self.size = int(buffer.ctypes.data), len(buffer)
        self.replaced: list[tuple[int, int]] = []  #: (offset, size) of ranges that were discarded since
        self._files = files
        self._file: _File | None = None
        if has_memfd() and not self.address % PAGE:
            self._move(files.current(), has_file)
        else:
            self.base = buffer.copy()

    @property
    def shared(self) -> bool:
        """Whether changed pages are dropped by the kernel."""
        return self._file is not None

    def _move(self, file: _File, has_file: bool) -> None:
        """Map the buffer from a range of `file` that gets its content."""
        start = file.extend(self.size)
        view = mmap.mmap(file.descriptor, self.size, mmap.MAP_SHARED, offset=start)
        base, old = np.frombuffer(view, np.uint8), self.buffer
        for low, high in file_ranges(self.address, self.size) if has_file else ():
            for offset in range(low, high, _CHUNK):
                piece = slice(offset, min(offset + _CHUNK, high))
                if old[piece].any():
                    base[piece] = old[piece]
        pages = present_pages(self.address, self.size)
        base.reshape(-1, PAGE)[pages] = old.reshape(-1, PAGE)[pages]
        self.base, self._file, self._start = base, file, start
        self._map(0, self.size)
        # The memory itself decides: arrays may outlive the region.
        weakref.finalize(owner_of(self.buffer), file.free, start, self.size).atexit = False

    def _map(self, offset: int, size: int) -> None:
        assert self._file is not None
        if not mapped_at(self.address + offset, size, self._file.descriptor, self._start + offset):
            problem = os.strerror(ctypes.get_errno())
            raise SnapshotError(f"the host cannot map {size} bytes for a snapshot: {problem}")

    def changed(self) -> I64:
        """The numbers of the pages that may differ from the base."""
        if self._file is None:
            return np.flatnonzero((self.buffer.reshape(-1, PAGE) != self.base.reshape(-1, PAGE)).any(axis=1))
        pages = present_pages(self.address, self.size)
        if not self.replaced:
            return pages
        whole = [np.arange(offset // PAGE, (offset + size) // PAGE) for offset, size in self.replaced]
        return distinct(np.concatenate([pages, *whole]))

    def keep(self, pages: I64) -> None:
        """Make the present content of some pages the base of these pages; no other page has been changed."""
        self.writable_base()
        self.base.reshape(-1, PAGE)[pages] = self.buffer.reshape(-1, PAGE)[pages]
        self.drop()

    def writable_base(self) -> None:
        """Called before a change of the base: after a fork, moves to another file."""
        if self._file is not None and self._file.forks != _forks:
            pages = self.changed()
            content = self.buffer.reshape(-1, PAGE)[pages]
            self.drop()
            self._move(self._files.current(), has_file=True)
            self.buffer.reshape(-1, PAGE)[pages] = content

    def drop(self) -> None:
        """Go back to the base."""
        if self._file is None:
            np.copyto(self.buffer, self.base)
            return
        self.restore_replaced()
        Ranges([(self.address, self.size)]).drop()

    def restore_replaced(self) -> None:
        """Map the base where pages have been discarded."""
        for offset, size in self.replaced:
            self._map(offset, size)
        self.replaced.clear()

    def discarded(self, offset: int, size: int) -> None:
        """Called before pages of the buffer are replaced by zeros (`Region.discarded`)."""
        self.replaced.append((offset, size))
        self._files.has_replaced = True


def owner_of(buffer: U8) -> Any:
    """The object whose memory an array shows."""
    owner: Any = buffer
    while isinstance(owner, np.ndarray | memoryview) and owner is not None:
        below = owner.base if isinstance(owner, np.ndarray) else owner.obj
        if below is None:
            break
        owner = below
    return owner


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Ranges:
    """Ranges of host addresses, whose changed pages are dropped together."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        merged: list[list[int]] = []
        for start, size in sorted(ranges):
            if merged and merged[-1][1] == start:
                merged[-1][1] += size
            else:
                merged.append([start, start + size])
        self.ranges: Sequence[tuple[int, int]] = [(start, end - start) for start, end in merged]
        self._size = sum(size for _, size in self.ranges)
        self._calls = [
            (
                ctypes.c_long(_PROCESS_MADVISE),
                ctypes.c_long(_PIDFD_SELF),
                (_Vector * len(part))(*(_Vector(*each) for each in part)),
                ctypes.c_long(len(part)),
                ctypes.c_long(_DONTNEED),
                ctypes.c_long(0),
            )
            for part in (self.ranges[at : at + 1024] for at in range(0, len(self.ranges), 1024))
        ]

    def drop(self) -> None:
        """Drop the changed pages of all ranges, each a private mapping of a file."""
        global _together
        if _together and len(self.ranges) > 1:
            call = _syscall()
            size = 0
            for arguments in self._calls:
                size += call(*arguments)
            if size == self._size:
                return
            _together = False  # before Linux 6.15
        madvise = _libc().madvise
        for start, size in self.ranges:
            if madvise(start, size, _DONTNEED):
                raise SnapshotError(f"madvise of {size} bytes: {os.strerror(ctypes.get_errno())}")


_together = True  # whether one system call drops the pages of several ranges


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return libc


@cache
def _syscall() -> Any:
    """The function `syscall`, for arguments that are objects of ctypes; without errno, which takes time."""
    syscall = ctypes.CDLL(None).syscall
    syscall.restype = ctypes.c_long
    return syscall


# ---------------------------------------------------------------- which pages


def file_ranges(address: int, size: int) -> list[tuple[int, int]]:
    """The ranges of [address, address + size) that are mapped from a file, as offsets; all of it when unknown."""
    try:
        with open("/proc/self/maps", "rb") as maps:
            rows = [row.split(None, 5) for row in maps]
    except OSError:
        return [(0, size)]
    found = []
    for places, _, _, _, inode, *_ in rows:
        low, high = (int(place, 16) for place in places.split(b"-"))
        if inode != b"0" and low < address + size and address < high:
            found.append((max(low, address) - address, min(high, address + size) - address))
    return found


def present_pages(address: int, size: int) -> I64:
    """The numbers of the pages of [address, address + size) that are private copies, not pages of a file and not
    untouched.
    """
    scanned = _scan(address, address + size)
    if scanned is not None:
        ranges = [np.arange((low - address) // PAGE, (high - address) // PAGE) for low, high in scanned]
        return np.concatenate(ranges) if ranges else np.zeros(0, np.int64)
    words = _pagemap(address, size)
    if words is None:
        return np.arange(size // PAGE)
    bit = [(words >> np.uint64(number)) & np.uint64(1) for number in (_PRESENT, _SWAPPED, _FILE)]
    return np.flatnonzero((bit[0] & ~bit[2] | bit[1]) & np.uint64(1))


@cache
def _pagemap_file(forks: int) -> int:
    """/proc/self/pagemap of this process; -1 where there is none."""
    try:
        return os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _pagemap(address: int, size: int) -> U64 | None:
    file, count = _pagemap_file(_forks), size // PAGE
    if file < 0:
        return None
    try:
        words = os.pread(file, 8 * count, address // PAGE * 8)
    except OSError:
        return None
    return np.frombuffer(words, np.uint64) if len(words) == 8 * count else None


_scans = fcntl is not None and sys.platform == "linux"


def _scan(start: int, end: int) -> list[tuple[int, int]] | None:
    """Ranges of private copies, by PAGEMAP_SCAN; None before Linux 6.7."""
    global _scans
    file = _pagemap_file(_forks) if _scans else -1
    if file < 0:
        return None
    try:
        return list(_scanned(file, start, end))
    except OSError:
        _scans = False
        return None


def _scanned(file: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    found = (ctypes.c_uint64 * (3 * _SCANNED))()
    while start < end:
        request = bytearray(
            struct.pack(
                "=12Q", 96, 0, start, end, 0, ctypes.addressof(found), _SCANNED, 0,
                _SCAN_FILE, _SCAN_FILE, _SCAN_ANY, _SCAN_ANY,
            )
        )  # fmt: skip
        count = fcntl.ioctl(file, _PAGEMAP_SCAN, request)
        for at in range(count):
            yield found[3 * at], found[3 * at + 1]
        start = struct.unpack_from("=Q", request, 32)[0]
