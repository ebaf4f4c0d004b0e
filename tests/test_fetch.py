"""Fetching real libraries: what can be said without a network, and that each architecture gets its zlib."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from typer.testing import CliRunner

from emu.cli.app import run
from emu.fetch import apt, source
from emu.fetch.debian import PACKAGE_OF, Package, Sysroot, cache_folder
from emu.fetch.errors import FetchError, ToolMissing, Unreachable
from tests.fixtures import ARCHES, fixture
from tests.real import real_library
from toolchains.cli import app
from toolchains.manifest import sha256_of
from toolchains.targets import TARGETS


@pytest.mark.parametrize("arch", ARCHES)
def test_every_architecture_gets_a_libz_of_its_own_machine(arch: str) -> None:
    path = real_library(arch, "libz.so.1")
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        assert elf.elfclass == TARGETS[arch].bits
        dynamic = next(segment for segment in elf.iter_segments() if isinstance(segment, DynamicSegment))
        assert [getattr(tag, "soname", None) for tag in dynamic.iter_tags("DT_SONAME")] == ["libz.so.1"]
        names = {symbol.name for symbol in dynamic.iter_symbols()}
    assert {"crc32", "compress", "uncompress"} <= names
    recorded = Sysroot(arch).packages()["zlib1g"]
    assert sha256_of(path) in recorded.libraries.values()


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RELINK_EMU_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "relink-emu" / "debian"
    monkeypatch.setenv("RELINK_EMU_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_thumb_shares_the_libraries_of_arm(tmp_path: Path) -> None:
    assert Sysroot("thumb", tmp_path).root == Sysroot("arm", tmp_path).root


def test_without_apt_the_error_names_the_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None)
    with pytest.raises(ToolMissing, match="apt-get, dpkg-deb, which this host does not have"):
        Sysroot("aarch64", tmp_path).library("libz.so.1")


@pytest.mark.parametrize(
    "name",
    ["../x", "--foo", "-oDir=/", "/etc/passwd", "zlib1g=1", "zlib1g/sid", "zlib1g:i386", "x", "a b", "Zlib", ""],
)
def test_what_is_no_package_s_name_is_refused_before_apt_sees_it(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unexpected(*arguments: object, **keywords: object) -> str:
        raise AssertionError(arguments)

    monkeypatch.setattr("emu.fetch.debian.run", unexpected)
    monkeypatch.setattr(apt, "run", unexpected)
    with pytest.raises(FetchError, match="is not the name of a Debian package"):
        Sysroot("aarch64", tmp_path).fetch(["zlib1g", name])


def test_a_mirror_that_does_not_answer_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apt, "require", lambda *tools: None)
    # A port nobody listens on, refused at once.
    monkeypatch.setenv(apt.MIRROR_VARIABLE, "http://127.0.0.1:9/debian")
    if not Path("/usr/bin/apt-get").exists():
        pytest.skip("this host has no apt-get")
    with pytest.raises(Unreachable, match="apt-get failed"):
        Sysroot("i386", tmp_path).fetch(["zlib1g"])
    assert Sysroot("i386", tmp_path).packages() == {}


def test_unknown_sonames_and_architectures_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"no package is known to hold libnone\.so"):
        Sysroot("i386", tmp_path).library("libnone.so")
    with pytest.raises(FetchError, match="no architecture vax"):
        Sysroot("vax", tmp_path)
    with pytest.raises(FetchError, match="Debian has no riscv32 port; built from source"):
        Sysroot("riscv32", tmp_path).library("libcrypto.so.3")


def test_the_host_mirror_is_a_whole_archive_and_not_its_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = (
        "http://mirror.invalid/debian-security/ stable-security main\n"
        "http://mirror.invalid/debian/ stable-updates main\n"
        "http://mirror.invalid/debian/ stable contrib\n"
        "http://mirror.invalid/debian/ stable main\n"
    )
    monkeypatch.delenv(apt.MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr(apt, "require", lambda *tools: None)
    monkeypatch.setattr(apt, "run", lambda argv, cwd=None: listing)
    assert apt.host_mirror() == "http://mirror.invalid/debian/"


def test_a_host_without_a_debian_mirror_is_told_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(apt.MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr(apt, "require", lambda *tools: None)
    monkeypatch.setattr(apt, "run", lambda argv, cwd=None: "http://mirror.invalid/ubuntu/ noble main\n")
    with pytest.raises(Unreachable, match=r"name one in \$RELINK_EMU_DEBIAN_MIRROR"):
        apt.host_mirror()


def test_the_private_configuration_clears_hooks_and_owns_its_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []

    def record(argv: Sequence[str | Path], cwd: Path | None = None) -> str:
        commands.append([str(word) for word in argv])
        return ""

    monkeypatch.setenv(apt.MIRROR_VARIABLE, "http://mirror.invalid/debian")
    monkeypatch.setattr(apt, "require", lambda *tools: None)
    monkeypatch.setattr(apt, "run", record)
    apt.PrivateApt(tmp_path, "riscv64", "trixie").update()
    config = (tmp_path / "apt.conf").read_text()
    assert f'Dir "{tmp_path}";' in config
    assert "#clear APT::Update::Post-Invoke-Success;" in config
    assert "http://mirror.invalid/debian trixie main" in (tmp_path / "etc/sources.list").read_text()
    assert commands == [
        ["apt-get", "-c", f"{tmp_path}/apt.conf", "-q", "-o", "APT::Update::Error-Mode=any", "update"]
    ]


def test_packages_already_unpacked_are_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sysroot = Sysroot("arm", tmp_path)
    known = {"zlib1g": Package("1", "zlib1g.deb", "00", {"usr/lib/libz.so.1": "11"})}
    sysroot.folder.mkdir(parents=True)
    sysroot._write(known)
    monkeypatch.setattr("emu.fetch.debian.require", lambda *tools: pytest.fail("asked apt"))
    assert sysroot.fetch(["zlib1g"]) == known


class _Unpacking(Sysroot):
    """Packages of one library each, of fixtures."""

    def fetch(self, packages: Sequence[str] = ()) -> dict[str, Package]:
        for package in packages:
            folder = self.root / "usr/lib"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(fixture("x86_64-clang", package.removesuffix(".so")), folder / f"{package}.1.2")
            (folder / package).unlink(missing_ok=True)
            (folder / package).symlink_to(f"{package}.1.2")
            row = Package("1", f"{package}.deb", "", {f"usr/lib/{package}.1.2": ""})
            self._write(self.packages() | {package: row})
        return {}


def test_a_library_that_another_process_is_still_copying_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(PACKAGE_OF, "basic.so", "basic.so")
    sysroot = _Unpacking("x86_64", tmp_path)
    sysroot.fetch(["libprovider.so"])
    (sysroot.root / "usr/lib/basic.so").write_bytes(b"half")
    path = sysroot.library("basic.so")
    assert path.read_bytes() == fixture("x86_64-clang", "basic").read_bytes()


def test_what_a_library_needs_is_fetched_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("datarel.so", "libprovider.so"):
        monkeypatch.setitem(PACKAGE_OF, name, name)
    sysroot = _Unpacking("x86_64", tmp_path)
    assert sysroot.library("datarel.so").name == "datarel.so"
    assert set(sysroot.packages()) == {"datarel.so", "libprovider.so"}


@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")  # where there is a filter, it is used
@pytest.mark.parametrize("old", [False, True])
def test_source_archives_are_unpacked_also_by_early_releases_of_python(
    old: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if old:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    (tmp_path / "name-1").mkdir()
    (tmp_path / "name-1" / "file").write_text("text")
    with tarfile.open(tmp_path / "name.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "name-1", "name-1")
    folder = apt.unpack(tmp_path / "name.tar.gz", tmp_path / "unpacked")
    assert (folder.name, (folder / "file").read_text()) == ("name-1", "text")
    with tarfile.open(tmp_path / "two.tar", "w") as tar:
        tar.add(tmp_path / "name-1", "name-1")
        tar.add(tmp_path / "name-1", "name-2")
    with pytest.raises(FetchError, match=r"two\.tar holds 2 folders"):
        apt.unpack(tmp_path / "two.tar", tmp_path / "more")


def test_sources_are_built_after_what_they_need() -> None:
    assert source.in_order(["libpng16-16t64", "zlib1g"]) == ["zlib1g", "libpng16-16t64"]
    assert set(source.SOURCES) <= set(PACKAGE_OF.values())


def test_the_command_line_lists_and_refuses_without_a_traceback() -> None:
    command = CliRunner()
    assert command.invoke(app, ["list"]).exit_code == 0
    wrong = command.invoke(app, ["build", "--arch", "vax"])
    assert wrong.exit_code == 2
    assert "not one of" in wrong.output
    assert "Traceback" not in wrong.output


def test_the_command_names_each_sysroot_and_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arch in ("riscv64", "loongarch64"):
        sysroot = Sysroot(arch, tmp_path)
        sysroot.folder.mkdir(parents=True)
        sysroot._write({"zlib1g": Package("1.3", "zlib1g.deb", "00", {"usr/lib/libz.so.1": "11"})})
    monkeypatch.setattr("emu.fetch.debian.require", lambda *tools: pytest.fail("asked apt"))
    cache = ("--cache", str(tmp_path))
    assert run(["fetch", "zlib1g", "-a", "rv64", "--arch", "loongarch64", *cache]) == 0
    shown = capsys.readouterr().out
    assert f"loongarch64: {tmp_path}/loongarch64/root\n  zlib1g 1.3  sha256 00\n" in shown
    assert run(["fetch", "--arch", "riscv32", "libssl3t64", "--json", *cache]) == 1
    (found,) = json.loads(capsys.readouterr().out)["sysroots"]
    assert found["problem"].startswith("Debian has no riscv32 port; built from source for it are only zlib1g")
    assert run(["fetch", "--arch", "vax", *cache]) == 2
    assert "unknown architecture 'vax'" in capsys.readouterr().err
