"""What is measured, one file a field."""

from __future__ import annotations

import importlib
import pkgutil


def load_all() -> None:
    """Import every file here, so that its subjects are registered."""
    for found in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{found}")
