"""Coverage-guided fuzzing of the decoder: `python fuzz/decode.py [CORPUS] [-runs=N] [libFuzzer's options]`.

Needs Atheris (`pip install atheris`), whose wheels exist for CPython up to 3.13 on Linux. The seeded mutants of
`python -m tests.fuzz` need nothing. Built fixtures make a corpus: `cp arch_fixtures/built/*/*.so CORPUS`.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, not as a module

from relink.errors import RelinkError


def one_input(data: bytes) -> None:
    """Read all there is to read of these bytes, as a file, an object and an archive."""
    from relink.elf import decode
    from relink.elf.archive import Archive
    from relink.elf.objects import decode_object
    from tests.elf.helpers import read_everything

    with suppress(RelinkError):
        read_everything(decode(data))
    with suppress(RelinkError):
        _ = decode_object(data).symbols.names.texts()
    with suppress(RelinkError):
        _ = Archive.open(data).index


def main(arguments: list[str]) -> None:
    """Fuzz for as long as libFuzzer's options say. Exits with a message where Atheris is missing."""
    try:
        import atheris  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise SystemExit(f"fuzz/decode.py needs Atheris ({error}): pip install atheris") from None
    fuzzer: Any = atheris
    with fuzzer.instrument_imports(include=["relink"]):
        one_input(b"\x7fELF")
    fuzzer.Setup(arguments, one_input)
    fuzzer.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
