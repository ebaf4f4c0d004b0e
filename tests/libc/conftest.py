"""A library on a fake machine, and the host's own C library to compare with."""

from __future__ import annotations

import ctypes
import platform

import pytest

from tests.libc.fake import Harness


@pytest.fixture
def host() -> Harness:
    return Harness()


@pytest.fixture(scope="session")
def glibc() -> ctypes.CDLL:
    """The host's glibc, an independent oracle."""
    if platform.libc_ver()[0] != "glibc" or ctypes.sizeof(ctypes.c_long) != 8:
        pytest.skip("the host's C library is not a 64-bit glibc")
    return ctypes.CDLL(None, use_errno=True)
