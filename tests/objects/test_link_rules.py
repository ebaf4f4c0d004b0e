"""Rules of a link editor, one by one: what GNU ld and lld both do with these objects.

Where the two differ the rule says whose it is. On an ISA whose entries have addends, and on one with addends in
place.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from relink import HostMemory, Image, Linker, LoadOptions
from relink.elf.constants import SectionType
from relink.errors import LinkError, LinkErrors, UnsupportedElf
from tests.fixtures import arch_of
from tests.objects.build import archived, compiled, zig

TARGETS = ("x86_64", "arm")


class Linked:
    """A linked image, and what its memory holds."""

    def __init__(self, linker: Linker, image: Image) -> None:
        self._linker, self._image = linker, image

    def at(self, name: str) -> int:
        return self._image.symbol(name).address

    def word(self, name: str) -> int:
        return self.words(self.at(name), 1)[0]

    def words(self, address: int, count: int) -> list[int]:
        size = self._linker.architecture.word_size
        content = self._linker.memory.read(address, count * size)
        return [int.from_bytes(content[n * size :][:size], "little") for n in range(count)]

    def long(self, name: str) -> int:
        return int.from_bytes(self._linker.memory.read(self.at(name), 4), "little")

    def exported(self, name: str) -> bool:
        return name in self._image.exports


def group(name: str, body: str, signature: str = "group") -> str:
    """A section of a COMDAT group."""
    return f'.section {name},"axG",%progbits,{signature},comdat\n{body}\n'


def value(name: str, number: int, bind: str = ".globl") -> str:
    """A variable."""
    return f".data\n{bind} {name}\n{name}: .4byte {number}\n.p2align 3\n"


def refer(name: str, at: str = "q", before: str = "") -> str:
    """A pointer to a symbol."""
    return f"{before}\n.data\n.p2align 3\n.globl {at}\n{at}: .dc.a {name}\n"


_THREAD_LOCAL = '.section .tdata,"awT",%progbits\n.globl tv\n.type tv,%tls_object\ntv: .4byte 3\n'
_META = '.section meta,"ao",%progbits,.text.{0}\n.globl m{0}\nm{0}: .dc.a {1}\n'
_CONSTRUCTORS = "".join(
    f'.section {name},"aw"\n' + "".join(f".dc.a {number}\n" for number in numbers)
    for name, numbers in {
        ".init_array": [11],
        ".init_array.7": [7],
        ".init_array.00100": [100],
        ".ctors.65000": [535],
        ".ctors": [21, 22],
    }.items()
)
_ONCE = '.section .gnu.linkonce.t.f,"ax",%progbits\n{0} f\nf: .4byte {1}\n'
_FOO = '.section foo,"aw",%progbits\n.dc.a 1\n'
#: (rule, objects, what holds).
HOLDS: list[tuple[str, Sequence[str], Callable[[Linked], bool]]] = [
    ("strong before weak", [value("v", 1, ".weak"), value("v", 2)], lambda k: k.long("v") == 2),
    ("first of two weak", [value("v", 1, ".weak"), value("v", 2, ".weak")], lambda k: k.long("v") == 1),
    ("common before weak", [value("v", 1, ".weak"), ".comm v,4,4\n"], lambda k: k.long("v") == 0),
    ("strong before common", [".comm v,4,4\n", value("v", 2)], lambda k: k.long("v") == 2),
    (
        "largest common, strictest alignment",
        [".comm v,4,4\n", ".comm v,64,4\n", ".comm v,8,128\n" + value("past", 1)],
        lambda k: k.at("v") % 128 == 0 and k._image.symbol("v").size == 64,
    ),
    ("same number twice", [".globl n\nn = 5\n", ".globl n\nn = 5\n" + refer("n")], lambda k: k.word("q") == 5),
    ("undefined weak", [refer("gone", before=".weak gone")], lambda k: k.word("q") == 0),
    ("undefined weak and hidden", [refer("gone", before=".weak gone\n.hidden gone")], lambda k: k.word("q") == 0),
    ("weakref", [refer("other", before=".weakref other,gone")], lambda k: k.word("q") == 0),
    (
        "the strictest visibility of all mentions",
        [".hidden v\n" + refer("v"), value("v", 1)],
        lambda k: not k.exported("v") and k.word("q") != 0,
    ),
    ("alias", [".data\n.globl b\n.set b,a+4\na: .4byte 1\n.4byte 2\n"], lambda k: k.long("b") == 2),
    (
        "first COMDAT group",
        [
            group(".text.f", ".weak f\nf: .4byte 1") + refer("f", "p"),
            group(".text.f", ".weak f\nf: .4byte 2") + refer("f"),
        ],
        lambda k: k.long("f") == 1 and k.word("p") == k.word("q") == k.at("f"),
    ),
    (
        "groups that are not COMDAT are all kept",
        [
            '.section .a,"awG",%progbits,g\n.globl a\na: .4byte 1\n',
            '.section .a,"awG",%progbits,g\n.globl b\nb: .4byte 2\n',
        ],
        lambda k: (k.long("a"), k.long("b")) == (1, 2),
    ),
    (
        "first of link-once sections",
        [_ONCE.format(".weak", n) for n in (1, 2)],
        lambda k: k.long("f") == 1,
    ),
    (
        "a link-once section after its COMDAT group (GNU ld)",
        [group(".text.f", ".globl f\nf: .4byte 1", "f"), _ONCE.format(".globl", 2)],
        lambda k: k.long("f") == 1,
    ),
    (
        "a COMDAT group after its link-once section (GNU ld)",
        [_ONCE.format(".globl", 2), group(".text.f", ".globl f\nf: .4byte 1", "f")],
        lambda k: k.long("f") == 2,
    ),
    (
        "debug sections may refer to what was discarded",
        [
            group(".text.f", ".weak f\nf: .4byte 1"),
            group(".text.f", ".weak f\nf: .4byte 2") + '.section .debug_x,"",%progbits\n.dc.a f\n.dc.a .text.f\n',
        ],
        lambda k: k.long("f") == 1,
    ),
    (
        "debug sections may refer to what nobody defines (lld)",
        ['.section .debug_info,"",%progbits\n.dc.a nowhere\n' + value("v", 1)],
        lambda k: k.long("v") == 1,
    ),
    (
        "edges of sections named as C identifiers",
        [_FOO + refer("__start_foo", "a") + refer("__stop_foo", "b"), _FOO],
        lambda k: k.word("b") - k.word("a") == 2 * k._linker.architecture.word_size,
    ),
    (
        "edges of no section, weakly",
        [refer("__start_bar", before=".weak __start_bar")],
        lambda k: k.word("q") == 0,
    ),
    ("a name of the linker's that is defined", [value("end", 3) + refer("end")], lambda k: k.long("end") == 3),
    ("_DYNAMIC, weakly", [refer("_DYNAMIC", before=".weak _DYNAMIC")], lambda k: k.word("q") == 0),
    (
        "sections in the order of what they are about",
        [
            '.section .text.a,"ax",%progbits\na: .4byte 0\n.section .text.b,"ax",%progbits\nb: .4byte 0\n'
            + _META.format("b", 2)
            + _META.format("a", 1).replace(".text.a", ".text.a,unique,1")
        ],
        lambda k: k.at("ma") < k.at("mb"),
    ),
    (
        "constructors by priority, .ctors among them",
        [_CONSTRUCTORS + refer("__init_array_start")],
        lambda k: k.words(k.word("q"), 6) == [7, 100, 535, 11, 22, 21],
    ),
    (
        "excluded sections",
        ['.section .ex,"ae",%progbits\n.4byte 1\n' + value("v", 2)],
        lambda k: not any(s.name == ".ex" for s in k._image.link_map().sections),
    ),
    (
        "a section of no size",
        ['.section .zz,"a",%progbits\n.globl z\nz:\n' + refer("z")],
        lambda k: k.word("q") == k.at("z"),
    ),
    (
        "section plus addend",
        ['.section .rodata.x,"a",%progbits\n.4byte 1\n.globl second\nsecond: .4byte 2\n' + refer(".rodata.x+4")],
        lambda k: k.word("q") == k.at("second"),
    ),
    (
        "strings that may be merged",
        ['.section .rodata.str1.1,"aMS",%progbits,1\n.asciz "abc"\n.globl t\nt: .asciz "def"\n' + refer("t")],
        lambda k: k.word("q") == k.at("t"),
    ),
    ("any name", ['.data\n.globl "a b$é"\n"a b$é": .4byte 4\n'], lambda k: k.long("a b$é") == 4),
    (
        "negative numbers",
        [".globl n\nn = -5\n" + refer("n")],
        lambda k: k.word("q") == (-5) & k._linker.architecture.address_mask,
    ),
    ("an object of nothing", ["\n", value("v", 1)], lambda k: k.long("v") == 1),
    ("zeros alone", [".bss\n.globl z\nz: .zero 10\n"], lambda k: k.long("z") == 0),
    ("a great alignment", [".data\n.p2align 16\n.globl v\nv: .4byte 1\n"], lambda k: k.at("v") % 65536 == 0),
]
#: (rule, objects, words of the error).
REFUSED: list[tuple[str, Sequence[str], str]] = [
    ("two definitions", [value("v", 1), value("v", 2)], "v is defined in"),
    (
        "two unique definitions",
        [value("v", n, ".type v,%gnu_unique_object\n#") for n in (1, 2)],
        "v is defined in",
    ),
    ("two numbers", [".globl n\nn = 5\n", ".globl n\nn = 6\n"], "n is defined in"),
    ("undefined", [refer("gone")], "undefined symbol: gone"),
    ("undefined and protected", [refer("gone", before=".protected gone")], "undefined symbol: gone"),
    ("undefined and hidden", [refer("gone", before=".hidden gone")], "hidden"),
    ("an edge of no section", [refer("__start_bar")], "__start_bar"),
    (
        "an edge of a section not named as a C identifier",
        ['.section .foo,"aw",%progbits\n.4byte 1\n' + refer("__start_.foo")],
        "__start_.foo",
    ),
    ("_DYNAMIC", [refer("_DYNAMIC")], "_DYNAMIC"),
    (
        "a definition of a name that is the linker's",
        [value("_GLOBAL_OFFSET_TABLE_", 1)],
        "is defined in the linker",
    ),
    (
        "a local symbol of a discarded group",
        [group(".text.f", "f: .4byte 1"), group(".text.f", "f: .4byte 2") + refer("f")],
        "was discarded",
    ),
    (
        "a symbol of an excluded section",
        ['.section .ex,"ae",%progbits\ne: .4byte 1\n' + refer("e")],
        "was discarded",
    ),
    ("thread-local here, not there (GNU ld)", [_THREAD_LOCAL, value("tv", 1, ".weak")], "tv is thread-local in"),
    ("the address of a thread-local symbol (GNU ld)", [_THREAD_LOCAL, refer("tv")], "thread-local"),
    ("a section of unknown type", ['.section .odd,"a",%0x3039\n.4byte 1\n'], "has the unknown type 0x3039"),
    ("a number too large", [".globl n\nn = 0x100\n", ".data\n.byte n\n"], "0x100 does not fit"),
]


def linked(target: str, objects: Sequence[Path], **options: object) -> Linked:
    linker = Linker(HostMemory(arch_of(target)))
    return Linked(linker, linker.load(objects, options=LoadOptions(**options)))  # type: ignore[arg-type]


def assembled(target: str, texts: Sequence[str]) -> list[Path]:
    return [compiled(target, text + "\n", language="assembler") for text in texts]


@pytest.mark.parametrize("target", TARGETS)
def test_what_linkers_accept_comes_to_the_same(target: str) -> None:
    for rule, texts, holds in HOLDS:
        assert holds(linked(target, assembled(target, texts))), rule


@pytest.mark.parametrize("target", TARGETS)
def test_what_linkers_refuse_is_an_error_that_says_so(target: str) -> None:
    for rule, texts, problem in REFUSED:
        objects = assembled(target, texts)
        with pytest.raises((LinkError, LinkErrors, UnsupportedElf)) as caught:
            linked(target, objects)
        assert re.search(re.escape(problem), str(caught.value)), (rule, str(caught.value))


def test_lld_takes_and_refuses_the_same(tmp_path: Path) -> None:
    rules = [(rule, texts, True) for rule, texts, _ in HOLDS] + [
        (rule, texts, False) for rule, texts, _ in REFUSED
    ]
    for rule, texts, accepted in rules:
        command = ["ld.lld", "-e", "0", "-o", str(tmp_path / "out"), *map(str, assembled("x86_64", texts))]
        done = subprocess.run([zig(), *command], capture_output=True, text=True, check=False)
        assert "(GNU ld)" in rule or (done.returncode == 0) == accepted, (rule, done.stderr)


@pytest.mark.parametrize("target", TARGETS)
def test_archives_are_asked_as_linkers_ask_them(target: str, tmp_path: Path) -> None:
    def archive(*texts: str) -> Path:
        number = len(list(tmp_path.iterdir()))
        return archived(tmp_path / f"{number}.a", assembled(target, texts))

    (user, weak, own, own_weak) = assembled(
        target, [refer("v"), refer("v", before=".weak v"), value("v", 1), value("v", 1, ".weak")]
    )
    one, two = archive(value("v", 11)), archive(value("v", 12))
    assert linked(target, [weak, one]).word("q") == 0, "a weak reference takes no member"
    assert linked(target, [user, one, two]).long("v") == 11, "the first archive answers"
    assert linked(target, [user, own, one]).long("v") == 1, "what is defined takes no member"
    assert linked(target, [user, own_weak, one]).long("v") == 1, "weakly neither"
    (common,) = assembled(target, [".comm v,4,4\n" + refer("v")])
    assert linked(target, [common, one]).long("v") == 0, "nor a common symbol (lld)"
    circle = archive(refer("b", "a"), value("c", 7)), archive(refer("c", "b"))
    (start,) = assembled(target, [refer("a")])
    assert linked(target, [start, *circle]).long("c") == 7, "archives may need each other in any order (lld)"
    plain = archived(tmp_path / "plain.a", assembled(target, [value("v", 13)]), "rcS")
    assert linked(target, [user, plain]).long("v") == 13, "one without an index is read (lld)"
    (tmp_path / "note.txt").write_text("no object")
    mixed = archived(tmp_path / "mixed.a", [tmp_path / "note.txt", *assembled(target, [value("v", 14)])])
    assert linked(target, [user, mixed]).long("v") == 14, "members that are no objects do not matter"


def with_addends(path: Path, folder: Path) -> Path:
    """An i386 object with its relocations as SHT_RELA, and nothing in the places themselves."""
    content = bytearray(path.read_bytes())
    (table,) = struct.unpack_from("<I", content, 32)
    size, count = struct.unpack_from("<HH", content, 46)
    rows = [list(struct.unpack_from("<10I", content, table + size * n)) for n in range(count)]
    for row in rows:
        if row[1] == SectionType.REL:
            target, added = rows[row[7]], b""
            for offset, info in struct.iter_unpack("<II", content[row[4] : row[4] + row[5]]):
                place = target[4] + offset
                added += struct.pack("<II", offset, info) + content[place : place + 4]
                content[place : place + 4] = bytes(4)
            row[1], row[4], row[5], row[9] = SectionType.RELA, len(content), len(added), 12
            content += added
    for number, row in enumerate(rows):
        struct.pack_into("<10I", content, table + size * number, *row)
    changed = folder / f"rela_{path.name}"
    changed.write_bytes(content)
    return changed


def test_objects_with_addends_in_entries_and_in_places_are_linked_together(tmp_path: Path) -> None:
    """As lld does on i386, and on Arm."""
    one, two = assembled("i386", [refer("b+8", "a") + value("c", 5), refer("c+12", "b")])
    for objects in (
        [one, with_addends(two, tmp_path)],
        [with_addends(one, tmp_path), two],
        [with_addends(one, tmp_path), with_addends(two, tmp_path)],
        [one, two],
    ):
        k = linked("i386", objects)
        assert (k.word("a") - k.at("b"), k.word("b") - k.at("c")) == (8, 12)
