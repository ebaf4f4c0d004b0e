"""Program headers that are as linkers write them are checked at once: with the result of the checks one by one."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from relink.elf import ProgramHeader, segments
from relink.elf.findings import Findings
from relink.elf.headers import MAX_ALIGN, MAX_SPAN, Header
from relink.errors import ElfError

_FILE = 0x6000
_HEADERS = tuple(Header(bits, 62, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) for bits in (32, 64))
_LOAD, _DYNAMIC, _TLS, _RELRO = 1, 2, 7, 0x6474E552


def _loads(chance: random.Random) -> list[ProgramHeader]:
    """Segments one after the other, most of them sound."""
    made, vaddr = list[ProgramHeader](), chance.choice((0, 0x1000, 0x1234, (1 << 32) - 0x4000))
    for _ in range(chance.randrange(1, 4)):
        filesz = chance.choice((0, 0x10, 0x800, 0x1000))
        memsz = filesz + chance.choice((0, 0, 0x20, 0x1800, -1, MAX_SPAN))
        align = chance.choice((0x1000, 0x1000, 0x1000, 0x10, 0, 3, MAX_ALIGN * 2))
        offset = vaddr % 0x1000 + 0x1000 * chance.randrange(6) + chance.choice((0, 0, 0, 8))
        made.append(ProgramHeader(_LOAD, 6, offset, vaddr, vaddr, filesz, max(memsz, 0), align))
        vaddr += max(memsz, 0) + chance.choice((0, 0x40, 0x1000, 0x2340, -0x10))
        vaddr = max(vaddr, 0)
    return made if chance.random() < 0.9 else made[::-1]


def _within(chance: random.Random, loads: list[ProgramHeader]) -> list[ProgramHeader]:
    """Special segments, most of them in one of those."""
    made = list[ProgramHeader]()
    for type_ in chance.choices((_DYNAMIC, _TLS, _RELRO), k=chance.randrange(4)):
        load = chance.choice(loads)
        vaddr = load.vaddr + chance.choice((0, 8, 0x400, 0x1000))
        filesz = chance.choice((0, 0x10, 0x400))
        memsz = max(filesz + chance.choice((0, 0, 0x100, 0xC00, -8, MAX_SPAN)), 0)
        align = chance.choice((8, 8, 8, 1, 0, 12, MAX_ALIGN * 2))
        made.append(ProgramHeader(type_, 6, load.offset, vaddr, vaddr, filesz, memsz, align))
    return made


def _said(headers: list[ProgramHeader], header: Header, size: int | None) -> tuple[object, ...]:
    """What the checks find, or raise."""
    findings = Findings("a file", tolerant=True)
    try:
        kept = segments.loadable_segments(header, headers, size, findings)
        ordered = sorted(kept, key=lambda segment: segment.vaddr)
        segments.check_special(header, headers, {each.type for each in headers}, ordered, findings)
    except ElfError as error:
        return ("raised", str(error))
    return kept, [*map(str, findings.warnings)], [*map(str, findings.problems)]


def test_checks_at_once_find_what_checks_one_by_one_do(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(20)
    cases = []
    for _ in range(4000):
        loads = _loads(chance)
        cases.append((loads + _within(chance, loads), chance.choice(_HEADERS), chance.choice((None, _FILE))))
    counted = {"_are_usual": 0, "_is_plain": 0}

    def count(name: str) -> Callable[..., bool]:
        check = getattr(segments, name)

        def counting(*arguments: object) -> bool:
            found: bool = check(*arguments)
            counted[name] += found
            return found

        return counting

    for name in counted:
        monkeypatch.setattr(segments, name, count(name))
    at_once = [_said(*case) for case in cases]
    assert min(counted.values()) > 400, "few cases that are usual"
    for name in counted:
        monkeypatch.setattr(segments, name, lambda *arguments: False)
    for case, found in zip(cases, at_once, strict=True):
        assert found == _said(*case), case
