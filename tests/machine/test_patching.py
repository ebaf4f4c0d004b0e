"""Hot patching: functions of a loaded library replaced while the machine lives, and put back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from emu import Library, Machine, Patch
from emu.errors import AlreadyPatched, AssemblerMissing, AssemblyError, FunctionTooShort, GuestFault, PatchError
from relink.errors import UnresolvedSymbol, UseAfterUnload
from relink.memory.address_space import Protection
from tests.assembler import assembled
from tests.fixtures import arch_of, fixture, targets_of
from tests.objects.build import TARGETS as COMPILED
from tests.objects.build import compiled, linked
from tests.owners import machine_of

pytestmark = pytest.mark.sample(2)

# Long enough for any jump; called directly from inside, through a pointer, and by name.
_SOURCE = """
int counter = 1;
__attribute__((noinline)) int victim(int n) {
    int sum = 0;
    for (int i = 0; i < n; i++) {
        sum += i * counter;
        __asm__ volatile("" ::: "memory");
    }
    return sum;
}
__attribute__((visibility("hidden"), alias("victim"))) int local(int n);
int direct(int n) { return local(n) + 1000; }
int (*volatile pointer)(int) = victim;
int indirect(int n) { return pointer(n) + 2000; }
__attribute__((noinline)) int other(int n) { return n * 7; }
int table[4] = {1, 2, 3, 4};
"""
VICTIM = "int(int)"


@cache
def library_of(target: str, *flags: str) -> Path:
    return linked(target, [compiled(target, _SOURCE, "-fPIC", *flags)], "-z", "now")


@pytest.fixture(params=COMPILED)
def library(request: pytest.FixtureRequest) -> Iterator[Library]:
    """A library whose `victim(5)` is 10, on a machine of its own."""
    with Machine(arch_of(request.param)) as machine:
        yield machine.load(library_of(request.param))


def results(library: Library, n: int = 5) -> list[object]:
    """`victim` by name, by a direct call, and through a pointer."""
    return [library.function(name, VICTIM)(n) for name in ("victim", "direct", "indirect")]


ORIGINAL = [10, 1010, 2010]


def text(library: Library) -> bytes:
    """All code of the library, as it is now."""
    machine, image = machine_of(library), library.image
    segments = [s for s in image.decoded.segments if s.flags & Protection.X]
    return b"".join(machine.memory.read(image.address_of(s.vaddr), s.memsz) for s in segments)


def test_a_host_function_takes_the_place_and_gives_it_back(library: Library) -> None:
    before, traps, regions = text(library), len(machine_of(library).traps), machine_of(library).memory.regions
    seen: list[int] = []

    def host(n: int) -> int:
        seen.append(n)
        return n * 100

    assert results(library) == ORIGINAL
    with library.replace("victim", host) as patch:
        assert results(library) == [500, 1500, 2500]
        assert patch.active
        assert text(library) != before
    assert results(library) == ORIGINAL
    assert seen == [5, 5, 5]
    assert text(library) == before
    assert (len(machine_of(library).traps), machine_of(library).memory.regions) == (traps, regions)


def test_a_host_function_with_a_prototype(library: Library) -> None:
    with library.replace("victim", (lambda n: -n, "int(int)")):
        assert results(library, 3) == [-3, 997, 1997]


def test_another_guest_function_takes_the_place(library: Library) -> None:
    other = library.function("other", VICTIM)
    for replacement in (other, other.symbol, other.address):
        with library.replace("victim", replacement):
            assert results(library) == [35, 1035, 2035]
        assert results(library) == ORIGINAL


def test_a_function_of_another_library_is_kept_alive_by_the_patch(library: Library) -> None:
    machine = machine_of(library)
    second = machine.load(library.image.decoded.path.read_bytes(), name="second", local=True)  # type: ignore[union-attr]
    patch = library.replace("victim", second.function("other", VICTIM))
    second.close()
    assert not second.image.closed
    assert results(library) == [35, 1035, 2035]
    patch.undo()
    assert results(library) == ORIGINAL
    assert second.image.closed
    assert machine.linker.images == [library.image]


def test_patching_before_the_first_call_is_no_different(library: Library) -> None:
    with library.replace("victim", lambda n: 1):
        assert results(library) == [1, 1001, 2001]
    assert results(library) == ORIGINAL


@pytest.mark.parametrize("target", ["x86_64", "i386", "aarch64", "arm", "thumb"])
def test_assembled_code_takes_the_place(target: str) -> None:
    text = {
        "x86_64": "lea eax, [rdi + 77]; ret",
        "i386": "mov eax, [esp + 4]; add eax, 77; ret",
        "aarch64": "add w0, w0, #77; ret",
        "arm": "add r0, r0, #77; bx lr",
        "thumb": "adds r0, #77; bx lr",
    }[target]
    with Machine(arch_of(target)) as machine:
        library = machine.load(library_of(target))
        regions = machine.memory.regions
        assembled(target, text)  # skips where there is no keystone
        with library.replace("victim", text):
            assert results(library) == [82, 1082, 2082]
        assert results(library) == ORIGINAL
        assert machine.memory.regions == regions
        with pytest.raises(AssemblyError, match="is no"):
            library.replace("victim", "utter nonsense")
        assert machine.memory.regions == regions
        assert results(library) == ORIGINAL


#: return the argument plus 77
CODE = {
    "x86_64": "8d474d c3", "i386": "8b442404 83c04d c3", "aarch64": "00340111 c0035fd6",
    "arm": "4d0080e2 1eff2fe1", "thumb": "4d30 7047",
    "riscv64": "1b05d504 67800000", "riscv32": "1305d504 67800000", "loongarch64": "84348102 2000004c",
}  # fmt: skip


@pytest.mark.parametrize("target", COMPILED)
def test_code_as_bytes_takes_the_place_on_every_isa(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        library = machine.load(library_of(target))
        assert results(library) == ORIGINAL
        with library.replace("victim", bytes.fromhex(CODE[target])):
            assert results(library) == [82, 1082, 2082]
        assert results(library) == ORIGINAL
        with pytest.raises(PatchError, match="code is empty"):
            library.replace("victim", b"")


@pytest.mark.parametrize("target", ["riscv64", "riscv32", "loongarch64"])
def test_where_there_is_no_assembler_that_is_said(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        library = machine.load(library_of(target))
        regions = machine.memory.regions
        with pytest.raises(AssemblyError, match=f"there is no assembler for {target}: give the code as bytes"):
            library.replace("victim", "addi a0, a0, 77\nret")
        assert machine.memory.regions == regions


@pytest.mark.parametrize("target", ["x86_64", "thumb"])
def test_without_keystone_text_is_refused_and_bytes_are_not(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keystone", None)  # the import fails
    with Machine(arch_of(target)) as machine:
        library = machine.load(library_of(target))
        regions = machine.memory.regions
        with pytest.raises(AssemblerMissing, match=r"needs keystone.*pip install 'relink-emu\[assemble\]'"):
            library.replace("victim", "nop")
        assert machine.memory.regions == regions
        assert results(library) == ORIGINAL
        with library.replace("victim", bytes.fromhex(CODE[target])):
            assert results(library) == [82, 1082, 2082]


def test_patches_lie_on_top_of_each_other_and_are_undone_in_turn(library: Library) -> None:
    before = text(library)
    first = library.replace("victim", lambda n: 1)
    second = library.replace("victim", library.function("other", VICTIM))
    assert results(library) == [35, 1035, 2035]
    with pytest.raises(PatchError, match="victim has been patched again"):
        first.undo()
    assert first.active
    second.undo()
    assert results(library) == [1, 1001, 2001]
    first.undo()
    first.undo()  # nothing left to do
    assert results(library) == ORIGINAL
    assert text(library) == before


def test_a_replacement_may_call_what_it_replaces(library: Library) -> None:
    victim = library.function("victim", VICTIM)

    def host(n: int) -> int:
        with patch.suspended():
            original = victim(n)
        assert isinstance(original, int)
        return original * 2

    patch = library.replace("victim", host)
    assert results(library) == [20, 1020, 2020]
    assert results(library) == [20, 1020, 2020]
    patch.undo()
    with pytest.raises(PatchError, match="has been undone"), patch.suspended():
        pass


def test_text_stays_what_it_was_to_the_guest(library: Library) -> None:
    machine = machine_of(library)
    victim = library.image.symbol("victim").address & machine.arch.code_address_mask
    with library.replace("victim", lambda n: n):
        assert machine.memory.protection(victim) == Protection.R | Protection.X


def test_what_cannot_be_patched_is_refused_and_left_alone(library: Library) -> None:
    before, machine = text(library), machine_of(library)
    traps, regions = len(machine.traps), machine.memory.regions
    with pytest.raises(PatchError, match=r"table of .* is not a function"):
        library.replace("table", lambda: 0)
    with pytest.raises(PatchError, match=r"table of .* is not a function"):
        library.replace("victim", library.image.symbol("table"))
    with pytest.raises(UnresolvedSymbol):
        library.replace("nowhere", lambda: 0)
    with pytest.raises(FunctionTooShort, match=r"victim has 1 bytes; a jump needs \d"):
        library.replace("victim", lambda n: n, size=1)
    with pytest.raises(PatchError, match="give its size"):
        machine.patch(library.image.symbol("victim").address, lambda n: n)
    with pytest.raises(PatchError, match="no executable memory"):
        machine.patch(library.image.symbol("table").address, lambda n: n, size=16)
    assert (text(library), len(machine.traps), machine.memory.regions) == (before, traps, regions)
    assert results(library) == ORIGINAL


def test_an_address_with_a_size_will_do(library: Library) -> None:
    symbol = library.image.symbol("victim")
    with machine_of(library).patch(symbol.address, lambda n: 9, size=symbol.size):
        assert results(library) == [9, 1009, 2009]
    assert results(library) == ORIGINAL


def test_overlapping_patches_are_refused(library: Library) -> None:
    machine = machine_of(library)
    victim = library.image.symbol("victim")
    step = 2 if machine.arch.name not in ("aarch64", "loongarch64") and victim.address & 1 else 4
    with library.replace("victim", lambda n: 9) as patch:
        if len(patch.code) <= step:
            step = 1 if machine.arch.name in ("x86_64", "i386") else step
        code = patch.code
        if len(code) > step:
            with pytest.raises(AlreadyPatched, match=r"overlaps the patch of victim"):
                machine.patch(victim.address + step, lambda n: 1, size=victim.size - step)
        assert machine.memory.read(patch.address, len(code)) == code
    assert results(library) == ORIGINAL


def test_closing_the_library_ends_its_patches(library: Library) -> None:
    machine = machine_of(library)
    regions, traps = len(machine.memory.regions), len(machine.traps)
    patch = library.replace("victim", lambda n: n)
    symbol = library.image.symbol("victim")
    library.close()
    assert not patch.active
    patch.undo()  # nothing is there any more
    assert len(machine.traps) == traps
    assert len(machine.memory.regions) == regions - 1
    with pytest.raises(UseAfterUnload):
        machine.patch(symbol, lambda n: n)


@pytest.mark.parametrize("target", targets_of("ifunc"))
def test_an_ifunc_is_refused_by_name(target: str) -> None:
    with Machine(arch_of(target), library_path=[fixture(target, "ifunc").parent]) as machine:
        library = machine.load(fixture(target, "ifunc"))
        table = library.image.decoded.symbols
        name = next(table.names.text(i) for i in range(len(table)) if table.type[i] == 10 and table.section[i])
        with pytest.raises(PatchError, match=f"{name} of .* is an ifunc"):
            library.replace(name, lambda: 0)


def test_short_functions_are_reached_through_a_page_nearby(target: str) -> None:
    """`add` is two or three instructions: no room for an address of a host function, room for a short jump."""
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: 0})
        add, apply = library.function("add", "int(int, int)"), library.function("apply", "int(int, int, int)")
        assert (add(2, 3), apply(0, 2, 3)) == (5, 5)
        with library.replace("add", lambda left, right: left * right):
            assert (add(2, 3), apply(0, 2, 3)) == (6, 6)
        assert (add(2, 3), apply(0, 2, 3)) == (5, 5)


@pytest.mark.parametrize("target", targets_of("plt_landing_pads"))
def test_a_landing_pad_stays_where_it_is(target: str) -> None:
    with Machine(arch_of(target), library_path=[fixture(target, "basic").parent]) as machine:
        library = machine.load(fixture(target, "plt_landing_pads"), allow_unresolved=True)
        pads = machine.arch.detours[0].pads
        landed = []
        for symbol in map(library.image.symbol, library.image.exports):
            if not symbol.is_function or symbol.size < 4 + len(machine.arch.detours[0].near):
                continue
            start = machine.memory.read(symbol.address, 4)
            if start in pads:
                with machine.patch(symbol, lambda: 31):
                    assert machine.memory.read(symbol.address, 4) == pads[start]
                    assert machine.call(symbol.address, "int(void)") == 31
                landed.append(symbol.name)
                assert machine.memory.read(symbol.address, 4) == start
        assert landed


def test_signing_the_return_address_is_not_done_on_the_way() -> None:
    """paciasp lands like `bti c`, but signs lr, which a replacement would not undo."""
    source = _SOURCE.replace("int victim(int n) {", "int victim(int n) { __builtin_return_address(0);")
    path = linked("aarch64", [compiled("aarch64", source, "-fPIC", "-mbranch-protection=standard", "-O0")])
    with Machine("aarch64") as machine:
        library = machine.load(path)
        victim = library.image.symbol("victim").address
        start = machine.memory.read(victim, 4)
        pads = machine.arch.detours[0].pads
        assert start in pads
        with library.replace("victim", lambda n: 3):
            assert machine.memory.read(victim, 4) == bytes.fromhex("5f2403d5")  # bti c
            assert results(library) == [3, 1003, 2003]
        assert machine.memory.read(victim, 4) == start
        assert results(library) == ORIGINAL


@pytest.mark.parametrize("target", COMPILED)
def test_functions_at_any_alignment_are_patched(target: str) -> None:
    """Thumb's and compressed code begin at any halfword, x86's at any byte: the long jump carries an address."""
    flags = ("-falign-functions=1", "-Os") if target in ("x86_64", "i386") else ("-Os",)
    with Machine(arch_of(target)) as machine:
        library = machine.load(library_of(target, *flags))
        detour = machine.arch.detours[library.image.symbol("victim").address & machine.arch.code_address_bits]
        size = library.image.symbol("victim").size
        assert results(library) == ORIGINAL
        far = machine.memory.map_anonymous(
            4096, Protection.R | Protection.X, at=0x7000_0000 if machine.arch.bits == 32 else 0x60_0000_0000
        )
        state = library.image.symbol("victim").address & machine.arch.code_address_bits
        machine.memory.write(far, bytes.fromhex(CODE[target]))
        with library.replace("victim", far | state) as patch:
            assert results(library) == [82, 1082, 2082]
            assert len(patch.code) >= len(detour.near)
            assert len(patch.code) <= size
        assert results(library) == ORIGINAL


def test_arm_and_thumb_replace_each_other() -> None:
    for target, other, state in (("arm", "thumb", 1), ("thumb", "arm", 0)):
        with Machine("arm") as machine:
            library = machine.load(library_of(target))
            page = machine.memory.map_anonymous(4096, Protection.R | Protection.X)
            machine.memory.write(page, bytes.fromhex(CODE[other]))
            with library.replace("victim", page | state):
                assert results(library) == [82, 1082, 2082]
            assert results(library) == ORIGINAL


def test_a_patch_made_by_a_host_function_holds_from_the_next_call_on(machine: Machine, target: str) -> None:
    patches = list[Patch]()

    def host(value: int) -> int:
        patches.append(loaded.replace("add", lambda left, right: 0))
        return value

    loaded = machine.load(fixture(target, "basic"), symbols={"my_host_function": host})
    add = loaded.function("add", "int(int, int)")
    assert add(1, 2) == 3
    assert loaded.function("awesome_func", "int(int)")(4) == 4
    assert add(1, 2) == 0
    patches[0].undo()
    assert add(1, 2) == 3


def test_a_fault_in_a_replacement_leaves_the_patch_usable(library: Library) -> None:
    def host(n: int) -> int:
        machine_of(library).call(0x10, "int(void)")
        return 0

    with library.replace("victim", host), pytest.raises(GuestFault):
        results(library)
    assert results(library) == ORIGINAL
