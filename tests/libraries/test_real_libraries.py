"""Debian's libraries on all seven architectures: what they compute is what the host computes."""

from __future__ import annotations

import lzma
import math
import random
import sqlite3
import struct
import zlib
from collections.abc import Iterator

import pytest

from emu import HostFunction, Machine
from emu.cli.app import run
from tests.fixtures import ARCHES
from tests.grouping import each
from tests.libc.test_fenv import NEAREST, UP, VALUES
from tests.objects.build import compiled
from tests.real import real_library, real_root

pytestmark = [pytest.mark.real, pytest.mark.sample(2), pytest.mark.parametrize("arch", ARCHES)]

BUFFERS = "int(unsigned char *, unsigned long *, const unsigned char *, unsigned long)"
CHECKSUM = "unsigned long(unsigned long, const char *, unsigned)"


@pytest.fixture
def machine(arch: str) -> Iterator[Machine]:
    with Machine(arch, sysroot=real_root(arch)) as machine:
        yield machine


def text(size: int) -> bytes:
    """Words at random: compressible, and long enough for zlib's window to slide."""
    rng = random.Random(1)
    words = [rng.randbytes(rng.randrange(2, 9)) for _ in range(500)]
    return b" ".join(rng.choices(words, k=size))[:size]


def word(machine: Machine, value: int = 0) -> bytearray:
    """A word of the guest to be passed by reference."""
    return bytearray(value.to_bytes(machine.arch.word_size, "little"))


def number(buffer: bytearray) -> int:
    return int.from_bytes(buffer, "little")


def test_the_documented_command_prints_the_checksum(arch: str, capsys: pytest.CaptureFixture[str]) -> None:
    real_library(arch, "libz.so.1")
    sysroot = str(real_root(arch))
    status = run(["call", "--arch", arch, "--sysroot", sysroot, "libz.so.1", 'crc32(0, "123456789", 9)'])
    printed = capsys.readouterr()
    assert (status, printed.out) == (0, "3421780262\n")
    assert "crc32" in printed.err, "without debug information the prototype is a guess, and the command says so"
    assert "is a guess" in printed.err


def test_zlib_compresses_and_uncompresses(arch: str, machine: Machine) -> None:
    library = machine.load(real_library(arch, "libz.so.1"))
    data = text(120_000)
    packed, packed_size = bytearray(len(data) + 1000), word(machine, len(data) + 1000)
    assert library.function("compress", BUFFERS)(packed, packed_size, data, len(data)) == 0
    packed = packed[: number(packed_size)]
    assert zlib.decompress(packed) == data
    back, back_size = bytearray(len(data)), word(machine, len(data))
    assert library.function("uncompress", BUFFERS)(back, back_size, bytes(packed), len(packed)) == 0
    assert back == data
    assert library.function("crc32", CHECKSUM)(0, data, len(data)) == zlib.crc32(data)
    assert library.function("adler32", CHECKSUM)(1, data, len(data)) == zlib.adler32(data)
    assert machine.heap.live_blocks == 0, "zlib gave all its memory back to the hosted C library"


def test_zlib_reports_damaged_input(arch: str, machine: Machine) -> None:
    library = machine.load(real_library(arch, "libz.so.1"))
    out, size = bytearray(100), word(machine, 100)
    assert library.function("uncompress", BUFFERS)(out, size, b"not zlib at all", 15) == -3


@each("name", ["sin", "cos", "tan", "exp", "log", "sqrt", "atan", "erf", "floor"])
def test_libm_agrees_with_the_host_within_two_units_in_the_last_place(
    arch: str, machine: Machine, name: str
) -> None:
    if arch == "riscv32":
        pytest.skip("no distribution has a C library for riscv32")
    function = machine.load(real_library(arch, "libm.so.6")).function(name, "double(double)")
    for step in range(1, 40):
        x = step * 0.0497
        expected = getattr(math, name)(x)
        assert abs(function(x) - expected) <= 2 * math.ulp(expected), x


def test_libm_raises_to_powers(arch: str, machine: Machine) -> None:
    if arch == "riscv32":
        pytest.skip("no distribution has a C library for riscv32")
    power = machine.load(real_library(arch, "libm.so.6")).function("pow", "double(double, double)")
    for step in range(60):
        assert power(2.5, step / 7) == pytest.approx(2.5 ** (step / 7), rel=4e-16)


def test_libm_sets_the_rounding_mode_that_code_computes_with(arch: str, machine: Machine) -> None:
    if arch == "riscv32":
        pytest.skip("no distribution has a C library for riscv32")
    mode = machine.load(real_library(arch, "libm.so.6")).function("fesetround", "int(int)")
    lib = machine.load(compiled(arch, "double divided(double x, double y) { return x / y; }"))
    divided = lib.function("divided", "double(double, double)")
    upwards, downwards = VALUES[arch][:2]
    assert (mode(upwards), divided(1, 3)) == (0, UP)
    assert (mode(downwards), divided(1, 3)) == (0, NEAREST)


def test_liblzma_packs_what_the_host_unpacks_and_the_reverse(arch: str, machine: Machine) -> None:
    library = machine.load(real_library(arch, "liblzma.so.5"))
    encode = library.function(
        "lzma_easy_buffer_encode",
        "int(unsigned, int, void *, const unsigned char *, size_t, unsigned char *, size_t *, size_t)",
    )
    data = text(5_000)
    out, position = bytearray(len(data) + 1000), word(machine)
    assert encode(6, 4, None, data, len(data), out, position, len(out)) == 0
    assert lzma.decompress(out[: number(position)]) == data
    decode = library.function(
        "lzma_stream_buffer_decode",
        "int(uint64_t *, unsigned, void *, const char *, size_t *, size_t, unsigned char *, size_t *, size_t)",
    )
    packed, back = lzma.compress(data, preset=1), bytearray(len(data))
    limit = bytearray((1 << 26).to_bytes(8, "little"))
    read, written = word(machine), word(machine)
    assert decode(limit, 0, None, packed, read, len(packed), back, written, len(back)) == 0
    assert back == data


def test_libpng_brings_its_zlib_and_decodes(arch: str, machine: Machine) -> None:
    library = machine.load(real_library(arch, "libpng16.so.16"))
    assert any(image.short_name.startswith("libz.so.1") for image in library.plan.images)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = [bytes((x * 40 + y) & 255 for x in range(6)) for y in range(4)]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            chunk(b"IHDR", struct.pack(">IIBBBBB", 6, 4, 8, 0, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
            chunk(b"IEND", b""),
        ]
    )
    # The simplified interface: png_image is {opaque, version, width, height, format, …} and 64 bytes of message.
    image = bytearray(200)
    size = machine.arch.word_size
    image[size : size + 4] = (1).to_bytes(4, "little")
    begin = library.function("png_image_begin_read_from_memory", "int(void *, const void *, size_t)")
    address = machine.heap.malloc(len(image))
    kept = machine.heap.malloc(len(png))
    machine.memory.write(kept, png)
    machine.memory.write(address, image)
    assert begin(address, kept, len(png)) == 1
    width, height = struct.unpack("<II", machine.memory.read(address + size + 4, 8))
    assert (width, height) == (6, 4)
    machine.memory.write(address + size + 12, bytes(4))  # PNG_FORMAT_GRAY
    pixels = bytearray(24)
    finish = library.function("png_image_finish_read", "int(void *, void *, void *, int, void *)")
    assert finish(address, None, pixels, 0, None) == 1
    assert bytes(pixels) == b"".join(rows)


def test_sqlite_keeps_a_database_in_memory(arch: str, machine: Machine) -> None:
    library = machine.load(real_library(arch, "libsqlite3.so.0"))
    handle = word(machine)
    assert library.function("sqlite3_open", "int(const char *, void *)")(":memory:", handle) == 0
    rows: list[list[str]] = []

    def row(_: int, count: int, values: int, names: int) -> int:
        size = machine.arch.word_size
        texts = [machine.memory.read_uint(values + size * i, size) for i in range(count)]
        rows.append([machine.memory.read_cstring(text).decode() for text in texts])
        return 0

    callback = machine.define("row", HostFunction(row, "int(void *, int, char **, char **)"))
    execute = library.function("sqlite3_exec", "int(void *, const char *, void *, void *, void *)")
    statements = """
        create table t(a integer primary key, b text, c real);
        insert into t(b, c) values ('one', 1.5), ('two', -2.25), ('three', 1e10);
        update t set b = upper(b) where a > 1;
        select a, b, c from t order by c desc;
        select count(*), sum(length(b)) from t;
    """
    assert execute(number(handle), statements, callback, None, None) == 0
    host = sqlite3.connect(":memory:")
    host.executescript(statements.split("select")[0])
    expected = host.execute("select a, b, c from t order by c desc").fetchall()
    assert rows == [*([str(v) for v in line] for line in expected), ["3", "11"]]
    assert library.function("sqlite3_close", "int(void *)")(number(handle)) == 0
