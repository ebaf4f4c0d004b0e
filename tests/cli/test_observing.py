"""`--coverage` and `--trace` of `relink-emu call` and `run`."""

from __future__ import annotations

import json
from pathlib import Path

from emu.debug.coverage.lcov import Tracefile
from tests.fixtures import fixture

from .conftest import RunCommand

_DEFINED = ("-D", "my_host_function=0x1000")


def test_a_call_is_traced_and_covered(relink_emu: RunCommand, tmp_path: Path) -> None:
    library, coverage, trace = fixture("riscv64", "basic-dwarf"), tmp_path / "all.info", tmp_path / "run.trace"
    options = ("--coverage", str(coverage), "--trace", "--trace-file", str(trace))
    for _ in range(2):
        result = relink_emu("call", library, *_DEFINED, *options, "a_double(1.5, 2.25)", "a_pointer(NULL)")
    assert (result.status, result.out) == (0, "3.75\nNULL\n")
    calls = [line.partition("  ")[0] for line in result.err.splitlines()]
    assert calls == ["a_double(1.5, 2.25) = 3.75", "a_pointer(NULL) = NULL"]
    names = [event["name"] for event in json.loads(trace.read_text())["traceEvents"][1:]]
    assert names == ["a_double", "a_pointer"]
    files = Tracefile.read(coverage.read_text(), "all.info").files.values()
    hits = {name: count for file in files for (name, _), count in file.functions.items() if count}
    assert hits == {"a_double": 2, "a_pointer": 2}


def test_what_ran_before_a_fault_is_written(relink_emu: RunCommand, tmp_path: Path) -> None:
    coverage = tmp_path / "a.drcov"
    options = ("--coverage", str(coverage), "--trace")
    result = relink_emu(
        "call", fixture("riscv64", "basic"), *_DEFINED, *options, "void add(2, 3)", "a_name_of_none()"
    )
    assert result.status == 1
    assert "add(…)" in result.err
    assert coverage.read_bytes().startswith(b"DRCOV VERSION: 2\n")
