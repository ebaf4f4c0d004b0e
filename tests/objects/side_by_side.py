"""Members of real archives linked by us and by another linker, every section at the same address.

`link_both` gives both linkers the same objects: the members, and one more that defines what they leave undefined,
at one address each (and thread-local variables as such). The other linker gets a script that puts each input
section where ours went. As every linker orders its GOT as it likes, ours is then relocated once more, with each
slot where theirs has one of the same content. `Sides.differences` compares bytes; `Allowed` says which may differ.
"""

from __future__ import annotations

import enum
import shutil
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray

from relink import HostMemory, Linker
from relink.arch import Architecture, Role
from relink.arch.spec import Reloc, Slot
from relink.elf.constants import SectionFlag, SymbolBind, SymbolType
from relink.elf.objects import COMMON, ObjectFile
from relink.image import Image
from relink.linker import LoadOptions
from relink.memory import placement as place
from relink.module import Module
from relink.objects.combined import CombinedObjects
from relink.objects.input_sections import TLS, InputSection
from relink.relocate.state import Environment
from relink.relocate.static import ObjectRelocator
from relink.resolve.scopes import LookupScope
from tests.toolcache import OUTPUT, ToolFailed, made, text_file
from toolchains.engine import find_zig
from toolchains.targets import TARGETS

BASE = 0x100_0000  #: where our image goes: within every branch's reach of _OUTSIDE, and low
_OUTSIDE = BASE - 0x1_0000  #: addresses given to what the members leave undefined, 16 bytes apart
#: Names the linkers define themselves, at addresses of their own choosing.
_LINKERS_OWN = ("__start_", "__stop_", "__init_array", "__fini_array", "__preinit_array", "_end", "end", "_edata",
                "__ehdr_start", "_etext", "__rel", "__bss_start", "_DYNAMIC", "__executable_start",
                "__global_pointer$", "__exidx", "__dso_handle", "_TLS_MODULE_BASE_", "__data_start")  # fmt: skip
_OWN_NAMES = frozenset(_LINKERS_OWN)
_OWN_PREFIXES = tuple(name for name in _LINKERS_OWN if name.startswith("__"))
#: Sections other linkers rewrite rather than copy.
_WEAK_CALLS_VARY = ("aarch64", "arm", "riscv64", "riscv32", "loongarch64")
_REWRITTEN = (".eh_frame", ".ARM.exidx", ".note.gnu.property", ".ARM.attributes", ".sframe")


class Allowed(enum.Enum):
    """Why a place may hold something else."""

    GOT = "they need no slot, or it holds 0, as others do"
    RELAXED = "they read no slot where they could, --no-relax or not"
    TLS = "they relax thread-local accesses, we do not"
    IFUNC = "an ifunc is reached through their PLT, or our stub"
    WEAK = "a call of an undefined weak function does nothing or is never reached: linkers spell that in many ways"
    PADDING = "both hold no-ops, of other lengths"


@dataclass(frozen=True)
class Difference:
    """A place of one section that differs; `entry` is the relocation there, if any."""

    section: str
    offset: int
    ours: bytes
    theirs: bytes
    entry: str


class TheyRefuse(Exception):
    """The other linker did not link it, for the reason it gives."""


@dataclass
class Sides:
    """One link, twice. `theirs` has the other linker's bytes at the image offsets of ours."""

    image: Image
    combined: CombinedObjects
    ours: NDArray[np.uint8]
    theirs: NDArray[np.uint8]
    placed: NDArray[np.bool_]  #: which bytes the other linker wrote
    relaxes: frozenset[str]  #: types the other linker relaxes in any case
    slots: dict[int, int]  #: symbol -> offset of its slot in their GOT, from our GOT's base
    allowed: Counter[Allowed] = field(default_factory=Counter)
    compared: int = 0  #: bytes
    entries: int = 0

    def differences(self) -> list[Difference]:
        """Every section's bytes that differ and may not."""
        excused = self._excused()
        found: list[Difference] = []
        for part in self.combined.inputs:
            if not part.bits or not part.size or part.name.startswith(_REWRITTEN):
                continue
            span = slice(part.offset, part.offset + part.size)
            assert self.placed[span].all(), f"{part.file.name}({part.name}) is not in their output"
            self.compared += part.size
            wrong = np.flatnonzero((self.ours[span] != self.theirs[span]) & ~excused[span])
            last = -8
            for at in wrong.tolist():
                if at - last >= 4:
                    found.append(self._difference(part.file.name, part.name, part.offset, at))
                    last = at
        return found

    def _difference(self, file: str, section: str, base: int, at: int) -> Difference:
        table, start = self.combined.relocations[0], base + at
        near = np.flatnonzero((table.offset <= start) & (table.offset > start - 8))
        names = self.combined.symbols.names
        entry = ", ".join(
            f"{self.image.architecture.relocation_name(int(table.type[i]))}+{int(table.offset[i]) - base:#x} "
            f"{names.text(int(table.symbol[i]))}"
            for i in near.tolist()
        )
        low, high = max(start - 4, 0), start + 8
        ours, theirs = (side[low:high].tobytes() for side in (self.ours, self.theirs))
        return Difference(f"{file}({section})", at, ours, theirs, entry)

    def _excused(self) -> NDArray[np.bool_]:
        """The bytes of entries whose value depends on what another linker may decide otherwise."""
        table = self.combined.relocations[0]
        excused = np.zeros(len(self.ours), np.bool_)
        arch = self.image.architecture
        symbols = self.combined.symbols
        indirect = symbols.type[table.symbol] == SymbolType.GNU_IFUNC
        undefined_weak = (symbols.section[table.symbol] == 0) & (symbols.bind[table.symbol] == SymbolBind.WEAK)
        same_slot = np.zeros(len(symbols), np.bool_)
        same_slot[list(self.slots)] = True
        high: dict[int, Allowed] = {}
        self.entries += len(table)
        for index, (number, offset) in enumerate(zip(table.type.tolist(), table.offset.tolist(), strict=True)):
            row = arch.relocations[number]
            why = Allowed.IFUNC if indirect[index] else _may_differ(row)
            if row.role is Role.LOW:
                why = high.get(int(symbols.value[table.symbol[index]]))
            if row.role is Role.ALIGN:
                self._excuse_padding(excused, offset, arch)
            if row.name in self.relaxes:
                why = Allowed.RELAXED
            elif why is Allowed.GOT and same_slot[table.symbol[index]]:
                why = None
            if row.role is Role.HIGH and why is not None:
                high[offset] = why
            if row.role is Role.BRANCH and undefined_weak[index] and arch.name in _WEAK_CALLS_VARY:
                why = Allowed.WEAK
            if why is not None:
                self.allowed[why] += 1
                usual = _WINDOWS.get((arch.name, why), (0, _size(row)))
                before, after = _WINDOWS.get((arch.name, row.name), usual)
                excused[max(offset - before, 0) : offset + after] = True
        return excused

    def _excuse_padding(self, excused: NDArray[np.bool_], offset: int, arch: Architecture) -> None:
        """RISC-V's padding is of 2- and 4-byte no-ops, in whichever order."""
        if not arch.name.startswith("riscv"):
            return
        ours, theirs = (side[offset : offset + 64].tobytes() for side in (self.ours, self.theirs))
        size = min(_no_ops(ours), _no_ops(theirs))
        if ours[:size] != theirs[:size]:
            self.allowed[Allowed.PADDING] += 1
            excused[offset : offset + size] = True


def _no_ops(code: bytes) -> int:
    """Bytes of RISC-V no-ops that `code` begins with."""
    at = 0
    while code[at : at + 2] == b"\x01\x00" or code[at : at + 4] == b"\x13\x00\x00\x00":
        at += 2 if code[at] == 1 else 4
    return at


def _size(row: Reloc) -> int:
    return row.word.size if row.word is not None else 4


#: Bytes (before, after) the place of an access they may have rewritten.
_WINDOWS: dict[tuple[str, Allowed | str], tuple[int, int]] = {
    ("aarch64", "TLSGD_ADD_LO12_NC"): (0, 12),
    ("x86_64", Allowed.TLS): (4, 22),
    ("i386", Allowed.TLS): (3, 9),
    ("i386", Allowed.RELAXED): (2, 4),
}
_TLS_SLOTS = (Slot.TLS_GD, Slot.TLS_LD, Slot.TLS_IE, Slot.TLS_DESC)


def _may_differ(row: Reloc) -> Allowed | None:
    if row.slot in _TLS_SLOTS or row.name.startswith(("TLSDESC", "TLS_DESC", "TLS_GOTDESC")):
        return Allowed.TLS
    # What a local-dynamic access adds to its block's address, which they relax to the thread pointer.
    if row.name in ("DTPOFF32", "DTPOFF64", "TLS_LDO_32", "TLS_CALL", "THM_TLS_CALL"):
        return Allowed.TLS
    return Allowed.GOT if row.slot is Slot.ADDRESS else None


# ---------------------------------------------------------------- linking


def is_fit(file: ObjectFile) -> bool:
    """Whether it asks for no name every linker defines its own way, holds no common symbols, and needs no split
    stacks, which lld refuses for most targets.
    """
    symbols = file.symbols
    undefined = symbols.names.take(symbols.undefined).texts()
    names = [section.name for section in file.sections if section.flags & SectionFlag.ALLOC and section.size]
    repeated = len(set(names)) != len(names)
    own = not _OWN_NAMES.isdisjoint(undefined) or any(name.startswith(_OWN_PREFIXES) for name in undefined)
    split = any(section.name == ".note.GNU-split-stack" for section in file.sections)
    return not own and not repeated and not split and bool(names) and not bool((symbols.section == COMMON).any())


def link_both(
    arch: Architecture,
    members: Sequence[tuple[str, bytes]],
    linker: Sequence[str],
    folder: Path,
    cflags: Sequence[str] = (),
    relaxes: frozenset[str] = frozenset(),
    *,
    thumb: bool = True,
) -> Sides:
    """Link members by us and by the command `linker` in `folder`.

    `cflags` say which ABI they are of, `thumb` whether on Arm what they call is Thumb code: it must be of their
    own state, since every linker has veneers of its own between the two. Raises TheyRefuse.
    """
    files = []
    for number, (_, data) in enumerate(members):
        files.append(folder / f"m{number:03}.o")
        files[-1].write_bytes(_plain(data))
    files.append(folder / "defs.o")
    shutil.copyfile(_definitions(members, arch.name, cflags, thumb), files[-1])
    loader = Linker(HostMemory(arch), tls_size=1 << 20)
    image = loader.load([str(file) for file in files], name="ours", options=LoadOptions(base=BASE))
    combined = image.decoded
    assert isinstance(combined, CombinedObjects)
    script = folder / "layout.ld"
    script.write_text(_script(combined, arch))
    command: list[str | Path] = [*linker, *files, "-T", script, "-o", OUTPUT, "-e", "0", "--no-relax"]
    try:
        linked = made(command, [*files, script], "{}")
    except ToolFailed as failure:
        raise TheyRefuse(str(failure)[-3000:]) from None
    theirs, placed = _laid_out(linked, len(image.region.buffer))
    slots = _their_slots(image, combined, linked)
    return Sides(image, combined, _relocated_with(combined, image, slots), theirs, placed, relaxes, slots)


def _their_slots(image: Image, combined: CombinedObjects, linked: Path) -> dict[int, int]:
    """Where their GOT has what ours has, by symbol. A slot that holds 0, or what another holds (a function's other
    name), looks like any other.
    """
    word, base = image.architecture.word_size, BASE + combined.got
    held: dict[int, int] = {}
    places = Counter[int]()
    with linked.open("rb") as stream:
        for section in map(ELFFile(stream).get_section_by_name, (".got.plt", ".got")):
            if section is None:
                continue
            data = section.data()
            for at in range(0, len(data), word):
                value = int.from_bytes(data[at : at + word], "little")
                held[value] = section["sh_addr"] + at - base
                places[value] += 1
    symbols, offsets = combined.slots.get(Slot.ADDRESS, ((), ()))
    found = {}
    for symbol, offset in zip(map(int, symbols), map(int, offsets), strict=True):
        value = int.from_bytes(image.region.buffer[combined.got + offset :][:word].tobytes(), "little")
        if value and places[value] == 1:
            found[symbol] = held[value]
    return found


class _WithoutGot(ObjectRelocator):
    """Slots lie where another linker has them, which is not in this image: nothing is put there."""

    def _fill_got(self) -> None:
        pass


def _relocated_with(combined: CombinedObjects, image: Image, slots: Mapping[int, int]) -> NDArray[np.uint8]:
    """The image's bytes with each symbol's slot at that offset of the GOT; our own where there is none."""
    symbols, offsets = combined.slots.get(Slot.ADDRESS, (np.zeros(0, np.int64), np.zeros(0, np.int64)))
    moved = np.array([slots.get(int(s), int(o)) for s, o in zip(symbols, offsets, strict=True)], np.int64)
    changed = replace(combined, slots={**combined.slots, Slot.ADDRESS: (symbols, moved)})
    linker = Linker(HostMemory(image.architecture), tls_size=1 << 20)
    again = Module(changed, image.architecture)
    again.place(place.reserve(linker.memory, changed, BASE))
    place.fill(again.region, changed)
    again.tls = image.tls
    environment = Environment(linker.resolver, lambda: (0, 0))
    assert not _WithoutGot(again, changed, LookupScope([again]), environment).run().errors
    return again.region.buffer.copy()


def _definitions(members: Sequence[tuple[str, bytes]], target: str, cflags: Sequence[str], thumb: bool) -> Path:
    """An object that defines what the members leave undefined: functions at absolute addresses, TLS variables."""
    defined: set[str] = {"_GLOBAL_OFFSET_TABLE_"}
    wanted: dict[str, int] = {}
    for name, data in members:
        symbols = decode(name, data).symbols
        defined.update(symbols.names.take(symbols.defined_globals).texts())
        strong = symbols.undefined[symbols.bind[symbols.undefined] != SymbolBind.WEAK]
        names, kinds = symbols.names.take(strong).texts(), symbols.type[strong].tolist()
        wanted |= {name: max(kind, wanted.get(name, 0)) for name, kind in zip(names, kinds, strict=True)}
    lines, odd = [], thumb and TARGETS[target].arch == "arm"
    for number, (name, kind) in enumerate(item for item in wanted.items() if item[0] and item[0] not in defined):
        quoted = f'"{name}"'
        lines.append(f".globl {quoted}")
        if kind == SymbolType.TLS:
            lines += ['.section .tbss,"awT",%nobits', f".type {quoted},%object", f"{quoted}: .zero 8"]
        else:
            address = _OUTSIDE + 16 * number + odd
            assert address < BASE
            lines += [f".type {quoted},%function", f".set {quoted}, {address:#x}"]
    source = text_file("\n".join(lines) + "\n", ".s")
    clang = [str(find_zig()), "clang", "-target", TARGETS[target].triple, *TARGETS[target].cflags, *cflags]
    return made([*clang, "-c", source, "-o", OUTPUT], [source])


def _plain(data: bytes) -> bytes:
    """The object with nothing to merge: that is a linker's choice, which GNU ld leaves nobody."""
    copy = bytearray(data)
    wide = data[4] == 2
    word, at = ("<Q", 40) if wide else ("<I", 32)
    (table,) = struct.unpack_from(word, data, at)
    size, count = struct.unpack_from("<HH", data, 58 if wide else 46)
    for header in range(table, table + size * count, size):
        flags = struct.unpack_from(word, data, header + 8)[0] & ~int(SectionFlag.MERGE | SectionFlag.STRINGS)
        struct.pack_into(word, copy, header + 8, flags)
    return bytes(copy)


def decode(name: str, data: bytes) -> ObjectFile:
    from relink.elf.objects import decode_object

    return decode_object(data, name=name)


def _script(combined: CombinedObjects, arch: Architecture) -> str:
    """A linker script that puts every input section where ours is, and their GOT's base where ours is."""
    base = ".got.plt" if arch.name in ("x86_64", "i386") else ".got"
    other = ".got" if base == ".got.plt" else ".got.plt"
    end = BASE + len(combined.data) + 0x1_0000
    placed = [(BASE + combined.got, f"{base} {BASE + combined.got:#x} : {{ *({base}) }}")]
    zeros = [part for part in combined.inputs if _is_tbss(part) and part.size]
    if zeros:
        # One output section without an address: lld ignores addresses of .tbss, and would not align the parts.
        parts = " ".join(f"*{Path(part.file.name).name}({_quoted(part.name)})" for part in zeros)
        placed.append((BASE + zeros[0].offset, f".tbss : {{ {parts} }}"))
    for number, part in enumerate(combined.inputs):
        if part.name.startswith(_REWRITTEN) or _is_tbss(part) or not _matters(part):
            continue
        at, stem = BASE + part.offset, Path(part.file.name).name
        kind = {".init_array": ".init_array", ".fini_array": ".fini_array"}.get(part.name, "")
        placed.append((at, f".s{number}{kind} {at:#x} : {{ *{stem}({_quoted(part.name)}) }}"))
    lines = [line for _, line in sorted(placed, key=lambda item: item[0])]
    lines.append(f"{other} {end:#x} : {{ *({other}) }}")
    lines.append("/DISCARD/ : { *(.eh_frame*) *(.ARM.exidx*) *(.note*) *(.sframe) }")
    return "SECTIONS {\n  " + "\n  ".join(lines) + "\n}\n"


def _matters(part: InputSection) -> bool:
    """Whether it matters where a section lies: it has bytes, or TLS offsets or relocations that depend on it."""
    home, tables = part.file.symbols.section, part.file.loaded_relocations
    return bool(part.size or part.kind == TLS or any((home[t.symbol] == part.index).any() for t in tables))


def _is_tbss(part: InputSection) -> bool:
    return part.kind == TLS and not part.bits


def _quoted(name: str) -> str:
    return f'"{name}"' if not name.replace(".", "").replace("_", "").isalnum() else name


def _laid_out(linked: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    content, placed = np.zeros(size, np.uint8), np.zeros(size, np.bool_)
    with linked.open("rb") as stream:
        for section in ELFFile(stream).iter_sections():
            at = section["sh_addr"] - BASE
            held = section["sh_flags"] & SectionFlag.ALLOC and section["sh_type"] != "SHT_NOBITS"
            if not held or not 0 <= at < size:
                continue
            data = np.frombuffer(section.data(), np.uint8)[: size - at]
            content[at : at + len(data)], placed[at : at + len(data)] = data, True
    return content, placed
