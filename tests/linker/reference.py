"""A second relocation engine, slow and plain: one entry at a time, formulas written out per machine.

It shares nothing with `relink` but the image's place, its TLS module and the addresses of its descriptor stubs.
Headers, dynamic tags, symbols, RELR and Android's packing are read here, field by field.
"""

# ruff: noqa: N806  (the psABIs' letters)
from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from relink.image import Image
from tests.linker.reference_formulas import COPY, DESCRIPTOR, IRELATIVE, JUMP_SLOT, MACHINES, RELATIVE

__all__ = ["DESCRIPTOR", "IRELATIVE", "JUMP_SLOT", "MACHINES", "RELATIVE"]  # for tests, with what is defined here


@dataclass(frozen=True)
class Symbol:
    name: str
    value: int
    size: int
    bind: int
    type: int
    visibility: int
    section: int
    version: str | None
    index: int  #: of its version, hidden bit included


#: glibc, elf/get-dynamic-info.h: PLTGOT HASH STRTAB SYMTAB RELA REL JMPREL RELR GNU_HASH VERSYM.
REBASED = {3, 4, 5, 6, 7, 17, 23, 36, 0x6FFFFEF5, 0x6FFFFFF0}


@dataclass
class File:
    """What the reference reads of one file."""

    data: bytes
    arch: str
    bits: int
    segments: list[tuple[int, int, int, int]]  #: (vaddr, offset, filesz, memsz)
    tags: dict[int, int]
    symbols: list[Symbol]
    versioned: bool
    exported: dict[str, list[Symbol]] = field(default_factory=dict)
    pointers: list[int] = field(default_factory=list)  #: vaddr of each d_ptr that glibc's ld.so rebases

    def read(self, vaddr: int, size: int) -> bytes:
        for start, offset, filesz, _ in self.segments:
            if start <= vaddr < start + filesz:
                return self.data[offset + vaddr - start : offset + vaddr - start + size]
        raise LookupError(hex(vaddr))


@dataclass
class Object(File):
    """A file and the image it is loaded as."""

    image: Image = field(kw_only=True)

    @property
    def bias(self) -> int:
        return self.image.bias


def read_object(image: Image, data: bytes) -> Object:
    """`data` is the whole file."""
    return Object(**vars(_read_file(bytes(data), image.architecture.name)), image=image)


#: e_phoff, e_phentsize and e_phnum; p_type, p_flags, p_offset, p_vaddr, p_filesz and p_memsz (gABI 4, 5).
_HEADER = {32: "<28xI10xHH", 64: "<32xQ14xHH"}
_SEGMENT = {32: ("<IIIxxxxIII", (0, 5, 1, 2, 3, 4)), 64: ("<IIQQ8xQQ", (0, 1, 2, 3, 4, 5))}


@functools.lru_cache(512)  # a dependency is one of many fixtures'
def _read_file(data: bytes, arch: str) -> File:
    bits = 32 * data[4]
    offset, size, count = struct.unpack_from(_HEADER[bits], data)
    form, order = _SEGMENT[bits]
    rows = [struct.unpack_from(form, data, offset + size * number) for number in range(count)]
    headers = [tuple(row[at] for at in order) for row in rows]
    segments = [(vaddr, at, filesz, memsz) for kind, _, at, vaddr, filesz, memsz in headers if kind == 1 and memsz]
    flags, where = next((flags, vaddr) for kind, flags, _, vaddr, _, _ in headers if kind == 2)
    size = bits // 8
    found = File(data, arch, bits, segments, {}, [], False)
    writable = flags & 2 and not arch.startswith("riscv")
    while True:
        tag, value = (int.from_bytes(found.read(where + n * size, size), "little") for n in (0, 1))
        if tag == 0:
            break
        found.tags[tag] = value
        if writable and tag in REBASED:
            found.pointers.append(where + size)
        where += 2 * size
    _read_symbols(found)
    return found


def _text(of: File, offset: int) -> str:
    return of.read(of.tags[5] + offset, len(of.data)).partition(b"\0")[0].decode()


def _u(of: File, where: int, size: int) -> int:
    return int.from_bytes(of.read(where, size), "little")


def _read_symbols(of: File) -> None:
    versions = dict(_versions(of))
    of.versioned = 0x6FFFFFF0 in of.tags
    row = 24 if of.bits == 64 else 16
    for number in range(_symbol_count(of)):
        at = of.tags[6] + number * row
        if of.bits == 64:
            name, info, other, section, value, size = (
                _u(of, at + begin, width) for begin, width in ((0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8))
            )
        else:
            name, value, size, info, other, section = (
                _u(of, at + begin, width) for begin, width in ((0, 4), (4, 4), (8, 4), (12, 1), (13, 1), (14, 2))
            )
        index = _u(of, of.tags[0x6FFFFFF0] + 2 * number, 2) if of.versioned else 1
        symbol = Symbol(
            _text(of, name),
            value,
            size,
            info >> 4,
            info & 15,
            other & 3,
            section,
            versions.get(index & 0x7FFF) if index & 0x7FFF > 1 else None,
            index,
        )
        of.symbols.append(symbol)
    for number in _hash_order(of):
        symbol = of.symbols[number]
        seen = symbol.bind and symbol.visibility in (0, 3) and symbol.type in (0, 1, 2, 5, 6, 10)
        there = symbol.section if symbol.type == 6 else symbol.value or symbol.section == 0xFFF1
        if seen and there:  # an undefined symbol with a value is the address of its PLT entry
            of.exported.setdefault(symbol.name, []).append(symbol)


def _hash_order(of: File) -> Iterator[int]:
    """Symbols in the order a look-up meets them: that of the GNU table, or else along the SysV chains."""
    if 0x6FFFFEF5 in of.tags or 4 not in of.tags:
        first = _u(of, of.tags[0x6FFFFEF5] + 4, 4) if 0x6FFFFEF5 in of.tags else 0
        yield from range(first, len(of.symbols))
        return
    buckets = _u(of, of.tags[4], 4)
    for bucket in range(buckets):
        number = _u(of, of.tags[4] + 8 + 4 * bucket, 4)
        while number:
            yield number
            number = _u(of, of.tags[4] + 8 + 4 * (buckets + number), 4)


def _symbol_count(of: File) -> int:
    """From DT_HASH, else by walking the last chain of DT_GNU_HASH; relocations may name undefined ones beyond."""
    referred = max((symbol + 1 for _, _, symbol, _ in entries(of)), default=0)
    if 4 in of.tags:
        return _u(of, of.tags[4] + 4, 4)
    if 0x6FFFFEF5 not in of.tags:
        return referred
    at = of.tags[0x6FFFFEF5]
    buckets, first, bloom, _ = (_u(of, at + 4 * n, 4) for n in range(4))
    heads_at = at + 16 + bloom * of.bits // 8
    last = max(_u(of, heads_at + 4 * n, 4) for n in range(buckets))
    if last == 0:
        return max(first, referred)
    while not _u(of, heads_at + 4 * (buckets + last - first), 4) & 1:
        last += 1
    return max(last + 1, referred)


def _versions(of: File) -> Iterator[tuple[int, str]]:
    aux: int | None
    at = of.tags.get(0x6FFFFFFC)
    while at:
        aux = at + _u(of, at + 12, 4)
        yield _u(of, at + 4, 2) & 0x7FFF, _text(of, _u(of, aux, 4))
        step = _u(of, at + 16, 4)
        at = at + step if step else None
    at = of.tags.get(0x6FFFFFFE)
    while at:
        aux = at + _u(of, at + 8, 4)
        while aux:
            yield _u(of, aux + 6, 2) & 0x7FFF, _text(of, _u(of, aux + 8, 4))
            step = _u(of, aux + 12, 4)
            aux = aux + step if step else None
        step = _u(of, at + 12, 4)
        at = at + step if step else None


# ---------------------------------------------------------------- entries

Entry = tuple[int, int, int, int | None]  #: offset, type, symbol, addend (None: in place)


def entries(of: File) -> list[Entry]:
    """Every entry of REL, RELA, JMPREL and the Android tables; RELR comes as RELATIVE with its addend in place."""
    found: list[Entry] = [(where, RELATIVE[of.arch], 0, None) for where in _relr(of)]
    tables = [
        (of.tags[at], of.tags[size], rela) for at, size, rela in ((7, 8, True), (17, 18, False)) if at in of.tags
    ]
    if 23 in of.tags:
        tables.append((of.tags[23], of.tags[2], of.tags[20] == 7))
    word = of.bits // 8
    for at, size, rela in tables:
        row = word * (3 if rela else 2)
        for place in range(at, at + size, row):
            offset, info = _u(of, place, word), _u(of, place + word, word)
            addend = _signed(_u(of, place + 2 * word, word), of.bits) if rela else None
            found.append((offset, *_split(info, of.bits), addend))
    for at, size, rela in ((0x60000011, 0x60000012, True), (0x6000000F, 0x60000010, False)):
        if at in of.tags:
            found += _aps2(of, of.read(of.tags[at], of.tags[size]), rela)
    return found


def _split(info: int, bits: int) -> tuple[int, int]:
    return (info & 0xFFFFFFFF, info >> 32) if bits == 64 else (info & 0xFF, info >> 8)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _relr(of: File) -> Iterator[int]:
    at, size = of.tags.get(36, of.tags.get(0x6FFFE000)), of.tags.get(35, of.tags.get(0x6FFFE001, 0))
    word, next_ = of.bits // 8, 0
    for place in range(at or 0, (at or 0) + size, word):
        value = _u(of, place, word)
        if not value & 1:
            yield value
            next_ = value + word
            continue
        for bit in range(of.bits - 1):
            if value >> (bit + 1) & 1:
                yield next_ + bit * word
        next_ += (of.bits - 1) * word


def _aps2(of: File, packed: bytes, rela: bool) -> Iterator[Entry]:
    assert packed[:4] == b"APS2"
    stream = iter(packed[4:])

    def number() -> int:
        value = shift = 0
        while True:
            byte = next(stream)
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value - (1 << shift) if byte & 0x40 else value

    left, offset, addend = number(), number(), 0
    while left > 0:
        size, flags = number(), number()
        step = number() if flags & 2 else None
        info = number() if flags & 1 else None
        if flags & 8 and flags & 4:
            addend += number()
        elif not flags & 8:
            addend = 0
        for _ in range(size):
            offset += number() if step is None else step
            this = number() if info is None else info
            if flags & 8 and not flags & 4:
                addend += number()
            yield offset % (1 << of.bits), *_split(this, of.bits), addend if rela else None
        left -= size


# ---------------------------------------------------------------- binding and applying


def find(
    wanted: Symbol, asking: Object, scope: Sequence[Object], *, call: bool = False, copy: bool = False
) -> tuple[Object, Symbol] | None:
    if not copy and wanted.section and (wanted.bind == 0 or wanted.visibility):
        return asking, wanted
    symbolic = 16 in asking.tags or asking.tags.get(30, 0) & 2
    for provider in [asking, *scope] if symbolic else scope:
        if copy and provider is asking:
            continue
        found = [s for s in provider.exported.get(wanted.name, []) if s.section or not call]
        if not provider.versioned and found:
            return provider, found[0]
        if wanted.version is not None:
            good = [s for s in found if s.version == wanted.version or (s.version is None and s.index < 0x8000)]
        else:
            good = [s for s in found if s.index & 0x7FFF <= 2]
            defaults = [s for s in found if s.index < 0x8000]
            good = good or (defaults if len(defaults) == 1 else [])
        if good:
            return provider, good[0]
    return None


def expected(
    asking: Object, scope: Sequence[Object], host: Callable[[str], int], stubs: tuple[int, int]
) -> dict[int, bytes]:
    """vaddr → bytes of each segment after relocation."""
    arch = asking.arch
    result = {
        vaddr: bytearray(asking.data[offset : offset + filesz] + bytes(memsz - filesz))
        for vaddr, offset, filesz, memsz in asking.segments
    }
    for offset, type_, number, explicit in entries(asking):
        if type_ in (0, IRELATIVE[arch]) or (arch, type_) == ("aarch64", 256):
            continue
        vaddr = next(v for v, memory in result.items() if v <= offset < v + len(memory))
        memory, at = result[vaddr], offset - vaddr
        provider: Object | None = asking
        S = Z = 0
        if number:
            wanted, copy = asking.symbols[number], type_ == COPY[arch]
            bound = find(wanted, asking, scope, call=type_ == JUMP_SLOT[arch], copy=copy)
            if copy:
                assert bound is not None
                content = _content(expected(bound[0], scope, host, stubs), bound[1])[: wanted.size]
                memory[at : at + len(content)] = content
                continue
            if bound is None:
                provider = None
                S = 0 if wanted.bind == 2 or wanted.type == 6 else host(wanted.name)
            else:
                provider, symbol = bound
                if symbol.type == 10:
                    continue  # decided by code of the guest
                S, Z = symbol.value, symbol.size
                if symbol.section != 0xFFF1 and symbol.type != 6:
                    S += provider.bias
        if provider is None and wanted.type == 6 and type_ != DESCRIPTOR[arch]:
            continue  # ld.so leaves the words of an undefined thread-local symbol alone
        tls = provider.image.tls if provider is not None else None
        M, T = (tls.id, tls.offset) if tls else (0, 0)
        if type_ == DESCRIPTOR[arch]:
            # On Arm the word holds the symbol's index for a lazy resolver (glibc, sysdeps/arm/dl-tlsdesc.h).
            addend = 0 if arch == "arm" and number else explicit
            _write_descriptor(asking, memory, at, S + T, addend, stubs[number != 0 and provider is None])
            continue
        width = MACHINES[arch](0, 0, 0, 0, 0, 0, 0)[type_][0]
        A = _in_place(arch, type_, memory[at : at + width]) if explicit is None else explicit
        width, value = MACHINES[arch](S, A, offset + asking.bias, asking.bias, M, T, Z)[type_]
        memory[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    _rebase_pointers(asking, result)
    return {vaddr: bytes(memory) for vaddr, memory in result.items()}


def _in_place(arch: str, type_: int, word: bytearray) -> int:
    """The addend in a place. A jump slot holds an address in the PLT instead (musl, ldso/dynlink.c)."""
    return 0 if type_ == JUMP_SLOT[arch] else int.from_bytes(word, "little", signed=True)


def _content(segments: Mapping[int, bytes], symbol: Symbol) -> bytes:
    """What the variable `symbol` holds."""
    start, content = next(item for item in segments.items() if item[0] <= symbol.value < item[0] + len(item[1]))
    return content[symbol.value - start :][: symbol.size]


def _write_descriptor(
    asking: Object, memory: bytearray, at: int, offset: int, addend: int | None, function: int
) -> None:
    word = asking.bits // 8
    argument = 0 if asking.arch == "arm" else word
    if addend is None:
        addend = _signed(int.from_bytes(memory[at + argument :][:word], "little"), asking.bits)
    for where, value in ((argument, offset + addend), (word - argument, function)):
        memory[at + where : at + where + word] = (value % (1 << asking.bits)).to_bytes(word, "little")


def _rebase_pointers(asking: Object, segments: Mapping[int, bytearray]) -> None:
    for offset in asking.pointers:
        vaddr = next(v for v, memory in segments.items() if v <= offset < v + len(memory))
        memory, at, word = segments[vaddr], offset - vaddr, asking.bits // 8
        value = int.from_bytes(memory[at : at + word], "little") + asking.bias
        memory[at : at + word] = (value % (1 << asking.bits)).to_bytes(word, "little")
