"""Built libraries are kept by what went into them, and a build that ends badly leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import pytest

from emu.build.build import build
from emu.build.compilers import Compiler, find
from emu.build.errors import BuildError, CompilerFailed
from emu.build.inputs import Inputs, listed
from emu.build.recipe import Recipe
from emu.build.store import Store, default_store, user_folder
from emu.build.targets import TARGETS
from emu.fetch.debian import CACHE_VARIABLE, cache_folder

NOTHING = Inputs({}, (), (), ())
KILLED = """
import sys, time
from pathlib import Path
from emu.build.inputs import Inputs
from emu.build.store import Store

def stuck(folder):
    (folder / "own.so").write_bytes(b"half")
    print("building", flush=True)
    time.sleep(60)

Store(Path(sys.argv[1])).get("key", stuck)
"""


@pytest.fixture
def compiler() -> Compiler:
    pytest.importorskip("ziglang", reason="libraries are built with the ziglang wheel")
    return find(TARGETS["riscv32"], "zig")


def test_a_build_that_was_killed_holds_no_lock_and_is_not_used(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"building\n"
        process.send_signal(signal.SIGKILL)

    def build(folder: Path) -> Inputs:
        (folder / "own.so").write_bytes(b"whole")
        return NOTHING

    found = Store(tmp_path).get("key", build)
    assert (found / "own.so").read_bytes() == b"whole"
    assert Store(tmp_path).get("key", lambda folder: pytest.fail("built twice")) == found
    assert not list(found.parent.glob("part-*"))


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> Inputs:
        (folder / "own.so").write_bytes(b"half")
        raise CompilerFailed("arm", ["cc", "a b.c"], "error: no\n")

    for _ in range(2):
        wanted = r"^arm: error: no\nThis command failed:\n  cc 'a b.c'\nerror: no$"
        with pytest.raises(CompilerFailed, match=wanted):
            Store(tmp_path).get("key", fail)
    assert [path.name for path in tmp_path.glob("??/key/*")] == ["lock"]


@pytest.mark.parametrize(
    "output",
    [
        "/usr/include/gnu/stubs.h:11:11: fatal error: gnu/stubs-ilp32d.h: No such file or directory",
        "'sys/cdefs.h' file not found",
    ],
)
def test_headers_that_a_distribution_lacks_are_named(output: str) -> None:
    assert "cc has no headers of the C library for riscv32" in str(
        CompilerFailed("riscv32", ["cc", "a.c"], output)
    )
    assert "C library" not in str(CompilerFailed("riscv32", ["cc", "a.c"], output.replace("s", "z")))


def test_what_nobody_used_for_a_month_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = (store.get(key, lambda folder: NOTHING) for key in ("old", "new"))
    os.utime(old.parent, (0, time.time() - 40 * 24 * 3600))
    store.trim()
    assert (old.exists(), new.exists()) == (False, True)


BY_MARKER, BY_OPTION = "by include=", "by options"


@pytest.mark.parametrize("given", [BY_MARKER, BY_OPTION])
def test_headers_that_appear_and_change_are_noticed(tmp_path: Path, compiler: Compiler, given: str) -> None:
    first, second = tmp_path / "first", tmp_path / "second  #2"
    for folder in (first, second):
        folder.mkdir()
    source = tmp_path / "a $b.c"
    source.write_text("#include <which.h>\nint which(void) { return WHICH; }\n")
    (second / "which.h").write_text("#define WHICH 2\n")
    if given == BY_MARKER:
        recipe = Recipe("own", (source,), tmp_path, include=(first, second))
    else:  # headers of system folders are a project's too
        recipe = Recipe("own", (source,), tmp_path, cflags=("-I", "first", "-isystem", str(second)))
    store = Store(tmp_path / "cache")

    def built() -> Path:
        time.sleep(0.02)  # a file that changes while it is compiled is not relied upon
        return build(recipe, compiler, store)[0]

    results = [built(), built()]
    (first / "which.h").write_text("#define WHICH 1\n")
    results += [built(), built()]
    (first / "which.h").write_text("#define WHICH 3\n")
    results += [built()]
    (first / "which.h").unlink()
    results += [built()]
    assert [results.index(each) for each in results] == [0, 0, 2, 2, 4, 0]


def test_data_that_assembly_includes_is_read_anew(tmp_path: Path, compiler: Compiler) -> None:
    (tmp_path / "data").write_bytes(b"1")
    source = tmp_path / "data.s"
    source.write_text('.data\n.globl data\ndata: .incbin "data"\n')
    store = Store(tmp_path / "cache")
    contents = []
    for content in (b"first", b"other"):
        (tmp_path / "data").write_bytes(content)
        contents.append(build(Recipe("own", (source,), tmp_path), compiler, store)[0].read_bytes())
    assert b"first" in contents[0]
    assert b"other" in contents[1]


def test_files_that_options_name_are_inputs(tmp_path: Path, compiler: Compiler) -> None:
    source, script = tmp_path / "own.c", tmp_path / "own.map"
    source.write_text("int kept(void) { return 1; }\nint hidden(void) { return 2; }\n")
    recipe = Recipe("own", (source,), tmp_path, ldflags=("-Wl,--version-script=own.map",))
    store = Store(tmp_path / "cache")
    script.write_text("{ global: kept; local: *; };")
    first = build(recipe, compiler, store)
    script.write_text("{ global: *; };")
    assert build(recipe, compiler, store) != first


def test_a_file_that_is_no_source_is_refused_by_name(tmp_path: Path, compiler: Compiler) -> None:
    for name in ("own.c", "own.h"):
        (tmp_path / name).write_text("int own(void);\n")
    sources = (tmp_path / "own.c", tmp_path / "own.h")
    with pytest.raises(BuildError, match=r"own\.h is neither a source \(\.C, .*\) nor an object, archive"):
        build(Recipe("own", sources, tmp_path), compiler, Store(tmp_path / "cache"))


def test_a_compiler_that_writes_nothing_has_failed(tmp_path: Path) -> None:
    (tmp_path / "own.c").write_text("")
    recipe = Recipe("own", (tmp_path / "own.c",), tmp_path)
    with pytest.raises(CompilerFailed, match="ended without an error, but did not write"):
        build(recipe, find(TARGETS["arm"], "true"), Store(tmp_path / "cache"))


def test_the_default_cache_is_a_temporary_one_where_the_home_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with default_store() as store:
        assert store.folder.is_dir()
    assert not store.folder.exists()


def test_the_default_cache_is_a_temporary_one_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary_file = tempfile.TemporaryFile

    def on_a_full_disk(dir: Path, buffering: int = -1) -> IO[bytes]:
        if dir.is_relative_to(tmp_path):
            return open("/dev/full", "wb", buffering)
        return temporary_file(dir=dir, buffering=buffering)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "TemporaryFile", on_a_full_disk)
    with default_store() as store:
        assert not store.folder.is_relative_to(tmp_path)


def test_the_default_cache_of_a_user_without_a_home_is_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert user_folder() == Path("/home/own/.cache/relink-emu")
    monkeypatch.delenv("HOME")
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with default_store() as store:
        assert store.folder.is_absolute()
    with pytest.raises(BuildError, match="set HOME or XDG_CACHE_HOME"):
        cache_folder()
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "ke").write_text("")
    with pytest.raises(BuildError, match=rf"the build cache {tmp_path} cannot be used: .*Not a directory"):
        Store(tmp_path).get("key", lambda folder: NOTHING)


def test_the_make_rules_of_compilers_are_read() -> None:
    rule = "/c/0-a.o: /s/a\\ b.c \\\n  /s/c\\#d.h /s/e$$f.h \\\n /s/ü.h\n"
    assert listed(rule) == ["/s/a b.c", "/s/c#d.h", "/s/e$f.h", "/s/ü.h"]
