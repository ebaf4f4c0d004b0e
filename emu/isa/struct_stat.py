"""Layouts of struct stat that several ISAs share.

glibc, sysdeps/unix/sysv/linux/**/bits/struct_stat.h; with a 64-bit time_t on 32-bit ISAs, struct_stat_time64.h.
"""

from __future__ import annotations

from relink.records.tuples import NamedTuple


class StructStat(NamedTuple):
    """Members of struct stat, as (offset, bytes)."""

    dev: tuple[int, int]
    ino: tuple[int, int]
    mode: tuple[int, int]
    nlink: tuple[int, int]
    uid: tuple[int, int]
    gid: tuple[int, int]
    rdev: tuple[int, int]
    size: tuple[int, int]
    blksize: tuple[int, int]
    blocks: tuple[int, int]
    times: tuple[int, int]  #: of the seconds of st_atim; nanoseconds follow each, then st_mtim and st_ctim
    bytes: int  #: size of the whole structure


#: The generic layout, for ISAs without 32-bit offsets: stat and stat64 are the same.
GENERIC = StructStat(
    dev=(0, 8), ino=(8, 8), mode=(16, 4), nlink=(20, 4), uid=(24, 4), gid=(28, 4), rdev=(32, 8), size=(48, 8),
    blksize=(56, 4), blocks=(64, 8), times=(72, 8), bytes=128,
)  # fmt: skip
#: With 32-bit offsets and times.
OLD_32 = StructStat(
    dev=(0, 8), ino=(12, 4), mode=(16, 4), nlink=(20, 4), uid=(24, 4), gid=(28, 4), rdev=(32, 8), size=(44, 4),
    blksize=(48, 4), blocks=(52, 4), times=(56, 4), bytes=88,
)  # fmt: skip


def time64(alignment: int) -> StructStat:
    """With 64-bit offsets and times on an ISA that aligns 64-bit integers to `alignment` bytes."""
    return StructStat(
        dev=(0, 8), ino=(8, 8), mode=(16, 4), nlink=(20, 4), uid=(24, 4), gid=(28, 4), rdev=(32, 8),
        size=(40, 8), blksize=(48, 4), blocks=(48 + alignment, 8), times=(56 + alignment, 8),
        bytes=104 + alignment,
    )  # fmt: skip
