"""Mutated files against the decoder and the machine: any bytes at all are read, loaded or refused by name.

    python -m tests.fuzz parse --count 1000000
    python -m tests.fuzz load --seconds 3600 --seed 7

A mutant is a function of its seed, so that a failure is repeated by its number. What is compared before and after
each: mappings, scopes, thread-local modules, traps, open files of the host.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from emu import Machine
from relink.elf import decode
from relink.errors import RelinkError
from relink.relocate.lazy import BindMode
from tests.elf.helpers import read_everything
from tests.fixtures import arch_of
from tests.linker.helpers import folders_of
from tests.linker.test_mutations import mutated

#: What guest code of a mutant may take, a call; and how many mutants one machine serves.
_INSTRUCTIONS, _SERVED, _MOST_FILES = 20_000, 100, 500


def parse(seed: int) -> bool:
    """Read all of a mutant; whether it could be read."""
    with suppress(RelinkError):
        read_everything(decode(mutated(seed)[2]))
        return True
    return False


@dataclass
class Loads:
    """Loads of mutants into machines that serve several, in each binding."""

    _machines: dict[tuple[str, Path], Machine] = field(default_factory=dict)
    _served: int = 0

    def load(self, seed: int) -> bool:
        """Load a mutant, constructors and all; whether it could be. AssertionError: a failure left something."""
        target, path, content = mutated(seed)
        machine = self._machine(target, path)
        before = _state(machine)
        library = None
        with suppress(RelinkError):
            library = machine.load(content, binding=[*BindMode][seed % 3], allow_unresolved=True)
        if library is None:
            after = _state(machine)
            assert after == before, f"the machine is not as it was: {before} became {after}"
            return False
        with suppress(RelinkError):
            machine.unload(library.image)
        self._machines.pop((target, path)).close(run_destructors=False)
        return True

    def _machine(self, target: str, path: Path) -> Machine:
        self._served += 1
        if self._served % _SERVED == 0:
            self.close()
        key = target, path
        if key not in self._machines:
            self._machines[key] = Machine(
                arch_of(target),
                library_path=folders_of(path, target),
                max_instructions=_INSTRUCTIONS,
                timeout=1.0,
                memory_limit=64 << 20,
            )
        return self._machines[key]

    def close(self) -> None:
        """Let go of all machines."""
        for machine in self._machines.values():
            machine.close(run_destructors=False)
        self._machines.clear()


def _state(machine: Machine) -> tuple[object, ...]:
    """What a failed load must leave alone. Memory the hosted library took for itself may stay."""
    linker = machine.linker
    images = [region.name for region in machine.memory.regions if not region.name.startswith("[")]
    # How many files are open depends on the collector too, but not without bound.
    assert not os.path.isdir("/proc/self/fd") or len(os.listdir("/proc/self/fd")) < _MOST_FILES
    return images, len(linker.images), len(linker.global_scope), len(linker.tls.modules)
