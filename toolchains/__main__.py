"""`python -m toolchains`."""

from __future__ import annotations

from toolchains.cli import main

if __name__ == "__main__":
    main()
