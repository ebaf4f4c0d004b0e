"""A real shared object that leans on the hosted library, on every target."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from emu import Library, Machine
from emu.errors import GuestAbort, GuestExit
from tests.fixtures import arch_of, fixture
from tests.grouping import each


@pytest.fixture
def machine(target: str) -> Iterator[Machine]:
    path = fixture(target, "libcuser")
    with Machine(arch_of(target), library_path=[path.parent], environment={"HOME": "/guest"}) as machine:
        yield machine


@pytest.fixture
def library(machine: Machine, target: str) -> Library:
    return machine.load(fixture(target, "libcuser"))


_SCORES = {
    "use_malloc(1000)": 499500,
    "use_aligned()": 0,
    "use_sort()": 12345794,
    "strtol_overflow()": 34,
    "use_ctype_tables()": 7,
    "set_errno(12)": 12,
    "guarded(5)": 5,
}


@each("call", _SCORES)
def test_functions_of_integers_give_their_results(library: Library, call: str) -> None:
    match = re.fullmatch(r"(\w+)\((\d*)\)", call)
    assert match is not None
    name, argument = match.groups()
    args = [int(argument)] if argument else []
    assert library.function(name, f"long({'int' if args else 'void'})")(*args) & 0xFFFF_FFFF == _SCORES[call]


def test_strings(library: Library) -> None:
    # Lengths and offsets, 5 truths, 2 + 2 + 3, 3 tokens, and the overlapping move.
    expected = 17 + 500 + 10_000 + 100_000 + 5 + 7 + 3_000_000 + 10_000_001
    assert library.function("use_strings", "int(void)")() == expected


def test_printing(machine: Machine, library: Library) -> None:
    pointer_free = (
        b"-42    42|42   |00042 ff 0XFF 10 q text tru %\n"
        b"-5000000000 18446744073709551615 -7 9 44 0x1234\n"
        b"3.500000 0.67 1.234568e+04 0.0001 +1.2      7\n"
    )
    written = library.function("use_printf", "int(void)")()
    output = machine.libc.stdout.getvalue()
    assert output.startswith(pointer_free.replace(b"42   |", b"42   |"))
    assert output[len(pointer_free) :] == b"puts\ncfputs\nraw\0bytes"
    assert machine.libc.stderr.getvalue() == b"to stderr too\n"
    assert written == len(pointer_free) + len(b"to stderr too\n")


def test_formatted_text_stays_inside_its_buffer(library: Library) -> None:
    out = bytearray(64)
    count = library.function("use_snprintf", "int(char *, size_t, int, double)")(out, 64, -3, 2.0005)
    assert out[:count] == b"<-3:2.001:end>" or out[:count] == b"<-3:2.000:end>"
    count = library.function("use_vsnprintf", "int(char *, size_t)")(out, 64)
    assert out[:count] == b"key=5 6000000000 7.5"


def test_scanning(library: Library) -> None:
    assert library.function("use_sscanf", "int(const char *)")("12 -5") == 2007


def test_numbers_are_parsed(library: Library) -> None:
    expected = -123 + 1000 + 16 + 7 + 1 + 63 + 5 + 27
    assert library.function("use_strtol", "int(void)")() == expected


def test_characters_are_classified(library: Library) -> None:
    assert library.function("use_ctype", "int(const char *)")("ab 12!") == 2 + 100 + 20 + 1000 + 30000


def test_the_environment_and_messages(machine: Machine, library: Library) -> None:
    environment = library.function("environment", "char *(const char *)")
    assert machine.memory.read_cstring(environment("HOME")) == b"/guest"
    assert environment("NONE") == 0
    message = library.function("describe_error", "char *(int)")(2)
    assert machine.memory.read_cstring(message) == b"No such file or directory"


def test_a_huge_allocation_is_null(library: Library) -> None:
    assert library.function("malloc_huge", "void *(void)")() == 0


def test_fortified_calls_check_sizes(machine: Machine, library: Library) -> None:
    use_fortify = library.function("use_fortify", "int(size_t)")
    assert use_fortify(32) == ord("0") + ord("0") + 5 + 4 + 12 + 2
    assert machine.libc.stdout.getvalue() == b"fortified 1\nf\n"
    with pytest.raises(GuestAbort, match="buffer overflow detected"):
        use_fortify(33)


@each(
    ("name", "message"),
    [
        ("double_free", "double free"),
        ("call_abort", r"abort\(\) called"),
        ("smash_stack", "stack smashing"),
        ("failed_assertion", "libcuser.c:42: failed_assertion: Assertion `1 == 2' failed"),
    ],
)
def test_misuse_ends_in_an_abort_and_the_machine_goes_on(library: Library, name: str, message: str) -> None:
    with pytest.raises(GuestAbort, match=message):
        library.function(name, "int(void)")()
    assert library.function("guarded", "int(int)")(7) == 7


def test_exit_runs_the_handlers(machine: Machine, library: Library) -> None:
    assert library.function("register_at_exit", "int(void)")() == 0
    with pytest.raises(GuestExit) as caught:
        library.function("call_exit", "void(int)")(3)
    assert caught.value.status == 3
    assert machine.libc.stdout.getvalue() == b"at exit\n"
