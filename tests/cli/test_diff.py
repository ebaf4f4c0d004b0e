"""`diff`: what users of a library can see of a newer version."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.fixtures import fixture
from tests.objects.build import compiled, linked

from .conftest import RunCommand

OLD = """
struct point { int x, y; };
struct hidden;
enum colour { RED, GREEN };
struct point table[3];
__thread int per_thread;
int add(int a, int b) { return a + b; }
int norm(struct point *p) { return p->x; }
enum colour next(enum colour c) { return c + 1; }
int of(struct hidden *h) { return h != 0; }
int name(const char *s) { return *s; }
"""
#: A change of the source: (old text, new text, what is told of it).
INCOMPATIBLE = {
    "parameter": ("int add(int a", "int add(short a", "was int add(int a, int b), is int add(short a, int b)"),
    "result": ("int norm", "char norm", "was int norm(struct point *p), is char norm(struct point *p)"),
    "count": ("int a, int b", "int a, int b, int c", "is int add(int a, int b, int c)"),
    "member moved": ("int x, y", "int y, x", "member x was at offset 0, is at offset 4"),
    "member gone": ("int x, y", "int x, z", "member y (int) is gone"),
    "member's type": ("int x, y", "int x; float y", "member y was int, is float"),
    "bit-field": ("int x, y", "int x, y : 8", "is at bit 32 with a width of 8"),
    "larger": ("int x, y", "int x, y, z", "its size was 8 bytes, is 12 bytes"),
    "enumerator": ("RED, GREEN", "RED, BLUE, GREEN", "GREEN was 1, is 2"),
    "function gone": ("int add(", "int sum(", "removed  function add"),
    "variable's size": ("table[3]", "table[4]", "its size was 24 bytes, is 32 bytes"),
    "thread-local type": ("__thread int", "__thread float", "was int, is float"),
    "no longer thread-local": ("__thread int", "int", "is a variable now"),
    "function to variable": ("int name(const char *s) { return *s; }", "int name;", "is a variable now"),
}
COMPATIBLE = {
    "constness": ("const char *s", "char *s", "was int name(const char *s), is int name(char *s)"),
    "function": ("int add(", "int fresh(void) { return 1; }\nint add(", "added    function fresh"),
    "enumerator": ("RED, GREEN", "RED, GREEN, BLUE", "BLUE = 2 is new"),
    "import": ("return a + b", "extern int other(void); return a + b + other()", "added    import other"),
}
SAME = {
    "name of a scalar": ("int add(int a", "typedef int whole; whole add(whole a"),
    "name of a parameter": ("int a, int b) { return a + b", "int m, int n) { return m + n"),
    "opaque type defined": ("struct hidden;", "struct hidden { int a; };"),
    "body": ("return p->x", "return p->x + p->y"),
}


def changed(arch: str, old: str = "", new: str = "") -> str:
    assert old in OLD
    return str(compiled(arch, OLD.replace(old, new, 1) if old else OLD, "-g"))


@pytest.mark.parametrize("arch", ["x86_64", "riscv32"])
@pytest.mark.parametrize("case", INCOMPATIBLE)
def test_what_breaks_users_is_incompatible(relink_emu: RunCommand, arch: str, case: str) -> None:
    old, new, told = INCOMPATIBLE[case]
    result = relink_emu("diff", changed(arch), changed(arch, old, new))
    assert result.status == 12, result.out
    assert told in result.out
    assert "INCOMPATIBLE" in result.out


@pytest.mark.parametrize("case", COMPATIBLE)
def test_what_is_added_is_compatible(relink_emu: RunCommand, case: str) -> None:
    old, new, told = COMPATIBLE[case]
    result = relink_emu("diff", changed("aarch64"), changed("aarch64", old, new))
    assert result.status == 4, result.out
    assert told in result.out


@pytest.mark.parametrize("case", SAME)
def test_what_users_cannot_see_is_no_difference(relink_emu: RunCommand, case: str) -> None:
    result = relink_emu("diff", changed("arm"), changed("arm", *SAME[case]))
    assert (result.status, "do not differ" in result.out) == (0, True), result.out


def test_a_changed_type_names_the_exports_that_use_it(relink_emu: RunCommand) -> None:
    facts = relink_emu("diff", changed("i386"), changed("i386", "int x, y", "int y, x"), "--json").json
    assert [(each["subject"], each["users"]) for each in facts["differences"]] == [
        ("struct point", ["norm", "table"])
    ]


def test_versions_of_symbols_are_compared(relink_emu: RunCommand) -> None:
    """A default version may become an old one, and a symbol without a version a default one; not the reverse."""

    def told(old: str, new: str) -> tuple[int, dict[str, str]]:
        files = (fixture("riscv64-gcc", f"versions/{name}/libversions") for name in (old, new))
        result = relink_emu("diff", *files, "--json")
        return result.status, {each["subject"]: each["change"] for each in result.json["differences"]}

    assert told("v1", "v2") == (
        4,
        {
            "function versioned@@V1": "changed",
            "function versioned@@V2": "added",
            "function added_in_v2@@V2": "added",
        },
    )
    status, back = told("v2", "v1")
    assert status == 12
    assert {subject for subject, change in back.items() if change == "removed"} == {
        "version V2", "function versioned@@V2", "function added_in_v2@@V2",
    }  # fmt: skip
    assert told("none", "v2")[0] == 4
    assert told("v2", "none")[0] == 12


def test_the_soname_and_relocations_are_compared(relink_emu: RunCommand) -> None:
    old, new = (linked("arm", [compiled("arm", OLD, "-fPIC")], f"-soname=lib.so.{number}") for number in (1, 2))
    result = relink_emu("diff", old, new)
    assert result.status == 12
    assert "was lib.so.1, is lib.so.2" in result.out
    pointer = OLD.replace("struct hidden;", "struct hidden; int v; int *at = &v;", 1)
    other = linked("arm", [compiled("arm", pointer, "-fPIC")], "-soname=lib.so.1")
    assert "R_ARM_ABS32: 0 -> 1" in relink_emu("diff", old, other).out


def test_without_debug_information_it_says_so(relink_emu: RunCommand) -> None:
    plain = str(compiled("x86_64", OLD))
    result = relink_emu("diff", plain, plain)
    assert result.status == 0
    assert "types were not compared" in result.out
    assert relink_emu("diff", plain, plain, "--json").json["typed"] is False


@pytest.mark.parametrize(
    ("other", "problem"),
    [(lambda: changed("arm"), "is for arm, not x86_64"), (lambda: "/no/such/file.so", "no such file")],
)
def test_files_that_cannot_be_compared(relink_emu: RunCommand, other: object, problem: str) -> None:
    result = relink_emu("diff", changed("x86_64"), other())  # type: ignore[operator]
    assert result.status == 1
    assert problem in result.err.lower()


@pytest.mark.skipif(shutil.which("abidiff") is None, reason="needs abidiff, of Debian's abigail-tools")
@pytest.mark.parametrize("case", [*INCOMPATIBLE, *COMPATIBLE])
def test_what_abidiff_calls_a_change_is_one(relink_emu: RunCommand, case: str) -> None:
    old, new, _ = {**COMPATIBLE, **INCOMPATIBLE}[case]
    files = [
        linked("x86_64", [compiled("x86_64", text, "-g", "-fPIC")], "-soname=libold.so")
        for text in (OLD, OLD.replace(old, new, 1))
    ]
    theirs = subprocess.run(["abidiff", *files], capture_output=True, check=False).returncode
    assert bool(theirs & 4) <= bool(relink_emu("diff", *files).status & 4)
