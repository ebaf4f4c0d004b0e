"""What `relink` and `emu` offer: every documented name from the package itself, imported when it is asked for."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from textwrap import dedent
from types import FunctionType, ModuleType

import pytest

import emu
import relink
from tests.test_layering import run_alone

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*.py"))]
_BLOCK = re.compile(r"(?:^    .*\n(?:\n(?=    ))?)+|^```python\n(?:.*\n)*?^```", re.M)


@pytest.mark.parametrize("package", [relink, emu], ids=lambda package: package.__name__)
def test_every_name_is_there_and_explained(package: ModuleType) -> None:
    for name in package.__all__:
        value = getattr(package, name)
        assert value.__doc__ or not isinstance(value, (type, FunctionType)), name
    assert package.__all__ == sorted(set(package.__all__))
    assert set(package.__all__) <= set(dir(package))


def imports(text: str) -> set[str]:
    try:
        tree = ast.parse(dedent(text))
    except SyntaxError:
        return set()  # a shell command, or what one prints
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return names | {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


#: Packages inside `emu` whose names are public too.
PUBLIC_PARTS = {"emu.boards", "emu.boards.peripherals", "emu.boards.power", "emu.fuzz"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_documentation_and_examples_import_from_the_packages_themselves(page: Path) -> None:
    text = page.read_text()
    blocks = _BLOCK.findall(text) if page.suffix == ".md" else [text]
    found = set().union(*(imports(re.sub(r"^```.*", "", block, flags=re.M)) for block in blocks))
    assert {name for name in found if re.match(r"(relink|emu)\.", name)} - PUBLIC_PARTS == set()


@pytest.mark.parametrize("package", ["relink", "emu"])
def test_the_package_alone_imports_no_part_of_it(package: str) -> None:
    parts = f"[name for name in sys.modules if name.startswith(('{package}.', 'numpy'))]"
    code = f"import sys, {package}; dir({package}); print({parts})"
    assert run_alone(code).strip() == "[]"


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    assert not hasattr(emu, "Mashine")
    assert not hasattr(relink, "Linquer")
