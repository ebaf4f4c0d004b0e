"""A shared object with its headers edited: what patchelf, sstrip, packers and old linkers leave behind."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial

#: By EI_CLASS: the struct of a program header with its fields, and (offset, format) of the ELF header's fields.
_HEADERS = {
    1: (struct.Struct("<IIIIIIII"), ("type", "offset", "vaddr", "paddr", "filesz", "memsz", "flags", "align")),
    2: (struct.Struct("<IIQQQQQQ"), ("type", "flags", "offset", "vaddr", "paddr", "filesz", "memsz", "align")),
}
_FIRST = {"osabi": (7, "<B"), "type": (16, "<H"), "machine": (18, "<H")}
_NAMES = ("entry", "phoff", "shoff", "flags", "ehsize", "phentsize", "phnum", "shentsize", "shnum", "shstrndx")
_FIELDS = {
    1: _FIRST
    | dict(zip(_NAMES, ((24 + 4 * n, "<I") if n < 4 else (32 + 2 * n, "<H") for n in range(10)), strict=True)),
    2: _FIRST
    | {"entry": (24, "<Q"), "phoff": (32, "<Q"), "shoff": (40, "<Q"), "flags": (48, "<I")}
    | dict(zip(_NAMES[4:], ((52 + 2 * n, "<H") for n in range(6)), strict=True)),
}
LOAD, DYNAMIC, INTERP, TLS, STACK, RELRO = 1, 2, 3, 7, 0x6474E551, 0x6474E552
#: Dynamic tags; an unknown one takes an entry out.
NEEDED, HASH, STRSZ, SYMENT, SONAME, INIT_ARRAYSZ, GNU_HASH, NONE = 1, 4, 10, 11, 14, 27, 0x6FFFFEF5, 0x6FFFFEF4


class Shape:
    """A little-endian file to edit."""

    def __init__(self, content: bytes) -> None:
        self.content = bytearray(content)
        self.elf_class = content[4]
        self.wide = self.elf_class == 2
        self._form, self._names = _HEADERS[self.elf_class]
        self._words = "<QQ" if self.wide else "<II"
        self.table, self.count = self.get("phoff"), self.get("phnum")

    def far(self, power: int) -> int:
        """A number too large for the file, which its words can hold."""
        return 1 << power if self.wide else 1 << 30

    def get(self, name: str) -> int:
        """A field of the ELF header."""
        at, form = _FIELDS[self.elf_class][name]
        (value,) = struct.unpack_from(form, self.content, at)
        assert isinstance(value, int)
        return value

    def set(self, name: str, value: int) -> Shape:
        """Set a field of the ELF header."""
        at, form = _FIELDS[self.elf_class][name]
        return self.write(at, form, value)

    def header(self, number: int) -> dict[str, int]:
        """A program header."""
        at = self.table + self._form.size * number
        return dict(zip(self._names, self._form.unpack_from(self.content, at), strict=True))

    def of(self, type_: int) -> list[int]:
        """The numbers of the program headers of a type."""
        return [number for number in range(self.count) if self.header(number)["type"] == type_]

    def change(self, number: int, **values: int) -> Shape:
        """Set fields of a program header."""
        fields = self.header(number) | values
        self._form.pack_into(self.content, self.table + self._form.size * number, *fields.values())
        return self

    def all_loads(self, **values: int) -> Shape:
        for number in self.of(LOAD):
            self.change(number, **values)
        return self

    def swap(self, one: int, other: int) -> Shape:
        first, second = self.header(one), self.header(other)
        return self.change(one, **second).change(other, **first)

    def _dynamic(self) -> Iterator[tuple[int, int, int]]:
        header = self.header(self.of(DYNAMIC)[0])
        for at in range(header["offset"], header["offset"] + header["filesz"], struct.calcsize(self._words)):
            yield at, *struct.unpack_from(self._words, self.content, at)

    def value(self, tag: int) -> int:
        return next(value for _, found, value in self._dynamic() if found == tag)

    def dynamic(self, tag: int, value: int, new: int | None = None) -> Shape:
        """Set an entry of the dynamic section, or put another tag in its place."""
        at = next(at for at, found, _ in self._dynamic() if found == tag)
        struct.pack_into(self._words, self.content, at, tag if new is None else new, value)
        return self

    def write(self, at: int, form: str, value: int) -> Shape:
        struct.pack_into(form, self.content, at, value)
        return self

    def cut(self, at: int) -> Shape:
        """End the file there, without section headers."""
        del self.content[at:]
        return self.set("shoff", 0).set("shnum", 0)


def _last(shape: Shape) -> dict[str, int]:
    return shape.header(shape.of(LOAD)[-1])


Edit = Callable[[Shape], Shape]


#: name -> edit. What each target's ld.so makes of them is in arch_fixtures/golden/shapes.json.
def _aligned(shape: Shape, align: int) -> Shape:
    return shape.all_loads(align=align)


TAKEN: dict[str, Edit] = {
    "plain": lambda s: s,
    **{f"p_align {a:#x}": partial(_aligned, align=a) for a in (0, 1, 3, 8, 1 << 16, 1 << 21, 1 << 30)},
    "two relros": lambda s: s.change(
        s.of(STACK)[0], type=RELRO, vaddr=_last(s)["vaddr"] & -4096, memsz=4096, filesz=0, flags=4
    ),
    "empty relro": lambda s: s.change(s.of(RELRO)[0], memsz=0),
    "relro ends within a page": lambda s: s.change(s.of(RELRO)[0], memsz=s.header(s.of(RELRO)[0])["memsz"] - 8),
    "overlapping segments": lambda s: s.change(s.of(LOAD)[1], memsz=s.header(s.of(LOAD)[1])["memsz"] + 0x3000),
    "file ends in the last page": lambda s: s.cut(_last(s)["offset"] + _last(s)["filesz"]),
    "no sections": lambda s: s.cut(len(s.content)).set("shstrndx", 0),
    "section table past the end": lambda s: s.set("shoff", s.far(60)),
    "section name table of no section": lambda s: s.set("shstrndx", 0xFFF0),
    "section header size": lambda s: s.set("shentsize", 7),
    "DT_STRSZ 0": lambda s: s.dynamic(STRSZ, 0),
    "old hash without buckets beside a good one": lambda s: s.write(s.value(HASH), "<I", 0),
    "no GNU hash": lambda s: s.dynamic(GNU_HASH, 0, NONE),
    "no old hash": lambda s: s.dynamic(HASH, 0, NONE),
    "GNU/Linux OS ABI": lambda s: s.set("osabi", 3),
    "e_flags": lambda s: s.set("flags", 0x1234),
    "e_ehsize": lambda s: s.set("ehsize", 1),
    "e_entry": lambda s: s.set("entry", 0xDEADBEEF),
    "executable stack": lambda s: s.change(s.of(STACK)[0], flags=7),
    "no stack header": lambda s: s.change(s.of(STACK)[0], type=0),
    "unknown program header": lambda s: s.change(s.of(STACK)[0], type=0x65041580),
    "short PT_DYNAMIC": lambda s: s.change(s.of(DYNAMIC)[0], filesz=16, memsz=16),
    "p_offset of PT_DYNAMIC": lambda s: s.change(s.of(DYNAMIC)[0], offset=3),
    "empty PT_LOAD": lambda s: s.change(
        s.of(STACK)[0], type=LOAD, vaddr=0x7000000, memsz=0, filesz=0, offset=0, align=4096
    ),
    "bss at an offset past the end": lambda s: s.change(
        s.of(STACK)[0], type=LOAD, vaddr=0x100000, memsz=4096, filesz=0, offset=s.far(40), flags=6, align=4096
    ),
    "all segments rwx": lambda s: s.all_loads(flags=7),
    "other segment flags": lambda s: s.change(s.of(LOAD)[-1], flags=0xF0000006),
    "empty PT_TLS": lambda s: s.change(s.of(STACK)[0], type=TLS, vaddr=16, memsz=0, filesz=0, offset=16, align=1),
    "DT_SONAME outside the strings": lambda s: s.dynamic(SONAME, s.far(40)),
    "DT_NEEDED of an empty name": lambda s: s.dynamic(SONAME, 0, NEEDED),
}
#: Refused by glibc and here, with the words of our error.
REFUSED: dict[str, tuple[Edit, str]] = {
    "cut within data": (lambda s: s.cut(_last(s)["offset"] + 4 - 0x1000), "the file has"),
    "GNU hash without buckets": (lambda s: s.write(s.value(GNU_HASH), "<I", 0), "undefined symbol"),
    "old hash without buckets": (
        lambda s: s.write(s.value(HASH), "<I", 0).dynamic(GNU_HASH, 0, NONE),
        "undefined symbol",
    ),
    "FreeBSD": (lambda s: s.set("osabi", 9), "FreeBSD"),
    "program headers of another size": (lambda s: s.set("phentsize", 8), "e_phentsize"),
    "relocatable": (lambda s: s.set("type", 1), ""),
    "of no type": (lambda s: s.set("type", 0), "type 0"),
    "a core file": (lambda s: s.set("type", 4), "core file"),
    "of another machine": (lambda s: s.set("machine", 3 if s.get("machine") != 3 else 62), ""),
    "program headers past the end": (lambda s: s.set("phoff", len(s.content) - 8), ""),
    "no program headers": (lambda s: s.set("phnum", 0), ""),
}
