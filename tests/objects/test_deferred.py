"""References that are left to later loads (`allow_deferred`): an error where they lead until one brings them."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from emu import Machine
from emu.errors import ConstructorFault, GuestFault, UnresolvedCall
from emu.library import Library
from relink import HostMemory, Linker, LoadOptions, RelocationOverflow, UnresolvedSymbol
from relink.events import SymbolBound, on
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, archived, compiled, linked

EARLY = """
    int later(int); extern int shared[4];
    int (*volatile pointer)(int) = later; int *volatile where = &shared[2];
    int call(int x) { return 10 * later(x); }
    int through(int x) { return pointer(x) + 1; }
    int value(void) { return shared[1]; }
    int pointed(void) { return *where; }
"""
LATE = "int shared[4] = {1, 2, 3, 4}; int later(int x) { return x + shared[3]; }"
MODELS = ("-fno-pic", "-fPIC")
_INT = "int(int)"


def check_open(early: Library) -> None:
    """Nothing of it can be used, and what is missing is named."""
    assert sorted(early.image.deferred) == ["later", "shared"]
    for name in ("call", "through"):
        with pytest.raises(UnresolvedCall, match="later"):
            early.function(name, _INT)(1)
    for name, place in (("value", "shared.*0x4"), ("pointed", "shared.*0x8")):
        with pytest.raises(GuestFault, match=place):
            early.function(name, "int()")()


def check_bound(early: Library) -> None:
    assert early.image.deferred == ()
    assert [early.function(name, _INT)(1) for name in ("call", "through")] == [50, 6]
    assert [early.function(name, "int()")() for name in ("value", "pointed")] == [2, 3]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_later_load_provides_what_an_earlier_one_lacks(target: str, model: str) -> None:
    with Machine(arch_of(target)) as machine:
        early = machine.load(compiled(target, EARLY, model), allow_deferred=True)
        check_open(early)
        seen: list[str] = []
        machine.linker.observers.append(on(SymbolBound, lambda event: seen.append(event.symbol)))
        late = machine.load(compiled(target, LATE, model))
        check_bound(early)
        assert sorted(seen) == ["later", "shared"]
        late.close()
        check_bound(early)  # which keeps it
        early.close()
        assert not machine.linker.images


@pytest.mark.parametrize("target", TARGETS)
def test_a_later_load_that_fails_leaves_everything_open(target: str) -> None:
    bad = LATE + "__attribute__((constructor)) static void fails(void) { *(volatile int *)8 = 1; }"
    with Machine(arch_of(target)) as machine:
        early = machine.load(compiled(target, EARLY, "-fno-pic"), allow_deferred=True)
        with pytest.raises(ConstructorFault):
            machine.load(compiled(target, bad, "-fno-pic"))
        check_open(early)
        with machine.loading(compiled(target, LATE, "-fno-pic")) as pending:
            pending.advance(until="construct")
            check_bound(early)
            pending.roll_back()
        check_open(early)
        machine.load(compiled(target, LATE, "-fno-pic"))
        check_bound(early)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("target", TARGETS)
def test_weak_references_stay_0_and_archives_common_and_weak_symbols_provide(
    target: str, model: str, tmp_path: Path
) -> None:
    """An archive alone is loaded whole; beside objects, its members are asked for with `undefined`."""
    early = EARLY + "int gone(void) __attribute__((weak)); int has(void) { return gone ? gone() : -1; }"
    late = compiled(target, LATE + "int gone(void) { return 5; }", model)
    archive, other = (
        archived(tmp_path / "late.a", [late]),
        compiled(target, "int other(void) { return 1; }", model),
    )
    common = compiled(target, LATE.replace(" = {1, 2, 3, 4}", "", 1), model, "-fcommon")
    weak = compiled(target, LATE.replace("int later", "__attribute__((weak)) int later"), model)
    for sources, undefined in (
        ([archive], []),
        ([other, archive], ["later", "shared"]),
        ([common], []),
        ([weak], []),
    ):
        with Machine(arch_of(target)) as machine:
            waiting = machine.load(compiled(target, early, model), allow_deferred=True)
            machine.load([other, archive]).close()
            assert sorted(waiting.image.deferred) == ["later", "shared"], "nothing asked for the member"
            machine.load(sources, undefined=undefined)
            assert not waiting.image.deferred
            assert waiting.function("call", _INT)(1) == (10 if sources == [common] else 50)
            assert waiting.function("has", "int()")() == -1


@pytest.mark.parametrize("target", TARGETS)
def test_a_wrapper_and_what_it_wraps_may_come_later(target: str) -> None:
    source = "int later(int), __real_later(int); int call(int x) { return 10 * later(x) + __real_later(x); }"
    late = "int __wrap_later(int x) { return 7 + x; } int later(int x) { return 3 + x; }"
    with Machine(arch_of(target)) as machine:
        early = machine.load(compiled(target, source, "-fPIC"), allow_deferred=True, wrap=["later"])
        assert sorted(early.image.deferred) == ["__wrap_later", "later"]
        machine.load(compiled(target, late, "-fPIC"))
        assert early.function("call", _INT)(1) == 84


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_images_in_a_circle_go_in_any_order(order: tuple[int, ...]) -> None:
    text = "int f{next}(int); int f{own}(int x) {{ return x ? f{next}(x - 1) + 1 : 0; }}"
    sources = [text.format(own=n, next=(n + 1) % 3) for n in range(3)]
    with Machine("aarch64") as machine:
        loaded = [
            machine.load(compiled("aarch64", text, "-fPIC"), name=f"{n}.o", allow_deferred=True)
            for n, text in enumerate(sources)
        ]
        assert [library.image.deferred for library in loaded] == [()] * 3
        assert loaded[0].function("f0", _INT)(7) == 7
        for number in order:
            loaded[number].close()
        assert not machine.linker.images


def test_what_the_program_stored_meanwhile_stays() -> None:
    with Machine("riscv64") as machine:
        early = machine.load(compiled("riscv64", EARLY, "-fPIC"), allow_deferred=True)
        early.symbols["where"].write(0x1234, "unsigned long")
        machine.load(compiled("riscv64", LATE, "-fPIC"))
        assert early.symbols["where"].read("unsigned long") == 0x1234
        assert early.function("value", "int()")() == 2


@pytest.mark.parametrize("target", ["x86_64", "aarch64", "riscv64"])
def test_what_comes_may_be_an_ifunc(target: str) -> None:
    ifunc = """
        int shared[4] = {1, 2, 3, 4}; static int real(int x) { return x + shared[3]; }
        static int (*resolve(void))(int) { return real; } int later(int) __attribute__((ifunc("resolve")));
        """
    with Machine(arch_of(target)) as machine:
        early = machine.load(compiled(target, EARLY, "-fPIC"), allow_deferred=True)
        machine.load(compiled(target, ifunc, "-fPIC"))
        check_bound(early)


@pytest.mark.parametrize("binding", ["now", "lazy", "faithful"])
def test_shared_objects_may_leave_references_too(binding: str) -> None:
    for target in ("x86_64", "i386"):
        path = linked(target, [compiled(target, EARLY, "-fPIC")])
        with Machine(arch_of(target), binding=binding) as machine:
            early = machine.load(path, allow_deferred=True)
            with pytest.raises(UnresolvedCall, match="later"):
                early.function("call", _INT)(1)
            machine.load(compiled(target, LATE, "-fPIC"))
            check_bound(early)


def test_what_cannot_be_left_is_an_error_that_says_so() -> None:
    linker = Linker(HostMemory("x86_64"))
    options = LoadOptions(allow_deferred=True)
    tls = compiled("x86_64", "extern __thread int v; int get(void) { return v; }", "-fPIC")
    with pytest.raises(UnresolvedSymbol, match="thread-local"):
        linker.load(tls, options=options)
    hidden = compiled("x86_64", '__attribute__((visibility("hidden"))) int h(void); int get(void) { return h(); }')
    with pytest.raises(UnresolvedSymbol, match="hidden"):
        linker.load(hidden, options=options)
    local = LoadOptions(local=True)
    early = linker.load(compiled("x86_64", EARLY, "-fPIC"), options=options)
    linker.load(compiled("x86_64", LATE, "-fPIC"), options=local)
    assert len(early.deferred) == 2, "what is local is in no other image's scope"


def test_a_definition_out_of_reach_fails_the_load_that_brings_it() -> None:
    linker = Linker(HostMemory("x86_64"))
    early = linker.load(compiled("x86_64", EARLY, "-fno-pic"), options=LoadOptions(allow_deferred=True))
    late = compiled("x86_64", LATE, "-fPIC")
    with pytest.raises(RelocationOverflow, match="against shared") as caught:
        linker.load(late, options=LoadOptions(base=0x2000_0000_0000))
    assert caught.value.image == early.name
    assert len(early.deferred) == 2
    linker.load(late)
    assert not early.deferred
