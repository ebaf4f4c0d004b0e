"""Moving arguments and results between Python and the guest.

`plan_call(arch, prototype)` computes once where everything goes; the `CallPlan` it returns serves both
directions. Calling the guest: `enter` turns Python arguments into registers and a piece of stack, the machine
runs, `result` reads what came back, `Entry.finish` copies buffers back. Being called by it: `arguments` reads
what the guest passed, `leave` writes the result and returns.

What Python values mean (C types on the left):

    integers     int (anything with __index__), bool; -1 and 2^n-1 both name an n-bit type's top pattern
    floats       float, int
    pointers     int; None for NULL; an object with an `address`; str (UTF-8, with a NUL; UTF-32 for
                 wchar_t *) and bytes (with a NUL) are copied in; bytearray and other writable buffers are
                 copied in, and back after the call
    `...`        int becomes int, or long long when it needs to; float becomes double; strings and buffers
                 become pointers; a pair (C type, value) gives the type

A pattern is rejected, never cut: an argument out of range raises CallError with its number, name and type.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from emu.calls import x87
from emu.calls.assign import Assigner, Location, by_base_standard, promoted, result_location
from emu.calls.buffers import Buffers
from emu.calls.marshal import Decoder, Encoder, decoder, encoder, extra_type, result_encoder
from emu.calls.prototypes import Parameter, Pointer, Prototype, VaListType, Void, parse_prototype, parse_type
from emu.calls.values import decode_float
from emu.calls.varargs import RegisterArguments, VaList, VarArgs, gather
from emu.errors import CallError
from emu.isa.convention import X87, CallingConvention, VariadicRule
from emu.isa.registry import convention

if TYPE_CHECKING:
    from emu.ports import Guest

__all__ = ["CallPlan", "Entry", "VaList", "VarArgs", "plan_call"]

Value: TypeAlias = "int | float | VarArgs"
_ONLY_INTS = frozenset({int})


class Entry(NamedTuple):
    """Everything to set before the guest function runs: write `stack` at `sp` (if any), then `registers`."""

    registers: list[tuple[str, int]]  #: sp and the link register included
    stack: bytes  #: what lies at `sp` and above: return address, stacked arguments, buffers; often empty
    sp: int
    buffers: Buffers | None

    def finish(self, *, copy_back: bool = True) -> None:
        """After the call: copy bytearrays back and free what was borrowed from the heap.

        `copy_back=False` (the call did not return) only frees.
        """
        if self.buffers is not None:
            self.buffers.finish(copy_back=copy_back)


def plan_call(arch: str, prototype: Prototype | str) -> CallPlan:
    """The plan for calling, or being called by, a function of this prototype.

    Cached: the same text or Prototype gives the same plan. Raises CallError if the prototype does not parse
    or a type in it cannot be passed (structs by value).
    """
    return _plan(arch, prototype)


@lru_cache(maxsize=4096)
def _plan(arch: str, prototype: Prototype | str) -> CallPlan:
    if isinstance(prototype, str):
        return _plan(arch, parse_prototype(prototype, arch))
    return CallPlan(convention(arch), prototype)


@lru_cache(maxsize=4096)
def _plan_extras(arch: str, prototype: Prototype, extras: tuple[Parameter, ...]) -> CallPlan:
    return CallPlan(convention(arch), prototype, extras)


class CallPlan:
    """Where arguments and result of one prototype go on one ABI. Stateless; share it freely."""

    def __init__(self, rules: CallingConvention, prototype: Prototype, extras: tuple[Parameter, ...] = ()) -> None:
        self.convention = rules
        self.prototype = prototype
        self._parameters = parameters = (*prototype.parameters, *extras)
        named = len(prototype.parameters)
        base = by_base_standard(rules, prototype)
        self._assigner = Assigner(rules, base_standard=base)
        try:
            #: Where each argument goes, extras included.
            self.locations: tuple[Location, ...] = tuple(
                self._assigner.assign(parameter.type, extra=number >= named)
                for number, parameter in enumerate(parameters)
            )
            self.result_location = result_location(rules, prototype.result, base_standard=base)
        except CallError as error:
            raise CallError(f"{prototype}: {error}") from None
        self.stack_size = self._assigner.stack_used  #: bytes of stacked arguments, without the return address
        self._word_mask = (1 << 8 * rules.word_size) - 1
        self._pushed = rules.word_size if rules.link_register is None else 0
        self._link = rules.link_register or ""
        references = any(isinstance(each.type, Pointer) and each.type.reference for each in parameters)
        #: Every argument is one register, and integers are no values to lend.
        self._simple = not (prototype.variadic or references) and all(
            len(place) == 1 and place[0].register for place in self.locations
        )
        self._encoders: tuple[Encoder, ...] = tuple(
            encoder(rules, parameter.type, place, self._label(number))
            for number, (parameter, place) in enumerate(zip(parameters, self.locations, strict=True), 1)
        )
        self._lends = any(isinstance(parameter.type, Pointer | VaListType) for parameter in parameters)
        self._decoders = tuple(decoder(parameter.type) for parameter in parameters)
        self._va_lists = [number for number, each in enumerate(parameters) if isinstance(each.type, VaListType)]
        self._encode_result = result_encoder(rules, prototype.result, self.result_location)
        self._result_registers = tuple(piece.register or "" for piece in self.result_location)
        #: The x87 stack, if the result is there.
        self._x87 = rules.x87 if rules.x87 and self._result_registers == (rules.x87.top,) else None
        self._decode_result = self._result_decoder()
        self._fixed = self._fixed_registers()
        self._register_pieces = self._pieces_in_registers()
        self._stack_pieces = self._pieces_on_stack()
        self._targets = tuple(
            (place[0].register or "", encode) for place, encode in zip(self.locations, self._encoders, strict=True)
        )
        self._read_names = self._registers_read()

    # ---------------------------------------------------------------- calling the guest

    def enter(self, guest: Guest, args: Sequence[object], sp: int, return_to: int) -> Entry:
        """Lay out a call with `args`, below guest stack address `sp`, that returns to `return_to`.

        Nothing is written but big buffers, which are copied to the heap. Raises CallError for a wrong number
        of arguments or one that does not fit its parameter.
        """
        # The fast path: as many registers as arguments, and nothing to lend.
        if (
            self._simple
            and len(args) == len(self._targets)
            and (not self._lends or _ONLY_INTS.issuperset(map(type, args)))
        ):
            registers = [(name, encode(value, None)) for (name, encode), value in zip(self._targets, args)]  # noqa: B905
            bottom = (sp - self.convention.red_zone & -self.convention.stack_alignment) - self._pushed
            registers.append(("sp", bottom))
            if self._link:
                registers.append((self._link, return_to))
                return Entry(registers, b"", bottom, None)
            return Entry(registers, return_to.to_bytes(self._pushed, "little"), bottom, None)
        if len(args) != len(self._encoders) or self.prototype.variadic:
            plan, args = self._with_extras(args)
        else:
            plan = self
        sp -= self.convention.red_zone
        buffers = Buffers(guest, sp) if plan._lends else None
        try:
            return plan._layout(args, sp, return_to, buffers)
        except BaseException:
            if buffers is not None:
                buffers.finish(copy_back=False)
            raise

    def _layout(self, args: Sequence[object], sp: int, return_to: int, buffers: Buffers | None) -> Entry:
        rules = self.convention
        patterns = [encode(value, buffers) for encode, value in zip(self._encoders, args, strict=True)]
        registers = [
            (name, patterns[argument] >> shift & mask) for argument, name, shift, mask in self._register_pieces
        ]
        registers += self._fixed
        top = sp if buffers is None else buffers.bottom
        arguments = (top - self.stack_size) & -rules.stack_alignment
        bottom = arguments - self._pushed
        registers.append(("sp", bottom))
        if self._link:
            registers.append((self._link, return_to))
        lent = buffers.blocks if buffers is not None else ()
        if not (lent or self._pushed or self.stack_size):
            return Entry(registers, b"", bottom, buffers)
        image = bytearray(sp - bottom if lent else arguments + self.stack_size - bottom)
        if self._pushed:
            image[: self._pushed] = return_to.to_bytes(self._pushed, "little")
        for argument, start, size, shift in self._stack_pieces:
            bits = patterns[argument] >> shift & (1 << 8 * size) - 1
            image[start : start + size] = bits.to_bytes(size, "little")
        for address, data in lent:
            image[address - bottom : address - bottom + len(data)] = data
        return Entry(registers, bytes(image), bottom, buffers)

    def result(self, guest: Guest) -> int | float | None:
        """What the function that has just returned gave back: int, float, or None for void."""
        decode = self._decode_result
        if decode is None:
            return None
        names = self._result_registers
        if len(names) == 1:
            if self._x87 is not None:
                return decode(x87.pop(guest.cpu, self._x87))
            return decode(guest.cpu.read_register(names[0]))
        values = dict(zip(names, guest.cpu.read_registers(names), strict=True))
        return decode(gather(self.result_location, values, _no_stack))

    # ---------------------------------------------------------------- called by the guest

    def arguments(self, guest: Guest) -> tuple[Value, ...]:
        """The arguments of the call whose first instruction the guest has stopped at.

        Integers are signed as their types are, pointers unsigned; `va_list` arrives as a VaList, and what
        matches `...` as one last VarArgs.
        """
        if not self._read_names:
            return ()
        cpu = guest.cpu
        if len(self._read_names) == 1:  # a batch of one costs more
            values = [cpu.read_register(self._read_names[0])]
        else:
            values = cpu.read_registers(self._read_names)
        found: list[Value]
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
            found[number] = VaList(guest, self.convention, int(found[number]))  # type: ignore[arg-type]
        return tuple(found)

    def leave(self, guest: Guest, value: object, function: str = "") -> int:
        """Return `value` from the function the guest has stopped at.

        Gives the address to resume at (on Arm, bit 0 means Thumb). None stands for 0 or NULL where an integer
        or pointer is due. Raises CallError, naming `function`, for a value the result type cannot hold.
        """
        rules = self.convention
        cpu = guest.cpu
        pattern = self._encode_result(value, function or self.prototype.name)
        if self._x87 is not None:
            x87.push(cpu, self._x87, pattern)
            registers = []
        elif len(self._result_registers) == 1:
            registers = [(self._result_registers[0], pattern)]
        else:
            word = 8 * rules.word_size
            registers = [
                (name, pattern >> number * word & self._word_mask)
                for number, name in enumerate(self._result_registers)
            ]
        if self._link:
            if len(registers) == 1:
                cpu.write_register(*registers[0])
            elif registers:
                cpu.write_registers(registers)
            return cpu.read_register(self._link)
        sp = cpu.read_register("sp")
        return_to = int.from_bytes(guest.memory.read(sp, self._pushed), "little")
        cpu.write_registers([*registers, ("sp", sp + self._pushed)])
        return return_to

    # ---------------------------------------------------------------- pieces

    def _label(self, number: int) -> str:
        """What errors call argument `number` (from 1)."""
        parameters = self._parameters
        name = parameters[number - 1].name if number <= len(parameters) else ""
        function = f" of {self.prototype.name}" if self.prototype.name else ""
        return f"argument {number}{f' ({name})' if name else ''}{function}"

    def _with_extras(self, args: Sequence[object]) -> tuple[CallPlan, Sequence[object]]:
        """The plan for as many arguments as there are, and their values. Raises CallError on a bad count."""
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
        """Registers a call sets whatever the arguments are."""
        rules = self.convention
        if rules.vector_count_register is None or not self.prototype.variadic:
            return ()
        vectors = {name for names in rules.float_arguments.values() for name in names}
        used = sum(piece.register in vectors for place in self.locations for piece in place)
        return ((rules.vector_count_register, used),)

    def _registers_read(self) -> tuple[str, ...]:
        """What `arguments` reads, in one batch: the arguments' own registers first."""
        rules = self.convention
        used = [piece.register for place in self.locations for piece in place if piece.register]
        if self._simple:
            return tuple(used)
        if self.prototype.variadic:
            used += rules.integer_arguments
            if rules.variadic is VariadicRule.SAME:
                # What matches the ellipsis is double or long double.
                used += rules.float_arguments.get(8, ())
                used += rules.float_arguments.get(16, ())
        return (*dict.fromkeys(used), "sp")

    def _pieces_in_registers(self) -> list[tuple[int, str, int, int]]:
        """(argument, register, bits of its pattern below the piece, mask) for every piece in a register."""
        return [
            # What fills a register may be wider than the type: extended, or boxed.
            (number, piece.register, 8 * piece.start, self._word_mask if len(place) > 1 else -1)
            for number, place in enumerate(self.locations)
            for piece in place
            if piece.register is not None
        ]

    def _pieces_on_stack(self) -> list[tuple[int, int, int, int]]:
        """(argument, bytes above sp at the first instruction, bytes, bits below the piece), stacked ones."""
        return [
            (number, self._pushed + piece.offset, piece.size, 8 * piece.start)
            for number, place in enumerate(self.locations)
            for piece in place
            if piece.register is None
        ]

    def _result_decoder(self) -> Decoder | None:
        if isinstance(self.prototype.result, Void):
            return None
        return partial(decode_float, fmt=X87) if self._x87 else decoder(self.prototype.result)


def _no_stack(offset: int, size: int) -> int:
    raise AssertionError("results are in registers")
