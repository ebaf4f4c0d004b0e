"""`relink-emu types`: the types that debug information or a header names, with sizes, offsets and holes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from emu.calls.describe import described, holes_of
from emu.calls.namespace import Types
from emu.calls.scope import Scope
from emu.calls.types import CType, Enumeration, Struct, sized
from emu.cli.command import Usage
from emu.errors import CallError
from emu.isa.registry import convention
from relink.log import Log
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cli.options import Loading, Search, Target
    from emu.cli.plain import Console

_log = Log(__name__)


@dataclass(frozen=True)
class Member:
    """A member of a structure or union."""

    name: str
    type: str
    offset: int  #: bytes
    bit: int | None  #: of a bit-field: its first bit, from the structure's start
    width: int | None


@dataclass(frozen=True)
class Type:
    """A type with a name."""

    name: str
    kind: str  #: "struct", "union", "enum" or "typedef"
    size: int | None
    alignment: int | None
    members: tuple[Member, ...]
    holes: int  #: bytes of padding
    values: dict[str, int]  #: of an enumeration
    text: str  #: as C


@dataclass(frozen=True)
class TypesReport:
    """All types asked for."""

    schema: ClassVar[str] = "relink-emu/types/1"
    arch: str
    source: str
    types: tuple[Type, ...]


def report(target: Target, search: Search, loading: Loading, name: str, wanted: list[str]) -> TypesReport:
    """The types of a library, or of a header (whose name ends in .h). Raises RelinkError and Usage."""
    if name.endswith((".h", ".hpp")):
        from emu.calls.headers import header_types

        named = target.architecture()
        if named is None:
            raise Usage("a header needs --arch, on which its sizes depend", param_hint="'--arch'")
        scope = header_types(name, convention(named.name)).scope
        return _report(named.name, name, scope, wanted, "the header declares none")
    arch = target.of(name, search)
    machine = loading.machine(arch, search, loading.sources(name))
    try:
        library = loading.load(machine, name, search, run_initialisers=False, allow_unresolved=True)
        without = "compile it with -g, or give a header"
        return _report(arch.name, library.name, library.types.scope, wanted, without)
    finally:
        machine.close(run_destructors=False)


def _report(arch: str, source: str, scope: Scope, wanted: list[str], without: str) -> TypesReport:
    """`without` says why there are no types, or what to do."""
    types = Types(convention(arch), scope, source)
    known: dict[str, CType] = {**scope.tags, **scope.typedefs}
    missing = [name for name in wanted if types.key(name) is None]
    if missing:
        raise Usage(f"{source} has no type {missing[0]!r}", param_hint="'NAME'")
    if not known:
        _log.warning("%s: there are no types: %s", source, without)
    names = [types.key(name) or name for name in wanted] or sorted(known)
    return TypesReport(arch, source, tuple(_type(name, known[name]) for name in names))


def _type(name: str, ctype: CType) -> Type:
    kind = name.partition(" ")[0] if " " in name else "typedef"
    try:
        size: int | None = sized(ctype).size
        alignment: int | None = sized(ctype).alignment
        text = described(name, ctype)
    except CallError:
        size, alignment, text = None, None, f"{ctype};" if kind != "typedef" else f"typedef {ctype} {name};"
    members: tuple[Member, ...] = ()
    holes = 0
    if isinstance(ctype, Struct) and ctype.members is not None:
        holes = sum(length for _, length in holes_of(ctype))
        members = tuple(
            Member(each.name, str(each.type), each.offset, *(each.bits or (None, None))) for each in ctype.members
        )
    values = dict(ctype.values) if isinstance(ctype, Enumeration) else {}
    return Type(name, kind, size, alignment, members, holes, values, text)


def show(report: TypesReport, console: Console) -> None:
    """Print types as C."""
    for number, each in enumerate(report.types):
        if number and each.kind != "typedef":
            console.print()
        console.print(each.text, soft_wrap=True)
