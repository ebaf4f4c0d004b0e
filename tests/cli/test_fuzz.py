"""`fuzz`: corpus folders, dictionaries, files of inputs that fail and their minimisation."""

from __future__ import annotations

import signal
import subprocess
import sys
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest

from emu.errors import FuzzError
from emu.fuzz.files import read_dictionary, read_inputs, save_input
from emu.fuzz.minimise import smaller
from tests.machine.loops import build_loops

from .conftest import RunCommand

TOKENS = '# of the parser\nbug="BU\\x47!"\n"LOO"\n"P"\n"{\\"}"\n'


@pytest.fixture(scope="module", params=["x86_64"])
def parser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_loops(str(request.param), tmp_path_factory.mktemp("parser"), "parser")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokens").write_text(TOKENS)
    return tmp_path


def fuzz(relink_emu: RunCommand, parser: Path, *options: str) -> tuple[int, dict[str, Any]]:
    result = relink_emu("fuzz", parser, "parse", "--allow-unresolved", "--json", *options)
    return result.status, result.json


@pytest.mark.parametrize("parser", ["riscv32", "loongarch64"], indirect=True)
def test_a_corpus_grows_and_inputs_that_fail_are_kept_as_small_as_possible(
    relink_emu: RunCommand, parser: Path, here: Path
) -> None:
    (here / "corpus").mkdir()
    (here / "corpus" / "mine").write_bytes(b"{12}")
    options = ["-c", "corpus", "--dictionary", "tokens", "--max-instructions", "20000"]
    for seed in range(20):
        status, report = fuzz(relink_emu, parser, *options, "--executions", "1000", "--seed", str(seed))
        if {each["size"] for each in report["failed"]} >= {4} and len(report["failed"]) >= 3:
            break
    assert status == 1
    assert "which is a guess" in report["warnings"][0]
    found = {Path(each["file"]).read_bytes(): each for each in report["failed"]}
    assert found[b"BUG!"]["error"].startswith("write to unmapped memory at 0x10")
    assert (found[b"BUG!"]["kind"], found[b"LOOP"]["kind"]) == ("crash", "hang")
    assert {path.name for path in (here / "crashes").iterdir()} >= {Path(e["file"]).name for e in report["failed"]}
    corpus = [path for path in (here / "corpus").iterdir() if path.name != "mine"]
    assert len(corpus) > 2
    assert all(path.name == sha1(path.read_bytes()).hexdigest() for path in corpus)

    status, report = fuzz(relink_emu, parser, "--merge", "merged", "-c", "corpus")
    merged = read_inputs(here / "merged")
    assert 1 < len(merged) <= len(corpus) + 1
    status, again = fuzz(relink_emu, parser, "--merge", "again", "-c", "merged")
    assert again["edges"] == report["edges"]


def test_inputs_are_replayed_and_minimised(relink_emu: RunCommand, parser: Path, here: Path) -> None:
    (here / "bad").write_bytes(b"BUG! and {more} of it")
    (here / "good").write_bytes(b"{}")
    status, report = fuzz(relink_emu, parser, "--replay", "bad", "--replay", "good")
    assert (status, [each["file"] for each in report["failed"]]) == (1, ["bad"])
    assert not (here / "crashes").exists()
    status, report = fuzz(relink_emu, parser, "--minimise", "bad", "--crashes", "small")
    assert (status, report["failed"][0]["size"]) == (1, 4)
    assert [path.read_bytes() for path in (here / "small").iterdir()] == [b"BUG!"]
    assert fuzz(relink_emu, parser, "--replay", "good")[0] == 0


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (["--replay", "absent"], 1, "absent: No such file"),
        (["--corpus", "tokens"], 1, "tokens: Not a directory"),
        (["--crashes", "tokens", "--minimise", "bad"], 1, "tokens: File exists"),
        (["--crashes", "tokens"], 1, "tokens: Not a directory"),
        (["--merge", "merged"], 2, "no inputs to copy"),
        (["--minimise", "tokens"], 1, "does not fail"),
        (["--corpus", ".", "--max-size", "2"], 1, "more than max_size (2)"),
        (["--dictionary", "bad"], 1, "bad:1: no token in double quotes"),
        (["-p", "int parse(int, int)"], 1, "does not take a pointer"),
    ],
)
def test_bad_input_is_named(
    relink_emu: RunCommand, parser: Path, here: Path, options: list[str], status: int, told: str
) -> None:
    (here / "bad").write_bytes(b"BUG!")
    result = relink_emu("fuzz", parser, "parse", "--allow-unresolved", "--executions", "10", *options)
    assert result.status == status
    assert told in result.err


def test_without_a_name_the_function_is_libfuzzers(relink_emu: RunCommand, parser: Path, here: Path) -> None:
    result = relink_emu("fuzz", parser, "--allow-unresolved")
    assert result.status == 2
    assert "has no LLVMFuzzerTestOneInput: name the function to call" in result.err


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_search_with_its_result(parser: Path, here: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "emu.cli",
        "fuzz",
        str(parser),
        "parse",
        "--allow-unresolved",
        "--seconds",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        while "executions" not in child.stderr.readline():
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert "interrupted" in err
    assert "executions" in out.splitlines()[-1]
    assert child.returncode in (0, 1)


def test_dictionaries_are_those_of_other_fuzzers(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(TOKENS)
    assert read_dictionary(path) == [b"BUG!", b"LOO", b"P", b'{"}']
    for line in ("token", '"open', '"\\q"', 'a b="c"'):
        path.write_text(f"\n{line}\n")
        with pytest.raises(FuzzError, match=":2: "):
            read_dictionary(path)


def test_inputs_are_made_smaller_within_a_number_of_executions(tmp_path: Path) -> None:
    tried = []

    def fails(data: bytes) -> bool:
        tried.append(data)
        return data.count(b"a") >= 2 and b"z" in data

    assert smaller(b"xx" * 300 + b"a-a-z" + b"y" * 500, fails, 1000) == b"aaz"
    assert len(tried) < 200
    tried.clear()
    assert len(smaller(b"a" * 10 + b"z" * 1000, fails, 7)) < 1010
    assert len(tried) == 7
    assert smaller(b"", lambda data: True, 10) == b""
    path = save_input(tmp_path / "new", b"x", "crash-")
    assert path == save_input(tmp_path / "new", b"x", "crash-")
