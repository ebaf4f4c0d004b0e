"""<fenv.h> works on the CPU: rounding modes change results, and exceptions leave their flags."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.isa.registry import ISAS
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

SOURCE = """
int fesetround(int); int fegetround(void); int feclearexcept(int); int fetestexcept(int); int feraiseexcept(int);
int fegetenv(void *); int fesetenv(const void *); int feholdexcept(void *); int feupdateenv(const void *);
volatile double one = 1, three = 3, zero = 0, huge = 1e300, result;
double divided(int mode) {
  if (fesetround(mode) || fegetround() != mode) return 0;
  result = one / three;
  fesetround(BASE);
  return result;
}
int raised(int which) {
  feclearexcept(ALL);
  if (which == 0) result = zero / zero;
  if (which == 1) result = one / zero;
  if (which == 2) result = huge * huge;
  if (which == 3) result = one / three;
  return fetestexcept(ALL);
}
int held(void) {
  long room[8];
  feclearexcept(ALL); feraiseexcept(ALL); feholdexcept(room);
  int between = fetestexcept(ALL);
  fesetround(UP);
  feupdateenv(room);
  return between == 0 && fetestexcept(ALL) == (ALL) && fegetround() == BASE;
}
int defaults(void) {
  feraiseexcept(ALL); fesetround(UP); fesetenv((void *)-1);
  return fetestexcept(ALL) == 0 && fegetround() == BASE;
}
int wrong(void) { return fesetround(12345); }
"""
NEAREST, UP = float.fromhex("0x1.5555555555555p-2"), float.fromhex("0x1.5555555555556p-2")
#: FE_UPWARD and FE_DOWNWARD; FE_INVALID, FE_DIVBYZERO, FE_OVERFLOW, FE_INEXACT (glibc's bits/fenv.h of each).
VALUES = {
    "x86_64": (0x800, 0x400, 1, 4, 8, 32), "i386": (0x800, 0x400, 1, 4, 8, 32),
    "aarch64": (0x400000, 0x800000, 1, 2, 4, 16), "arm": (0x400000, 0x800000, 1, 2, 4, 16),
    "riscv64": (3, 2, 16, 8, 4, 1), "riscv32": (3, 2, 16, 8, 4, 1),
    "loongarch64": (0x200, 0x300, 0x100000, 0x80000, 0x40000, 0x10000),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_rounding_modes_and_flags_are_the_cpus(target: str) -> None:
    arch = arch_of(target)
    facts = ISAS[arch].libc.float_environment
    up, down, invalid, by_zero, overflow, inexact = VALUES[arch]
    flags = (f"-DALL={facts.flags_mask}", f"-DUP={up}", "-DBASE=0", "-w")
    with Machine(arch) as machine:
        library = machine.load(compiled(target, SOURCE, *flags))
        divided = library.function("divided", "double divided(int)")
        assert (divided(0), divided(up), divided(down), divided(0)) == (NEAREST, UP, NEAREST, NEAREST)
        assert library.function("wrong", "int wrong(void)")() == 1
        assert library.function("held", "int held(void)")() == 1
        assert library.function("defaults", "int defaults(void)")() == 1
        raised = library.function("raised", "int raised(int)")
        expected = [invalid, by_zero, overflow | inexact, inexact]
        assert [raised(which) for which in range(4)] == expected


def test_the_mode_of_the_x87_is_that_of_i386() -> None:
    with Machine("i386") as machine:
        function = machine.libc.function("fegetround")
        assert function is not None
        machine.cpu.write_register("fpcw", machine.cpu.read_register("fpcw") | 0x800)
        assert function.call() == 0x800
