"""What a load costs for each image stays the same however many there are: counted, not timed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from relink import Linker, LoadOptions
from relink.elf.source import COPIED
from relink.linker import Policy
from relink.memory.address_space import HostMemory
from relink.search.decoded_cache import CACHE
from relink.search.search_path import SearchPath
from tests.counting import file_calls, most_bytes, objects_left, per_item, python_calls, python_lines
from tests.linker.craft import DATA, FUNC, Library, Rel, Sym, undefined
from tests.linker.numbers import SYMBOLIC
from tests.objects.build import compiled, linked

ARCH = "x86_64"


def chain(folder: Path, count: int) -> Path:
    """Libraries each of which needs the next, and a function and a word of it; the first."""
    for number in range(count):
        needs = [undefined(f"f{number + 1}"), undefined(f"v{number + 1}")] if number + 1 < count else []
        own = [Sym(f"f{number}", DATA, type=FUNC), Sym(f"v{number}", DATA + 8), Sym("common", DATA)]
        library = Library(
            ARCH,
            f"lib{number}.so",
            [f"lib{number + 1}.so"] if needs else [],
            symbols=[*needs, *own],
            relocations=[Rel(DATA + 16 + 8 * at, SYMBOLIC[ARCH], s) for at, s in enumerate([*needs, *own])],
        )
        (folder / f"lib{number}.so").write_bytes(library.image())
    return folder / "lib0.so"


def flat(folder: Path, count: int) -> Path:
    """A library that needs the others, and a word of each; they need nothing."""
    needs = [undefined(f"v{number}") for number in range(1, count)]
    for number in range(1, count):
        own = Sym(f"v{number}", DATA)
        library = Library(
            ARCH, f"lib{number}.so", symbols=[own], relocations=[Rel(DATA + 16, SYMBOLIC[ARCH], own)]
        )
        (folder / f"lib{number}.so").write_bytes(library.image())
    library = Library(
        ARCH,
        "lib0.so",
        [f"lib{number}.so" for number in range(1, count)],
        symbols=needs,
        relocations=[Rel(DATA + 16 + 8 * at, SYMBOLIC[ARCH], symbol) for at, symbol in enumerate(needs)],
        data=bytes(16 + 8 * count),
    )
    (folder / "lib0.so").write_bytes(library.image())
    return folder / "lib0.so"


#: What is counted → (how, the most that an image may cost).
COUNTS: dict[str, tuple[Callable[[Callable[[], object]], int], float]] = {
    "questions to the file system": (lambda action: file_calls(action).total(), 8),
    "calls": (python_calls, 2500),
    "objects": (objects_left, 350),
    "bytes at once": (most_bytes, 40_000),
}


@pytest.mark.parametrize("shape", [chain, flat])
def test_an_image_costs_the_same_among_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: Callable[[Path, int], Path]
) -> None:
    monkeypatch.setattr(CACHE, "enabled", False)
    roots = {}
    for count in (12, 24, 48):
        folder = tmp_path / str(count)
        folder.mkdir()
        roots[count] = shape(folder, count)

    def load(count: int) -> Linker:
        linker = Linker(HostMemory(ARCH), search=SearchPath(library_path=[roots[count].parent]))
        linker.load(roots[count])
        assert len(linker.images) == count
        return linker

    load(12)  # what is made once
    for what, (count_of, most) in COUNTS.items():
        found = per_item(lambda count, of=count_of: of(lambda: load(count)), 12)  # type: ignore[misc]
        assert 1 <= found <= most, what


def test_an_image_costs_the_same_among_many_when_their_destructors_are_ordered(tmp_path: Path) -> None:
    """Each needs the next, and refers to its own variable and to that of the next."""

    def cost(count: int) -> int:
        for number in range(count):
            symbols = [Sym(f"v{number}", DATA), *([undefined(f"v{number + 1}")] if number + 1 < count else [])]
            words = [Rel(DATA + 16 + 8 * at, SYMBOLIC[ARCH], symbol) for at, symbol in enumerate(symbols)]
            needed = [f"lib{number + 1}.so"] * (len(symbols) - 1)
            library = Library(ARCH, f"lib{number}.so", needed, symbols=symbols, relocations=words)
            (tmp_path / f"lib{number}.so").write_bytes(library.image())
        linker = Linker(HostMemory(ARCH), search=SearchPath(library_path=[tmp_path]))
        linker.load(tmp_path / "lib0.so")
        lines = python_lines(linker.teardown_order)
        assert linker.teardown_order() == linker.images
        return lines

    cost(20)  # what is made once
    assert per_item(cost, 20) >= 1


def test_exports_that_nobody_asks_for_cost_a_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the hash table's buckets, which say how many symbols there are: no name, hash or symbol is read."""
    sizes = 20_000, 80_000  # of both the files are mapped, not copied
    monkeypatch.setattr(CACHE, "enabled", False)
    few, many = (
        linked(ARCH, [compiled(ARCH, f"char {','.join(f'export{n}' for n in range(count))};", "-fPIC")])
        for count in sizes
    )

    def load(path: Path) -> Linker:
        linker = Linker(HostMemory(ARCH))
        linker.load(path)
        return linker

    for path in (few, many):
        load(path)  # what is made once
    for what, (count_of, _) in COUNTS.items():
        of_few, of_many = count_of(lambda: load(few)), count_of(lambda: load(many))
        more = 2 * (sizes[1] - sizes[0]) if what == "bytes at once" else 10
        assert of_many <= 1.1 * of_few + more, what


#: What is counted of a load of known files → (how, the most that an image may cost).
KNOWN_COUNTS: dict[str, tuple[Callable[[Callable[[], object]], int], float]] = {
    "questions to the file system": (lambda action: file_calls(action).total(), 1),
    "calls": (python_calls, 215),
}


def test_an_image_of_a_known_file_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One question to the file system; no array, and no mapping of the host, for each of them."""
    monkeypatch.setattr("relink.search.decoded_cache._SETTLED", 0)  # files that have just changed are kept too
    roots = {}
    for count in (12, 24, 48):
        folder = tmp_path / str(count)
        folder.mkdir()
        roots[count] = chain(folder, count)

    def load(count: int) -> Linker:
        linker = Linker(HostMemory(ARCH), search=SearchPath(library_path=[roots[count].parent]))
        linker.load(roots[count])
        return linker

    for count in roots:
        load(count)
    for what, (count_of, most) in KNOWN_COUNTS.items():
        found = per_item(lambda count, of=count_of: of(lambda: load(count)), 12)  # type: ignore[misc]
        assert found <= most, what


def test_a_library_of_many_references_takes_few_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one, mapped, with references to its own versioned symbols and to some that nothing defines."""
    monkeypatch.setattr("relink.search.decoded_cache._SETTLED", 0)
    own = [Sym(f"own{number}", DATA + 8 * number, type=FUNC, version="V1") for number in range(300)]
    open_ = [undefined(f"open{number}", version="W1") for number in range(100)]
    symbolic = [Rel(DATA + 8 * at, SYMBOLIC[ARCH], symbol) for at, symbol in enumerate([*own, *open_])]
    library = Library(
        ARCH, "lib.so", ["libw.so"], [*open_, *own], symbolic, data=bytes(8 * 400), hashes=["gnu"],
        defines=["V1"], needs=[("libw.so", "W1", 0)],
    )  # fmt: skip
    path = tmp_path / "lib.so"
    path.write_bytes(library.image().ljust(COPIED + 1, b"\0"))
    options = LoadOptions(unresolved=lambda image, symbol: 0x1000)

    def load() -> Linker:
        linker = Linker(HostMemory(ARCH))
        linker.policy = Policy(host_provided=frozenset({"libw.so"}))
        assert len(linker.load(path, options=options).relocated.unresolved) == 100
        return linker

    def unknown() -> None:
        CACHE.clear()
        load()

    unknown()
    load()
    assert python_calls(unknown) <= 1_425
    assert python_calls(load) <= 640


def test_a_required_version_costs_the_same_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CACHE, "enabled", False)

    def cost(count: int) -> int:
        names = [f"V{number}" for number in range(count)]
        library = Library(ARCH, "libv.so", defines=names, symbols=[Sym("v", DATA, version="V0")])
        root = Library(ARCH, "root.so", ["libv.so"], needs=[("libv.so", name, 0) for name in names])
        linker = Linker(HostMemory(ARCH), search=SearchPath({"libv.so": library.image()}))
        content = root.image()
        return python_lines(lambda: linker.load(content))

    cost(50)  # what is made once
    assert per_item(cost, 50) <= 80


def numbered(number: int) -> bytes:
    """A library of its own, which refers to itself and to library 0."""
    first, own = undefined("v0"), Sym(f"v{number}", DATA)
    symbols = [first, own] if number else [own]
    words = [Rel(DATA + 16 + 8 * at, SYMBOLIC[ARCH], symbol) for at, symbol in enumerate(symbols)]
    return Library(ARCH, f"lib{number}.so", symbols=symbols, relocations=words).image()


def test_a_load_and_its_memory_cost_the_same_after_many_others() -> None:
    """Each is a load of its own, and all are in the global scope."""
    linker, counts = Linker(HostMemory(ARCH)), dict[int, int]()
    for number in range(700):
        content = numbered(number)
        if number in (150, 300, 690):
            counts[number] = python_lines(lambda content=content: linker.load(content))  # type: ignore[misc]
        else:
            linker.load(content)
    assert counts[150] > 100, "the counter counts"
    assert counts[690] < counts[150] + 100
    kept = [image.relocated.bindings.images for image in linker.images if image.relocated.bindings is not None]
    assert len(kept) == 700
    assert {len({*images}) for images in kept[300:]} == {2}
    assert sum(map(len, kept)) < 700 * 100
    for image in linker.images[1:]:
        assert {*image.relocated.providers} == {linker.images[0], image}
        words = linker.memory.read(image.address_of(DATA + 16), 16)
        assert words == b"".join(each.address_of(DATA).to_bytes(8, "little") for each in (linker.images[0], image))
    last = linker.images[-1]
    assert [each.provider for each in last.bindings()] == [linker.images[0].name, last.name]
    linker.unload(last)
    assert last.closed
    linker.unload(linker.images[0])
    assert not linker.images[0].closed, "others refer to it"


def test_a_name_costs_the_same_in_a_scope_of_many_images() -> None:
    """Once it has been asked for other names; and what is found is what each image in turn would give."""
    counts = []
    for count in (40, 160):
        linker = Linker(HostMemory(ARCH))
        for number in range(count):
            symbols = [Sym(f"v{number}", DATA), Sym(f"same{number % 7}", DATA + 8), Sym("common", DATA + number)]
            linker.load(Library(ARCH, f"lib{number}.so", symbols=symbols).image())
        names = ["common", "nothing", *(f"v{number}" for number in range(count)), *(f"same{n}" for n in range(7))]

        def found(name: str, linker: Linker = linker) -> tuple[int, str | None]:
            bindings = linker.resolver.find(name, None, linker.global_scope)
            number = int(bindings.provider[0])
            return int(bindings.address[0]), bindings.images[number].name if number >= 0 else None

        by_index = list(map(found, names))
        counts.append(max(python_calls(partial(found, name)) for name in ("v20", "nothing", "same6")))
        linker.resolver.indices.enabled = False
        assert by_index == list(map(found, names))
        assert python_calls(partial(found, "nothing")) > 5 * count, "the counter counts"
    assert counts[1] <= counts[0] + 5


class TestFiles:
    """An image is found again by its file, under any name, and no other file is taken for it."""

    def linker(self, folder: Path) -> tuple[Linker, Path]:
        path = chain(folder, 1)
        linker = Linker(HostMemory(ARCH))
        linker.load(path)
        return linker, path

    def test_by_a_link(self, tmp_path: Path) -> None:
        linker, path = self.linker(tmp_path)
        (tmp_path / "link.so").symlink_to(path)
        (tmp_path / "hard.so").hardlink_to(path)
        for name in ("lib0.so", "link.so", "hard.so"):
            assert linker.loaded_from(tmp_path / name) is linker.images[0]

    def test_a_file_that_took_over_the_inode_is_another(self, tmp_path: Path) -> None:
        linker, path = self.linker(tmp_path)
        path.rename(tmp_path / "other.so")
        path.write_bytes(b"another file")
        assert linker.loaded_from(tmp_path / "other.so") is None
        path.unlink()
        assert linker.loaded_from(tmp_path / "other.so") is None
        assert linker.loaded_from(path) is None

    def test_after_unloading_nothing_is_found(self, tmp_path: Path) -> None:
        linker, path = self.linker(tmp_path)
        linker.unload(linker.images[0])
        assert linker.loaded_from(path) is None
        assert linker.loaded("lib0.so") is None
