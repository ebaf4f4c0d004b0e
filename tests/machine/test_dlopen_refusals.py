"""What dlopen refuses, in glibc's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures import fixture
from tests.machine.dl import Guest, library
from tests.objects.build import TARGETS, compiled, linked

EACH = pytest.mark.parametrize("target", TARGETS)
NO_FILE = "cannot open shared object file: No such file or directory"


@EACH
@pytest.mark.sample(2)
def test_a_folder_is_no_library(target: str, tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    with Guest(target, sysroot=tmp_path) as guest:
        assert guest.open("/usr") == 0
        assert guest.error() == "/usr: cannot read file data: Is a directory"


@EACH
@pytest.mark.sample(2)
def test_what_is_no_library_for_dlopen_is_refused_by_name(target: str) -> None:
    closed = library(target, "global", "-z", "nodlopen")
    files = {"libclosed.so": closed, "program": fixture(target, "exe/pie")}
    with Guest(
        target,
        libraries=files,
        files={"/tmp/text.so": b"not ELF at all, but long enough to be read " * 4, "/tmp/short.so": b"\x7fELF"},
    ) as guest:
        assert guest.open("libclosed.so") == 0
        assert guest.error() == "libclosed.so: shared object cannot be dlopen()ed"
        assert guest.open("program") == 0
        assert guest.error() == "program: cannot dynamically load position-independent executable"
        assert guest.open("/tmp/text.so") == 0
        assert guest.error() == "/tmp/text.so: invalid ELF header"
        assert guest.open("/tmp/short.so") == 0
        assert guest.error() == "/tmp/short.so: file too short"
        assert guest.open("/tmp/none.so") == 0
        assert guest.error() == f"/tmp/none.so: {NO_FILE}"


@EACH
@pytest.mark.sample(2)
def test_a_library_not_for_dlopen_is_refused_as_a_dependency_too(target: str) -> None:
    """The program itself may need it, and dlopen then finds it loaded (glibc, `_dl_map_object_from_fd`)."""
    closed = library(target, "global", "-z", "nodlopen")
    user = linked(
        target,
        [compiled(target, "int user(void) { return 1; }\n", "-fPIC"), library(target, "one"), closed],
        "-soname",
        "libuser.so",
    )
    files = {"libuser.so": user, "libone.so": library(target, "one"), "libglobal.so": closed}
    with Guest(target, libraries=files) as guest:
        images = list(guest.machine.linker.images)
        assert guest.open("libuser.so") == 0
        assert guest.error() == "libglobal.so: shared object cannot be dlopen()ed"
        assert guest.machine.linker.images == images
        assert guest.notes == []
        guest.machine.load(closed)
        assert guest.open("libuser.so")


@pytest.mark.parametrize("start", [b"MZ", b"not ELF", b"\xfd7zXZ\0"], ids=["pe", "text", "xz"])
def test_a_file_in_the_search_path_that_is_not_elf_is_named(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "libother.so").write_bytes(start + bytes(100))
    with Guest("x86_64", library_path=[tmp_path]) as guest:
        assert guest.open("libother.so") == 0
        assert guest.error() == f"{tmp_path}/libother.so: invalid ELF header"
