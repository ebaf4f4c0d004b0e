"""i386 in protected mode: a program as in QEMU, exact timers, ports, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from emu.boards import (
    I386,
    Board,
    Device,
    DeviceError,
    Ended,
    FirmwareError,
    Lockup,
    MemoryMapError,
    NotModelled,
    Ram,
    Region,
    Rom,
)
from emu.boards.peripherals import Uart, Uart16550
from emu.errors import GuestFault
from relink.errors import MachineError
from tests.boards.programs import PC_PROGRAMS, PcProgram, each_program

EXIT, COM1, CODE, TABLE, STACK = 0xF4, 0x3F8, 0x1000, 0x4000, 0x8000
HANDLER = 0x2000
programs = each_program(PC_PROGRAMS)


class Exit(Device):
    """Ends the run at a write, as QEMU's isa-debug-exit."""

    size, widths = 1, (1,)
    stop: Callable[[], None]

    def write(self, offset: int, size: int, value: int) -> None:
        self.stop()


def pc(profile: I386 | str = "i386", **ports: Device) -> tuple[Board, Uart16550]:
    console, end = Uart16550(irq=4), Exit()
    made = Board(profile, memory=[Ram(0, 0x20_0000)], ports={COM1: console, EXIT: end})
    end.stop = made.stop
    return made, console


def run(program: PcProgram) -> tuple[str, int]:
    made, console = pc(I386(open_bus=True))
    made.load(program.path)
    made.reset()
    assert made.run(max_instructions=2_000_000) is Ended.STOPPED
    return console.text, made.clock.time


@programs
def test_a_program_does_the_same_as_in_qemu(program: PcProgram) -> None:
    output, time = run(program)
    assert output.splitlines() == program.golden.read_text().splitlines()
    assert run(program) == (output, time)


@programs
def test_a_run_goes_on_from_a_snapshot_as_it_went_on(program: PcProgram) -> None:
    """Between two instructions, in user code with its segments, in handlers."""
    for instructions in (20_003, 40_003, 53_001):
        made, console = pc(I386(open_bus=True))
        made.load(program.path)
        made.reset()
        made.run(max_instructions=instructions)
        snapshot = made.machine.snapshot()
        ends = []
        for _ in range(2):
            made.run(max_instructions=2_000_000)
            ends.append((console.text, made.clock.time))
            made.machine.restore(snapshot)
        assert ends[0] == ends[1]
        assert ends[0][0].splitlines() == program.golden.read_text().splitlines()


# ------------------------------------------------------------ small programs


def gate(offset: int, selector: int = 8, access: int = 0x8E) -> bytes:
    return struct.pack("<HHBBH", offset & 0xFFFF, selector, 0, access, offset >> 16)


def guest(
    code: bytes, gates: dict[int, bytes] | None = None, *, handler: bytes = b"\xcf", **options: bool
) -> Board:
    """`code` with a table of these gates, and a handler (iret) at HANDLER."""
    made, _ = pc(I386(**options))  # type: ignore[arg-type]
    made.load(b"\x0f\x01\x1d" + struct.pack("<I", TABLE - 8) + code + b"\xf4", at=CODE)  # lidt; hlt at the end
    made.load(handler, at=HANDLER)
    made.load(struct.pack("<HI", 0x7FF, TABLE), at=TABLE - 8)
    for vector, content in (gates or {}).items():
        made.load(content, at=TABLE + 8 * vector)
    made.reset(entry=CODE, stack=STACK)
    return made


#: Both controllers with vectors from 0x20 on, line 0 alone enabled; counter 0 at 100 instructions.
PICS = b"".join(
    bytes((0xB0, value, 0xE6, port))
    for port, value in (
        (0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xFE),
        (0xA0, 0x11), (0xA1, 0x28), (0xA1, 2), (0xA1, 1), (0xA1, 0xFF),
        (0x43, 0x34), (0x40, 100), (0x40, 0),
    )
)  # fmt: skip
EOI = b"\x50\xb0\x20\xe6\x20\x58\xcf"  # push eax; mov al, 0x20; out 0x20, al; pop eax; iret
FOREVER = b"\x43\xeb\xfd"  # again: inc ebx; jmp again


def test_a_timer_interrupt_arrives_at_its_instruction() -> None:
    """Every 100 instructions from the write of the count on; each handler has five."""
    made = guest(PICS + b"\xfb" + FOREVER, {0x20: gate(HANDLER)}, handler=EOI)
    arrivals: list[int] = []
    take = made.profile.take

    def taken(pc: int) -> int:
        arrivals.append(made.clock.time)
        return take(pc)

    made.profile.take = taken  # type: ignore[method-assign]
    made.run(max_instructions=1000)
    loaded = 1 + len(PICS) // 2 - 1
    assert arrivals == [loaded + 100 * n for n in range(1, len(arrivals) + 1)]
    assert len(arrivals) == 9


@pytest.mark.parametrize("code", [b"\xfb\x43\x43", b"\xfb\xf4\x43"], ids=["sti; inc; inc", "sti; hlt; inc"])
def test_sti_lets_one_instruction_pass(code: bytes) -> None:
    """The interrupt is pending already: it comes after the instruction that follows STI."""
    wait = b"\xb9\xff\x00\x00\x00\xe2\xfe"  # mov ecx, 255; loop
    handler = b"\x89\xd8\xe6\xf4" + EOI  # mov eax, ebx; out 0xf4, al
    made = guest(PICS + wait + b"\x31\xdb" + code, {0x20: gate(HANDLER)}, handler=handler)
    assert made.run(max_instructions=5000) is Ended.STOPPED
    assert made.machine.cpu.read_register("ebx") == code.count(b"\x43") - 1
    returns_to = int.from_bytes(made.machine.memory.read(made.machine.cpu.read_register("esp"), 4), "little")
    assert returns_to == CODE + 7 + len(PICS + wait) + 2 + 2


def test_no_interrupt_comes_before_the_controllers_are_programmed() -> None:
    made = guest(b"\xfb" + FOREVER)
    assert made.run(max_instructions=200) is Ended.LIMIT


def test_rdtsc_is_the_clock() -> None:
    made = guest(b"\x90\x90\x0f\x31")
    made.run(max_instructions=4)
    assert made.machine.cpu.read_registers(("eax", "edx")) == [3, 0]


@pytest.mark.parametrize(
    ("code", "gates", "words"),
    [
        (b"\x0f\x20\xc0\x0d\x00\x00\x00\x80\x0f\x22\xc0", {}, "paging"),
        (b"\x0f\x20\xc0\x83\xe0\xfe\x0f\x22\xc0", {}, "real mode"),
        (b"\x6c", {}, "INS and OUTS"),
        (b"\x0f\x34", {}, "SYSENTER"),
        (b"\xcd\x30", {0x30: gate(HANDLER, access=0x85)}, "task gates"),
        (b"\xcd\x30", {0x30: gate(HANDLER, access=0x86)}, "16-bit gates"),
        (b"\xb0\x13\xe6\x20", {}, r"ICW1\.SNGL"),
        (b"\xb0\x0c\xe6\x20", {}, "poll command"),
        (b"\xb0\x35\xe6\x43", {}, "BCD"),
        (b"\xb0\x3a\xe6\x43", {}, "mode 5"),
    ],
)
def test_what_is_not_modelled_is_refused_by_name(code: bytes, gates: dict[int, bytes], words: str) -> None:
    made = guest(code, gates)
    with pytest.raises(NotModelled, match=words):
        made.run(max_instructions=20)


def test_a_double_fault_is_delivered_and_a_triple_fault_is_a_lockup() -> None:
    fault = b"\x31\xc0\x8e\xd0"  # mov ss, 0
    made = guest(fault, {8: gate(HANDLER)}, handler=b"\xe6\xf4")
    assert made.run(max_instructions=20) is Ended.STOPPED
    code, pc = struct.unpack("<2I", made.machine.memory.read(STACK - 16, 8))
    assert (code, pc) == (0, CODE + 7 + 2)
    made = guest(fault)
    with pytest.raises(Lockup, match="triple fault"):
        made.run(max_instructions=20)


def test_faults_of_devices_and_ports() -> None:
    made = guest(b"\xe4\x70")
    with pytest.raises(DeviceError, match="no device at port 0x70"):
        made.run(max_instructions=5)
    assert made.pc == CODE + 7
    made = guest(b"\xe5\x70", open_bus=True)
    made.run(max_instructions=2)
    assert made.machine.cpu.read_register("eax") == 0xFFFF_FFFF
    made = guest(b"\xe5\x21")  # four bytes of a controller
    with pytest.raises(DeviceError, match="only accesses of 1 bytes"):
        made.run(max_instructions=5)
    made = guest(b"\xa1" + struct.pack("<I", 0x5000_0000))
    with pytest.raises(GuestFault, match="0x50000000"):
        made.run(max_instructions=5)


def test_ports_that_no_board_can_have() -> None:
    boards: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: Board("cortex-m3", memory=[], ports={0x60: Uart()}), "has no I/O ports"),
        (lambda: Board("i386", memory=[], ports={0x20: Uart16550()}), "overlaps"),
        (lambda: Board("i386", memory=[Ram(0xFFFF_E000, 0x1000)]), "ends at 0xffffdfff"),
        (lambda: Board("i386", memory=[], ports={0xFFFF: Uart16550()}), "outside the 65,536 ports"),
        (lambda: Board("i386", memory=[], ports={0x3F8: object()}), "instances of Device"),  # type: ignore[dict-item]
    )
    for make, words in boards:
        with pytest.raises(MemoryMapError, match=words):
            make()
    with pytest.raises(FirmwareError, match="where to start"):
        Board("i386", memory=[Ram(0, 0x1000)]).reset()


def test_a_call_from_python_leaves_the_firmware_as_it_was() -> None:
    made = guest(PICS + b"\xfb" + FOREVER, {0x20: gate(HANDLER)}, handler=EOI)
    made.load(b"\x8b\x44\x24\x04\x03\x44\x24\x08\xc3", at=0x3000)  # mov eax, [esp+4]; add eax, [esp+8]; ret
    made.run(max_instructions=333)
    before = made.machine.cpu.read_registers(made.machine.cpu.registers)
    assert made.call(0x3000, "int(int, int)", 40, 2) == 42
    assert made.machine.cpu.read_registers(made.machine.cpu.registers) == before
    made.run(max_instructions=333)


GDT = 0x6000


def test_registers_of_user_code_are_those_of_another_cpu() -> None:
    """What a snapshot's file has of the CPU: segments, their tables and the privilege level among it."""
    flat = (0x00CF_9A00_0000_FFFF, 0x00CF_9200_0000_FFFF, 0x00CF_FA00_0000_FFFF, 0x00CF_F200_0000_FFFF)
    frame = b"".join(b"\x68" + struct.pack("<I", word) for word in (0x23, STACK, 2, 0x1B, CODE + 7 + 7 + 26))
    code = b"\x0f\x01\x15" + struct.pack("<I", GDT - 8) + frame + b"\xcf" + FOREVER
    made, other = guest(code), guest(b"\x90")
    for each in (made, other):
        each.load(struct.pack("<5Q", 0, *flat), at=GDT)
        each.load(struct.pack("<HI", 39, GDT), at=GDT - 8)
    made.run(max_instructions=50)
    values = made.machine.cpu.register_values()
    assert made.machine.cpu.read_registers(("cs", "ss")) == [0x1B, 0x23]
    other.machine.cpu.set_register_values(values)
    assert other.machine.cpu.register_values() == values


# ------------------------------------------------------------ devices


def test_a_16550_interrupts_by_its_causes() -> None:
    levels: list[bool] = []
    made, uart = pc()
    made.machine  # noqa: B018
    uart.interrupt = levels.append  # type: ignore[method-assign, assignment]
    uart.write(1, 1, 3)
    for _ in range(2):
        uart.write(0, 1, ord("a"))
        assert uart.read(2, 1) == 2
    assert uart.read(2, 1) == 1
    uart.receive("xy")
    assert uart.read(2, 1) == 4
    assert uart.read(5, 1) == 0x63  # a byte was lost: there is no FIFO
    assert (uart.read(0, 1), uart.read(5, 1)) == (ord("x"), 0x60)
    uart.write(4, 1, 0x10)
    uart.write(0, 1, 0x55)
    assert uart.read(0, 1) == 0x55
    assert uart.text == "aa"
    uart.write(3, 1, 0x80)
    uart.write(0, 1, 3)
    assert (uart.read(0, 1), uart.read(1, 1)) == (3, 0)
    uart.write(3, 1, 3)
    uart.write(1, 1, 0)
    assert levels[-1] is False


def test_priorities_of_the_controllers() -> None:
    profile = I386()
    first, second = profile.pic.first, profile.pic.second
    for port, words in ((first, (0x20, 4)), (second, (0x28, 2))):
        port.write(0, 1, 0x11)
        for word in (*words, 1, 0):
            port.write(1, 1, word)
    for line in (4, 1, 9, 12):
        profile.pic.set_line(line, True)
    served = []
    for _ in range(2):
        served.append(profile.pic.acknowledge())
        assert first.pending() is None
        first.write(0, 1, 0x20)
    assert served == [0x21, 0x29]
    assert first.pending() == 4  # line 12 waits for the end of line 9
    second.write(0, 1, 0x20)
    assert [profile.pic.acknowledge(), second.pending()] == [0x2C, None]
    first.write(0, 1, 0x62)  # the end of line 2 alone
    first.write(0, 1, 0x0B)
    assert first.read(0, 1) == 0
    assert profile.pic.acknowledge() == 0x24
    assert profile.pic.acknowledge() == 0x27  # spurious


def test_the_timer_counts_and_is_latched() -> None:
    #: counter 2, mode 3 of 1,000 with its gate; then latched and read
    code = bytes.fromhex("b001e661b0b6e643b0e8e642b003e642") + b"\x90" * 8
    made = guest(code + bytes.fromhex("b080e643e44288c3e44288c7"))
    made.run(max_instructions=1 + 8 + 8 + 6)
    left = 1000 - 2 * (8 + 2)
    assert made.machine.cpu.read_register("ebx") & 0xFFFF == left


def with_table(kind: Callable[..., Region], access: int, *, base: int = 0x2000) -> Board:
    """At a jump to itself, after LGDT of a table whose segment 0x18 has this access byte."""
    image = bytearray(0x3000)
    image[0x1000:0x1009] = bytes.fromhex("0f011500280000ebfe")  # lgdt; jmp .
    for index, each in enumerate((0x9B, 0x93, access)):
        struct.pack_into("<HHBBBB", image, 0x2008 + 8 * index, 0xFFFF, 0, 0, each, 0xCF, 0)
    struct.pack_into("<HI", image, 0x2800, 31, base)
    made = Board(I386(), memory=[kind(0, 0x3000), Ram(0x10000, 0x4000)])
    made.load(bytes(image), at=0)
    made.reset(entry=0x1000)
    made.run(max_instructions=1)
    return made


def by_name(made: Board, name: str, selector: int) -> None:
    made.machine.cpu.write_register(name, selector)


def by_batch(made: Board, name: str, selector: int) -> None:
    made.machine.cpu.write_registers({"ebx": 1, name: selector})


def at_hit(made: Board, name: str, selector: int) -> None:
    with made.machine.breakpoint(0x1007, action=lambda hit: hit.__setitem__(name, selector)):
        made.run(max_instructions=2)


each_way = pytest.mark.parametrize("write", [by_name, by_batch, at_hit])


@each_way
@pytest.mark.parametrize("kind", [Ram, Rom])
@pytest.mark.parametrize(
    ("name", "access"), [("ds", 0x92), ("ds", 0x93), ("cs", 0x9A), ("cs", 0x9B), ("ss", 0x92)]
)
@pytest.mark.parametrize("watched", [False, True])
def test_a_segment_register_is_loaded_from_outside(
    write: Callable[[Board, str, int], None], kind: Callable[..., Region], name: str, access: int, watched: bool
) -> None:
    """A descriptor in ROM that is not marked as accessed is refused: the engine would end the process."""
    made = with_table(kind, access)
    if watched:
        made.machine.watch(0x2000, 64, on="access" if kind is Ram else "read", action=lambda hit: None)
    if kind is Rom and not access & 1:
        with pytest.raises(MachineError, match=f"{name} cannot be 0x18: its descriptor"):
            write(made, name, 0x18)
        assert made.machine.cpu.read_registers(("cs", name)) == [8, 8 if name == "cs" else 0x10]
        return
    write(made, name, 0x18)
    assert made.machine.cpu.read_register(name) == 0x18
    assert made.machine.memory.read(0x201D, 1)[0] == access | 1
    made.run(max_instructions=2)


@each_way
@pytest.mark.parametrize(
    ("name", "access", "base", "selector"),
    [
        ("ds", 0x93, 0x9000, 0x18),  # a table where no memory is
        ("ds", 0x93, 0x2000, 0x20),  # beyond the table
        ("ds", 0x12, 0x2000, 0x18),  # not present
        ("ss", 0x98, 0x2000, 0x18),  # code
        ("ss", 0x93, 0x2000, 0),
    ],
)
def test_a_selector_that_the_cpu_does_not_take_is_refused(
    write: Callable[[Board, str, int], None], name: str, access: int, base: int, selector: int
) -> None:
    made = with_table(Ram, access, base=base)
    before = made.machine.memory.read(0x2000, 64)
    with pytest.raises(MachineError, match=f"{name} cannot be {selector:#x}"):
        write(made, name, selector)
    assert made.machine.cpu.read_registers(("cs", name)) == [8, 0x10]
    assert made.machine.memory.read(0x2000, 64) == before


def test_an_empty_selector_needs_no_table() -> None:
    made = with_table(Ram, 0x93, base=0x9000)
    made.machine.cpu.write_register("fs", 0)
    assert made.machine.cpu.read_register("fs") == 0
