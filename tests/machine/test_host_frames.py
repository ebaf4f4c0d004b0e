"""The host's side of the call stack, as unwinders see it: tables that lead from a host function to its caller."""

from __future__ import annotations

import pytest

from emu import HostFunction, Machine
from emu.debug.unwind import CallFrameTable, Registers, caller_by_rules
from emu.errors import GuestAbort
from relink.memory.address_space import Protection
from tests.fixtures import arch_of
from tests.machine.dl import FLAGS
from tests.objects.build import TARGETS, compiled, linked

pytestmark = pytest.mark.parametrize("target", TARGETS)
_SOURCE = """
typedef __SIZE_TYPE__ word;
struct { unsigned long long flags; void *start, *end, *map, *table; word rest[20]; } found;
int _dl_find_object(void *, void *);
int again(int (*function)(void), int more); void look(void);
int bottom(void) { look(); return 1; }
__attribute__((noinline)) int first(int more) { return again(bottom, more) + 1; }
int second(void) { return first(0) + 1; }
int outer(void) { return again(second, 1) + 1; }
/* Where this returns to, Arm's two bytes before it included, is nothing of an image's. */
int asked(void)
{
    int before = _dl_find_object((char *)__builtin_return_address(0) - (sizeof(word) == 4 ? GAP : 1), &found);
    return before == 0 && found.table != 0 && found.map == 0;
}
"""


class Stack:
    """A machine that is looked at while guest and host functions have called each other."""

    def __init__(self, target: str) -> None:
        gap = "-DGAP=2" if arch_of(target) == "arm" else "-DGAP=1"
        library = linked(target, [compiled(target, _SOURCE, *FLAGS, gap)])
        symbols = {
            "again": HostFunction(self._again, "int again(void *function, int more)"),
            "look": HostFunction(self._look, "void look(void)"),
        }
        self.machine = Machine(arch_of(target), symbols=symbols)
        self.library = self.machine.load(library)
        self.seen: list[str | None] = []
        self.stacks: list[tuple[int, int]] = []

    def _again(self, function: int, more: int) -> int:
        self.stacks.append((self.machine.cpu.read_register("sp"), self.machine.runner.return_address()))
        result = self.machine.call(function, "int(void)")
        assert isinstance(result, int)
        return result

    def _at_prel31(self, place: int) -> int:
        """What a place-relative 31-bit offset of Arm's tables refers to."""
        offset = self.machine.memory.read_uint(place, 4)
        return place + (offset & 0x3FFF_FFFF) - (offset & 0x4000_0000)

    def _look(self) -> None:
        machine, isa = self.machine, self.machine.isa.dwarf
        for depth in range(machine.call_depth, 0, -1):
            back = machine.traps.return_to(depth)
            frames = machine.parts.host_frames
            if machine.arch.name == "arm":
                assert frames.covers(back - 2)
                table, _ = frames.table(back - 2)
                self.seen.append(None if machine.memory.read_uint(table + 4, 4) == 1 else "more")
                if self.seen[-1] is not None:
                    routine = self._at_prel31(self._at_prel31(table + 4))
                    assert machine.memory.protection(routine) == Protection.R | Protection.X
                continue
            assert frames.covers(back - 1)
            address, size = frames.table(back - 1)
            content = CallFrameTable(machine.memory.read(address + 8, size - 8), address + 8)
            registers = Registers(isa, back, {isa.sp: 0x1000})
            caller = caller_by_rules(registers, content, back - 1, machine.memory.read)
            if caller is None:
                self.seen.append(None)
                continue
            self.seen.append(machine.symbolize(caller.pc).symbol)
            sp, return_address = self.stacks[depth - 2]
            pushed = 0 if isa.link is not None else isa.word
            assert (caller.values[isa.sp], caller.pc) == (sp + pushed, return_address)


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_tables_lead_from_each_host_function_to_its_caller(target: str, far: bool) -> None:
    stack = Stack(target)
    if far:  # the routine from the memory of tables, by more than the 1 GiB of a place-relative 31-bit offset
        assert stack.machine.link_maps.debug, "the memory of tables is mapped"
        stack.machine.memory.set_window(0xC000_0000, 1 << 28)
    assert stack.library.function("outer", "int(void)")() == 1 + 1 + 1 + 1
    middle = ["more", "more"] if stack.machine.arch.name == "arm" else ["first", "outer"]
    assert stack.seen == [*middle, None], "the outermost call has no caller"
    stack.seen.clear()
    stack.stacks.clear()
    assert stack.library.function("first", "int(int)")(0) == 2
    assert stack.seen == [middle[0], None]
    stack.machine.close()


def test_the_guest_finds_the_frame_it_returns_to(target: str) -> None:
    stack = Stack(target)
    assert stack.library.function("asked", "int(void)")() == 1
    assert stack.machine.call_depth == 0
    stack.machine.close()


def test_each_depth_returns_to_a_trap_of_its_own(target: str) -> None:
    stack = Stack(target)
    traps = stack.machine.traps
    assert len({traps.return_to(depth) for depth in range(1, 9)}) == 8
    assert all(traps.is_return(traps.return_to(depth)) for depth in range(1, 9))
    assert not traps.is_return(stack.machine.define("any", HostFunction(lambda: None, "void(void)")))
    with pytest.raises(GuestAbort, match="a call that is not the innermost"):
        stack.machine.call(traps.return_to(3), "void(void)")
    assert stack.library.function("first", "int(int)")(0) == 2
    stack.machine.close()
