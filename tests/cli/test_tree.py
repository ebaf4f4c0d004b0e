"""`relink-emu tree`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fixtures import fixture
from tests.grouping import each

from .conftest import RunCommand, needing_the_c_library

pytestmark = pytest.mark.one_compiler


def test_shared_dependency_is_found_once_and_shown_under_both_parents(relink_emu: RunCommand, target: str) -> None:
    top = fixture(target, "deps/libtop")
    result = relink_emu("tree", top, "-L", top.parent)
    names = [re.findall(r"[^ \xa0]+\.so", line)[0] for line in result.out.splitlines()]
    assert result.status == 0
    assert [Path(name).name for name in names] == [f"lib{n}.so" for n in ("top", "mid", "leaf", "side", "leaf")]
    libraries = relink_emu("tree", top, "-L", top.parent, "--json").json["libraries"]
    names = [Path(entry["name"]).name for entry in libraries]
    assert names == ["libtop.so", "libmid.so", "libside.so", "libleaf.so"]
    assert [entry["needs"] for entry in libraries] == [[1, 2], [3], [3], []]


def test_cycle_is_shown_once_round(relink_emu: RunCommand, target: str) -> None:
    path = fixture(target, "deps/libcycle_a")
    result = relink_emu("tree", path, "-L", path.parent)
    assert result.status == 0
    assert result.out.count("libcycle_b.so") == 1
    assert "(above)" in result.out


def test_a_narrow_terminal_cuts_nothing(
    relink_emu: RunCommand, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fixture(target, "deps/libcycle_a")
    wide = relink_emu("tree", path, "-L", path.parent)
    monkeypatch.setenv("COLUMNS", "20")
    assert relink_emu("tree", path, "-L", path.parent).out == wide.out


def test_every_missing_library_is_told_with_the_places_considered(
    relink_emu: RunCommand, target: str, tmp_path: Path
) -> None:
    path = fixture(target, "deps/needs_missing")
    (tmp_path / "libalso_nowhere.so").write_bytes(b"not ELF at all, and not empty")
    result = relink_emu("tree", path, "-L", path.parent, "-L", tmp_path)
    assert result.status == 1
    for name in ("libnowhere.so.3", "libalso_nowhere.so"):
        assert f"{name}, needed by needs_missing.so, was not found:" in result.out
    assert f"  1. {path.parent}/libnowhere.so.3: no such file" in result.out
    assert f"  2. {tmp_path}/libalso_nowhere.so: not an ELF file" in result.out
    assert "  3. default folders: no sysroot was given" in result.out


def test_missing_libraries_in_json(relink_emu: RunCommand, target: str) -> None:
    result = relink_emu("tree", fixture(target, "deps/needs_missing"), "--json")
    assert result.status == 1
    missing = [entry for entry in result.json["libraries"] if entry["status"] == "missing"]
    assert [entry["name"] for entry in missing] == ["libnowhere.so.3", "libalso_nowhere.so"]
    assert all(entry["passed_over"] and entry["path"] is None for entry in missing)


@each(("name", "rule"), [("by_rpath", "RPATH of"), ("by_runpath_direct", "RUNPATH of")])
def test_rule_that_found_a_library_is_named(relink_emu: RunCommand, target: str, name: str, rule: str) -> None:
    result = relink_emu("tree", fixture(target, f"rpath/{name}"), "--json")
    assert result.status == 0
    assert all(entry["rule"].startswith(rule) for entry in result.json["libraries"][1:2])


def test_library_that_is_nowhere_is_itself_the_missing_one(relink_emu: RunCommand, tmp_path: Path) -> None:
    result = relink_emu("tree", "--arch", "arm", "-L", tmp_path, "libabsent.so")
    assert result.status == 1
    assert "libabsent.so was not found:" in result.out
    assert f"  1. {tmp_path}/libabsent.so: no such file" in result.out


def test_c_library_is_answered_by_the_host_unless_told_not_to(relink_emu: RunCommand, tmp_path: Path) -> None:
    path = needing_the_c_library(tmp_path)
    result = relink_emu("tree", path)
    assert result.status == 0
    assert "libc.so.6  [provided by the host]" in result.out
    assert "libm.so.6  [provided by the host]" in result.out
    assert relink_emu("tree", path, "--no-libc").status == 1


def test_preloads_are_trees_of_their_own(relink_emu: RunCommand) -> None:
    top = fixture("i386", "deps/libtop")
    report = relink_emu("tree", top, "-L", top.parent, "--preload", fixture("i386", "interposer"), "--json").json
    (preload,) = report["preload"]
    assert report["libraries"][preload]["rule"] == "preload"
    assert report["libraries"][report["root"]]["rule"] == "asked for"
