"""The part of a machine that changes running code: functions replaced, imports redirected, libraries swapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Unpack, cast

from emu.library import Library, as_image
from emu.run.exclusive import exclusive
from relink.image import Image
from relink.records import cached_property

if TYPE_CHECKING:
    from emu.host.symbols import SymbolValue
    from emu.library import Owner
    from emu.load.options import SwapKeywords
    from emu.parts import Parts
    from emu.patch.functions import Patch, Patcher, Replacement
    from emu.patch.imports import Redirection
    from emu.patch.swap import PointerPolicy, VariableHook
    from emu.personality import Personality
    from emu.ports import Handle
    from emu.run.runner import Runner
    from emu.snapshot import SnapshotGuest
    from relink.image import Symbol
    from relink.search.search_path import Source


class PatchedGuest:
    """The methods of `emu.machine.Machine` that change running code: see docs/hooks.md."""

    parts: Parts
    os: Personality
    runner: Runner

    @cached_property
    def patcher(self) -> Patcher:
        """Creates patches, and has the active ones."""
        from emu.patch.functions import Patcher

        parts, code_bits = self.parts, self.os.layout.code_bits
        return Patcher(parts.memory, parts.traps, parts.host_symbols, parts.symbolizer, parts.loader, code_bits)

    @exclusive
    def patch(self, target: Handle | Symbol | int, replacement: Replacement, *, size: int | None = None) -> Patch:
        """Replace a guest function for every caller, until `undo` of the result (see `emu.patch.functions`).

        `replacement` is another guest function, its address, a host function, code as bytes, or assembly text.
        `size` is the number of bytes that may be overwritten, for a function whose symbol has no size.

        Raises PatchError, FunctionTooShort, AlreadyPatched, AssemblyError, UseAfterUnload.
        """
        self.parts.owner.check(target, replacement)
        return self.patcher.patch(target, replacement, size)

    @exclusive
    def redirect(
        self, image: Image | Library, name: str, replacement: Handle | Symbol | SymbolValue
    ) -> Redirection:
        """Redirect an image's references to a symbol, until `undo` of the result (see `emu.patch.imports`). Raises
        PatchError when it has none or was linked from relocatable objects; UseAfterUnload.
        """
        from emu.patch.imports import redirect

        self.parts.owner.check(image, replacement)
        return redirect(self.patcher, as_image(image), name, replacement)

    @contextmanager
    def _undone_by_failure(self) -> Iterator[None]:
        """Return to the present state when the block raises, whatever the guest has done. During a call of the
        guest that is not possible: the caller undoes its own part.
        """
        if self.runner.depth:
            yield
            return
        guest = cast("SnapshotGuest", self)
        with guest.snapshot() as before:
            try:
                yield
            except BaseException:
                guest.restore(before)
                raise

    def swap(
        self,
        old: Library | Image,
        source: Source,
        *,
        hooks: Mapping[str, VariableHook] | None = None,
        pointers: PointerPolicy = "refuse",
        **options: Unpack[SwapKeywords],
    ) -> Library:
        """Let a new version of a library take the place of a loaded one, with its state (see `emu.patch.swap`).

        Handles on the old version (`Library`, functions, variables) are handles on the new one afterwards, and so
        are the guest's handles of dlopen. `hooks` are called for variables by name, with the variable of the old
        and of the new version, instead of carrying their value over. `pointers` is what happens to words that look
        like addresses of the old version where nothing tells that they are: they refuse the swap, or are changed.

        Raises SwapRefused, and what `load` raises. The machine is then as before; but in a host function, what
        destructors of the old and constructors of the new version have done is not undone.
        """
        from emu.handles import Variable
        from emu.patch.swap import Swap

        self.parts.owner.check(old)
        guest = cast("Owner", self)
        swap = Swap(self.parts, self.patcher, as_image(old), pointers)
        with self.runner.used(), self._undone_by_failure(), self.runner.one_budget():
            done = swap.run(
                source, hooks or {}, lambda owner, name: Variable(guest, owner.definition(name)), **options
            )
        library = old if isinstance(old, Library) else Library(guest, done.plan)
        library.swapped = done
        return library
