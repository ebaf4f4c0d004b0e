"""Traces: every call with its arguments and result, in the order of single steps; however it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from emu import Machine
from emu.debug.trace import Trace
from emu.debug.trace_calls import Call
from emu.errors import GuestFault
from emu.library import Library
from relink.errors import MachineError
from tests.fixtures import each_target
from tests.machine.test_coverage import build

_SOURCE = Path(__file__).parent / "sources" / "traced.c"
_BOTH_ENGINES = pytest.mark.parametrize("target", ["x86_64", "loongarch64"], indirect=True)


target = each_target()


@pytest.fixture
def path(target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(target, tmp_path_factory.getbasetemp(), level="-O2", source=_SOURCE)


def load(machine: Machine, path: Path, host: Callable[..., int] = lambda value, text: value) -> Library:
    return machine.load(path, symbols={"host": (host, "int host(int value, const char *text)")})


def told(trace: Trace) -> list[str]:
    """The calls, indented, without addresses, times, and what compilers add (thunks)."""
    lines = (f"{'  ' * call.depth}{call}" for call in trace.calls if "Thunk" not in call.function)
    return [re.sub("0x[0-9a-f]+", "ADDRESS", line) for line in lines]


def test_calls_have_arguments_and_results_and_end_as_they_end(machine: Machine, path: Path, target: str) -> None:
    library = load(machine, path)
    apply, last = library.function("apply", "int(void *, int)"), library.function_symbol("last").address
    with machine.trace(library) as trace:
        assert [library.jump(5), library.ask("name"), apply(last, 4)] == [5, 7, 5]
        with pytest.raises(GuestFault):
            library.fail(0)
        library.nothing()
        assert library.begin(7) == 22
    static = "…" if target == "i386" else "5"  # passed in registers there, which its prototype does not tell
    tail = "    " if target == "i386" else "      -> " if target != "thumb" else "        -> "
    assert told(trace)[:14] == [
        "jump(5) = 5",
        "  setjmp(ADDRESS) = 0",
        f"  deeper({static}) [unwound]",
        f"    leap({static}) [unwound]",
        "      longjmp(ADDRESS, 5) [unwound]",
        "  last(5) = 6",
        'ask("name") = 7',
        '  host(3, "name") = 3',
        '  host(4, "a string of more than forty characters, "…) = 4',
        "apply(ADDRESS, 4) = 5",
        "  last(4) = 5",
        "fail(NULL) [abandoned]",
        "nothing()",
        "begin(7) = 22",
    ]
    rest = told(trace)[14:]
    assert rest[:4] == [
        "  swap(pair(first=7, second=8)) = pair(first=8, second=7)",
        "  nothing()",
        "  through_tail(8) = 18",
        "    tail(8) = 17",
    ]
    assert rest[4].strip() == f"{tail.strip()} last(16) = 17".strip()
    assert rest[5:] == ["  half(9.0) = 4.5"]
    assert library.begin(7) == 22
    assert not machine.cpu.events.active


def test_times_are_instructions_and_lines_are_those_of_calls(machine: Machine, path: Path) -> None:
    library = load(machine, path)
    with machine.counting() as count, machine.trace(library) as trace:
        library.fibonacci(6)
        for call in trace.calls:
            assert call.start < call.end
            assert call.parent is None or call.parent.start <= call.start < call.end <= call.parent.end
    outermost = [call for call in trace.calls if call.parent is None]
    assert [call.function for call in outermost] == ["fibonacci"]
    assert outermost[0].end - outermost[0].start == count.instructions
    text = _SOURCE.read_text().splitlines()
    lines = {call.line.line for call in trace.calls if call.line is not None}
    assert lines
    assert all("fibonacci(n - " in text[line - 1] for line in lines)


@_BOTH_ENGINES
def test_nested_calls_from_host_functions_are_inside_them(machine: Machine, path: Path) -> None:
    library = load(machine, path, lambda value, text: value + library.last(value))
    with machine.trace(library) as trace:
        assert library.ask("x") == 16
        assert library.ask("y") == 16
    assert [(call.function, call.depth) for call in trace.calls] == [
        ("ask", 0), ("host", 1), ("last", 2), ("host", 1), ("last", 2),
    ] * 2  # fmt: skip
    assert [call.result for call in trace.calls[:3]] == ["16", "7", "4"]


@_BOTH_ENGINES
def test_what_is_traced_can_be_chosen(machine: Machine, path: Path) -> None:
    library, shown = load(machine, path), list[str]()
    with machine.trace(path.name, functions=["l*t", "tail"], show=shown.append) as trace:
        library.begin(7)
    assert [call.function for call in trace.calls] == ["tail", "last"]
    assert [line.strip().removeprefix("-> ") for line in shown[:2]] == ["tail(8)", "last(16)"]
    assert [line.strip() for line in shown[2:]] == ["= 17", "= 17"]
    with machine.trace("libother.so") as nothing:
        library.begin(7)
    assert nothing.calls == []
    given = {"last": "unsigned char(unsigned char)", "tail": "void(void)"}
    with machine.trace([library.image], functions="*", prototypes=given, most=3) as trace:
        library.begin(0x101)
    assert len(trace.calls) == 3
    assert trace.dropped == 4
    assert "4 more calls are not kept" in str(trace)
    with machine.trace(library, functions=("last", "tail"), prototypes=given) as trace:
        library.begin(0x100)
    assert [str(call).removeprefix("-> ") for call in trace.calls] == ["tail()", "last(2) = 3"]


#: A function with a part elsewhere, which it comes back from, and two of C++.
_PARTS = """
__asm__(".globl split\\n.type split,@function\\nsplit: test %edi,%edi\\njne split.cold\\n1: mov %edi,%eax\\nret\\n"
        ".size split,.-split\\n.type split.cold,@function\\nsplit.cold: inc %edi\\njmp 1b\\n"
        ".size split.cold,.-split.cold");
int split(int);
__attribute__((noinline)) int area(int x) __asm__("_ZNK5Shape4areaEi");
__attribute__((noinline)) int area(int x) { return split(x) + 1; }
__attribute__((noinline)) int hidden(int x) __asm__("_ZN12_GLOBAL__N_15twiceEi");
__attribute__((noinline)) int hidden(int x) { return area(x) + area(x); }
int run(int x) { return hidden(x) + 1; }
"""


@pytest.mark.parametrize("target", ["x86_64"], indirect=True)
def test_functions_are_named_as_in_their_source_and_have_no_parts(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "parts.c").write_text(_PARTS)
    library = machine.load(build("x86_64", tmp_path, level="-O1", source=tmp_path / "parts.c"))
    given = {"split": "int(int)"}
    with machine.trace(library, prototypes=given) as trace:
        assert library.run(3) == 11
    area = ["    Shape::area(3) = 5", "      split(3) = 4"]
    assert told(trace) == ["run(3) = 11", "  (anonymous namespace)::twice(3) = 10", *area, *area]
    with machine.trace(library, functions="Shape::*") as trace:
        library.run(3)
    assert [call.function for call in trace.calls] == ["_ZNK5Shape4areaEi"] * 2


@_BOTH_ENGINES
def test_traces_are_written_as_trees_json_and_chromes_format(machine: Machine, path: Path, tmp_path: Path) -> None:
    library = load(machine, path)
    with machine.trace(library) as trace:
        library.jump(5)
        library.ask("name")
    for name in ("a.txt", "a.json", "a.trace", "a.chrome.json"):
        trace.save(tmp_path / name)
    assert (tmp_path / "a.txt").read_text() == f"{trace}\n"
    assert (tmp_path / "a.trace").read_text() == (tmp_path / "a.chrome.json").read_text()
    calls = json.loads((tmp_path / "a.json").read_text())["calls"]
    assert [call["function"] for call in calls] == ["jump", "ask"]
    assert calls[1]["calls"][0]["arguments"] == ["3", '"name"']
    assert calls[0]["calls"][1]["outcome"] == "unwound"
    events = json.loads((tmp_path / "a.trace").read_text())["traceEvents"]
    assert [event["name"] for event in events if event["ph"] == "X"] == [call.function for call in trace.calls]
    assert all(event["dur"] >= 0 for event in events if event["ph"] == "X")


@_BOTH_ENGINES
def test_images_come_and_go_during_a_trace(machine: Machine, path: Path) -> None:
    with machine.trace(path.name) as trace:
        library = load(machine, path)
        library.nothing()
        library.close()
        library = load(machine, path)
        library.nothing()
    library.nothing()
    assert [call.function for call in trace.calls] == ["nothing"] * 2
    assert not machine.cpu.events.active


@_BOTH_ENGINES
def test_what_was_recorded_of_a_machine_remains_when_it_is_closed(machine: Machine, path: Path) -> None:
    library = load(machine, path)
    with machine.trace(library) as trace, machine.coverage(library) as coverage:
        library.nothing()
        machine.close()
    assert [call.function for call in trace.calls] == ["nothing"]
    assert any(module.blocks for module in coverage.modules.values())


@_BOTH_ENGINES
def test_a_trace_in_a_call_is_refused_and_two_do_not_disturb_each_other(machine: Machine, path: Path) -> None:
    refused: list[str] = []

    def host(value: int, text: str) -> int:
        with pytest.raises(MachineError, match="during a call") as error, machine.trace():
            pass
        refused.append(str(error.value))
        return value

    library = load(machine, path, host)
    library.ask("x")
    assert len(refused) == 2
    assert not machine.cpu.events.active
    with machine.trace(library) as outer:
        library.nothing()
        with machine.trace(library, functions="last") as inner, machine.coverage(library) as coverage:
            library.through_tail(3)
        library.nothing()
        with pytest.raises(MachineError, match="begun"):
            outer.start()
    assert [call.function for call in inner.calls] == ["last"]
    names: list[Call] = [call for call in outer.calls if "Thunk" not in call.function]
    assert [call.function for call in names] == ["nothing", "through_tail", "tail", "last", "nothing"]
    assert coverage.functions()
