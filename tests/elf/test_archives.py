"""Archives: read as ar and nm read them; every variant; what is broken is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from relink.elf.archive import Archive
from relink.elf.names import Names
from relink.elf.source import is_archive, reading
from relink.errors import ElfError, MalformedElf, NotElf, Truncated, UnsupportedElf
from tests.counting import python_calls
from tests.elf.build_archive import bsd_archive, gnu_archive, member_header, padded
from tests.elf.build_object import Sym, simple_object
from tests.elf.compiled import compiled
from tests.fixtures import TARGETS
from tests.grouping import each
from toolchains.engine import find_zig
from toolchains.errors import CompilerMissing

_SYSTEM = ("libc.a", "libz.a", "libsqlite3.a", "libcrypto.a")
_FOLDER = Path("/usr/lib/x86_64-linux-gnu")


def defines(*names: str) -> bytes:
    """An object that defines `names`."""
    return simple_object([Sym(name, bind=1, section=1) for name in names])


MEMBERS = {"first.o": defines("one", "both"), "second_with_a_long_name.o": defines("two", "both"), "odd": b"text!"}
INDEX = {"one": 0, "both": 0, "two": 1}


def ar(folder: Path, *words: str) -> str:
    """What `ar` prints; skips without it."""
    if shutil.which("ar") is None:
        pytest.skip("ar (binutils) is not installed")
    return subprocess.run(["ar", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def installed(name: str) -> Path:
    if not (_FOLDER / name).is_file():
        pytest.skip(f"{name} is not installed on this host")
    return _FOLDER / name


# ---------------------------------------------------------------- every variant


VARIANTS = {
    "gnu": gnu_archive(MEMBERS, INDEX),
    "gnu-without-index": gnu_archive(MEMBERS),
    "gnu-empty-index": gnu_archive(MEMBERS, {}),
    "sym64": gnu_archive(MEMBERS, INDEX, width=8),
    "bsd": bsd_archive(MEMBERS, INDEX),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_members_and_definitions_are_the_same_in_every_variant(variant: str) -> None:
    archive = Archive.open(VARIANTS[variant], name="x.a")
    assert [member.name for member in archive.members] == list(MEMBERS)
    assert [bytes(member.data) for member in archive.members] == list(MEMBERS.values())
    assert [member.full_name for member in archive.members][:1] == ["x.a(first.o)"]
    assert archive.defining(Names.of(["two", "both", "none", "one", ""])).tolist() == [1, 0, -1, 0, -1]
    assert archive.object(1).symbols.names.texts() == ["", "two", "both"]


def test_an_archive_without_an_index_is_asked_member_by_member() -> None:
    index = Archive.open(VARIANTS["gnu-without-index"]).index
    pairs = list(zip(index.names.texts(), index.member.tolist(), strict=True))
    assert pairs == [("one", 0), ("both", 0), ("two", 1), ("both", 1)]


def test_a_member_that_is_no_object_defines_nothing() -> None:
    big_endian = b"\x7fELF\2\2\1" + bytes(57)
    archive = Archive.open(gnu_archive({"a": big_endian, "b": defines("f"), "c": b""}))
    assert archive.defining(Names.of(["f"])).tolist() == [1]


def test_an_archive_of_nothing_has_no_members() -> None:
    archive = Archive.open(b"!<arch>\n")
    assert not archive.members
    assert not archive.index
    assert archive.defining(Names.of(["f"])).tolist() == [-1]


def test_errors_of_a_member_name_archive_and_member() -> None:
    archive = Archive.open(gnu_archive({"bad.o": b"\x7fELFjunk"}), name="lib.a")
    with pytest.raises(ElfError, match=r"^lib\.a\(bad\.o\): "):
        archive.object(0)


def test_a_linker_script_is_called_one() -> None:
    with pytest.raises(NotElf, match="a GNU ld script, not an archive"):
        Archive.open(b"/* GNU ld script\n*/\nOUTPUT_FORMAT(elf64-x86-64)\nGROUP ( libm-2.36.a )\n")


def test_magic_tells_archives() -> None:
    assert is_archive(b"!<arch>\nrest")
    assert is_archive(memoryview(b"!<thin>\n"))
    assert not is_archive(b"!<arch>")
    assert not is_archive(MEMBERS["first.o"])


# ---------------------------------------------------------------- thin archives


def test_a_thin_archive_finds_its_members_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x.o").write_bytes(MEMBERS["first.o"])
    (tmp_path / "y.o").write_bytes(MEMBERS["second_with_a_long_name.o"])
    ar(tmp_path, "rcT", "thin.a", "sub/x.o", "y.o")
    archive = Archive.open(tmp_path / "thin.a")
    assert archive.thin
    assert [member.name for member in archive.members] == ["sub/x.o", "y.o"]
    assert bytes(archive.members[0].data) == MEMBERS["first.o"]
    assert archive.defining(Names.of(["two", "one"])).tolist() == [1, 0]


def test_a_thin_archive_reaches_into_another_archive(tmp_path: Path) -> None:
    for name, data in MEMBERS.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "inner").mkdir()
    ar(tmp_path, "rc", "inner/full.a", *MEMBERS)
    (tmp_path / "beside.o").write_bytes(MEMBERS["first.o"])
    ar(tmp_path, "rcT", "outer.a", "inner/full.a", "beside.o")
    archive = Archive.open(tmp_path / "outer.a")
    assert len(archive.members) == 4
    assert [bytes(member.data) for member in archive.members] == [*MEMBERS.values(), MEMBERS["first.o"]]


@pytest.mark.parametrize("kind", ["parent", "absolute", "link", "nested"])
def test_a_thin_archive_reaches_no_file_outside_the_callers_folders(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = tmp_path / "lib", tmp_path / "obj"
    for made in (folder, other, tmp_path / "elsewhere"):
        made.mkdir()
    (other / "secret.o").write_bytes(b"secret")
    monkeypatch.chdir(tmp_path / "elsewhere")
    (folder / "link.o").symlink_to(other / "secret.o")
    name = {"parent": "../obj/secret.o", "absolute": str(other / "secret.o"), "link": "link.o"}.get(kind)
    path = folder / "thin.a"
    if name:
        path.write_bytes(gnu_archive({name: b"secret"}, thin=True))
    else:
        nested(folder, "thin.a", "../obj/secret.o", 8)

    def content() -> bytes:
        return Archive.open(path).members[0].data.tobytes()

    with pytest.raises(UnsupportedElf, match="neither in the archive's folder nor in the working directory"):
        content()
    if name:
        with reading(None, [tmp_path]):  # as the library path of a load
            assert content() == b"secret"
        monkeypatch.chdir(tmp_path)
        assert content() == b"secret"


def test_a_missing_member_of_a_thin_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "thin.a"
    path.write_bytes(gnu_archive({"gone.o": b"x"}, thin=True))
    archive = Archive.open(path)
    with pytest.raises(ElfError, match=r"thin\.a\(gone\.o\): cannot be read: No such file"):
        _ = archive.members[0].data


@pytest.mark.parametrize("name", ["nul\0.o", "x" * 5000, "."], ids=["nul", "long", "folder"])
def test_a_thin_member_whose_name_no_file_can_have_is_an_elf_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "thin.a"
    path.write_bytes(gnu_archive({name: b"x"}, thin=True))
    with pytest.raises(ElfError, match="cannot be read"):
        _ = Archive.open(path).members[0].data


def nested(folder: Path, name: str, inner: str, origin: int) -> Path:
    """A thin archive whose one member is that at `origin` of `inner`."""
    table = inner.encode() + b"/\n"
    content = b"!<thin>\n" + member_header("//", len(table)) + padded(table) + member_header(f"/0:{origin}", 4)
    (folder / name).write_bytes(content)
    return folder / name


def test_a_thin_archive_within_itself_is_refused(tmp_path: Path) -> None:
    path = nested(tmp_path, "self.a", "self.a", 8 + 60 + 8)
    with pytest.raises(MalformedElf, match="nest more than 8 deep"):
        _ = Archive.open(path).members[0].data


def test_an_origin_where_no_member_begins_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inner.a").write_bytes(gnu_archive({"x.o": b"1234"}))
    path = nested(tmp_path, "outer.a", "inner.a", 9)
    with pytest.raises(MalformedElf, match=r"no member of inner\.a begins at offset 0x9"):
        _ = Archive.open(path).members[0].data


# ---------------------------------------------------------------- what is refused


BIG = gnu_archive(MEMBERS, INDEX)
ARCH = b"!<arch>\n"
BROKEN: dict[str, tuple[bytes, type[ElfError], str]] = {
    "magic": (b"!<arc>\n\n", NotElf, "not an archive"),
    "header": (ARCH + member_header("a/", 4)[:30], Truncated, r"cut short: 30 of 60 bytes \(at offset 0x8\)"),
    "terminator": (ARCH + member_header("a/", 0, b"??"), MalformedElf, "ends with b'\\?\\?'"),
    "size": (ARCH + member_header("a/", "12x"), MalformedElf, r"size is b'12x', not a decimal.*0x8\)"),
    "no-size": (ARCH + member_header("a/", ""), MalformedElf, "size is b''"),
    "negative": (ARCH + member_header("a/", "-1"), MalformedElf, "size is b'-1'"),
    "underscore": (ARCH + member_header("a/", "1_0"), MalformedElf, "size is b'1_0'"),
    "past-the-end": (ARCH + member_header("a/", 9) + b"1234", Truncated, "'a/' has 9 bytes, 4 are left"),
    "no-long-names": (ARCH + member_header("/0", 0), MalformedElf, "name is at offset 0x0 of the 0x0-byte"),
    "long-name": (ARCH + member_header("/zz", 0), MalformedElf, "not a valid offset into the long-name table"),
    "long-name-end": (
        ARCH + member_header("//", 2) + b"ab" + member_header("/0", 0), MalformedElf, "at offset 0x0 has no term"
    ),
    "bsd-name": (ARCH + member_header("#1/9", 4) + b"1234", MalformedElf, "valid BSD name of a member of 4 bytes"),
    "bsd-digits": (ARCH + member_header("#1/x", 4) + b"1234", MalformedElf, "not a valid BSD name of a member"),
    "index-empty": (ARCH + member_header("/", 2) + b"12", Truncated, "symbol index is cut short"),
    "index-count": (ARCH + member_header("/", 4) + b"\xff" * 4, Truncated, "claims 4294967295 symbols"),
    "index-names": (
        ARCH + member_header("/", 8) + b"\0\0\0\1\0\0\0\x08", MalformedElf, "1 offsets and 0 names"
    ),
    "bsd-index": (ARCH + member_header("__.SYMDEF", 4) + b"\4\0\0\0", MalformedElf, "is not a multiple of 8"),
    "bsd-index-cut": (ARCH + member_header("__.SYMDEF", 4) + b"\x08\0\0\0", Truncated, "cut short"),
    "bsd-index-names": (
        ARCH + member_header("__.SYMDEF", 8) + b"\0\0\0\0\x08\0\0\0", Truncated, "claims 8 bytes of names"
    ),
    "bsd-index-name": (
        ARCH + member_header("__.SYMDEF", 16) + b"\x08\0\0\0" + b"\xff" * 8 + bytes(4), MalformedElf, "outside"
    ),
}  # fmt: skip


@each("case", BROKEN)
def test_a_broken_archive_is_refused_in_words_that_name_the_place(case: str) -> None:
    content, error, text = BROKEN[case]
    with pytest.raises(error, match=text) as caught:
        Archive.open(content, name="broken.a")
    assert caught.value.source == "broken.a"


def test_an_index_that_points_to_no_member_is_refused() -> None:
    content = bytearray(BIG)
    content[8 + 60 + 4 : 8 + 60 + 8] = (1).to_bytes(4, "big")
    archive = Archive.open(bytes(content), name="broken.a")
    with pytest.raises(
        MalformedElf, match=r"has one in the member at 0x1, where no member header is \(at offset 0x44\)"
    ):
        _ = archive.index


def test_long_names_that_overlap_a_thousandfold_are_refused() -> None:
    table = b"x" * 100_000 + b"/\n"
    content = ARCH + member_header("//", len(table)) + table + member_header("/0", 0) * 1000
    with pytest.raises(MalformedElf, match="overlap so much"):
        Archive.open(content)


# ---------------------------------------------------------------- real archives


@pytest.mark.parametrize("target", TARGETS)
def test_an_archive_that_ar_wrote_for_any_target_finds_its_symbols(target: str, tmp_path: Path) -> None:
    shutil.copy(compiled(target), tmp_path / "object_with_a_long_name.o")
    ar(tmp_path, "rc", "lib.a", "object_with_a_long_name.o")
    archive = Archive.open(tmp_path / "lib.a")
    assert archive.defining(Names.of(["add", "common", "twice"])).tolist() == [0, 0, -1]


@pytest.mark.parametrize(
    "words", [("--format=gnu",), ("--format=bsd",), ("--format=darwin",), ("--format=coff",), ("--thin",)]
)
@pytest.mark.parametrize("wide", [False, True], ids=["32", "64"])
def test_archives_llvm_ar_wrote_are_read(words: tuple[str, ...], wide: bool, tmp_path: Path) -> None:
    for name, data in MEMBERS.items():
        (tmp_path / name).write_bytes(data)
    shutil.copy(compiled("riscv32"), tmp_path / "riscv.o")
    try:
        command = [str(find_zig()), "ar", *words, "rc", "lib.a", *MEMBERS, "riscv.o"]
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    threshold = {"SYM64_THRESHOLD": "1"} if wide else {}  # llvm-ar then writes a 64-bit index
    subprocess.run(command, cwd=tmp_path, env={**os.environ, **threshold}, check=True, capture_output=True)
    archive = Archive.open(tmp_path / "lib.a")
    assert [member.name for member in archive.members] == [*MEMBERS, "riscv.o"]
    for member, written in zip(archive.members, MEMBERS.values(), strict=False):
        content = bytes(member.data)  # Darwin's archivers count the padding to eight bytes as the member's
        assert content[: len(written)] == written
        assert content[len(written) :] in (b"", b"\n" * (-len(written) % 8))
    assert len(archive.index) > 4
    assert archive.defining(Names.of(["add", "two", "one", "puts"])).tolist() == [3, 1, 0, -1]


@pytest.mark.parametrize("name", _SYSTEM)
def test_members_of_a_system_archive_are_those_ar_extracts(name: str, tmp_path: Path) -> None:
    path = installed(name)
    archive = Archive.open(path)
    assert [member.name for member in archive.members] == ar(tmp_path, "t", str(path)).splitlines()
    ar(tmp_path, "x", str(path))
    last = {member.name: member for member in archive.members}  # a later one overwrites an earlier
    assert sorted(os.listdir(tmp_path)) == sorted(last)
    for member in last.values():
        extracted = (tmp_path / member.name).read_bytes()
        assert hashlib.sha1(extracted).digest() == hashlib.sha1(bytes(member.data)).digest()


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", _SYSTEM)
def test_the_index_of_a_system_archive_is_what_its_members_define(name: str) -> None:
    archive = Archive.open(installed(name))
    found = archive.index
    built = archive._index_of_members()
    assert sorted(zip(found.names.texts(), found.member.tolist(), strict=True)) == sorted(
        zip(built.names.texts(), built.member.tolist(), strict=True)
    )


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", _SYSTEM)
def test_relocations_of_a_system_archive_are_as_many_as_readelf_counts(name: str) -> None:
    path = installed(name)
    if shutil.which("readelf") is None:
        pytest.skip("readelf (binutils) is not installed")
    shown = subprocess.run(["readelf", "-rW", str(path)], capture_output=True, text=True, check=True).stdout
    counts = [int(line.split()[-2]) for line in shown.splitlines() if line.startswith("Relocation section")]
    archive = Archive.open(path)
    ours = [len(t) for number in range(len(archive.members)) for t in archive.object(number).relocations]
    assert ours == counts


def test_the_calls_to_decode_a_member_do_not_grow_with_the_archive() -> None:
    archive = Archive.open(installed("libcrypto.a"))

    def decode(members: range) -> None:
        for number in members:
            one = archive.object(number)
            _ = (one.relocations, one.symbols.names, one.groups)

    decode(range(3))
    first, last = range(3, 203), range(len(archive.members) - 200, len(archive.members))
    assert python_calls(lambda: decode(first)) < 1500 * len(first)  # 750 each
    assert python_calls(lambda: decode(last)) < 1500 * len(last)
