"""Lazy binding: the traps that unbound jump slots point to.

The guest reaches such a trap when it calls through the PLT entry of an unbound slot. The handler looks up the
symbol, writes the slot, and continues at the function with all registers unchanged. Later calls go to the function
directly. Slots that are likely to be called next are looked up ahead (`emu.load.look_ahead`).
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from emu.errors import Frame, UnresolvedCall
from emu.load.look_ahead import LookAhead, UnnamedCall
from relink.arch.spec import SlotNamed
from relink.errors import LinkError, UnresolvedSymbol, printable_lines
from relink.image import Image, image_of
from relink.load import emit
from relink.records import dataclass
from relink.relocate.lazy import LazySlots, SlotBinding

if TYPE_CHECKING:
    from collections.abc import Callable

    from emu.cpu.protocol import Cpu
    from emu.debug.link_maps import LinkMaps
    from emu.load.initialisers import Initialisers
    from emu.memory.guest_memory import GuestMemory
    from emu.run.runner import Runner
    from emu.run.traps import TrapTable
    from relink.linker import Linker


#: Number of first calls kept, to bound memory.
_REMEMBERED = 1 << 16
_UNNAMED = 1 << 12  #: of them, without the names of their callers


@dataclass(frozen=True, slots=True)
class FirstCall:
    """The first call through a slot, which bound it."""

    seconds: float  #: time since the machine was created
    image: str  #: the image with the slot
    caller: Frame  #: the return address of the call
    symbol: str
    version: str | None
    provider: str | None  #: the defining image; None for the host, and for an undefined weak symbol
    address: int  #: the guest address of the called function

    def __str__(self) -> str:
        version = f"@{self.version}" if self.version else ""
        place = f"{self.provider or 'the host'} at {self.address:#x}"
        return printable_lines(f"{self.seconds:.6f}  {self.caller} calls {self.symbol}{version}: {place}")


class LazyCalls:
    """A `relink.relocate.lazy.LazyHost`: provides traps to images and binds slots at their first call."""

    def __init__(
        self,
        linker: Linker,
        memory: GuestMemory,
        cpu: Cpu,
        traps: TrapTable,
        initialisers: Initialisers,
        link_maps: LinkMaps,
        runner: Runner,
        frame: Callable[[int], Frame],
    ) -> None:
        self._linker, self._memory, self._cpu, self._traps = linker, memory, cpu, traps
        self._initialisers, self._link_maps, self._guest, self._frame = initialisers, link_maps, runner, frame
        #: First calls whose caller is not named yet: it is, at the latest before an image goes.
        self._unnamed: list[UnnamedCall] = []
        self._ahead = LookAhead(linker, memory, cpu, runner, self._row, self._unnamed)
        self._start: float = time.perf_counter()
        self._blocks: dict[Image, int] = {}
        self._resolvers: dict[Image, int] = {}
        self._first_calls: deque[FirstCall] = deque(maxlen=_REMEMBERED)
        self._changes = 0

    def slot_traps(self, slots: LazySlots) -> tuple[int, int]:
        traps = self._traps
        start = traps.add_block(len(slots), lambda slot: f"{slots.name(slot)}@plt", partial(self._called, slots))
        self._blocks[image_of(slots.image)] = start
        return start, traps.spacing

    def resolver_words(self, slots: LazySlots) -> tuple[int, int]:
        image = image_of(slots.image)
        name = f"resolver of {image.short_name}"
        trap = self._resolvers[image] = self._traps.add(name, partial(self._resolve, slots))
        return self._link_maps.link_map_address(image), trap

    def settle(self) -> None:
        """Record the calls that the engine has bound."""
        self._ahead.settle()

    @property
    def changes(self) -> int:
        """A number that increases with each slot that is bound."""
        self.settle()
        return self._changes + self._ahead.changes

    @property
    def first_calls(self) -> deque[FirstCall]:
        """The last first calls, in the order they happened."""
        self.name_callers()
        return self._first_calls

    def name_callers(self) -> None:
        """Find the functions that have made the first calls so far, while their images are there."""
        self._ahead.settle()
        if self._unnamed:
            self._name_callers()

    def _name_callers(self) -> None:
        self._changes += 1
        while first := self._unnamed[:1]:
            seconds, image, caller, symbol, version, provider, address = first[0]
            call = FirstCall(seconds, image, self._frame(caller), symbol, version, provider, address)
            if self._unnamed[:1] == first:  # else a signal handler has named it; without a call from here on
                del self._unnamed[0]
                self._first_calls += [call]

    def forget(self, image: Image) -> None:
        """Free the traps of an image that has been unloaded."""
        if image not in self._blocks and image not in self._resolvers:
            return  # it has no lazily bound slots
        traps = self._traps
        self._ahead.forget(image)
        if (start := self._blocks.get(image)) is not None:
            traps.remove_block(start)
            self._blocks.pop(image, None)
        if (trap := self._resolvers.get(image)) is not None:
            traps.remove(trap)
            self._resolvers.pop(image, None)

    def forget_closed(self) -> None:
        """After a load was rolled back: free the traps of closed images, and unbind what others call in them."""
        for image in [image for image in (*self._blocks, *self._resolvers) if image.closed]:
            self.forget(image)
        for image in self._linker.images:
            if image.relocated.lazy is not None:
                self._unbind(image, image.relocated.lazy)

    def _unbind(self, image: Image, slots: LazySlots) -> None:
        """Let the next call of each slot that leads to a closed image bind it again."""
        gone = [slot for slot, to in slots.recorded.items() if to.provider is not None and to.provider.closed]
        if not gone:
            return
        self._ahead.forget(image)
        word, start = self._linker.architecture.word_size, self._blocks.get(image)
        for slot in gone:
            place = int(slots.place[slot])
            if start is not None:
                unbound = start + slot * self._traps.spacing
            else:  # as `relink.relocate.lazy.defer_slots`
                content = image.decoded.bytes_at(place - image.bias & image.architecture.address_mask, word)
                unbound = int.from_bytes(content.tobytes(), "little") + image.bias
            self._memory.write_uint(place, word, unbound & image.architecture.address_mask)
            slots.recorded.pop(slot, None)
            self._changes += 1

    # ------------------------------------------------------------ at a call

    def _called(self, slots: LazySlots, slot: int) -> int:
        """Bind a slot; return the function's address. All registers are preserved."""
        linker, guest = self._linker, self._guest
        caller = guest.return_address()
        if len(self._unnamed) >= _UNNAMED:
            self._name_callers()
        # An ifunc resolver or a symbol source may run guest code.
        if address := self._ahead.known(slots, slot):
            self._memory.write_uint(int(slots.place[slot]), linker.architecture.word_size, address)
            self._ahead.keep(slots, slot, address, caller, time.perf_counter())
            return address
        guest.in_host = guest.between_instructions = True
        try:
            self._changes += 1
            answer = self._ahead.bind(slots, slot, self._blocks.get(image_of(slots.image)))
            address = answer.address
            if answer.indirect and answer.provider is not None:
                address = self._initialisers.ifunc_target(answer.provider, address)
        except UnresolvedSymbol as missing:
            raise UnresolvedCall(missing.symbol, self._frame(caller)) from missing
        finally:
            guest.in_host = guest.between_instructions = False
        if answer.kind == "weak":
            raise UnresolvedCall(answer.name, self._frame(caller))
        self._memory.write_uint(int(slots.place[slot]), linker.architecture.word_size, address)
        self._unnamed.append(self._row(slots, answer._replace(address=address), caller, time.perf_counter()))
        emit.slot_bound(linker.observers, image_of(slots.image), answer, address)
        return address

    def _row(self, slots: LazySlots, answer: SlotBinding, caller: int, at: float) -> UnnamedCall:
        """The first call of a slot, which was bound to the answer."""
        provider = answer.provider.name if answer.provider is not None else None
        back = caller & slots.image.architecture.code_address_mask
        return at - self._start, slots.image.name, back, answer.name, answer.version, provider, answer.address

    def forget_answers(self) -> None:
        """Forget what has been looked up ahead of calls: the machine has returned to a snapshot."""
        self._ahead.forget_all()

    def _resolve(self, slots: LazySlots) -> int:
        """Bind like ld.so's resolver: read the slot from the PLT header's arguments, and undo the header's
        effects.
        """
        cpu, memory, arch = self._cpu, self._memory, self._linker.architecture
        plt, word = arch.plt, arch.word_size
        sp = cpu.read_register("sp")
        if isinstance(plt.at, str):
            number = cpu.read_register(plt.at)
        else:
            number = memory.read_uint(sp + plt.at, word)
        by_address = plt.named is SlotNamed.BY_ADDRESS
        slot = slots.slot_at(number) if by_address else slots.slot_of_entry(number // plt.divisor)
        if slot is None:
            problem = f"its PLT passes jump slot {number:#x} ({plt.named.value}), which does not exist"
            raise LinkError(slots.image.name, problem)
        if plt.saved is not None:
            register, offset = plt.saved
            cpu.write_register(register, memory.read_uint(sp + offset, word))
        if plt.pushed:
            cpu.write_register("sp", sp + plt.pushed)
        return self._called(slots, slot)
