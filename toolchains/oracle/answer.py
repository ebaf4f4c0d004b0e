"""Reading the output of the probe (see `probe.c`)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from toolchains.oracle.words import Loaded, Module, tls_size


class Answer:
    """The probe's output, read line by line; memory is bytes between lines."""

    def __init__(self, output: bytes) -> None:
        self.refused: str | None = None
        self.ended = False
        self.last = ""
        self.thread = 0
        self.names: list[tuple[str, int]] = []
        self.modules: list[tuple[str, int, int, int, int, int]] = []
        self.memory: dict[tuple[str, int], bytes] = {}
        self.descriptors: list[tuple[str, int, int, int]] = []
        self.results: list[tuple[str, int | None]] = []
        place = 0
        while place < len(output):
            end = output.find(b"\n", place)
            end = len(output) if end < 0 else end
            self.last = output[place:end].decode(errors="replace")
            place = end + 1 + self._take(self.last, output, end + 1)

    def _take(self, line: str, output: bytes, after: int) -> int:
        """Reads one line; returns how many bytes after it belong to it."""
        kind, _, rest = line.partition(" ")
        words = rest.split(" ")
        if kind == "refused":
            # Some dynamic linkers report every relocation: the first report is enough.
            self.refused = re.split(r" (?=Error )", rest)[0]
        elif kind == "end":
            self.ended = True
        elif kind == "thread":
            self.thread = int(words[0], 16)
        elif kind == "name":
            self.names.append((words[1], int(words[0], 16)))
        elif kind == "module":
            base, low, high, number, block = (int(word, 16) for word in words[:5])
            self.modules.append((words[5], base, low, high, number, block))
        elif kind == "memory":
            size = int(words[1], 16)
            self.memory[words[2], int(words[0], 16)] = output[after : after + size]
            return size + 1
        elif kind == "descriptor":
            self.descriptors.append((words[3], int(words[0], 16), int(words[1], 16), int(words[2], 16)))
        elif kind == "result":
            self.results.append((words[1], int(words[0], 16)))
        elif kind == "absent":
            self.results.append((words[0], None))
        return 0

    def loaded(
        self, folder: Path, program_itself: bool, fixture: str, main: Path, only: Path | None = None
    ) -> Loaded:
        """The fixtures among the modules; other modules are known only by their symbols."""
        modules: list[Module] = []
        memory: dict[tuple[str, int], bytes] = {}
        called: dict[str, str] = {}
        for path, base, low, high, number, block in self.modules:
            if path == "-" and program_itself:
                file, name = main, fixture
            elif path.startswith(f"{folder}/") and only in (None, Path(path)):
                file = Path(os.path.normpath(path))
                name = file.name if only else str(file.relative_to(folder).with_suffix(""))
            else:
                continue
            called[path] = name
            modules.append(Module(name, file, base, base + low, base + high, number, block, tls_size(file)))
            memory |= {(name, start): data for (whose, start), data in self.memory.items() if whose == path}
        inside = [(one.low, one.high) for one in modules]
        names: dict[int, set[str]] = {}
        for name, address in self.names:
            if address and not any(low <= address < high for low, high in inside):
                names.setdefault(address, set()).add(name)
        pairs = {
            (called[path], place): (number, offset)
            for path, place, number, offset in self.descriptors
            if path in called
        }
        return Loaded(
            self.thread,
            tuple(modules),
            lambda module, start, size: memory[module.name, start],
            {address: frozenset(found) for address, found in names.items()},
            pairs,
        )
