"""`relink-emu call`, on every target."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures import ARCHES, fixture
from tests.grouping import each
from tests.objects.build import compiled, linked
from tests.real import real_library, real_root

from .conftest import RunCommand

pytestmark = pytest.mark.one_compiler

DEFINED = ("-D", "my_host_function=0x1000")


def test_results_are_printed_one_a_line_and_nothing_else(relink_emu: RunCommand, target: str) -> None:
    calls = ("add(2, 3)", "get_counter()", "apply(1, 10, 4)")
    result = relink_emu("call", fixture(target, "basic"), *DEFINED, *calls)
    assert (result.status, result.out) == (0, "5\n7\n6\n")
    guesses = [line.partition(":")[2].partition(":")[0].strip() for line in result.err.splitlines()]
    assert guesses == ["add", "get_counter", "apply"], "the prototype of each is a guess, and said to be"
    typed = ("int add(int, int)(2, 3)", "int get_counter(void)()")
    assert relink_emu("call", fixture(target, "basic"), *DEFINED, *typed).err == ""


def test_a_debug_file_with_another_checksum_is_said_to_be_none(relink_emu: RunCommand, tmp_path: Path) -> None:
    link = '__asm__(".section .gnu_debuglink,\\"\\";.asciz \\"f.debug\\";.balign 4;.long 1;.text");\n'
    built = linked("x86_64", [compiled("x86_64", link + "int f(void) { return 3; }\n", "-fPIC")])
    path = tmp_path / "lib.so"
    path.write_bytes(built.read_bytes())
    (tmp_path / "f.debug").write_bytes(b"of another build")
    result = relink_emu("call", path, "f()")
    assert result.out == "3\n"
    assert "in f.debug, of which no file with its checksum was found; called as" in result.err


def test_calls_share_one_machine(relink_emu: RunCommand, target: str) -> None:
    library = fixture(target, "basic")
    result = relink_emu("call", library, *DEFINED, "void set_counter(41)", "get_counter()", "bump_zeroed(1)")
    assert result.out == "41\n1\n"


def test_result_without_a_type_is_an_unsigned_word(relink_emu: RunCommand) -> None:
    def minus_one(target: str, call: str) -> str:
        return relink_emu("call", fixture(target, "basic"), *DEFINED, call).out

    assert minus_one("arm", "add(1, -2)") == "4294967295\n"
    assert minus_one("arm", "int add(1, -2)") == "-1\n"
    assert minus_one("riscv64", "add(1, -2)") == "18446744073709551615\n"


def test_types_come_from_dwarf_when_it_is_there(relink_emu: RunCommand, target: str) -> None:
    calls = (
        "a_double(1.5, 2.25)", 'a_string("hello", 2)', "a_long_long(-1, -5)", "nothing()", "a_bool(7)",
        "a_float(3)", "a_colour(0)", "a_pointer(NULL)",
    )  # fmt: skip
    result = relink_emu("call", fixture(target, "basic-dwarf"), *DEFINED, *calls)
    assert result.out.split("\n") == ["3.75", "llo", "-6", "1", "1.5", "5", "NULL", ""]


def test_prototype_option_serves_its_function_and_one_without_a_name_the_others(relink_emu: RunCommand) -> None:
    library = fixture("aarch64", "basic")
    prototypes = ("-p", "signed char add(int, int)", "-p", "short(int, int)")
    result = relink_emu("call", library, *DEFINED, *prototypes, "add(200, 0)", "apply(0)", "--json")
    assert result.status == 1  # apply is called with one argument where the prototype has two
    assert "apply" in result.json["error"]["message"] or "argument" in result.json["error"]["message"]
    report = relink_emu("call", library, *DEFINED, *prototypes, "add(200, 0)", "--json").json
    (called,) = report["calls"]
    assert (called["result"], called["result_type"], called["prototype_from"]) == (-56, "signed char", "option")


def test_symbols_of_the_library_are_addresses(relink_emu: RunCommand, target: str) -> None:
    library = fixture(target, "basic-dwarf")
    report = relink_emu("call", library, *DEFINED, "a_pointer(&counter)", "a_pointer(counter)", "--json").json
    base = int(report["calls"][0]["result"], 16)
    assert report["calls"][1]["result"] == hex(base) != "0x0"


def test_json_has_the_prototype_and_where_it_is_from(relink_emu: RunCommand) -> None:
    arguments = ("call", fixture("riscv32", "basic"), *DEFINED, "add(1, 2)", "int add(int, int)(1, 2)", "--json")
    report = relink_emu(*arguments).json
    assert report["arch"] == "riscv32"
    assert [(c["prototype"], c["prototype_from"], c["result"]) for c in report["calls"]] == [
        ("unsigned long add(long, long)", "arguments", 3),
        ("int add(int, int)", "expression", 3),
    ]


def test_integer_too_wide_for_a_long_is_a_long_long(relink_emu: RunCommand) -> None:
    library = fixture("i386", "basic-dwarf")
    call = "long long a_long_long(0x100000000, 0x100000000)"
    assert relink_emu("call", library, *DEFINED, call).out == f"{2 << 32}\n"


def test_what_the_guest_prints_comes_before_the_result_on_the_right_streams(
    relink_emu: RunCommand, target: str
) -> None:
    result = relink_emu("call", fixture(target, "libcuser"), "int use_printf(void)()")
    lines = result.out.splitlines()
    assert lines[-1].isdigit()
    assert "puts" in lines[:-1]
    assert "to stderr too" in result.err + result.out
    called = relink_emu("call", fixture(target, "libcuser"), "int use_printf(void)()", "--json").json["calls"][0]
    assert called["stdout"].rstrip("\n") == "\n".join(lines[:-1])
    assert called["stderr"] == result.err


def test_fault_is_reported_with_registers_and_backtrace(relink_emu: RunCommand, target: str) -> None:
    library = fixture(target, "faults")
    result = relink_emu("call", library, "-D", "host_callback=0", "survivor(1)", "nested_fault(3)", "survivor(2)")
    assert (result.status, result.out) == (1, "2\n")
    assert "read of unmapped memory" in result.err
    assert "nested_fault" in result.err
    error = relink_emu("call", library, "-D", "host_callback=0", "nested_fault(3)", "--json").json["error"]
    assert (error["type"], error["reason"]) == ("GuestFault", "READ_UNMAPPED")
    assert list(error["registers"].values())[-1].startswith("0x")
    assert int(error["pc"], 16) & ~1 == int(error["frame"]["address"], 16) & ~1
    assert "nested_fault" in {frame["symbol"] for frame in error["backtrace"]}


@each("limit", [("--max-instructions", "10000"), ("--timeout", "0.2")])
def test_runaway_guest_is_stopped(relink_emu: RunCommand, target: str, limit: tuple[str, str]) -> None:
    result = relink_emu("call", fixture(target, "faults"), "-D", "host_callback=0", *limit, "loop_forever()")
    assert result.status == 1
    assert "stopped after" in result.err
    assert "loop_forever" in result.err


def test_unresolved_function_is_named_when_it_is_reached(relink_emu: RunCommand, target: str) -> None:
    library = fixture(target, "basic")
    result = relink_emu("call", "--allow-unresolved", library, "add(1, 2)", "awesome_func(1)")
    assert (result.status, result.out) == (1, "3\n")
    assert "call of unresolved symbol my_host_function" in result.err


def test_guest_that_exits_is_an_error_that_says_so(relink_emu: RunCommand) -> None:
    result = relink_emu("call", fixture("x86_64", "libcuser"), "void call_exit(3)")
    assert result.status == 1
    assert "the guest exited with status 3" in result.err


def test_ifunc_is_called_through_its_resolver(relink_emu: RunCommand, target: str) -> None:
    library = fixture(target, "ifunc")
    symbols = relink_emu("inspect", library, "--json").json["symbols"]
    name = next(symbol["name"] for symbol in symbols if symbol["type"] == "GNU_IFUNC" and symbol["defined"])
    assert relink_emu("call", library, f"{name}(1, 2)").status == 0


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("add(1", "ends with its arguments"),
        ("strange add(1)", "unknown type name 'strange'"),
        ("int add(int, strange)(1, 2)", "unknown type name 'strange'"),
        ("add(1,,2)", "argument is missing"),
    ],
)
def test_malformed_call_is_a_usage_error(relink_emu: RunCommand, call: str, problem: str) -> None:
    result = relink_emu("call", fixture("arm", "basic"), *DEFINED, "add(1, 2)", call)
    assert (result.status, result.out) == (2, "")
    assert problem in result.err


@pytest.mark.parametrize("prototypes", [["int("], ["int(int)", "long(int)"], ["int f(int)", "long f(int)"]])
def test_prototypes_that_do_not_parse_or_agree_are_usage_errors(
    relink_emu: RunCommand, prototypes: list[str]
) -> None:
    options = [part for text in prototypes for part in ("-p", text)]
    result = relink_emu("call", fixture("arm", "basic"), *DEFINED, *options, "add(1, 2)")
    assert result.status == 2
    assert "--prototype" in result.err


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("nowhere(1)", "undefined symbol: nowhere"),
        ("add(&nowhere, 1)", "undefined symbol: nowhere"),
        ("int add(int, int)(1, 4294967296)", "4294967296"),
        ("int add(int, int)(1)", "argument"),
        ('int add(int, int)(1, "x")', "argument"),
    ],
)
def test_call_that_cannot_be_made_fails(relink_emu: RunCommand, call: str, problem: str) -> None:
    result = relink_emu("call", fixture("arm", "basic"), *DEFINED, call)
    assert (result.status, result.out) == (1, "")
    assert problem in result.err


@pytest.mark.parametrize("arch", ARCHES)
def test_zlib_of_debian_computes_the_checksum_everybody_knows(relink_emu: RunCommand, arch: str) -> None:
    real_library(arch, "libz.so.1")
    result = relink_emu(
        "call", "--arch", arch, "--sysroot", real_root(arch), "libz.so.1", 'crc32(0, "123456789", 9)'
    )
    assert (result.status, result.out) == (0, "3421780262\n")


def test_static_functions_are_warned_of_or_refused(relink_emu: RunCommand) -> None:
    source = """
    static __attribute__((noinline)) int add(int a, int b) { return a * 3 + b; }
    int entry(int a) { return add(a, a + 1); }
    """
    call = "int add(int, int)(2, 3)"
    result = relink_emu("call", compiled("x86_64", source), call)
    assert (result.status, result.out) == (0, "9\n")
    assert "is static, and without debug information nothing tells" in result.err
    result = relink_emu("call", compiled("i386", source, "-g"), call)
    assert (result.status, result.out) == (1, "")
    assert "add is static, and the compiler passes a in ecx, not on the stack" in result.err
