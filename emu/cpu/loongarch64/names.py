"""LoongArch64's instructions as text, from this project's specification and its table of vector instructions.

Capstone 5 does not know LoongArch. Names and encodings are read from the SLEIGH files when the first
instruction is to be named; operands are the registers and immediates at their fixed places. LASX, which is not
run, has the codes of LSX with another prefix, and is named so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from emu.cpu.loongarch64 import lsx
from emu.cpu.loongarch64.registers import INTEGER_REGISTERS

_SPECIFICATION: Final = Path(__file__).parent / "Ghidra/Processors/RISCV/data/languages"
_FIELD = re.compile(r"\b(\w+)=\((\d+),(\d+)\)")
#: A constructor: of an instruction, which begins with a colon, or of a table, whose name is before it.
_CONSTRUCTOR = re.compile(r"^(\w*):([^\n]*?)\sis\s(.*?)[\[{]", re.MULTILINE | re.DOTALL)
_TOKEN = re.compile(r"\w+=\w+|\w+|[|&()]")
_LASX_PREFIXES: Final = {0x74: 0x70, 0x75: 0x71, 0x76: 0x72, 0x77: 0x73}  #: the first byte -> LSX's

_Pattern = tuple[int, int]  #: (bits that matter, their values)
_Row = tuple[str, list[_Pattern], list[str]]  #: (text, patterns, registers) of a table


class _Form(NamedTuple):
    name: str
    operands: tuple[str, ...]
    pattern: _Pattern


class _Specification:
    """The files, parsed."""

    def __init__(self) -> None:
        files = [_SPECIFICATION / "loongarch64.slaspec", *sorted(_SPECIFICATION.glob("*.sinc"))]
        text = "\n".join(file.read_text() for file in files)
        self._fields = {name: (int(low), int(high)) for name, low, high in _FIELD.findall(text)}
        self._tables: dict[str, list[_Row]] = {}
        instructions = []
        for table, shown, condition in _CONSTRUCTOR.findall(text):
            patterns = self._alternatives(iter(_TOKEN.findall(condition)))
            if table:
                operands = [each for each in re.findall(r"\w+", condition) if each in _REGISTERS]
                self._tables.setdefault(table, []).append((shown.strip().strip('"'), patterns, operands))
            else:
                name, _, operands = shown.strip().partition(" ")
                instructions.append((name, operands, patterns))
        self.forms = [form for row in instructions for form in self._forms(*row)]
        self.forms.sort(key=lambda form: -form.pattern[0].bit_count())

    def _alternatives(self, tokens: Iterator[str]) -> list[_Pattern]:
        """The patterns of an expression of &, | and parentheses, up to its end."""
        every: list[_Pattern] = []
        current: list[_Pattern] = [(0, 0)]
        for token in tokens:
            if token == ")":
                break
            if token == "|":
                every, current = every + current, [(0, 0)]
            elif token == "(":
                current = _both(current, self._alternatives(tokens))
            elif "=" in token:
                name, _, value = token.partition("=")
                low, high = self._fields[name]
                mask = (1 << high - low + 1) - 1
                current = _both(current, [(mask << low, int(value, 0) << low)])
        return every + current

    def _forms(self, name: str, operands: str, patterns: list[_Pattern]) -> Iterator[_Form]:
        """With each entry of the tables that parts of the name stand for."""
        first, *rest = re.findall(r"\w+", operands) or [""]
        for full, each, more in self._expanded(name, patterns):
            for pattern in each:
                yield _Form(full, (first, *(item for item in more if item not in (first, *rest)), *rest), pattern)

    def _expanded(self, name: str, patterns: list[_Pattern]) -> list[_Row]:
        names: list[_Row] = [("", patterns, [])]
        for part in re.split(r'"?\^"?', name):
            entries = self._tables.get(part, [(part.strip('"'), [(0, 0)], [])])
            if part in self._tables:
                inner = [(self._expanded(shown, each), places) for shown, each, places in entries]
                entries = [(text, each, [*more, *places]) for found, places in inner for text, each, more in found]
            names = [
                (head + tail, _both(one, two), left + right)
                for head, one, left in names
                for tail, two, right in entries
            ]
        return names


def _both(one: list[_Pattern], other: list[_Pattern]) -> list[_Pattern]:
    """The patterns of words that match one of each list; those that contradict each other are left out."""
    return [
        (mask | mask2, value | value2)
        for mask, value in one
        for mask2, value2 in other
        if not (value ^ value2) & mask & mask2
    ]


@cache
def _specification() -> _Specification:
    return _Specification()


_PLACES: Final = (("d", 0), ("j", 5), ("k", 10), ("a", 15))
#: Where an operand's register is: the lowest bit and the register's kind.
_REGISTERS: Final[Mapping[str, tuple[int, str]]] = {
    **{prefix + letter: (low, "r") for prefix in "rRW" for letter, low in (("d", 0), ("j", 5), ("k", 10))},
    **{prefix + letter: (low, "r") for prefix in "RW" for letter, low in (("D", 0), ("J", 5), ("K", 10))},
    **{f"f{letter}": (low, "f") for letter, low in _PLACES},
    **{f"f{letter}_s": (low, "f") for letter, low in _PLACES},
    **{f"v{letter}_h": (low, "vr") for letter, low in _PLACES},
    **{f"c{letter}": (low, "fcc") for letter, low in (("d", 0), ("j", 5), ("a", 15))},
}
#: An immediate's lowest bit, its size, its factor, and whether it is added to the address of the instruction.
_IMMEDIATES: Final[Mapping[str, tuple[int, int, int, bool]]] = {
    "u2": (15, 2, 1, False), "u3": (15, 3, 1, False), "u5": (10, 5, 1, False), "u6": (10, 6, 1, False),
    "u12": (10, 12, 1, False), "u8": (10, 8, 1, False), "code": (0, 15, 1, False), "hint": (0, 5, 1, False),
    "i12": (10, -12, 1, False), "I12up52": (10, -12, 1, False), "I20up12": (5, -20, 1, False),
    "I20up32": (5, -20, 1, False), "I16up16": (10, -16, 1, False), "Pc20up2": (5, -20, 1, False),
    "Pc20up12": (5, -20, 1, False), "Pc20up18": (5, -20, 1, False), "Page20": (5, -20, 1, False),
    "To16": (10, -16, 4, True), "Off16": (10, -16, 4, False),
}  # fmt: skip
#: Memory: the immediate's size and factor.
_MEMORY: Final = {"At12": (12, 1), "At14": (14, 4), "At9d": (9, 8), "At10w": (10, 4), "At11h": (11, 2)}


def instruction(word: int, address: int) -> str | None:
    """A word as text; None for one that is unknown."""
    if word >> 24 in _LASX_PREFIXES:
        plain = instruction(word & 0x00FF_FFFF | _LASX_PREFIXES[word >> 24] << 24, address)
        return None if plain is None else "x" + plain.replace("$vr", "$xr")
    vector = lsx.decode(word)
    if vector is not None:
        count = 1 + len(re.sub("[^jka]", "", vector.operands))
        registers = [f"$vr{word >> low & 31}" for low in (0, 5, 10, 15)[:count]]
        return f"{_full(vector.name, word)} {', '.join(registers)}"
    for form in _specification().forms:
        if word & form.pattern[0] == form.pattern[1]:
            vectors = form.name.startswith("v")
            shown = (_operand(each, word, address, vectors) for each in form.operands)
            return f"{_full(form.name, word)} {', '.join(filter(None, shown))}".rstrip()
    return None


def _full(name: str, word: int) -> str:
    """A name as assemblers have it: the specification leaves lanes and barriers to operands."""
    lane = "bhwd"[word >> 15 & 3]
    if re.fullmatch("vs[lr][la]i|vrotri", name):  # a bit above the immediate marks the lane
        lane = next((lane for lane, low in zip("bhw", (13, 14, 15), strict=True) if word >> low & 1), "d")
    name = re.sub(r"^(am\w+)u\.([wd])$", r"\1.\2u", name)
    if name.startswith("am") and 0x70D2 <= word >> 15 <= 0x70E3:
        name = name.replace(".", "_db.", 1)
    if name.startswith("v") and name.endswith(".u"):
        return f"{name[:-1]}{lane}u"
    if name.startswith("vfcmp"):
        return name.replace(".", f".{_CONDITIONS[word >> 15 & 31]}.", 1)
    if name.startswith("ftint") and not name.endswith((".s", ".d")):
        return f"{name}.{'sd'[(word >> 10 & 3) - 1]}"
    if name.startswith("fcmp"):
        return f"fcmp.{_CONDITIONS[word >> 15 & 31]}.{'sd'[(word >> 20) - 0xC1]}"
    return name if "." in name or not re.match("v(?!ld|st)", name) else f"{name}.{lane}"


_CONDITIONS: Final = (
    "caf saf clt slt ceq seq cle sle cun sun cult sult cueq sueq cule sule cne sne - - cor sor - - cune sune"
    " - - - - - -"
).split()


def _operand(name: str, word: int, address: int, vectors: bool) -> str:
    """As text; empty for one that has no fixed place."""
    if name in _REGISTERS:
        low, kind = _REGISTERS[name]
        number = word >> low & (7 if kind == "fcc" else 31)
        if kind == "r":
            return f"${INTEGER_REGISTERS[number]}"
        return f"${'vr' if vectors and kind == 'f' else kind}{number}"
    if name in _IMMEDIATES:
        low, size, factor, relative = _IMMEDIATES[name]
        value = _signed(word >> low, size) * factor
        return f"{address + value & (1 << 64) - 1:#x}" if relative else str(value)
    if name in ("To21", "To26"):
        size = int(name[2:])
        value = word >> 10 & 0xFFFF | (word & (1 << size - 16) - 1) << 16
        return f"{address + 4 * _signed(value, -size) & (1 << 64) - 1:#x}"
    base = f"${INTEGER_REGISTERS[word >> 5 & 31]}"
    if name in _MEMORY:
        size, factor = _MEMORY[name]
        return f"{base}, {_signed(word >> 10, -size) * factor}"
    return f"{base}, ${INTEGER_REGISTERS[word >> 10 & 31]}" if name in ("AtRK", "AtGT", "AtLE") else ""


def _signed(value: int, size: int) -> int:
    """The low bits of a value; signed where `size` is negative."""
    bits = abs(size)
    value &= (1 << bits) - 1
    return value - (1 << bits) if size < 0 and value >> bits - 1 else value
