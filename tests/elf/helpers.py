"""What the tests of `relink.elf` share."""

from __future__ import annotations

from pathlib import Path

from relink.elf import Decoded
from tests.fixtures import all_fixtures, fixture


def linked_fixtures(target: str) -> list[Path]:
    """Every shared object and executable of one target, in a fixed order."""
    paths = [fixture(of, name) for of, name in all_fixtures() if of == target]
    return [path for path in paths if path.suffix not in {".o", ".a"}]


def read_everything(decoded: Decoded) -> None:
    """Asks `decoded` for all it can tell, so that whatever is wrong with it comes out."""
    _ = (
        decoded.min_vaddr,
        decoded.span,
        decoded.tls,
        decoded.relro,
        decoded.eh_frame,
        decoded.stack_executable,
    )
    _ = (decoded.interpreter, decoded.needed, decoded.soname, decoded.rpath, decoded.runpath, decoded.flags)
    _ = (decoded.flags_1, decoded.init, decoded.fini, decoded.pltgot)
    _ = (decoded.init_array, decoded.fini_array, decoded.preinit_array)
    _ = (decoded.relocations, decoded.relr, decoded.sections)
    symbols = decoded.symbols
    _ = (symbols.value, symbols.size, symbols.bind, symbols.type, symbols.visibility, symbols.section)
    for raw in symbols.version.tolist():
        decoded.versions.name_of(raw)
    symbols.candidates(symbols.names)
    symbols.names.texts()
    symbols.find("")
