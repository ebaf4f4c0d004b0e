"""Objects compiled when a test asks: one C source that makes a compiler write what objects are made of."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.fixtures import variant_of
from toolchains.engine import find_zig
from toolchains.errors import CompilerMissing

SOURCE = """
extern int puts(const char *), external_data;
int common[7];
__thread int tls = 4;
int initialised = 7, *pointer = &initialised, zero[100];
static int twice(int x) { return x * 2 + external_data; }
int add(int a, double b) { return twice(a) + (int)b + tls + zero[a]; }
__attribute__((weak)) void weak_one(void) { puts("weak"); }
__attribute__((visibility("hidden"))) long hidden(char *text, int (*call)(int)) { return call(*text); }
static int resolved(void) { return 1; }
"""
COMDAT = """
inline int shared(int x) { static int count; return count += x; }
template <class T> T larger(T a, T b) { return a > b ? a : b; }
int use(int x) { return shared(x) + larger(x, 2) + (int)larger(1.0 * x, 2.0); }
"""


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="relink-objects-")


@cache
def assembled(target: str, text: str) -> Path:
    """The object of assembly `text` for `target`; skips without a compiler."""
    return _built(target, "source.s", text, ())


@cache
def compiled(target: str, *flags: str, cpp: bool = False) -> Path:
    """The object of SOURCE (COMDAT with `cpp`) for `target`; skips without a compiler."""
    name, text = ("source.cpp", COMDAT) if cpp else ("source.c", SOURCE)
    return _built(target, name, text, ("-O0" if cpp else "-O1", "-g", "-fcommon", "-w", *flags))


def _built(target: str, name: str, text: str, flags: tuple[str, ...]) -> Path:
    try:
        zig = find_zig()
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    folder = Path(tempfile.mkdtemp(dir=_folder().name))
    source, output = folder / name, folder / "source.o"
    source.write_text(text)
    row = variant_of(target).target
    flags = (f"-ffile-prefix-map={folder}=.", *flags)  # no folder's name in what is compared
    words = [zig, "clang", "-target", row.triple, *row.cflags, *flags, "-c", source, "-o", output]
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
    return output
