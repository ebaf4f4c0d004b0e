"""A backtrace, a prototype and a source line cost the same in large images, and among many, as in small ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from emu import Library, Machine
from emu.boards.firmware import Firmware, Symbol
from emu.errors import Frame, GuestFault
from relink.elf.debug_files import debug_sections
from relink.elf.decode import decode
from relink.elf.dwarf import DebugTypes
from relink.elf.intervals import Intervals
from relink.resolve.local_symbols import all_symbols, function_at, local_symbols
from tests.counting import most_bytes, python_lines
from tests.linker.craft import DATA, FUNC, Sym
from tests.linker.craft import Library as Crafted
from tests.objects.build import compiled, linked

FLAGS = ("-fPIC", "-O1", "-fno-optimize-sibling-calls", "-fasynchronous-unwind-tables")
DEEP = "__attribute__((noinline)) int deep(int n, int *p) { return n ? deep(n - 1, p) * 3 + 1 : *p; }"
FEW, MANY = 20, 1000


def of_functions(count: int, *link_flags: str) -> Path:
    """A library with so many exported functions, so many static ones, and `deep`, which calls itself."""
    functions = "".join(
        f"int f{n}(int x) {{ return x + {n}; }}\n"
        f"static __attribute__((noinline, used)) int s{n}(int x) {{ return x * {n}; }}\n"
        for n in range(count)
    )
    flags = link_flags or ("--eh-frame-hdr",)
    return linked("x86_64", [compiled("x86_64", functions + DEEP, *FLAGS)], *flags)


def backtrace(library: Library, calls: int = 20) -> tuple[Frame, ...]:
    with pytest.raises(GuestFault) as fault:
        library.function("deep", "int(int, int *)")(calls, 0)
    return fault.value.backtrace


@pytest.fixture(autouse=True, scope="module")
def _made_once() -> None:
    with Machine("x86_64") as machine:
        backtrace(machine.load(of_functions(FEW)))


@pytest.mark.not_taken_back("counts lines")
def test_call_frames_cost_the_same_in_a_large_image() -> None:
    """The first time, too: the image's search table tells where an entry is."""

    def cost(count: int) -> tuple[int, int, int]:
        with Machine("x86_64") as machine:
            library = machine.load(of_functions(count))
            first = python_lines(lambda: backtrace(library))
            return first, python_lines(lambda: backtrace(library)), most_bytes(lambda: backtrace(library))

    few, many = cost(FEW), cost(MANY)
    assert few[0] > 1000, "the counter counts"
    for small, large in zip(few, many, strict=True):
        assert large < 1.1 * small
    assert len(of_functions(MANY).read_bytes()) > 2 * many[2], "the counter counts"


@pytest.mark.not_taken_back("counts lines")
def test_tables_without_an_index_are_read_once() -> None:
    def cost(count: int) -> int:
        with Machine("x86_64") as machine:
            library = machine.load([compiled("x86_64", of_source(count), *FLAGS)])
            assert [frame.symbol for frame in backtrace(library)][:21] == ["deep"] * 21
            return python_lines(lambda: backtrace(library))

    assert cost(MANY) < 1.1 * cost(FEW)


def of_source(count: int) -> str:
    return "".join(f"int f{n}(int x) {{ return x + {n}; }}\n" for n in range(count)) + DEEP


INDEX_FAULTS = {
    "encoding": (3, b"\xff"),
    "no entries": (8, bytes(4)),
    "too many entries": (8, b"\xff\xff\xff\x7f"),
    "order": (12, b"\xff\xff\xff\x7f"),
    "an entry outside": (16, b"\xff\xff\xff\x7f"),
}


@pytest.mark.parametrize("fault", INDEX_FAULTS)
def test_a_damaged_search_table_is_not_used(fault: str) -> None:
    path = of_functions(FEW)
    content = bytearray(path.read_bytes())
    header = decode(path).eh_frame
    assert header is not None
    offset, damage = INDEX_FAULTS[fault]
    content[header.offset + offset : header.offset + offset + len(damage)] = damage
    with Machine("x86_64") as machine:
        expected = [frame.symbol for frame in backtrace(machine.load(path))]
    with Machine("x86_64") as machine:
        assert [frame.symbol for frame in backtrace(machine.load(bytes(content)))] == expected
    assert expected[:21] == ["deep"] * 21


def test_images_at_the_same_address_have_their_own_call_frames() -> None:
    small, large = of_functions(FEW), of_functions(2 * FEW)
    with Machine("x86_64") as machine:
        before = machine.load(small)
        base, whole = before.image.base, len(backtrace(before))
        assert whole > 20
        after = machine.swap(before, large)
        assert len(backtrace(after)) == whole
        after.close()
        for path in (large, small):
            library = machine.load(path, base=base)
            assert (library.image.base, len(backtrace(library))) == (base, whole)
            library.close()


@pytest.mark.not_taken_back("counts lines")
def test_a_frame_costs_the_same_among_many_images() -> None:
    def cost(count: int) -> int:
        with Machine("x86_64") as machine:
            for number in range(count):
                name = f"lib{number}.so"
                machine.load(Crafted("x86_64", name, symbols=[Sym("v", DATA, type=FUNC)]).image(), name=name)
            library = machine.load(of_functions(FEW))
            backtrace(library)  # makes the engine
            assert machine.image_at(library.image.base) is library.image
            return python_lines(lambda: backtrace(library))

    assert cost(200) < 1.1 * cost(5)


def test_an_image_is_found_at_its_addresses_as_long_as_it_is_loaded() -> None:
    content = Crafted("x86_64", "lib.so", symbols=[Sym("v", DATA, type=FUNC)]).image()
    with Machine("x86_64") as machine:
        libraries = [machine.load(content, name=f"lib{n}.so") for n in range(5)]
        snapshot = machine.snapshot()
        places = [(each.image, each.image.region.address, each.image.region.end) for each in libraries]
        for image, start, end in places:
            assert [machine.image_at(at) for at in (start, end - 1)] == [image] * 2
            assert machine.image_at(end) is None
        libraries[2].close()
        assert machine.image_at(places[2][1]) is None
        machine.restore(snapshot)
        assert [machine.image_at(start) for _, start, _ in places] == [image for image, _, _ in places]


# ---------------------------------------------------------------- names


def test_static_functions_are_found_as_by_looking_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = decode(of_functions(FEW))
    symbols = all_symbols(decoded)
    for name in {symbol.name for symbol in symbols} | {"nothing"}:
        values = {symbol.value for symbol in symbols if symbol.name == name}
        assert {symbol.value for symbol in local_symbols(decoded, name)} == values
    static = [symbol for symbol in symbols if re.fullmatch(r"s\d+", symbol.name)]
    assert len(static) == FEW
    for symbol in static:
        for inside in (0, symbol.size - 1):
            assert function_at(decoded, symbol.value + inside, (1 << 64) - 1) == (symbol.name, inside)


@pytest.mark.not_taken_back("counts lines")
def test_a_static_function_costs_the_same_among_many() -> None:
    def cost(count: int) -> int:
        decoded = decode(of_functions(count))
        address = local_symbols(decoded, "s7")[0].value
        function_at(decoded, address, (1 << 64) - 1)
        return python_lines(
            lambda: (local_symbols(decoded, "s9"), function_at(decoded, address + 1, (1 << 64) - 1))
        )

    assert cost(MANY) == cost(FEW)


def test_a_firmware_names_the_nearest_symbol_that_contains_an_address() -> None:
    rows = [
        ("outer", 0x101, 0x40, True),
        ("inner", 0x110, 8, False),
        ("alias", 0x110, 8, False),
        ("label", 0x130, 0, False),
    ]
    firmware = Firmware("fw", (), symbols={row[0]: Symbol(*row, row[3]) for row in rows})
    found = {at: symbol.name for at in range(0xF0, 0x150) if (symbol := firmware.symbol_at(at)) is not None}
    inner = range(0x110, 0x118)
    assert found == {at: "inner" if at in inner else "outer" for at in range(0x100, 0x140)}
    assert Firmware("raw", ()).symbol_at(0) is None


def test_intervals_are_found_as_by_looking_at_all() -> None:
    random = np.random.default_rng(3)
    for size in (0, 1, 5, 60):
        starts = random.integers(0, 100, size)
        ends = starts + random.integers(0, 12, size)
        intervals = Intervals(starts.tolist(), (ends - starts).tolist())
        rows = list(zip(starts.tolist(), ends.tolist(), strict=True))
        for low in range(115):
            for high in (low + 1, low + 9):
                wanted = {n for n, (start, end) in enumerate(rows) if start < high and low < end > start}
                assert set(intervals.overlapping(low, high)) == wanted
            inside = [(-start, n) for n, (start, end) in enumerate(rows) if start <= low < end]
            assert intervals.at(low) == (min(inside)[1] if inside else None)
    assert [Intervals([(1 << 64) - 2], [2]).at((1 << 64) - each) for each in (1, 2, 3)] == [0, 0, None]
    assert [Intervals([0, (1 << 64) - 2], [9, 2]).at(n) for n in (-1, 0, 1 << 64, 1 << 70)] == [
        None,
        0,
        None,
        None,
    ]
    assert Intervals([(1 << 64) - 2, 0], [3, 0]).at((1 << 64) - 1) is None, (
        "one that is too long, and an empty one"
    )


# ---------------------------------------------------------------- debug information


def of_units(count: int) -> Path:
    """A library linked from so many units with debug information."""
    objects = [compiled("x86_64", f"int f{n}(int x) {{ return x + {n}; }}", *FLAGS, "-g") for n in range(count)]
    return linked("x86_64", [*objects, compiled("x86_64", DEEP, *FLAGS, "-g")], "--eh-frame-hdr")


@pytest.mark.not_taken_back("counts lines")
def test_lines_and_prototypes_cost_the_same_among_many_units() -> None:
    def cost(count: int) -> tuple[int, int]:
        with Machine("x86_64") as machine:
            library = machine.load(of_units(count))
            assert all(frame.line == 1 for frame in backtrace(library)[:21])
            types = DebugTypes(debug_sections(library.image.decoded))
            places = [library.image.symbol(f"f{n}").address - library.image.bias for n in range(count)]
            for number, place in enumerate(places):
                assert types.prototype(f"f{number}", place) == f"int f{number}(int x)"
            return (
                python_lines(lambda: backtrace(library)),
                python_lines(lambda: (types.function("f3", places[3]), types.function("f4"))),
            )

    few, many = cost(5), cost(80)
    assert few[1] > 10, "the counter counts"
    assert many[0] < 1.1 * few[0]
    assert many[1] == few[1]
