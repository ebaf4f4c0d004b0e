"""`relink.log` writes to the loggers of `logging`, which it imports with the first message."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from relink import log


def test_messages_are_those_of_the_logger_of_the_name(caplog: pytest.LogCaptureFixture) -> None:
    messages = log.Log("relink.some.module")
    with caplog.at_level(logging.INFO, "relink"):
        messages.info("loaded %s at %#x", "lib.so", 0x1000)
        messages.warning("%s", "100%")
    with caplog.at_level(logging.WARNING, "relink"):
        messages.info("not asked for")
    found = [(each.name, each.levelname, each.getMessage(), each.funcName) for each in caplog.records]
    here = "test_messages_are_those_of_the_logger_of_the_name"
    assert found == [
        ("relink.some.module", "INFO", "loaded lib.so at 0x1000", here),
        ("relink.some.module", "WARNING", "100%", here),
    ]


def test_levels_are_numbers_whatever_they_are_called(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "_levelToName", dict(logging._levelToName))
    monkeypatch.setattr(logging, "_nameToLevel", dict(logging._nameToLevel))
    logging.addLevelName(25, "INFO")
    with caplog.at_level(logging.DEBUG, "relink"):
        log.Log("relink").info("done")
    assert [each.levelno for each in caplog.records] == [20]


def test_an_action_is_done_once_before_the_next_message(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []
    act = lambda: done.append(len(caplog.records))  # noqa: E731
    for _ in range(2):
        log.before_first_message(act)
    for _ in range(2):
        log.Log("relink").warning("a message")
    assert done == [0]


@pytest.mark.parametrize(
    ("options", "shown"),
    [([], "warning: odd\n"), (["-v"], "info: done\nwarning: odd\n"), (["--json"], "")],
    ids=["as usual", "verbose", "as JSON"],
)
def test_the_command_shows_messages_in_its_form(options: list[str], shown: str) -> None:
    """Also those from before `logging` was imported."""
    code = (
        "import sys; from emu.cli import log; from relink.log import Log\n"
        "log.listen()\n"
        "assert 'logging' not in sys.modules\n"
        f"log.set_output({int('-v' in options)}, as_json={'--json' in options})\n"
        "Log('emu.cli').info('done')\n"
        "[Log('relink.elf').warning('odd') for _ in range(2)]\n"
        "assert log.warnings() == ['odd'], log.warnings()\n"
        "log.listen()\n"
        "assert log.warnings() == []\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == shown
