"""The package can be installed on every kind of host it is for: wheels exist for all it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from emu import Machine
from emu.cpu import create
from relink.errors import MachineError
from tests.grouping import each

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: A host: what `platform_machine` and `sys_platform` are there, and the wheel tags its pip takes.
HOSTS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "linux-aarch64": ("aarch64", "linux", tuple(f"manylinux_2_{minor}_aarch64" for minor in (17, 27, 28))),
    "linux-x86_64": ("x86_64", "linux", tuple(f"manylinux_2_{minor}_x86_64" for minor in (5, 12, 17, 27, 28))),
    "macos-arm64": ("arm64", "darwin", ("macosx_11_0_arm64", "macosx_12_0_arm64", "macosx_14_0_arm64")),
}
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def needed_on(machine: str, platform: str, extras: tuple[str, ...] = ()) -> list[str]:
    """The requirements that hold on such a host, extras of the project's own resolved, markers left out."""
    here = {str(key): str(value) for key, value in default_environment().items()}
    there = {**here, "platform_machine": machine, "sys_platform": platform, "extra": ""}
    optional = PROJECT["optional-dependencies"]
    found = []
    for text in [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            found += needed_on(machine, platform, tuple(requirement.extras))
        elif requirement.marker is None or requirement.marker.evaluate(there):
            requirement.marker = None
            found.append(str(requirement))
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("host", HOSTS)
def test_keystone_is_needed_only_where_it_has_wheels(host: str) -> None:
    machine, platform, _ = HOSTS[host]
    names = {Requirement(text).name for text in needed_on(machine, platform)}
    assert ("keystone-engine" in names) == (machine == "x86_64")
    assert "keystone-engine" in {Requirement(text).name for text in PROJECT["optional-dependencies"]["assemble"]}


def test_the_extra_for_pytest_has_what_the_plug_in_and_relink_emu_test_need() -> None:
    extra = {Requirement(text).name for text in PROJECT["optional-dependencies"]["pytest"]}
    assert extra == {"hypothesis", "pytest", "ziglang"}


@each("arch", ["riscv64", "loongarch64"])
def test_missing_files_are_named_before_a_machine_is_made(arch: str) -> None:
    """As in a zip archive, or in a frozen application without the package's data."""
    create._check_folders.cache_clear()
    with (
        patch.object(create, "__file__", "/app.pyz/emu/cpu/create.py"),
        pytest.raises(MachineError, match=r"not installed completely: there is no folder /app\.pyz/emu/cpu/hooks"),
    ):
        Machine(arch)
    Machine(arch).close()


@pytest.mark.network
@pytest.mark.parametrize("host", ["linux-aarch64", "macos-arm64"])
def test_all_that_is_needed_has_wheels(host: str, tmp_path: Path) -> None:
    """Resolved as pip would there, for this Python; wheels are read for their metadata, nothing is installed."""
    machine, platform, tags = HOSTS[host]
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--retries", "0"]
    pip += ["--target", str(tmp_path), "--only-binary", ":all:", "--python-version", PYTHON]
    pip += [word for tag in tags for word in ("--platform", tag)]
    argv = [*pip, *needed_on(machine, platform, ("test",))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode and re.search(r"NewConnectionError|ConnectTimeout|NameResolutionError", done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
