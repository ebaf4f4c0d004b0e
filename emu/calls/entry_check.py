"""Whether a compiler kept the ABI's calling convention for a function, as far as the image tells.

A function that other units cannot call (static, or made local by link-time optimisation) may be called in any way:

- clang on i386 and RISC-V passes arguments in more registers (LLVM's fastcc), GCC on i386 in eax, edx and ecx;
- all compilers leave out parameters that are constants in every call, or unused, and unused results.

So may be a function with an attribute such as `regparm`. Where DWARF gives the place of a parameter at the first
instruction, it is compared with the place by the ABI. A difference is always an error; for a static function that
was optimised also a place that is not known. Without DWARF nothing is known of static functions, which
`StaticFunctionWarning` says.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from emu.calls.assign import Location, Reference
from emu.calls.plan import CallPlan, plan_call
from emu.calls.types import CType, Integer, Pointer, Prototype, VaListType, Void
from emu.errors import CallError, StaticFunctionWarning
from emu.isa.convention import CallingConvention, Statics
from relink.elf.dwarf_places import EntryPlace, EntryPlaces, Kind

if TYPE_CHECKING:
    from emu.isa.spec import DwarfRegisters

_ADVICE = "mark it with __attribute__((used)), or call its address with Machine.call if you know how it is called"


def check_entry(
    function: str, prototype: Prototype, told: EntryPlaces, rules: CallingConvention, dwarf: DwarfRegisters
) -> None:
    """Raise CallError if a function is not called as its ABI says, or, if it is static, may not be."""
    plan = plan_call(rules.arch, prototype)
    static = told.optimised and not told.external
    count = len(prototype.parameters)
    if len(told.places) != count:
        if static:
            raise CallError(f"{function} is static and has {len(told.places)} parameters, not {count}: {_ADVICE}")
        return
    sure = False
    for place, location, parameter in zip(told.places, plan.locations, prototype.parameters, strict=True):
        problem = _problem(place, location, rules, dwarf, static=static)
        if problem:
            kind = f"{function} is static, and the compiler" if static else f"{function}: the compiler"
            raise CallError(f"{kind} {problem}: {_ADVICE}")
        known = place.kind in (Kind.STACK, Kind.REGISTERS, Kind.FRAME)
        sure = sure or (known and (rules.first_argument is None or not _is_integer(parameter.type)))
    if static and rules.statics is Statics.OWN and not sure and not _in_integers(prototype.result, plan):
        raise CallError(f"{function} is static, and nothing tells where its result is: {_ADVICE}")


def _is_integer(ctype: CType) -> bool:
    return isinstance(ctype, Integer | Pointer | VaListType)


def _in_integers(result: CType, plan: CallPlan) -> bool:
    """Whether the result is where compilers always return integers."""
    return isinstance(result, Void) or (_is_integer(result) and plan.result_location is not None)


def warn_of_static(function: str, image: str) -> None:
    """Warn that nothing tells how a static function is called."""
    warnings.warn(
        f"{function} of {image} is static, and without debug information nothing tells whether the compiler kept "
        "the calling convention of the ABI",
        StaticFunctionWarning,
        stacklevel=4,
    )


def _problem(
    place: EntryPlace, location: Location, rules: CallingConvention, dwarf: DwarfRegisters, *, static: bool
) -> str:
    """How the compiler deviates from the ABI, the end of a sentence; empty if it does not."""
    name = place.name or "a parameter"
    first = location[0] if location else None
    if first is None:  # an empty structure
        return ""
    wanted = "on the stack" if first.register is None else f"in {first.register}"
    if place.kind is Kind.REGISTERS:
        known = {number for piece in location for number in dwarf.arguments.get(piece.register or "", ())}
        others = [number for number in place.registers if number not in known]
        if others and not (place.may_be_later and _keeps(rules, static=static)):
            return f"passes {name} in {_register(dwarf, others[0])}, not {wanted}"
    elif not static or isinstance(location, Reference):
        return ""
    elif place.kind is Kind.CONSTANT:
        return f"replaced {name} by a constant"
    elif place.kind is Kind.UNKNOWN or (
        place.kind is Kind.LATER and first.register is None and rules.statics is not Statics.SAME
    ):
        return f"does not tell where {name} is passed"
    elif place.kind is Kind.STACK and first.register is None and place.offset != first.offset:
        there = f"at {place.offset} on the stack" if place.offset >= 0 else "elsewhere"
        return f"passes {name} {there}, not at {first.offset}"
    return ""


def _keeps(rules: CallingConvention, *, static: bool) -> bool:
    """Whether compilers keep the places of the ABI."""
    if rules.statics is Statics.OWN:
        return not static and rules.first_argument is not None  # on i386 also `regparm`
    return not static or rules.statics is Statics.SAME


def _register(dwarf: DwarfRegisters, number: int) -> str:
    named = next((name for name, numbers in dwarf.arguments.items() if number in numbers), None)
    if named is None and number < len(dwarf.names):
        named = dwarf.names[number]
    return named or f"register {number} of DWARF"
