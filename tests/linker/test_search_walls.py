"""No search leaves the sysroot, nor reads the host's folders unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from relink import HostMemory, LibraryNotFound, Linker, SearchPath
from relink.search.search_path import resolve_in_root
from tests.linker.test_search import find, found, named, tried, write


@pytest.mark.parametrize("path", ["/usr/lib", "/lib", "/", "", ".", "lib", "../lib"])
def test_without_a_sysroot_no_path_an_image_names_is_the_host_s(path: str) -> None:
    for how in ("rpath", "runpath"):
        for place, why in tried(
            named("root.so", needed=["libc.so.6"], **{how: path}) if path else named("r", needed=["libc.so.6"])
        ):
            assert "no sysroot" in why or "relative" in why, place


@pytest.mark.parametrize(
    "needed", ["/usr/lib/x86_64-linux-gnu/libc.so.6", "./libc.so.6", "lib/libc.so.6", "../x.so"]
)
def test_a_needed_path_is_not_the_host_s(needed: str) -> None:
    (entry,) = tried(named("root.so", needed=[needed]))
    assert "sysroot" in entry[1] or "relative" in entry[1]


def test_the_host_s_default_folders_are_not_searched() -> None:
    assert tried(named("root.so", needed=["libc.so.6"])) == [("default folders", "no sysroot was given")]


# ---------------------------------------------------------------- the sysroot's walls


def outside(tmp_path: Path) -> Path:
    """A sysroot beside a folder with the library it must not reach."""
    write(tmp_path / "outside/liba.so", named())
    (tmp_path / "root/lib").mkdir(parents=True)
    return tmp_path / "root"


@pytest.mark.parametrize("runpath", ["/../outside", "/lib/../../outside", "/lib/../../../../../../outside", "/.."])
def test_dots_stop_at_the_root(tmp_path: Path, runpath: str) -> None:
    for place, _ in tried(named("root.so", needed=["liba.so"], runpath=runpath), sysroot=outside(tmp_path)):
        assert Path(place).is_relative_to(tmp_path / "root"), place


def test_origin_s_dots_stop_at_the_root_too(tmp_path: Path) -> None:
    sysroot = outside(tmp_path)
    root = write(sysroot / "lib/root.so", named("root.so", needed=["liba.so"], runpath="$ORIGIN/../../outside"))
    tried(root, sysroot=sysroot)


def test_an_image_outside_the_sysroot_reaches_only_its_own_folder(tmp_path: Path) -> None:
    sysroot = outside(tmp_path)
    root = write(tmp_path / "app/root.so", named("root.so", needed=["liba.so"], runpath="$ORIGIN/../outside"))
    places = tried(root, sysroot=sysroot)
    assert "outside the sysroot" in places[0][1]
    write(tmp_path / "app/lib/liba.so", named())
    write(root, named("root.so", needed=["liba.so"], runpath="$ORIGIN/lib"))
    assert found(find(root, sysroot=sysroot)) == tmp_path / "app/lib/liba.so"


def test_absolute_links_mean_the_sysroot_s_root(tmp_path: Path) -> None:
    sysroot = outside(tmp_path)
    (sysroot / "lib/liba.so").symlink_to("/outside/liba.so")
    tried(named("root.so", needed=["liba.so"]), sysroot=sysroot)
    write(sysroot / "outside/liba.so", named())
    image = find(named("root.so", needed=["liba.so"]), sysroot=sysroot)
    assert found(image) == sysroot / "outside/liba.so"


@pytest.mark.parametrize(
    "link", ["{tmp}/outside/liba.so", "../../outside/liba.so", "../../../../../..{tmp}/outside/liba.so"]
)
def test_no_link_leads_out(tmp_path: Path, link: str) -> None:
    sysroot = outside(tmp_path)
    (sysroot / "lib/liba.so").symlink_to(link.format(tmp=tmp_path))
    tried(named("root.so", needed=["liba.so"]), sysroot=sysroot)


def test_no_linked_folder_leads_out(tmp_path: Path) -> None:
    sysroot = outside(tmp_path)
    (sysroot / "lib").rmdir()
    (sysroot / "lib").symlink_to(tmp_path / "outside")
    (sysroot / "up").symlink_to("../outside")
    tried(named("root.so", needed=["liba.so"], runpath="/up"), sysroot=sysroot)


def test_links_that_go_round_are_passed_over(tmp_path: Path) -> None:
    sysroot = outside(tmp_path)
    (sysroot / "lib/liba.so").symlink_to("libb.so")
    (sysroot / "lib/libb.so").symlink_to("liba.so")
    assert any("symbolic links" in why for _, why in tried(named("root.so", needed=["liba.so"]), sysroot=sysroot))


def test_links_that_multiply_end(tmp_path: Path) -> None:
    """Each link's target names the previous one twice: 2^30 steps unless links are counted."""
    (tmp_path / "l0").mkdir()
    for n in range(30):
        (tmp_path / f"l{n + 1}").symlink_to(f"l{n}/../l{n}")
    assert resolve_in_root(tmp_path, "/l30/x") is None


def test_a_usr_merged_sysroot_works(tmp_path: Path) -> None:
    sysroot = tmp_path / "root"
    write(sysroot / "usr/lib/liba.so.1.2", named())
    (sysroot / "usr/lib/liba.so").symlink_to("liba.so.1.2")
    (sysroot / "lib").symlink_to("usr/lib")
    image = find(named("root.so", needed=["liba.so"]), sysroot=sysroot)
    assert found(image) == sysroot / "usr/lib/liba.so.1.2"


def test_what_cannot_be_searched_is_listed_with_the_reason_alone(tmp_path: Path) -> None:
    name = f"lib{'x' * 300}.so"  # as without permission, which root has
    with pytest.raises(LibraryNotFound) as caught:
        Linker(HostMemory("x86_64"), search=SearchPath(library_path=[tmp_path])).load(name)
    assert caught.value.tried[0] == (str(tmp_path / name), "File name too long")
