"""The static-link oracle: other linkers link objects with every section at a given address, and the bytes are
returned.

    link_at([path], {".text": 0x10000}, {"puts": 0x30000}, TARGETS["aarch64"], Linker.LLD)[".text"]

A linker script lays out exactly the sections named; relaxation, which moves code, is off. What the linker adds (a
GOT, a PLT, veneers at a section's end) has an address only where `addresses` gives it one.
"""

from __future__ import annotations

import enum
import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section

from toolchains.errors import BuildFailed, ToolchainError
from toolchains.linkers import gnu_ld, lld
from toolchains.targets import Target

_SHF_ALLOC = 2
#: Section names of the GOT, PLT and similar, of both linkers.
_PARTS = {
    ".got": (".got", ".got.plt", ".igot", ".igot.plt"),
    ".plt": (".plt", ".iplt"),
    ".bss": (".bss", "COMMON"),
}
_DISCARDED = (".comment", ".note*", ".debug*", ".eh_frame*", ".ARM.attributes", ".ARM.exidx*", ".riscv.attributes",
              ".gnu.attributes", ".llvm_addrsig", ".rela.*", ".rel.*")  # fmt: skip

#: Options that keep all sections unchanged, at the addresses of the script.
_OPTIONS = ("-N", "--no-relax", "-z", "norelro", "--no-gc-sections", "--build-id=none", "-e", "0")


class Linker(enum.StrEnum):
    """The linkers."""

    LLD = "lld"
    GNU = "gnu"


class UnplacedSection(ToolchainError):
    """An object has an allocated section that was given no address."""

    def __init__(self, sections: Iterable[str]) -> None:
        self.sections = tuple(sections)
        super().__init__(f"no address was given for {', '.join(self.sections)}: every allocated section needs one")


def linker_command(target: Target, linker: Linker) -> list[str]:
    """The command that links for `target`; GNU ld is the installed one, or Debian's, fetched on first use.

    Raises `CompilerMissing`, `FetchError`.
    """
    if linker is Linker.LLD:
        return lld(target.name)
    tool = shutil.which(f"{target.gnu}-ld")
    return [tool, "-m", target.emulation] if tool is not None else gnu_ld(target.name)


def _script(addresses: Mapping[str, int], symbols: Mapping[str, int]) -> str:
    lines = [f'"{name}" = {address:#x};' for name, address in symbols.items()]
    lines.append("SECTIONS {")
    for name, address in sorted(addresses.items(), key=lambda pair: pair[1]):
        parts = " ".join(_PARTS.get(name, (name,)))
        lines.append(f"  {name} {address:#x} : {{ KEEP(*({parts})) }}")
    return "\n".join([*lines, f"  /DISCARD/ : {{ *({' '.join(_DISCARDED)}) }}", "}", ""])


def _unplaced(objects: Sequence[Path], addresses: Mapping[str, int]) -> list[str]:
    known = {*addresses, *(part for name in addresses for part in _PARTS.get(name, ()))}
    found: dict[str, None] = {}
    for path in objects:
        for section in ELFFile(io.BytesIO(path.read_bytes())).iter_sections():
            dropped = any(Path(section.name).match(pattern) for pattern in _DISCARDED)
            if (
                section["sh_flags"] & _SHF_ALLOC
                and section["sh_size"]
                and section.name not in known
                and not dropped
            ):
                found[section.name] = None
    return list(found)


def link_at(
    objects: Sequence[Path],
    addresses: Mapping[str, int],
    symbols: Mapping[str, int],
    target: Target,
    linker: Linker,
) -> dict[str, bytes]:
    """Links `objects` with every section at the address `addresses` gives it, and returns the sections' bytes
    (those without content, as .bss, as zeros).

    Sections of one name follow each other in the order of `objects`, each at its own alignment. `symbols` gives
    what they leave undefined. Notes and unwind tables are dropped: linkers rewrite them.

    Raises `UnplacedSection`; `BuildFailed` with what the linker said (an undefined symbol, an overflow);
    `CompilerMissing`, `FetchError`.
    """
    if unplaced := _unplaced(objects, addresses):
        raise UnplacedSection(unplaced)
    with tempfile.TemporaryDirectory(prefix="relink-link-") as place:
        script, output = Path(place) / "script.ld", Path(place) / "linked"
        script.write_text(_script(addresses, symbols))
        command = [
            *linker_command(target, linker),
            *_OPTIONS,
            "-T",
            str(script),
            *map(str, objects),
            "-o",
            str(output),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildFailed(", ".join(path.name for path in objects), " ".join(command), done.stderr)
        linked = output.read_bytes()
    sections = {section.name: section for section in ELFFile(io.BytesIO(linked)).iter_sections()}
    found = {}
    for name, address in addresses.items():
        if (section := sections.get(name)) is None or not section["sh_size"]:
            continue
        if section["sh_addr"] != address:
            problem = f"{linker} put it at {section['sh_addr']:#x}, not {address:#x}"
            raise BuildFailed(name, " ".join(command), problem)
        found[name] = _contents(section)
    return found


def _contents(section: Section) -> bytes:
    """A section's bytes; of one without content, zeros."""
    return bytes(section["sh_size"]) if section["sh_type"] == "SHT_NOBITS" else bytes(section.data())
