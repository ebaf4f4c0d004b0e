"""Assembly text as bytes, by keystone: `assembled("thumb", "bx lr")`. Skips the test where keystone is missing."""

from __future__ import annotations

from functools import cache

import pytest

from emu.errors import AssemblerMissing
from emu.patch.assemble import assemble
from relink.arch import ARCHITECTURES


@cache
def _code(state: str, text: str, address: int) -> bytes:
    return assemble(ARCHITECTURES["arm" if state == "thumb" else state], text, address, thumb=state == "thumb")


def assembled(state: str, text: str, address: int = 0) -> bytes:
    """The code of `text` at `address`; `state` is x86_64, i386, aarch64, arm or thumb."""
    try:
        return _code(state, text, address)
    except AssemblerMissing as error:
        pytest.skip(str(error))


def assembled_int(state: str, text: str, address: int = 0) -> int:
    """The same as the little-endian number that lies in memory."""
    return int.from_bytes(assembled(state, text, address), "little")
