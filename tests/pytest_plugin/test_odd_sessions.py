"""Sessions that are not as expected: other tests' habits, other projects' fixtures, libraries with wishes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emu.build.targets import ALL
from tests.pytest_plugin.conftest import Session
from toolchains.build import BUILT

pytest_plugins = ("pytester",)
pytest.importorskip("ziglang", reason="libraries are built with the ziglang wheel")


def test_libraries_of_one_name_and_fixtures_of_the_project(session: Session, pytester: pytest.Pytester) -> None:
    for number, folder in enumerate(("a b", "ü")):
        (pytester.path / folder).mkdir()
        (pytester.path / folder / "own.c").write_text(f"int which(void) {{ return {number}; }}")
    pytester.makeconftest("""
import pytest

@pytest.fixture
def lib(lib):
    return lib.which

@pytest.fixture
def number(lib):
    return lib()
""")
    text = """
import pytest

@pytest.mark.relink("a b/own.c", arches="riscv32 x86_64")
class TestNumber:
    def test_first(self, number):
        assert number == 0

    @pytest.mark.relink("ü/*.c")
    def test_second(self, number):
        assert number == 1

pytestmark = []
"""
    session(text, "-v").assert_outcomes(passed=4)


def test_selection_by_failure_and_a_call_that_never_returned(session: Session, pytester: pytest.Pytester) -> None:
    text = """
import threading
from contextlib import suppress
from emu import BudgetExceeded

def spin(lib):
    with suppress(BudgetExceeded):
        lib.function("spin", "void(void)")(timeout=0.6)

def test_add(lib, machine):
    assert lib.add(2, 2) == (5 if machine.arch.name == "arm" else 4)

def test_thread(lib):
    threading.Thread(target=spin, args=(lib,), daemon=True).start()
    while not lib._machine.call_depth:
        pass

def test_after(lib):
    assert lib.add(2, 2) == 4
"""
    options = ("--arch=arm,i386", "-p", "cacheprovider", "-W", "ignore")
    result = session(text, *options)
    result.assert_outcomes(passed=5, failed=1, errors=2, deselected=3 * (len(ALL) - 2))
    result.stdout.fnmatch_lines(["*the test ended during 1 calls of the guest, which never returned*"])
    again = session(text, "--lf", *options)
    again.assert_outcomes(passed=2, failed=1, errors=2)


def test_needed_libraries_are_found_by_the_key_needs(session: Session, pytester: pytest.Pytester) -> None:
    for arch in ("arm", "riscv64"):
        shutil.copytree(BUILT / f"{arch}-clang" / "deps", pytester.path / "deps" / arch)
    text = """
import pytest

@pytest.mark.relink(binary="deps/{arch}/libtop.so", needs="deps/{arch}")
def test_found(lib):
    assert lib.function("top", "int(int)")(5) == 75

@pytest.mark.relink("uses.c", needs=["deps/{arch}/libmid.so"], arches="arm")
def test_built_with_it(lib):
    assert lib.use(5) == 31

@pytest.mark.relink(kind="o")
@pytest.mark.relink("uses.c", needs=["deps/{arch}/libmid.so"], arches="arm")
def test_linked_with_it(lib):
    assert lib.use(5) == 31

@pytest.mark.relink(binary="other/libtop.so", arches="arm")
def test_not_found(lib):
    pass

pytestmark = []
"""
    (pytester.path / "uses.c").write_text("int mid(int); int use(int n) { return mid(n) + 1; }")
    (pytester.path / "other").mkdir()
    shutil.move(pytester.path / "deps" / "arm" / "libtop.so", pytester.path / "other")
    result = session(text, "-rs")
    result.assert_outcomes(passed=3, skipped=len(ALL) - 1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "libtop.so cannot be loaded for arm: *",
            "  libmid.so: cannot open shared object file: *needed by libtop.so)",
        ]
    )


def test_cpp_assembly_and_sanitisers(session: Session, pytester: pytest.Pytester) -> None:
    (pytester.path / "plus.cpp").write_text("""
#include <cstdint>
#include <algorithm>
extern "C" int seven(void);
extern "C" int greatest(const int32_t *values, int count)
{
    return *std::max_element(values, values + count) + seven();
}
extern "C" int shifted(int by) { return 1 << by; }
""")
    (pytester.path / "seven.S").write_text("""
#if defined(__x86_64__) || defined(__i386__)
.globl seven
seven: movl $7, %eax
    ret
#elif defined(__riscv)
.globl seven
seven: li a0, 7
    ret
#endif
""")
    text = """
from emu import GuestFault
arches = "x86_64 i386 riscv32 riscv64"
pytestmark = pytest.mark.relink("plus.cpp", "seven.S", arches=arches,
                                cflags="-fsanitize=undefined -fsanitize-trap=all -fno-rtti")

def test_greatest(lib):
    assert lib.greatest([3, 9, 4], 3) == 16

def test_shifted(lib, guest):
    assert lib.shifted(3) == 8
    with guest.raises(GuestFault, symbol="shifted"):
        lib.shifted(40)
"""
    session("import pytest\n" + text).assert_outcomes(passed=8)


def test_a_cache_that_cannot_be_written_is_not_used(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RELINK_EMU_BUILD_CACHE")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    text = "def test_add(lib):\n    assert lib.add(2, 3) == 5"
    session(text, "--arch=aarch64").assert_outcomes(passed=1, deselected=len(ALL) - 1)


def test_hypothesis_and_unused_fixtures(session: Session) -> None:
    text = """
from hypothesis import HealthCheck, given, settings, strategies as st

@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(n=st.integers(-1000, 1000))
def test_add(lib, guest, n):
    guest.reset()
    spy = guest.spy("add")
    assert lib.twice(n) == 2 * n
    assert spy.results == [2 * n]
    assert lib.symbols["counter"].value == 1

def test_without_a_guest():
    assert True
"""
    session(text, "--arch=x86_64,loongarch64").assert_outcomes(passed=3, deselected=len(ALL) - 2)
