"""The walk over LLVM's linker tests, on two tests of our own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lld_rules.categories import by_name, by_options, by_refusal
from tests.objects.build import zig

_HOLDS = """
# RUN: llvm-mc -filetype=obj -triple=x86_64 %s -o %t.o
# RUN: echo '.globl there; there: .quad 5' | llvm-mc -filetype=obj -triple=x86_64 - -o %t2.o
# RUN: ld.lld %t.o %t2.o -o %t && llvm-readobj %t | FileCheck %s
# RUN: not ld.lld %t.o -o %t 2>&1 | FileCheck --check-prefix=ERR %s
# RUN: ld.lld --icf=all %t.o %t2.o -o %t
.data
.globl here
here: .quad there
"""


def test_links_of_a_test_are_compared_or_left_out(tmp_path: Path) -> None:
    zig()
    if shutil.which("llvm-mc") is None:
        pytest.skip("no llvm-mc on this host")
    tests = tmp_path / "lld/test/ELF"
    (tests / "linkerscript").mkdir(parents=True)
    (tests / "own.s").write_text(_HOLDS)
    (tests / "linkerscript/left.s").write_text("# RUN: ld.lld %s\n")
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tests.lld_rules", str(tmp_path), "--json", str(report)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = {(test, line): kind for test, line, kind, _ in json.loads(report.read_text())}
    assert rows == {
        ("own.s", 4): "held",
        ("own.s", 5): "held",
        ("own.s", 6): "folding, collection and ordering of sections",
        ("linkerscript/left.s", 0): "linker scripts",
    }
    assert "any             2" in printed


def test_tests_and_options_and_refusals_are_sorted_into_categories() -> None:
    assert by_name("mips-64.s") == by_name("invalid/ppc64-x.s") == "other targets"
    assert (
        by_name("aarch64-abs16.s")
        is by_options(["--shared", "-o", "t"])
        is by_refusal("undefined symbol: f")
        is None
    )
    assert by_options(["-T", "x.lds"]) == "linker scripts"
    assert by_refusal("relocation R cannot be used against symbol 'x'; recompile with -fPIC") == (
        "position-independent output"
    )
