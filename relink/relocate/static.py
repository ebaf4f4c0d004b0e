"""Relocating combined objects (`relink.objects.combined`): static types, GOT and stubs.

The engine with more operands and an order among roles. Stubs and GOT slots are filled from the bindings first. A
call out of range goes through the symbol's stub. A function whose address does not fit some entry has the address
of its stub in the whole image.
"""

from __future__ import annotations

import numpy as np

from relink.arch import Reloc, Role, loongarch_stack
from relink.arch.fields import Word
from relink.arch.spec import Slot, reloc
from relink.arrays import I64, U64, Bools, distinct
from relink.elf import RelocationTable
from relink.elf.constants import SymbolType
from relink.errors import (
    RelocationError,
    RelocationOutOfImage,
    RelocationOverflow,
    UnsupportedRelocation,
)
from relink.memory.buffers import read_uleb, read_words, write_uleb, write_words
from relink.module import Module
from relink.objects.combined import CombinedObjects, CombinedTable, combined
from relink.relocate import object_checks
from relink.relocate.batch import Batch, Selection, evaluate, indices_of, phase_of
from relink.relocate.diagnostics import not_thread_local, slot_errors
from relink.relocate.engine import Relocator
from relink.relocate.state import Environment
from relink.relocate.tls import NO_MACHINE, make_static, modules_of, write_descriptors
from relink.resolve.bindings import NUMBER, UNRESOLVED
from relink.resolve.scopes import LookupScope

#: Rows whose value is an address of the symbol, or a distance to it.
_PLAIN = frozenset({"S", "A", "P"})
#: Operands in the formula of an offset in a thread-local block.
_IN_MODULE = frozenset({"S", "DTV"})
_MOVING = (Role.DATA, Role.HIGH)
#: By word size: a relocation type that stores an address, for GOT slots and stubs.
ADDRESSES = {size: reloc("address", "S", Word(size)) for size in (4, 8)}
_FUNCTIONS = (SymbolType.FUNC, SymbolType.GNU_IFUNC)
#: Roles that objects cannot have or that this linker refuses.
DYNAMIC_ONLY = (Role.RELATIVE, Role.JUMP_SLOT, Role.COPY, Role.IRELATIVE, Role.TLSDESC, Role.REFUSED)


def object_relocator(image: Module, scope: LookupScope, environment: Environment) -> ObjectRelocator:
    """The relocator of an image that was linked from relocatable objects."""
    objects = combined(image.decoded)
    assert objects is not None
    return ObjectRelocator(image, objects, scope, environment)


class ObjectRelocator(Relocator):
    """The relocation of one combined image."""

    def __init__(
        self, image: Module, combined: CombinedObjects, scope: LookupScope, environment: Environment
    ) -> None:
        super().__init__(image, scope, environment)
        self.combined = combined
        self.high_parts: list[tuple[U64, U64]] = []  # (place, value) of every HIGH entry
        self.steps: list[tuple[RelocationTable, I64, U64]] = []  # entries of Role.STACK and their operands
        self.uleb: dict[int, tuple[int, Batch, int]] = {}  # place -> (sum so far, batch, last entry)

    def _applies(self, reloc_type: Reloc) -> bool:
        return reloc_type.role not in DYNAMIC_ONLY

    def _phase(self, number: int) -> int:
        return phase_of(self.arch, number)

    def _refuse(self, table: RelocationTable, number: int, reloc_type: Reloc | None, indices: I64) -> None:
        """Report entries of a refused type, with its reason; dynamic types have no meaning in an object."""
        if reloc_type is None:
            super()._refuse(table, number, reloc_type, indices)
            return
        problem = reloc_type.reason or "a dynamic relocation: only shared objects and executables have it"
        self.report(table, indices, UnsupportedRelocation, self.arch.relocation_name(number), problem)

    def _apply_all(self) -> None:
        super()._apply_all()
        self._write_ulebs()
        self._run_stack()
        self._copy_stored()

    def _copy_stored(self) -> None:
        """Copy the bytes of sections that a link script stores elsewhere to where they are stored."""
        placed, index = self.combined.placed, self.image.runs.index
        for section in placed.sections if placed is not None else ():
            if section.bits and section.load_address != section.address:
                source, target = index(section.address), index(section.load_address)
                self.buffer[target : target + section.size] = self.buffer[source : source + section.size]

    def _prepare(self) -> None:
        self._fill_stubs()
        self._move_to_stubs()
        self._fill_got()

    # ------------------------------------------------------------ synthesis

    def _fill_got(self) -> None:
        """Fill all GOT slots (see `Slot`)."""
        word = self.arch.word_size
        for kind, (symbols, offsets) in self.combined.slots.items():
            where = self.image.runs.indices((self.combined.got + offsets).astype(np.uint64))
            index = self.binding_index(symbols)
            address = self.bound.address[index]
            if kind is Slot.ADDRESS:
                odd = self.bound.type[index] == SymbolType.TLS
                self.result.errors += slot_errors(
                    self.image, symbols[odd], offsets[odd], kind, object_checks.NO_ADDRESS
                )
                self._fill_addresses(index, where, address)
                continue
            if kind is Slot.TLS_IE:
                refused, problem = make_static(self.bound, index, self.environment.tls)
                self.result.errors += slot_errors(self.image, symbols[refused], offsets[refused], kind, problem)
            of = np.zeros_like(index) if kind is Slot.TLS_LD else index
            module, offset, usable = modules_of(self.bound, of, self.environment.resolver.host_tls)
            self.result.errors += not_thread_local(self.image, symbols[~usable])
            if kind is Slot.TLS_IE:
                write_words(self.buffer, where, word, address + offset)
            elif kind is Slot.TLS_DESC:
                functions, unanswered = self.descriptor_functions(index)
                left = symbols[unanswered], offsets[unanswered]
                self.result.errors += slot_errors(self.image, *left, kind, NO_MACHINE)
                write_descriptors(self.buffer, where, word, address + offset, functions, self.arch)
            else:
                inside = np.zeros_like(address) if kind is Slot.TLS_LD else address
                write_words(self.buffer, where, word, module)
                write_words(self.buffer, where + word, word, inside - np.uint64(self.arch.tls.dtv_bias))

    def _move_to_stubs(self) -> None:
        """Replace a function's address by its stub's in the whole image when some entry cannot hold it.

        An ifunc always has the address of its stub.
        """
        stubs = self.combined.stubs
        if stubs is None or not len(stubs.symbols):
            return
        moved = np.zeros(len(self.combined.symbols), np.bool_)
        for table, groups in self.tables:
            for number, entries in groups:
                reloc_type = self.arch.relocations.get(number)
                if reloc_type is None or reloc_type.formula is None or reloc_type.role is Role.BRANCH:
                    continue
                if (
                    "S" in reloc_type.formula.letters
                    and reloc_type.formula.letters <= _PLAIN
                    and reloc_type.role in _MOVING
                ):
                    chosen = indices_of(table, entries)
                    chosen = chosen[stubs.number[table.symbol[chosen]] >= 0]
                    moved[table.symbol[chosen[~self._fitting(table, reloc_type, chosen)]]] = True
        moved[stubs.symbols[self.bound.type[self.binding_index(stubs.symbols)] == SymbolType.GNU_IFUNC]] = True
        symbols = np.flatnonzero(moved)
        index = self.binding_index(symbols)
        # No stub for undefined weak symbols and for data: these remain overflows.
        movable = (self.bound.provider[index] != UNRESOLVED) & np.isin(self.bound.type[index], _FUNCTIONS)
        movable &= self.bound.symbol[index] != NUMBER
        symbols, index = symbols[movable], index[movable]
        if not len(symbols):
            return
        bound = self.bound
        if not bound.type.flags.writeable:  # other images have the same arrays
            bound = self.references.bindings = self.result.bindings = bound.copy()
        bound.address[index] = self._stub_address(symbols, np.zeros_like(symbols)).astype(np.uint64)
        bound.type[index] = SymbolType.FUNC

    def _fitting(self, table: RelocationTable, reloc_type: Reloc, chosen: I64) -> Bools:
        """Which entries can hold the value for the symbol's own address."""
        assert reloc_type.formula is not None
        assert reloc_type.word is not None
        batch = self.batch(table, reloc_type, chosen)
        batch.letters["S"] = self.bound.address[batch.binding_index]
        batch.letters["A"] = self.addend(batch)
        batch.letters["P"] = table.offset[chosen] + self.image.bias_word
        batch.function = np.ones(len(chosen), np.bool_)
        return np.broadcast_to(np.asarray(reloc_type.word.fits(self._value(batch))), chosen.shape)

    def _fill_addresses(self, index: I64, where: I64, address: U64) -> None:
        """Fill slots with addresses; one for another image's ifunc is deferred until its resolver is called."""
        waiting = self.bound.type[index] == SymbolType.GNU_IFUNC
        self.defer(ADDRESSES[self.arch.word_size], where[waiting], address[waiting], address[waiting])
        write_words(self.buffer, where[~waiting], self.arch.word_size, address[~waiting])

    def _fill_stubs(self) -> None:
        """Write each stub's target."""
        stubs = self.combined.stubs
        if stubs is None or not len(stubs.symbols):
            return
        index = self.binding_index(stubs.symbols)
        places = stubs.size * np.arange(len(index)) + stubs.address_at
        for island in map(self.image.runs.index, stubs.islands):
            self._fill_addresses(index, island + places, self.bound.address[index])

    def _stub_address(self, symbols: I64, near: I64) -> I64:
        """Guest address of each symbol's stub nearest to an image offset; -1 for none."""
        assert self.combined.stubs is not None
        offset = self.combined.stubs.offset(symbols, near)
        return np.where(offset < 0, -1, offset + self.image.bias_word.astype(np.int64))

    # ------------------------------------------------------------ one type

    def _apply(self, table: RelocationTable, reloc_type: Reloc, entries: Selection) -> None:
        if reloc_type.role is Role.ALIGN:
            return  # already done during layout
        if isinstance(table, CombinedTable) and len(table.ends) and reloc_type.word is not None:
            indices = indices_of(table, entries)
            whole = table.room(indices) >= reloc_type.word.size
            if not whole.all():
                problem = "the place is not completely in its section"
                self.report_type(table, indices[~whole], reloc_type, RelocationOutOfImage, problem)
                entries = indices[whole]
        if reloc_type.role is Role.STACK:
            self._note_step(table, reloc_type, entries)
        else:
            super()._apply(table, reloc_type, entries)

    def _gather(self, batch: Batch) -> Batch:
        super()._gather(batch)
        reloc_type = batch.reloc_type
        assert reloc_type.formula is not None
        if reloc_type.formula.letters >= _IN_MODULE:
            object_checks.keep_own(self, batch)
        symbols = batch.table.symbol[batch.entries].astype(np.int64)
        if "GOT" in reloc_type.formula.letters:
            got = np.uint64(self.combined.got) + self.image.bias_word
            batch.letters["GOT"] = np.full(len(batch.where), got, np.uint64)
        if "G" in reloc_type.formula.letters and reloc_type.slot is not None:
            slot = self.combined.slot(reloc_type.slot, symbols)
            if reloc_type.tls_slot is not None:
                slot = np.where(slot < 0, self.combined.slot(reloc_type.tls_slot, symbols), slot)
            batch.letters["G"] = slot.astype(np.uint64)
        return batch

    def _finish(self, batch: Batch) -> None:
        reloc_type = batch.reloc_type
        assert reloc_type.formula is not None
        if reloc_type.role in (Role.ADD, Role.ULEB):
            self._sum(batch)
            return
        if (
            reloc_type.role is Role.DATA
            and isinstance(reloc_type.word, Word)
            and "S" in reloc_type.formula.letters <= _PLAIN
        ):
            self.put_off_ifuncs(batch)  # symbols of other images: no stub was made if every distance fits
        if reloc_type.role is Role.LOW:
            self._low_parts(batch)
            return
        object_checks.refuse_thread_local(self, batch)
        if reloc_type.slot is not None and "A" not in reloc_type.formula.letters:
            object_checks.refuse_slot_addends(self, batch)
        symbols = batch.table.symbol[batch.entries].astype(np.int64)
        place = batch.table.offset[batch.entries]
        stub = self._stub_address(symbols, place.astype(np.int64))
        stub = np.where(stub >= 0, stub + reloc_type.entry, stub)
        if "S" in reloc_type.formula.letters:
            batch.function = np.isin(self.bound.type[batch.binding_index], (SymbolType.FUNC, SymbolType.GNU_IFUNC))
        value = self._value(batch)
        if reloc_type.role is Role.BRANCH:
            value = self._through_stubs(batch, value, stub)
        if reloc_type.role is Role.HIGH:
            self.high_parts.append((batch.table.offset[batch.entries] + self.image.bias_word, value))
        self.store(batch, value)

    def _value(self, batch: Batch) -> U64:
        value = evaluate(batch.reloc_type, self.image, **batch.letters)
        if batch.reloc_type.special is not None:
            value = batch.reloc_type.special(batch, value)
        return self.wrapped(value)

    def _through_stubs(self, batch: Batch, value: U64, stub: I64) -> U64:
        """Compute values that do not fit again with the stub's address as S, if there is a stub."""
        assert batch.reloc_type.word is not None
        fits = batch.reloc_type.word.fits(value)
        retry = (stub >= 0) & ~np.broadcast_to(np.asarray(fits), value.shape)
        if not retry.any():
            return value
        # A stub jumps to the symbol: an addend other than the branch's bias would be lost.
        odd = retry & (batch.letters["A"] != np.uint64(self.arch.bias_of_branch(batch.reloc_type) & (1 << 64) - 1))
        if odd.any():
            problem = "out of range, and a stub cannot jump to symbol plus addend"
            self.report_type(batch.table, batch.indices[odd], batch.reloc_type, RelocationError, problem)
        batch.letters["S"] = np.where(retry, stub.view(np.uint64), batch.letters["S"])
        batch.function = batch.function | retry
        return np.where(retry, self._value(batch), value)

    # ------------------------------------------------------------ the stateful ones

    def _low_parts(self, batch: Batch) -> None:
        """Compute LOW entries: the symbol is a label at the place of the HIGH entry whose value they share."""
        place = np.concatenate([p for p, _ in self.high_parts] or [np.zeros(0, np.uint64)])
        value = np.concatenate([v for _, v in self.high_parts] or [np.zeros(0, np.uint64)])
        order = np.argsort(place, kind="stable")
        place, value = place[order], value[order]
        label = batch.letters["S"]
        found = np.minimum(np.searchsorted(place, label), max(len(place) - 1, 0))
        paired = place[found] == label if len(place) else np.zeros(len(label), np.bool_)
        if not paired.all():
            problem = "there is no high part at the label it refers to"
            self.report_type(batch.table, batch.indices[~paired], batch.reloc_type, RelocationError, problem)
            batch.keep(paired)
            found = found[paired]
        if len(batch.where):
            self.store(batch, value[found])

    def _note_step(self, table: RelocationTable, reloc_type: Reloc, entries: Selection) -> None:
        """Keep a step of the relocation stack machine, with the value it pushes, for `_run_stack`."""
        indices = indices_of(table, entries)
        operands = np.zeros(len(indices), np.uint64)
        if reloc_type.formula is not None:
            batch = self._gather(
                self.batch(table, reloc_type, entries)
            )  # without entries that were reported as errors
            operands[np.searchsorted(indices, batch.indices)] = self._value(batch)
        self.steps.append((table, indices, operands))

    def _run_stack(self) -> None:
        """Run the stack expressions of LoongArch's first object ABI, section by section."""
        if not self.steps:
            return
        table = self.steps[0][0]
        indices = np.concatenate([i for _, i, _ in self.steps])
        operands = np.concatenate([o for _, _, o in self.steps])
        order = np.argsort(indices)
        indices, operands = indices[order], operands[order]
        assert isinstance(table, CombinedTable)
        section = np.searchsorted(table.starts, indices, side="right")
        for number in distinct(section).tolist():
            steps = np.flatnonzero(section == number)
            result = loongarch_stack.run(table.type[indices[steps]].astype(np.int64), operands[steps])
            for step, problem in result.problems:
                index = indices[steps[step]]
                reloc_type = self.arch.relocations[int(table.type[index])]
                self.report_type(table, np.array([index]), reloc_type, RelocationError, problem)
            self._store_popped(table, indices[steps[result.entries]], result.values)

    def _store_popped(self, table: RelocationTable, indices: I64, values: U64) -> None:
        for number in distinct(table.type[indices]).tolist():
            mine = table.type[indices] == number
            self.store(self.batch(table, self.arch.relocations[number], indices[mine]), values[mine])

    def _sum(self, batch: Batch) -> None:
        """Apply entries that add to the value at the place. Several may add to one place."""
        word = batch.reloc_type.word
        assert word is not None
        nothing = np.zeros(len(batch.where), np.uint64)
        if batch.reloc_type.role is Role.ULEB:
            self._sum_uleb(batch, self._amount(batch, nothing))
            return
        delta = self._amount(batch, nothing)
        where, inverse = np.unique(batch.where, return_inverse=True)
        total = np.zeros(len(where), np.uint64)
        np.add.at(total, inverse, delta)
        raw = read_words(self.buffer, where, word.size)
        write_words(self.buffer, where, word.size, word.write(raw, word.read(raw) + total))

    def _amount(self, batch: Batch, nothing: U64) -> U64:
        """The number that each entry adds."""
        amount = evaluate(batch.reloc_type, self.image, **{**batch.letters, "V": nothing})
        return amount if self.handlers is None else self.handlers.values(batch, amount)

    def _sum_uleb(self, batch: Batch, delta: U64) -> None:
        """Add to ULEB128 numbers. Only the final sum must fit, so sums are kept until `_write_ulebs`."""
        assert batch.reloc_type.formula is not None
        begins = "V" not in batch.reloc_type.formula.letters
        for number, (where, amount) in enumerate(zip(batch.where.tolist(), delta.tolist(), strict=True)):
            before = 0
            if not begins:
                before = self.uleb[where][0] if where in self.uleb else read_uleb(self.buffer, where)[0]
            self.uleb[where] = (before + amount) & ((1 << 64) - 1), batch, number

    def _write_ulebs(self) -> None:
        """Store the ULEB128 sums with their original lengths (RISC-V psABI, laelf)."""
        for where, (value, batch, number) in self.uleb.items():
            _, length = read_uleb(self.buffer, where)
            index = batch.indices[[number]]
            table = batch.table
            if isinstance(table, CombinedTable) and len(table.ends) and table.room(index)[0] < length:
                problem = "the number does not end in its section"
                self.report_type(batch.table, index, batch.reloc_type, RelocationOutOfImage, problem)
                continue
            if value >> 7 * length:
                problem = f"{value:#x} does not fit a ULEB128 of {length} bytes"
                self.report_type(batch.table, index, batch.reloc_type, RelocationOverflow, problem)
                continue
            write_uleb(self.buffer, where, length, value)
