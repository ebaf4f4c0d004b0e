"""A load that fails while its constructors have loaded something themselves: what they have, stays whole.

The constructors are played by code in the block of `Linker.loading`, which raises at its end.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from relink import Image, Linker, LoadOptions, TlsModule
from tests.linker.craft import DATA, TLS, Library, Rel, Sym, undefined
from tests.linker.helpers import linker_for, memory_of, snapshot, word_at
from tests.linker.numbers import SYMBOLIC, TPOFF
from tests.linker.reference import DESCRIPTOR

PLACE = DATA + 0x80
DYNAMIC = LoadOptions(dynamic_tls=True)


class Stopped(Exception):
    """What ends the outer load."""


def failing_load(
    linker: Linker, source: Library | str, constructor: Callable[[], object], **options: object
) -> None:
    """A load whose constructor does something, and then fails."""
    what = source if isinstance(source, str) else source.image()

    def load() -> None:
        with linker.begin(what, options=LoadOptions(**options)) as load:  # type: ignore[arg-type]
            load.run_to("publish")
            constructor()
            raise Stopped

    with pytest.raises(Stopped):
        load()


def owner(arch: str) -> Library:
    return Library(arch, "libowner.so", symbols=[Sym("t", 4, type=TLS)], tls=(b"abcdefgh", 8, 8))


def initial_exec(arch: str, soname: str) -> Library:
    """Code of the initial-exec model, which holds the offset of another's variable."""
    thread_local = undefined("t", type=TLS)
    return Library(arch, soname, symbols=[thread_local], relocations=[Rel(PLACE, TPOFF[arch], thread_local)])


def module_of(image: Image) -> TlsModule:
    assert image.tls is not None
    return image.tls


def test_a_module_stays_static_while_an_image_that_stays_holds_its_offset(arch: str) -> None:
    linker = linker_for(arch)
    old = linker.load(owner(arch).image(), options=DYNAMIC)
    assert not module_of(old).static
    loaded: list[Image] = []

    def constructor() -> None:
        assert module_of(old).static
        loaded.append(linker.load(initial_exec(arch, "libnested.so").image(), options=DYNAMIC))

    failing_load(linker, initial_exec(arch, "libouter.so"), constructor, dynamic_tls=True)
    module = module_of(old)
    assert module.static
    assert linker.tls.modules == {module.id: module}
    size = old.architecture.word_size
    assert word_at(loaded[0], PLACE, size) == (module.offset + 4) % (1 << 8 * size)
    other = linker.load(Library(arch, symbols=[Sym("u", 0, type=TLS)], tls=(b"", 64, 8)).image())
    start, end = module_of(other).offset, module_of(other).offset + 64
    assert end <= module.offset or module.offset + module.size <= start


def test_a_descriptor_with_the_offset_keeps_a_module_static_too(arch: str) -> None:
    linker = linker_for(arch)
    old = linker.load(owner(arch).image(), options=DYNAMIC)
    variable = undefined("t", type=TLS)
    entry = Rel(PLACE, DESCRIPTOR[arch], variable)
    nested = Library(arch, "libnested.so", symbols=[variable], relocations=[entry])
    failing_load(
        linker,
        initial_exec(arch, "libouter.so"),
        lambda: linker.load(nested.image(), options=DYNAMIC),
        dynamic_tls=True,
    )
    assert module_of(old).static


def test_a_module_is_dynamic_again_where_the_load_inside_failed_too(arch: str) -> None:
    linker = linker_for(arch)
    old = linker.load(owner(arch).image(), options=DYNAMIC)
    before = snapshot(linker)
    inner = initial_exec(arch, "libinner.so")
    failing_load(
        linker,
        initial_exec(arch, "libouter.so"),
        lambda: failing_load(linker, inner, lambda: None, dynamic_tls=True),
        dynamic_tls=True,
    )
    assert not module_of(old).static
    assert snapshot(linker) == before


def test_a_module_whose_image_a_constructor_unloads_does_not_come_back(arch: str) -> None:
    linker = linker_for(arch)
    old = linker.load(owner(arch).image(), options=DYNAMIC)
    failing_load(linker, initial_exec(arch, "libouter.so"), lambda: linker.release_all([old]), dynamic_tls=True)
    assert not linker.tls.modules


def test_descriptor_stubs_stay_for_who_uses_them(arch: str) -> None:
    def library(name: str) -> Library:
        variable = Sym(name, 0, type=TLS)
        entry = Rel(PLACE, DESCRIPTOR[arch], variable)
        return Library(arch, f"lib{name}.so", symbols=[variable], tls=(b"abc", 16, 8), relocations=[entry])

    linker = linker_for(arch)
    loaded: list[Image] = []
    failing_load(linker, library("outer"), lambda: loaded.append(linker.load(library("nested").image())))
    size = loaded[0].architecture.word_size
    words = [word_at(loaded[0], PLACE + offset, size) for offset in (0, size)]
    stubs = [region for region in memory_of(linker).regions if "stubs" in region.name]
    assert [region.address for region in stubs if region.address in words] == [region.address for region in stubs]
    assert len(stubs) == 1
    linker.close()
    assert not memory_of(linker).regions


def test_references_of_constructors_to_what_was_there_count(arch: str) -> None:
    """The outer load fails over something that came before its root."""
    linker = linker_for(arch, Library(arch, "libroot.so"), Library(arch, "libfirst.so"))
    root = linker.load("libroot.so")
    failing_load(linker, "libroot.so", lambda: linker.load("libroot.so"), preload=["libfirst.so"])
    assert root.references == 2
    assert root.lifetime.keeps == []
    assert linker.unload(root) == []
    assert linker.unload(root) == [root]


def test_search_lists_of_a_load_that_failed_are_nobody_s(arch: str) -> None:
    """The root was there, as what another needs: it had no search list of its own."""
    dependency = Library(arch, "libdep.so")
    linker = linker_for(arch, dependency, Library(arch, "libfirst.so"))
    linker.load(Library(arch, "libroot.so", ["libdep.so"]).image())
    groups = {image: list(image.scopes.groups) for image in linker.images}
    failing_load(linker, "libdep.so", lambda: None, preload=["libfirst.so"])
    assert {image: list(image.scopes.groups) for image in linker.images} == groups


def test_an_image_that_a_constructor_makes_global_is_global(arch: str) -> None:
    linker = linker_for(arch, Library(arch, "libold.so", symbols=[Sym("shared", DATA)]))
    old = linker.load("libold.so", options=LoadOptions(local=True))
    failing_load(linker, Library(arch, "libouter.so"), lambda: linker.load("libold.so"))
    assert linker.global_scope == [old]
    wanted = undefined("shared")
    user = Library(arch, symbols=[wanted], relocations=[Rel(PLACE, SYMBOLIC[arch], wanted)])
    image = linker.load(user.image())
    assert word_at(image, PLACE, image.architecture.word_size) == old.address_of(DATA)


def test_what_a_constructor_loads_goes_with_its_load_where_it_cannot_do_without(arch: str) -> None:
    linker = linker_for(arch, Library(arch, "libdep.so"), Library(arch, "libold.so"))
    linker.load("libold.so")
    before = snapshot(linker)
    wanted = undefined("own")
    bound = Library(arch, "libbound.so", symbols=[wanted], relocations=[Rel(PLACE, SYMBOLIC[arch], wanted)])
    needing = Library(arch, "libneeding.so", ["libdep.so"])
    outer = Library(arch, "libouter.so", ["libdep.so"], symbols=[Sym("own", DATA)])
    loaded: list[Image] = []

    def constructor() -> None:
        loaded.append(linker.load(bound.image(), name="bound"))
        loaded.append(linker.load(needing.image(), name="needing"))
        loaded.append(linker.load(Library(arch, "libsecond.so", ["libneeding.so"]).image(), name="second"))

    failing_load(linker, outer, constructor)
    assert [image.name for image in loaded if image.closed] == ["bound", "needing", "second"]
    assert snapshot(linker) == before
