"""`test`: a library's functions on every architecture and the host, with arguments made from prototypes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import toolcache
from tests.sampling import examples
from tests.toolcache import text_file

from .conftest import RunCommand

pytest.importorskip("ziglang", reason="needs a compiler")

SOURCE = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
struct point { int x; double y; };
enum mode { FAST = 1, SLOW = 5 };
int add(int a, int b) { return (int)((unsigned)a + b); }
uint32_t sum(const void *data, size_t len) {
    const uint8_t *p = data; uint32_t c = 1; while (len--) c = c * 31 + *p++; return c;
}
void reverse(int *values, int n) {
    for (int i = 0; i < n / 2; i++) { int t = values[i]; values[i] = values[n - 1 - i]; values[n - 1 - i] = t; }
}
struct point moved(struct point p, int dx) { p.x = (int)((unsigned)p.x + dx); p.y *= 2; return p; }
int counted(void) { static int calls; return ++calls; }
int modes(enum mode m) { return m == FAST || m == SLOW; }
const char *name(int n) { return n & 1 ? "odd" : 0; }
char *find(char *buffer, size_t size) {
    for (size_t i = 0; i < size; i++) if (buffer[i] == 'x') return buffer + i; return 0;
}
int divide(int a, int b) { return a / b; }
int high(char c) { return (char)(c + 128) < 0; }
int64_t rounded(double d) { return (int64_t)d; }
int first(int *p) { return *(p - ((uintptr_t)p & ~(uintptr_t)0xf) / sizeof *p); }
void endless(int n) { while (n > 1000) ; }
int each(int (*f)(int), int n) { return f(n); }
int printed(const char *format, ...) { return *format; }
long double wide(long double x) { return x; }
extern int elsewhere(int);
int pack(unsigned char *out, unsigned long *out_len, const unsigned char *in, size_t in_len) {
    if (*out_len < in_len) return -1;
    memcpy(out, in, in_len); *out_len = in_len; return 0;
}
int past(const int *values, int n) { return values[n + 3]; }
void nothing(int n) { (void)n; }
void *allocated(unsigned size) { return malloc(size); }
void *too_much(int n) { return malloc(100000000u + (n & 1)); }
int forks(int n) { fork(); return n; }
int leaves(int n) { if (n & 1) exit(0); return n; }
int reads(int n) { return getchar() + (n & 1); }
#ifdef __aarch64__
int here_only(int n) { return n; }
#endif
int calls_elsewhere(int n) { return elsewhere(n); }
"""
SAME = tuple("add sum reverse moved counted modes name find pack past nothing leaves reads".split())
ARCHES = "x86_64,aarch64,riscv32"
EXAMPLES = examples(25)


@pytest.fixture(scope="module")
def source() -> str:
    return str(text_file(SOURCE, ".c"))


def found(relink_emu: RunCommand, source: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    result = relink_emu("test", source, "--json", *arguments)
    return result.status, {each["function"]: each for each in result.json["functions"]}


def test_functions_that_mean_the_same_everywhere_are_the_same(relink_emu: RunCommand, source: str) -> None:
    chosen = [word for name in SAME for word in ("-f", name)]
    status, functions = found(relink_emu, source, "-a", "all", "--examples", f"{EXAMPLES}", *chosen)
    assert status == 0
    assert [name for name, each in functions.items() if each["call"] is not None or each["skipped"]] == []
    assert functions["add"]["examples"] == EXAMPLES


@pytest.mark.parametrize(
    ("function", "call", "outcomes"),
    [
        ("divide", "divide(a = 0, b = 0)", {("aarch64",): "0", ("riscv32",): "-1"}),
        ("high", "high(c = 0)", {("aarch64", "riscv32"): "0"}),
    ],
)
def test_what_the_isa_decides_is_found_with_its_smallest_call(
    relink_emu: RunCommand, source: str, function: str, call: str, outcomes: dict[tuple[str, ...], str]
) -> None:
    status, functions = found(relink_emu, source, "-a", ARCHES, "-f", function)
    assert status == 1
    assert functions[function]["call"] == call
    told = {tuple(on["targets"]): on["outcome"] for on in functions[function]["outcomes"]}
    assert told.items() >= outcomes.items()
    if platform.machine() == "x86_64":
        assert any("host" in targets and "x86_64" in targets for targets in told)


def test_a_conversion_out_of_range_differs(relink_emu: RunCommand, source: str) -> None:
    status, functions = found(relink_emu, source, "-a", "x86_64,aarch64", "-f", "rounded", "--examples", "300")
    assert status == 1
    assert len(functions["rounded"]["outcomes"]) == 2


def test_a_call_that_does_not_end_is_an_outcome(relink_emu: RunCommand, source: str) -> None:
    arguments = ("-a", "x86_64,arm", "-f", "endless", "--timeout", "0.2")
    status, functions = found(relink_emu, source, *arguments)
    endless = functions["endless"]
    assert (status, endless["skipped"], endless["endless"]) == (0, None, 3)


def test_running_out_of_memory_is_no_difference(relink_emu: RunCommand, source: str) -> None:
    """How much memory there is does not depend on the library, and engines differ in what a page costs."""
    status, functions = found(
        relink_emu, source, "-a", "x86_64,loongarch64", "--examples", "30", "-f", "allocated"
    )
    assert (status, functions["allocated"]["examples"]) == (0, 30)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="compares with an x86-64 host")
def test_each_call_has_one_answer_of_the_host(relink_emu: RunCommand, source: str) -> None:
    """Also when two processes return from it."""
    status, functions = found(relink_emu, source, "-a", "x86_64", "--examples", "30", "-f", "forks", "-f", "add")
    assert (status, functions["forks"]["examples"], functions["add"]["examples"]) == (0, 30, 30)


def test_functions_are_shown_as_soon_as_they_are_tested(relink_emu: RunCommand, source: str) -> None:
    result = relink_emu("test", source, "-a", "x86_64", "--examples", "5", "-f", "add", "-f", "each")
    assert [line.split(":")[0] for line in result.out.splitlines()[:2]] == ["same     add", "skipped  each"]


def test_nothing_is_left_in_the_folder_of_the_sources(source: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emu.cli", "test", source, "-a", "i386", "-f", "add", "--examples", "50"]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "XDG_CACHE_HOME": str(toolcache.folder())}
    environment.pop("HYPOTHESIS_STORAGE_DIRECTORY", None)
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("each", "*f is int (int)"),
        ("printed", "it is variadic"),
        ("wide", "long double"),
        ("calls_elsewhere", "elsewhere"),
        ("too_much", "every call runs out of memory"),
        ("here_only", "not exported on x86_64"),
    ],
)
def test_what_cannot_be_tested_is_told(relink_emu: RunCommand, source: str, function: str, reason: str) -> None:
    arches = "x86_64,aarch64" if function == "here_only" else "x86_64"
    status, functions = found(relink_emu, source, "-a", arches, "--examples", "5", "-f", function)
    assert status == 0
    assert reason in functions[function]["skipped"]


def test_the_same_seed_makes_the_same_calls(relink_emu: RunCommand, source: str) -> None:
    runs = [
        relink_emu("test", source, "-a", ARCHES, "-f", "rounded", "--examples", "20", "--seed", "5").out
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert "(seed 5)" in runs[0]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["/no/such/file.c"], 2, "is not a file"),
        (["{source}", "-f", "absent"], 2, "no function absent is exported"),
        (["{source}", "-a", "vax"], 1, "unknown architecture 'vax'"),
        (["{source}", "--cflags=-DBROKEN=( -include /no/such.h"], 1, "no/such.h"),
        (["{source}", "--cflags='"], 2, "cannot be split into words: No closing quotation"),
        (["{source}", "--compiler=cc '"], 1, "cannot be split into words: No closing quotation"),
        (["{readme}"], 2, "is not a C, C++ or assembly source"),
        (["{loop}"], 2, "is not a file"),
    ],
)
def test_bad_input_is_named(
    relink_emu: RunCommand, source: str, arguments: list[str], status: int, told: str, tmp_path: Path
) -> None:
    readme = Path(__file__).resolve().parents[2] / "README.md"
    loop = tmp_path / "loop.c"
    loop.symlink_to(loop)
    words = [word.format(source=source, readme=readme, loop=loop) for word in arguments]
    result = relink_emu("test", *words)
    assert result.status == status
    assert told in result.err


def test_a_source_may_be_a_link_to_a_file_of_another_name(
    relink_emu: RunCommand, source: str, tmp_path: Path
) -> None:
    link = tmp_path / "ring.c"
    (tmp_path / "3f9a").write_bytes(Path(source).read_bytes())
    link.symlink_to("3f9a")
    status, functions = found(relink_emu, str(link), "-a", "x86_64", "--examples", "1", "-f", "rounded")
    assert (status, list(functions)) == (0, ["rounded"])
