"""Compiled objects, called: every code model, position-independent and not, by either compiler.

Each is linked together with an object of clang's that holds what it imports, so that most images here are of
two compilers. What the functions answer is in the sources (`arch_fixtures/src/objects`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from emu import Library, Machine
from relink import RelinkError
from tests.fixtures import TARGETS, arch_of, fixture, targets_of, variant_of
from tests.grouping import by, each
from tests.objects.build import compiled, linked
from tests.owners import machine_of
from toolchains.recipes import RECIPES

pytestmark = pytest.mark.sample(2)

FAR = 0x2000_0000  #: where imports lie when they are out of a call's reach


def cases(stem: str) -> list[tuple[str, str]]:
    """(target, fixture) of every object compiled from `stem`.c."""
    names = [name for name in RECIPES if name.startswith("objects/") and name.rpartition("/")[2] == stem]
    return [(target, name) for name in names for target in targets_of(name)]


@contextmanager
def loaded(target: str, *names: str, other: bool = True, **options: object) -> Iterator[Library]:
    with Machine(arch_of(target)) as machine:
        sources = [fixture(target, name) for name in names]
        if other:
            sources.append(compiled(variant_of(target).target.name, "other.c", *_model(target, names[0])))
        symbols = {"my_host_function": lambda value: value * 2}
        yield machine.load(sources, symbols=symbols, **options)  # type: ignore[arg-type]


def _model(target: str, name: str) -> tuple[str, ...]:
    """Flags for the imports, so that they do not narrow where the image may lie more than the fixture does."""
    return () if "nopic" in name or "kernel" in name or "medlow" in name else ("-fPIC",)


def answers(
    lib: Library, functions: dict[str, str], calls: Sequence[tuple[str, tuple[object, ...], object]]
) -> None:
    wrong = {}
    for name, arguments, expected in calls:
        got = lib.function(name, functions.get(name, "int(int)"))(*arguments)
        if got != expected:
            wrong[name, arguments] = (got, expected)
    assert not wrong


@by(("target", "name"), cases("basic") + [(t, "objects/debug") for t in TARGETS])
def test_data_calls_and_pointers(target: str, name: str) -> None:
    functions = {
        "get_counter": "int()", "counter_address": "uintptr_t()", "bump_hidden": "int()", "read_other": "int()",
        "write_other": "void(int)", "other_address": "uintptr_t(int)", "read_wide": "long()",
        "apply": "int(int, int)", "address_of_add_one": "uintptr_t()", "greeting_length": "int()",
        "add": "int(int, int)",
    }  # fmt: skip
    with loaded(target, name) as lib:
        answers(lib, functions, [
            ("awesome_func", (20,), 41), ("get_counter", (), 8), ("bump_hidden", (), 71), ("bump_hidden", (), 72),
            ("read_table", (2,), 30), ("bump_zeroed", (63,), 1), ("bump_zeroed", (63,), 2), ("read_other", (), 50),
            ("write_other", (51,), None), ("read_other", (), 51), ("read_wide", (), 0x12345678),
            ("apply", (0, 21), 42), ("apply", (1, 21), 42), ("greeting_length", (), 20), ("add", (40, 2), 42),
            ("counter_address", (), lib.symbols["counter"].address),
            ("other_address", (3,), lib.symbols["other_array"].address + 12),
        ])  # fmt: skip
        pointer = lib.function("address_of_add_one", "uintptr_t()")()
        assert isinstance(pointer, int)
        assert machine_of(lib).call(pointer, "int(int)", 8) == 16
        operations = lib.symbols["operations"].address
        held = machine_of(lib).memory.read_uint(
            operations + machine_of(lib).arch.word_size, machine_of(lib).arch.word_size
        )
        assert held == pointer, "the pointer in data and the one in code differ"


@by(("target", "name"), cases("data"))
def test_words_in_data(target: str, name: str) -> None:
    with loaded(target, name) as lib:
        answers(
            lib,
            {"sum": "int()", "missing_is_null": "int()"},
            [
                ("sum", (), 1 + 3 + 7 + 9 + 10 + 14),
                ("missing_is_null", (), 1),
            ],
        )
        machine, size = machine_of(lib), machine_of(lib).arch.word_size
        array = lib.symbols["other_array"].address

        def word(symbol: str) -> int:
            return machine.memory.read_uint(lib.symbols[symbol].address, size)

        assert word("to_other_third") == array + 8
        assert word("to_other_before") == array - 4
        assert machine.call(word("to_function"), "int(int)", 35) == 42
        assert machine.call(word("to_private_function"), "int(int)", 41) == 42
        place = lib.function("distance_place", "uintptr_t(int)")
        distance = lib.function("distance", "int(int)")
        near = (place(0) + distance(0)) & machine.arch.address_mask
        assert near == lib.symbols["own_data"].address
        far = (place(1) + distance(1)) & machine.arch.address_mask
        assert machine.call(far, "int(int)", 35) == 42


CALLS = [
    ("call_far", (5,), 16), ("tail_far", (5,), 21), ("call_cold", (5,), 106), ("tail_cold", (5,), 107),
    ("call_local", (5,), 2011), ("call_weak", (5,), -1), ("call_some", (4,), 104), ("call_some", (5,), 15),
]  # fmt: skip
CALL_FIXTURES = [
    *cases("calls"),
    *(
        (target, f"objects/{name}")
        for name in ("sections", "unwind", "no_plt", "no_relax", "long_calls")
        for target in targets_of(f"objects/{name}")
    ),
]


@by(("target", "name"), CALL_FIXTURES)
@each("imports", ["beside", "host"])
def test_calls_and_jumps_arrive(target: str, name: str, imports: str) -> None:
    """Callees in the image and, by a stub, in Python."""
    with Machine(arch_of(target)) as machine:
        sources = [fixture(target, name)]
        symbols = {}
        if imports == "beside":
            sources.append(compiled(variant_of(target).target.name, "other.c", *_model(target, name)))
        else:
            symbols["far_function"] = lambda value: value * 3
        lib = machine.load(sources, symbols=symbols)
        answers(lib, {}, CALLS)
        for function, of in (("address_of_far", "far_function"), ("address_of_cold", "cold")):
            pointer = lib.function(function, "uintptr_t()")()
            assert isinstance(pointer, int)
            assert machine.call(pointer, "int(int)", 7) == (21 if of == "far_function" else 107)
            if imports == "beside":
                assert pointer == lib.symbols[of].address


@by(("target", "name"), cases("switches"))
def test_jump_tables_labels_and_constants(target: str, name: str) -> None:
    with loaded(target, name, other=False) as lib:
        dense = {0: 10, 1: 7, 2: 18, 3: 17, 4: -1, 5: 77, 6: 8, 7: 14, 8: -1}
        computed = {0: 2, 1: 24, 2: 306}
        answers(
            lib,
            {},
            [
                *(("dense", (value,), expected) for value, expected in dense.items()),
                *(("computed", (value,), expected) for value, expected in computed.items()),
            ],
        )
        assert lib.function("scaled", "double(double)")(2.0) == 2.0 * 3.14159265358979 + 2.71828182845905
        assert lib.function("scaled_single", "float(float)")(1.0) == pytest.approx(2.19524, abs=1e-5)
        named = lib.function("named", "uintptr_t(int)")
        for value, text in ((0, b"to merge\0"), (1, b"a string to merge\0")):
            address = named(value)
            assert isinstance(address, int)
            assert machine_of(lib).memory.read(address, len(text)) == text


@pytest.mark.parametrize(("target", "name"), cases("commons"))
def test_commons_take_the_greatest_size_and_the_strictest_alignment(target: str, name: str) -> None:
    compiler_target = variant_of(target).target.name
    bigger = compiled(compiler_target, "char common_block[5000];\nlong common_shared = 3;\n", "-fcommon", "-fPIC")
    weak = compiled(compiler_target, "int common_word __attribute__((weak)) = 9;\n", "-fPIC")
    with Machine(arch_of(target)) as machine:
        lib = machine.load([fixture(target, name), bigger, weak])
        answers(
            lib,
            {"get_common": "int()", "block_misalignment": "uintptr_t()", "set_common": "void(int)"},
            [
                ("get_common", (), 0),
                ("block_misalignment", (), 0),
                ("set_common", (5,), None),
                ("get_common", (), 5),
            ],
        )
        block = lib.symbols["common_block"]
        assert block.read_bytes(5000)[99] == 5
        assert lib.symbols["common_shared"].read("long") == 5


@pytest.mark.parametrize(("target", "name"), cases("ctors"))
def test_constructors_run_by_priority_and_destructors_in_reverse(target: str, name: str) -> None:
    with loaded(target, name, other=False) as lib:
        machine, order = machine_of(lib), lib.symbols["order"].address

        def seen() -> list[int]:
            return [machine.memory.read_uint(order + 4 * i, 4) for i in range(8)]

        assert seen() == [1, 2, 3, 0, 0, 0, 0, 0]
        machine.initialisers.destruct(lib.image)
        assert seen() == [1, 2, 3, 4, 5, 0, 0, 0]


@pytest.mark.parametrize("target", targets_of("objects/comdat_a"))
def test_what_two_translation_units_define_inline_exists_once(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        lib = machine.load(
            [fixture(target, "objects/comdat_a"), fixture(target, "objects/comdat_b")],
            symbols={"my_host_function": lambda value: value * 2},
            allow_unresolved=True,
        )
        answers(
            lib,
            dict.fromkeys(("next_a", "next_b"), "int()"),
            [
                ("next_a", (), 12),
                ("next_b", (), 14),
                ("next_a", (), 14),
                ("box_a", (3,), 501),
                ("box_b", (4,), 602),
                ("box_a", (3,), 503),
            ],
        )


#: Whose compilers take local dynamic's word that `tls_other` is in the module too; the others ask for its own.
_LOCAL = ("x86_64-clang", "x86_64-gcc", "i386-clang", "i386-gcc", "arm-gcc", "thumb-gcc")
TLS = [
    (target, f"objects/tls/{model}")
    for model in (
        "general_dynamic",
        "local_dynamic",
        "initial_exec",
        "initial_exec_nopic",
        "local_exec",
        "descriptors",
    )
    for target in targets_of(f"objects/tls/{model}")
]


@by(("target", "name"), TLS)
@each("imports", ["beside", "library"])
def test_thread_local_storage_by_every_model(target: str, name: str, imports: str) -> None:
    """`tls_other` in the same image, and, but for local exec, in a shared object."""
    if imports == "library" and name.endswith("local_exec"):
        return  # says that all is in one module
    refused = imports == "library" and name.endswith("local_dynamic") and target in _LOCAL
    with Machine(arch_of(target)) as machine:
        other = compiled(variant_of(target).target.name, "other.c", *_model(target, name))
        if imports == "library":
            other = compiled(variant_of(target).target.name, "other.c", "-fPIC")
            machine.load(linked(variant_of(target).target.name, [other]))
            if refused:
                with pytest.raises(RelinkError) as raised:
                    machine.load([fixture(target, name)])
                assert "against tls_other" in str(raised.value)
                assert "in another image" in str(raised.value)
                return
            lib = machine.load([fixture(target, name)])
        else:
            lib = machine.load([fixture(target, name), other])
        none = dict.fromkeys(("get_own", "get_both", "get_other", "own_address", "private_address"), "int()") | {
            "own_address": "uintptr_t()",
            "private_address": "uintptr_t()",
            "set_all": "void(int)",
        }
        answers(
            lib,
            none,
            [
                ("get_own", (), 11),
                ("get_both", (), 45),
                ("get_other", (), 31),
                ("get_zero", (39,), 0),
                *(("get_private", (i,), 21 + i) for i in range(4)),
                ("set_all", (60,), None),
                ("get_own", (), 60),
                ("get_private", (1,), 61),
                ("get_zero", (39,), 60),
                ("get_other", (), 62),
                ("get_both", (), 45),
                ("own_address", (), lib.symbols["tls_own"].address),
            ],
        )
        private = lib.function("private_address", "uintptr_t()")()
        assert isinstance(private, int)
        assert machine.memory.read_uint(private, 4) == 23


@pytest.mark.parametrize("target", targets_of("objects/libchain"))
def test_an_archive_gives_what_is_needed(target: str) -> None:
    user = compiled(
        variant_of(target).target.name,
        "extern int archive_top(int);\nint use(int value) { return archive_top(value) * 2; }\n",
        "-fPIC",
    )
    with Machine(arch_of(target)) as machine:
        lib = machine.load([fixture(target, "objects/libchain"), user])
        assert lib.function("use", "int(int)")(4) == 72
        assert "archive_unused" not in lib.symbols
