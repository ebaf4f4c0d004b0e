"""What a failed load, link or adoption must leave as it was."""

from __future__ import annotations

import os

from emu import Machine
from emu.libc.filesystem import file_system

#: What guest code of a mutant may take: seconds of a call, bytes of a machine.
SECONDS, MEMORY = 1.0, 64 << 20
_MOST_FILES = 500  #: of the host's, open at once


def state(machine: Machine) -> tuple[object, ...]:
    """Mappings, images, scopes, thread-local modules, traps, the guest's descriptors.

    Memory the hosted library took for itself may stay.
    """
    linker = machine.linker
    regions = [
        (region.name, region.address) for region in machine.memory.regions if not region.name.startswith("[")
    ]
    # How many files are open depends on the collector too, but not without bound.
    assert not os.path.isdir("/proc/self/fd") or len(os.listdir("/proc/self/fd")) < _MOST_FILES
    scopes = len(linker.images), len(linker.global_scope), len(linker.tls.modules)
    # Those of hosted functions, which have plain names, are made once and stay.
    names = [trap.name for trap in map(machine.traps.get, machine.traps._traps) if trap is not None]
    traps = [name for name in names if " " in name and "return" not in name]
    blocks = len(machine.traps._blocks)
    return regions, scopes, sorted(traps), blocks, sorted(file_system(machine.libc).descriptors)
