"""`relink-emu call`: call functions of a library, in order, on one machine."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from emu.calls.declared import missing_debug_file
from emu.calls.prototypes import Integer, Pointer, Prototype, parse_prototype
from emu.calls.records import ArrayView, Record
from emu.cli.command import Usage
from emu.cli.expression import BRACES, Argument, Call, ExpressionError, SymbolAddress, Value, parse_call
from emu.cli.output import Address, write_json
from emu.cli.output import fields_of as json_fields
from emu.cli.streams import GuestOutput
from emu.errors import CallError, StaticFunctionWarning
from relink.arch import Architecture
from relink.elf.constants import SymbolType
from relink.errors import AddressSpaceError
from relink.log import Log
from relink.records import dataclass, replace

if TYPE_CHECKING:
    from emu.cli.observing import Observing
    from emu.cli.options import Loading, Search, Target
    from emu.library import Library
    from emu.load.lazy_binding import FirstCall
    from emu.machine import Machine

_log = Log(__name__)

#: The result type of a function without a known prototype: an unsigned word.
_GUESSED_RESULT = "unsigned long"


@dataclass(frozen=True)
class Called:
    """One call and its result."""

    expression: str
    function: str
    prototype: str
    prototype_from: str  #: "option", "expression", "dwarf" or "arguments"
    result: int | float | Address | list[Any] | dict[str, Any] | None
    result_type: str
    string: str | None  #: the string of a char * result
    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True)
class First:
    """The first call through a lazily bound slot."""

    seconds: float  #: time since the machine was created
    image: str
    caller: str
    symbol: str
    version: str | None
    provider: str | None
    address: Address


@dataclass(frozen=True)
class CallReport:
    """All calls of one command."""

    schema: ClassVar[str] = "relink-emu/call/1"
    arch: str
    library: str
    calls: tuple[Called, ...]
    first_calls: tuple[First, ...]


def run(
    target: Target,
    search: Search,
    loading: Loading,
    observing: Observing,
    name: str,
    texts: Sequence[str],
    prototypes: Sequence[str],
    *,
    audit: bool = False,
    debug_port: int | None = None,
    as_json: bool,
) -> None:
    """Load `name` and make the calls; print each result at once. Raises RelinkError and Usage.

    With `audit`, slots are bound lazily, and the first calls are listed on standard error at the end. With
    `debug_port`, the calls wait for GDB on that port.
    """
    arch = target.of(name, search)
    calls = [_parse(text) for text in texts]
    given = _Prototypes(prototypes, arch)
    for call in calls:
        given.check(call)
    if audit and loading.binding == "now":
        loading = replace(loading, binding="lazy")
    with loading.machine(arch, search, loading.sources(name)) as machine:
        out = GuestOutput(sys.stdout.buffer, machine.runner.check_budget)
        if not as_json:
            machine.libc.stdout.tee = out.write
            machine.libc.stderr.tee = GuestOutput(sys.stderr.buffer, machine.runner.check_budget).write
        library = loading.load(machine, name, search, [name for call in calls for name in _names(call)])
        done = []
        with ExitStack() as around:
            around.enter_context(observing.observed(machine))
            if debug_port is not None:
                debugger = around.enter_context(machine.debug(port=debug_port))
                print(f"waiting for GDB: {debugger.command}", file=sys.stderr, flush=True)
            for call in calls:
                called = _make(machine, library, call, given)
                done.append(called)
                if not as_json:
                    out.line(_text(called))
        if audit and not as_json:
            for first in machine.first_calls:
                print(first, file=sys.stderr)
        if as_json:
            report = CallReport(arch.name, library.name, tuple(done), tuple(map(_first, machine.first_calls)))
            write_json({"schema": report.schema, **json_fields(report)})


def _first(call: FirstCall) -> First:
    return First(
        call.seconds, call.image, str(call.caller), call.symbol, call.version, call.provider, Address(call.address)
    )


def _parse(text: str) -> Call:
    try:
        return parse_call(text)
    except ExpressionError as error:
        raise Usage(str(error), param_hint="'CALL'") from None


def _names(call: Call) -> list[str]:
    """The symbols in a call, which select members of an archive."""
    arguments = (argument.value for argument in call.arguments)
    return [call.name, *(value.name for value in arguments if isinstance(value, SymbolAddress))]


# ---------------------------------------------------------------- prototypes


class _Prototypes:
    """The prototypes given on the command line."""

    def __init__(self, texts: Sequence[str], arch: Architecture) -> None:
        self._arch = arch
        self._texts: dict[str, str] = {}  # by function; "" for all other functions
        for text in texts:
            name = self._parsed(text, "--prototype").name
            if name in self._texts:
                raise Usage(f"two prototypes for {name or 'every function'}", param_hint="'--prototype'")
            self._texts[name] = text

    def check(self, call: Call) -> None:
        """Raise Usage when a type written in the call is invalid."""
        if call.prototype or call.result:
            self._parsed(call.prototype or f"{call.result} {call.name}(void)", "CALL")

    def _parsed(self, text: str, where: str) -> Prototype:
        try:
            return parse_prototype(text, self._arch.name)
        except CallError as error:
            raise Usage(str(error), param_hint=f"'{where}'") from None

    def choose(self, call: Call, library: Library) -> tuple[str, str]:
        """The prototype for a call, and its source."""
        if call.prototype is not None:
            return call.prototype, "expression"
        for name in (call.name, ""):
            if name in self._texts:
                return self._texts[name], "option"
        if call.result is None:
            declared = library.declared_prototype(call.name, version=call.version)
            if declared is not None:
                return str(declared), "dwarf"
        types = ", ".join(_guess(argument, self._arch) for argument in call.arguments)
        text = f"{call.result or _GUESSED_RESULT} {call.name}({types or 'void'})"
        if call.result is None:
            separate = missing_debug_file(library.function_symbol(call.name, call.version).image)
            why = "there is no debug information for it"
            if separate is not None:
                why = f"its debug information is in {separate}, of which no file with its checksum was found"
            _log.warning("%s: %s; called as %s, which is a guess", call.name, why, text)
        return text, "arguments"


def _guess(argument: Argument, arch: Architecture) -> str:
    """The C type of an argument without a prototype: an integer is a long, or wider if necessary."""
    if argument.ctype == BRACES:
        raise Usage("an initialiser in braces needs the function's prototype (--prototype)", param_hint="'CALL'")
    if argument.ctype != "int" or not isinstance(argument.value, int):
        return argument.ctype
    if -(1 << (arch.bits - 1)) <= argument.value <= arch.address_mask:
        return "long" if argument.value < 1 << (arch.bits - 1) else "unsigned long"
    return "long long" if argument.value < 1 << 63 else "unsigned long long"


# ---------------------------------------------------------------- calling


def _make(machine: Machine, library: Library, call: Call, given: _Prototypes) -> Called:
    text, source = given.choose(call, library)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", StaticFunctionWarning)
        function = library.function(call.name, None if source == "dwarf" else text, version=call.version)
    for warning in told:
        _log.warning("%s", warning.message)
    arguments = [_value(machine, library, argument.value) for argument in call.arguments]
    streams = (machine.libc.stdout, machine.libc.stderr)
    for stream in streams:
        stream.clear()
    start = time.perf_counter()
    result = function(*arguments)
    seconds = time.perf_counter() - start
    kind = function.prototype.result
    string = _string(machine, kind, result)
    if isinstance(kind, Pointer) and isinstance(result, int):
        result = Address(result)
    result = _plain(result)
    printed = [stream.getvalue().decode(errors="backslashreplace") for stream in streams]
    return Called(call.text, call.name, text, source, result, str(kind), string, printed[0], printed[1], seconds)


def _value(machine: Machine, library: Library, value: Value) -> object:
    if isinstance(value, list):
        return [_value(machine, library, each) for each in value]
    if isinstance(value, dict):
        return {name: _value(machine, library, each) for name, each in value.items()}
    if not isinstance(value, SymbolAddress):
        return value
    symbol = library.image.symbol(value.name, value.version)
    if symbol.type == SymbolType.GNU_IFUNC:
        return machine.initialisers.ifunc_target(symbol.image, symbol.address)
    if symbol.type == SymbolType.TLS:
        return symbol.address + machine.tls_block(symbol.image)
    return symbol.address


def _string(machine: Machine, kind: object, result: int | float | None) -> str | None:
    """The string of a `char *` result; None for other results, NULL, and unreadable memory."""
    if not (isinstance(kind, Pointer) and isinstance(kind.target, Integer) and kind.target.size == 1):
        return None
    if "char" not in kind.target.name or not isinstance(result, int) or not result:
        return None
    try:
        return machine.memory.read_cstring(result).decode("utf-8", "surrogateescape")
    except AddressSpaceError:
        return None


def _plain(value: Any) -> Any:
    """A result as JSON has it: structures by member, arrays, vectors and complex numbers as lists."""
    if isinstance(value, Record):
        return {name: _plain(value[name]) for name in value._names_}
    if isinstance(value, ArrayView | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, complex):
        return [value.real, value.imag]
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _shown(value: object) -> str:
    """A value as C writes it in an initialiser."""
    if isinstance(value, dict):
        return "{" + ", ".join(f".{name} = {_shown(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(_shown, value)) + "}"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _text(called: Called) -> str | None:
    """A result as one line; None for void."""
    if called.string is not None:
        return called.string
    if isinstance(called.result, Address):
        return str(called.result) if called.result else "NULL"
    return None if called.result is None else _shown(called.result)
