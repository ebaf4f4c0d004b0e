"""Where libraries come from: ld.so's order, its tokens, and the walls around a sysroot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from relink import (
    ARCHITECTURES,
    HostMemory,
    Image,
    LibraryNotFound,
    Linker,
    LinkError,
    LinkErrors,
    LoadOptions,
    MalformedElf,
    Policy,
    RelinkError,
    SearchPath,
    Source,
    Truncated,
)
from tests.fixtures import ARCHES, arch_of, fixture
from tests.grouping import each
from tests.linker.craft import Library, Sym

ARCH = "riscv64"
OTHER = "aarch64"


def write(path: Path, library: Library) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(library.image())
    return path


def named(soname: str = "liba.so", arch: str = ARCH, **more: object) -> Library:
    return Library(arch, soname, **more)  # type: ignore[arg-type]


def find(
    root: Path | Library,
    *,
    explicit: dict[str, Source] | None = None,
    library_path: list[Path] | None = None,
    sysroot: Path | None = None,
    **options: object,
) -> Image:
    linker = Linker(HostMemory(ARCH), search=SearchPath(explicit or {}, library_path or [], sysroot))
    source = root if isinstance(root, Path) else root.image()
    return linker.load(source, options=LoadOptions(**options))  # type: ignore[arg-type]


def found(image: Image) -> Path | None:
    """Where the root's first dependency came from."""
    return image.dependencies[0].decoded.path


def tried(root: Path | Library, **where: object) -> list[tuple[str, str]]:
    with pytest.raises(LibraryNotFound) as caught:
        find(root, **where)  # type: ignore[arg-type]
    numbered = str(caught.value).splitlines()[1:]
    assert [line.split(".")[0].strip() for line in numbered] == [str(n) for n in range(1, len(numbered) + 1)]
    assert len(numbered) == len(caught.value.tried)
    return list(caught.value.tried)


# ---------------------------------------------------------------- order


def everywhere(tmp_path: Path, *, runpath: bool) -> tuple[Path, dict[str, Path]]:
    """liba.so in every place a rule names; the image that needs it in `app`."""
    places = {
        "tags": tmp_path / "app/tags",
        "library path": tmp_path / "path",
        "sysroot": tmp_path / "root/lib",
    }
    for folder in places.values():
        write(folder / "liba.so", named())
    how = {"runpath": "$ORIGIN/tags"} if runpath else {"rpath": "$ORIGIN/tags"}
    return write(tmp_path / "app/root.so", named("root.so", needed=["liba.so"], **how)), places


def test_explicit_beats_all(tmp_path: Path) -> None:
    root, places = everywhere(tmp_path, runpath=False)
    where = {"library_path": [places["library path"]], "sysroot": tmp_path / "root"}
    image = find(root, explicit={"liba.so": named().image()}, **where)  # type: ignore[arg-type]
    assert found(image) is None


def test_rpath_beats_library_path_beats_runpath_beats_sysroot(tmp_path: Path) -> None:
    for runpath, order in (
        (False, ["tags", "library path", "sysroot"]),
        (True, ["library path", "tags", "sysroot"]),
    ):
        root, places = everywhere(tmp_path, runpath=runpath)
        for expected in order:
            image = find(root, library_path=[places["library path"]], sysroot=tmp_path / "root")
            assert found(image) == places[expected] / "liba.so"
            (places[expected] / "liba.so").unlink()


def test_the_library_path_is_taken_in_order(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "liba.so", named())
    folders = [tmp_path / "none", tmp_path / "two", tmp_path / "one"]
    assert found(find(named("root.so", needed=["liba.so"]), library_path=folders)) == tmp_path / "two/liba.so"


def test_rpath_is_ignored_where_there_is_a_runpath(tmp_path: Path) -> None:
    write(tmp_path / "r/liba.so", named())
    for runpath in ("$ORIGIN/nowhere", ""):
        root = write(
            tmp_path / "root.so", named("root.so", needed=["liba.so"], rpath="$ORIGIN/r", runpath=runpath)
        )
        tried(root)


def chain(tmp_path: Path, **tags: str) -> Path:
    """root (with the tags) → libmid.so → libdeep.so, the latter two in `lib`."""
    write(tmp_path / "lib/libdeep.so", named("libdeep.so"))
    write(tmp_path / "lib/libmid.so", named("libmid.so", needed=["libdeep.so"]))
    return write(tmp_path / "root.so", named("root.so", needed=["libmid.so"], **tags))


def test_rpath_is_inherited_and_runpath_is_not(tmp_path: Path) -> None:
    image = find(chain(tmp_path, rpath="$ORIGIN/lib"))
    assert [i.soname for i in image.scope] == ["root.so", "libmid.so", "libdeep.so"]
    with pytest.raises(LibraryNotFound, match=r"libdeep\.so") as caught:
        find(chain(tmp_path, runpath="$ORIGIN/lib"))
    assert (caught.value.needed_by or "").endswith("libmid.so")


def test_an_image_with_runpath_in_between_hides_its_ancestors_rpath(tmp_path: Path) -> None:
    root = chain(tmp_path, rpath="$ORIGIN/lib")
    write(tmp_path / "lib/libmid.so", named("libmid.so", needed=["libdeep.so"], runpath="$ORIGIN/nowhere"))
    with pytest.raises(LibraryNotFound):
        find(root)


@each("name", ["by_rpath", "by_runpath_direct", "by_braces", "by_several", "sub/by_parent"])
def test_the_rpath_fixtures_load_from_where_they_lie(target: str, name: str) -> None:
    path = fixture(target, f"rpath/{name}")
    search = SearchPath()
    if name == "sub/by_parent":
        with pytest.raises(LinkErrors) as refused:
            Linker(HostMemory(arch_of(target))).load(path)
        assert "resolves to a path outside the sysroot and the image's own folder" in str(refused.value)
        search = SearchPath(library_path=[path.parent.parent])  # what the caller has named may be reached so
    linker = Linker(HostMemory(arch_of(target)), search=search)
    image = linker.load(path)
    assert {i.soname for i in image.scope[1:]} == {"libinner.so", "libdeep.so"}


def test_the_runpath_fixture_does_not_hand_its_path_down(target: str) -> None:
    with pytest.raises(LibraryNotFound, match=r"libdeep\.so"):
        Linker(HostMemory(arch_of(target))).load(fixture(target, "rpath/by_runpath"))


# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize("token", ["$ORIGIN", "${ORIGIN}"])
@pytest.mark.parametrize("tail", ["", "/", "/.", "/../sub", "//"])
def test_origin_is_the_folder_of_the_image_that_says_it(tmp_path: Path, token: str, tail: str) -> None:
    write(tmp_path / "sub/liba.so", named())
    root = write(tmp_path / "sub/root.so", named("root.so", needed=["liba.so"], runpath=token + tail))
    assert os.path.samefile(found(find(root)) or "", tmp_path / "sub/liba.so")


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("token", ["$LIB", "${LIB}"])
def test_lib_means_every_library_folder_of_the_isa(tmp_path: Path, arch: str, token: str) -> None:
    for name in ARCHITECTURES[arch].library_names:
        path = write(tmp_path / name / "liba.so", named(arch=arch))
        root = write(tmp_path / "root.so", named("root.so", arch, needed=["liba.so"], runpath=f"$ORIGIN/{token}"))
        assert Linker(HostMemory(arch)).load(root).dependencies[0].decoded.path == path
        path.unlink()


def test_platform_is_the_isa_s(tmp_path: Path) -> None:
    platform = ARCHITECTURES["aarch64"].platform
    write(tmp_path / platform / "liba.so", named(arch="aarch64"))
    for token in ("$PLATFORM", "${PLATFORM}"):
        root = write(tmp_path / "r.so", named("r.so", "aarch64", needed=["liba.so"], runpath=f"$ORIGIN/{token}"))
        Linker(HostMemory("aarch64")).load(root)


@pytest.mark.parametrize("word", ["$LIBS", "$ORIGINAL", "$PLATFORM_", "${LIB", "$lib"])
def test_a_longer_word_is_no_token(tmp_path: Path, word: str) -> None:
    write(tmp_path / word / "liba.so", named())
    root = write(tmp_path / "root.so", named("root.so", needed=["liba.so"], runpath=f"$ORIGIN/{word}"))
    assert found(find(root)) == tmp_path / word / "liba.so"
    beside = named("root.so", needed=["liba.so"], runpath=f"{word}/x")
    assert not any(str(tmp_path) in place for place, _ in tried(write(tmp_path / "root.so", beside)))


def test_an_image_from_bytes_has_no_origin() -> None:
    places = tried(named("root.so", needed=["liba.so"], runpath="$ORIGIN/lib"))
    assert "did not come from a file" in places[0][1]


@pytest.mark.parametrize("way", ["$ORIGIN/../secret", "$ORIGIN/link"])
def test_nothing_above_the_folder_of_an_image_is_read(tmp_path: Path, way: str) -> None:
    """Neither by dots nor by a link, however it is asked for; a running guest reaches not even the folder."""
    write(tmp_path / "secret/liba.so", named())
    root = write(tmp_path / "app/root.so", named("root.so", needed=["liba.so"], runpath=way))
    (tmp_path / "app/link").symlink_to(tmp_path / "secret")
    assert "resolves to a path outside" in tried(root)[0][1]
    write(tmp_path / "app/liba.so", named())
    linker = Linker(HostMemory("riscv64"))
    image = linker.load(write(root, named("root.so", runpath="$ORIGIN")))
    for name in ("liba.so", "$ORIGIN/liba.so", f"{way}/liba.so", str(tmp_path / "app/liba.so")):
        assert linker.find(name, [image]).missing, name


@pytest.mark.parametrize("name", ["a/" * 17_000 + "x", "n" * 5000, "$ORIGIN/" + "../" * 2000])
def test_a_path_that_is_too_long_is_refused_at_once(tmp_path: Path, name: str) -> None:
    root = write(tmp_path / "root.so", named("root.so", needed=[name], runpath="/b/" * 10_000 + ":$ORIGIN"))
    (_, why), *_ = tried(root, sysroot=tmp_path)
    assert "longer than PATH_MAX" in why
    with pytest.raises(LibraryNotFound) as caught:
        find(root)
    assert len(str(caught.value)) < 10_000


def test_of_very_many_folders_the_first_are_looked_at(tmp_path: Path) -> None:
    runpath = ":".join(f"$ORIGIN/{number}" for number in range(5000))
    root = write(tmp_path / "root.so", named("root.so", needed=["liba.so", "libb.so"], runpath=runpath))
    with pytest.raises(RelinkError) as caught:
        find(root)
    assert "only the first 256 of a list" in str(caught.value.exceptions[0].tried[256])  # type: ignore[attr-defined]
    assert len(str(caught.value)) < 30_000


# ---------------------------------------------------------------- candidates


def test_a_library_for_another_machine_is_passed_over_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "one/liba.so", named(arch=OTHER))
    write(tmp_path / "two/liba.so", named())
    folders = [tmp_path / "one", tmp_path / "two"]
    assert found(find(named("root.so", needed=["liba.so"]), library_path=folders)) == tmp_path / "two/liba.so"
    (first, *_) = tried(named("root.so", needed=["liba.so"]), library_path=folders[:1])
    assert first == (str(tmp_path / "one/liba.so"), f"is for {OTHER}, not {ARCH}")


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"int main(void);", "not an ELF"), (b"\x7fELF\x01\x02\x01".ljust(64, b"\0"), "big-endian")],
)
def test_what_is_no_library_is_passed_over_with_the_reason(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "liba.so").write_bytes(content)
    assert why in tried(named("root.so", needed=["liba.so"]), library_path=[tmp_path])[0][1]


def test_a_folder_of_that_name_and_an_object_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "one/liba.so").mkdir(parents=True)
    write(tmp_path / "two/liba.so", named(e_type=1))
    places = tried(named("root.so", needed=["liba.so"]), library_path=[tmp_path / "one", tmp_path / "two"])
    assert places[0][1] == "is a folder"
    assert "relocatable" in places[1][1]


def test_a_damaged_library_is_an_error_not_a_miss(tmp_path: Path) -> None:
    for content, kind in ((named().image()[:80], Truncated), (named().image()[:54] + b"\xff" * 10, RelinkError)):
        (tmp_path / "liba.so").write_bytes(content)
        with pytest.raises(kind):
            find(named("root.so", needed=["liba.so"]), library_path=[tmp_path])


@pytest.mark.parametrize("name", ["a" * 5000, "nul\udcff", "..", "."])
def test_odd_names_are_simply_not_found(tmp_path: Path, name: str) -> None:
    tried(named("root.so", needed=[name]), library_path=[tmp_path], sysroot=tmp_path)
    linker = Linker(HostMemory(ARCH), search=SearchPath(library_path=[tmp_path]))
    with pytest.raises(RelinkError):
        linker.load(name)


def test_all_missing_libraries_are_told_at_once_with_who_wants_them(target: str) -> None:
    with pytest.raises(LinkErrors) as caught:
        Linker(HostMemory(arch_of(target))).load(fixture(target, "deps/needs_missing"))
    missing = [e.name for e in caught.value.exceptions if isinstance(e, LibraryNotFound)]
    assert missing == ["libnowhere.so.3", "libalso_nowhere.so"]


# ---------------------------------------------------------------- one library, one image


def test_needed_is_matched_by_soname_not_file_name(target: str) -> None:
    linker = Linker(HostMemory(arch_of(target)))
    renamed = linker.load(fixture(target, "deps/renamed_file"))
    client = linker.load(fixture(target, "deps/renamed_client"))
    assert client.dependencies == [renamed]
    assert len(linker.images) == 2


def test_the_file_name_is_not_the_soname(target: str) -> None:
    path = fixture(target, "deps/renamed_file")
    linker = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=[path.parent]))
    with pytest.raises(LibraryNotFound, match=r"librenamed\.so\.1"):
        linker.load(fixture(target, "deps/renamed_client"))


def test_a_cycle_loads_once(target: str) -> None:
    folder = fixture(target, "deps/libcycle_a").parent
    linker = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=[folder]))
    image = linker.load(folder / "libcycle_a.so")
    assert [i.soname for i in linker.images] == ["libcycle_a.so", "libcycle_b.so"]
    assert image.dependencies[0].dependencies == [image]
    assert linker.load("libcycle_b.so").references == 1
    linker.unload(image)
    assert linker.unload(linker.images[1])
    assert not linker.images


def test_a_library_that_needs_itself_loads() -> None:
    image = find(named("root.so", needed=["root.so"]))
    assert image.dependencies == [image]


def test_a_diamond_loads_its_point_once(target: str) -> None:
    folder = fixture(target, "deps/libtop").parent
    linker = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=[folder]))
    top = linker.load(folder / "libtop.so")
    mid, side = top.dependencies
    assert mid.dependencies == side.dependencies
    assert len(linker.images) == len(linker.memory.regions) == 4  # type: ignore[attr-defined]


def test_one_file_by_two_names_is_one_image(tmp_path: Path) -> None:
    write(tmp_path / "liba.so", named(""))
    library = tmp_path / "liba.so"
    library.write_bytes(Library(ARCH, None).image())
    (tmp_path / "libalias.so").symlink_to("liba.so")
    os.link(library, tmp_path / "libhard.so")
    linker = Linker(HostMemory(ARCH), search=SearchPath(library_path=[tmp_path]))
    root = linker.load(named("root.so", needed=["liba.so", "libalias.so", "libhard.so"]).image())
    assert len(linker.images) == 2
    assert linker.load(named("later.so", needed=["libalias.so"]).image()).dependencies == root.dependencies[:1]
    assert linker.load(tmp_path / "libhard.so") is root.dependencies[0]
    assert len(linker.images) == 3


def test_a_library_without_soname_is_known_by_the_name_it_was_needed_by() -> None:
    linker = Linker(HostMemory(ARCH), search=SearchPath({"liba.so": Library(ARCH, None).image()}))
    one = linker.load(named("one.so", needed=["liba.so"]).image())
    two = linker.load(named("two.so", needed=["liba.so"]).image())
    assert one.dependencies == two.dependencies


def test_a_needed_name_twice_is_one_dependency() -> None:
    image = find(named("root.so", needed=["liba.so"] * 3), explicit={"liba.so": named().image()})
    assert len(image.scope) == 2


# ---------------------------------------------------------------- libraries of the host's own making


def test_a_stand_in_is_never_searched_and_a_fallback_only_when_missing(tmp_path: Path) -> None:
    write(tmp_path / "libc.so.6", named("libc.so.6", symbols=[Sym("x")]))
    root = named("root.so", needed=["libc.so.6"])
    search = SearchPath(library_path=[tmp_path])
    stand_in = Linker(HostMemory(ARCH), search=search, policy=Policy(host_provided=frozenset({"libc.so.6"})))
    assert stand_in.load(root.image()).dependencies == []
    fallback = Policy(fallbacks=frozenset({"libc.so.6"}))
    assert len(Linker(HostMemory(ARCH), search=search, policy=fallback).load(root.image()).dependencies) == 1
    assert Linker(HostMemory(ARCH), policy=fallback).load(root.image()).dependencies == []
    with pytest.raises(LinkError, match="provided by the host"):
        stand_in.load("libc.so.6")


def test_a_survey_maps_nothing_and_names_the_rule_for_each(tmp_path: Path) -> None:
    root = chain(tmp_path, rpath="$ORIGIN/lib")
    linker = Linker(HostMemory(ARCH))
    _, nodes = linker.survey(root)
    assert [(node.name.rsplit("/")[-1], node.rule.split(" of ")[0]) for node in nodes] == [
        ("root.so", "asked for"),
        ("libmid.so", "RPATH"),
        ("libdeep.so", "RPATH"),
    ]
    assert not linker.images
    with pytest.raises(MalformedElf):
        linker.survey(b"\x7fELF\x07" + bytes(80))


@pytest.mark.parametrize("folder", ["/usr/lib", b"/usr/lib", Path("/usr/lib")])
def test_one_folder_in_place_of_a_list_is_refused(folder: Any) -> None:
    with pytest.raises(TypeError, match=r"library_path=.*/usr/lib.* is one folder: give a list"):
        SearchPath(library_path=folder)
