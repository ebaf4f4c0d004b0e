"""What a small object that is not known costs more than one that is, counted; with debug information, too."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from emu import Machine
from relink.objects.small import SmallObject
from relink.search.decoded_cache import CACHE
from tests.counting import python_calls
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled
from tests.objects.test_small import PROVIDER

SOURCE = """extern int outside(int); extern int other[4]; static int held; int shown = 3;
int named(int x) { held += x; return outside(x) + other[x & 3] + held; }
const char *text(void) { return "text"; } int *where(void) { return &shown; }
"""
#: By target, the most calls of functions, Python's and built in, of a load and unload of a known one, and those of
#: an unknown one beyond that.
MOST = {
    "x86_64": (378, 285),
    "i386": (445, 310),
    "aarch64": (429, 285),
    "arm": (435, 330),
    "thumb": (424, 315),
    "riscv64": (423, 330),
    "riscv32": (406, 330),
    "loongarch64": (607, 555),  # padding is removed
}


def fragments(target: str, *flags: str) -> Iterator[bytes]:
    """As many as wanted, each with other names."""
    content = compiled(target, SOURCE, "-fPIC", *flags).read_bytes()
    assert b"named" in content
    for number in range(1000):
        yield content.replace(b"named", b"n%04d" % number).replace(b"where", b"w%04d" % number)


@pytest.mark.parametrize("target", TARGETS)
def test_an_unknown_fragment_takes_few_calls_more(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CACHE, "enabled", True)
    CACHE.clear()  # other tests link by arrays
    gc.collect()  # snapshots of other tests: while there are any, assignments to some objects are noted
    for flags in (), ("-O0", "-g"), ("-ffunction-sections", "-g"):
        others = fragments(target, *flags)
        with Machine(arch_of(target)) as machine:
            machine.load(compiled(target, PROVIDER, "-fPIC"))
            for _ in range(25):  # what is made once
                machine.load(next(others)).close()
            content = next(others)
            unknown = python_calls(lambda content=content: machine.load(content).close())  # type: ignore[misc]
            for _ in range(2):
                library = machine.load(content)
                assert isinstance(library.image.decoded, SmallObject)
                library.close()
            known = python_calls(lambda content=content: machine.load(content).close())  # type: ignore[misc]
        print(target, flags, unknown, known, unknown - known)
        most_known, most_more = MOST[target]
        assert known <= most_known
        assert unknown - known <= most_more
