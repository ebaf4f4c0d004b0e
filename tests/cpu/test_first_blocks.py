"""The first block of a run is inspected before it runs, whatever asks the engine to stop at that time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from emu import Machine
from emu.cpu.corrections.find_x86 import X86
from emu.cpu.corrections.finders import FINDERS
from emu.cpu.hooks.inspector import Inspector
from emu.cpu.hooks.stop_hook import StopRequest
from emu.cpu.misrun import Guard, Misrun, up_to_branch
from emu.cpu.protocol import Protection, StopReason
from emu.cpu.unicorn.cpu import UnicornCpu
from emu.errors import GuestFault
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

#: A function whose first instruction is refused, and one that may run.
CODES = {
    "x86_64": (".byte 0x62, 0xf1, 0x7d, 0x48, 0xfe, 0xc1\n ret", "mov %edi, %eax\n ret"),
    "i386": (".byte 0xc5, 0xf1, 0xfe, 0xd0\n ret", "mov 4(%esp), %eax\n ret"),
    "riscv64": (".short 0x9d75\n ret", "ret"),
    "riscv32": (".short 0x9d75\n ret", "ret"),
}


@pytest.mark.parametrize("arch", CODES)
@pytest.mark.parametrize("limit", [0, 1000])
def test_a_request_to_stop_lets_no_first_block_run_without_inspection(
    arch: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from the watchdog's thread, at any time: before each run of the engine."""
    refused, runs = CODES[arch]
    code = f".globl bad, good\nbad: {refused}\ngood: {runs}\n"
    with Machine(arch) as machine:
        library = machine.load(compiled(arch, code, language="assembler"))
        bad, good = (library.function(name, f"int {name}(int)") for name in ("bad", "good"))
        cpu, requests = machine.cpu, list[object]()
        cpu.read_register("pc")  # has the engine made
        assert isinstance(cpu, UnicornCpu)
        real = cpu._engine_run.run

        def requested() -> int:
            requests.append(cpu._watch.request())
            return real()

        monkeypatch.setattr(cpu._engine_run, "run", requested)
        for _ in range(3):
            with pytest.raises(GuestFault, match="invalid instruction") as caught:
                bad(1, max_instructions=limit)
            assert caught.value.pc == bad.address
            assert good(7, max_instructions=limit) == 7
        assert len(requests) > 6


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "loongarch64"])
def test_functions_that_have_never_run_take_the_short_way(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their first blocks pass in the run itself, and on Arm the page of many functions is searched once."""
    counts = Counter[str]()

    def counted(owner: type, name: str) -> None:
        real = getattr(owner, name)

        def call(*arguments: object) -> object:
            counts[name] += 1
            return real(*arguments)

        monkeypatch.setattr(owner, name, call)

    source = "".join(f"int f{n}(int v) {{ return v + {n}; }}\n" for n in range(20))
    with Machine(arch_of(target)) as machine:
        library = machine.load(compiled(target, source, "-Wno-missing-prototypes"))
        functions = [library.function(f"f{n}", "int(int)") for n in range(20)]
        assert functions[0](1) == 1
        counted(UnicornCpu, "_run_on")
        counted(Inspector, "_fetch")
        assert [function(1) for function in functions[1:]] == list(range(2, 21))
    assert not counts


@pytest.mark.parametrize("arch", CODES)
def test_a_first_block_that_a_signal_handler_has_kept_from_running_has_not_passed(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Machine(arch) as machine:
        code = f".globl first, second\nfirst: {CODES[arch][1]}\nsecond: {CODES[arch][1]}\n"
        library = machine.load(compiled(arch, code, language="assembler"))
        first, second = (library.function(name, f"int {name}(int)") for name in ("first", "second"))
        assert first(7) == 7
        cpu = machine.cpu
        assert isinstance(cpu, UnicornCpu)
        assert cpu._inspector is not None

        def interrupted() -> int:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(cpu._engine_run, "run", interrupted)
            with pytest.raises(KeyboardInterrupt):
                second(7)
        assert first(7) == 7
        assert second.address not in cpu._inspector.known
        assert second(7) == 7


class _NoEngine:
    """An engine that is never told to stop: nothing is found in the code."""

    edges, instructions, inexact = StopRequest(), StopRequest(), StopRequest()

    def hook_instruction(self, address: int, request: StopRequest, guard: Guard | None = None) -> None: ...
    def drop(self, low: int, high: int) -> None: ...
    def block_size(self, pc: int) -> int:
        return 4


def test_code_that_has_changed_is_searched_again() -> None:
    """The page, or the next one, in which its last instruction may end."""
    read = list[int]()

    def fetch(address: int, size: int) -> bytes:
        read.append(address)
        return bytes(size)

    inspector = Inspector(lambda code, address, **_: iter(()), _NoEngine(), fetch, align=2, anywhere=True)
    changed = (0, 0), (0x1FFC, 0x2000), (0x2004, 0x2008), (0x3000, 0x3004), (0x0, 0x1000)
    for number, where in enumerate(changed):
        inspector.forget(*where)
        inspector.begin(0x1000 + 8 * number)
    assert read == [0x1000] * 3  # at first, and after the second and the third change
    inspector.begin(0x1000 + 8 * len(changed) | 1)  # in Thumb state
    assert read == [0x1000] * 4
    inspector.find_by(lambda code, address, **_: iter(()))
    inspector.begin(0x1000)
    assert read == [0x1000] * 5


def test_nothing_is_kept_of_code_that_has_gone() -> None:
    inspector = Inspector(lambda code, address, **_: iter(()), _NoEngine(), lambda address, size: bytes(size))
    for page in range(0x1000, 0x100000, 0x1000):
        inspector.begin(page)
        inspector.begin(page + 8)
        inspector.forget(page, page + 0x1000)
    assert not inspector.known
    assert not inspector._known_by_page


_LIKELY = bytes.fromhex("0faec7383a48669fdfe0ddd9c4c5628f01b190f0ff89c875c377f8")


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_up_to_the_first_branch_the_same_is_found_and_nothing_from_plain_addresses(arch: str) -> None:
    rng, find = random.Random(2), FINDERS[arch]
    plain = Counter[bool]()

    def described(found: Iterable[Misrun]) -> list[tuple[object, ...]]:
        return [(each.address, each.size, each.run is None, each.needs, each.guard) for each in found]

    for _ in range(2000):
        code = bytes(rng.choice(_LIKELY) for _ in range(rng.randrange(1, 40))) + rng.randbytes(40)
        found, starts = up_to_branch(find, code, 0x1000)
        assert described(found) == described(find(code, 0x1000, to_branch=True))
        plain[bool(starts)] += 1
        for start in starts:
            assert [*find(code[start - 0x1000 :], start, to_branch=True)] == []
    assert min(plain[True], plain[False]) > 100


def test_an_instruction_of_code_that_changes_itself_costs_the_same_in_a_long_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a store to its page, the rest of the block is looked at once, and not the rest of the page."""
    sizes = list[int]()
    real = X86.up_to_branch

    def noted(finder: X86, code: bytes, address: int) -> tuple[list[Misrun], list[int]]:
        found, starts = real(finder, code, address)
        sizes.append(len(starts))
        return found, starts

    monkeypatch.setattr(X86, "up_to_branch", noted)
    #: The store is of what is there: xchg eax, eax.
    code = "change: mov %eax, 1f(%rip)\n" + "nop\n" * 200 + "1: nop\nnop\nnop\nnop\ndec %ecx\njnz change\nret\n"
    with Machine("x86_64") as machine:
        place = machine.memory.map_anonymous(4096, Protection.R | Protection.W | Protection.X)
        library = machine.load(compiled("x86_64", f".globl change\n{code}", language="assembler"))
        machine.memory.write(place, machine.memory.read(library.function("change", "void(void)").address, 300))
        machine.cpu.write_registers({"rax": 0x90909090, "rcx": 3})
        pc, steps = place, 0
        while pc != place or machine.cpu.read_register("rcx") == 3 or steps == 0:
            stop = machine.cpu.run(pc, max_instructions=1)
            assert stop.reason is StopReason.INSTRUCTION_LIMIT
            pc, steps = stop.pc, steps + 1
        assert steps == 207
    assert 1 <= len(sizes) <= 4
    assert sum(sizes) <= 3 * steps


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_blocks_that_limits_cut_again_and_again_are_looked_through_once(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In more places than there are hooks for limits: they are translated anew for each."""
    code = "turn: " + "inc %eax\ntest %ebx, %ebx\njnz 1f\n" * 60 + "dec %ecx\njnz turn\n1: ret\n"
    looked, real = list[int](), X86.__call__

    def noted(finder: X86, code: bytes, address: int, *, to_branch: bool = False) -> Iterator[Misrun]:
        looked.append(address)
        return real(finder, code, address, to_branch=to_branch)

    monkeypatch.setattr(X86, "__call__", noted)
    with Machine(arch) as machine:
        library = machine.load(compiled(arch, f".globl turn\n{code}", language="assembler"))
        pc = library.function("turn", "void(void)").address
        letter = "r" if arch == "x86_64" else "e"
        machine.cpu.write_registers({f"{letter}cx": 1000, f"{letter}bx": 0})
        counts = []
        for _ in range(3):
            looked.clear()
            for _ in range(20 * 182 // 17):
                pc = machine.cpu.run(pc, max_instructions=17).pc
            counts.append(len(looked))
    assert counts[0] > 60, "the counter counts"
    assert counts[2] == 0
