"""Calls of host functions that a signal handler interrupts: the next call gets its own answer."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from emu.calls.prototypes import parse_prototype
from emu.differential.host import Host, is_native
from emu.differential.inputs import plan
from tests.fixtures import fixture

ARCH = {"x86_64": "x86_64", "aarch64": "aarch64"}.get(platform.machine(), "x86_64")


@pytest.mark.skipif(not is_native(ARCH), reason="the host runs none of the fixtures")
def test_an_answer_that_nobody_took_is_not_that_to_the_next_call() -> None:
    prototype = parse_prototype("int leaf(int)", ARCH)
    arguments = plan({ARCH: prototype})
    host: Any = Host(fixture(ARCH, "deps/libleaf"))
    try:
        first = host.call("leaf", prototype, arguments, (1,), 10.0)
        ask = host._answer

        def interrupt(request: str) -> str:
            child = host._running()
            child.stdin.write(request)
            child.stdin.flush()
            raise KeyboardInterrupt

        host._answer = interrupt
        with pytest.raises(KeyboardInterrupt):
            host.call("leaf", prototype, arguments, (30,), 10.0)
        host._answer = ask
        assert host.call("leaf", prototype, arguments, (1,), 10.0) == first
    finally:
        host.close()
