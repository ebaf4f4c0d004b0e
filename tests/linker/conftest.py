"""`arch`: every architecture, for images crafted byte by byte, in which Thumb is nothing of its own."""

from __future__ import annotations

import pytest

from tests.fixtures import ARCHES


@pytest.fixture(params=ARCHES)
def arch(request: pytest.FixtureRequest) -> str:
    """The canonical name of an architecture; tests that use it run once for each."""
    return str(request.param)
