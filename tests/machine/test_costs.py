"""What loads, calls, restores and events cost, in calls: more of the input must not make more of them."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from emu import Machine
from emu.cpu.create import create_cpu
from emu.cpu.protocol import Cpu, Protection
from emu.cpu.unicorn import api as unicorn_api
from emu.cpu.unicorn.cpu import UnicornCpu
from relink.arch import ARCHITECTURES
from relink.image import Image
from relink.linker import Linker
from relink.search.decoded_cache import CACHE
from tests.counting import engine_calls, file_calls, most_bytes, objects_left, per_item, python_calls
from tests.fixtures import arch_of
from tests.linker.craft import DATA, FUNC, Library, Rel, Sym
from tests.linker.numbers import SYMBOLIC
from tests.objects.build import compiled, linked
from toolchains.targets import RELOCATIONS, Role

#: One engine each.
ARCHES = ("x86_64", "riscv32", "loongarch64")
FEW, MANY = 20, 2000


def engine_of(arch: str) -> type[Cpu]:
    """The class of the engine of a machine."""
    with Machine(arch) as machine:
        return type(machine.cpu)


def relocated(arch: str, count: int) -> bytes:
    """A library with so many words to rebase, and so many that refer to one of its functions."""
    word = ARCHITECTURES[arch].bits // 8
    own = Sym("own", DATA, type=FUNC)
    first = [Rel(DATA + 64 + word * n, RELOCATIONS[arch][Role.RELATIVE].number, addend=DATA) for n in range(count)]
    second = [Rel(DATA + 64 + word * (count + n), SYMBOLIC[arch], own) for n in range(count)]
    return Library(
        arch, "librel.so", symbols=[own], relocations=[*first, *second], data=bytes(64 + 2 * word * count)
    ).image()


def exporting(arch: str, count: int) -> bytes:
    """A library that exports so many variables."""
    return Library(arch, "libexp.so", symbols=[Sym(f"v{n}", DATA + 8) for n in range(count)]).image()


def referring(arch: str, count: int) -> bytes:
    """A library with so many functions, each of which a word refers to by its name."""
    word = ARCHITECTURES[arch].bits // 8
    own = [Sym(f"f{n}", DATA + 8, type=FUNC) for n in range(count)]
    words = [Rel(DATA + 64 + word * n, SYMBOLIC[arch], symbol) for n, symbol in enumerate(own)]
    return Library(arch, "libref.so", symbols=own, relocations=words, data=bytes(64 + word * count)).image()


KINDS = {"relocations": relocated, "exports": exporting, "references": referring}


@pytest.mark.not_taken_back("counts the calls of the engine")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arch", ARCHES)
def test_no_relocation_and_no_symbol_makes_a_call_of_the_engine(
    arch: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cost(count: int) -> Counter[str]:
        content = KINDS[kind](arch, count)
        with engine_calls(monkeypatch, engine_of(arch)) as calls, Machine(arch) as machine:
            calls.clear()
            machine.load(content)
            return Counter(calls)

    few = cost(FEW)
    assert few["map"] or few["map_all"], "the counters count"
    assert cost(MANY) == few


@pytest.mark.parametrize("kind", KINDS)
def test_no_relocation_and_no_symbol_calls_a_function_or_leaves_an_object(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond those of an array that is processed in chunks, and where there are too few for arrays."""
    monkeypatch.setattr(CACHE, "enabled", False)

    def cost(count: int) -> tuple[int, int]:
        content = KINDS[kind]("x86_64", count)
        with Machine("x86_64") as machine:
            machine.load(content)  # what is made once
            left = objects_left(lambda: machine.load(content))
        with Machine("x86_64") as machine:
            return python_calls(lambda: machine.load(content)), left

    with Machine("x86_64") as machine:
        for _ in range(20):  # the methods of records are compiled after some uses (`relink.records`)
            machine.load(KINDS[kind]("x86_64", MANY))
    (few_calls, few_left), (many_calls, many_left) = cost(MANY), cost(3 * MANY)
    assert few_calls > 100, "the counters count"
    assert many_calls - few_calls < MANY / 20
    assert many_left - few_left < MANY / 20


#: By ISA, the most calls of functions, Python's and built in: of a machine with its end, and of a load of a known
#: library, and of an unknown one, with its unload.
MOST_CALLS = {"x86_64": (345, 320, 760), "riscv32": (320, 303, 740), "loongarch64": (340, 435, 850)}


@pytest.mark.parametrize("arch", ARCHES)
def test_machines_and_small_loads_make_few_calls(arch: str) -> None:
    library = exporting(arch, FEW)
    gc.collect()  # snapshots of other tests: while there are any, assignments to some objects are noted
    with Machine(arch) as machine:
        for _ in range(20):  # the methods of records are compiled after some uses (`relink.records`)
            machine.load(library).close()
            Machine(arch).close()
        for number in range(20):
            machine.load(library + bytes(number)).close()
        loads = python_calls(lambda: machine.load(library).close())
        unknown = python_calls(lambda: machine.load(library + bytes(20)).close())
    machines = python_calls(lambda: Machine(arch).close())
    most_machines, most_loads, most_unknown = MOST_CALLS[arch]
    assert machines <= most_machines
    assert loads <= most_loads
    assert unknown <= most_unknown


@pytest.mark.parametrize(
    ("destructor", "times"), [("", 1), ("int n; __attribute__((destructor)) void leave(void) { n++; }", 2)]
)
def test_what_is_unused_is_looked_for_again_only_after_destructors(
    destructor: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may load and unload other libraries."""
    asked: list[Image | None] = []
    real = Linker.unloadable

    def unloadable(linker: Linker, image: Image | None = None) -> list[Image]:
        asked.append(image)
        return real(linker, image)

    monkeypatch.setattr(Linker, "unloadable", unloadable)
    with Machine("x86_64") as machine:
        library = machine.load(
            linked("x86_64", [compiled("x86_64", f"int f(void) {{ return 1; }} {destructor}", "-fPIC")])
        )
        library.close()
    assert asked == [library.image] * times


def test_what_names_bind_to_is_kept_with_a_file_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later load of the file makes the same calls for them as for few."""
    monkeypatch.setattr("relink.search.decoded_cache._SETTLED", 0)  # files that have just changed are kept too

    def cost(count: int) -> int:
        words = ",".join(f"&v{n}" for n in range(count))
        source = f"int {','.join(f'v{n}' for n in range(count))}; int *words[] = {{{words}}};"
        path = linked("x86_64", [compiled("x86_64", source, "-fPIC")])
        with Machine("x86_64") as machine:
            for _ in range(3):
                machine.load(path).close()
            return python_calls(lambda: machine.load(path).close())

    assert cost(66_000) <= cost(20_000) + 20


def test_a_known_file_is_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor is it asked more often than its identity needs."""
    monkeypatch.setattr("relink.search.decoded_cache._SETTLED", 0)  # files that have just changed are kept too
    path = tmp_path / "lib.so"
    path.write_bytes(exporting("x86_64", FEW))
    with Machine("x86_64") as machine:
        first = file_calls(lambda: machine.load(path).close())
        assert first["open"], "the counter counts"
        assert file_calls(lambda: machine.load(path).close()) <= Counter(stat=1)


@pytest.mark.parametrize("arch", ARCHES)
def test_a_larger_stack_costs_a_machine_nothing(arch: str) -> None:
    def cost(size: int) -> int:
        return python_calls(lambda: Machine(arch, stack_size=size).close())

    cost(1 << 20)  # what is made once
    assert min(cost(64 << 20) for _ in range(2)) <= cost(1 << 20) + 10  # one may compile a record's constructor


@pytest.mark.not_taken_back("measures the memory that loads take")
@pytest.mark.parametrize("arch", ARCHES)
def test_no_byte_of_a_large_file_is_copied(arch: str, tmp_path: Path) -> None:
    """Beyond those of its tables: contents are mapped."""
    path = tmp_path / "lib.so"
    path.write_bytes(Library(arch, "lib.so", symbols=[Sym("v", DATA)], data=bytes(24 << 20)).image())
    with Machine(arch) as machine:
        machine.load(referring(arch, FEW))  # what is made once
        assert most_bytes(lambda: machine.load(path)) < 1 << 19
        assert most_bytes(lambda: machine.load(path.read_bytes())) > 24 << 20, "the counter counts"


SOURCE = """
static unsigned char touched[8 * 4096];
int touch(int n) { for (int i = 0; i < n; i++) touched[i * 4096]++; return n; }
int add(int a, int b) { return a + b; }
"""


def pages(target: str) -> Path:
    return linked(target, [compiled(target, SOURCE, "-fPIC")])


@pytest.mark.parametrize("arch", ARCHES)
def test_a_clean_page_costs_a_restore_nothing(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One changed page among few and among many: the same calls of Python and of the engine."""

    def cost(clean: int) -> tuple[int, Counter[str]]:
        with Machine(arch) as machine:
            touch = machine.load(pages(arch)).function("touch", "int(int)")
            block = machine.heap.malloc(clean * 4096)
            machine.memory.write(block, b"\1" * (clean * 4096))
            touch(1)
            snapshot = machine.snapshot()
            for _ in range(2):
                touch(1)
                machine.restore(snapshot)
            touch(1)
            with engine_calls(monkeypatch, type(machine.cpu)) as calls:
                machine.restore(snapshot)
            touch(1)
            return python_calls(lambda: machine.restore(snapshot)), calls

    (few_calls, few_engine), (many_calls, many_engine) = cost(2), cost(2000)
    assert few_calls > 10, "the counters count"
    assert abs(many_calls - few_calls) < 5
    assert many_engine == few_engine


def test_permissions_of_a_page_cost_the_same_among_many_runs_of_pages() -> None:
    """Each page that is unmapped, or has other permissions than its neighbours, makes one run more."""

    def cost(count: int, change: Callable[[Machine, int], object]) -> int:
        with Machine("x86_64") as machine:
            start = machine.memory.map_anonymous(2 * count * 4096)
            machine.memory.write(start, b"1")
            return python_calls(lambda: [change(machine, start + 8192 * n) for n in range(count)])

    def protect(machine: Machine, page: int) -> None:
        machine.memory.protect_pages(page, 4096, Protection.R)
        assert machine.memory.protection(page) == Protection.R
        assert machine.memory.is_mapped(page, 8192)

    def unmap(machine: Machine, page: int) -> None:
        machine.memory.unmap_pages(page, 4096)
        assert not machine.memory.is_mapped(page, 8192)
        assert machine.memory.protection(page + 4096)

    for change in (protect, unmap):
        cost(50, change)
        assert per_item(lambda count, change=change: cost(count, change), 50) <= 150  # type: ignore[misc]


@pytest.mark.parametrize("arch", ARCHES)
def test_a_call_makes_the_same_calls_of_the_engine_however_long_it_runs(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Machine(arch) as machine:
        touch = machine.load(pages(arch)).function("touch", "int(int)")
        touch(8)
        costs = []
        for count in (1, 8):
            with engine_calls(monkeypatch, type(machine.cpu)) as calls:
                touch(count)
            costs.append((python_calls(lambda count=count: touch(count)), calls))  # type: ignore[misc]
    assert costs[0][1]["run"] == 1
    assert costs[0] == costs[1]


def calling(target: str, count: int) -> tuple[Path, Path]:
    """A library of so many functions, each of which calls another of a second library; and that one."""
    callees = "".join(f"int callee_{n}(int v) {{ return v + {n}; }}\n" for n in range(count))
    callers = "".join(
        f"int callee_{n}(int);\nint caller_{n}(int v) {{ return callee_{n}(v) + 1; }}\n" for n in range(count)
    )
    flags = ("-fPIC", "-Wno-missing-prototypes")
    callee = linked(target, [compiled(target, callees, *flags)], "-soname", "libcallee.so")
    return linked(target, [compiled(target, callers, *flags), callee], "-z", "lazy"), callee


@pytest.mark.parametrize("target", ["x86_64", "aarch64", "thumb", "riscv32"])
def test_first_calls_start_the_engine_as_rarely_however_many_there_are(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for a call that was looked up ahead; else up to the trap, and once more after binding, which looks up
    four times as many ahead as the last time. New blocks do not stop the engine. What it has bound is recorded
    later, so such a call takes few calls of Python functions more than one through a slot that was bound before.
    """
    starts, costs = list[int](), []
    for count in (8, 200):
        caller, callee = calling(target, count)
        with Machine(arch_of(target), library_path=[callee.parent], libraries={"libcallee.so": callee}) as machine:
            lib = machine.load(caller, binding="lazy")
            first, *others = (lib.function(f"caller_{n}", "int(int)") for n in range(count))
            assert [first(1), others[0](1)] == [2, 3]
            cpu = machine.cpu
            assert isinstance(cpu, UnicornCpu)
            real = cpu._engine_run.run

            def counted() -> int:
                starts.append(cpu._begin.value)  # noqa: B023
                return real()  # noqa: B023

            monkeypatch.setattr(cpu._engine_run, "run", counted)
            starts.clear()
            calls = [python_calls(lambda other=other: other(1)) for other in others[1:6]]  # type: ignore[misc]
            assert len(starts) == 1 + 2 + 1 + 1 + 1
            costs.append(min(calls))
            bound = machine.load(caller.read_bytes(), binding="now", name="bound").function("caller_3", "int(int)")
            assert min(calls) <= python_calls(lambda: bound(1)) + 16  # noqa: B023
    assert costs[0] > 10, "the counter counts"
    assert costs[1] <= costs[0] + 3


class TestEvents:
    """Without observation there are no hooks but those that stop a run; what an observation adds goes with it."""

    @pytest.fixture
    def hooks(self, monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
        """Hooks of Unicorn by kind, as they are installed."""
        installed: Counter[int] = Counter()
        real = unicorn_api.add_hook

        def add_hook(handle: object, kind: int, *arguments: object, **more: object) -> object:
            installed[kind] += 1
            return real(handle, kind, *arguments, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(unicorn_api, "add_hook", add_hook)
        return installed

    @pytest.mark.not_taken_back("counts the hooks of the engine")
    @pytest.mark.parametrize("arch", ["x86_64", "riscv32"])
    def test_off_they_install_nothing(self, arch: str, hooks: Counter[int]) -> None:
        create_cpu(arch, at_once=True).close()
        bare = dict(hooks)
        assert bare, "the counters count"
        hooks.clear()
        with Machine(arch) as machine:
            library = machine.load(pages(arch))
            assert library.function("add", "int(int, int)")(20, 22) == 42
            library.function("touch", "int(int)")(8)
            machine.restore(machine.snapshot())
            assert isinstance(machine.cpu, UnicornCpu)
        kinds = unicorn_api.uc
        faults = kinds.UC_HOOK_MEM_INVALID & ~kinds.UC_HOOK_MEM_FETCH_INVALID
        assert 1 <= bare.pop(faults) <= hooks.pop(faults) < 20  # made anew for other memory
        assert dict(hooks) == bare
        for kind in (kinds.UC_HOOK_CODE, kinds.UC_HOOK_MEM_READ, kinds.UC_HOOK_MEM_WRITE):
            assert not any(installed & kind for installed in hooks if installed & kind == installed), kind

    @pytest.mark.not_taken_back("counts the hooks of the engine")
    def test_only_lazy_binding_has_a_hook_for_traps(self, hooks: Counter[int]) -> None:
        for binding in ("now", "lazy"):
            caller, callee = calling("x86_64", 8)
            with Machine("x86_64", library_path=[callee.parent], libraries={"libcallee.so": callee}) as machine:
                calls = machine.load(caller, binding=binding)
                with machine.counting():
                    assert calls.function("caller_0", "int(int)")(1) == 2
                assert calls.function("caller_1", "int(int)")(1) == 3
            assert hooks[unicorn_api.uc.UC_HOOK_MEM_FETCH_UNMAPPED] == (binding == "lazy")

    @pytest.mark.parametrize("arch", ARCHES)
    def test_a_run_after_an_observation_costs_what_it_did_before(self, arch: str) -> None:
        with Machine(arch) as machine:
            touch = machine.load(pages(arch)).function("touch", "int(int)")
            touch(1)  # makes the engine
            touch(1)
            before = python_calls(lambda: touch(1))
            with machine.coverage():
                touch(1)
            touch(1)
            assert python_calls(lambda: touch(1)) == before
