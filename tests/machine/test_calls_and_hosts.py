"""Calling the guest, and being called by it."""

from __future__ import annotations

import gc
import weakref

import pytest

from emu import HostFunction, Machine
from emu.errors import BudgetExceeded, CallError, GuestFault, UnresolvedCall
from relink.errors import UnresolvedSymbol, UseAfterUnload
from tests.fixtures import fixture
from tests.machine.conftest import MakeMachine


def test_a_guest_function_calls_a_python_function(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: value * 2})
    assert library.function("awesome_func", "int(int)")(42) == 84


def test_a_host_function_may_carry_a_prototype(machine: Machine, target: str) -> None:
    seen = []

    def record(value: int) -> int:
        seen.append(value)
        return -value

    typed = HostFunction(record, "int my_host_function(int value)")
    library = machine.load(fixture(target, "basic"), symbols={"my_host_function": typed})
    assert library.function("awesome_func", "int(int)")(-7) == 7
    assert seen == [-7]


def test_prototypes_come_from_dwarf_when_the_library_has_it(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "basic-dwarf"), symbols={"my_host_function": lambda value: value * 2})
    assert library.function("awesome_func")(21) == 42


def test_without_dwarf_a_prototype_is_asked_for(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: value})
    with pytest.raises(CallError, match="awesome_func: give a C prototype"):
        library.function("awesome_func")


def test_an_exception_in_a_host_function_reaches_the_caller(machine: Machine, target: str) -> None:
    class Mine(Exception):
        pass

    def refuse(value: int) -> int:
        raise Mine(value)

    library = machine.load(fixture(target, "basic"), symbols={"my_host_function": refuse})
    awesome = library.function("awesome_func", "int(int)")
    with pytest.raises(Mine, match="5"):
        awesome(5)
    with pytest.raises(Mine, match="6"):
        awesome(6)


def test_host_and_guest_call_each_other_to_any_depth(machine: Machine, target: str) -> None:
    depths = []

    def descend(value: int) -> int:
        depths.append(value)
        return 1000 if value == 0 else awesome(value - 1) + 1

    library = machine.load(
        fixture(target, "basic"), symbols={"my_host_function": HostFunction(descend, "int(int)")}
    )
    awesome = library.function("awesome_func", "int(int)")
    assert awesome(50) == 1050
    assert depths == list(range(50, -1, -1))


def test_a_host_function_survives_a_fault_of_the_guest_it_calls(machine: Machine, target: str) -> None:
    """The interrupted guest function goes on with its own registers."""

    def careful(value: int) -> int:
        with pytest.raises(GuestFault):
            null_read()
        return value * 3

    library = machine.load(fixture(target, "faults"), symbols={"host_callback": HostFunction(careful, "int(int)")})
    null_read = library.function("null_read", "int(void)")
    assert library.function("fault_around_host", "int(int)")(14) == 42


def test_variables_are_read_and_written_as_c_types(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: value})
    counter = library.symbols["counter"]
    before = counter.read("int")
    counter.write(before + 5, "int")
    assert counter.read("int") == before + 5
    assert int.from_bytes(machine.memory.read(counter.address, 4), "little", signed=True) == before + 5
    with pytest.raises(CallError, match="counter"):
        counter.write(1 << 40, "int")
    with pytest.raises(KeyError):
        library.symbols["no such symbol"]
    with pytest.raises(CallError, match="is no address"):
        machine.call("counter", "int(void)")  # type: ignore[arg-type]


def test_a_symbol_may_be_given_as_an_address(machine: Machine, target: str) -> None:
    library = machine.load(
        fixture(target, "imports"), allow_unresolved=True, symbols={"imported_variable": 0x12345678}
    )
    bound = {b.symbol: b.address for b in library.image.bindings()}
    if "imported_variable" in bound:
        assert bound["imported_variable"] == 0x12345678


def test_unresolved_symbols_are_named_together(machine: Machine, target: str) -> None:
    with pytest.raises(UnresolvedSymbol, match="my_host_function"):
        machine.load(fixture(target, "basic"))


def test_an_unresolved_symbol_left_open_is_named_when_it_is_called(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "faults"), allow_unresolved=True)
    with pytest.raises(UnresolvedCall, match=r"host_callback from .*fault_around_host") as caught:
        library.function("fault_around_host", "int(int)")(1)
    assert caught.value.symbol == "host_callback"
    assert library.function("survivor", "int(int)")(2) == 3


def test_a_closed_library_is_named_by_whatever_outlives_it(machine: Machine, target: str) -> None:
    with machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda v: v}) as library:
        awesome = library.function("awesome_func", "int(int)")
        counter = library.symbols["counter"]
    with pytest.raises(UseAfterUnload, match="awesome_func"):
        awesome(1)
    with pytest.raises(UseAfterUnload, match="counter"):
        counter.read("int")
    with pytest.raises(UseAfterUnload, match="basic"):
        library.close()


def test_closing_gives_back_memory_and_traps(machine: Machine, target: str) -> None:
    regions, traps = machine.memory.regions, len(machine.traps)
    for _ in range(5):
        machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda v: v}).close()
    assert machine.memory.regions == regions
    assert len(machine.traps) == traps


def test_loading_again_after_closing_runs_the_new_code(machine: Machine, target: str) -> None:
    """The same addresses may hold other code: an engine must not remember the old one."""
    base = 0x5000_0000
    first = machine.load(fixture(target, "hash_gnu"), base=base, allow_unresolved=True)
    first.close()
    second = machine.load(fixture(target, "basic"), base=base, symbols={"my_host_function": lambda v: v + 1})
    assert second.base == base
    assert second.function("awesome_func", "int(int)")(1) == 2
    assert second.function("add", "int(int, int)")(20, 22) == 42


# ---------------------------------------------------------------- budgets


def test_an_instruction_limit_stops_a_runaway(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "faults"), symbols={"host_callback": lambda v: v})
    loop = library.function("loop_forever", "void(void)")
    with pytest.raises(BudgetExceeded, match="10000 instructions"):
        loop(max_instructions=10_000)
    assert library.function("survivor", "int(int)")(1) == 2


def test_a_time_limit_stops_a_runaway(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "faults"), symbols={"host_callback": lambda v: v})
    with pytest.raises(BudgetExceeded, match=r"0\.05 seconds"):
        library.function("loop_forever", "void(void)")(timeout=0.05)
    assert library.function("survivor", "int(int)")(1) == 2


def test_a_limit_that_suffices_does_not_show(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "faults"), symbols={"host_callback": lambda v: v})
    assert library.function("loop_times", "int(unsigned)")(100, max_instructions=100_000, timeout=30.0) == 100


def test_a_limit_covers_what_host_functions_call(make_machine: MakeMachine, target: str) -> None:
    machine = make_machine(max_instructions=5_000)
    library = machine.load(
        fixture(target, "faults"), symbols={"host_callback": HostFunction(lambda v: forever() or v, "int(int)")}
    )
    forever = library.function("loop_forever", "void(void)")
    with pytest.raises(BudgetExceeded):
        library.function("fault_around_host", "int(int)")(1)
    assert library.function("survivor", "int(int)")(1) == 2


def test_nothing_keeps_what_a_user_has_let_go(machine: Machine, target: str) -> None:
    """Handles can be referred to weakly, and an image goes with its last handle once it is closed."""
    gc.freeze()  # only what is made from here on needs to be looked at
    library = machine.load(fixture(target, "bss"))
    function, variable = library.function("bss_sum", "int(void)"), library.symbols["bss_sum"]
    held = (library, library.plan, library.image, function, variable, variable.symbol)
    references = [weakref.ref(each) for each in held]
    library.close()
    del library, function, variable, held
    gc.collect()
    assert [reference() for reference in references] == [None] * 6
