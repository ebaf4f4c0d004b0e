"""The walls of the house: `relink` knows no CPU, and each engine is imported in one file of `emu/cpu`."""

from __future__ import annotations

import ast
import functools
import gc
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE_FILES = {"unicorn": "emu/cpu/unicorn/library.py", "icicle": "emu/cpu/icicle/engine.py"}
ENGINES = tuple(ENGINE_FILES)
PACKAGES = ("relink", "emu", "toolchains")
FOREIGN = {"emu", "capstone", "keystone", *ENGINES}


@pytest.fixture(autouse=True, scope="module")
def without_collections() -> Iterator[None]:
    """The trees of all files are kept; the collector would look at them again and again."""
    gc.disable()
    yield
    gc.enable()


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    """What imports or is a function, at any depth of a file."""
    kinds = (ast.Import, ast.ImportFrom, ast.Call, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """Top-level names of everything a file imports, at any depth, `TYPE_CHECKING` included."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and _called(node).endswith(("import_module", "__import__")):
            yield from (str(arg.value).partition(".")[0] for arg in node.args if isinstance(arg, ast.Constant))


def _called(node: ast.Call) -> str:
    """The last word of what is called."""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


#: The rooms of each package (folders, and files at its top), lowest first. A file imports from its own room and
#: from rooms on lower rows, whatever the kind of import: module-level, function-local or for type checking.
ROOMS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "relink": (
        ("errors", "arrays", "log", "records"),
        ("arch",),
        ("elf",),
        ("memory",),
        ("objects",),
        ("module",),
        ("tls",),
        ("resolve",),
        ("relocate",),
        ("link_map", "core_dump"),
        ("link_map_builder",),
        ("export",),
        ("image",),
        ("search",),
        ("events",),
        ("load",),
        ("linker",),
    ),
    "emu": (
        ("isa",),
        ("cpu",),
        ("errors",),
        ("build",),
        ("fetch",),
        ("ports",),
        ("memory",),
        ("calls",),
        ("run",),
        ("host",),
        ("debug",),
        ("load",),
        ("parts",),
        ("personality",),
        ("saved",),
        ("libc",),
        ("linux",),
        ("patch",),
        ("handles",),
        ("library",),
        ("observed",),
        ("snapshot",),
        ("patched",),
        ("debugged",),
        ("machine",),
        ("boards",),
        ("differential",),
        ("fuzz",),
        ("cli",),
        ("pytest_plugin",),
    ),
}


@functools.cache
def project_imports(path: Path) -> frozenset[str]:
    """Dotted names of the project's modules a file imports, at any depth and whatever the kind of import."""
    return frozenset(_project_imports(path))


def _project_imports(path: Path) -> Iterator[str]:
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if is_module(submodule) else node.module


@functools.cache
def is_module(dotted: str) -> bool:
    path = ROOT / dotted.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def dotted_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def upward_imports(package: str) -> set[str]:
    row = {room: number for number, rooms in enumerate(ROOMS[package]) for room in rooms}
    found = set()
    for path in modules_of(package):
        importer = dotted_name(path)
        if "." not in importer:
            continue  # the package's own __init__ offers names of every room
        room = importer.split(".")[1]
        for imported_name in project_imports(path):
            parts = imported_name.split(".")
            if parts[0] != package or len(parts) == 1 or parts[1] == room:
                continue
            if row[parts[1]] >= row[room]:
                found.add(f"{importer} -> {imported_name}")
    return found


@pytest.mark.parametrize("package", ROOMS)
def test_no_file_imports_from_a_room_above_its_own(package: str) -> None:
    assert upward_imports(package) == set()


def modules_in_circles(package: str) -> set[str]:
    """Modules that reach themselves by imports of any kind: module-level, function-local, for type checking."""
    graph = {dotted_name(path): project_imports(path) - {dotted_name(path)} for path in modules_of(package)}
    return {name for name in graph if name in reached(graph, graph[name])}


def reached(graph: Mapping[str, Set[str]], first: Set[str]) -> set[str]:
    """The modules that imports lead to from `first`."""
    found, pending = set[str](), set(first)
    while pending:
        found |= pending
        pending = set().union(*(graph.get(name, set()) for name in pending)) - found
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_no_imports_lead_in_a_circle(package: str) -> None:
    assert modules_in_circles(package) == set()


MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_AT_THE_TOP = 400, 50, 12


def too_long(package: str) -> set[str]:
    """Files, but for generated ones, and functions above the limits."""
    found = set()
    for path in modules_of(package):
        text = path.read_text()
        name = str(path.relative_to(ROOT))
        if text.count("\n") > MOST_LINES and not path.name.startswith("generated_"):
            found.add(name)
        for node in nodes_of(path):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_FUNCTION:
                found.add(f"{name}: {node.name}")
    return found


@pytest.mark.parametrize("package", [*PACKAGES, "tests", "tools", "benchmarks", "examples"])
def test_no_file_and_no_function_is_too_long(package: str) -> None:
    assert too_long(package) == set()


@pytest.mark.parametrize("package", ROOMS)
def test_the_top_of_a_package_is_taken_in_at_a_glance(package: str) -> None:
    files = list((ROOT / package).glob("*.py"))
    assert len(files) <= MOST_AT_THE_TOP


@pytest.mark.parametrize("package", ROOMS)
def test_every_file_and_folder_is_a_room(package: str) -> None:
    top = {
        path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert top - {"__init__"} == {room for rooms in ROOMS[package] for room in rooms}


def test_no_file_of_relink_imports_a_cpu() -> None:
    users = {dotted_name(path): FOREIGN & imported(path) for path in modules_of("relink")}
    assert {name: foreign for name, foreign in users.items() if foreign} == {}


@pytest.mark.parametrize(("engine", "user"), {**ENGINE_FILES, "keystone": "emu/patch/assemble.py"}.items())
def test_an_engine_is_imported_in_exactly_one_file(engine: str, user: str) -> None:
    users = [path for path in modules_of("emu") if engine in imported(path)]
    assert users == [ROOT / user]


def test_tests_that_assemble_skip_where_keystone_is_missing() -> None:
    users = [path for package in ("tests", "docs") for path in modules_of(package) if "keystone" in imported(path)]
    assert users == []


def test_nothing_above_emu_cpu_names_an_engine() -> None:
    above = [path for path in modules_of("emu") if "cpu" not in path.relative_to(ROOT / "emu").parts]
    assert not [path for path in above if set(ENGINES) & imported(path)]


def run_alone(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def test_every_module_of_relink_is_imported_without_any_of_them() -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules_of("relink")]
    names = [name.removesuffix(".__init__") for name in names]
    load = f"import importlib, json, sys; [importlib.import_module(name) for name in {names!r}]"
    code = f"{load}; print(json.dumps(list(sys.modules)))"
    loaded = {name.partition(".")[0] for name in json.loads(run_alone(code))}
    assert not FOREIGN & loaded


def test_relink_alone_links_a_library() -> None:
    """With every foreign package made impossible to import."""
    code = f"""
import sys
for name in {sorted(FOREIGN)!r}:
    sys.modules[name] = None
from relink.linker import Linker
from relink.memory.address_space import HostMemory
image = Linker(HostMemory("riscv64")).load("arch_fixtures/built/riscv64-gcc/deps/libleaf.so")
print(hex(image.symbol("leaf").address))
"""
    assert int(run_alone(code), 16) > 0x40_0000_0000
