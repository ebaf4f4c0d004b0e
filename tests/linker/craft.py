"""Shared objects by description, for every architecture: to test the linking of what no compiler would write.

    Library(arch, soname="liba.so", symbols=[Sym("value", 0x10)], relocations=[Rel(0x20, 1, "value")])

Layout: one read-only executable segment at 0 with headers and tables, one writable one at `DATA` with `data`
and `bss` bytes of zero. Addresses in descriptions are link-time ones (`DATA + n`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relink import ARCHITECTURES
from relink.elf.layout import ELF32, ELF64
from tests.elf.build import Segment, gnu_hash_of, header, sysv_hash_of, words

DATA = 0x100000
ABS = 0xFFF1
LOCAL, GLOBAL, WEAK, UNIQUE = 0, 1, 2, 10
NOTYPE, OBJECT, FUNC, COMMON, TLS, IFUNC = 0, 1, 2, 5, 6, 10
DEFAULT, INTERNAL, HIDDEN, PROTECTED = 0, 1, 2, 3
PT_TLS, PT_RELRO = 7, 0x6474E552

#: e_flags that name the ABI linked here.
FLAGS = {"arm": 0x05000400, "riscv64": 0x5, "riscv32": 0x5, "loongarch64": 0x43}
#: Architectures whose psABI keeps addends in place.
REL_ARCHES = ("i386", "arm")


@dataclass(eq=False)
class Sym:
    """A symbol; `section` 0 is undefined. `version` names one of `defines` or `needs`; `hidden` makes it `@`."""

    name: str
    value: int = DATA
    section: int = 1
    bind: int = GLOBAL
    type: int = OBJECT
    visibility: int = DEFAULT
    size: int = 8
    version: str | None = None
    hidden: bool = False
    version_index: int | None = None  #: to lie about it
    hashed: bool = False  #: whether it is in a GNU hash table though undefined, as PLT entries with addresses are


def undefined(name: str, bind: int = GLOBAL, version: str | None = None, type: int = NOTYPE) -> Sym:
    """A reference."""
    return Sym(name, 0, 0, bind, type, size=0, version=version)


@dataclass
class Rel:
    """A relocation. `symbol` is a Sym, a name, an index or None; with REL the addend must lie in `data`."""

    offset: int
    type: int
    symbol: Sym | str | int | None = None
    addend: int = 0


@dataclass
class Library:
    """A shared object to write with `image()`."""

    arch: str
    soname: str | None = None
    needed: Sequence[str] = ()
    symbols: Sequence[Sym] = ()
    relocations: Sequence[Rel] = ()
    plt: Sequence[Rel] = ()
    relr: Sequence[int] = ()
    data: bytes = bytes(0x400)
    bss: int = 0
    rpath: str | None = None
    runpath: str | None = None
    defines: Sequence[str] = ()  #: versions, index 2 on (the base version has 1)
    needs: Sequence[tuple[str, str, int]] = ()  #: (library, version, flags)
    hashes: Sequence[str] = ("gnu", "sysv")
    flags: int = 0  #: DT_FLAGS
    flags_1: int = 0  #: DT_FLAGS_1
    tls: tuple[bytes, int, int] | None = None  #: initial bytes, memory size, alignment
    relro: int = 0  #: bytes of RELRO at the start of the data segment
    align: int = 4096
    data_flags: int = 6
    tags: Mapping[int, int] = field(default_factory=dict)  #: further dynamic entries
    explicit: bool | None = None  #: RELA (True) or REL, by default the psABI's
    base: int = 0  #: link-time address of the first page, for prelinked images
    e_flags: int | None = None
    e_type: int = 3

    def image(self) -> bytes:
        return _Writer(self).write()

    @property
    def rela(self) -> bool:
        return self.arch not in REL_ARCHES if self.explicit is None else self.explicit


class _Writer:
    def __init__(self, library: Library) -> None:
        self.of = library
        self.arch = ARCHITECTURES[library.arch]
        self.layout = ELF64 if self.arch.bits == 64 else ELF32
        self.strings = bytearray(b"\0")
        self.known: dict[str, int] = {}
        self.dynamic: list[tuple[int, int]] = []
        self.body = bytearray()
        self.headers = 3 + bool(library.tls) + bool(library.relro)
        self.start = 16 + self.layout.header.size + self.headers * self.layout.program_header.size

    def text(self, text: str) -> int:
        if text not in self.known:
            self.known[text] = len(self.strings)
            self.strings += _raw(text) + b"\0"
        return self.known[text]

    def table(self, tag: int, content: bytes, size_tag: int | None = None) -> None:
        self.body += bytes(-(self.start + len(self.body)) % 8)
        self.dynamic.append((tag, self.of.base + self.start + len(self.body)))
        if size_tag is not None:
            self.dynamic.append((size_tag, len(content)))
        self.body += content

    def write(self) -> bytes:
        of = self.of
        for tag, name in [(1, n) for n in of.needed] + [(14, of.soname), (15, of.rpath), (29, of.runpath)]:
            if name is not None:
                self.dynamic.append((tag, self.text(name)))
        if of.flags:
            self.dynamic.append((30, of.flags))
        if of.flags_1:
            self.dynamic.append((0x6FFFFFFB, of.flags_1))
        self._symbols()
        self._relocations()
        self.table(5, bytes(self.strings), 10)
        self.dynamic += of.tags.items()
        word = "<QQ" if self.layout is ELF64 else "<II"
        mask = (1 << self.arch.bits) - 1
        dynamic = b"".join(struct.pack(word, tag, value & mask) for tag, value in [*self.dynamic, (0, 0)])
        self.body += bytes(-(self.start + len(self.body)) % 8)
        dynamic_at = self.start + len(self.body)
        text_size = dynamic_at + len(dynamic)
        return self._assemble(text_size, dynamic_at, dynamic)

    def _assemble(self, text_size: int, dynamic_at: int, dynamic: bytes) -> bytes:
        of = self.of
        assert text_size < DATA, "the tables reach into the data segment"
        data_at = (text_size + of.align - 1) & -of.align
        base, where = of.base, of.base + DATA
        data = of.data + (of.tls[0] if of.tls else b"")
        segments = [
            Segment(1, 0, base, text_size, text_size, 5, of.align),
            Segment(1, data_at, where, len(data), len(data) + of.bss, of.data_flags, of.align),
            Segment(2, dynamic_at, base + dynamic_at, len(dynamic), len(dynamic), 6, 8),
        ]
        if of.tls:
            initial, size, align = of.tls
            at = len(of.data)
            segments.append(Segment(PT_TLS, data_at + at, where + at, len(initial), size, 4, align))
        if of.relro:
            segments.append(Segment(PT_RELRO, data_at, where, min(of.relro, len(data)), of.relro, 4, 1))
        flags = FLAGS.get(of.arch, 0) if of.e_flags is None else of.e_flags
        head = header(self.layout, type_=of.e_type, machine=self.arch.machine, phnum=len(segments), flags=flags)
        head += b"".join(segment.pack(self.layout) for segment in segments)
        return bytes((head + bytes(self.body) + dynamic).ljust(data_at, b"\0") + data)

    def _symbols(self) -> None:
        of = self.of
        undefined_ones = [s for s in of.symbols if (s.section == 0 and not s.hashed) or s.bind == LOCAL]
        buckets = max(1, len(of.symbols) // 2)
        defined = [s for s in of.symbols if (s.section != 0 or s.hashed) and s.bind != LOCAL]
        defined.sort(key=lambda s: gnu_hash_of(_raw(s.name)) % buckets)
        self.order = [*undefined_ones, *defined]
        self.places: dict[int | str, int] = {id(symbol): number for number, symbol in enumerate(self.order, 1)}
        for number, symbol in enumerate(self.order, 1):
            self.places.setdefault(symbol.name, number)
        rows = [bytes(self.layout.symbol.itemsize)]
        for symbol in self.order:
            rows.append(self._row(symbol))
        self.table(6, b"".join(rows))
        self.dynamic.append((11, self.layout.symbol.itemsize))
        first = 1 + len(undefined_ones)
        if "gnu" in of.hashes:
            self.table(0x6FFFFEF5, self._gnu(defined, first, buckets))
        if "sysv" in of.hashes:
            self.table(4, self._sysv(buckets))
        if of.defines or of.needs:
            self._versions()

    def _row(self, symbol: Sym) -> bytes:
        name, info = self.text(symbol.name), symbol.bind << 4 | symbol.type
        if self.layout is ELF64:
            tail = (symbol.value & (1 << 64) - 1, symbol.size)
            return struct.pack("<IBBHQQ", name, info, symbol.visibility, symbol.section, *tail)
        value = symbol.value & 0xFFFFFFFF
        return struct.pack("<IIIBBH", name, value, symbol.size, info, symbol.visibility, symbol.section)

    def _gnu(self, defined: Sequence[Sym], first: int, buckets: int) -> bytes:
        hashes = [gnu_hash_of(_raw(s.name)) for s in defined]
        heads, chain = [0] * buckets, []
        for index, value in enumerate(hashes):
            bucket = value % buckets
            heads[bucket] = heads[bucket] or first + index
            last = index + 1 == len(hashes) or hashes[index + 1] % buckets != bucket
            chain.append(value & ~1 | last)
        return words(buckets, first, 1, 6) + b"\xff" * self.layout.word_size + words(*heads, *chain)

    def _sysv(self, buckets: int) -> bytes:
        heads, chain = [0] * buckets, [0] * (1 + len(self.order))
        for index, symbol in enumerate(self.order, 1):
            bucket = sysv_hash_of(_raw(symbol.name)) % buckets
            chain[index], heads[bucket] = heads[bucket], index
        return words(buckets, len(chain), *heads, *chain)

    def _versions(self) -> None:
        of = self.of
        definitions = [of.soname or "", *of.defines] if of.defines else []
        index = {name: number for number, name in enumerate(definitions, 1) if number > 1}
        libraries = list(dict.fromkeys(library for library, _, _ in of.needs))
        needs: dict[str, list[bytes]] = {library: [] for library in libraries}
        number = max(len(definitions), 1)
        for library, version, flags in of.needs:
            number += 1
            index.setdefault(version, number)
            needs[library].append(
                struct.pack("<IHHI", sysv_hash_of(version.encode()), flags, number, self.text(version))
            )
        if definitions:
            self.table(0x6FFFFFFC, _chain([self._verdef(n, name) for n, name in enumerate(definitions, 1)], 16))
            self.dynamic.append((0x6FFFFFFD, len(definitions)))
        if needs:
            self.table(0x6FFFFFFE, _chain([self._verneed(lib, rows) for lib, rows in needs.items()], 12))
            self.dynamic.append((0x6FFFFFFF, len(needs)))
        versym = [0]
        for symbol in self.order:
            number = index[symbol.version] if symbol.version else int(symbol.bind != LOCAL)
            number = number if symbol.version_index is None else symbol.version_index
            versym.append(number | 0x8000 * symbol.hidden)
        self.table(0x6FFFFFF0, struct.pack(f"<{len(versym)}H", *versym))

    def _verdef(self, number: int, name: str) -> bytes:
        head = struct.pack("<HHHHII", 1, int(number == 1), number, 1, sysv_hash_of(name.encode()), 20)
        return head + bytes(4) + struct.pack("<II", self.text(name), 0)

    def _verneed(self, library: str, rows: Sequence[bytes]) -> bytes:
        head = struct.pack("<HHII", 1, len(rows), self.text(library), 16) + bytes(4)
        links = [struct.pack("<I", 16 if n + 1 < len(rows) else 0) for n in range(len(rows))]
        return head + b"".join(row + link for row, link in zip(rows, links, strict=True))

    def _relocations(self) -> None:
        of, layout = self.of, self.layout
        rela = of.rela
        size = (layout.rela if rela else layout.rel).itemsize
        if of.relocations:
            self.table(7 if rela else 17, self._pack(of.relocations), 8 if rela else 18)
            self.dynamic.append((9 if rela else 19, size))
        if of.plt:
            self.table(23, self._pack(of.plt), 2)
            self.dynamic.append((20, 7 if rela else 17))
        if of.relr:
            word = "Q" if layout is ELF64 else "I"
            self.table(36, struct.pack(f"<{len(of.relr)}{word}", *of.relr), 35)
            self.dynamic.append((37, layout.word_size))

    def _pack(self, relocations: Sequence[Rel]) -> bytes:
        out = []
        for entry in relocations:
            number = self._index(entry.symbol)
            if self.layout is ELF64:
                head = struct.pack("<QII", entry.offset & (1 << 64) - 1, entry.type & 0xFFFFFFFF, number)
                tail = struct.pack("<q", entry.addend)
            else:
                head = struct.pack("<II", entry.offset & 0xFFFFFFFF, number << 8 | entry.type & 0xFF)
                tail = struct.pack("<i", entry.addend)
            out.append(head + (tail if self.of.rela else b""))
        return b"".join(out)

    def _index(self, symbol: Sym | str | int | None) -> int:
        if symbol is None or isinstance(symbol, int):
            return symbol or 0
        return self.places[symbol if isinstance(symbol, str) else id(symbol)]


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _chain(records: Sequence[bytes], link_at: int) -> bytes:
    """Records joined by the distances between them, written at `link_at` of each."""
    joined = bytearray()
    for number, record in enumerate(records):
        changed = bytearray(record)
        distance = len(record) if number + 1 < len(records) else 0
        changed[link_at : link_at + 4] = struct.pack("<I", distance)
        joined += changed
    return bytes(joined)
