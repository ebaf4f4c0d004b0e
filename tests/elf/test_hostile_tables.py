"""Tables made to be expensive: well-formed enough to be read, and still cheap."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest

from relink.elf import decode
from relink.elf.constants import DynamicTag as Tag
from relink.elf.layout import ELF64
from relink.errors import MalformedElf, RelinkError
from tests.elf.build import (
    PT_DYNAMIC,
    Segment,
    Table,
    gnu_hash_of,
    image,
    sleb128,
    symbol,
    with_segments,
    words,
)
from tests.elf.helpers import read_everything

COUNT = 20_000


def symbols(names: list[bytes], *tables: Table) -> bytes:
    strings, rows = bytearray(b"\0"), [symbol(ELF64, 0, section=0)]
    for name in names:
        rows.append(symbol(ELF64, len(strings)))
        strings += name + b"\0"
    return image([Table(Tag.STRTAB, bytes(strings), Tag.STRSZ), Table(Tag.SYMTAB, b"".join(rows)), *tables])


def one_sysv_chain() -> bytes:
    """Every symbol in the chain of a single bucket."""
    return symbols(
        [b"n%d" % i for i in range(COUNT)], Table(Tag.HASH, words(1, COUNT + 1, 1, 0, *range(2, COUNT + 1), 0))
    )


def one_gnu_chain() -> bytes:
    names = [b"n%d" % i for i in range(COUNT)]
    chain = [gnu_hash_of(name) & ~1 for name in names]
    chain[-1] |= 1
    return symbols(names, Table(Tag.GNU_HASH, words(1, 1, 1, 6, 0, 0, 1, *chain)))


def names_that_collide() -> bytes:
    """Names of equal hash ("bA" and "ab" collide under h·33 + c), in one chain."""
    names = [b"".join((b"bA" if i >> bit & 1 else b"ab") for bit in range(14)) for i in range(1 << 14)]
    assert len({gnu_hash_of(name) for name in names[:64]}) == 1
    chain = [gnu_hash_of(name) & ~1 for name in names]
    chain[-1] |= 1
    return symbols(names, Table(Tag.GNU_HASH, words(1, 1, 1, 6, 0, 0, 1, *chain)))


def every_name_a_suffix() -> bytes:
    text = b"\0" + b"a" * COUNT + b"\0"
    rows = symbol(ELF64, 0) + b"".join(symbol(ELF64, 1 + i) for i in range(COUNT))
    return image(
        [
            Table(Tag.STRTAB, text, Tag.STRSZ),
            Table(Tag.SYMTAB, rows),
            Table(Tag.HASH, words(1, COUNT + 1, *[0] * (COUNT + 2))),
        ]
    )


def one_long_name() -> bytes:
    return symbols([b"a" * 100_000], Table(Tag.HASH, words(1, 2, 1, 0, 0)))


def full_bitmaps() -> bytes:
    return image([Table(Tag.RELR, struct.pack("<Q", 0x1000) + b"\xff" * 8 * COUNT, Tag.RELRSZ)])


def one_group_of_a_trillion() -> bytes:
    return image([Table(Tag.ANDROID_RELA, b"APS2" + sleb128(1 << 40, 0, 1 << 40, 3, 8, 8), Tag.ANDROID_RELASZ)])


def a_group_for_each_entry() -> bytes:
    return image(
        [
            Table(
                Tag.ANDROID_RELA,
                b"APS2" + sleb128(COUNT // 4, 0, *[1, 3, 8, 8] * (COUNT // 4)),
                Tag.ANDROID_RELASZ,
            )
        ]
    )


def version_records_on_top_of_each_other() -> bytes:
    records = b"\1\0\0\0\2\0\xff\x7f\0\0\0\0\0\0\0\0\1\0\0\0" * COUNT
    return image([Table(Tag.STRTAB, b"\0a\0", Tag.STRSZ), Table(Tag.VERDEF, records)], {Tag.VERDEFNUM: 0x7FFF})


def needed_versions_on_top_of_each_other() -> bytes:
    records = b"\1\0\xff\x7f\1\0\0\0\x10\0\0\0\1\0\0\0" * COUNT
    return image([Table(Tag.STRTAB, b"\0a\0", Tag.STRSZ), Table(Tag.VERNEED, records)], {Tag.VERNEEDNUM: 0x7FFF})


def needed_without_end() -> bytes:
    text = b"\0" + b"a" * COUNT + b"\0"
    entries = b"".join(struct.pack("<QQ", Tag.NEEDED, 1 + i) for i in range(COUNT))
    content = image([Table(Tag.STRTAB, text, Tag.STRSZ), Table(Tag.DEBUG, entries)])
    decoded = decode(content)
    strings = struct.pack("<QQQQ", Tag.STRTAB, decoded.dynamic.value(Tag.STRTAB, 0), Tag.STRSZ, len(text))
    at = decoded.dynamic.value(Tag.DEBUG, 0)
    dynamic = strings + entries
    # The old dynamic section lies right behind `entries`: name the one here instead.
    old = next(entry for entry in decoded.program_headers if entry.type == PT_DYNAMIC)
    moved = Segment(PT_DYNAMIC, at - 32, at - 32, len(dynamic), len(dynamic), align=8).pack(ELF64)
    was = Segment(PT_DYNAMIC, old.offset, old.vaddr, old.filesz, old.memsz, align=8).pack(ELF64)
    content = content.replace(was, moved)
    return content[: at - 32] + strings + content[at:]


def every_program_header_a_segment() -> bytes:
    return with_segments(
        [Segment(offset=0, vaddr=i << 12, filesz=1, memsz=1) for i in range(COUNT // 4)], size=4 << 20
    )


CASES = [
    one_sysv_chain, one_gnu_chain, names_that_collide, every_name_a_suffix, one_long_name, full_bitmaps,
    one_group_of_a_trillion, a_group_for_each_entry, version_records_on_top_of_each_other,
    needed_versions_on_top_of_each_other, needed_without_end, every_program_header_a_segment,
]  # fmt: skip


def reading_ends(content: bytes) -> None:
    with suppress(RelinkError):
        read_everything(decode(content))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_hostile_table_costs_seconds_and_megabytes_at_most(case: Callable[[], bytes]) -> None:
    content = case()
    begin = time.process_time()
    reading_ends(content)
    assert time.process_time() - begin < 3
    tracemalloc.start()
    try:
        reading_ends(content)
        assert tracemalloc.get_traced_memory()[1] < (16 << 20) + 128 * len(content)
    finally:
        tracemalloc.stop()


def test_strings_that_overlap_without_end_are_refused() -> None:
    with pytest.raises(MalformedElf, match="overlap"):
        _ = decode(needed_without_end()).needed
