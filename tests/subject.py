"""What a test is about: a target (`riscv32-gcc`) or an architecture (`riscv32`), found in its parameters."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.fixtures import ARCHES
from toolchains.targets import TARGETS as ROWS
from toolchains.targets import VARIANTS


def subject(words: Iterable[object]) -> tuple[str, str] | None:
    """The (target, compiler) the words name, the compiler "" where they name none; None for neither."""
    texts = [word for word in words if isinstance(word, str)]
    for word in texts:
        if word in VARIANTS:
            return VARIANTS[word].target.name, VARIANTS[word].compiler
    return next(((word, "") for word in texts if word in ROWS or word in ARCHES), None)


def wanted(config: pytest.Config, found: tuple[str, str] | None) -> bool:
    """Whether `--arch` and `--compiler` leave what is about `found`."""
    arches, compilers = config.getoption("arch"), config.getoption("compiler")
    return (not arches or (found is not None and found[0] in arches)) and (
        not compilers or (found is not None and found[1] in compilers)
    )


def chosen(config: pytest.Config, name: str, words: Iterable[object]) -> bool:
    """Whether a member of a grouped test runs: one that is about no target does when its test does."""
    found = subject(words)
    return str(config.getoption("member") or "") in name and (found is None or wanted(config, found))
