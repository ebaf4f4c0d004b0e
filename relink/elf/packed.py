"""Compressed relocation tables: RELR bitmaps, Android's APS2, and CREL in object files.

RELR and APS2 tables can claim far more entries than they have bytes. Both decoders take `most`, the number of
entries that an image of this size can have, and refuse more before they allocate memory.

Sources: gABI, "Relative Relocation Table" (generic-abi list, 2017); bionic's linker_sleb128.h,
linker_reloc_iterators.h; "CREL relocation format" (generic-abi list, 2024) as LLVM 19 implements it.
"""

from __future__ import annotations

from array import array

import numpy as np

from relink.arrays import I64, U8, U32, U64, distinct, indices_where
from relink.elf.contents import frozen
from relink.elf.names import flat_indices
from relink.errors import MalformedElf
from relink.records import dataclass


def decode_relr(name: str, words: U64, word_size: int, most: int) -> U64:
    """The link-time address of every word to rebase, uint64[n], in table order.

    An even entry is an address, an odd entry is a bitmap for the 63 (31) words that follow the last word covered.
    Raises MalformedElf for a bitmap before the first address, a word rebased twice, more than `most` entries.
    """
    if len(words) == 0:
        return frozen(np.empty(0, np.uint64))
    one = np.uint64(1)
    bitmap = (words & one).astype(np.bool_)
    if bitmap[0]:
        raise MalformedElf(name, "DT_RELR begins with a bitmap instead of an address")
    position = np.arange(len(words))
    address_at = np.maximum.accumulate(np.where(bitmap, 0, position))
    # Bit 0 of a bitmap is its tag, so bit b of the k-th bitmap (k from 0) after address A stands for word A +
    # k·(bits-1) + b. An address is handled as a bitmap with only bit 0 set.
    bits = np.where(bitmap, words ^ one, one)
    stride = (word_size * 8 - 1) * word_size
    origin = words[address_at] + ((position - address_at - bitmap) * stride).astype(np.uint64)
    total = _count_bits(bits)
    if total > most:
        raise MalformedElf(name, f"DT_RELR names {total} words to rebase, the image has room for {most}")
    row, bit = np.nonzero(np.unpackbits(bits.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little"))
    places = origin[row] + bit.astype(np.uint64) * np.uint64(word_size)
    if bool((places[1:] <= places[:-1]).any()) and len(distinct(places)) != len(places):
        raise MalformedElf(name, "DT_RELR rebases a word twice")
    return frozen(places)


def _count_bits(words: U64) -> int:
    return int(np.count_nonzero(np.unpackbits(words.view(np.uint8))))


@dataclass(frozen=True, eq=False)
class PackedRelocations:
    """The unpacked entries of an APS2 table; `addend` is None for a DT_ANDROID_REL table."""

    offset: U64
    info: U64
    addend: I64 | None


GROUPED_BY_INFO, GROUPED_BY_OFFSET_DELTA, GROUPED_BY_ADDEND, GROUP_HAS_ADDEND = 1, 2, 4, 8


def decode_aps2(name: str, data: U8, bits: int, has_addends: bool, most: int) -> PackedRelocations:
    """Unpack an APS2 table into arrays of its declared count.

    A table is a stream of SLEB128 numbers: count, first offset, then groups. A group is its size, its flags, the
    values that all its entries share, then the other values of each entry. Offsets and addends are running sums.
    Raises MalformedElf for another magic, an unterminated number, more than `most` entries, groups that do not add
    up to the count, and addends in a DT_ANDROID_REL table.
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
    groups = _group_heads(name, numbers, total, has_addends)
    offset_delta, info, addend_delta = (np.zeros(total, np.int64) for _ in range(3))
    for flags in distinct(groups.flags).tolist():
        _fill(numbers, groups.of(flags), flags, offset_delta, info, addend_delta)
    offset = (np.cumsum(offset_delta) + numbers[1]).astype(np.uint64) & np.uint64((1 << bits) - 1)
    addend = None
    if has_addends:
        without = groups.take(indices_where((groups.flags & GROUP_HAS_ADDEND) == 0))
        addend = frozen(_addends(addend_delta, without, bits))
    return PackedRelocations(frozen(offset), frozen(info.astype(np.uint64)), addend)


@dataclass(frozen=True, eq=False)
class _Groups:
    """One row per group: first entry, number of entries, flags, and the index of the number after the flags."""

    first: I64
    size: I64
    flags: I64
    at: I64

    def take(self, which: I64) -> _Groups:
        return _Groups(self.first[which], self.size[which], self.flags[which], self.at[which])

    def of(self, flags: int) -> _Groups:
        return self.take(indices_where(self.flags == flags))


def _layout(flags: int) -> tuple[int, int]:
    """The number of values that a group with `flags` has for all entries together, and for each entry."""
    shared = bool(flags & GROUPED_BY_OFFSET_DELTA) + bool(flags & GROUPED_BY_INFO)
    apart = 2 - shared
    if flags & GROUP_HAS_ADDEND:
        by_addend = bool(flags & GROUPED_BY_ADDEND)
        return shared + by_addend, apart + (not by_addend)
    return shared, apart


def _group_heads(name: str, numbers: I64, total: int, has_addends: bool) -> _Groups:
    """Find all groups. This is the only step done group by group: a group's length is known from its head."""
    layouts = [_layout(flags) for flags in range(16)]
    heads: list[tuple[int, int, int, int]] = []
    done, at = 0, 2
    while done < total:
        if at + 2 > len(numbers):
            raise MalformedElf(name, "a packed relocation table ends before all its groups")
        size, flags = numbers[at].item(), numbers[at + 1].item()
        if not 0 < size <= total - done:
            raise MalformedElf(name, f"a packed relocation group of {size} entries, {total - done} are left")
        if flags & ~15:
            raise MalformedElf(name, f"a packed relocation group has unknown flags {flags:#x}")
        if flags & GROUP_HAS_ADDEND and not has_addends:
            raise MalformedElf(name, "DT_ANDROID_REL has a group with addends")
        heads.append((done, size, flags, at + 2))
        shared, apart = layouts[flags]
        at += 2 + shared + size * apart
        if at > len(numbers):
            raise MalformedElf(name, f"a packed relocation group of {size} entries runs past the end of its table")
        done += size
    first, sizes, kinds, ats = np.array(heads, np.int64).reshape(-1, 4).T
    return _Groups(first, sizes, kinds, ats)


def _fill(numbers: I64, groups: _Groups, flags: int, offset_delta: I64, info: I64, addend_delta: I64) -> None:
    """Write the entries of all groups with the same `flags` into the three columns."""
    shared, apart = _layout(flags)
    rows = flat_indices(groups.first, groups.size)
    base = np.repeat(groups.at, groups.size)
    own = base + shared + (rows - np.repeat(groups.first, groups.size)) * apart
    for column, by_group in ((offset_delta, GROUPED_BY_OFFSET_DELTA), (info, GROUPED_BY_INFO)):
        if flags & by_group:
            column[rows] = numbers[base]
            base += 1
        else:
            column[rows] = numbers[own]
            own += 1
    if flags & GROUP_HAS_ADDEND and flags & GROUPED_BY_ADDEND:
        # Added once, at the group's first entry: the running sum then has the shared value for the whole group.
        addend_delta[groups.first] = numbers[groups.at + shared - 1]
    elif flags & GROUP_HAS_ADDEND:
        addend_delta[rows] = numbers[own]


def _addends(delta: I64, without: _Groups, bits: int) -> I64:
    """Running sums of `delta` that restart at 0 in the groups `without` addends."""
    total = np.cumsum(delta)
    reached = total[without.first]  # constant throughout such a group: its deltas are 0
    forget = np.zeros(len(delta), np.int64)
    forget[without.first] = np.diff(reached, prepend=0)
    addends: I64 = total - np.cumsum(forget)
    return addends.astype(np.int32).astype(np.int64) if bits == 32 else addends


def decode_sleb128(name: str, data: U8) -> I64:
    """All SLEB128 numbers of a stream, int64[n]; an incomplete number at the end is ignored.

    Raises MalformedElf for a number of more than ten bytes.
    """
    last = (data & np.uint8(0x80)) == 0
    ends = indices_where(last)
    begins = np.concatenate([np.zeros(min(len(ends), 1), np.int64), ends[:-1] + 1])
    length = ends - begins + 1
    if len(length) and int(length.max()) > 10:
        raise MalformedElf(name, "a SLEB128 number of more than ten bytes")
    value = np.zeros(len(ends), np.uint64)
    for byte in range(int(length.max()) if len(length) else 0):
        some = indices_where(length > byte)
        septet = (data[begins[some] + byte] & np.uint8(0x7F)).astype(np.uint64)
        value[some] |= septet << np.uint64(7 * byte)
    # The sign bit is bit 6 of the last septet: shift it to the top and back.
    unused = np.maximum(64 - 7 * length, 0).astype(np.int64)
    signed: I64 = (value.view(np.int64) << unused) >> unused
    return signed


CREL_HAS_ADDENDS, CREL_SYMBOL, CREL_TYPE, CREL_ADDEND = 4, 1, 2, 4


@dataclass(frozen=True, eq=False)
class CompactRelocations:
    """The unpacked entries of a CREL section: uint64[n], uint32[n], uint32[n], and int64[n] or None."""

    offset: U64
    symbol: U32
    type: U32
    addend: I64 | None


def decode_crel(name: str, data: U8, bits: int) -> CompactRelocations:
    """Unpack a CREL section into arrays of its declared count.

    The section begins with the ULEB128 number count·8 + addends·4 + shift. Each entry has:

    - a byte with flags and the low bits of the offset delta;
    - the remaining bits of the offset delta (ULEB128), if flagged;
    - the deltas (SLEB128) of symbol, type and addend, for each that is flagged.

    Every entry takes at least one byte, so the section's size limits the count. Raises MalformedElf for a section
    that ends early, or a number of more than ten bytes.
    """
    content = data.tobytes()
    header, at = _uleb128(name, content, 0)
    count, shift, explicit = header >> 3, header & 3, bool(header & CREL_HAS_ADDENDS)
    if count > len(content):
        raise MalformedElf(name, f"a CREL section of {len(content)} bytes claims {count} relocations")
    flag_bits = 3 if explicit else 2
    rows = array("Q")  # an eighth of the memory of a list of tuples
    offset = symbol = type_ = addend = 0
    for _ in range(count):
        if at >= len(content):
            raise MalformedElf(name, f"a CREL section ends after {len(rows) // 4} of {count} relocations")
        first = content[at]
        at += 1
        offset += (first & 0x7F) >> flag_bits
        if first & 0x80:
            more, at = _uleb128(name, content, at)
            offset += more << (7 - flag_bits)
        if first & CREL_SYMBOL:
            delta, at = _sleb128(name, content, at)
            symbol += delta
        if first & CREL_TYPE:
            delta, at = _sleb128(name, content, at)
            type_ += delta
        if explicit and first & CREL_ADDEND:
            delta, at = _sleb128(name, content, at)
            addend += delta
        rows.extend((offset << shift & _WORD, symbol & 0xFFFFFFFF, type_ & 0xFFFFFFFF, addend & _WORD))
    table = np.frombuffer(rows, np.uint64).reshape(-1, 4)
    addends: I64 = table[:, 3].copy().view(np.int64)
    if bits == 32:
        addends = addends.astype(np.int32).astype(np.int64)
    return CompactRelocations(
        frozen(table[:, 0] & np.uint64((1 << bits) - 1)),
        frozen(table[:, 1].astype(np.uint32)),
        frozen(table[:, 2].astype(np.uint32)),
        frozen(addends) if explicit else None,
    )


_WORD = (1 << 64) - 1


def _uleb128(name: str, content: bytes, at: int) -> tuple[int, int]:
    """The ULEB128 number at offset `at`, and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise MalformedElf(name, "a CREL section ends within a number")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedElf(name, "a CREL section has a number of more than ten bytes")


def _sleb128(name: str, content: bytes, at: int) -> tuple[int, int]:
    value, end = _uleb128(name, content, at)
    return (value - (1 << 7 * (end - at)) if content[end - 1] & 0x40 else value), end
