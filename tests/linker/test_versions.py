"""Symbol versions: the rules of glibc's elf/dl-lookup.c (check_match) and elf/dl-version.c, one by one.

A definition `foo@@V2` is the default one of its name, `foo@V1` (hidden bit set) is for those who ask for V1.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from relink import (
    HostMemory,
    Image,
    Linker,
    LinkError,
    LinkErrors,
    LoadOptions,
    Policy,
    SearchPath,
    UnresolvedSymbol,
    VersionNotFound,
)
from tests.fixtures import arch_of, fixture
from tests.grouping import each
from tests.linker.craft import DATA, LOCAL, Library, Rel, Sym, undefined
from tests.linker.helpers import linker_for, load, word_at
from tests.linker.numbers import SYMBOLIC

PLACE = DATA + 0x80
V1, V2, V3 = DATA + 0x11, DATA + 0x22, DATA + 0x33


def versions_of(*symbols: Sym, arch: str, defines: Sequence[str] = ("V1", "V2", "V3")) -> Library:
    return Library(arch, "libv.so", symbols=symbols, defines=defines)


def two(arch: str) -> Library:
    """foo@V1 and foo@@V2."""
    return versions_of(Sym("foo", V1, version="V1", hidden=True), Sym("foo", V2, version="V2"), arch=arch)


def asking(arch: str, version: str | None) -> Library:
    symbol = undefined("foo", version=version)
    needs = [("libv.so", version, 0)] if version else []
    return Library(
        arch, "libask.so", ["libv.so"], [symbol], relocations=[Rel(PLACE, SYMBOLIC[arch], symbol)], needs=needs
    )


def answer(arch: str, version: str | None, provider: Library) -> int:
    """The link-time address `foo` bound to."""
    image = load(asking(arch, version), provider)
    return word_at(image, PLACE, image.architecture.word_size) - image.dependencies[0].bias


# ---------------------------------------------------------------- references


def test_each_reference_gets_the_version_it_asks_for(arch: str) -> None:
    assert answer(arch, "V1", two(arch)) == V1
    assert answer(arch, "V2", two(arch)) == V2


def test_order_in_the_table_does_not_matter(arch: str) -> None:
    provider = versions_of(Sym("foo", V2, version="V2"), Sym("foo", V1, version="V1", hidden=True), arch=arch)
    assert answer(arch, "V1", provider) == V1
    assert answer(arch, "V2", provider) == V2


def test_a_version_the_library_defines_but_not_for_this_symbol_is_unresolved(arch: str) -> None:
    with pytest.raises(UnresolvedSymbol, match="foo, version V3"):
        load(asking(arch, "V3"), two(arch))


def test_a_versioned_reference_takes_a_base_definition(arch: str) -> None:
    """Index 1: `foo` without any version in a library that has versions."""
    assert answer(arch, "V1", versions_of(Sym("foo", V1), arch=arch)) == V1


def test_a_versioned_reference_refuses_a_hidden_base_definition(arch: str) -> None:
    with pytest.raises(UnresolvedSymbol):
        load(asking(arch, "V1"), versions_of(Sym("foo", V1, hidden=True), arch=arch))


def test_a_versioned_reference_takes_anything_of_a_library_without_versions(arch: str) -> None:
    assert answer(arch, "V1", Library(arch, "libv.so", symbols=[Sym("foo", V1)])) == V1


def test_an_unversioned_reference_takes_the_oldest_version_even_if_hidden(arch: str) -> None:
    """Index 2 is the first version a library ever had; old binaries mean that one."""
    assert answer(arch, None, two(arch)) == V1


def test_an_unversioned_reference_takes_the_default_when_there_is_one(arch: str) -> None:
    provider = versions_of(Sym("foo", V2, version="V2", hidden=True), Sym("foo", V3, version="V3"), arch=arch)
    assert answer(arch, None, provider) == V3


def test_an_unversioned_reference_takes_no_hidden_version_but_the_oldest(arch: str) -> None:
    with pytest.raises(UnresolvedSymbol):
        load(asking(arch, None), versions_of(Sym("foo", V3, version="V3", hidden=True), arch=arch))


def test_two_defaults_are_no_default(arch: str) -> None:
    with pytest.raises(UnresolvedSymbol):
        load(
            asking(arch, None), versions_of(Sym("foo", V2, version="V2"), Sym("foo", V3, version="V3"), arch=arch)
        )


def test_an_index_nobody_declared_is_no_version(arch: str) -> None:
    provider = versions_of(Sym("foo", V1, version_index=99), arch=arch)
    assert answer(arch, "V1", provider) == V1
    hidden = versions_of(Sym("foo", V1, version_index=99, hidden=True), arch=arch)
    with pytest.raises(UnresolvedSymbol):
        load(asking(arch, "V1"), hidden)


def test_index_0_is_taken_like_a_base_definition(arch: str) -> None:
    provider = versions_of(Sym("foo", V1, version_index=0), arch=arch)
    assert answer(arch, None, provider) == V1
    assert answer(arch, "V1", provider) == V1


def test_a_library_finds_its_own_versions_by_the_index_of_its_definition(arch: str) -> None:
    own = Sym("foo", V2, version="V2")
    library = versions_of(Sym("foo", V1, version="V1", hidden=True), own, arch=arch)
    library.relocations = [Rel(PLACE, SYMBOLIC[arch], own)]
    image = load(library)
    assert word_at(image, PLACE, image.architecture.word_size) == image.address_of(V2)


def test_local_definitions_do_not_answer_whatever_their_version(arch: str) -> None:
    provider = versions_of(Sym("foo", V1, version="V1", bind=LOCAL), arch=arch)
    with pytest.raises(UnresolvedSymbol):
        load(asking(arch, "V1"), provider)


# ---------------------------------------------------------------- look-ups by a user (dlsym, dlvsym)


@each(("version", "expected"), [(None, V2), ("V1", V1), ("V2", V2)])
def test_a_user_gets_the_default_or_the_version_asked_for(arch: str, version: str | None, expected: int) -> None:
    image = load(two(arch))
    assert image.symbol("foo", version).address == image.address_of(expected)


def test_a_user_s_look_up_does_not_take_a_hidden_version_without_asking(arch: str) -> None:
    image = load(versions_of(Sym("foo", V1, version="V1", hidden=True), arch=arch))
    assert image.symbol("foo", "V1").address == image.address_of(V1)
    with pytest.raises(UnresolvedSymbol):
        image.symbol("foo")
    with pytest.raises(UnresolvedSymbol, match="foo, version V7"):
        image.symbol("foo", "V7")


def test_exports_show_the_default_version(arch: str) -> None:
    for provider in (two(arch), versions_of(*reversed(two(arch).symbols), arch=arch)):
        image = load(provider)
        assert image.exports == {"foo": image.address_of(V2)}


# ---------------------------------------------------------------- what a library was linked against


def test_a_missing_version_is_found_before_anything_is_mapped(arch: str) -> None:
    linker = linker_for(arch, two(arch))
    with pytest.raises(VersionNotFound) as caught:
        linker.load(
            Library(
                arch, "libask.so", ["libv.so"], needs=[("libv.so", "V9", 0)], symbols=[undefined("x")]
            ).image(),
            name="asker",
        )
    assert (caught.value.image, caught.value.library, caught.value.version) == ("asker", "libv.so", "V9")
    assert not linker.images


def test_several_missing_versions_are_told_at_once(arch: str) -> None:
    needs = [("libv.so", "V8", 0), ("libv.so", "V9", 0), ("libv.so", "V1", 0)]
    with pytest.raises(LinkErrors) as caught:
        load(Library(arch, "libask.so", ["libv.so"], needs=needs), two(arch))
    assert [e.version for e in caught.value.exceptions if isinstance(e, VersionNotFound)] == ["V8", "V9"]


def test_a_weakly_needed_version_may_be_missing(arch: str) -> None:
    load(Library(arch, "libask.so", ["libv.so"], needs=[("libv.so", "V9", 2)]), two(arch))


def test_a_library_without_versions_satisfies_any(arch: str) -> None:
    load(Library(arch, "libask.so", ["libv.so"], needs=[("libv.so", "V9", 0)]), Library(arch, "libv.so"))


def test_a_version_of_a_library_loaded_earlier_is_checked_too(arch: str) -> None:
    linker = linker_for(arch, two(arch))
    linker.load("libv.so")
    with pytest.raises(VersionNotFound):
        linker.load(Library(arch, "libask.so", ["libv.so"], needs=[("libv.so", "V9", 0)]).image())


def test_a_version_of_a_library_that_is_not_needed_is_an_error(arch: str) -> None:
    asker = Library(arch, "libask.so", needs=[("libv.so", "V1", 0)])
    with pytest.raises(LinkError, match=r"requires version V1 of libv\.so, which is not in its DT_NEEDED"):
        load(asker, two(arch))
    load(Library(arch, "libask.so", needs=[("libv.so", "V1", 2)]))


def test_versions_of_libraries_that_the_host_provides_are_not_read() -> None:
    needs = [("libv.so", "V1", 0)]
    hosts = Policy(host_provided=frozenset({"libv.so"}))
    image = linker_for("x86_64", policy=hosts).load(
        Library("x86_64", "libask.so", ["libv.so"], needs=needs, defines=["A1"]).image()
    )
    assert "versions" not in vars(image.decoded)
    assert [need.name for need in image.decoded.versions.needed] == ["V1"]
    assert image.decoded.versions.defined_names == {"libask.so", "A1"}


# ---------------------------------------------------------------- the fixtures


def client(target: str, name: str, age: str, **options: object) -> tuple[Linker, Image]:
    folder = fixture(target, f"versions/{age}/libversions").parent
    linker = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=[folder]))
    return linker, linker.load(fixture(target, f"versions/{name}"), options=LoadOptions(**options))  # type: ignore[arg-type]


@each("age", ["v1", "v2", "v3", "none"])
@each("name", ["client_v1", "client_v2", "client_unversioned"])
def test_a_client_of_any_age_gets_its_own_version_of_any_later_library(target: str, name: str, age: str) -> None:
    if name == "client_v2" and age == "v1":
        with pytest.raises(VersionNotFound, match="V2"):
            client(target, name, age)
        return
    linker, image = client(target, name, age)
    library = image.dependencies[0]
    version = {"client_v1": "V1", "client_v2": "V2", "client_unversioned": "V1"}[name] if age != "none" else None
    pointer = image.symbol("versioned_pointer").address
    assert word_at(linker, pointer, image.architecture.word_size) == library.symbol("versioned", version).address


def test_a_client_of_v3_needs_v3(target: str) -> None:
    client(target, "client_v3", "v3")
    for age in ("v1", "v2"):
        with pytest.raises((VersionNotFound, LinkErrors)) as caught:
            client(target, "client_v3", age)
        assert "libversions.so: version `V3' not found (required by " in str(caught.value)
