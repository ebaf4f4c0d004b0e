"""Mutated files against the decoder and the machine: any bytes at all are read, loaded or refused by name.

    python -m tests.fuzz parse --count 1000000
    python -m tests.fuzz load --seconds 3600 --seed 7

A mutant is a function of its seed, so that a failure is repeated by its number. State is compared before and after
each failure (`tests.fuzz.state`). `tests.fuzz.levels` has the other kinds.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from emu import Machine
from relink.elf import decode
from relink.errors import RelinkError
from relink.relocate.lazy import BindMode
from tests.elf.helpers import read_everything
from tests.fixtures import arch_of
from tests.fuzz.state import MEMORY, SECONDS, state
from tests.linker.helpers import folders_of
from tests.linker.test_mutations import mutated

#: What guest code of a mutant may take, a call; and how many mutants one machine serves.
_INSTRUCTIONS, _SERVED = 20_000, 100


def parse(seed: int) -> bool:
    """Read all of a mutant; whether it could be read."""
    with suppress(RelinkError):
        read_everything(decode(mutated(seed)[2]))
        return True
    return False


class Loads:
    """Loads of mutants into machines that serve several, in each binding."""

    def __init__(self) -> None:
        self._machines: dict[tuple[str, Path], Machine] = {}
        self._served = 0

    def __call__(self, seed: int) -> bool:
        """Load a mutant, constructors and all; whether it could be. AssertionError: a failure left something."""
        target, path, content = mutated(seed)
        machine = self._machine(target, path)
        before, library = state(machine), None
        with suppress(RelinkError):
            library = machine.load(content, binding=[*BindMode][seed % 3], allow_unresolved=True)
        if library is None:
            after = state(machine)
            assert after == before, f"the machine is not as it was: {before} became {after}"
            return False
        try:
            machine.unload(library.image)
        except RelinkError:
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
                timeout=SECONDS,
                memory_limit=MEMORY,
            )
        return self._machines[key]

    def close(self) -> None:
        """Let go of all machines."""
        for machine in self._machines.values():
            machine.close(run_destructors=False)
        self._machines.clear()
