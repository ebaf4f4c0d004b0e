"""Moving arguments and results between Python and the guest.

`plan_call(arch, prototype)` computes all locations once; the `CallPlan` it returns is used in both directions.

- Calling the guest: `enter` converts Python arguments into registers and stack contents, the machine runs,
  `result` reads the result, `Buffers.finish` copies buffers back.
- Called by the guest: `arguments` reads the arguments, `leave` writes the result and returns.



What Python values mean (C types on the left):

    integers     int (anything with __index__), bool; -1 and 2^n-1 both name an n-bit type's top pattern
    floats       float, int
    pointers     int; None for NULL; an object with an `address`; str (UTF-8, with a NUL; UTF-32 for
                 wchar_t *) and bytes (with a NUL) are copied in; bytearray and other writable buffers are
                 copied in, and back after the call; more in `emu.calls.lending`
    structures   a record, a tuple or list of the members' values, a dictionary; see `emu.calls.codec`
    `...`        int becomes int, or long long when it needs to; float becomes double; strings and buffers
                 become pointers; a pair (C type, value) gives the type

Values are never truncated: an argument out of range raises CallError with its number, name and type.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

from emu.calls import x87
from emu.calls.assign import Assigner, Location, by_base_standard, promoted, result_location, result_pointer
from emu.calls.buffers import Buffers
from emu.calls.frames import Entry, FrameLayout, registers_of
from emu.calls.marshal import Decoder, Encoder, decoder, extra_type, unchanged_below
from emu.calls.passing import (
    aggregates,
    argument_decoder,
    argument_encoder,
    is_aggregate,
    result_encoder,
    result_reader,
)
from emu.calls.places import in_registers, is_simple, may_lend, on_stack, registers_read
from emu.calls.prototypes import parse_prototype, parse_type
from emu.calls.store import GuestStore, Store
from emu.calls.types import CType, Parameter, Prototype, VaListType, Void, sized
from emu.calls.values import decode_float
from emu.calls.varargs import RegisterArguments, VaList, VarArgs, gather
from emu.errors import CallError
from emu.isa.convention import X87, CallingConvention
from emu.isa.registry import convention

if TYPE_CHECKING:
    from emu.ports import Guest

__all__ = ["CallPlan", "Entry", "VaList", "VarArgs", "plan_call"]

Value: TypeAlias = object  #: see `emu.host.functions.HostValue`
_ONLY_INTS = frozenset({int})
_entry = tuple.__new__  # quicker than the constructor of a NamedTuple
_RECENT = 256  #: entries at most
#: Plans by the identity of the prototype, which is kept with them: equal structures of several machines are not
#: compared member by member at each call.
_recent: dict[tuple[str, int], tuple[Prototype | str, CallPlan]] = {}


def plan_call(arch: str, prototype: Prototype | str) -> CallPlan:
    """The plan for calling, or being called by, a function of this prototype.

    Cached: the same text or Prototype gives the same plan. Raises CallError if the prototype does not parse
    or a type in it cannot be passed.
    """
    key = arch, id(prototype)
    if (known := _recent.get(key)) is not None:
        return known[1]
    plan = _plan(arch, prototype)
    if len(_recent) >= _RECENT:
        _recent.clear()
    _recent[key] = prototype, plan
    return plan


@lru_cache(maxsize=4096)
def _plan(arch: str, prototype: Prototype | str) -> CallPlan:
    if isinstance(prototype, str):
        return _plan(arch, parse_prototype(prototype, arch))
    if not isinstance(prototype, Prototype):
        raise CallError(f"{prototype!r} is no prototype: write it in C, such as 'int(const char *)'")
    return CallPlan(convention(arch), prototype)


@lru_cache(maxsize=4096)
def _plan_extras(arch: str, prototype: Prototype, extras: tuple[Parameter, ...]) -> CallPlan:
    return CallPlan(convention(arch), prototype, extras)


class CallPlan:
    """The locations of arguments and result of a prototype on an ABI. Stateless, may be shared."""

    def __init__(self, rules: CallingConvention, prototype: Prototype, extras: tuple[Parameter, ...] = ()) -> None:
        self.convention = rules
        self.prototype = prototype
        self._parameters = parameters = (*prototype.parameters, *extras)
        self._assigner = Assigner(rules, base_standard=by_base_standard(rules, prototype))
        try:
            self._assign_all()
        except CallError as error:
            raise CallError(f"{prototype}: {error}") from None
        self.stack_size = self._assigner.stack_used  #: bytes of stacked arguments, without the return address
        self._word_mask = (1 << 8 * rules.word_size) - 1
        self._pushed = rules.word_size if rules.link_register is None else 0
        self._link = rules.link_register or ""
        self._plan_arguments([parameter.type for parameter in parameters])
        self._plan_result(prototype.result)
        self._frame = self._frame_layout()
        #: Whether a call needs memory for objects copied to the guest.
        self._lends = self._frame.large_result or any(map(may_lend, parameters, self.locations))

    def _frame_layout(self) -> FrameLayout:
        rules = self.convention
        return FrameLayout(
            rules,
            in_registers(rules, self.locations),
            on_stack(self.locations, self._pushed),
            self._fixed_registers(),
            stack_size=self.stack_size,
            stack_alignment=self._assigner.stack_alignment,
            pointer=self._result_pointer,
            result_size=self._result_size,
            result_alignment=self._result_alignment,
        )

    def _assign_all(self) -> None:
        rules, result = self.convention, self.prototype.result
        base = self._assigner.base_standard
        #: Location of the result; None: in memory, at an address that the caller passes.
        self.result_location = result_location(rules, result, base_standard=base)
        in_memory = self.result_location is None
        self._result_pointer = result_pointer(rules, self._assigner) if in_memory else None
        named = len(self.prototype.parameters)
        places: list[Location] = []
        for number, parameter in enumerate(self._parameters):
            try:
                places.append(self._assigner.assign(parameter.type, extra=number >= named))
            except CallError as error:
                raise CallError(f"argument {number + 1} {parameter.name}".rstrip() + f": {error}") from None
        self.locations: tuple[Location, ...] = tuple(places)  #: location of each argument, including variadic ones

    def _plan_arguments(self, types: Sequence[CType]) -> None:
        rules, places, in_memory = self.convention, self.locations, self._result_pointer is not None
        self._simple = not (self.prototype.variadic or in_memory) and is_simple(self._parameters, places)
        self._encoders: tuple[Encoder, ...] = tuple(
            argument_encoder(rules, ctype, place, self._label(number))
            for number, (ctype, place) in enumerate(zip(types, places, strict=True), 1)
        )
        self._decoders = tuple(map(argument_decoder, types, places))
        self._aggregates = aggregates(rules, types, places)
        self._va_lists = [number for number, each in enumerate(types) if isinstance(each, VaListType)]
        self._count = len(places)
        self._unchanged = [unchanged_below(rules, ctype) for ctype in types]
        self._red_zone, self._stack_mask = rules.red_zone, -rules.stack_alignment
        if self._simple:
            self._names = registers_of(rules, [place[0].register or "" for place in places])
        self._read_names = registers_read(rules, places, variadic=self.prototype.variadic)
        if self._simple:
            self._read_names = self._read_names[:-1]

    def _plan_result(self, result: CType) -> None:
        rules, place = self.convention, self.result_location
        self._encode_result = result_encoder(rules, result, place)
        self._result_registers = tuple(piece.register or "" for piece in place or ())
        #: The x87 stack, if the result is there.
        self._x87 = rules.x87 if rules.x87 and rules.x87.top in self._result_registers else None
        self._result_pieces = in_registers(rules, (place or (),))
        self._decode_result = self._result_decoder()
        self._read_result = result_reader(rules, result, in_memory=place is None)
        single = self._decode_result is not None and self._read_result is None and self._x87 is None
        #: The register of a result that is a number in one.
        self._number_in = self._result_registers[0] if single and len(self._result_registers) == 1 else None
        self._result_size = 0 if isinstance(result, Void) else sized(result).size
        self._result_alignment = 1 if isinstance(result, Void) else sized(result).alignment

    # ---------------------------------------------------------------- calling the guest

    def enter(self, guest: Guest, args: Sequence[object], sp: int, return_to: int) -> Entry:
        """Prepare a call with `args`, below guest stack address `sp`, that returns to `return_to`.

        Only big buffers are written, to the heap; the caller finishes what is added to `guest.lent`. Raises
        CallError for a wrong number of arguments or one that does not fit its parameter.
        """
        # The fast path: one register per argument, and no copies.
        if (
            self._simple
            and len(args) == self._count
            and (not self._lends or _ONLY_INTS.issuperset(map(type, args)))
        ):
            values = []
            for value, bound, encode in zip(args, self._unchanged, self._encoders):  # noqa: B905
                values.append(value if value.__class__ is int and 0 <= value < bound else encode(value, None))
            bottom = (sp - self._red_zone & self._stack_mask) - self._pushed
            values.append(bottom)
            if not self._pushed:
                values.append(return_to)
                return _entry(Entry, (self._names, values, b"", bottom, None, 0))
            pushed = return_to.to_bytes(self._pushed, "little")
            return _entry(Entry, (self._names, values, pushed, bottom, None, 0))
        if len(args) != len(self._encoders) or self.prototype.variadic:
            plan, args = self._with_extras(args)
        else:
            plan = self
        sp -= self.convention.red_zone
        if not plan._lends:
            patterns = [encode(value, None) for encode, value in zip(plan._encoders, args)]  # noqa: B905
            return plan._frame.entry(patterns, sp, return_to, None)
        buffers = Buffers(guest, sp)
        guest.lent.append(buffers)
        patterns = [encode(value, buffers) for encode, value in zip(plan._encoders, args)]  # noqa: B905
        return plan._frame.entry(patterns, sp, return_to, buffers)

    def result(self, guest: Guest, at: int = 0) -> Any:
        """The result of the function that has just returned (`at`: its `Entry.result_at`); None for void."""
        decode, number_in = self._decode_result, self._number_in
        if decode is None:
            return None
        if number_in is not None:
            return decode(guest.cpu.read_register(number_in))
        read, stack, names = self._read_result, self._x87, self._result_registers
        if len(names) == 1 and stack is None:
            bits = guest.cpu.read_register(names[0])
        elif stack is not None:
            bits = sum(x87.pop(guest.cpu, stack) << 8 * piece.start for piece in self.result_location or ())
        elif self._result_pointer is not None and read is not None:
            return read(Store(bytearray(guest.memory.read(at, self._result_size)), guest.memory), 0)
        else:
            values = dict(zip(names, guest.cpu.read_registers(names), strict=True))
            bits = gather(self.result_location or (), values, _no_stack)
        if read is None:
            return decode(bits)
        size = self._result_size
        data = bytearray((bits & (1 << 8 * size) - 1).to_bytes(size, "little"))
        return read(Store(data, guest.memory), 0)

    # ---------------------------------------------------------------- called by the guest

    def arguments(self, guest: Guest) -> tuple[Value, ...]:
        """The arguments of the call whose first instruction the guest has stopped at.

        Integers are signed by their types, pointers unsigned; a `va_list` is a VaList, and arguments that match
        `...` are one final VarArgs.
        """
        cpu = guest.cpu
        if not self._read_names:
            return ()
        if len(self._read_names) == 1:  # a batch of one is slower
            values = [cpu.read_register(self._read_names[0])]
            if self._simple and not (self._va_lists or self._aggregates):
                return (self._decoders[0](values[0]),)
        else:
            values = cpu.read_registers(self._read_names)
        found: list[Any]
        if self._simple:
            found = [decode(value) for decode, value in zip(self._decoders, values, strict=True)]
        else:
            registers = dict(zip(self._read_names, values, strict=True))
            stack = registers["sp"] + self._pushed
            block = guest.memory.read(stack, self.stack_size) if self.stack_size else b""

            def stacked(offset: int, size: int) -> int:
                return int.from_bytes(block[offset : offset + size], "little")

            found = [
                decode(gather(place, registers, stacked))
                for decode, place in zip(self._decoders, self.locations, strict=True)
            ]
            if self.prototype.variadic:
                found.append(RegisterArguments(guest, self._assigner.copy(), registers, stack))
        for number in self._va_lists:
            found[number] = VaList(guest, self.convention, found[number])
        for number, size, read, by_reference, in_place in self._aggregates:
            bits = found[number]
            if in_place:
                found[number] = read(GuestStore(guest.memory, bits & self._word_mask), 0)
                continue
            if by_reference:
                data = guest.memory.read(bits & self._word_mask, size)
            else:
                data = (bits & (1 << 8 * size) - 1).to_bytes(size, "little")
            found[number] = read(Store(bytearray(data), guest.memory), 0)
        return tuple(found)

    @property
    def result_in_memory(self) -> bool:
        """Whether the caller passes the address of the result: `result_address` must then be called at the
        function's start.
        """
        return self._result_pointer is not None

    def result_address(self, guest: Guest) -> int:
        """The address for a result in memory, at the first instruction of a call."""
        pointer = self._result_pointer
        if pointer is None:
            return 0
        if pointer.register is not None:
            return guest.cpu.read_register(pointer.register)
        return guest.memory.read_uint(guest.cpu.read_register("sp") + self._pushed, self._pushed)

    def leave(self, guest: Guest, value: object, function: str = "", at: int = 0) -> int:
        """Return `value` from the function at whose first instruction the guest has stopped; `at` is from
        `result_address`.

        Returns the address to continue at (on Arm, bit 0 means Thumb). None means 0 or NULL for an integer or
        pointer result. Raises CallError, naming `function`, for a value that does not fit the result type.
        """
        rules = self.convention
        cpu = guest.cpu
        pattern = self._encode_result(value, function or self.prototype.name)
        if self._number_in is not None and self._link:
            cpu.write_register(self._number_in, pattern)
            return cpu.read_register(self._link)
        registers = [(piece.register, piece.of(pattern)) for piece in self._result_pieces]
        if self._x87 is not None:
            for piece in reversed(self.result_location or ()):
                x87.push(cpu, self._x87, pattern >> 8 * piece.start & (1 << 80) - 1)
            registers = []
        elif self._result_pointer is not None:
            guest.memory.write(at, pattern.to_bytes(self._result_size, "little"))
            registers = [(rules.integer_results[0], at)]
        if self._link:
            if len(registers) == 1:
                cpu.write_register(*registers[0])
            elif registers:
                cpu.write_registers(registers)
            return cpu.read_register(self._link)
        sp = cpu.read_register("sp")
        return_to = int.from_bytes(guest.memory.read(sp, self._pushed), "little")
        popped = rules.word_size if rules.pops_result_pointer and self._result_pointer is not None else 0
        values = [value for _, value in registers]
        values.append(sp + self._pushed + popped)
        cpu.set_registers((*(name for name, _ in registers), "sp"), values)
        return return_to

    # ---------------------------------------------------------------- pieces

    def _label(self, number: int) -> str:
        """The name of argument `number` (from 1) in errors."""
        parameters = self._parameters
        name = parameters[number - 1].name if number <= len(parameters) else ""
        function = f" of {self.prototype.name}" if self.prototype.name else ""
        return f"argument {number}{f' ({name})' if name else ''}{function}"

    def _with_extras(self, args: Sequence[object]) -> tuple[CallPlan, Sequence[object]]:
        """The plan for the actual number of arguments, and their values. Raises CallError for a wrong number."""
        prototype = self.prototype
        wanted = len(prototype.parameters)
        if len(args) < wanted or (len(args) > wanted and not prototype.variadic):
            least = "at least " if prototype.variadic else ""
            raise CallError(f"{prototype} takes {least}{wanted} argument{'s' * (wanted != 1)}, {len(args)} given")
        arch = self.convention.arch
        extras = [
            extra_type(self.convention, value, lambda text: parse_type(text, arch)) for value in args[wanted:]
        ]
        if not extras:
            return self, args
        types = tuple(Parameter("", promoted(ctype)) for ctype, _ in extras)
        return _plan_extras(arch, prototype, types), [*args[:wanted], *(value for _, value in extras)]

    def _fixed_registers(self) -> tuple[tuple[str, int], ...]:
        """Registers that every call sets."""
        rules = self.convention
        if rules.vector_count_register is None or not self.prototype.variadic:
            return ()
        vectors = {name for names in rules.float_arguments.values() for name in names}
        used = sum(piece.register in vectors for place in self.locations for piece in place)
        return ((rules.vector_count_register, used),)

    def _result_decoder(self) -> Decoder | None:
        if isinstance(self.prototype.result, Void):
            return None
        if is_aggregate(self.prototype.result):
            return int
        return partial(decode_float, fmt=X87) if self._x87 else decoder(self.prototype.result)


def _no_stack(offset: int, size: int) -> int:
    raise AssertionError("results are in registers")
