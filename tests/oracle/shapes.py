"""A shared object with its headers edited: what patchelf, sstrip, packers and old linkers leave behind."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

_HEADER = struct.Struct("<IIQQQQQQ")
_FIELDS = ("type", "flags", "offset", "vaddr", "paddr", "filesz", "memsz", "align")
LOAD, DYNAMIC, INTERP, TLS, STACK, RELRO = 1, 2, 3, 7, 0x6474E551, 0x6474E552
#: Dynamic tags; an unknown one takes an entry out.
NEEDED, HASH, STRSZ, SYMENT, SONAME, INIT_ARRAYSZ, GNU_HASH, NONE = 1, 4, 10, 11, 14, 27, 0x6FFFFEF5, 0x6FFFFEF4


class Shape:
    """A 64-bit little-endian file to edit."""

    def __init__(self, content: bytes) -> None:
        self.content = bytearray(content)
        self.table, self.count = *struct.unpack_from("<Q", content, 32), *struct.unpack_from("<H", content, 56)

    def header(self, number: int) -> dict[str, int]:
        """A program header."""
        return dict(zip(_FIELDS, _HEADER.unpack_from(self.content, self.table + 56 * number), strict=True))

    def of(self, type_: int) -> list[int]:
        """The numbers of the program headers of a type."""
        return [number for number in range(self.count) if self.header(number)["type"] == type_]

    def change(self, number: int, **values: int) -> Shape:
        """Set fields of a program header."""
        fields = self.header(number) | values
        _HEADER.pack_into(self.content, self.table + 56 * number, *fields.values())
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
        for at in range(header["offset"], header["offset"] + header["filesz"], 16):
            yield at, *struct.unpack_from("<QQ", self.content, at)

    def value(self, tag: int) -> int:
        return next(value for _, found, value in self._dynamic() if found == tag)

    def dynamic(self, tag: int, value: int, new: int | None = None) -> Shape:
        """Set an entry of the dynamic section, or put another tag in its place."""
        at = next(at for at, found, _ in self._dynamic() if found == tag)
        struct.pack_into("<QQ", self.content, at, tag if new is None else new, value)
        return self

    def write(self, at: int, form: str, value: int) -> Shape:
        struct.pack_into(form, self.content, at, value)
        return self

    def cut(self, at: int) -> Shape:
        """End the file there, without section headers."""
        del self.content[at:]
        return self.write(40, "<Q", 0).write(60, "<H", 0)


def _last(shape: Shape) -> dict[str, int]:
    return shape.header(shape.of(LOAD)[-1])


Edit = Callable[[Shape], Shape]
#: name -> edit. What glibc's ld.so of the host makes of them is compared, load by load.
TAKEN: dict[str, Edit] = {
    "plain": lambda s: s,
    **{f"p_align {a:#x}": (lambda s, a=a: s.all_loads(align=a)) for a in (0, 1, 3, 8, 1 << 16, 1 << 21, 1 << 30)},
    "two relros": lambda s: s.change(
        s.of(STACK)[0], type=RELRO, vaddr=_last(s)["vaddr"] & -4096, memsz=4096, filesz=0, flags=4
    ),
    "empty relro": lambda s: s.change(s.of(RELRO)[0], memsz=0),
    "relro ends within a page": lambda s: s.change(s.of(RELRO)[0], memsz=s.header(s.of(RELRO)[0])["memsz"] - 8),
    "overlapping segments": lambda s: s.change(s.of(LOAD)[1], memsz=s.header(s.of(LOAD)[1])["memsz"] + 0x3000),
    "file ends in the last page": lambda s: s.cut(_last(s)["offset"] + _last(s)["filesz"]),
    "no sections": lambda s: s.cut(len(s.content)).write(62, "<H", 0),
    "section table past the end": lambda s: s.write(40, "<Q", 1 << 60),
    "section name table of no section": lambda s: s.write(62, "<H", 0xFFF0),
    "section header size": lambda s: s.write(58, "<H", 7),
    "DT_STRSZ 0": lambda s: s.dynamic(STRSZ, 0),
    "old hash without buckets beside a good one": lambda s: s.write(s.value(HASH), "<I", 0),
    "no GNU hash": lambda s: s.dynamic(GNU_HASH, 0, NONE),
    "no old hash": lambda s: s.dynamic(HASH, 0, NONE),
    "GNU/Linux OS ABI": lambda s: s.write(7, "<B", 3),
    "e_flags": lambda s: s.write(48, "<I", 0x1234),
    "e_ehsize": lambda s: s.write(52, "<H", 1),
    "e_entry": lambda s: s.write(24, "<Q", 0xDEADBEEF),
    "executable stack": lambda s: s.change(s.of(STACK)[0], flags=7),
    "no stack header": lambda s: s.change(s.of(STACK)[0], type=0),
    "unknown program header": lambda s: s.change(s.of(STACK)[0], type=0x65041580),
    "short PT_DYNAMIC": lambda s: s.change(s.of(DYNAMIC)[0], filesz=16, memsz=16),
    "p_offset of PT_DYNAMIC": lambda s: s.change(s.of(DYNAMIC)[0], offset=3),
    "empty PT_LOAD": lambda s: s.change(
        s.of(STACK)[0], type=LOAD, vaddr=0x7000000, memsz=0, filesz=0, offset=0, align=4096
    ),
    "bss at an offset past the end": lambda s: s.change(
        s.of(STACK)[0], type=LOAD, vaddr=0x100000, memsz=4096, filesz=0, offset=1 << 40, flags=6, align=4096
    ),
    "all segments rwx": lambda s: s.all_loads(flags=7),
    "other segment flags": lambda s: s.change(s.of(LOAD)[-1], flags=0xF0000006),
    "empty PT_TLS": lambda s: s.change(s.of(STACK)[0], type=TLS, vaddr=16, memsz=0, filesz=0, offset=16, align=1),
    "DT_SONAME outside the strings": lambda s: s.dynamic(SONAME, 1 << 40),
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
    "FreeBSD": (lambda s: s.write(7, "<B", 9), "FreeBSD"),
    "program headers of another size": (lambda s: s.write(54, "<H", 8), "e_phentsize"),
    "relocatable": (lambda s: s.write(16, "<H", 1), ""),
    "of no type": (lambda s: s.write(16, "<H", 0), "type 0"),
    "a core file": (lambda s: s.write(16, "<H", 4), "core file"),
    "of i386": (lambda s: s.write(18, "<H", 3), ""),
    "program headers past the end": (lambda s: s.write(32, "<Q", len(s.content) - 8), ""),
    "no program headers": (lambda s: s.write(56, "<H", 0), ""),
}
