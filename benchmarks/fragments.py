"""Fragments as a code generator writes them: objects that differ in code, names, sections and relocations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from benchmarks import inputs

#: What fragments call and read; loaded before them.
HELPERS = "int scale = 3; int table[8] = {1, 2, 3, 5, 7, 11, 13, 17}; int helper(int x) { return x * scale; }"
_NUMBER = "00000000"  #: in the names of a fragment, replaced by its own
_PARTS = (
    "int f{name}a(int x) {{ return x * {n} + 1; }}",
    "extern int helper(int); int f{name}b(int x) {{ return helper(x) + helper(x ^ {n}); }}",
    "extern int table[8]; int f{name}c(int x) {{ return table[x & 7] + {n}; }}",
    "static int calls{name}; int f{name}d(int x) {{ calls{name} += x; return calls{name}; }}",
    "const char *f{name}e(void) {{ return \"{n} of them\"; }}",
    "int v{name} = {n}; int *f{name}f(void) {{ return &v{name}; }}",
    "static const int squares{name}[] = {{1, 4, 9, {n}}}; int f{name}g(int x) {{ return squares{name}[x & 3]; }}",
)  # fmt: skip
_FLAGS = ((), ("-ffunction-sections",), ("-fno-asynchronous-unwind-tables",), ("-O0",))
_COUNT = 40


def fragments(target: str = "x86_64") -> Iterator[bytes]:
    """As many as wanted: forty different ones in turn, each time with other names."""
    made = [_fragment(number, target) for number in range(_COUNT)]
    name = _NUMBER.encode()
    for number in itertools.count():
        yield made[number % _COUNT].replace(name, b"%08d" % number)


def _fragment(number: int, target: str) -> bytes:
    """One of different length: one to four of the parts."""
    chosen = [_PARTS[(number * step + step) % len(_PARTS)] for step in range(1, 2 + number % 4)]
    parts = [part.format(name=_NUMBER, n=7 + number) for part in dict.fromkeys(chosen)]
    return inputs.object_of("\n".join(parts), *_FLAGS[number % len(_FLAGS)], target=target).read_bytes()
