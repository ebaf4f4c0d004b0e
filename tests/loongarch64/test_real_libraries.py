"""Debian's loong64 libraries, built for a CPU with LSX: what they compute is what the host computes."""

from __future__ import annotations

import lzma
import math
import random
import zlib
from collections.abc import Iterator

import pytest

from emu import Machine
from tests.real import real_library, real_root

pytestmark = pytest.mark.real

ARCH = "loongarch64"
_SIZE = 8


@pytest.fixture
def machine() -> Iterator[Machine]:
    real_library(ARCH, "libc.so.6")
    with Machine(ARCH, sysroot=real_root(ARCH)) as machine:
        yield machine


def text(size: int) -> bytes:
    """Words at random: compressible, and long enough for zlib's window to slide, which it does with vectors."""
    rng = random.Random(1)
    words = [rng.randbytes(rng.randrange(2, 9)) for _ in range(500)]
    return b" ".join(rng.choices(words, k=size))[:size]


def length(value: int) -> bytearray:
    return bytearray(value.to_bytes(_SIZE, "little"))


def test_zlib_compresses_and_uncompresses(machine: Machine) -> None:
    zlib_so = machine.load(real_library(ARCH, "libz.so.1"))
    data = text(120_000)
    prototype = "int(unsigned char *, unsigned long *, const unsigned char *, unsigned long)"
    packed, packed_size = bytearray(len(data) + 1000), length(len(data) + 1000)
    assert zlib_so.function("compress", prototype)(packed, packed_size, data, len(data)) == 0
    packed = packed[: int.from_bytes(packed_size, "little")]
    assert zlib.decompress(packed) == data
    back, back_size = bytearray(len(data)), length(len(data))
    assert zlib_so.function("uncompress", prototype)(back, back_size, bytes(packed), len(packed)) == 0
    assert back == data
    checksum = "unsigned long(unsigned long, const char *, unsigned)"
    assert zlib_so.function("crc32", checksum)(0, data, len(data)) == zlib.crc32(data)
    assert zlib_so.function("adler32", checksum)(1, data, len(data)) == zlib.adler32(data)


@pytest.mark.parametrize("name", ["sin", "cos", "tan", "exp", "log", "sqrt", "atan", "erf", "floor"])
def test_libm_agrees_with_the_host_within_an_ulp_or_two(machine: Machine, name: str) -> None:
    function = machine.load(real_library(ARCH, "libm.so.6")).function(name, "double(double)")
    for step in range(1, 60):
        x = step * 0.0497
        assert function(x) == pytest.approx(getattr(math, name)(x), rel=4e-15, abs=1e-16)


def test_libm_raises_to_powers(machine: Machine) -> None:
    power = machine.load(real_library(ARCH, "libm.so.6")).function("pow", "double(double, double)")
    for step in range(60):
        assert power(2.5, step / 7) == pytest.approx(2.5 ** (step / 7), rel=4e-16)


def test_liblzma_encodes_and_decodes(machine: Machine) -> None:
    library = machine.load(real_library(ARCH, "liblzma.so.5"))
    data = text(20_000)
    packed, position = bytearray(len(data) + 1000), length(0)
    encode = library.function(
        "lzma_easy_buffer_encode",
        "int(unsigned, int, void *, void *, unsigned long, void *, void *, unsigned long)",
    )
    assert encode(1, 4, 0, data, len(data), packed, position, len(packed)) == 0
    packed = packed[: int.from_bytes(position, "little")]
    assert lzma.decompress(packed) == data
    decode = library.function(
        "lzma_stream_buffer_decode",
        "int(void *, unsigned, void *, void *, void *, unsigned long, void *, void *, unsigned long)",
    )
    back = bytearray(len(data))
    assert decode(length(1 << 26), 0, 0, bytes(packed), length(0), len(packed), back, length(0), len(back)) == 0
    assert back == data


def test_libpng_tells_its_version(machine: Machine) -> None:
    version = machine.load(real_library(ARCH, "libpng16.so.16")).function("png_get_libpng_ver", "char *(void *)")
    address = version(0)
    assert isinstance(address, int)
    assert machine.memory.read_cstring(address).startswith(b"1.6.")


def test_sqlite_creates_inserts_and_selects_in_memory(machine: Machine) -> None:
    library = machine.load(real_library(ARCH, "libsqlite3.so.0"))
    handle = bytearray(_SIZE)
    assert library.function("sqlite3_open", "int(char *, void *)")(":memory:", handle) == 0
    database = int.from_bytes(handle, "little")
    execute = library.function("sqlite3_exec", "int(void *, char *, void *, void *, void *)")
    create = "create table t(a integer primary key, b, c real); create index i on t(b)"
    assert execute(database, create, 0, 0, 0) == 0
    insert = (
        "with recursive n(k) as (select 1 union all select k + 1 from n where k < 100)"
        " insert into t select k, 'row ' || k, k * 1.5 from n"
    )
    assert execute(database, insert, 0, 0, 0) == 0
    table, rows, columns = bytearray(_SIZE), bytearray(4), bytearray(4)
    query = "select count(*), sum(c), max(b) from t where b like 'row 1%'"
    select = library.function("sqlite3_get_table", "int(void *, char *, void *, void *, void *, void *)")
    assert select(database, query, table, rows, columns, 0) == 0
    assert (int.from_bytes(rows, "little"), int.from_bytes(columns, "little")) == (1, 3)
    first = int.from_bytes(table, "little") + 3 * _SIZE
    cells = (machine.memory.read(first + number * _SIZE, _SIZE) for number in range(3))
    values = [machine.memory.read_cstring(int.from_bytes(cell, "little")) for cell in cells]
    assert values == [b"12", b"369.0", b"row 19"]
