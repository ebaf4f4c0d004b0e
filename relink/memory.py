"""Target memory: the protocol the linker needs of an address space, and `HostMemory`, one without a CPU.

A load works on *regions*: `reserve` picks a guest address and hands out a host buffer nobody else sees;
the linker fills it; `publish` makes it part of the guest, once, with its final permissions; `release`
takes it back. Until `publish` the guest is untouched, which is what makes a failed load free.

The buffer of a region is one contiguous stretch of host memory, page-aligned. File segments are laid into
it as private (copy-on-write) mappings of the file, so only the pages the linker writes are ever copied.
"""

from __future__ import annotations

import enum


class Protection(enum.IntFlag):
    """Page permissions, with the values of ELF's p_flags (PF_X, PF_W, PF_R)."""

    NONE = 0
    X = 1
    W = 2
    R = 4
