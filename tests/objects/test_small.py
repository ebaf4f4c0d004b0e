"""A small object, linked and relocated by numbers, is in all that can be asked as arrays make it."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emu import Machine
from relink import DefinedSymbols, HostMemory, Linker, LoadOptions, SymbolRequest
from relink.arch import ARCHITECTURES, architecture
from relink.arch.single import LETTERS, of_field, of_formula
from relink.elf import small_object
from relink.elf.layout import ELF32
from relink.errors import LinkErrors, RelinkError, RelocationError
from relink.events import Event
from relink.memory import placement
from relink.objects.small import SmallObject
from relink.relocate import few_of_object
from relink.search import open as opening
from relink.search.open import open_image
from tests.counting import python_calls
from tests.elf.broken_objects import BROKEN
from tests.elf.build_object import Sec, Sym, rela, simple_object
from tests.fixtures import arch_of
from tests.linker.test_few_entries import state
from tests.objects.build import TARGETS, compiled, linked

pytestmark = pytest.mark.usefixtures("without_cache")

#: Fragments as compilers of all kinds write them: calls, data of all permissions, tables, names in each form.
SOURCES = (
    "int id(int x) { return x; }\n",
    "extern int outside(int); extern int other[4]; int call(int x) { return outside(x) + other[x & 3]; }\n",
    "static int held[3] = {1, 2, 3}; int (*table[2])(int); int sum(int i) { return held[i % 3] + 1; }\n",
    "const char text[] = \"text\"; const char *where = text; const char *get(void) { return where; }\n",
    """__attribute__((weak)) extern int maybe; int *ask(void) { return &maybe; }
    __attribute__((weak)) extern int may(int); int asks(int x) { return may ? may(x) : 7; }""",
    """__attribute__((visibility("hidden"))) int hidden(int x) { return x + 1; } int zeroed[40];
    __attribute__((visibility("protected"))) int kept = 4; int shown(int x) { return hidden(x) + kept; }""",
    "double half(double x) { return x * 0.5; } float third(float x) { return x / 3.0f; }\n",
    """int many(int x) { switch (x) { case 0: return 3; case 1: return 9; case 2: return 27; case 3: return 81;
    case 4: return 7; case 5: return 77; } return -1; }""",
)  # fmt: skip
#: In C++: functions in COMDAT groups, with guards and tables, and constructors.
PLUS_PLUS = (
    "inline int twice(int x) { return 2 * x; } int use(int x) { return twice(x); }\n",
    """template <class T> T most(T a, T b) { return a < b ? b : a; } template int most(int, int); struct V {
    virtual int f(); int n = 3; }; int V::f() { return n; } V made;""",
    """extern "C" int outside(int); int found = outside(3); template <int n> struct S { static int v; };
    template <int n> int S<n>::v = outside(n); template struct S<2>; template struct S<3>;""",
)
FLAGS = (("-fno-pic",), ("-fPIC",), ("-fPIC", "-ffunction-sections", "-fdata-sections"), ("-O0", "-fPIC", "-g"))
FULL = (1 << 64) - 1
#: What these refer to, in another image.
PROVIDER = "int outside(int x) { return x + 1; } int other[4] = {1, 2, 3, 4}; int may(int x) { return x; }\n"


@contextmanager
def by_arrays() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "_small", lambda *inputs: None)
        yield


def described(event: Event) -> str:
    said = [str(getattr(event, name)) for name in event.__match_args__ if str(name) != "decoded"]
    return " ".join((type(event).__name__, *said))


def outcome(arch: str, content: bytes, provider: Path | None, options: LoadOptions, *, maps: bool) -> list[object]:
    """What a load of an object leaves, or its errors."""
    linker = Linker(HostMemory(arch))
    if provider is not None:
        linker.load(provider)
    heard: list[str] = []
    linker.observers.append(lambda event: heard.append(described(event)))
    try:
        image = linker.load(content, name="some.o", options=options)
    except LinkErrors as errors:
        return [[str(error) for error in errors.exceptions], heard]
    except RelinkError as error:
        return [type(error), str(error), heard]
    decoded = image.decoded
    table = decoded.symbols
    assert image.objects is not None
    rows = table.value, table.size, table.info, table.other, table.section, image.objects.offered
    columns = [column.tolist() for column in rows]
    vaddrs = decoded.min_vaddr, decoded.span
    placed = placement.pages(decoded), placement.first_vaddr(decoded), decoded.segments, decoded.header, vaddrs
    asked = decoded.low_bits, decoded.stack_executable, image.float_abi, decoded.warnings, decoded.init_array
    names = table.names.texts()
    return [state(image), image.base, columns, names, placed, asked, heard, str(image.link_map()) if maps else ""]


class Answering:
    """A source that notes what it is asked."""

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked

    def __call__(self, request: SymbolRequest) -> int | None:
        self.asked.append(f"{request.name} {request.version} {request.index} {request.kind}")
        return 0x7000_0000 if request.name == "may" else None


def assert_same(arch: str, content: bytes, provider: Path | None = None, what: object = None) -> bool:
    """The same by both; whether numbers have linked it."""
    small = isinstance(_opened(arch, content), SmallObject)
    asked = list[str]()
    table, function = DefinedSymbols({"outside": 0x7000_1000, "maybe": 0x7000_2000}), Answering(asked)
    for options in (
        LoadOptions(),
        LoadOptions(allow_deferred=True),
        LoadOptions(sources=[function, table], unresolved=lambda image, symbol: 0x7000_3000),
    ):
        maps = not options.sources and not options.allow_deferred
        asked.clear()
        found = outcome(arch, content, provider, options, maps=maps)
        wanted = asked.copy()
        asked.clear()
        with by_arrays():
            expected = outcome(arch, content, provider, options, maps=maps)
        assert (found, wanted) == (expected, asked), what
    return small


def _opened(arch: str, content: bytes) -> object:
    try:
        return open_image(content, architecture(arch))
    except (RelinkError, ExceptionGroup):
        return None


def contents(target: str) -> list[bytes]:
    plain = [compiled(target, source, *flags) for source in SOURCES for flags in FLAGS]
    others = [
        compiled(target, source, "-fno-rtti", *flags, language="c++") for source in PLUS_PLUS for flags in FLAGS
    ]
    return [path.read_bytes() for path in (*plain, *others)]


@pytest.mark.parametrize("target", TARGETS)
def test_compiled_fragments_are_as_by_arrays(target: str) -> None:
    provider, arch = compiled(target, PROVIDER, "-fPIC"), arch_of(target)
    found = [assert_same(arch, content, provider) for content in contents(target)]
    relocated = [_relocated_by_numbers(arch, content, provider) for content in contents(target)]
    print(target, sum(found), sum(relocated), len(found))
    assert sum(found) >= SMALL[target] * len(found)
    assert sum(relocated) >= RELOCATED[target] * len(found)


#: The part of these that is linked, and relocated, by numbers.
SMALL = dict.fromkeys(TARGETS, 0.9)
RELOCATED = dict.fromkeys(TARGETS, 0.8)


def _relocated_by_numbers(arch: str, content: bytes, provider: Path) -> bool:
    """Whether a fragment is, and the provider."""
    done: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        real = few_of_object.ObjectEntries.apply

        def applied(*inputs: Any) -> bool:
            done.append(real(*inputs))
            return done[-1]

        patch.setattr(few_of_object.ObjectEntries, "apply", applied)
        outcome(arch, content, provider, LoadOptions(), maps=False)
    return done == [True, True]


def mutated(rng: random.Random, content: bytes, arch: str) -> bytes:
    """An object with another byte, or another type, symbol or addend of a relocation."""
    data = bytearray(content)
    bits = architecture(arch).bits
    layout = small_object.HEADERS[bits][0]
    *_, shoff, _, _, _, _, entsize, count, _ = (0, *layout.header.unpack_from(content, 16))
    shoff = layout.header.unpack_from(content, 16)[5]
    rows = [layout.section_header.unpack_from(content, shoff + entsize * number) for number in range(count)]
    chosen = [row for row in rows if row[1] in (2, 3, 4, 9)]
    tables = [row for row in rows if row[1] in (4, 9) and row[5]]
    for _ in range(rng.choice((1, 1, 2, 5))):
        kind = rng.random()
        if kind < 0.4 and tables:
            row = rng.choice(tables)
            at = row[4] + rng.randrange(row[5] // row[9]) * row[9]
            number = rng.choice([*architecture(arch).relocations])
            if bits == 64:
                struct.pack_into("<I", data, at + 8, number)
            else:
                data[at + 4] = number
        elif kind < 0.6 and chosen:
            row = rng.choice(chosen)
            data[row[4] + rng.randrange(max(row[5], 1))] = rng.choice((0, 1, 2, 4, 18, 255, rng.randrange(256)))
        elif kind < 0.8:
            at = shoff + rng.randrange(entsize * count)
            data[at] = rng.choice((0, 1, 2, 3, 4, 8, 16, rng.randrange(256)))
        elif kind < 0.85:
            data[rng.randrange(64)] = rng.randrange(256)
        else:
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_fragments_are_as_by_arrays(target: str) -> None:
    rng, arch, provider = random.Random(target), arch_of(target), compiled(target, PROVIDER, "-fPIC")
    some = contents(target)
    for number in range(20):
        content = mutated(rng, rng.choice(some), arch)
        assert_same(arch, content, provider, (target, number))


@pytest.mark.parametrize("name", BROKEN)
def test_broken_objects_are_refused_as_by_arrays(name: str) -> None:
    assert_same("x86_64", BROKEN[name][0])


def test_what_rules_of_their_own_are_about_is_left_to_arrays() -> None:
    """And loads as it did."""
    text = {"bind": 1, "type": 2, "section": 1}
    for symbols, extra in (
        ([Sym("_init", **text)], []),
        ([Sym("__start_x", bind=1)], []),
        ([Sym("f@@V", **text)], []),
        ([Sym("f", **text), Sym("f", bind=2, type=2, section=1)], []),
        ([Sym("c", 8, 8, bind=1, type=1, section=0xFFF2)], []),
        ([Sym("i", bind=1, type=10, section=1)], []),
        ([Sym("t", bind=1, type=6, section=4)], [Sec(".tbss", 8, flags=0x403, size=8)]),
        ([Sym("u", bind=10, type=1, section=1)], []),
        ([Sym("h", bind=2, other=2)], [rela((0, 4, 1, -4))]),
        ([Sym("f", **text)], [Sec(".init_array.5", 14, bytes(8), flags=3, align=8)]),
        ([Sym("f", **text)], [Sec(".init_array", 1, bytes(8), flags=3, align=8)]),
        ([Sym("f", **text)], [Sec(".ctors", 1, bytes(8), flags=3, align=8)]),
        ([Sym("f", **text)], [Sec(".note.GNU-stack", 1, bytes(8), flags=6)]),
        ([Sym(f"f{n}", **text) for n in range(small_object.MOST_SYMBOLS)], []),
        ([Sym("f", **text)], [rela(*[(0, 0, 1, 0)] * (1 + small_object.MOST_RELOCATIONS))]),
        ([Sym("f", **text)], [Sec(".bss", 8, flags=3, size=1 << 17)]),
    ):
        assert not assert_same("x86_64", simple_object(symbols, extra), what=symbols)


def test_a_places_order_with_others_matters_to_the_engine() -> None:
    """Of two entries at one place, or that overlap, the one of the higher type is applied last."""
    for rows in ([(0, 1, 1, 5), (0, 10, 1, 7)], [(0, 10, 1, 7), (2, 10, 1, 9)], [(8, 1, 1, 0), (4, 10, 1, 1)]):
        assert assert_same("x86_64", simple_object([Sym("f", bind=1, type=2, section=1)], [rela(*rows)]))


def test_sums_that_overlap_in_part_are_left_to_the_engine() -> None:
    """ADD64, and ADD32 of its upper half: sums of one word alone are added one after another."""
    for rows in (
        [(0, 36, 1, 5), (4, 35, 1, 7)],
        [(4, 35, 1, 5), (0, 36, 1, 1 << 32)],
        [(0, 36, 1, 5), (0, 40, 1, 2)],
    ):
        content = simple_object([Sym("f", bind=1, type=2, section=1)], [rela(*rows)], machine=243)
        assert assert_same("riscv64", content, what=rows)


def test_a_branch_to_a_thread_local_symbol_is_refused_beside_others() -> None:
    """PLT32: only of the others it is asked whether they reach their symbols."""
    symbols = [Sym("t", bind=1, type=6, section=4), Sym("u", bind=1)]
    calls = rela((0, 4, 2, -4), (4, 4, 1, -4), (8, 4, 2, -4))
    content = simple_object(symbols, [Sec(".tbss", 8, flags=0x403, size=8), calls])
    with pytest.raises(RelocationError, match=r"against t .*: the symbol is thread-local"):  # and nothing else
        Linker(HostMemory("x86_64")).load(content, options=LoadOptions(unresolved=lambda image, symbol: 1 << 46))


def test_a_sum_of_64_bits_is_not_sign_extended_from_32() -> None:
    """ADD64 and SUB64 of an address in the upper half of 32 bits."""
    for number in (36, 40):
        table = Sec(".rela.text", 4, struct.pack("<IIi", 0, 1 << 8 | number, 0), link=2, info=1, entsize=12)
        content = simple_object([Sym("far", bind=1)], [table], ELF32, 243)
        assert_as_by_arrays("riscv32", content, 0x9000_0000)


@pytest.mark.parametrize("target", ["i386", "arm", "riscv32"])
def test_slots_and_stubs_hold_the_low_bits_of_an_address_of_the_users(target: str) -> None:
    """One beyond what the processor addresses, as the host may answer."""
    content = compiled(target, SOURCES[1], "-fPIC").read_bytes()
    assert_as_by_arrays(arch_of(target), content, (1 << 40) + 0x1000)


def assert_as_by_arrays(arch: str, content: bytes, address: int) -> None:
    """Where all undefined symbols have an address."""
    options = LoadOptions(unresolved=lambda image, symbol: address)
    found = outcome(arch, content, None, options, maps=False)
    with by_arrays():
        assert found == outcome(arch, content, None, options, maps=False)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_formulas_and_fields_of_numbers_are_those_of_arrays(arch: str) -> None:
    """Of every type: at the ends of all ranges, and somewhere."""
    rng, page = random.Random(arch), architecture(arch)
    ends = [sign * (1 << bit) + off & FULL for bit in range(65) for sign in (1, -1) for off in (-1, 0, 1)]
    for row in page.relocations.values():
        if row.formula is None or row.word is None:
            continue
        field, value = of_field(row.word), of_formula(row.formula)
        values = np.array([*ends, *(rng.getrandbits(64) for _ in range(20))], np.uint64)
        raws = np.array([rng.getrandbits(8 * field.size) for _ in values], np.uint64)
        fits = np.broadcast_to(np.asarray(row.word.fits(values)), values.shape)
        assert [field.fits(each) for each in values.tolist()] == fits.tolist(), row
        assert [field.read(raw) & FULL for raw in raws.tolist()] == row.word.read(raws).tolist(), row
        pairs = list(zip(raws.tolist(), values.tolist(), strict=True))
        whole = (1 << 8 * field.size) - 1
        assert [field.write(*pair) & whole for pair in pairs] == (row.word.write(raws, values)).tolist(), row
        assert (value is None) == bool(row.formula.letters & {"B", "M", "T", "Z", "DTV"}), row
        if value is not None:
            letters = {letter: np.roll(values, number) for number, letter in enumerate(LETTERS)}
            columns = zip(*(letters[letter].tolist() for letter in LETTERS), strict=True)
            names = {"__builtins__": {}, "Page": lambda x: x & np.uint64(FULL - 0xFFF), **letters}
            assert [value(*each) & FULL for each in columns] == eval(row.formula.code, names).tolist(), row


def test_few_calls_link_and_relocate_a_fragment() -> None:
    """Arrays take several times as many, as for thousands of symbols."""
    arch = architecture("x86_64")
    content = compiled("x86_64", SOURCES[1], "-fPIC").read_bytes()

    def load() -> None:
        linker = Linker(HostMemory("x86_64"))
        linker.load(content, options=LoadOptions(unresolved=lambda image, symbol: 0x7000_0000))

    for work, most in ((partial(open_image, content, arch), 125), (load, 800)):
        for _ in range(25):
            work()
        assert python_calls(work) <= most
        with by_arrays():
            assert python_calls(work) > 3 * most


def test_a_snapshot_file_holds_a_fragment(tmp_path: Path) -> None:
    """Also what has been asked of it, and what has not."""
    content = compiled("x86_64", SOURCES[1], "-fPIC", "-g").read_bytes()
    with Machine("x86_64", symbols={"outside": 0x7000_0000, "other": 0x7000_1000}) as machine:
        image = machine.load(content, name="some.o").image
        assert isinstance(image.decoded, SmallObject)
        expected = str(image.link_map())
        for number in range(2):
            machine.snapshot().save(tmp_path / f"{number}")
            assert image.decoded.debug_sections is not None
    for number in range(2):
        with Machine.from_snapshot(tmp_path / f"{number}") as read:
            (image,) = read.linker.images
            assert str(image.link_map()) == expected
            assert image.decoded.debug_sections is not None
            with by_arrays():
                assert len(read.load(content, name="other.o").image.decoded.symbols) == len(image.decoded.symbols)


def test_a_stub_in_the_place_of_a_function_is_not_seen_by_other_loads_of_the_file() -> None:
    """What is found in a scope is kept with the file; entries that cannot hold an address are the engine's."""
    code = """extern int outside(int); int (*get(void))(int) { return outside; } int (*held)(int) = outside;
    int call(int x) { return outside(x) + 1; }"""
    content = compiled("x86_64", code, "-fno-pic", "-mcmodel=small").read_bytes()
    provider = linked("x86_64", [compiled("x86_64", PROVIDER, "-fPIC")])
    for _ in range(2):
        with Machine("x86_64") as machine:
            far = machine.load(provider).image.symbol("outside").address
            for _ in range(2):
                library = machine.load(content)
                assert isinstance(library.image.decoded, SmallObject)
                (bound,) = library.image.bindings()
                assert bound.address != far, "the stub's"
                assert library.function("get", "unsigned long(void)")() == bound.address
                held = machine.memory.read(library.image.symbol("held").address, 8)
                assert int.from_bytes(held, "little") == bound.address
                assert machine.call(bound.address, "int(int)", 3) == 4
                library.close()
