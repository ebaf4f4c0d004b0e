"""What `emu` offers: every documented name from the package itself, imported when it is asked for."""

from __future__ import annotations

import emu
from tests.test_layering import run_alone


def test_every_name_is_there_and_explained() -> None:
    for name in emu.__all__:
        assert getattr(emu, name).__doc__, name
    assert set(emu.__all__) <= set(dir(emu))


def test_the_package_alone_imports_no_machine() -> None:
    code = "import sys, emu; dir(emu); print([name for name in sys.modules if name.startswith(('emu.', 'numpy'))])"
    assert run_alone(code).strip() == "[]"


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    assert not hasattr(emu, "Mashine")
