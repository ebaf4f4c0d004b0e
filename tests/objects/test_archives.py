"""Which members of which archives a link takes, and images that need each other."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest

from emu import Library, Machine
from relink import RelinkError
from relink.errors import DuplicateSymbol, ElfError, UnresolvedSymbol, UnsupportedElf
from relink.linker import Linker, LoadOptions
from relink.memory.address_space import HostMemory
from relink.search.search_path import Source
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, archived, compiled, linked

EACH = pytest.mark.parametrize("target", TARGETS)
LOADS = 150
A = "x86_64"  #: where the architecture makes no difference

TOP = "extern int middle(int); int top(int v) { return middle(v) + 1; }\n"
MIDDLE = "extern int bottom(int); int middle(int v) { return bottom(v) * 10; }\n"
BOTTOM = "int bottom(int v) { return v + 3; }\n"
UNUSED = "extern int nobody(void); int unused(void) { return nobody(); }\n"
USER = "extern int top(int); int use(int v) { return top(v); }\n"


def objects(target: str, *sources: str) -> list[Path]:
    return [compiled(target, source, "-fPIC") for source in sources]


def taken(lib: Library, *names: str) -> set[str]:
    return {name for name in names if name in lib.symbols}


@EACH
@pytest.mark.parametrize("flags", ["rcsD", "rcSD", "rcsDT"], ids=["indexed", "without index", "thin"])
@pytest.mark.parametrize("first", ["object", "archive"])
def test_members_come_by_need_in_any_order(target: str, flags: str, first: str, tmp_path: Path) -> None:
    # A thin archive's members are to lie in its folder.
    members = [Path(shutil.copy(path, tmp_path)) for path in objects(target, UNUSED, BOTTOM, TOP, MIDDLE)]
    archive = archived(tmp_path / "lib.a", members, flags)
    user = objects(target, USER)[0]
    with Machine(arch_of(target)) as machine:
        lib = machine.load([user, archive] if first == "object" else [archive, user])
        assert lib.function("use", "int(int)")(1) == 41
        assert taken(lib, "top", "middle", "bottom", "unused") == {"top", "middle", "bottom"}


@EACH
def test_an_archive_by_itself_is_taken_whole(target: str, tmp_path: Path) -> None:
    archive = archived(tmp_path / "lib.a", objects(target, BOTTOM, TOP, MIDDLE))
    with Machine(arch_of(target)) as machine:
        assert machine.load(archive).function("top", "int(int)")(1) == 41


def test_all_members_on_request(tmp_path: Path) -> None:
    archive = archived(tmp_path / "lib.a", objects(A, BOTTOM, UNUSED))
    user = objects(A, "int alone(int v) { return v; }\n")[0]
    with Machine(A) as machine:
        lib = machine.load([user, archive])
        assert not taken(lib, "bottom", "unused")
        with pytest.raises(UnresolvedSymbol, match="nobody"):
            machine.load([user, archive], whole_archive=True)
        lib = machine.load([user, archive], whole_archive=True, symbols={"nobody": lambda: 9})
        assert lib.function("unused", "int()")() == 9
    linker = Linker(HostMemory(A))
    assert linker.load([user, archive], options=LoadOptions(undefined=["bottom"])).symbol("bottom").address


def test_archives_need_each_other_however_often(tmp_path: Path) -> None:
    chain = [f"extern int f{i + 1}(int); int f{i}(int v) {{ return f{i + 1}(v + 1); }}\n" for i in range(20)]
    chain.append("int f20(int v) { return v; }\n")
    parts = objects(A, *chain)
    archives = [archived(tmp_path / f"lib{n}.a", parts[n::3]) for n in range(3)]
    user = objects(A, "extern int f0(int); int use(int v) { return f0(v); }\n")
    with Machine(A) as machine:
        assert machine.load([*archives, *user]).function("use", "int(int)")(1) == 21


def test_the_first_of_two_members_that_define_a_name_is_taken(tmp_path: Path) -> None:
    one, two = objects(A, "int f(int v) { return 1; }\n", "int f(int v) { return 2; }\n")
    user = objects(A, "extern int f(int); int use(int v) { return f(v); }\n")[0]
    both = archived(tmp_path / "both.a", [one, two])
    first, second = archived(tmp_path / "one.a", [one]), archived(tmp_path / "two.a", [two])
    for sources, answer in (([user, both], 1), ([user, first, second], 1), ([user, second, first], 2)):
        with Machine(A) as machine:
            assert machine.load(sources).function("use", "int(int)")(0) == answer


def test_a_member_already_taken_answers_later_names(tmp_path: Path) -> None:
    """`g` is in two members; the one that came for `f` has it, so the other stays out."""
    fg = "int f(int v) { return 1; } int g(int v) { return 2; }\n"
    only_g = "int g(int v) { return 3; }\n"
    user = "extern int f(int), g(int); int use(int v) { return f(v) * 10 + g(v); }\n"
    archive = archived(tmp_path / "lib.a", objects(A, fg, only_g))
    with Machine(A) as machine:
        assert machine.load([*objects(A, user), archive]).function("use", "int(int)")(0) == 12


def test_members_of_one_name_are_different_members(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = []
    for folder, source in (("a", BOTTOM), ("b", MIDDLE)):
        path = tmp_path / folder / "same.o"
        path.write_bytes(objects(A, source)[0].read_bytes())
        paths.append(path)
    archive = archived(tmp_path / "lib.a", paths, "qcsD")
    user = objects(A, "extern int middle(int); int use(int v) { return middle(v); }\n")[0]
    with Machine(A) as machine:
        assert machine.load([user, archive]).function("use", "int(int)")(1) == 40


def test_a_weak_reference_brings_no_member(tmp_path: Path) -> None:
    archive = archived(tmp_path / "lib.a", objects(A, BOTTOM))
    weak = "extern int bottom(int) __attribute__((weak)); int use(void) { return bottom != 0; }\n"
    with Machine(A) as machine:
        assert machine.load([*objects(A, weak), archive]).function("use", "int()")() == 0


def test_an_archive_wins_over_the_hosted_library_and_over_images(tmp_path: Path) -> None:
    archive = archived(tmp_path / "lib.a", objects(A, "unsigned long strlen(const char *s) { return 1234; }\n"))
    user = "extern unsigned long strlen(const char *); long use(const char *s) { return strlen(s) + 1; }\n"
    with Machine(A) as machine:
        lib = machine.load([compiled(A, user, "-fPIC", "-fno-builtin"), archive])
        assert lib.function("use", "long(const char *)")(b"abc") == 1235


def test_every_kind_of_source_in_one_list(tmp_path: Path) -> None:
    top, middle, bottom = objects(A, TOP, MIDDLE, BOTTOM)
    archive = archived(tmp_path / "lib.a", [middle])
    sources: list[Source] = [io.BytesIO(top.read_bytes()), archive.read_bytes(), str(bottom)]
    with Machine(A) as machine:
        assert machine.load(sources).function("top", "int(int)")(1) == 41
        assert machine.load(io.BytesIO(bottom.read_bytes())).function("bottom", "int(int)")(1) == 4


def test_what_cannot_be_part_of_a_link(tmp_path: Path) -> None:
    user = objects(A, USER)[0]
    empty = tmp_path / "empty.a"
    empty.write_bytes(b"!<arch>\n")
    with Machine(A) as machine:
        with pytest.raises(UnsupportedElf, match="contains no relocatable object"):
            machine.load(empty)
        with pytest.raises(UnsupportedElf):
            machine.load([])
        with pytest.raises(UnresolvedSymbol, match="top"):
            machine.load([user, empty])
        with pytest.raises(UnsupportedElf, match=r"is for riscv64, not x86_64"):
            machine.load([user, *objects("riscv64", TOP)])
        with pytest.raises(UnsupportedElf, match=r"lib\.a\(.*\): is for aarch64"):
            machine.load([user, archived(tmp_path / "lib.a", objects("aarch64", TOP))])
        with pytest.raises(DuplicateSymbol) as raised:
            machine.load(objects(A, BOTTOM, "int bottom(int v) { return 0; }\n", MIDDLE))
        assert raised.value.symbol == "bottom"
        assert {raised.value.first, raised.value.second} == {
            str(path) for path in objects(A, BOTTOM, "int bottom(int v) { return 0; }\n")
        }
        with pytest.raises(ElfError):
            machine.load([user, linked(A, objects(A, TOP, MIDDLE, BOTTOM))])
        assert not machine.linker.images


def test_an_archive_cut_short_anywhere(tmp_path: Path) -> None:
    data = archived(tmp_path / "lib.a", objects(A, TOP, MIDDLE, BOTTOM)).read_bytes()
    user = objects(A, USER)[0]
    with Machine(A) as machine:
        for length in range(0, len(data), 61):
            with pytest.raises(RelinkError):
                machine.load([user, data[:length]])
        assert not machine.linker.images


@pytest.mark.parametrize("flags", ["rcsD", "rcsDT"], ids=["regular", "thin"])
def test_names_of_members_may_be_anything(flags: str, tmp_path: Path) -> None:
    for number, name in enumerate(("a b.o", "é.o", "x" * 200 + ".o", "-.o")):
        member = tmp_path / name
        member.write_bytes(compiled(A, BOTTOM, "-fPIC").read_bytes())
        archive = archived(tmp_path / f"{number}.a", [member], flags)
        if "T" in flags:  # GNU ar's way to write the reference to a long name
            content = archive.read_bytes().replace(b"/0".ljust(16), b"/0".ljust(15) + b"/")
            assert b"/0             /" in content
            archive.write_bytes(content)
        with Machine(A) as machine:
            assert machine.load(archive).function("bottom", "int(int)")(4) == 7


def test_a_thin_archive_whose_member_is_gone(tmp_path: Path) -> None:
    member = tmp_path / "bottom.o"
    member.write_bytes(objects(A, BOTTOM)[0].read_bytes())
    archive = archived(tmp_path / "thin.a", [member], "rcsDT")
    member.unlink()
    user = objects(A, MIDDLE)[0]
    with Machine(A) as machine, pytest.raises(ElfError, match=r"thin\.a\(.*bottom\.o\)"):
        machine.load([user, archive])


# ---------------------------------------------------------------- images that need each other


@EACH
def test_a_shared_object_and_an_object_that_need_each_other(target: str) -> None:
    """plugin.o calls lib.so, which calls back into plugin.o; neither says so in DT_NEEDED."""
    plugin = "extern int lib(int); int back(int v) { return v + 5; } int use(int v) { return lib(v) * 2; }\n"
    library = "extern int back(int); int lib(int v) { return back(v) + 1; }\n"
    shared = linked(target, objects(target, library))
    with Machine(arch_of(target)) as machine:
        lib = machine.load(objects(target, plugin), preload=[shared])
        assert lib.function("use", "int(int)")(1) == 14
    with Machine(arch_of(target)) as machine:
        lib = machine.load(shared, preload=[objects(target, plugin)[0]])
        assert lib.function("lib", "int(int)")(1) == 7


@EACH
def test_an_object_uses_one_loaded_before(target: str) -> None:
    """Functions and data, and it keeps what it uses alive."""
    first = "int shared_data = 5; int f(int v) { return v + shared_data; }\n"
    second = """
        extern int shared_data; extern int f(int); int *pointer = &shared_data;
        int use(int v) { shared_data++; return f(v) + *pointer; }
        """
    with Machine(arch_of(target)) as machine:
        one = machine.load(objects(target, first)[0])
        two = machine.load(objects(target, second)[0])
        assert two.function("use", "int(int)")(1) == 13
        assert one.symbols["shared_data"].read("int") == 6
        one.close()
        assert two.function("use", "int(int)")(1) == 15
        two.close()
        assert not machine.linker.images


def test_loads_and_closes_leave_nothing() -> None:
    """With host functions, thread-local data, GOT slots and constructors; each is called once, so what grows for a
    while is the engine's cache of translated code."""
    source = """
        extern int host(int); static __thread int t = 3; static int ready;
        __attribute__((constructor)) static void start(void) { ready = 1; }
        int f(int v) { return host(v) + t + ready; }
        """
    data = compiled(A, source, "-fPIC").read_bytes()
    with Machine(A, hosted_libc=False) as machine:

        def state() -> tuple[object, ...]:
            return (
                len(machine.linker.images),
                len(machine.linker.global_scope),
                len(machine.linker.tls.modules),
                len(machine.traps),
                len(machine.parts.host_symbols.owned),
                len(machine.linker.resolver.before),
                [(region.address, region.size) for region in machine.memory.regions],
            )

        def once() -> None:
            lib = machine.load(data, symbols={"host": lambda value: value * 2})
            assert lib.function("f", "int(int)")(4) == 12
            lib.close()

        for _ in range(50):
            once()
        before, pages = state(), _resident()
        for _ in range(LOADS):
            once()
        assert state() == before
        assert (_resident() - pages) * 4096 < LOADS * 4096


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])
