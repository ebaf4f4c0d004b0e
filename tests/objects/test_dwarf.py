"""DWARF of linked objects, on every target: prototypes, variable types, source lines."""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from emu import Library, Machine
from emu.errors import CallError, GuestFault
from relink import HostMemory, Linker, RelinkError
from relink.elf import decode
from relink.elf.dwarf import prototypes, variable_type
from relink.elf.dwarf_lines import LineTable, source_line
from relink.linker import LoadOptions
from relink.objects.combined import CombinedObjects
from tests.fixtures import TARGETS as FIXTURE_TARGETS
from tests.fixtures import arch_of, each_target, fixture
from tests.grouping import each
from tests.objects.build import TARGETS, compiled, linked

FIRST = """
struct point { int x, y; };
double scale = 2.5;
static inline __attribute__((always_inline)) int twice(int x) { return 2 * x; }
int add(int a, int b)
{
    return twice(a) + b;
}
double mix(float f, long long n, struct point *p)
{
    return p ? f + (int)n + p->x : f;
}
__attribute__((noinline)) int crash(volatile int *where)
{
    *where = 1;
    return 7;
}
"""
SECOND = """
extern int crash(volatile int *);
short counter = 3;
int call_crash(long n)
{
    int r = crash((volatile int *)n);
    return r + counter;
}
"""
#: The lines of the write in `crash` and of its call.
WRITES = 1 + FIRST[: FIRST.index("*where = 1")].count("\n")
CALLS = 1 + SECOND[: SECOND.index("crash((")].count("\n")

VERSIONS = ("-gdwarf-2", "-gdwarf-3", "-gdwarf-4", "-gdwarf-5", "-gdwarf64 -gdwarf-5", "-gz")


def objects(target: str, *flags: str) -> list[Path]:
    given = ("-g", *(word for flag in flags for word in flag.split()))
    return [compiled(target, text, *given, "-ffunction-sections") for text in (FIRST, SECOND)]


@pytest.fixture(params=["-gdwarf-4", "-gdwarf-5"])
def library(request: pytest.FixtureRequest, kind: str) -> Iterator[Library]:
    with Machine(arch_of(kind)) as machine:
        yield machine.load(objects(kind, request.param))


kind = each_target()


# ---------------------------------------------------------------- prototypes and types


def test_a_reference_is_given_a_number_and_passes_its_address(kind: str) -> None:
    source = "int add(int *a, double *b, short *c) { int sum = *a + (int)*b + *c; *a = 9; return sum; }"
    with Machine(arch_of(kind)) as machine:
        add = machine.load(compiled(kind, source)).function("add", "int add(int &a, double &b, short &)")
        assert str(add.prototype) == "int add(int &a, double &b, short &)"
        assert add(-40, 80.5, 2) == 42
        given = bytearray((5).to_bytes(4, "little"))
        assert add(given, 1, 0) == 6, "a buffer is lent as it is"
        assert given[0] == 9
        with pytest.raises(CallError, match="does not fit"):
            add(1 << 40, 0.0, 0)


def test_functions_need_no_prototype_and_variables_no_type(library: Library) -> None:
    assert library.function("add")(20, 2) == 42
    assert library.function("mix")(1.5, 2, None) == 1.5
    assert str(library.function("mix").prototype) == "double mix(float f, long long n, struct point *p)"
    assert library.symbols["scale"].read() == 2.5
    assert library.symbols["counter"].read() == 3, "of the second object"
    library.symbols["counter"].write(-1)
    assert library.symbols["counter"].read() == -1


@pytest.mark.parametrize("target", FIXTURE_TARGETS)
def test_objects_of_either_compiler_tell_their_prototypes(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        imports = {"my_host_function": lambda value: value * 2}
        lib = machine.load(fixture(target, "objects/debug"), symbols=imports, allow_unresolved=True)
        assert lib.function("add")(40, 2) == 42
        assert lib.function("read_table")(2) == 30
        assert lib.symbols["counter"].read() == 7


@pytest.mark.parametrize("target", TARGETS)
@each("flags", ["-gdwarf-4", "-gdwarf-5", "-gdwarf-5 -gz"])
def test_what_is_told_is_what_lld_relocates(target: str, flags: str) -> None:
    """lld links the same objects: every prototype, type and line must come out the same."""
    parts = objects(target, flags, "-fPIC")
    # Otherwise lld shortens calls.
    unrelaxed = ("--no-relax",) if target.startswith(("riscv", "loong")) else ()
    theirs = decode(linked(target, parts, *unrelaxed))
    linker = Linker(HostMemory(arch_of(target)))
    image = linker.load(parts)
    ours = image.decoded
    assert dict(prototypes(ours)) == dict(prototypes(theirs))
    assert {"add", "mix", "crash", "call_crash"} <= set(prototypes(ours))
    for name in ("scale", "counter"):
        assert variable_type(ours, name) == variable_type(theirs, name)
    for name in ("add", "mix", "crash", "call_crash"):
        mine, size = image.link_map().symbol(name).address - image.bias, image.link_map().symbol(name).size
        index = int(theirs.symbols.find(name)[0])
        base = int(theirs.symbols.value[index]) & image.architecture.code_address_mask
        mine &= image.architecture.code_address_mask
        for offset in range(size):
            assert source_line(ours, mine + offset) == source_line(theirs, base + offset), (name, offset)
        assert source_line(ours, mine) is not None


def test_code_dropped_with_its_group_describes_nothing() -> None:
    shared = "inline __attribute__((noinline)) int shared(int x) { return x + 1; }\n"
    parts = [
        compiled(
            "x86_64",
            f"{shared}\nint {name}(int x) {{ return shared(x); }}\n",
            "-g",
            "-std=c++17",
            "-fno-exceptions",
            "-x",
            "c++",
        )
        for name in ("first", "second")
    ]
    image = Linker(HostMemory("x86_64")).load(parts)
    (group,) = image.link_map().discarded
    assert group.kept == str(parts[0])
    span = range(image.decoded.min_vaddr, image.decoded.min_vaddr + image.decoded.span)
    files = {found.file for at in span if (found := source_line(image.decoded, at))}
    assert len(files) == 2
    names = ("_Z6sharedi", "_Z5firsti", "_Z6secondi")
    places = [image.link_map().symbol(name).address - image.bias for name in names]
    shared_file, first, second = (getattr(source_line(image.decoded, place), "file", None) for place in places)
    assert shared_file == first != second


def test_debug_sections_are_relocated_only_when_asked_for() -> None:
    image = Linker(HostMemory("riscv64")).load(objects("riscv64"))
    assert isinstance(image.decoded, CombinedObjects)
    assert "debug_sections" not in vars(image.decoded)
    assert image.decoded.debug_sections[".debug_info"]


# ---------------------------------------------------------------- lines


def test_faults_and_backtraces_name_source_lines(library: Library) -> None:
    with pytest.raises(GuestFault) as caught:
        library.function("call_crash")(8)
    frames = caught.value.backtrace
    assert caught.value.frame.symbol == frames[0].symbol == "crash"
    assert caught.value.frame.line == frames[0].line == WRITES
    assert [frame.symbol for frame in frames[:2]] == ["crash", "call_crash"]
    names = [path.rpartition("/")[2] for path in library.link_map().objects]
    assert [frame.image for frame in frames[:2]] == names, "the object each is in"
    assert frames[1].line == CALLS, "that of the call, not of what comes behind it"
    assert frames[0].file != frames[1].file
    assert f"{frames[0].file}:{WRITES}" in caught.value.report()
    assert f"at {frames[0].file}:{WRITES}" in str(caught.value)


@each("flags", VERSIONS)
@pytest.mark.parametrize("target", ["x86_64", "aarch64", "riscv64"])
def test_shared_objects_of_every_dwarf_version_name_lines(target: str, flags: str) -> None:
    with Machine(arch_of(target)) as machine:
        lib = machine.load(linked(target, objects(target, flags, "-fPIC")))
        with pytest.raises(GuestFault) as caught:
            lib.function("call_crash", "int(long)")(8)
    lines = [frame.line for frame in caught.value.backtrace[:2]]
    assert lines == [WRITES, CALLS][: len(lines)], "64-bit DWARF's .debug_frame is not unwound by"
    assert len(lines) == 2 or "64" in flags


def test_an_address_is_told_with_its_line_or_without(library: Library, kind: str) -> None:
    machine = library._machine
    address = library.function("add").address & library.image.architecture.code_address_mask
    assert machine.symbolize(address).line in (4, 5, 6, 7), "of `add`, or of what is inlined there"
    assert machine.symbolize(address, source=False).line is None
    assert machine.symbolize(library.symbols["scale"].address).line is None, "data has no lines"


@each("name", ["basic-dwarf", "basic-dwarf5"])
def test_every_row_is_as_pyelftools_reads_it(target: str, name: str) -> None:
    path = fixture(target, name)
    decoded = decode(path)
    with path.open("rb") as file:
        info = ELFFile(file).get_dwarf_info()
        compared = 0
        for unit in info.iter_CUs():
            program: Any = info.line_program_for_CU(unit)
            rows = [entry.state for entry in program.get_entries() if entry.state is not None]
            # Where several rows share an address, the last one counts; where a sequence ends, none does.
            last = {row.address: row for row in rows}
            for address, row in last.items():
                if row.end_sequence:
                    continue
                found = source_line(decoded, address)
                if row.line == 0:  # code that no line is to blame for
                    assert found is None
                    continue
                assert found is not None
                number = row.file - (program.header.version < 5)
                assert found.line == row.line
                assert found.file.endswith(program["file_entry"][number].name.decode())
                compared += 1
    assert compared > 10


def test_lines_end_where_their_sequence_ends() -> None:
    decoded = decode(linked("x86_64", objects("x86_64", "-fPIC")))
    ends = []
    covered = [source_line(decoded, at) is not None for at in range(decoded.span)]
    ends = [at for at in range(1, len(covered)) if covered[at - 1] and not covered[at]]
    sizes = {int(v + s) for v, s in zip(decoded.symbols.value, decoded.symbols.size, strict=True)}
    assert ends
    assert set(ends) <= sizes
    assert bisect.bisect(ends, 0) == 0


# ---------------------------------------------------------------- bad input


@given(st.binary(max_size=200), st.sampled_from([2, 3, 4, 5]))
def test_any_bytes_are_a_line_table_that_knows_little(data: bytes, version: int) -> None:
    unit = version.to_bytes(2, "little") + data
    lines = len(unit).to_bytes(4, "little") + unit
    LineTable(lines, data, data, 8).find(0x1000)
    LineTable(data, b"", b"", 4).find(0x1000)


@given(st.randoms(use_true_random=False))
def test_damaged_debug_sections_never_raise(random_: random.Random) -> None:
    path = linked("x86_64", objects("x86_64", "-fPIC"))
    decoded = decode(path)
    section = decoded.section(".debug_line")
    assert section is not None
    content = bytearray(decoded.section_bytes(section).tobytes())
    for _ in range(random_.randrange(1, 8)):
        content[random_.randrange(len(content))] = random_.randrange(256)
    table = LineTable(bytes(content), b"", b"", 8)
    for address in range(0x1000, 0x1400, 7):
        table.find(address)


def test_an_extended_opcode_without_length_does_not_loop() -> None:
    header = bytes([1, 1, 1, 0xFB, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]) + b"\0" + b"a.c\0\0\0\0\0"
    unit = (4).to_bytes(2, "little") + len(header).to_bytes(4, "little") + header + b"\0\0" * 1000
    assert LineTable(len(unit).to_bytes(4, "little") + unit, b"", b"", 8).find(1) is None


@pytest.mark.parametrize("target", ["x86_64", "arm", "riscv64", "loongarch64"])
@given(random_=st.randoms(use_true_random=False))
def test_damaged_objects_are_refused_or_tell_less(target: str, random_: random.Random) -> None:
    content = bytearray(objects(target)[0].read_bytes())
    for _ in range(random_.randrange(1, 6)):
        content[random_.randrange(64, len(content))] = random_.randrange(256)
    linker = Linker(HostMemory(arch_of(target)))
    try:
        image = linker.load(bytes(content), options=LoadOptions(unresolved=lambda image, symbol: 0))
    except RelinkError:
        return
    dict(prototypes(image.decoded))
    for vaddr in range(image.decoded.min_vaddr, image.decoded.min_vaddr + image.decoded.span, 64):
        source_line(image.decoded, vaddr)
    str(image.link_map())
    assert image.kernel_module is None or image.modinfo is not None
