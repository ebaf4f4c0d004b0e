"""The whole state of a machine in comparable form."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from emu import Machine
from emu.saved.graph import Walk, full_name, kind_of, passed_through
from emu.saved.kinds import Attributes
from relink.memory.address_space import PAGE

#: Caches in objects that are compared only when something else has changed (`emu.saved.rules.GUARDED`): they may
#: have more in them than at the time of the snapshot, and are right at any time.
CACHES = {
    "relink.resolve.scope_index.ScopeIndices",
    "relink.resolve.scope_index.ScopeIndex",
    "relink.resolve.definitions.VersionIds",
    "emu.libc.symbol_source.LibcSymbols",
    "emu.libc.compiled.CompiledLibrary",
}


def state_of(machine: Machine) -> dict[str, Any]:
    """Everything that a snapshot saves, by name: objects in the order in which they are found, the map and the
    contents of memory, and registers.
    """
    registers = _registers(machine)  # first: a CPU that has waited for its first use is another object afterwards
    return {**dict(_objects(machine)), **dict(_memory(machine)), **registers}


def guest_state_of(machine: Machine) -> dict[str, Any]:
    """The part of `state_of` that the guest sees: the map and the contents of memory, and registers."""
    return {**dict(_memory(machine)), **_registers(machine)}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What is not the same, as text."""
    return [
        f"{name}: {one.get(name)!r:.300} / {other.get(name)!r:.300}"
        for name in {**one, **other}
        if one.get(name) != other.get(name)
    ]


def _objects(machine: Machine) -> Iterator[tuple[str, object]]:
    walk = Walk()
    own = {name: value for name, value in vars(machine).items() if name != "_saved"}
    walk.extend((*vars(machine.parts).values(), machine.parts, machine.os, own))
    nodes = [(n, k) for some in walk.found for n, k in zip(some.nodes, some.kinds, strict=True)]
    names = {id(node): f"{full_name(type(node))} {number}" for number, (node, _) in enumerate(nodes)}
    for node, kind in nodes:
        cls = full_name(type(node))
        if cls in CACHES:
            continue
        content = kind.plain(kind.content(node))
        yield (
            names[id(node)],
            {name: _plain(value, names) for name, value in content.items() if name != "buffer"}
            if isinstance(kind, Attributes)
            else _plain(content, names, own=True),
        )


def _plain(value: Any, names: dict[int, str], *, own: bool = False, deep: int = 2) -> object:
    """A value with the names of nodes in place of the nodes."""
    if not own and id(value) in names:
        return names[id(value)]
    if isinstance(value, int | float | str | bytes | None):
        return value
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if not deep:
        return full_name(type(value))
    if isinstance(value, dict):
        pairs = value.items()
        return [(_plain(k, names, deep=deep - 1), _plain(v, names, deep=deep - 1)) for k, v in pairs]
    if isinstance(value, set | frozenset):
        return sorted(repr(_plain(each, names, deep=deep - 1)) for each in value)
    if isinstance(value, list | tuple | deque):
        return [_plain(each, names, deep=deep - 1) for each in value]
    parts = () if kind_of(type(value)) is not None else tuple(passed_through(value))
    return full_name(type(value)), [_plain(each, names, deep=deep - 1) for each in parts]


def _memory(machine: Machine) -> Iterator[tuple[str, object]]:
    for region in machine.memory.regions:
        for offset, size, protection in region.pages:
            content = machine.cpu.read(region.address + offset, size)
            name = f"memory {region.address + offset:#x} {region.name}"
            yield name, (size, str(protection), _digest(content))


def _digest(content: bytes) -> tuple[bytes, str]:
    """Which pages have other bytes than 0, and the hash of these: most pages of a stack or heap are empty."""
    pages = np.frombuffer(content, np.uint64).reshape(-1, PAGE // 8)
    filled = np.bitwise_or.reduce(pages, axis=1) != 0
    return filled.tobytes(), hashlib.sha256(pages[filled].tobytes()).hexdigest()


def _registers(machine: Machine) -> dict[str, object]:
    cpu: Any = machine.cpu
    if machine.arch.name == "loongarch64":
        return {"registers": cpu.save().values}
    names = list(cpu._isa.names)
    values = zip(names, cpu.read_registers(names), strict=True)
    return {"registers": cpu.save_state()[1:], **{f"registers {name}": value for name, value in values}}
