"""`Coverage`: collects which code of a machine runs.

New blocks are reported by the CPU once each (`Recorded.NEW_BLOCKS`), so code that has run before costs nothing.
The addresses are resolved to images in batches: when enough have come, and before images come or go, so a batch is
resolved with the images that it ran with.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np

from emu.cpu.events import BEGAN, BEGAN_THUMB, Recorded, Recording, Rows
from emu.cpu.flow import Flow
from emu.debug.coverage.data import CoverageData
from emu.debug.coverage.files import save
from emu.debug.coverage.module import Module
from emu.debug.places import images_named
from relink.arrays import U64
from relink.elf.constants import SymbolType
from relink.errors import MachineError
from relink.events import Event, ImageClosed, ImageMapped, LoadFailed
from relink.image import Image
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.debug.observation import Observation
    from relink.linker import Linker

#: An image, or its path, file name or SONAME.
Which: TypeAlias = Image | str
_SIZE = (1 << 32) - 1


@dataclass(eq=False)
class _Place:
    """Where an image, or other memory with code, is."""

    start: int
    end: int
    module: Module


class _Places:
    """The places of images by address. They do not overlap: a new one replaces those where it is."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._places: list[_Place] = []
        self._of_image: dict[Image, list[_Place]] = {}

    def at(self, address: int) -> _Place | None:
        """The place that covers an address."""
        number = bisect_right(self._starts, address) - 1
        return self._places[number] if number >= 0 and address < self._places[number].end else None

    def add(self, image: Image) -> None:
        """Add a loaded image."""
        region = image.region
        module = Module(image.name, image.architecture.name, region.size, image.base, image.low, image.decoded)
        places = [_Place(part.address, part.end, module) for part in region.parts or (region,)]
        for place in places:
            self._replace(place.start, place.end, [place])
        self._of_image[image] = places

    def remove(self, image: Image) -> None:
        """Remove an image, which may have been closed."""
        for place in self._of_image.pop(image, ()):
            if self.at(place.start) is place:
                self._replace(place.start, place.end, [])

    def remove_closed(self) -> None:
        """Remove all images that have been closed."""
        for image in [image for image in self._of_image if image.closed]:
            self.remove(image)

    def _replace(self, start: int, end: int, new: list[_Place]) -> None:
        first = bisect_left(self._starts, start)
        if first and self._places[first - 1].end > start:
            first -= 1
        last = bisect_left(self._starts, end)
        self._starts[first:last], self._places[first:last] = [place.start for place in new], new


class Coverage(CoverageData):
    """The code that has run while it was active: in a `with` block, or between `start` and `stop`.

    Each `start` begins a recording: hits count recordings, so tests that each record their own say how many of
    them reach a line. Code that was translated before counts like new code.
    """

    def __init__(
        self,
        observation: Observation,
        linker: Linker,
        images: Iterable[Which] | None = None,
        *,
        branches: bool = False,
    ) -> None:
        super().__init__()
        self._observation, self._linker = observation, linker
        self._memory, self._runner = observation.memory, observation.runner
        self._only = None if images is None else list(images)
        self._with_branches = branches
        self._arch = self._memory.architecture.name
        self._flow = Flow(self._arch, self._memory.read)
        self._recordings: list[Recording] = []
        self._places = _Places()
        self._functions: dict[Image, U64] = {}  #: addresses of functions, ascending, with their lowest bits
        self._this: CoverageData | None = None  #: of the current recording
        self._rows: list[Rows] = []
        self._edges: list[Rows] = []
        self._ends: dict[int, int] = {}  #: end of a block that ran -> its start

    # ------------------------------------------------------------ recording

    def start(self) -> Self:
        """Begin a recording. Raises MachineError during a call, and when one has begun; hosts without stop hooks
        have none.
        """
        with self._runner.used():
            return self._start()

    def _start(self) -> Self:
        self._check_idle()
        if self._this is not None:
            raise MachineError("this coverage is being recorded already")
        self._add_all()
        self._ends.clear()
        events = self._runner.cpu.events
        try:
            self._recordings.append(events.record(Recorded.NEW_BLOCKS, self._noted))
            if self._with_branches:
                self._recordings.append(events.record(Recorded.EDGES, self._edges.append))
            self._this = CoverageData()
            self._linker.observers.append(self._heard)
            self._observation.after_restore.append(self._restored)
        except BaseException:
            self._end()
            raise
        return self

    def stop(self) -> None:
        """End the recording and add it to the result. Raises MachineError during a call. May be repeated."""
        if self._this is None:
            return
        with self._runner.used_to_end():
            self._stop()

    def _stop(self) -> None:
        self._check_idle()
        try:
            for recording in self._recordings:
                recording.close()
            self._resolve()
            this = self._this
        finally:
            self._end()
        assert this is not None
        for module in this.modules.values():
            module.blocks = type(module.blocks)(dict.fromkeys(module.blocks, 1))
            module.branches = type(module.branches)(dict.fromkeys(module.branches, 1))
        self.merge(this)
        self._places = _Places()
        self._functions.clear()

    def _end(self) -> None:
        """Undo what `start` has done. May be repeated."""
        while self._recordings:
            self._recordings[-1].close()
            del self._recordings[-1]
        if self._restored in self._observation.after_restore:
            self._observation.after_restore.remove(self._restored)
        if self._heard in self._linker.observers:
            self._linker.observers.remove(self._heard)
        self._this = None

    def take(self) -> CoverageData:
        """End the recording, begin another, and return what has run in the first: for a map of each test."""
        before = CoverageData(self.modules.values())
        self.stop()
        self.start()
        taken = CoverageData()
        for key, module in self.modules.items():
            old = before.modules.get(key)
            ran = module.blocks if old is None else module.blocks - old.blocks
            taken_branches = module.branches if old is None else module.branches - old.branches
            if ran:
                one = Module(module.path, module.arch, module.size, module.base, module.low, module.decoded)
                one.blocks.update(ran)
                one.branches.update(taken_branches)
                taken.add(one)
        return taken

    def clear(self) -> None:
        """Forget what has run so far. Raises MachineError while recording."""
        if self._this is not None:
            raise MachineError("this coverage is being recorded")
        self.modules.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        try:
            self.stop()
        finally:
            if self._this is not None and not self._runner.depth:  # a signal handler has interrupted that
                self._end()

    def _check_idle(self) -> None:
        if self._runner.depth:
            raise MachineError("coverage cannot begin or end during a call of the guest")

    # ------------------------------------------------------------ resolving addresses

    def _heard(self, event: Event) -> None:
        """Images come and go: what ran until now is resolved with those of now."""
        if self._this is None:  # the machine has returned to a snapshot of the time of a recording
            self._linker.observers.remove(self._heard)
            return
        if isinstance(event, ImageMapped):
            self._resolve()
            self._places.add(event.image)
        elif isinstance(event, ImageClosed):
            self._resolve()
            self._places.remove(event.image)
        elif isinstance(event, LoadFailed):
            self._resolve()
            self._places.remove_closed()

    def _restored(self) -> None:
        """The machine has returned to a snapshot: other images may be loaded, with other observers."""
        self._resolve()
        self._add_all()
        if self._heard not in self._linker.observers:
            self._linker.observers.append(self._heard)

    def _add_all(self) -> None:
        self._places = _Places()
        for image in self._linker.images:
            self._places.add(image)

    def _resolve(self) -> None:
        for recording in self._recordings:
            recording.flush()
        rows, self._rows[:] = list(self._rows), []
        for batch in rows:
            for address, size in batch.tolist():
                self._add_block(address, size)
        edges, self._edges[:] = list(self._edges), []
        for batch in edges:
            for before, address, size in batch.tolist():
                self._ends[address + size] = address
                if before in self._ends:
                    self._add_branch(before, address)

    def _noted(self, rows: Rows) -> None:
        """New blocks. The sizes of those where runs began are found now, while their code is there."""
        for row in np.flatnonzero(rows[:, 1] >= BEGAN).tolist():
            address, size = rows[row].tolist()
            whole = self._flow.block_size(address, thumb=bool(size & BEGAN_THUMB))
            rows[row, 1] = min(size & _SIZE or whole, whole)
        self._rows.append(rows)

    def _add_block(self, address: int, size: int) -> None:
        module = self._module_at(address)
        if module is not None and size:
            module.blocks[address - module.base, size] += 1

    def _add_branch(self, end: int, address: int) -> None:
        start = self._ends[end]
        module = self._module_at(start)
        if module is not None and self._flow.conditional_end(start, end - start, thumb=self._is_thumb(start)):
            module.branches[end - module.base, address - module.base] += 1

    def _is_thumb(self, address: int) -> bool:
        """Arm: whether code is Thumb code, by the last function before it."""
        image = self._linker.image_at(address)
        if image is None or not image.architecture.code_address_bits:
            return False
        starts = self._functions.get(image)
        if starts is None:
            symbols = image.decoded.symbols
            chosen = (symbols.type == SymbolType.FUNC) & (symbols.section != 0)
            starts = self._functions[image] = np.sort(symbols.value[chosen])
        vaddr = (address - image.bias) & image.architecture.address_mask
        number = int(np.searchsorted(starts, np.uint64(vaddr | 1), side="right")) - 1
        return number >= 0 and bool(starts[number] & 1)

    def _module_at(self, address: int) -> Module | None:
        """This recording's module of the image at an address; None if it is not wanted. Code outside of images
        belongs to its mapping.
        """
        assert self._this is not None
        place = self._places.at(address)
        if place is None:
            region = self._memory.region_at(address)
            if region is None or self._only is not None:
                return None
            name = f"[{region.name or 'anonymous'}]"
            module = Module(name, self._arch, region.size, region.address, 0, None)
            place = _Place(region.address, region.address + region.size, module)
        key = place.module.key
        if key not in self._this.modules:
            if not self._is_wanted(place.module):
                return None
            self._this.add(place.module)
        found = self._this.modules[key]
        found.base = place.module.base
        return found

    def _is_wanted(self, module: Module) -> bool:
        return self._only is None or any(self._is(which, module) for which in self._only)

    def _is(self, which: Which, module: Module) -> bool:
        if isinstance(which, Image):
            return which.decoded is module.decoded
        if which in (module.path, module.path.rpartition("/")[2]):
            return True
        return any(image.decoded is module.decoded for image in images_named(self._linker.images, which))

    # ------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str], *, test: str = "", append: bool = False) -> None:
        """Write a file: drcov for `.drcov` and `.log`, else lcov. With `append` it is merged into what the file
        has; several processes may do so at once. Raises MachineError, OSError.
        """
        save(self, Path(path), test=test, append=append)
