"""What is state, as data: the classes and attributes that a snapshot treats in a way of their own.

Everything else is found by itself: `emu.saved.graph` walks the objects that a machine consists of, and saves every
attribute of every object of a project class, and every dict, list, set, deque, bytearray and writable array in
them. A new part, or a new attribute, is saved without a line here.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Classes of these modules are never changed once made, belong to an engine (which is saved by `Cpu.save_state`),
#: observe a machine without being part of it, or are a user's handles on it. By reference, and not looked into.
CONSTANT = (
    "relink.elf",
    "relink.arch",
    "relink.objects",
    "relink.search",
    "emu.isa",
    "emu.calls",
    "emu.cpu",
    "emu.saved",
    "emu.snapshot",
    "emu.handles",
    "emu.library",
    "emu.machine",
    "emu.debug.coverage",
    "emu.debug.gdb",
    "emu.debug.observation",
    "emu.debug.places",
    "emu.debug.trace",
)

#: Attributes that are not state, by class: caches whose content is right at any time, and what lives on the host.
UNSAVED: Mapping[str, frozenset[str]] = {
    "emu.parts.Parts": frozenset({"observation"}),
    "emu.run.runner.Runner": frozenset(
        # the last is about the last call; of calls in progress there is no snapshot
        {
            "lent",
            "on_event",
            "at_end",
            "unfinished",
            "file",
            "_budget",
            "_reached",
            "raised_in_call",
            "entry",
            "_calls",
            "call_number",
        }
    ),
    "emu.run.reserved.Reservable": frozenset({"user", "uses"}),
    # about the last run, as in the next two
    "emu.boards.execution.Execution": frozenset({"executed", "_ran", "_raised", "_asking", "_in_piece"}),
    "emu.boards.bus.Bus": frozenset({"failed"}),
    "emu.boards.clock.Clock": frozenset({"action"}),
    "relink.tls.TlsLayout": frozenset({"_changes"}),
    "relink.load.state.LinkerState": frozenset({"changes", "call_scopes", "_by_address"}),
    "relink.memory.address_space.HostMemory": frozenset({"changes"}),
    "relink.memory.address_space.Region": frozenset({"discarded"}),
    "emu.run.traps.TrapTable": frozenset({"changes"}),
    "emu.memory.heap.Heap": frozenset({"changes"}),
    "emu.load.lazy_binding.LazyCalls": frozenset({"_changes", "_ahead"}),
    "relink.resolve.definitions.VersionIds": frozenset({"_of_image"}),
    "relink.resolve.bindings.Bindings": frozenset({"_providers"}),
}

#: Classes whose objects change only together with one of `emu.saved.state.marks`: compared only when a mark has
#: changed. Objects first reached through them are treated like them.
GUARDED = frozenset(
    {
        "relink.relocate.result.Relocated",
        "relink.resolve.scope_index.ScopeIndices",
        "relink.resolve.definitions.VersionIds",
        "relink.load.loaded.LoadedImages",
        "relink.memory.address_space.Region",
        "emu.memory.guest_memory.GuestMemory",
        "emu.run.traps.TrapTable",
        "emu.load.lazy_binding.LazyCalls",
    }
)
