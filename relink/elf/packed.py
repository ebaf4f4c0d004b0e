"""Relocation tables that are compressed: RELR bitmaps and Android's APS2.

Both can claim far more entries than they have bytes, so both are given `most`, the number of entries an
honest image of this size could need, and refuse more before any memory is spent.
Sources: gABI, "Relative Relocation Table" (generic-abi list, 2017); bionic's linker_sleb128.h,
linker_reloc_iterators.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relink.elf.contents import I64, U8, U64, frozen
from relink.errors import MalformedElf


def decode_relr(name: str, words: U64, word_size: int, most: int) -> U64:
    """The link-time address of every word to rebase, uint64[n], in table order.

    An even word is an address; an odd one a bitmap for the 63 (31) words after those told of so far.
    Raises MalformedElf for a bitmap before any address, a word rebased twice, more than `most` entries.
    """
    if len(words) == 0:
        return frozen(np.empty(0, np.uint64))
    one = np.uint64(1)
    bitmap = (words & one).astype(np.bool_)
    if bitmap[0]:
        raise MalformedElf(name, "DT_RELR begins with a bitmap, no address goes before it")
    position = np.arange(len(words))
    address_at = np.maximum.accumulate(np.where(bitmap, 0, position))
    # Bit 0 of a bitmap is its tag, so bit b of the k-th bitmap after address A stands for word
    # A + k·(bits-1) + b, k from 0; an address stands for itself: a lone bit 0.
    bits = np.where(bitmap, words ^ one, one)
    stride = (word_size * 8 - 1) * word_size
    origin = words[address_at] + ((position - address_at - bitmap) * stride).astype(np.uint64)
    total = _count_bits(bits)
    if total > most:
        raise MalformedElf(name, f"DT_RELR names {total} words to rebase, the image has room for {most}")
    row, bit = np.nonzero(np.unpackbits(bits.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little"))
    places = origin[row] + bit.astype(np.uint64) * np.uint64(word_size)
    if bool((places[1:] <= places[:-1]).any()) and len(np.unique(places)) != len(places):
        raise MalformedElf(name, "DT_RELR rebases a word twice")
    return frozen(places)


def _count_bits(words: U64) -> int:
    return int(np.count_nonzero(np.unpackbits(words.view(np.uint8))))


@dataclass(frozen=True, eq=False)
class PackedRelocations:
    """What an APS2 table unpacks to; `addend` is None when no group has any."""

    offset: U64
    info: U64
    addend: I64 | None


GROUPED_BY_INFO, GROUPED_BY_OFFSET_DELTA, GROUPED_BY_ADDEND, GROUP_HAS_ADDEND = 1, 2, 4, 8


def decode_aps2(name: str, data: U8, bits: int, has_addends: bool, most: int) -> PackedRelocations:
    """The entries of an APS2 table, arrays of its declared count.

    A table is a stream of SLEB128 numbers: count, first offset, then groups (size, flags, what the group
    shares, then what its entries do not share). Offsets and addends are running sums.
    Raises MalformedElf for another magic, a number that does not end, more than `most` entries, groups that
    do not add up to the count, and for addends in a DT_ANDROID_REL table.
    """
    if data[:4].tobytes() != b"APS2":
        raise MalformedElf(name, f"a packed relocation table begins with {data[:4].tobytes()!r}, not APS2")
    numbers = decode_sleb128(name, data[4:])
    if len(numbers) < 2:
        raise MalformedElf(name, "a packed relocation table ends before its first group")
    total = int(numbers[0])
    if not 0 <= total <= most:
        raise MalformedElf(
            name, f"a packed relocation table claims {total} entries, the image has room for {most}"
        )
    offset_delta = np.empty(total, np.int64)
    info = np.empty(total, np.int64)
    addend_delta = np.zeros(total, np.int64)
    addends_end: list[tuple[int, int]] = []  # groups without addends, whose running sum starts over
    done, at = 0, 2
    while done < total:
        size, flags, at = _group_header(name, numbers, at)
        if not 0 < size <= total - done:
            raise MalformedElf(name, f"a packed relocation group of {size} entries, {total - done} are left")
        if flags & GROUP_HAS_ADDEND and not has_addends:
            raise MalformedElf(name, "DT_ANDROID_REL has a group with addends")
        at = _fill_group(name, numbers, at, flags, slice(done, done + size), offset_delta, info, addend_delta)
        if not flags & GROUP_HAS_ADDEND:
            addends_end.append((done, done + size))
        done += size
    offset = (np.cumsum(offset_delta) + numbers[1]).astype(np.uint64) & np.uint64((1 << bits) - 1)
    if not has_addends:
        return PackedRelocations(frozen(offset), frozen(info.astype(np.uint64)), None)
    return PackedRelocations(
        frozen(offset), frozen(info.astype(np.uint64)), frozen(_addends(addend_delta, addends_end, bits))
    )


def _group_header(name: str, numbers: I64, at: int) -> tuple[int, int, int]:
    if at + 2 > len(numbers):
        raise MalformedElf(name, "a packed relocation table ends before all its groups")
    return int(numbers[at]), int(numbers[at + 1]), at + 2


def _fill_group(
    name: str, numbers: I64, at: int, flags: int, rows: slice,
    offset_delta: I64, info: I64, addend_delta: I64,
) -> int:  # fmt: skip
    """One group's entries into `rows` of the three columns; where the next group begins."""
    has_addend = bool(flags & GROUP_HAS_ADDEND)
    columns = [(offset_delta, flags & GROUPED_BY_OFFSET_DELTA), (info, flags & GROUPED_BY_INFO)]
    shared = sum(1 for _, is_shared in columns if is_shared)
    size: int = rows.stop - rows.start
    apart = [column for column, is_shared in columns if not is_shared]
    if has_addend and not flags & GROUPED_BY_ADDEND:
        apart.append(addend_delta)
    shared_addend = has_addend and bool(flags & GROUPED_BY_ADDEND)
    end: int = at + shared + shared_addend + size * len(apart)
    if end > len(numbers):
        raise MalformedElf(
            name, f"a packed relocation group of {size} entries runs past the end of its table"
        )
    for column, is_shared in columns:
        if is_shared:
            column[rows] = numbers[at]
            at += 1
    if shared_addend:
        addend_delta[rows.start] = numbers[at]  # added once: the running sum is the shared addend
        at += 1
    for position, column in enumerate(apart):
        column[rows] = numbers[at + position : end : len(apart)]
    return end


def _addends(delta: I64, without: list[tuple[int, int]], bits: int) -> I64:
    """Running sums of `delta` that start over at 0 in the ranges `without` addends."""
    total = np.cumsum(delta)
    restart = np.zeros(len(delta) + 1, np.int64)
    base = 0
    for begin, end in without:
        if begin == end:
            continue
        reached = int(total[end - 1])
        restart[begin] += np.int64(_wrap(base - reached))
        base = reached
    addends = total + np.cumsum(restart)[:-1]
    return addends.astype(np.int32).astype(np.int64) if bits == 32 else addends


def _wrap(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def decode_sleb128(name: str, data: U8) -> I64:
    """Every SLEB128 number of a stream, int64[n]; bytes after the last whole number are no matter.

    Raises MalformedElf for a number of more than ten bytes.
    """
    last = (data & np.uint8(0x80)) == 0
    ends = np.flatnonzero(last)
    begins = np.concatenate([np.zeros(min(len(ends), 1), np.int64), ends[:-1] + 1])
    length = ends - begins + 1
    if len(length) and int(length.max()) > 10:
        raise MalformedElf(name, "a SLEB128 number of more than ten bytes")
    value = np.zeros(len(ends), np.uint64)
    for byte in range(int(length.max()) if len(length) else 0):
        some = np.flatnonzero(length > byte)
        septet = (data[begins[some] + byte] & np.uint8(0x7F)).astype(np.uint64)
        value[some] |= septet << np.uint64(7 * byte)
    # The sign bit is bit 6 of the last septet: shift it to the top and back.
    unused = np.maximum(64 - 7 * length, 0).astype(np.int64)
    signed: I64 = (value.view(np.int64) << unused) >> unused
    return signed
