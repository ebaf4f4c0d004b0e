"""What every test shares: `target`, each of the eight things fixtures are compiled for."""

from __future__ import annotations

import pytest

from tests.fixtures import TARGETS


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    """A target: one of the seven architectures, or `thumb`. Tests that use it run once for each."""
    return str(request.param)
