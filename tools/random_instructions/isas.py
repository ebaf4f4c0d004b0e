"""What is known of each ISA: its layout, its instructions, and what they leave undefined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from tools.random_instructions import aarch64, arm, riscv, x86
from tools.random_instructions.compare import Bench, Here
from tools.random_instructions.layout import Layout


def nothing_undefined(bench: Here, code: bytes) -> dict[str, int]:
    """For ISAs whose instructions, as they are chosen, leave nothing undefined."""
    return {}


@dataclass(frozen=True)
class RandomIsa:
    layout: Layout
    #: (generator, bench, how many, part of the groups' names) -> groups and codes
    codes: Callable[[Random, Bench, int, str], Iterator[tuple[str, bytes]]]
    #: (bench, code) -> by field, the bits that an instruction leaves undefined
    ignored: Callable[[Here, bytes], dict[str, int]] = nothing_undefined


BY_NAME: Mapping[str, RandomIsa] = {
    **{layout.name: RandomIsa(layout, x86.tests, x86.ignored) for layout in x86.LAYOUTS},
    "aarch64": RandomIsa(aarch64.LAYOUT, aarch64.tests),
    "arm": RandomIsa(arm.LAYOUTS[0], arm.arm_tests),
    "thumb": RandomIsa(arm.LAYOUTS[1], arm.thumb_tests),
    **{layout.name: RandomIsa(layout, riscv.tests) for layout in riscv.LAYOUTS},
}
