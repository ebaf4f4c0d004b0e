"""`long double` and `__int128` through real registers, by functions that return their argument."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from emu import Machine
from emu.cpu.protocol import Protection

#: Architecture and type -> code that returns its one argument as it came.
IDENTITY = {
    ("x86_64", "long double"): "db 6c 24 08  c3",  # fldt 8(%rsp); ret
    ("x86_64", "__int128"): "48 89 f8  48 89 f2  c3",  # mov %rdi, %rax; mov %rsi, %rdx; ret
    ("i386", "long double"): "db 6c 24 04  c3",  # fldt 4(%esp); ret
    ("aarch64", "long double"): "c0 03 5f d6",  # ret: v0 is both
    ("aarch64", "__int128"): "c0 03 5f d6",
    ("arm", "long double"): "1e ff 2f e1",  # bx lr: d0 is both
    ("riscv64", "long double"): "67 80 00 00",  # ret: a0 and a1 are both
    ("riscv64", "__int128"): "67 80 00 00",
    ("loongarch64", "long double"): "20 00 00 4c",  # ret
    ("loongarch64", "__int128"): "20 00 00 4c",
}


@pytest.fixture(params=IDENTITY, ids="-".join)
def identity(request: pytest.FixtureRequest) -> Iterator[tuple[Machine, str, int]]:
    arch, ctype = request.param
    with Machine(arch, hosted_libc=False) as machine:
        address = machine.memory.map_anonymous(4096, Protection.R | Protection.X, name="code")
        machine.memory.write(address, bytes.fromhex(IDENTITY[arch, ctype]))
        yield machine, ctype, address


def test_a_wide_value_comes_back_as_it_went(identity: tuple[Machine, str, int]) -> None:
    machine, ctype, address = identity
    values: tuple[float, ...] = (0.0, -0.0, 1.5, -2.75e-300, 5e-324, math.pi, 1.7e308, math.inf)
    if ctype == "__int128":
        values = (0, -1, 1 << 100, -(1 << 127), (1 << 127) - 1)
    for value in values * 2:  # sixteen results on the x87 stack, which holds eight
        result = machine.call(address, f"{ctype} f({ctype})", value)
        assert result == value
        assert math.copysign(1, result) == math.copysign(1, value)
