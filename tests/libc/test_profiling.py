"""Code that is built with -pg, which calls mcount in each function."""

from __future__ import annotations

import pytest

from emu import Machine
from tests.objects.build import compiled, linked

SOURCE = """
__attribute__((noinline)) double mixed(int a, double b, long c, float d) { return a + b + c + d; }
long all(long a, long b, long c, long d, long e, long f) { return a + b + c + d + e + f + mixed(a, b, c, d); }
"""


@pytest.mark.parametrize("target", ["x86_64", "i386", "aarch64", "riscv64", "riscv32", "loongarch64"])
def test_profiled_functions_have_their_arguments(target: str) -> None:
    with Machine(target) as machine:
        library = machine.load(linked(target, [compiled(target, SOURCE, "-fPIC", "-pg", "-O1")]))
        function = library.function("all", "long(long, long, long, long, long, long)")
        assert function(1, 2, 3, 4, 5, 6) == 21 + 10
        with machine.trace() as trace:
            function(1, 2, 3, 4, 5, 6)
        assert [call.function for call in trace.calls if "mcount" in call.function] != []
