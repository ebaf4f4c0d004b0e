"""Sessions of pytest inside a test, with the plug-in and a build cache that outlives the run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from emu.cpu.icicle.fixed_order import fix_order
from tests import toolcache

#: Modules that cannot be imported twice, or whose objects tests replace.
SHARED = (
    "icicle", "emu.cpu.unicorn.cpu", "emu.pytest_plugin.control", "emu.pytest_plugin.loading",
    "emu.pytest_plugin.mocks", "emu.pytest_plugin.report", "emu.pytest_plugin.session",
)  # fmt: skip
fix_order()  # before icicle is imported
for _name in SHARED:
    importlib.import_module(_name)


class _Imports:
    """What a session imports, for the next: pytester forgets it, and the project's tables would be filled anew."""

    def __init__(self) -> None:
        self.folder = Path("/nothing")  #: of the session's own modules
        self._modules: dict[str, ModuleType] = {}

    def pytest_unconfigure(self) -> None:
        for name, module in sys.modules.items():
            if not Path(getattr(module, "__file__", None) or "/").is_relative_to(self.folder):
                self._modules[name] = module

    def keep(self) -> None:
        sys.modules.update(self._modules)


OWN_C = r"""
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include "own.h"

extern int read_adc(int channel);
int counter;

int add(int a, int b) { counter++; return a + b; }
int scaled(int channel) { return read_adc(channel) * FACTOR; }
int twice(int n) { return add(n, n); }
int parse(const char *text)
{
    printf("parsing %s\n", text);
    return *(const volatile int *)(text[0] == 'x' ? 0 : text);
}
void check(int n) { assert(n > 0); }
void spin(void) { for (;;) counter++; }
int grab(void)
{
    void *volatile block = malloc(8);
    int got = block != 0;
    free(block);
    return got;
}
"""

Session = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session")
def build_cache() -> Path:
    return toolcache.folder() / "pytest-builds"


@pytest.fixture(autouse=True)
def imports() -> Iterator[_Imports]:
    """Made before `pytester`, whichever a test names first, so that it ends later: pytester forgets then, too."""
    kept = _Imports()
    yield kept
    kept.keep()


@pytest.fixture
def session(
    imports: _Imports, pytester: pytest.Pytester, build_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Session:
    """Runs pytest on a test file of this text, beside a small library: `session(text, *options)`."""
    monkeypatch.setenv("RELINK_EMU_BUILD_CACHE", str(build_cache))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (pytester.path / "own.c").write_text(OWN_C)
    (pytester.path / "own.h").write_text("#define FACTOR 3\n")

    def run(text: str, *options: str, name: str = "test_own") -> pytest.RunResult:
        marked = "import pytest\npytestmark = pytest.mark.relink(sources='*.c')\n"
        pytester.makepyfile(**{name: ("" if "pytestmark" in text else marked) + text})
        imports.folder = pytester.path
        apart = ("-p", "no:cacheprovider", "-p", "no:xdist")
        try:
            return pytester.runpytest("-p", "emu.pytest_plugin", *apart, *options, plugins=[imports])
        finally:
            imports.keep()

    return run
