"""Functions that are patched, redirected or traced: each costs the same among many as among few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from emu import Library, Machine
from emu.cpu.icicle.events import IcicleEvents
from relink.errors import LinkError
from relink.events import Event, ImageClosed
from tests.counting import most_bytes, per_item, python_lines
from tests.linker.craft import DATA, FUNC, Sym
from tests.linker.craft import Library as Crafted
from tests.objects.build import compiled, linked


def of_functions(arch: str, count: int) -> Path:
    """A library with so many functions, each with a loop and some room, and `some`, which calls the first ten."""
    functions = [
        f"__attribute__((noinline)) int f{n}(int x) {{ while (x > {n + 9}) x /= 3; return x + {n}; }}"
        for n in range(count)
    ]
    some = f"int some(void) {{ return {' + '.join(f'f{n}({n})' for n in range(10))}; }}"
    return linked(arch, [compiled(arch, "\n".join([*functions, some]), "-fPIC", "-O1")])


def of_imports(count: int) -> Path:
    """A library that calls so many functions, which it imports."""
    declared = [f"extern int f{n}(void);" for n in range(count)]
    calls = f"int all(void) {{ return {' + '.join(f'f{n}()' for n in range(count))}; }}"
    return linked("x86_64", [compiled("x86_64", "\n".join([*declared, calls]), "-fPIC")])


def patch_all(machine: Machine, library: Library, count: int) -> None:
    patches = [machine.patch(library.symbols[f"f{n}"], lambda x: x) for n in range(count)]
    assert machine.patcher.patches == patches
    for patch in patches:
        patch.undo()


def redirect_all(machine: Machine, library: Library, count: int) -> None:
    redirections = [machine.redirect(library.image, f"f{n}", lambda: 1) for n in range(count)]
    assert library.function("all", "int(void)")() == count
    for redirection in redirections:
        redirection.undo()


@pytest.mark.not_taken_back("counts lines")
@pytest.mark.parametrize("kind", ["patch", "redirect"])
def test_a_patch_costs_the_same_among_many(kind: str) -> None:
    def cost(count: int) -> int:
        with Machine("x86_64") as machine:
            if kind == "patch":
                library = machine.load(of_functions("x86_64", count))
                return python_lines(lambda: patch_all(machine, library, count))
            library = machine.load(of_imports(count), symbols={f"f{n}": lambda: 0 for n in range(count)})
            return python_lines(lambda: redirect_all(machine, library, count))

    cost(10)  # what is made once
    per_item(cost, 120)


@pytest.mark.not_taken_back("counts memory")
@pytest.mark.parametrize("kind", ["patch", "redirect"])
def test_a_patch_makes_no_array_of_all_symbols(kind: str) -> None:
    """Once the first has sorted them."""

    def cost(count: int) -> int:
        with Machine("x86_64") as machine:
            if kind == "patch":
                library = machine.load(of_functions("x86_64", count))
                patch_all(machine, library, 10)
                return least_bytes(lambda: patch_all(machine, library, 10))
            library = machine.load(of_imports(count), symbols={f"f{n}": lambda: 0 for n in range(count)})
            image = library.image
            machine.redirect(image, "f1", lambda: 1).undo()
            return least_bytes(lambda: machine.redirect(image, "f2", lambda: 1).undo())

    def least_bytes(action: Callable[[], object]) -> int:
        """Without what earlier tests leave to be freed or made meanwhile."""
        return min(most_bytes(action) for _ in range(3))

    cost(20)  # what is made once
    few = cost(20)
    assert few > 1000, "the counter counts"
    assert cost(1500) < few + 1500


@pytest.mark.not_taken_back("counts lines")
@pytest.mark.parametrize("arch", ["x86_64", "riscv32"])
def test_a_traced_call_costs_the_same_among_many_functions(arch: str) -> None:
    def cost(count: int) -> int:
        with Machine(arch) as machine:
            some = machine.load(of_functions(arch, count)).function("some", "int(void)")
            with machine.trace() as trace:
                some()
                lines = python_lines(some)
            assert [call.function for call in trace.calls] == ["some", *(f"f{n}" for n in range(10))] * 2
            return lines

    cost(10)  # what is made once
    few = cost(20)
    assert few > 1000, "the counter counts"
    assert cost(400) < 1.1 * few


def test_breakpoints_are_changed_one_by_one_where_code_is_followed() -> None:
    """The set of those that the engine has is not made anew for each block that comes to them."""
    with Machine("loongarch64") as machine:
        library = machine.load(of_functions("loongarch64", 10))
        events = machine.cpu.events
        assert isinstance(events, IcicleEvents)
        places = events._set
        with machine.coverage() as coverage, machine.trace() as trace:
            library.function("some", "int(void)")()
        assert sum(map(len, coverage.blocks.values())) > 10
        assert len(trace.calls) == 11
        assert events._set is places
        assert places
        library.function("some", "int(void)")()
        assert events._set is places
        assert not places


@pytest.mark.not_taken_back("counts lines")
@pytest.mark.parametrize("arch", ["x86_64", "loongarch64"])
def test_a_watched_access_costs_the_same_among_many(arch: str) -> None:
    """Each of several watchpoints that it meets is told of it, in the order in which they were added."""
    source = "int words[4096]; void put(int n) { words[n] = n; }"
    path, met = linked(arch, [compiled(arch, source, "-fPIC")]), list[str]()

    def cost(count: int) -> int:
        with Machine(arch) as machine:
            put = machine.load(path).function("put", "void(int)")
            words = machine.image_at(put.address).symbol("words").address  # type: ignore[union-attr]
            machine.watch(words, 8192, on="read", action=lambda hit: met.append("read"))
            machine.watch(words + 4, 12, action=lambda hit: met.append("wide"))
            many = [machine.watch(words + 4 * n, 4) for n in range(1, count)]
            machine.watch(words + 6, 1, action=lambda hit: met.append("within"))
            put(1)  # closes the pages
            met.clear()
            lines = python_lines(lambda: put(1))
            assert [one.hits for one in many] == [2] + [0] * (count - 2)
            assert met == ["wide", "within"]
            assert machine.memory.read_uint(words + 4, 4) == 1
            lines += python_lines(many[-1].remove)
            return lines

    cost(10)  # what is made once
    few = cost(20)
    assert few > 100, "the counter counts"
    assert cost(1000) < 1.1 * few


def covered(machine: Machine, library: Library) -> dict[str, int]:
    with machine.coverage() as coverage:
        library.function("some", "int(void)")()
    return {module.path: len(module.blocks) for module in coverage.modules.values()}


def test_coverage_is_that_of_the_image_that_was_there(tmp_path: Path) -> None:
    """Images that come and go during a recording, at addresses of others."""
    path, other = of_functions("x86_64", 20), tmp_path / "other.so"
    other.write_bytes(path.read_bytes())
    with Machine("x86_64") as machine:
        library = machine.load(path)
        base, blocks = library.image.base, covered(machine, library)[str(path)]
        assert blocks > 10
        with machine.coverage() as coverage:
            library.function("some", "int(void)")()
            library.close()
            with pytest.raises(LinkError):
                machine.load([compiled("x86_64", "int absent(void); int f(void) { return absent(); }", "-fPIC")])
            second = machine.load(other, base=base)
            assert second.image.base == base
            second.function("some", "int(void)")()
        assert {module.path: len(module.blocks) for module in coverage.modules.values()} == {
            str(path): blocks,
            str(other): blocks,
        }


@pytest.mark.not_taken_back("counts lines")
@pytest.mark.parametrize("kind", ["coverage", "trace"])
def test_what_observes_costs_an_image_the_same_among_many(kind: str) -> None:
    """To find the image of what ran, and to hear that images come and go."""

    def cost(count: int) -> int:
        names = [f"lib{n}.so" for n in range(count)]
        contents = [Crafted("x86_64", name, symbols=[Sym("v", DATA, type=FUNC)]).image() for name in names]
        with Machine("x86_64") as machine:
            some = machine.load(of_functions("x86_64", 20)).function("some", "int(void)")
            some()
            observers = machine.linker.observers
            with machine.coverage() if kind == "coverage" else machine.trace():
                libraries = [
                    machine.load(content, name=name) for name, content in zip(names, contents, strict=True)
                ]
                some()
                closed, lines = list[Event](), python_lines(some)
                (heard,) = observers
                observers[:] = [closed.append]
                libraries[-1].close()
                observers[:] = [heard]
                (event,) = closed
                assert isinstance(event, ImageClosed)
                return lines + python_lines(lambda: heard(event))

    cost(2)  # what is made once
    few = cost(4)
    assert few > 50, "the counter counts"
    assert cost(300) <= few + 150
