"""What a fault of the guest says, and that the machine outlives it."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.cpu.protocol import StopReason
from emu.errors import GuestFault
from emu.library import Library
from tests.fixtures import arch_of, fixture
from tests.grouping import each


@pytest.fixture
def faults(machine: Machine, target: str) -> Library:
    return machine.load(fixture(target, "faults"), symbols={"host_callback": lambda value: value})


def fault(library: Library, function: str, prototype: str, *args: int) -> GuestFault:
    with pytest.raises(GuestFault) as caught:
        library.function(function, prototype)(*args)
    assert library.function("survivor", "int(int)")(1) == 2, "the machine is usable afterwards"
    return caught.value


@each(
    ("function", "prototype", "args", "reason", "address"),
    [
        ("null_read", "int(void)", (), StopReason.READ_UNMAPPED, 0),
        ("null_write", "void(int)", (7,), StopReason.WRITE_UNMAPPED, 0),
        ("wild_read", "int(unsigned long)", (0x1234_5678,), StopReason.READ_UNMAPPED, 0x1234_5678),
        ("wild_write", "void(unsigned long, int)", (0x1234_5678, 1), StopReason.WRITE_UNMAPPED, 0x1234_5678),
        ("jump_to", "int(unsigned long)", (0x1234_5670,), StopReason.FETCH_UNMAPPED, 0x1234_5670),
    ],
)
def test_a_wild_access_names_its_kind_place_and_address(
    faults: Library, function: str, prototype: str, args: tuple[int, ...], reason: StopReason, address: int
) -> None:
    error = fault(faults, function, prototype, *args)
    assert error.reason is reason
    assert error.address == address
    if reason is not StopReason.FETCH_UNMAPPED:
        assert error.frame.symbol == function
        assert error.frame.image == "faults.so"
        assert any(line.startswith("=>") for line in error.disassembly)
    pc = list(error.registers.values())[-1]
    assert pc & faults.image.architecture.code_address_mask == error.pc, "the program counter comes last"


def test_pages_are_protected_as_the_segments_say(faults: Library) -> None:
    assert fault(faults, "write_rodata", "void(void)").reason is StopReason.WRITE_PROTECTED
    assert fault(faults, "write_text", "void(void)").reason is StopReason.WRITE_PROTECTED
    error = fault(faults, "jump_to_data", "int(void)")
    assert error.reason is StopReason.FETCH_PROTECTED
    assert error.address == faults.symbols["data_words"].address


def test_relro_is_read_only_once_the_image_is_linked(machine: Machine, target: str, faults: Library) -> None:
    library = machine.load(fixture(target, "datarel_now"), allow_unresolved=True)
    (relro,) = library.image.decoded.relro
    place = library.image.address_of(relro.vaddr)
    error = fault(faults, "wild_write", "void(unsigned long, int)", place, 1)
    assert error.reason is StopReason.WRITE_PROTECTED
    assert error.address == place


def test_an_illegal_instruction_is_named(faults: Library, target: str) -> None:
    error = fault(faults, "illegal_instruction", "void(void)")
    assert error.reason in (StopReason.INVALID_INSTRUCTION, StopReason.BREAKPOINT)
    assert error.frame.symbol == "illegal_instruction"


def test_a_division_by_zero_is_what_the_isa_makes_of_it(machine: Machine, target: str) -> None:
    library = machine.load(
        fixture(target, "faults"), symbols={"host_callback": lambda value: value}, allow_unresolved=True
    )
    divide = library.function("divide", "int(int, int)")
    if arch_of(target) in ("x86_64", "i386"):
        assert fault(library, "divide_by_zero", "int(void)").reason is StopReason.ARITHMETIC
    elif arch_of(target) == "aarch64":
        assert divide(1, 0) == 0
    elif arch_of(target) in ("riscv64", "riscv32"):
        assert divide(1, 0) == -1


def test_a_stack_overflow_runs_into_the_page_below_the_stack(
    machine: Machine, faults: Library, target: str
) -> None:
    error = fault(faults, "recurse_forever", "int(int)", 0)
    assert error.reason is StopReason.WRITE_UNMAPPED
    assert error.address is not None
    stack = next(region for region in machine.memory.regions if region.name == "[stack]")
    assert stack.address - 4096 <= error.address < stack.address
    assert error.stack_overflow
    assert str(error).startswith(f"stack overflow: write to unmapped memory at {error.address:#x}, pc ")
    assert not fault(faults, "wild_write", "void(unsigned long, int)", stack.address - 16, 1).stack_overflow
    # gcc's frame pointer in Thumb code leads to no frame record: there the first frame has to do.
    assert (0 if target == "thumb-gcc" else 10) < len(error.backtrace) <= 64


def test_a_backtrace_leads_from_the_fault_to_the_host(faults: Library, target: str) -> None:
    error = fault(faults, "nested_fault", "int(int)", 1)
    named = [frame.symbol for frame in error.backtrace]
    assert "nested_fault" in named
    if target == "arm-gcc":
        return  # gcc's leaf functions save fp alone, which by itself looks like no record: only .ARM.exidx tells
    assert named[-1] == "[return to the host]"
    assert len(named) == len({frame.address for frame in error.backtrace}), "no caller twice"


def test_a_report_is_for_people(faults: Library) -> None:
    report = fault(faults, "null_write", "void(int)", 1).report()
    assert report.startswith("write to unmapped memory at 0x0, pc 0x")
    assert "null_write" in report
    assert "=>" in report
    assert "#0" in report


def test_calling_an_undefined_weak_function_is_a_jump_to_null(faults: Library) -> None:
    error = fault(faults, "call_weak_unresolved", "int(int)", 1)
    assert error.reason is StopReason.FETCH_UNMAPPED
    assert error.pc == 0
    assert any(frame.symbol == "call_weak_unresolved" for frame in error.backtrace)
