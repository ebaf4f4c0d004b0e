"""References, unloading, and handles that outlive their image."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relink import HostMemory, Image, Linker, LinkError, LoadOptions, SearchPath, Stage, UseAfterUnload
from tests.fixtures import arch_of, fixture
from tests.linker.craft import DATA, TLS, Library, Rel, Sym, undefined
from tests.linker.helpers import built, linker_for, memory_of, word_at
from tests.linker.numbers import SYMBOLIC

PLACE = DATA + 0x80


def sonames(images: list[Image]) -> list[str | None]:
    return [image.soname for image in images]


def test_unloading_releases_dependents_before_what_they_need(target: str) -> None:
    linker, image = built(target, "deps/libtop")
    released = sonames(linker.unload(image))
    assert released[0] == "libtop.so"
    assert released[-1] == "libleaf.so"
    assert len(released) == 4
    assert not memory_of(linker).regions
    assert not linker.global_scope


def test_what_somebody_else_loaded_stays(target: str) -> None:
    linker, leaf = built(target, "deps/libleaf")
    folder = fixture(target, "deps/libleaf").parent
    linker.search = SearchPath(library_path=[folder])
    top = linker.load(folder / "libtop.so")
    assert sonames(linker.unload(top)) == ["libtop.so", "libmid.so", "libside.so"]
    assert linker.images == [leaf]
    assert leaf.symbol("leaf").address


def test_an_image_goes_with_its_last_load_only(target: str) -> None:
    linker, image = built(target, "deps/libleaf")
    assert linker.load(fixture(target, "deps/libleaf")) is image
    assert linker.load("libleaf.so") is image
    assert image.references == 3
    assert linker.unload(image) == linker.unload(image) == []
    assert linker.unload(image) == [image]


def test_a_load_nobody_made_cannot_be_undone(target: str) -> None:
    linker, top = built(target, "deps/libtop")
    leaf = top.scope[-1]
    with pytest.raises(LinkError, match="loaded only as a dependency"):
        linker.unload(leaf)
    assert leaf.references == 0
    linker.unload(top)
    with pytest.raises(UseAfterUnload):
        linker.unload(top)


def test_a_binding_keeps_its_provider_alive(arch: str) -> None:
    """user found `s` in the global scope, without needing the library that defines it."""
    linker = linker_for(arch)
    provider = linker.load(Library(arch, "libp.so", symbols=[Sym("s", DATA + 4)]).image())
    user = linker.load(
        Library(arch, "libu.so", symbols=[undefined("s")], relocations=[Rel(PLACE, SYMBOLIC[arch], "s")]).image()
    )
    assert linker.unload(provider) == []
    assert not provider.closed
    assert word_at(linker, word_at(user, PLACE, user.architecture.word_size), 1) == 0
    assert set(linker.unload(user)) == {provider, user}


def test_images_that_use_each_other_go_together(arch: str) -> None:
    a = Library(arch, "liba.so", ["libb.so"], symbols=[Sym("s")])
    b = Library(arch, "libb.so", symbols=[undefined("s")], relocations=[Rel(PLACE, SYMBOLIC[arch], "s")])
    linker = linker_for(arch, b)
    assert len(linker.unload(linker.load(a.image()))) == 2


def _borrower(arch: str, soname: str, *needed: str) -> Library:
    """A library with a binding to `s`."""
    places = [Rel(PLACE, SYMBOLIC[arch], "s")]
    return Library(arch, soname, needed, symbols=[undefined("s")], relocations=places)


def test_at_the_end_what_a_program_has_opened_outlives_it_and_its_libraries(arch: str) -> None:
    """As in glibc (elf/dl-fini.c): in load order, but for needs. Bindings to a program's libraries, which cannot
    be unloaded, do not count.
    """
    others = [
        Library(arch, "liba.so", symbols=[Sym("s")]),
        _borrower(arch, "libb.so"),
        _borrower(arch, "libopened.so", "libneeded.so"),
        Library(arch, "libneeded.so", symbols=[Sym("t")]),
    ]
    linker = linker_for(arch, *others)
    linker.load(Library(arch, None, ["liba.so", "libb.so"], base=0x10000, e_type=2).image())
    linker.load("libopened.so")
    expected = [None, "liba.so", "libb.so", "libopened.so", "libneeded.so"]
    assert sonames(linker.teardown_order()) == expected


def test_at_the_end_opened_libraries_outlive_what_has_bound_to_them(arch: str) -> None:
    linker = linker_for(arch)
    for library in (
        Library(arch, "liba.so", symbols=[Sym("s")]),
        _borrower(arch, "libb.so"),
        Library(arch, "libc.so"),
    ):
        linker.load(library.image())
    assert sonames(linker.teardown_order()) == ["libb.so", "liba.so", "libc.so"]


def test_a_closed_image_answers_nothing(arch: str) -> None:
    linker = linker_for(arch)
    image = linker.load(
        Library(arch, "liba.so", symbols=[Sym("s"), Sym("t", 0, type=TLS)], tls=(b"", 8, 8)).image()
    )
    symbol = image.symbol("s")
    base = image.base
    linker.unload(image)
    uses: list[Callable[[], object]] = [
        lambda: image.symbol("s"),
        lambda: image.exports,
        lambda: image.region,
        lambda: image.base,
        lambda: symbol.address,
        lambda: linker.unload(image),
        lambda: image.check_open(),
    ]
    for use in uses:
        with pytest.raises(UseAfterUnload) as caught:
            use()
        assert caught.value.image == image.name
    with pytest.raises(UseAfterUnload, match="s of "):
        _ = symbol.address
    assert image.stage is Stage.CLOSED
    assert not image.contains(base)
    assert (symbol.name, symbol.size) == ("s", 8)


def test_closing_the_linker_closes_everything(target: str) -> None:
    linker, image = built(target, "tls_dynamic", unresolved=lambda image, symbol: 0x1000)
    linker.close()
    linker.close()
    assert image.closed
    assert not linker.images
    assert not memory_of(linker).regions
    assert not linker.tls.modules


def test_addresses_tls_ids_and_scope_are_free_again_after_unloading(arch: str) -> None:
    linker = linker_for(arch)
    library = Library(arch, "liba.so", tls=(b"abc", 64, 16)).image()
    one, two = linker.load(library), linker.load(library)
    assert (one.tls and one.tls.id, two.tls and two.tls.id) == (1, 2)
    address = one.base
    linker.unload(one)
    three = linker.load(library)
    assert three.tls == one.tls
    assert three.base != address, "a stale pointer should point at nothing"


def maps() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="the kernel does not tell its mappings here")
def test_a_hundred_loads_and_unloads_leave_no_mapping_behind() -> None:
    target = "riscv64"
    paths = [fixture(target, name) for name in ("basic", "datarel", "tls_dynamic")]
    memory = HostMemory(arch_of(target))
    linker = Linker(memory, search=SearchPath(library_path=[paths[0].parent]))
    keeper = linker.load(fixture(target, "deps/libleaf"))
    options = LoadOptions(unresolved=lambda image, symbol: 0x1000)
    counts = []
    for round_ in range(60):
        for path in paths:
            linker.unload(linker.load(path, options=options))
        if round_ in (20, 59):
            gc.collect()
            counts.append((maps(), len(memory.regions), len(linker.resolver.versions._ids)))
    assert counts[1][0] <= counts[0][0] + 8
    assert counts[0][1:] == counts[1][1:]
    assert linker.images == [keeper]


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="the kernel does not tell its mappings here")
def test_dozens_of_failed_loads_leave_no_mapping_behind() -> None:
    target = "aarch64"
    memory = HostMemory(target)
    linker = Linker(memory)
    counts = []
    for round_ in range(80):
        with pytest.raises(LinkError):
            linker.load(fixture(target, "imports"))
        if round_ in (30, 79):
            gc.collect()
            counts.append(maps())
    assert counts[1] <= counts[0] + 8
    assert not memory.regions
