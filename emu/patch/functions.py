"""Hot patching: replacing and restoring a function of a loaded library.

The function's first bytes are overwritten with a jump, so that every call reaches the replacement: through PLTs
and pointers, and direct calls inside the library too. In order of preference the jump is

    the ISA's short one, to the replacement when that is in range
    the ISA's stub, which contains the address, over the function when it is long enough
    the short one, to a stub on a page reserved nearby

`Architecture.detours` has the instructions. A landing pad (endbr, bti) at the function's start is kept when there
is room after it, for indirect calls. Replacing a function while it executes is safe only if execution does not
return to the overwritten bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias, cast

from emu.errors import AlreadyPatched, FunctionTooShort, HandleOutlived, PatchError
from emu.host.symbols import symbol_of
from emu.patch.active import ActivePatches
from emu.patch.assemble import assemble
from emu.patch.near_pages import free_pages, short_jump
from emu.patch.undoable import Undoable
from relink.elf.constants import SymbolType
from relink.errors import AddressSpaceError
from relink.image import Image, Symbol
from relink.memory.address_space import PAGE, Protection, page_ceil
from relink.memory.rollback import Rollback
from relink.records import dataclass, field
from relink.resolve.nearest import any_within

if TYPE_CHECKING:
    from emu.debug.symbolizer import Symbolizer
    from emu.host.symbols import HostSymbols, SymbolValue
    from emu.load.loader import Loader
    from emu.memory.guest_memory import GuestMemory
    from emu.ports import Handle
    from emu.run.traps import TrapTable
    from relink.arch.spec import Detour

#: The replacement of a function: a guest function, an address, a host function (with or without a prototype),
#: machine code as bytes, or assembly text.
Replacement: TypeAlias = "Handle | Symbol | SymbolValue | bytes | str"

_CODE_TYPES = (SymbolType.FUNC, SymbolType.NOTYPE)


@dataclass(eq=False)
class Patch(Undoable):
    """A replaced function. `undo`, or leaving the `with` block, restores it.

    Patches of the same function are stacked: the last must be undone first. Closing the library removes its
    patches.
    """

    name: str  #: name of the function
    address: int  #: guest address of the first changed byte
    target: int  #: guest address of the replacement (on Arm bit 0 selects Thumb)
    original: bytes  #: the original bytes
    code: bytes  #: the bytes written
    patcher: Patcher = field(repr=False)
    image: Image | None = field(default=None, repr=False)  #: the function's image, if known
    keeps: Image | None = field(default=None, repr=False)  #: the replacement's image, which stays loaded meanwhile
    page: int | None = field(default=None, repr=False)  #: guest address of pages allocated for code or a stub
    traps: list[int] = field(default_factory=list, repr=False)
    active: bool = True
    outlived: bool = field(default=False, repr=False)  #: whether the machine has returned to before it
    number: int = field(default=0, repr=False)  #: in the order of writing

    @property
    def end(self) -> int:
        """One past the last changed byte."""
        return self.address + len(self.code)

    def undo(self) -> None:
        """Restore the function; one that was written anew since stays. Does nothing if it is already restored or
        the library is closed.

        Raises PatchError while a later patch of the function is active.
        """
        if self.active:
            self.patcher.undo(self)

    def outlive(self) -> None:
        """Make it inactive: the machine has returned to a snapshot in which it did not exist."""
        self.active, self.page, self.traps = False, None, []
        self.outlived = True

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Restore the original function during a `with` block, so that a replacement can call it.

        Raises PatchError while a later patch of the function is active.
        """
        self.patcher.check_top(self)
        back = Rollback(((self._write_code, ()),))
        try:
            self.patcher.memory.write(self.address, self.original)
            yield
        finally:
            try:
                back.close()
            finally:
                if back.calls:
                    back.close()

    def _write_code(self) -> None:
        if self.active:
            self.patcher.memory.write(self.address, self.code)


class Patcher:
    """The patches of one machine."""

    def __init__(
        self,
        memory: GuestMemory,
        traps: TrapTable,
        host_symbols: HostSymbols,
        symbolizer: Symbolizer,
        loader: Loader,
        code_bits: int = 0,
    ) -> None:
        self.memory = memory
        self._code_bits = code_bits  #: see `emu.ports.Layout`
        self.host_symbols = host_symbols
        self._active: ActivePatches[Patch] = ActivePatches()
        self._traps = traps
        self._symbolizer = symbolizer
        self._loader = loader
        self._arch = memory.architecture
        self._mask = self._arch.code_address_mask
        loader.on_release.append(self._forget)

    @property
    def patches(self) -> list[Patch]:
        """The active patches, oldest first."""
        return list(self._active)

    @property
    def count(self) -> int:
        """How many patches there have been: the `number` of the last."""
        return self._active.count

    def patch(self, target: Handle | Symbol | int, replacement: Replacement, size: int | None = None) -> Patch:
        """Replace a function; see `Machine.patch`."""
        name, address, room, image = self._place(target, size)
        start = address & self._mask
        patch = Patch(name, start, 0, b"", b"", self, image)
        try:
            self._fill(patch, address, room, replacement)
            self.apply(patch)
        except BaseException:
            self._free(patch)
            raise
        return patch

    def apply(self, patch: Patch) -> None:
        """Write a patch whose address and code are set. On an error its resources are freed."""
        before = b""
        try:
            self._check_overlap(patch)
            before = patch.original = self.memory.read(patch.address, len(patch.code))
            self.memory.write(patch.address, patch.code)
            kept, keeps = self._keeps(patch)
            stack = self._active.stack_for(patch)
            keeps += kept  # from here on without a call: a signal handler raises before both, or after
            stack += [patch]
        except BaseException:
            if before:
                self.memory.write(patch.address, before)
            self._free(patch)
            raise

    @staticmethod
    def _keeps(patch: Patch) -> tuple[list[Image], list[Image]]:
        """The image that a patch keeps loaded, if any, and the list for it."""
        if patch.keeps is None or patch.image is None:
            return [], []
        return [patch.keeps], patch.image.lifetime.keeps

    def undo(self, patch: Patch) -> None:
        """Restore the bytes that a patch overwrote, unless others have been written over it, as by an update of
        flash. Raises PatchError unless it is the last of its function.
        """
        self.check_top(patch)
        if self.memory.read(patch.address, len(patch.code)) == patch.code:
            self.memory.write(patch.address, patch.original)
        rest = Rollback(((self._free, (patch,)), (self._drop, (patch,))))
        try:
            rest.close()
        finally:
            if rest.calls:
                rest.close()
        if patch.keeps is not None:
            self._loader.collect()

    def _drop(self, patch: Patch) -> None:
        """Forget a patch, unless that has been done."""
        stack = self._active.stack_of(patch)
        others = [each for each in stack if each is not patch]
        if len(others) < len(stack):
            kept, keeps = self._keeps(patch)
            at = keeps.index(kept[0]) if kept else 0
            if kept:  # from here on without a call, as in `apply`
                del keeps[at]
            stack[:] = others
        self._active.forget_empty(patch)

    def check_top(self, patch: Patch) -> None:
        """Raise PatchError when a later patch is over this one, or it is no longer active."""
        if patch.outlived:
            raise HandleOutlived(f"the patch of {patch.name}")
        if not patch.active:
            raise PatchError(f"the patch of {patch.name} has been undone")
        stack = self._active.stack_of(patch)
        for over in stack[stack.index(patch) + 1 :]:
            raise PatchError(f"{patch.name} has been patched again: undo that patch (to {over.target:#x}) first")

    def _forget(self, image: Image) -> None:
        """Free the patches of an image that has been unloaded."""
        for patch in [each for each in self._active if each.image is image]:
            self._active.stack_of(patch).remove(patch)
            self._active.forget_empty(patch)
            self._free(patch)

    def _free(self, patch: Patch) -> None:
        patch.active = False
        if patch.page is not None and self.memory.region_at(patch.page) is not None:
            self.memory.unmap(patch.page)
        self.host_symbols.remove(patch.traps)
        patch.page, patch.traps = None, []

    # ------------------------------------------------------------ what and where

    def _place(self, target: Handle | Symbol | int, size: int | None) -> tuple[str, int, int, Image | None]:
        """(name, function pointer, bytes that may be overwritten, image) of the function to replace."""
        symbol = symbol_of(target)
        if symbol is None:
            if not isinstance(target, int):
                raise PatchError(
                    f"{target!r} is not a function: give a Function, a Symbol, or an address and a size"
                )
            if (pointer := target | self._code_bits) != target:
                raise PatchError(f"there is no function at {target:#x}: on this CPU its address is {pointer:#x}")
            address, room = target, size
            image = self._symbolizer.image_at(address)
            name = str(self._symbolizer.frame(address & self._mask))
        else:
            name, image, room = symbol.name, symbol.image, symbol.size if size is None else size
            address = symbol.address
            if size is None and room:
                room += self._padding(symbol, room)
            if symbol.type == SymbolType.GNU_IFUNC:
                chosen = "patch the function that its resolver chose, by address and size"
                raise PatchError(f"{name} of {image.name} is an ifunc: {chosen}")
            if symbol.type not in _CODE_TYPES:
                raise PatchError(f"{name} of {image.name} is not a function")
        protection = self.memory.protection(address & self._mask)
        if protection is None or not protection & Protection.X:
            raise PatchError(f"{name}: there is no executable memory at {address:#x}")
        if not room:
            raise PatchError(f"{name}: its symbol has no size, give its size in bytes")
        return name, address, room, image

    def _padding(self, symbol: Symbol, size: int) -> int:
        """The number of padding bytes between a function and the next symbol."""
        memory = self.memory
        detour = self._arch.detours[symbol.address & self._arch.code_address_bits]
        end = (symbol.address & self._mask) + size
        gap = -end % detour.unit
        if not gap or not detour.padding or memory.protection(end + gap - 1) is None:
            return 0
        inside = any_within(symbol.image, end, end + gap)
        return 0 if inside or not re.fullmatch(detour.padding, memory.read(end, gap)) else gap

    def _check_overlap(self, patch: Patch) -> None:
        if (other := self._active.overlapping(patch)) is not None:
            raise AlreadyPatched(
                f"{patch.name} ({patch.address:#x}..{patch.end:#x}) overlaps the patch of {other.name} "
                f"({other.address:#x}..{other.end:#x})"
            )

    # ------------------------------------------------------------ the replacement

    def _fill(self, patch: Patch, address: int, room: int, replacement: Replacement) -> None:
        """Set a patch's target and code; allocate memory for them if required."""
        state = address & self._arch.code_address_bits
        detour = self._arch.detours[state]
        if isinstance(replacement, bytes | bytearray | str):
            patch.target = self._map_code(patch, replacement, state)
        elif (symbol := symbol_of(replacement)) is not None:
            patch.target = cast("Handle | Symbol", replacement).address
            if symbol.type not in (*_CODE_TYPES, SymbolType.GNU_IFUNC):
                raise PatchError(f"{symbol.name} of {symbol.image.name} is not a function")
            patch.keeps = symbol.image if symbol.image is not patch.image else None
        else:
            patch.target = self.host_symbols.define(
                f"patched {patch.name}",
                cast("SymbolValue", replacement),
                patch.traps,
            )
        pad = self._landing_pad(detour, patch.address)
        for keep in dict.fromkeys((pad, b"")):
            code = self._jump(patch, detour, state, keep, room)
            if code is not None:
                patch.code = code
                return
        short, long = len(detour.near), len(detour.far.code)
        raise FunctionTooShort(
            f"{patch.name} has {room} bytes; a jump needs {short}, or {long} out of range of the short one"
        )

    def _landing_pad(self, detour: Detour, address: int) -> bytes:
        """The landing pad to keep at a function's start; empty for a function that is already patched."""
        longest = max((len(pad) for pad in detour.pads), default=0)
        if not longest:
            return b""
        try:
            there = self.memory.read(address, longest)
        except AddressSpaceError:
            return b""
        return next((kept for pad, kept in detour.pads.items() if there.startswith(pad)), b"")

    def _jump(self, patch: Patch, detour: Detour, state: int, pad: bytes, room: int) -> bytes | None:
        """The bytes to write at the function's start; None if none fit."""
        at = patch.address + len(pad)
        if len(pad) + len(detour.near) <= room and patch.target & self._arch.code_address_bits == state:
            near = short_jump(detour, at, patch.target)
            if near is not None:
                return pad + near
        lead = detour.nop if at % detour.far.align and detour.nop else b""
        far = pad + lead + self._carrying(detour.far.code, detour.far.address_at, patch.target)
        if len(far) <= room:
            return far
        if len(pad) + len(detour.near) > room:
            return None
        island = self._island(patch, detour, at)
        return None if island is None else pad + island

    def _carrying(self, stub: bytes, address_at: int, target: int) -> bytes:
        word = self._arch.word_size
        return stub[:address_at] + target.to_bytes(word, "little") + stub[address_at + word :]

    # ------------------------------------------------------------ memory nearby

    def _map_code(self, patch: Patch, code: bytes | bytearray | str, state: int) -> int:
        """Write code to newly allocated pages, near the function if possible; return its address."""
        size = PAGE if isinstance(code, str) else page_ceil(len(code))
        reach = self._arch.detours[state]
        address = free_pages(self.memory, self._traps, size, patch.address, reach)
        page = self._map(patch, size, address)
        if isinstance(code, str):
            code = assemble(self._arch, code, page, thumb=bool(state))
            if len(code) > size:
                raise PatchError(f"{patch.name}: {len(code)} bytes of assembled code, the limit is {size}")
        if not code:
            raise PatchError(f"{patch.name}: the replacement code is empty")
        self.memory.write(page, code)
        return page | state

    def _island(self, patch: Patch, detour: Detour, at: int) -> bytes | None:
        """A jump to a stub on a page nearby."""
        stub = self._arch.stub
        address = free_pages(self.memory, self._traps, PAGE, at, detour)
        if stub is None or address is None or patch.page is not None:
            return None
        page = self._map(patch, PAGE, address)
        self.memory.write(page, self._carrying(stub.code, stub.address_at, patch.target))
        return short_jump(detour, at, page + detour.entry)

    def _map(self, patch: Patch, size: int, at: int | None) -> int:
        memory = self.memory
        patch.page = memory.map_anonymous(
            size, Protection.R | Protection.X, name=f"[patch of {patch.name}]", at=at
        )
        return patch.page
