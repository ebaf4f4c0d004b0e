"""Instructions are counted exactly, whatever they are and whatever ends a run; so limits are reached exactly."""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import Machine
from emu.cpu.protocol import Protection, StopReason
from emu.cpu.unicorn import api as unicorn_api
from emu.cpu.unicorn.cpu import UnicornCpu
from emu.errors import BudgetExceeded
from tests import sampling
from tests.assembler import assembled
from tests.fixtures import arch_of
from tests.machine.loops import Loops, build_loops, load_loops
from toolchains.targets import TARGETS

from .guests import CODE, DATA, GUESTS, PAGE, RX, Bench, page_buffer, words

MANY = 1 << 40


def in_steps(bench: Bench, entry: int, most: int) -> tuple[StopReason, int, int]:
    """Run `most` instructions at a time: why it ended, where, how many there were. Each step is exact."""
    pc, total = entry, 0
    while True:
        stop = bench.cpu.run(pc, max_instructions=most)
        total += bench.cpu.executed
        if stop.reason is not StopReason.INSTRUCTION_LIMIT:
            return stop.reason, stop.pc, total
        assert bench.cpu.executed == most
        pc = bench.cpu.read_register("pc")


def test_what_runs_is_counted_whatever_ends_it(bench: Bench) -> None:
    """Not what faults, but a system call."""
    guest = bench.guest
    for name in [*guest.programs, *guest.extra]:
        if name in ("spin", "call forever"):
            continue
        entry = bench.load(name)
        bench.load("add 1", CODE + 0x200)

        def prepare(name: str = name) -> None:
            calls = name in ("call", "jump", "flags")
            bench.prepare(address=(CODE + 0x200 if calls else DATA) | guest.entry_bit * calls)

        prepare()
        stop = bench.cpu.run(entry, max_instructions=MANY)
        whole = stop.reason, stop.pc, bench.cpu.executed
        # Unicorn calls a third #DE in a row a triple fault, and only that the machine has stopped.
        for most in (1,) if name == "divide" else (1, 2, 3):
            prepare()
            assert in_steps(bench, entry, most) == whole, (name, most)


def test_a_program_of_another_length_in_its_place_is_counted_as_it_is(bench: Bench) -> None:
    """Written by the host and by the guest itself: as many bytes, but not as many instructions."""
    forms = {
        "x86": ("90 90 90 c3", "66 90 90 c3", 4, 3),
        "thumb": ("00bf 00bf 7047 00bf", "aff30080 7047 00bf", 3, 2),
        "riscv": ("0100 0100 8280 0100", "13000000 8280 0100", 3, 2),
    }
    kind = {"x86_64": "x86", "i386": "x86", "riscv64": "riscv", "riscv32": "riscv"}.get(bench.guest.name, "thumb")
    if kind == "thumb" != bench.guest.name:
        pytest.skip("all its instructions have four bytes")
    first, second, one, two = forms[kind]
    here, store = CODE + 0x400, bench.load("store")
    entry = here | bench.guest.entry_bit

    def count() -> int:
        bench.prepare()
        assert bench.cpu.run(entry, max_instructions=MANY).reason is StopReason.TRAP
        return bench.cpu.executed

    for _ in range(2):
        for form, expected in ((first, one), (second, two)):
            bench.cpu.write(here, bytes.fromhex(form))
            assert [count(), count()] == [expected] * 2
    bench.cpu.protect(CODE, PAGE, RX | Protection.W)
    for form, expected in ((first, one), (second, two), (first, one)):
        bench.prepare(value=int.from_bytes(bytes.fromhex(form)[: bench.guest.word], "little"), address=here)
        bench.cpu.run(store)  # with no limit: nothing is counted then
        assert [count(), count()] == [expected] * 2


@pytest.mark.parametrize("bench", ["x86_64", "i386", "thumb", "riscv64"], indirect=True)
def test_thousands_of_blocks_are_counted(bench: Bench) -> None:
    jump = {"thumb": "ffe7", "riscv64": "09a0"}.get(bench.guest.name, "eb00")  # to the next instruction
    back = bench.guest.code("return")
    count = (4 * PAGE - len(back)) // 2
    code = bytes.fromhex(jump) * count + back
    bench.cpu.map(0x10_0000, 4 * PAGE, RX, page_buffer(4 * PAGE, code))
    for _ in range(2):
        bench.prepare()
        assert bench.cpu.run(0x10_0000 | bench.guest.entry_bit, max_instructions=MANY).reason is StopReason.TRAP
        assert bench.cpu.executed == count + 1
    bench.prepare()
    assert in_steps(bench, 0x10_0000 | bench.guest.entry_bit, 997)[2] == count + 1


@pytest.mark.parametrize("bench", ["x86_64", "i386"], indirect=True)
@pytest.mark.parametrize(
    ("text", "rounds"),
    [("rep movsb", 100), ("rep stosb", 100), ("repe cmpsb", 100), ("repne scasb", 100), ("rep movsb", 0)],
)
def test_each_round_of_a_repeated_instruction_counts(bench: Bench, text: str, rounds: int) -> None:
    bench.cpu.write(CODE, assembled(bench.guest.name, f"mov ecx, {rounds}; {text}; nop; ret"))
    names = ("rsi", "rdi", "rax") if bench.guest.word == 8 else ("esi", "edi", "eax")

    def prepare() -> None:
        bench.prepare()
        bench.cpu.write_registers(zip(names, (DATA, DATA + PAGE, 1), strict=True))

    prepare()
    assert bench.cpu.run(CODE, max_instructions=MANY).reason is StopReason.TRAP
    whole = bench.cpu.executed
    assert rounds + 2 < whole <= rounds + 5  # a round more finds that none is left
    for most in (1, 7, 50):
        prepare()
        assert in_steps(bench, CODE, most) == (StopReason.TRAP, bench.cpu._trap_start, whole)  # type: ignore[attr-defined]


@pytest.mark.parametrize("bench", ["thumb"], indirect=True)
@pytest.mark.parametrize("value", [0, 1])
def test_a_run_goes_on_from_each_place_of_an_it_block(bench: Bench, value: int) -> None:
    block = "itete eq; addeq r2, #1; addne r2, #2; addeq r2, #4; addne r2, #8"
    bench.cpu.write(CODE, assembled("thumb", f"movs r2, #0; cmp r0, #1; {block}; mov r0, r2; bx lr"))
    for most in range(1, 10):
        bench.prepare(value=value)
        assert in_steps(bench, CODE | 1, most)[2] == 9
        assert bench.value == (5 if value else 10)


def test_what_interrupts_a_run_does_not_change_the_count(bench: Bench) -> None:
    """The watchdog's stops at blocks, and those at new ones."""
    entry = bench.load("nops")
    bench.cpu._every = 2  # type: ignore[attr-defined]  # as under --stop-every 1
    for limit in range(1, 12):
        bench.prepare()
        bench.cpu.run(entry, max_instructions=limit)
        assert bench.cpu.executed == min(limit, 9)


def test_after_a_limit_the_cut_block_runs_whole_again(bench: Bench) -> None:
    entry = bench.load("nops")
    bench.prepare()
    bench.cpu.run(entry, max_instructions=4)
    bench.prepare()
    assert bench.cpu.run(entry).reason is StopReason.TRAP


@pytest.mark.parametrize("bench", ["x86_64"], indirect=True)
def test_code_that_changes_the_block_it_is_in_comes_to_its_limit(bench: Bench) -> None:
    bench.cpu.protect(CODE, PAGE, RX | Protection.W)
    bench.cpu.write(
        CODE, assembled("x86_64", "again: inc byte ptr [rip + 3]; nop; nop; mov al, 0; jmp again", CODE)
    )
    bench.prepare()
    stop = bench.cpu.run(CODE, max_instructions=1000)
    assert stop.reason is StopReason.INSTRUCTION_LIMIT
    assert bench.cpu.executed == 1000


@pytest.fixture(params=TARGETS)
def library_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"loops-{request.param}.so"
    return request.param, path if path.exists() else build_loops(request.param, folder)


class Oracle:
    """Counts a CPU's instructions by a hook before each, as Unicorn itself does."""

    def __init__(self, cpu: UnicornCpu) -> None:
        from emu.cpu.hooks.stop_hook import stop_hook

        self._request = unicorn_api.stop_request()
        self._request.left = 1 << 60
        hook, data = ctypes.c_void_p(stop_hook()), ctypes.byref(self._request)
        unicorn_api.control(cpu._handle, unicorn_api.uc.UC_CTL_TB_FLUSH)
        unicorn_api.add_hook(cpu._handle, unicorn_api.uc.UC_HOOK_CODE, hook, data)

    def take(self) -> int:
        count, self._request.left = (1 << 60) - self._request.left, 1 << 60
        return count


def test_long_loops_are_counted_as_by_a_hook_before_each_instruction(library_path: tuple[str, Path]) -> None:
    target, path = library_path
    if target == "loongarch64":
        pytest.skip("icicle has no hooks")
    with Machine(arch_of(target)) as machine:
        library = load_loops(machine, path)
        loops = Loops(machine, library, 3000, 500)
        machine.runner.max_instructions = MANY
        loops.computed()  # so that both look at code that has been translated
        assert isinstance(machine.cpu, UnicornCpu)
        oracle = Oracle(machine.cpu)
        for name, arguments in (("adler32", (1, loops._address, 3000)), ("count", (500,)), ("follow", (500,))):
            prototype = (
                "uint32_t(uint32_t, const void *, uint32_t)" if len(arguments) == 3 else "uint32_t(uint32_t)"
            )
            library.function(name, prototype)(*arguments)
            executed, counted = machine.runner.executed, oracle.take()
            assert executed is not None
            if target == "thumb":  # which does not call it for what an IT block leaves out
                assert counted <= executed < 1.3 * counted
            else:
                assert executed == counted, name


def test_a_limit_holds_over_host_functions_and_nested_calls(library_path: tuple[str, Path]) -> None:
    """A call takes what it takes: with a limit of just that it ends, with one less it does not."""
    target, path = library_path
    with Machine(arch_of(target)) as machine:
        inside: list[object] = []

        def host(value: int) -> int:
            inside.append(library.function("count", "uint32_t(uint32_t)")(50))
            return value

        library = load_loops(machine, path, host)
        around = library.function("around_host", "uint32_t(uint32_t)")
        answer = around(30, max_instructions=MANY)
        needed = machine.runner.executed
        assert needed is not None
        hosts = 2 * len(inside)  # the import, and the return out of the nested call is none
        charged = next(n for n in range(needed, needed + 10 * hosts + 10) if _ends(around, n, answer))
        assert needed < charged <= needed + hosts
        with pytest.raises(BudgetExceeded, match=f"{charged - 1} instructions") as stopped:
            around(30, max_instructions=charged - 1)
        assert stopped.value.executed is not None
        assert needed - 200 < stopped.value.executed <= needed
        assert around(30) == answer
        assert machine.runner.executed is None


def _ends(call: object, limit: int, answer: object) -> bool:
    assert callable(call)
    try:
        return bool(call(30, max_instructions=limit) == answer)
    except BudgetExceeded:
        return False


@pytest.mark.sample(2)
def test_answers_and_counts_are_the_same_in_slices(library_path: tuple[str, Path]) -> None:
    target, path = library_path
    with Machine(arch_of(target)) as machine:
        library = load_loops(machine, path)
        (size,) = sampling.each_or([100], [300])
        loops = Loops(machine, library, size, 60)
        adler = library.function("adler32", "uint32_t(uint32_t, const void *, uint32_t)")
        adler(1, loops._address, size, max_instructions=MANY)
        whole = machine.runner.executed
        run, counted = machine.cpu.run, 0

        def in_pieces(pc: int, **_: object) -> object:
            nonlocal counted
            while True:
                stop = run(pc, max_instructions=17)
                counted += machine.cpu.executed
                if stop.reason is not StopReason.INSTRUCTION_LIMIT:
                    return stop
                pc = machine.cpu.read_register("pc")

        machine.cpu.run = in_pieces  # type: ignore[method-assign, assignment]
        assert adler(1, loops._address, size) == zlib.adler32(loops._data)
        assert counted == whole
        assert loops.computed() == loops.expected()


@pytest.fixture
def fresh() -> Iterator[Bench]:
    bench = Bench(GUESTS["aarch64"])
    yield bench
    bench.cpu.close()


def test_a_limit_is_kept_to_the_last_instruction_of_a_page(fresh: Bench) -> None:
    code = words(0xD503201F) * (2 * PAGE // 4 - 1) + words(0xD65F03C0)
    fresh.cpu.map(0x10_0000, 2 * PAGE, RX, page_buffer(2 * PAGE, code))
    for limit in (511, 512, 513, 1023, 1024, 1025, 2047):
        fresh.prepare()
        stop = fresh.cpu.run(0x10_0000, max_instructions=limit)
        assert (stop.reason, stop.pc) == (StopReason.INSTRUCTION_LIMIT, 0x10_0000 + 4 * limit)
    fresh.prepare()
    assert fresh.cpu.run(0x10_0000, max_instructions=2048).reason is StopReason.TRAP
    assert fresh.cpu.executed == 2048
