"""What `--json` prints has the shape docs/cli.md documents: no field undocumented, every type as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import fixture
from tests.objects.build import archived, compiled
from tests.toolcache import text_file

from .conftest import RunCommand, needing_the_c_library

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
_ROW = re.compile(r"^\| `(?P<path>[^`]+)` \| (?P<types>[^|]+) \|")
_HEADING = re.compile(r"^### (?P<schema>relink-emu/\w+/\d+)$")
_TYPES: dict[str, Callable[[Any], object]] = {
    "string": lambda v: isinstance(v, str),
    "address": lambda v: isinstance(v, str) and re.fullmatch("0x[0-9a-f]+", v),
    "integer": lambda v: type(v) is int,
    "number": lambda v: type(v) in (int, float),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
}


#: Types of each kind, and a result that is a list.
TYPES = """
struct mixed { char first; int wide : 3; double last; };
typedef struct mixed mixed_t;
enum colour { RED, GREEN = 5 };
double _Complex turned(double _Complex z) { return -z; }
int used(mixed_t *mixed, enum colour colour) { return mixed->wide + colour; }
"""


#: A function that ends differently, and one that is not tested.
DIFFERING = "int divide(int a, int b) { return a / b; }\nlong double wide(long double x) { return x; }\n"


#: A function that fails on every input.
FAILING = "int parse(const char *data, unsigned long size) { return *(volatile int *)8; }\n"


@cache
def documented() -> dict[str, dict[str, list[str]]]:
    """schema -> path -> types."""
    schemas: dict[str, dict[str, list[str]]] = {}
    fields: dict[str, list[str]] = {}
    for line in DOCUMENT.read_text().splitlines():
        if heading := _HEADING.match(line):
            fields = schemas.setdefault(heading["schema"], {})
        elif row := _ROW.match(line):
            fields[row["path"]] = re.split(r", | or ", row["types"].strip())
    return schemas


def leaves(value: Any, path: str, known: dict[str, list[str]]) -> Iterator[tuple[str, Any]]:
    """Every scalar with its path, as the document writes paths; keys of a free object are `*`."""
    if isinstance(value, list):
        for item in value:
            yield from leaves(item, f"{path}[]", known)
    elif isinstance(value, dict):
        free = any(p.startswith(f"{path}.*") for p in known)
        for key, item in value.items():
            inner = "*" if free else key
            yield from leaves(item, f"{path}.{inner}" if path else inner, known)
    else:
        yield path, value


def object_samples(folder: Path) -> list[tuple[str, ...]]:
    """The same for objects and archives."""
    comdat = [str(fixture("riscv64-gcc", f"objects/comdat_{name}")) for name in "ab"]
    archive = str(fixture("arm", "objects/libchain"))
    return [
        ("map", comdat[0], "--with", comdat[1], "--allow-unresolved"),
        ("map", str(fixture("aarch64", "objects/commons"))),
        ("map", str(fixture("i386", "basic")), "--all", "-D", "my_host_function=0"),
        ("map", str(fixture("riscv64", "objects/pic/calls")), "--allow-unresolved"),
        ("report", archive, str(archive_with(folder, b"no object")), str(fixture("x86_64", "objects/words"))),
        ("inspect", str(archive_with(folder, b"no object"))), ("inspect", archive),
        ("inspect", str(compiled("x86_64", "module.c"))),
        *(("link", str(compiled("x86_64", "int f(void) { return 1; }\n")), "--region", "ram=0x1000,64K",
           "-o", str(folder / "linked.elf"), *entry) for entry in ((), ("-e", "f"))),
    ]  # fmt: skip


def archive_with(folder: Path, content: bytes) -> Path:
    """An archive of an object of C++ and of something else."""
    other = folder / "other.txt"
    other.write_bytes(content)
    path = folder / "mixed.a"
    return path if path.exists() else archived(path, [fixture("x86_64", "objects/comdat_a"), other])


def odd_file(folder: Path, *, loadable: bool = True) -> Path:
    """A shared object with notes, links to debug information, and something to warn of; or one of another
    system."""
    from tests.elf.build_notes import linked_to_debug

    path = folder / ("odd.so" if loadable else "unloadable.so")
    path.write_bytes(linked_to_debug() if loadable else linked_to_debug()[:7] + b"\x09" + linked_to_debug()[8:])
    return path


def fetched(folder: Path) -> Path:
    """A cache of libraries that has one package."""
    (folder / "riscv64").mkdir()
    row = {"version": "1.3", "origin": "zlib1g.deb", "sha256": "00", "libraries": {}}
    (folder / "riscv64" / "packages.json").write_text(json.dumps({"zlib1g": row}))
    return folder


def samples(folder: Path) -> list[tuple[str, ...]]:
    """Command lines whose output has every documented field at least once."""
    deps = fixture("riscv64", "deps/libtop")
    ctors = fixture("x86_64", "startup/app")
    return [
        ("load", str(needing_the_c_library(folder))), ("load", str(fixture("arm", "libcuser"))),
        ("load", str(deps), "-L", str(deps.parent)),
        ("load", str(fixture("loongarch64", "tls_static"))), ("load", str(ctors), "-L", str(ctors.parent)),
        ("call", str(fixture("aarch64", "basic-dwarf")), "-D", "my_host_function=0", "add(1, 2)",
         "a_double(1, 2)", "nothing()", 'a_string("x", 0)', "a_pointer(NULL)", "point_by_value({1, 2})"),
        ("call", str(compiled("x86_64", TYPES, "-g")), "turned({1, 2})"),
        ("types", str(compiled("x86_64", TYPES, "-g"))),
        ("diff", *(str(compiled("x86_64", TYPES.replace("first", name), "-g")) for name in ("first", "one"))),
        ("test", str(text_file(DIFFERING, ".c")), "-a", "aarch64,riscv64", "--examples", "5"),
        ("fuzz", str(compiled("x86_64", FAILING, "-g")), "parse", "--executions", "2",
         "--crashes", str(folder / "crashes")),
        ("diff", str(fixture("arm", "basic")), str(fixture("arm", "libcuser"))),
        ("call", str(fixture("riscv64", "deps/libtop")), "-L", str(deps.parent), "--audit", "top()"),
        ("inspect", str(fixture("i386", "tls_static"))), ("inspect", str(fixture("arm", "ctors"))),
        ("inspect", str(fixture("riscv64", "versions/client_v2"))),
        ("inspect", str(fixture("riscv64", "versions/v2/libversions"))),
        ("inspect", str(deps)), ("inspect", str(fixture("x86_64", "exe/pie"))),
        ("tree", str(fixture("arm", "deps/needs_missing"))), ("tree", str(deps), "-L", str(deps.parent)),
        ("tree", str(deps), "-L", str(deps.parent), "--preload", str(fixture("riscv64", "interposer"))),
        ("load", str(odd_file(folder))), ("inspect", str(odd_file(folder))),
        ("inspect", str(odd_file(folder, loadable=False))),
        ("arches",), *object_samples(folder),
        ("fetch", "zlib1g", "--arch", "riscv64", "--cache", str(fetched(folder))),
        ("fetch", "libssl3t64", "--arch", "riscv32", "--cache", str(folder)),
    ]  # fmt: skip


def test_every_field_is_documented_with_its_type_and_every_documented_field_occurs(
    relink_emu: RunCommand, tmp_path: Path
) -> None:
    seen: dict[str, set[str]] = {}
    for command in samples(tmp_path):
        report = relink_emu(*command, "--json").json
        schema = report.pop("schema")
        assert all(isinstance(text, str) for text in report["warnings"]), "a list of strings in all of them"
        if "warnings[]" not in documented()[schema]:
            del report["warnings"]
        known = documented()[schema]
        for path, value in leaves(report, "", known):
            assert path in known, f"{schema}: {path} is not documented"
            assert any(_TYPES[kind](value) for kind in known[path]), f"{schema}: {path} is {value!r}"
            seen.setdefault(schema, set()).add(path)
    for schema, known in documented().items():
        if schema != "relink-emu/error/1":
            never = {path for path in known if path not in seen.get(schema, set())}
            assert {path for path in never if not path.startswith("sections[]")} == set()


@pytest.mark.parametrize(
    "command", [("load", "/no/such.so"), ("load", "--arch", "vax", "x.so"), ("call", "/no/such.so", "f(")]
)
def test_errors_have_the_documented_fields(relink_emu: RunCommand, command: tuple[str, ...]) -> None:
    result = relink_emu(*command, "--json")
    report = result.json
    assert report["schema"] == "relink-emu/error/1"
    assert report["status"] == result.status
    assert {"type", "message"} <= set(report["error"])
