"""Objects compiled when a test asks: one C source that makes a compiler write what objects are made of."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.fixtures import variant_of
from tests.objects.build import zig
from tests.toolcache import OUTPUT, made, text_file

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
def assembled(target: str, text: str) -> Path:
    """The object of assembly `text` for `target`; skips without a compiler."""
    return _built(target, "source.s", text, ())


@cache
def compiled(target: str, *flags: str, cpp: bool = False) -> Path:
    """The object of SOURCE (COMDAT with `cpp`) for `target`; skips without a compiler."""
    name, text = ("source.cpp", COMDAT) if cpp else ("source.c", SOURCE)
    return _built(target, name, text, ("-O0" if cpp else "-O1", "-g", "-fcommon", "-w", *flags))


def _built(target: str, name: str, text: str, flags: tuple[str, ...]) -> Path:
    row = variant_of(target).target
    source = text_file(text, Path(name).suffix)
    # No folder's name in what is compared.
    flags = (f"-ffile-prefix-map={source.parent}=.", "-fdebug-compilation-dir=.", *flags)
    command: list[str | Path] = [zig(), "clang", "-target", row.triple, *row.cflags]
    command += [*flags, "-c", source, "-o", OUTPUT]
    return made(command, [source])
