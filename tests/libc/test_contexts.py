"""Contexts of <ucontext.h>, which the guest switches between without the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from emu.errors import GuestExit
from tests.objects.build import compiled
from toolchains.targets import TARGETS

_SOURCE = (Path(__file__).parent / "contexts.c").read_text()


@pytest.mark.parametrize("target", TARGETS)
def test_contexts_take_turns(target: str) -> None:
    with Machine(TARGETS[target].arch) as machine:
        library = machine.load(compiled(target, _SOURCE))
        for _ in range(2):
            text = library.function("take_turns", "const char *take_turns(void)")()
            assert machine.memory.read_cstring(text) == b"1:0 1:1 2:7 1:2 2:9 1234567890 3;home"
        assert library.function("twice", "int twice(int)")(5) == 6
        assert library.function("mask", "unsigned long mask(void)")() == 1 << 9
        with pytest.raises(GuestExit) as ended:
            library.function("last", "void last(void)")()
        assert ended.value.status == 0, "the last context has no uc_link"
