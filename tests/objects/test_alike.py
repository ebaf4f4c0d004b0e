"""Objects that differ from a kept one in the bytes of loaded sections alone, or elsewhere, are as by arrays."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest

from relink.arch import architecture
from relink.objects.small import SmallObject
from relink.search import alike
from relink.search.decoded_cache import CACHE
from relink.search.open import open_image
from tests.counting import python_calls
from tests.elf.build_object import Sec, Sym, simple_object
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled
from tests.objects.test_small import PROVIDER, SOURCES, assert_same, mutated


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> alike.AlikeObjects:
    """None but those of the test, and no file: what one path has linked is not for the other."""
    made = alike.AlikeObjects()
    monkeypatch.setattr(alike, "ALIKE", made)
    monkeypatch.setattr(CACHE, "enabled", True)
    monkeypatch.setattr(CACHE, "get", lambda *asked: None)
    monkeypatch.setattr(CACHE, "put", lambda *kept, **how: None)
    return made


def linked(content: bytes, arch: str = "x86_64") -> SmallObject:
    found = open_image(content, architecture(arch))
    assert isinstance(found, SmallObject)
    return found


def with_bytes(rng: random.Random, content: bytes, small: SmallObject) -> bytes:
    """The object with other bytes in some loaded sections."""
    data = bytearray(content)
    parts = [(at, at + end - start) for start, end, at, padding in small.parts if end > start and not padding]
    for at in {rng.randrange(*part) for part in rng.choices(parts, k=2)}:
        data[at] ^= rng.randrange(1, 256)
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS)
def test_objects_with_other_bytes_are_as_by_arrays(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where these are addends."""
    rng, arch, provider = random.Random(target), arch_of(target), compiled(target, PROVIDER, "-fPIC")
    used, real = list[bytes](), alike.Linked.with_bytes

    def with_bytes_of(one: alike.Linked, content: bytes, *rest: Any) -> SmallObject:
        used.append(content)
        return real(one, content, *rest)

    monkeypatch.setattr(alike.Linked, "with_bytes", with_bytes_of)
    for source in SOURCES:
        content = compiled(target, source, "-fPIC", "-g").read_bytes()
        for _ in range(2):  # then it is kept, for each of the options
            assert assert_same(arch, content, provider, source)
        small = linked(content, arch)
        for _ in range(2):
            other = with_bytes(rng, content, small)
            assert linked(other, arch).table is small.table
            used.clear()
            assert assert_same(arch, other, provider, (source, other))
            assert used.count(other) == 4, "alone, and with each of the options"


@pytest.mark.parametrize("target", TARGETS)
def test_objects_that_differ_elsewhere_are_as_by_arrays(target: str, kept: alike.AlikeObjects) -> None:
    rng, arch, provider = random.Random(target), arch_of(target), compiled(target, PROVIDER, "-fPIC")
    for number, source in enumerate(SOURCES[:4]):
        content = compiled(target, source, "-fPIC").read_bytes()
        for _ in range(2):
            linked(content, arch)
        for _ in range(4):
            assert_same(arch, mutated(rng, content, arch), provider, (target, number))
    assert len(kept)


def fragment(number: int, name: bytes = b"marked") -> bytes:
    """One function, with a number in its code."""
    code = compiled("x86_64", "unsigned marked(void) { return 0x5EED1234; }", "-fPIC").read_bytes()
    return code.replace((0x5EED1234).to_bytes(4, "little"), number.to_bytes(4, "little")).replace(b"marked", name)


def test_another_number_takes_a_handful_of_calls() -> None:
    for number in range(20):
        linked(fragment(number))
    arch = architecture("x86_64")
    assert python_calls(partial(open_image, fragment(20), arch)) <= 60
    assert python_calls(partial(open_image, fragment(21, b"called"), arch)) > 80, "the counter counts"


def test_the_one_that_is_linked_again_is_kept() -> None:
    """Of those with the same headers."""
    tables = [linked(fragment(number, name)).table for name in (b"marked", b"called") for number in range(4)]
    assert tables[1] is tables[2] is tables[3]
    assert tables[4] is not tables[3]
    assert tables[6] is tables[7]


def test_a_longer_or_shorter_file_is_another() -> None:
    content = fragment(1)
    table = [linked(content).table for _ in range(2)][1]
    assert linked(content + b"\0").table is not table
    with pytest.raises(Exception, match="bytes"):
        open_image(content[:-1], architecture("x86_64"))


def test_an_object_whose_sections_overlap_is_not_kept(kept: alike.AlikeObjects) -> None:
    content = bytearray(simple_object([Sym("f", bind=1, type=2, section=1)], [Sec(".data", 1, bytes(8), flags=3)]))
    for _ in range(2):
        linked(bytes(content))
    assert len(kept) == 1
    kept.clear()
    at = int.from_bytes(content[40:48], "little") + 64 * 4 + 24  # the offset of .data
    content[at : at + 8] = (64).to_bytes(8, "little")
    for _ in range(3):
        linked(bytes(content))
    assert not len(kept)


def test_none_is_kept_where_nothing_is(kept: alike.AlikeObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CACHE, "enabled", False)
    for number in range(3):
        linked(fragment(number))
    assert not len(kept)


def test_what_is_kept_is_bounded(kept: alike.AlikeObjects) -> None:
    for size in range(alike.MOST + 4):
        content = simple_object([Sym("f", bind=1, type=2, section=1)], [Sec(".data", 1, bytes(8 + size), flags=3)])
        for _ in range(2):
            linked(content)
    assert len(kept) == alike.MOST
