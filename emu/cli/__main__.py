"""`python -m emu.cli` is `relink-emu`."""

from __future__ import annotations

from emu.cli import main

main()
