"""Hot swap: a new version of a library takes the place of a loaded one, while the machine goes on.

    link        the new version is linked; references of other images are bound to it    relink.load.replace
    check       what other images use is still there, with the same types          emu.patch.interface
    destruct    the destructors of the old version run
    carry       state goes over by name and C type                                     emu.patch.carry
    hooks       the caller changes what only the caller can
    find        the guest's memory is searched for addresses of the old version
    construct   the constructors of the new version run
    release     the old version is unmapped

A failure rolls all of it back, but for what the guest's own code has done by then (destructors of the old version,
constructors of the new one): `Machine.swap` returns to a snapshot.

Addresses that are known to be pointers, by the C type or a relocation of their place, are changed to those of the
new version. Any other word that looks like one refuses the swap, or is changed with `pointers="rewrite"`; not so a
word of a library that is what its file has there, which is no address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from emu.calls.declared import dwarf_types
from emu.calls.types import Array, CType, Pointer, Struct, sized
from emu.errors import SwapRefused
from emu.patch.carry import Carried, Carrier, Doubtful
from emu.patch.interface import Interface, compare
from relink.errors import DebugInfoError
from relink.load.lifetime import uses
from relink.load.replace import Replacement
from relink.memory.address_space import Protection
from relink.memory.rollback import Rollback
from relink.records import dataclass, field

if TYPE_CHECKING:
    from emu.load.loader import Loader
    from emu.memory.guest_memory import GuestMemory
    from emu.parts import Parts
    from emu.patch.functions import Patcher
    from relink.image import Image
    from relink.load.plan import Plan
    from relink.memory.address_space import Region
    from relink.search.search_path import Source

#: Called for one variable with it in the old and in the new version.
VariableHook: TypeAlias = Callable[[Any, Any], object]
#: What to do with words that look like addresses of the old version and are not known to be pointers.
PointerPolicy: TypeAlias = Literal["refuse", "rewrite"]

#: Memory of the machine's own parts, which hold no addresses of images, or follow the swap themselves.
_OWN = frozenset({"[ld.so]", "[unwind]", "[ifunc]", "[_dl_debug_state]", "[libc]"})


@dataclass
class Swapped:
    """A completed swap."""

    plan: Plan  #: the load of the new version
    state: Carried
    rebound: dict[str, list[str]] = field(default_factory=dict)  #: symbols bound to the new version, by image
    pointers: int = 0  #: words outside the library that were changed besides bindings


class Swap:
    """One swap of the image `old`; `run` does it."""

    def __init__(self, parts: Parts, patcher: Patcher, old: Image, pointers: PointerPolicy) -> None:
        self._parts, self._patcher, self._old, self._policy = parts, patcher, old, pointers
        self._memory: GuestMemory = parts.memory
        self._loader: Loader = parts.loader
        self._changed = 0

    def run(
        self, source: Source, hooks: Mapping[str, VariableHook], views: Callable[[Image, str], Any], **options: Any
    ) -> Swapped:
        """Do it. `views` makes a variable of an image for the hooks. Raises SwapRefused and what a load raises."""
        old, loader = self._old, self._loader
        self._check_old(str(source))
        with loader.replacing(old, source, **options) as (load, pending, undo):
            new = load.plan.root
            self._check_interface(load, new)
            pending.advance(until="construct")
            self._parts.initialisers.destruct(old)
            carrier = Carrier(self._memory, old, new, load.initial, lambda: self._blocks(old, new))
            state = carrier.carry(hooks)
            for name, hook in hooks.items():
                hook(views(old, name), views(new, name))
            self._refuse(new, [*state.refused, *map(str, self._settled(state.doubtful, carrier, undo))])
            self._refuse(new, map(str, self._search(carrier, undo)))
            self._check_unused(new)
            pending.advance()
        if not old.closed:
            raise SwapRefused(old.name, new.name, ["the old version is still in use after the swap"])
        old.scopes.groups.clear()  # they lead to the new version, which would be kept when it is swapped in turn
        bound = {each.image.name: list(dict.fromkeys(each.names)) for each in load.plan.rebound}
        return Swapped(load.plan, state, bound, self._changed)

    def _refuse(self, new: Image, reasons: Iterable[str]) -> None:
        if reasons := list(reasons):
            raise SwapRefused(self._old.name, new.name, reasons)

    # ------------------------------------------------------------ checks

    def _check_old(self, new: str) -> None:
        """Refuse images that cannot be swapped, and swaps while the old version's code is running."""
        old = self._old
        old.check_open()
        reasons = []
        if old.decoded.is_executable:
            reasons.append("it is an executable")
        if old.adopted is not None:
            reasons.append("it was adopted, so its memory is not the machine's")
        if old.references > 0 and old.references <= old.lifetime.uncommitted:
            reasons.append("it is still being loaded")
        reasons += [
            f"{patch.name} is patched: undo that first"
            for patch in self._patcher.patches
            if old in (patch.image, patch.keeps)
        ]
        reasons += self._frames()
        if reasons:
            raise SwapRefused(old.name, new, dict.fromkeys(reasons))

    def _frames(self) -> Iterator[str]:
        """Where the old version's code waits for a host function: its return addresses on the stack."""
        parts, size = self._parts, self._old.architecture.word_size
        if not parts.runner.depth:
            return
        link = parts.convention.link_register
        values = [] if link is None else [parts.cpu.read_register(link)]
        low = parts.cpu.read_register("sp") & -size
        if low < parts.stack.top:
            words = np.frombuffer(self._memory.read(low, parts.stack.top - low), f"<u{size}")
            values += words[(words >= self._old.base) & (words < self._old.region.end)].tolist()
        for value in values:
            protection = self._memory.protection(value) if self._old.contains(value) else None
            frame = parts.symbolizer.frame(value)
            # A return address is never that of a function's first instruction; a pointer to a function is.
            if frame.offset & -2 and protection is not None and protection & Protection.X:
                yield f"its code is running: {frame} is a return address"

    def _check_interface(self, load: Replacement, new: Image) -> None:
        """Refuse a version in which something that other images use has another type or size."""
        used = {name for change in load.plan.rebound for name in change.names}
        before, after = (Interface(image.decoded, image.architecture) for image in (self._old, new))
        reasons = []
        for difference in compare(before, after):
            name = difference.subject.rpartition(" ")[2].partition("@")[0]
            users = used.intersection({name, *(user.partition("@")[0] for user in difference.users)})
            if not difference.compatible and difference.change == "changed" and users:
                reasons.append(f"{difference.subject} is in use: {', '.join(difference.details)}")
        self._refuse(new, reasons)

    def _check_unused(self, new: Image) -> None:
        """Refuse a swap after which the old version would stay loaded."""
        linker, old = self._parts.linker, self._old
        reasons = [
            f"{image.name} still uses it"
            for image in linker.images
            if image not in (old, new) and old in uses(image)
        ]
        reasons += [
            f"the host holds its address {address:#x}, for a handler or a destructor"
            for address in linker.pinned_addresses()
            if old.contains(address)
        ]
        self._refuse(new, reasons)

    # ------------------------------------------------------------ memory

    def _blocks(self, old: Image, new: Image) -> Iterator[tuple[int, int]]:
        """The thread-local blocks of both versions, for every thread that has one of the old version."""
        threads = self._parts.threads
        assert old.tls is not None
        for thread in threads.alive:
            if new.tls is None or not (old.tls.static or old.tls.id in thread.blocks):
                continue
            with threads.using(thread):
                yield threads.block(old), threads.block(new)

    def _settled(self, doubtful: Iterable[Doubtful], carrier: Carrier, undo: Rollback) -> list[Doubtful]:
        """Change doubtful words where the caller wants that; the ones that are left."""
        left = []
        for word in doubtful:
            found = carrier.translate(word.value)
            if self._policy == "rewrite" and isinstance(found, int):
                self._store(word.place, found, undo)
            else:
                left.append(word)
        return left

    def _store(self, place: int, value: int, undo: Rollback) -> None:
        size = self._old.architecture.word_size
        undo.callback(self._memory.write, place, self._memory.read(place, size))
        self._memory.write_uint(place, size, value)
        self._changed += 1

    def _search(self, carrier: Carrier, undo: Rollback) -> list[Doubtful]:
        """Change the pointers to the old version in the guest's memory; the words that are doubtful."""
        doubtful, size, words = [], self._old.architecture.word_size, carrier.words
        for place, value in self._words():
            image = self._parts.symbolizer.image_at(place)
            if image is not None and words.is_constant(image, place, value.to_bytes(size, "little")):
                continue
            known = image is not None and (words.is_relocated(image, place) or _is_pointer(image, place))
            found = carrier.translate(value)
            if isinstance(found, int) and known:
                self._store(place, found, undo)
                continue
            where = str(self._parts.symbolizer.frame(place)) if image is not None else self._name(place)
            problem = found if isinstance(found, str) else "nothing tells that it is a pointer"
            doubtful.append(Doubtful(place, value, where, problem))
        return self._settled(doubtful, carrier, undo)

    def _name(self, place: int) -> str:
        region = self._memory.region_at(place)
        return (region.name if region is not None else "") or "a mapping"

    def _words(self) -> Iterator[tuple[int, int]]:
        """(guest address, value) of every word in readable memory that could be an address of the old version."""
        old, size = self._old, self._old.architecture.word_size
        for region in self._memory.regions:
            if region is old.region or region in old.region.parts or region.name in _OWN:
                continue
            for start, end in self._used(region):
                data = self._memory.read(start, (end - start) // size * size)
                words = np.frombuffer(data, f"<u{size}")
                inside = (words >= old.base) & (words < old.region.end)
                for index in np.flatnonzero(inside).tolist():
                    if old.contains(int(words[index])):
                        yield start + index * size, int(words[index])

    def _used(self, region: Region) -> Iterator[tuple[int, int]]:
        """The ranges of a region whose contents count: not what lies below the stack pointer or in free blocks."""
        if region.name == "[stack]":
            depth = self._parts.runner.depth
            low = self._parts.cpu.read_register("sp") if depth else region.end
            yield from [(max(low & -8, region.address), region.end)] if low < region.end else []
        elif region.name == "[heap]":
            blocks = self._parts.heap.blocks().items()
            yield from ((start, start + size) for start, size in blocks if region.contains(start))
        else:
            for offset, size, protection in region.pages:
                if protection & Protection.R:
                    yield region.address + offset, region.address + offset + size


def _is_pointer(image: Image, place: int) -> bool:
    """Whether debug information tells that the word of an image at a guest address is a pointer."""
    found = image.symbol_at(place)
    try:
        types = dwarf_types(image)
        if types is None or found is None:
            return False
        name, offset = found
        ctype = types.variable(name, (place - offset - image.bias) & image.architecture.address_mask)
    except DebugInfoError:
        return False
    return ctype is not None and _pointer_at(ctype, offset)


def _pointer_at(ctype: CType, offset: int) -> bool:
    """Whether a type has a pointer at an offset. Unions count as having none."""
    if isinstance(ctype, Pointer):
        return offset == 0
    if isinstance(ctype, Array):
        size = sized(ctype.target).size
        return size > 0 and _pointer_at(ctype.target, offset % size)
    if isinstance(ctype, Struct) and not ctype.is_union:
        for member in ctype.members or ():
            if member.bits is None and member.offset <= offset < member.offset + sized(member.type).size:
                return _pointer_at(member.type, offset - member.offset)
    return False
