"""Relative paths with a slash, as names of libraries: DT_NEEDED's and dlopen's. ld.so takes them from the working
directory; here they are the caller's to name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.linker.test_search import find, found, named, tried, write
from tests.machine.dl import Guest, library
from tests.objects.build import TARGETS

RELATIVE = ["./liba.so", "dir/liba.so", "../liba.so", "dir/../../app/liba.so", "./dir//liba.so"]
NO_DIRECTORY = "relative to a working directory, which the guest does not have"


@pytest.mark.parametrize("needed", RELATIVE)
def test_a_relative_needed_is_refused_for_want_of_a_working_directory(
    needed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the host's working directory, the image's own folder and the sysroot have it."""
    for place in ("app/liba.so", "app/dir/liba.so", "liba.so"):
        write(tmp_path / place, named())
    monkeypatch.chdir(tmp_path / "app")
    root = write(tmp_path / "app/root.so", named("root.so", needed=[needed], runpath="$ORIGIN"))
    for where in ({}, {"sysroot": tmp_path}, {"sysroot": tmp_path / "app"}):
        assert tried(root, **where) == [(needed, NO_DIRECTORY)]


@pytest.mark.parametrize("needed", RELATIVE)
def test_a_relative_needed_is_found_where_the_caller_names_it(needed: str, tmp_path: Path) -> None:
    for place in ("app/liba.so", "app/dir/liba.so", "liba.so"):
        write(tmp_path / place, named())
    root = named("root.so", needed=[needed])
    assert found(find(root, explicit={needed: tmp_path / "liba.so"})) == tmp_path / "liba.so"
    folders = [tmp_path / "none", tmp_path / "app"]
    if ".." in needed:
        assert tried(root, library_path=folders) == [
            *((f"{folder}/{needed}", "resolves to a path outside the library path") for folder in folders),
            (needed, NO_DIRECTORY),
        ]
    else:
        assert found(find(root, library_path=folders)) == tmp_path / "app" / needed


def test_a_link_of_the_library_path_leads_a_relative_path_to_no_other_folder(tmp_path: Path) -> None:
    write(tmp_path / "outside/liba.so", named())
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs/dir").symlink_to(tmp_path / "outside")
    root = named("root.so", needed=["dir/liba.so"])
    assert tried(root, library_path=[tmp_path / "libs"])[0][1] == "resolves to a path outside the library path"
    libraries = [tmp_path / "libs", tmp_path / "outside"]
    assert found(find(root, library_path=libraries)) == tmp_path / "libs/dir/liba.so"


@pytest.mark.parametrize("target", TARGETS)
def test_a_relative_path_given_to_dlopen_is_found_where_the_caller_names_it(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest's working directory is one of its own files, never the host's."""
    one = library(target, "one").read_bytes()
    for place in ("app/libone.so", "app/dir/libone.so", "libone.so"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(one)
    monkeypatch.chdir(tmp_path / "app")
    missing = "cannot open shared object file: No such file or directory"
    with Guest(target, sysroot=tmp_path / "app") as guest:
        for path in ("./libone.so", "dir/libone.so", "../libone.so"):
            assert guest.open(path) == 0
            assert guest.error() == f"{path}: {missing}"
    with Guest(target, library_path=[tmp_path / "app"]) as guest:
        assert guest.open("../libone.so") == 0
        assert guest.error() == f"../libone.so: {missing}"
        assert guest.call(guest.open("dir/libone.so"), "one") == 13
    with Guest(target, libraries={"../x/libone.so": one}) as guest:
        assert guest.call(guest.open("../x/libone.so"), "one") == 13
    with Guest(target, files={"/dir/libone.so": one}) as guest:
        assert guest.call(guest.open("./dir/libone.so"), "one") == 13
