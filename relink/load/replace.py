"""A load whose root takes the place of a loaded image: in every scope, and for every reference bound to it.

    open         the image is not found by its names: its file, or another version of it, is loaded anew
    join         the new image stands where the old one stood: global scope, search lists, dependencies
    relocate     references of other images that were bound to the old image are bound again
    publish      their words are rewritten, except those that the guest has changed
    hand_over    loads of the old image count as loads of the new one (after commit)

Until `hand_over` the old image is still mapped and complete; then it is unused, and `Linker.unload_unused`
releases it. Its own references, and copies of its addresses that the guest has made, are the caller's to find
(`emu.patch.swap`). A rollback restores everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from relink.arch import Role
from relink.arrays import I64, U8
from relink.errors import LinkError, UnresolvedSymbol
from relink.image import Image, Lineage
from relink.load.load import Load
from relink.load.options import LoadOptions
from relink.load.state import LinkerState
from relink.records import replace
from relink.relocate.deferred import Rebound, rebound, replayed
from relink.relocate.lazy import BindMode, LazySlots
from relink.relocate.references import References
from relink.relocate.relocate import relocator
from relink.relocate.result import IfuncCalls
from relink.resolve.bindings import UNRESOLVED, Bindings
from relink.resolve.resolver import Use
from relink.resolve.scopes import LookupScope
from relink.search.graph import Node
from relink.search.search_path import Source

if TYPE_CHECKING:
    from relink.relocate.state import Environment


class Replacement(Load):
    """A load of `source` in the place of `old`. Its references also have the old image's own symbol sources."""

    def __init__(
        self,
        state: LinkerState,
        old: Image,
        source: Source | Node,
        name: str | None = None,
        options: LoadOptions | None = None,
    ) -> None:
        options = options or LoadOptions()
        inherited = old.scopes
        options = replace(
            options,
            local=old not in state.global_scope,
            deep_bind=inherited.deep_bind,
            sources=(*options.sources, *inherited.sources),
            late_sources=(*options.late_sources, *inherited.late_sources),
        )
        super().__init__(state, source, name, options)
        self.old = old
        #: The old image's bytes as they were when it had been relocated, uint8[n] like its region's buffer.
        self.initial: U8 = np.zeros(0, np.uint8)
        #: Images with references bound to the old one, and where these were looked up.
        self._users: list[tuple[Image, LookupScope]] = []
        self._old_scope = LookupScope(())

    def _find(self) -> tuple[Node, list[Node]]:
        self._rollback.callback(self.state.known.add, self.old)
        self.state.known.remove(self.old)
        root, nodes = super()._find()
        if root.image is not None:
            raise LinkError(root.name, f"is loaded already, so it cannot take the place of {self.old.name}")
        return root, nodes

    # ------------------------------------------------------------ scopes

    def _joined(self) -> None:
        state, old, new = self.state, self.old, self.plan.root
        others = [image for image in state.images if image is not old and image not in self.plan.images]
        users = [image for image in others if old in image.relocated.providers or image.relocated.lazy is not None]
        self._users = [(image, state.lookup_scope(image)) for image in users]
        self._old_scope = state.lookup_scope(old)
        new.lifetime.init_index = old.lifetime.init_index
        for members in self._member_lists():
            self._substitute(members)
        for image in state.images:
            if old in (image.scopes.search_list or ()):
                self._rollback.callback(setattr, image.scopes, "search_list", image.scopes.search_list)
                image.scopes.search_list = None
        state.resolver.indices.forget({old})

    def _member_lists(self) -> Iterator[list[Image]]:
        """The lists of images in which the new one takes the old one's place."""
        state, old = self.state, self.old
        yield state.global_scope
        groups = {id(group): group for image in state.images for group in image.scopes.groups}
        for group in groups.values():
            if group.root is old:
                self._rollback.callback(setattr, group, "root", old)
                group.root = self.plan.root
            yield group.members
        for image in state.images:
            if image is not old:
                yield from (image.scopes.dependencies, image.scopes.filtees, image.lifetime.keeps)

    def _substitute(self, members: list[Image]) -> None:
        old, new = self.old, self.plan.root
        if old not in members:
            return

        self._rollback.callback(members.__setitem__, slice(None), members.copy())
        members[:] = [new if image is old else image for image in members if image is not new]

    # ------------------------------------------------------------ references

    def _rebind(self, environment: Environment) -> list[LinkError]:
        errors = super()._rebind(environment)
        bound = relocator(self.old, self._old_scope, environment).bound_again(BindMode.NOW)
        _, self.initial = replayed(self.old, self._old_scope, environment, bound, BindMode.NOW)
        for image, before in self._users:
            change = self._rebound(image, before, environment)
            if change is None:
                continue
            errors += change.errors
            self._rollback.callback(setattr, image, "relocated", image.relocated)
            image.relocated = change.relocated
            self.plan.rebound.append(change)
            self.plan.ifuncs += change.ifuncs
        resolver, old = self.state.resolver, self.old
        self._rollback.callback(setattr, resolver, "unique", resolver.unique)
        resolver.unique = {name: found for name, found in resolver.unique.items() if found[0] is not old}
        return errors

    def _rebound(self, image: Image, before: LookupScope, environment: Environment) -> Rebound | None:
        """The changes in an image that had references to the old one, both those bound at once and lazy ones."""
        scope = self.state.lookup_scope(image)
        now = self._bound_at_once(image, before, scope, environment)
        lazy = self._lazy(image, before, scope) if image.relocated.lazy is not None else None
        if now is None or lazy is None:
            return now or lazy
        return replace(
            now,
            names=now.names + lazy.names,
            words=now.words + lazy.words,
            ifuncs=now.ifuncs + lazy.ifuncs,
            errors=now.errors + lazy.errors,
        )

    def _bound_at_once(
        self, image: Image, before: LookupScope, scope: LookupScope, environment: Environment
    ) -> Rebound | None:
        binding = BindMode.NOW if image.relocated.lazy is None else BindMode.LAZY
        was = relocator(image, before, environment).bound_again(binding)
        now = relocator(image, scope, environment).bound_again(binding)
        chosen = self._bound_to_old(was.bindings)
        if not len(chosen):
            return None
        assert np.array_equal(was.symbols, now.symbols)
        after, known = was.bindings.copy(), image.relocated.bindings
        after.take(chosen, now.bindings, chosen)
        if known is not None and np.array_equal(image.relocated.symbols, was.symbols):
            known = known.copy()  # with the stand-ins of undefined symbols
            known.take(chosen, now.bindings, chosen)
            known = known.without_others()  # the old image is not kept
        symbols = was.symbols[chosen - 1]
        change = rebound(
            image,
            replace(image.relocated, bindings=known),
            scope,
            environment,
            was,
            References(after, was.symbols, was.binding_of),
            binding,
            image.decoded.symbols.names.take(symbols).texts(),
        )
        missing = symbols[now.bindings.provider[chosen] == UNRESOLVED].tolist()
        return replace(change, errors=[*change.errors, *self._missing(image, missing)])

    def _bound_to_old(self, bindings: Bindings) -> I64:
        """The elements that are bound to the old image."""
        if self.old not in bindings.images:
            return np.zeros(0, np.int64)
        return np.flatnonzero(bindings.provider == bindings.images.index(self.old))

    def _lazy(self, image: Image, before: LookupScope, scope: LookupScope) -> Rebound | None:
        """The jump slots of functions of the old image. Those that are bound already are bound again."""
        slots, resolver = image.relocated.lazy, self.state.resolver
        assert slots is not None
        calls = np.full(len(slots), Use.CALL, np.uint8)
        was = resolver.bind(image, slots.symbol, before, calls)
        now = resolver.bind(image, slots.symbol, scope, calls)
        chosen = self._bound_to_old(was)
        if not len(chosen):
            return None
        missing = slots.symbol[chosen[now.provider[chosen] == UNRESOLVED]].tolist()
        words, ifuncs = list[tuple[int, bytes, bytes]](), list[IfuncCalls]()
        self._rollback.callback(slots.bound.update, dict(slots.bound))
        for slot in [] if missing else sorted({*chosen.tolist()} & slots.bound.keys()):
            answer = slots.bind(slot, resolver, scope)
            place, size = int(slots.place[slot]), image.architecture.word_size
            if answer.indirect:
                ifuncs.append(_ifunc_slot(image, slots, slot, answer.address))
            else:  # the slot holds the function's address, or what its ifunc resolver chose
                held = self.state.memory.read(place, size)
                words.append((place, held, answer.address.to_bytes(size, "little")))
        names = image.decoded.symbols.names.take(slots.symbol[chosen]).texts()
        return Rebound(image, names, image.relocated, words, ifuncs, [*self._missing(image, missing)])

    def _missing(self, image: Image, symbols: Iterable[int]) -> Iterator[LinkError]:
        """Errors for references that nothing defines any more; weak ones too, since they were in use."""
        for symbol in symbols:
            name, version = image.decoded.symbols.names.text(symbol), image.decoded.version_of(symbol)
            detail = f"{self.old.name} defines it and {self.plan.root.name} does not"
            yield UnresolvedSymbol(image.name, name, version, detail=detail)

    # ------------------------------------------------------------ after commit

    def hand_over(self) -> None:
        """Count the loads of the old image as loads of the new one, which leaves the old one unused. May be
        repeated.
        """
        if self.old.successor is not None:
            return
        old, new = self.old.lifetime, self.plan.root.lifetime
        old.keeps.clear()
        lineage = self.old.lineage or Lineage(self.old, self.plan.root)
        # Without a call from here on: what a signal handler raises comes before all of this, or after.
        new.references, new.no_delete = old.references, new.no_delete or old.no_delete
        old.references, old.no_delete = 0, False
        self.plan.root.lineage, lineage.current = lineage, self.plan.root
        self.old.lineage = lineage


def _ifunc_slot(image: Image, slots: LazySlots, slot: int, resolver: int) -> IfuncCalls:
    """The call of an ifunc resolver whose answer a jump slot holds."""
    jump_slot = next(each for each in image.architecture.relocations.values() if each.role is Role.JUMP_SLOT)
    one = slice(slot, slot + 1)
    return IfuncCalls(image, jump_slot, slots.place[one], np.array([resolver], np.uint64), slots.addend[one])
