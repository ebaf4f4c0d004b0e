"""Groups, lists of functions and padding of small objects, linked by numbers, are as arrays make them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from relink.elf.objects import decode_object
from tests.elf.build_object import Sec, Sym, group, rela, simple_object
from tests.fixtures import arch_of
from tests.objects.build import compiled
from tests.objects.test_small import assert_same, mutated

pytestmark = pytest.mark.usefixtures("without_cache")


def test_groups_that_a_link_keeps_are_linked_by_numbers() -> None:
    """Others are left to arrays, and refused as by these."""
    g, h = Sym("g", bind=1, type=2, section=4), Sym("h", bind=1, type=2, section=5)
    code = [Sec(f".text.{name}", flags=0x206, data=bytes(8)) for name in ("g", "h")]
    assert assert_same("x86_64", simple_object([g, h], [*code, group(1, 1, 4), group(2, 1, 5)]))
    for groups in (
        [group(1, 1, 4), group(1, 1, 5)],  # of the same name
        [group(1, 1, 4), group(2, 1, 4)],  # with the same member
        [group(1, 1, 4), group(2, 1, 6)],  # with another group
        [group(1, 0, 4)],
        [group(1, 3, 4)],
        [group(1, 1, 9)],
        [group(0, 1, 4)],
        [group(9, 1, 4)],
        [group(1, 1, 4, link=3)],
        [group(1, 1, 4, entsize=8)],
        [replace(group(1, 1, 4), data=b"")],
        [replace(group(1, 1, 4), data=bytes(6))],
    ):
        assert not assert_same("x86_64", simple_object([g, h], [*code, *groups]), what=groups)


def test_lists_of_functions_lie_before_other_data() -> None:
    """With those of groups."""
    f, word = Sym("f", bind=1, type=2, section=1), Sec(".data", flags=3, data=bytes(24), align=16)
    found = ("fini", 15, 2), ("init", 14, 0), ("init", 14, 2), ("fini", 15, 1)
    lists = [Sec(f".{name}_array", type_, bytes(8 * count), 3, align=8) for name, type_, count in found]
    for chosen in (lists, lists[:1], lists[1:2], lists[2:]):
        assert assert_same("x86_64", simple_object([f], [word, *chosen, rela((0, 1, 1, 0), target=4)]))


@pytest.mark.parametrize("target", ["x86_64", "riscv64", "riscv32", "loongarch64"])
def test_labels_that_debug_information_needs_are_no_obstacle(target: str) -> None:
    """Code that a linker may shorten has them: they are as many symbols as lines."""
    parts = (f"extern int h{n}(int); int g{n}(int x) {{ static int s; return s += h{n}(x); }}" for n in range(18))
    content = compiled(target, "\n".join(parts), "-fPIC", "-g", "-O1").read_bytes()
    print(target, len(decode_object(content).symbols))
    assert assert_same(arch_of(target), content)


ALIGN = {"riscv64": 43, "riscv32": 43, "loongarch64": 102}


@pytest.mark.parametrize("target", ALIGN)
def test_code_is_realigned_as_by_arrays(target: str) -> None:
    """Also where the padding is too little, or outside the section."""
    first = "la.pcrel $a0, f" if target == "loongarch64" else ".option relax\n call f"  # may become shorter
    rest = "f: nop\n.p2align 4\ng: nop\n nop\n.p2align 5, , 8\nh: nop\n.p2align 3\n.size g, h - g\n.dword 5\n"
    text = f".globl f, g, h\n{first}\n{rest}"
    content = compiled(target, text, "-mrelax", language="assembler").read_bytes()
    assert decode_object(content).relocations[0].type.tolist().count(ALIGN[target]) > 1
    assert assert_same(arch_of(target), content)
    rng = random.Random(target)
    for number in range(30):
        assert_same(arch_of(target), mutated(rng, content, arch_of(target)), what=number)
