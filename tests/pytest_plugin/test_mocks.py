"""Mocks and spies, on every architecture; each inner test runs on all."""

from __future__ import annotations

import pytest

from emu.build.targets import ALL
from tests.pytest_plugin.conftest import Session

pytest_plugins = ("pytester",)
pytest.importorskip("ziglang", reason="libraries are built with the ziglang wheel")

TEXT = """
from emu import GuestAbort, GuestFault, UnresolvedCall
from emu.pytest_plugin.mocks import MockError

def test_an_import_is_mocked_with_its_prototype_from_dwarf(lib, guest):
    adc = guest.mock("read_adc", returns=14)
    assert lib.scaled(3) == 42
    adc.returns = -1
    assert lib.scaled(4) == -3
    assert adc.calls == [(3,), (4,)]
    assert adc.results == [14, -1]
    adc.assert_called_with(4)

def test_side_effects(lib, guest):
    adc = guest.mock("read_adc", side_effect=[1, 2, ValueError("no sample")])
    assert [lib.scaled(0), lib.scaled(0)] == [3, 6]
    with pytest.raises(ValueError, match="no sample"):
        lib.scaled(0)
    adc.side_effect = lambda channel: channel + 1
    assert lib.scaled(9) == 30

def test_a_call_that_nobody_mocked_is_an_error(lib, guest):
    with guest.raises(UnresolvedCall, symbol="read_adc"):
        lib.scaled(3)

def test_undone_mocks_are_gone(lib, guest):
    mock = guest.mock("read_adc", returns=1)
    assert lib.scaled(0) == 3
    mock.undo()
    with pytest.raises(UnresolvedCall):
        lib.scaled(0)

def test_a_function_of_the_library_is_mocked(lib, guest):
    add = guest.mock("add", returns=100)
    assert lib.twice(4) == 100
    assert add.calls == [(4, 4)]

def test_a_spy_sees_arguments_and_results(lib, guest):
    spy = guest.spy("add")
    assert lib.twice(4) == 8
    assert (spy.calls, spy.results) == ([(4, 4)], [8])
    assert lib.symbols["counter"].read("int") == 1

def test_a_function_of_the_hosted_library_is_mocked(lib, guest):
    printf = guest.mock("printf", returns=0)
    assert lib.parse("abc") == int.from_bytes(b"abc", "little")
    assert printf.call_count == 1
    assert guest.stdout == b""
    guest.mock("__assert_fail", side_effect=KeyError("not returned from"))
    with pytest.raises(KeyError):
        lib.check(0)

def test_malloc_is_mocked_however_often_it_ran(lib, guest):
    assert [lib.grab() for _ in range(3)] == [1, 1, 1]
    malloc, free = guest.mock("malloc", returns=0), guest.spy("free")
    assert [lib.grab(), malloc.calls, free.calls] == [0, [(8,)], [(0,)]]
    malloc.undo()
    free.undo()
    assert lib.grab() == 1

def test_what_cannot_be_mocked_is_told(lib, guest):
    with pytest.raises(MockError, match="neither calls nor defines a function read_adcs; it has read_adc"):
        guest.mock("read_adcs")
    with pytest.raises(MockError, match="is variadic"):
        guest.spy("printf")

def test_expected_errors(lib, guest):
    with guest.raises(GuestFault, symbol="parse", address=0, reason="read of unmapped memory"):
        lib.parse("x")
    assert guest.stdout == b"parsing x\\n"
    with guest.raises(GuestAbort, match="n > 0"):
        lib.check(0)
    with pytest.raises(pytest.fail.Exception, match="symbol of the error is 'parse', not 'check'"):
        with guest.raises(GuestFault, symbol="check"):
            lib.parse("x")
"""


def test_mocks_on_every_architecture(session: Session) -> None:
    result = session(TEXT)
    result.assert_outcomes(passed=TEXT.count("def test_") * len(ALL))


def test_a_function_with_copies_in_its_callers_is_refused(session: Session, pytester: pytest.Pytester) -> None:
    (pytester.path / "copies.c").write_text("""
static int often(int n) { return n * 7; }
int use(int n) { return often(n) + 1; }
__attribute__((noinline)) static int of(const volatile int *p) { return *p * 2; }
int read(const int *p) { return of(p) + 1; }
int (*pointer(void))(int) { return often; }
""")
    text = """
from emu import GuestFault
from emu.pytest_plugin.mocks import MockError
pytestmark = pytest.mark.relink(sources="copies.c")

def test_inlined(guest, lib):
    with pytest.raises(MockError, match="often was inlined into callers in copies.so"):
        guest.mock("often", returns=1)

def test_a_fault_in_a_static_function_has_its_name(guest, lib):
    with guest.raises(GuestFault, symbol="of", address=0) as caught:
        lib.read(None)
    assert [frame.symbol for frame in caught.value.backtrace[:2]] == ["of", "read"]

@pytest.mark.relink(cflags="-fno-inline")
def test_not_inlined(guest, lib):
    with guest.mock("often", returns=1) as often:
        assert lib.use(2) == 2
        assert often.calls == [(2,)]
    assert lib.use(2) == 15
"""
    session("import pytest\n" + text).assert_outcomes(passed=3 * len(ALL))


def test_a_mock_without_any_prototype_returns_only_what_every_abi_returns_alike(session: Session) -> None:
    text = """
from emu.pytest_plugin.mocks import MockError
pytestmark = pytest.mark.relink(sources="*.c", cflags="-g0")

def test_small(lib, guest):
    scaled = lib.function("scaled", "int(int)")
    adc = guest.mock("read_adc", returns=-2)
    assert scaled(3) == -6
    assert adc.calls == [()]
    adc.returns = 1.5
    with pytest.raises(MockError, match="needs the function's prototype"):
        scaled(3)
    assert guest.mock("read_adc", side_effect=lambda channel: channel).calls == []
    assert scaled(7) == 21
"""
    session("import pytest\n" + text).assert_outcomes(passed=len(ALL))
