"""Images of kernels, linked for the upper half of the address space."""

from __future__ import annotations

import pytest

from emu import Machine
from relink import HostMemory, Linker
from relink.errors import AddressSpaceError
from tests.fixtures import arch_of
from tests.objects.build import compiled, program

SOURCE = """
int counter = 40;
static const int table[4] = {1, 2, 3, 4};
int next(int n) { counter += n; return counter + table[n & 3]; }
"""
#: A target -> where its Linux lies, and how it is compiled.
KERNELS = {
    "x86_64": (0xFFFF_FFFF_8100_0000, "-mcmodel=kernel"),
    "aarch64": (0xFFFF_8000_8000_0000, "-fno-pic"),
    "riscv64": (0xFFFF_FFFF_8000_0000, "-mcmodel=medany"),
    "loongarch64": (0x9000_0000_0020_0000, "-fno-pic"),
}


@pytest.mark.parametrize("target", KERNELS)
def test_a_kernel_s_image_runs_where_the_engine_has_its_addresses_else_is_refused(target: str) -> None:
    """And is linked into memory without a CPU everywhere."""
    base, model = KERNELS[target]
    code = compiled(target, SOURCE, "-fno-pic", model)
    path = program(target, [code], "-static", "-e0", "--export-dynamic", f"--image-base={base:#x}")
    assert Linker(HostMemory(arch_of(target))).load(path).base == base
    with Machine(arch_of(target)) as machine:
        regions = len(machine.memory.regions)
        if target != "x86_64":
            assert machine.load(path).function("next", "int(int)")(2) == 45
            return
        with pytest.raises(
            AddressSpaceError, match=r"Unicorn \(X86 in 64-bit mode\) keeps 52 bits of data"
        ) as caught:
            machine.load(path)
        assert f"{base:#x}" in str(caught.value)
        assert len(machine.memory.regions) == regions
        assert machine.linker.images == []
