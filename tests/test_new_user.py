"""The pytest plug-in as a new user has it: the wheel in a fresh environment, and nothing of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IN_THE_WHEEL = ("pyproject.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "NOTICE", "relink", "emu")
RING_C = "int add(int a, int b) { return a + b; }\n"
TEST = 'import pytest\n\npytestmark = pytest.mark.relink(sources="*.c")\n\n\ndef test_add(lib):\n    {}\n'
UNREACHABLE = re.compile(r"NewConnectionError|ConnectTimeout|NameResolutionError|No matching distribution found")

pytestmark = pytest.mark.network


def run(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )


@pytest.fixture(scope="module", params=["newest", "lowest"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, its extras `pytest` and `packages`, and pytest-xdist; what
    these need in the newest or the lowest versions that they allow.
    """
    if request.param == "lowest" and sys.version_info >= (3, 12):
        pytest.skip("the lowest versions are those of Python 3.11")
    place = tmp_path_factory.mktemp("new-user")
    limits = place / "constraints.txt"
    limits.write_text("".join(lowest_versions()) if request.param == "lowest" else "")
    source = place / "source"
    source.mkdir()
    for name in IN_THE_WHEEL:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    venv.create(place / "environment", with_pip=True)
    python = place / "environment" / "bin" / "python"
    pip(python, "wheel", "--no-deps", "--wheel-dir", str(place), str(source))
    (wheel,) = place.glob("*.whl")
    wanted = ("pytest-xdist", f"relink-emu[pytest,packages] @ {wheel.as_uri()}")
    pip(python, "install", "--constraint", str(limits), *wanted)
    shutil.rmtree(source)
    return python


def lowest_versions() -> Iterator[str]:
    """The lowest version that the project and its extras for users allow of each requirement, as constraints."""
    optional = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *optional["pytest"], *optional["packages"]]:
        requirement = Requirement(text)
        for bound in requirement.specifier:
            if bound.operator == ">=":
                yield f"{requirement.name}=={bound.version}\n"


def pip(python: Path, *words: str) -> None:
    done = run([str(python), "-m", "pip", "--quiet", *words], python.parent, os.environ)
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr


def output(python: Path, folder: Path, *words: str) -> str:
    """What Python prints in a folder, with an environment that knows nothing of this checkout."""
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {"HOME": str(home), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    return run([str(python), *words], folder, environment).stdout


def output_of_pytest(python: Path, folder: Path, *options: str) -> str:
    """The same of pytest."""
    return output(python, folder, "-m", "pytest", *options)


def test_five_lines_run_on_seven_architectures(python: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ring büffer"
    folder.mkdir()
    (folder / "ring.c").write_text(RING_C)
    (folder / "test_ring.py").write_text(TEST.format("assert lib.add(2, 3) == 5"))
    for options in ((), ("-n", "auto"), ("-p", "no:cacheprovider")):
        assert "7 passed" in output_of_pytest(python, folder, *options)
    (folder / "test_ring.py").write_text(TEST.format("assert lib.add(2, 3) == 6"))
    shown = output_of_pytest(python, folder, "-k", "riscv32")
    assert "last calls of the guest" in shown
    assert "add(2, 3) -> 5" in shown


def test_the_example_passes_without_the_checkout(python: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(ROOT / "examples" / "own_library", folder, ignore=shutil.ignore_patterns("__pycache__"))
    shown = output_of_pytest(python, folder, "-q", "-n", "auto")
    assert re.search(r"\b\d{3} passed", shown), shown
    assert "failed" not in shown
    assert "skipped" not in shown
    assert str(ROOT) not in shown
    assert sys.prefix not in shown


def test_the_updater_is_simulated_and_tested_without_the_checkout(python: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(ROOT / "examples" / "own_updater", folder, ignore=shutil.ignore_patterns("__pycache__"))
    shown = output(python, folder, "simulate.py", "--arch", "riscv32", "--report", "cuts.html")
    rows = [line.split() for line in shown.splitlines()]
    assert [row[5] for row in rows if row[:2] == ["SOUND", "riscv32"]] == ["0"]
    assert ["STARVES_WATCHDOG", "rv32imac"] in [row[:2] for row in rows]
    assert "<svg" in (folder / "cuts.html").read_text()
    tested = output_of_pytest(python, folder, "-n", "2", "-k", "riscv32 or HANGS")
    assert "4 passed" in tested, tested
    cut = "torn nor#1:program@0x60001200+512 (seed 0)"
    assert "1 passed" in output_of_pytest(python, folder, "--replay", cut, "-k", "HANGS")


def test_each_command_has_help_and_types_are_read(python: Path, tmp_path: Path) -> None:
    """Which takes Typer and pyelftools as they are in each version."""
    shown = output(python, tmp_path, "-m", "emu.cli", "--help")
    commands = re.findall(r"^  (\w+)  +[A-Z]", shown.partition("Commands:")[2], re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        assert f"Usage: relink-emu {command}" in output(python, tmp_path, "-m", "emu.cli", command, "--help")
    library = ROOT / "arch_fixtures" / "built" / "riscv64-gcc" / "basic-dwarf5.so"
    assert "double y;" in output(python, tmp_path, "-m", "emu.cli", "types", str(library), "point")
