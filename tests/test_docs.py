"""The documentation says what the code says."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from emu import Machine
from emu.cli.app import run
from emu.fetch.debian import cache_folder
from relink import HostMemory, Protection, decode
from relink.memory.placement import fill, region_size
from tests.assembler import assembled
from tests.fixtures import ARCHES, fixture
from tests.linker.cores import mappings_of, write_core
from tests.real import real_library
from tests.test_layering import ROOMS

ROOT = Path(__file__).resolve().parent.parent
pytest_plugins = ("pytester",)


def test_generated_documentation_is_current() -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_map_of_the_source_names_every_room_and_only_files_there_are() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    paths = re.findall(r"`((?:relink|emu|tests|toolchains)/[\w/.]+)`", text)
    assert not [path for path in paths if not (ROOT / path).exists()]
    for package, heading in (("relink", "## The rooms of relink"), ("emu", "## The rooms of emu")):
        table = text.partition(heading)[2].partition("\n## ")[0]
        listed = set(re.findall(r"`(\w+)(?:/|\.py)`", "\n".join(re.findall(r"^\|(.*?)\|", table, re.M))))
        assert listed == {room for rooms in ROOMS[package] for room in rooms}


def test_no_page_has_the_marks_of_a_merge() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")]
    assert not [page.name for page in pages if re.search(r"^(<{7}|={7}$|>{7})", page.read_text(), re.M)]


README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("source", re.findall(r"^```python\n(.*?)^```", README, re.M | re.S), ids=lambda text: "")
def test_python_blocks_of_the_readme_run(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(source, "README.md", "exec"), {})


_PATH = re.compile(r"`((?:relink|emu|tests|toolchains|tools|docs|benchmarks|examples|arch_fixtures)/[\w./-]+)`")


def test_every_file_a_page_names_is_there() -> None:
    pages = [path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) if path.name != "CHANGELOG.md"]
    named = {(page.name, name) for page in pages for name in _PATH.findall(page.read_text())}
    assert len(named) > 50
    assert {(page, name) for page, name in named if not (ROOT / name).exists()} == set()


def commands() -> list[list[str]]:
    """The folder and the words of every `relink-emu` line of the README, but for those about Debian's zlib."""
    found, folder = [], "."
    for line in README.splitlines():
        if line.startswith("    cd "):
            folder = line.split()[1]
        elif re.match(r"    \S.*\brelink-emu |    relink-emu (?!fetch )", line):
            words = shlex.split(line.split("relink-emu ", 1)[1], comments=True)
            found.append(["." if "venv" in line else folder, *words])
    return found


def test_every_line_of_the_readmes_commands_is_of_a_known_kind() -> None:
    lines = [line.strip() for line in README.splitlines() if line.startswith("    ") and "`" not in line]
    block = re.compile(r"\.venv/bin/activate|\. \.venv|cd |relink-emu |bash \.ci/run|for arch in|libz\.so\.1|done")
    in_python = "\n".join(re.findall(r"^```python\n(.*?)^```", README, re.M | re.S))
    strange = [line for line in lines if line not in in_python and not block.search(line)]
    assert strange == []


def test_the_test_of_the_readme_passes_as_pasted(pytester: pytest.Pytester) -> None:
    pytest.importorskip("ziglang", reason="the library is built with the ziglang wheel")
    (source,) = (
        text for text in re.findall(r"^```python\n(.*?)^```", README, re.M | re.S) if "pytestmark" in text
    )
    assert len(re.findall(r"^\s*\S", source, re.M)) == 4
    for name in ("own.c", "own.h"):
        shutil.copy(ROOT / "examples" / "own_library" / name, pytester.path)
    pytester.makepyfile(source)
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "emu.pytest_plugin",
        "-q",
        "test_the_test_of_the_readme_passes_as_pasted.py",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        pytester.run(*command).assert_outcomes(passed=7)


@pytest.mark.real
def test_debians_zlib_is_called_as_the_readme_says() -> None:
    """The loop, for what has been fetched: the first line of its block fetches it."""
    loop = dedent(README[README.index("    for arch in x86_64") : README.index("    done\n") + 9])
    for arch in ARCHES:
        real_library(arch, "libz.so.1")
    loop = loop.replace("~/.cache/relink-emu/debian", str(cache_folder()))
    script = f'relink-emu() {{ {shlex.quote(sys.executable)} -m emu.cli "$@"; }}\n{loop}'
    done = subprocess.run(["bash", "-ec", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3421780262\n" * len(ARCHES)), done.stderr


@pytest.mark.parametrize("words", commands(), ids=lambda words: words[1])
def test_commands_of_the_readme_do_what_they_say(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / words[0])
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115
    status = run(words[1:])
    printed = capsys.readouterr().out
    assert status == (42 if words[1] == "run" else 0)
    answers = {"top(5)": "75\n", "archive_top(4)": "36\n"}
    assert printed.endswith(answers.get(words[-1], "\n"))


_BLOCK = re.compile(r"(?:^    .*\n(?:\n(?=    ))?)+", re.M)
_RESULT = re.compile(r"  # → (.*)$")


class _Checked(ast.NodeTransformer):
    """Makes an assertion of every expression whose line ends with `# → value`."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.count = 0

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        found = _RESULT.search(self.lines[(node.end_lineno or 1) - 1])
        if found is None:
            return node
        self.count += 1
        call = ast.parse(f"check(None, {found[1]!r})").body[0]
        assert isinstance(call, ast.Expr)
        assert isinstance(call.value, ast.Call)
        call.value.args[0] = node.value
        return ast.copy_location(call, node)


def test_the_examples_of_hooks_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, target in (("plugin.so", "x86_64"), ("riscv.so", "riscv64"), ("plugin_riscv.so", "riscv64")):
        (tmp_path / name).write_bytes(fixture(target, "basic").read_bytes())
    decoded = decode(tmp_path / "plugin.so")
    region = HostMemory("x86_64").reserve(region_size(decoded))
    fill(region, decoded)
    (tmp_path / "flat.bin").write_bytes(region.buffer.tobytes())
    with Machine("x86_64") as process:
        library = process.load(tmp_path / "plugin.so", base=0x7800_0000, symbols={"my_host_function": lambda v: v})
        library.function("set_counter", "void(int)")(1234)
        core = write_core("x86_64", mappings_of(process, library, dumped=False))
        (tmp_path / "core.1234").write_bytes(core)
    monkeypatch.chdir(tmp_path)
    assembled("x86_64", "nop")  # skips where there is no keystone: one of the examples assembles

    def check(value: object, expected: str) -> None:
        assert repr(value) == expected

    text = (ROOT / "docs" / "hooks.md").read_text()
    names: dict[str, object] = {"check": check, "Protection": Protection}
    done = 0
    for block in _BLOCK.findall(text):
        source = dedent(block)
        checked = _Checked(source.splitlines())
        tree = ast.fix_missing_locations(checked.visit(ast.parse(source)))
        exec(compile(tree, "docs/hooks.md", "exec"), names)
        done += checked.count
    assert done == text.count("# →") >= 10
    machine = names["machine"]
    assert isinstance(machine, Machine)
    machine.close()
