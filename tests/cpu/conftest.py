"""The bench fixture: every conformance test runs once per ISA, on the engine that has it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from .guests import GUESTS, Bench, benches


@pytest.fixture(params=list(GUESTS))
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    guest = GUESTS[request.param]
    if guest.arch == "loongarch64" and importlib.util.find_spec("emu.cpu.icicle.cpu") is None:
        pytest.skip("no engine for loongarch64: emu.cpu.icicle.cpu is missing")
    yield from benches(guest)
