"""The GDB server: its protocol on every target, and gdb-multiarch on those that it knows."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from emu import DebuggerKilled, GuestFault, Library, Machine
from emu.isa.registry import ISAS
from relink.errors import MachineError
from tests.fixtures import each_target
from tests.objects.build import compiled, linked

SOURCE = """
struct state { int hits; double ratio; } state = { 3, 0.5 };
int helper(int x) { state.hits += x; return x * 2; }
int work(int n) { int total = 0; for (int i = 0; i < n; i++) total += helper(i); return total; }
int spin(volatile int *go) { int turns = 0; do turns++; while (*go); return turns; }
int crash(int *p) { return *p; }
int go = 1;
"""
GDB = shutil.which("gdb-multiarch")


def built(target: str, kind: str) -> Path:
    made = compiled(target, SOURCE, "-g", "-O0", "-fPIC")
    return made if kind == "o" else linked(target, [made], "-soname=libwork.so")


class Client:
    """A debugger that speaks the protocol itself."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._data = b""
        assert self.ask(b"QStartNoAckMode") == b"OK"

    def send(self, packet: bytes) -> None:
        self.socket.sendall(b"$%b#%02x" % (packet, sum(packet) & 0xFF))

    def receive(self) -> bytes:
        while (found := re.search(rb"\$([^#]*)#..", self._data)) is None:
            more = self.socket.recv(1 << 16)
            assert more, "the server has closed the connection"
            self._data += more
        self._data = self._data[found.end() :]
        return found[1]

    def ask(self, packet: bytes) -> bytes:
        self.send(packet)
        return self.receive()

    def text(self, kind: bytes) -> str:
        """What qXfer has of a kind."""
        found = b""
        while True:
            part = self.ask(b"qXfer:%b:read::%x,400" % (kind, len(found)))
            found += part[1:]
            if part[:1] == b"l":
                return found.decode()

    def registers(self) -> dict[str, int]:
        """All registers, by the target description."""
        data, at, found = bytes.fromhex(self.ask(b"g").decode()), 0, {}
        for register in ElementTree.fromstring(self.text(b"features").partition('dtd">')[2]).iter("reg"):
            size = int(register.attrib["bitsize"]) // 8
            found[register.attrib["name"]] = int.from_bytes(data[at : at + size], "little")
            at += size
        assert at == len(data), "a register more, or less, than described"
        return found

    @property
    def pc(self) -> int:
        registers = self.registers()
        return next(registers[name] for name in ("pc", "rip", "eip") if name in registers)


class Session:
    """A call of the guest in a thread, under a client."""

    def __init__(self, machine: Machine, library: Library, port: int, call: Callable[[], Any]) -> None:
        self.machine, self.library, self.port = machine, library, port
        self.result: Any = None
        self._call = call

    def run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.result = error


@contextmanager
def session(target: str, function: str, *arguments: object, kind: str = "so") -> Iterator[tuple[Session, Client]]:
    """A session with the client in this thread, and the machine in another."""
    ready, done = threading.Event(), threading.Event()
    made: list[Session] = []
    path = built(target, kind)  # here: a skip in the other thread would not reach the test

    def guest() -> None:
        with Machine(target) as machine:
            library = machine.load(path)
            with machine.debug() as debugger:
                made.append(Session(machine, library, debugger.port, lambda: library[function](*arguments)))
                ready.set()
                made[0].run()
            done.wait(30)

    thread = threading.Thread(target=guest)
    thread.start()
    assert ready.wait(60)
    client = Client(made[0].port)
    try:
        yield made[0], client
    finally:
        client.socket.close()
        done.set()
        thread.join(60)
        assert not thread.is_alive()


target = each_target()


@pytest.mark.parametrize("kind", ["so", "o"])
def test_a_session_by_the_protocol(target: str, kind: str) -> None:
    with session(target, "work", 4, kind=kind) as (it, client):
        assert b"ReverseContinue+" in client.ask(b"qSupported:multiprocess+")
        assert client.ask(b"?").startswith(b"T05")
        mask = ~1 if target == "thumb" else ~0
        work, helper = (it.library.image.symbol(name).address & mask for name in ("work", "helper"))
        assert client.pc == work
        if target != "loongarch64":  # icicle belongs to its thread
            assert client.ask(b"m%x,4" % work) == it.machine.memory.read(work, 4).hex().encode()
        libraries = ElementTree.fromstring(client.text(b"libraries-svr4"))
        names = [each.attrib["name"] for each in libraries]
        assert len(names) == len(it.machine.linker.images)
        assert all(Path(name).read_bytes()[:4] == b"\x7fELF" for name in names)
        # a breakpoint, hit three times
        assert client.ask(b"Z0,%x,2" % helper) == b"OK"
        places = []
        for _ in range(3):
            assert client.ask(b"vCont;c").startswith(b"T05swbreak")
            places.append(client.pc)
        assert places == [helper] * 3
        # one instruction on, and back
        assert client.ask(b"vCont;s:1").startswith(b"T05")
        after = client.pc
        assert after != helper
        assert client.ask(b"bs").startswith(b"T05")
        assert client.pc == helper
        assert client.ask(b"s").startswith(b"T05")
        assert client.pc == after
        # back to the breakpoint that was hit before, to the one before that, and to the beginning
        assert client.ask(b"bc").startswith(b"T05swbreak")
        assert client.pc == helper
        hits = it.library.image.symbol("state").address
        values = []
        for _ in range(3):
            values.append(int.from_bytes(bytes.fromhex(client.ask(b"m%x,4" % hits).decode()), "little"))
            reply = client.ask(b"bc")
        assert values == [4, 3, 3]
        assert reply.startswith(b"T05replaylog:begin;")
        assert client.pc == work
        assert client.ask(b"bc") == b"T05replaylog:begin;thread:1;", reply
        # watched memory, which is written to
        assert client.ask(b"z0,%x,2" % helper) == b"OK"
        assert client.ask(b"Z2,%x,4" % hits) == b"OK"
        stops = [client.ask(b"c") for _ in range(4)]
        assert all(stop.startswith(b"T05watch:%x;" % hits) for stop in stops)
        assert client.ask(b"M%x,4:64000000" % hits) == b"OK"
        assert client.ask(b"z2,%x,4" % hits) == b"OK"
        assert client.ask(b"D") == b"OK"
    assert it.result == 12
    assert it.library.image.closed  # with its machine


_LINKS = {"aarch64": "x30", "riscv64": "ra", "riscv32": "ra", "loongarch64": "r1"}


def test_the_return_to_the_host_is_a_place_to_stop_and_to_go_back_from(target: str) -> None:
    """GDB's `finish` in the function that Python calls."""
    with session(target, "helper", 5) as (it, client):
        first, registers = client.pc, client.registers()
        word = it.machine.arch.word_size
        if stack := registers.get("rsp", registers.get("esp")):
            back = int.from_bytes(bytes.fromhex(client.ask(b"m%x,%x" % (stack, word)).decode()), "little")
        else:
            back = registers[_LINKS.get(target, "lr")]
        assert client.ask(b"Z0,%x,1" % back) == b"OK"
        for resumed in (b"c", b"bs", b"s", b"c"):
            assert client.ask(resumed).startswith(b"T05swbreak" if resumed == b"c" else b"T05")
            assert (client.pc == back) is (resumed != b"bs"), resumed
            if resumed == b"s":
                assert client.ask(b"bs").startswith(b"T05")
        assert client.ask(b"z0,%x,1" % back) == b"OK"
        assert client.ask(b"bc").startswith(b"T05replaylog:begin;")
        assert client.pc == first
        assert client.ask(b"D") == b"OK"
    assert it.result == 10


def test_registers_are_written_and_read_back(target: str) -> None:
    with session(target, "work", 2) as (it, client):
        registers = [each for group in ISAS[it.machine.arch.name].gdb.features.values() for each in group]
        fixed = re.compile(r"zero|r0|pc|rip|eip|r?sp|esp|r3|[er]flags|cpsr|fc.*|f.*tag|fstat|mxcsr|fp.*|.*_base")
        for number, register in enumerate(registers):
            if register.cpu is None or fixed.fullmatch(register.name):
                continue
            value = bytes(range(1, register.bits // 8 + 1)).hex().encode()
            before = client.ask(b"p%x" % number)
            assert client.ask(b"P%x=%b" % (number, value)) == b"OK", register.name
            assert client.ask(b"p%x" % number) == value, register.name
            assert client.ask(b"P%x=%b" % (number, before)) == b"OK"
        everything = client.ask(b"g")
        assert client.ask(b"G" + everything) == b"OK"
        assert client.ask(b"g") == everything
        client.send(b"k")
    assert isinstance(it.result, DebuggerKilled)


@pytest.mark.parametrize("target", ["x86_64", "arm", "riscv32", "loongarch64"])
def test_ctrl_c_stops_a_guest_that_runs(target: str) -> None:
    with session(target, "spin", 1) as (it, client):
        go = it.library.image.symbol("go").address
        number = {"x86_64": 5, "arm": 0, "riscv32": 10, "loongarch64": 4}[target]
        size = it.machine.arch.word_size
        assert client.ask(b"P%x=%b" % (number, go.to_bytes(size, "little").hex().encode())) == b"OK"
        client.send(b"c")
        time.sleep(0.3)
        client.socket.sendall(b"\x03")
        assert client.receive().startswith(b"T02")
        start, end = (it.library.image.symbol(name).address for name in ("spin", "crash"))
        assert start & ~1 <= client.pc < end
        assert client.ask(b"M%x,4:00000000" % go) == b"OK"
        client.send(b"c")
        assert client.receive() == b"W00"
    assert it.result > 0


def test_a_fault_is_shown_before_it_ends_the_call(target: str) -> None:
    with session(target, "crash", None) as (it, client):
        assert client.ask(b"c").startswith(b"T0b")
        assert client.pc > it.library.image.symbol("crash").address & ~1
        assert client.ask(b"bs").startswith(b"T05")
        client.send(b"D")
        assert client.receive() == b"OK"
    assert isinstance(it.result, GuestFault)
    assert it.result.frame.symbol == "crash"


def test_a_debugger_that_goes_away_lets_the_guest_run_on() -> None:
    with session("x86_64", "work", 4) as (it, client):
        helper = it.library.image.symbol("helper").address
        assert client.ask(b"Z0,%x,1" % helper) == b"OK"
    assert it.result == 12


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        (b"m0,4", b"E01"), (b"mxyz", b"E01"), (b"M0,4:00000000", b"E01"), (b"P999=00", b"E01"), (b"p999", b"E01"),
        (b"Z9,0,1", b"E01"), (b"Z0,10,1", b"E01"), (b"Z2,10,4", b"E01"), (b"z0,1234,1", b"E01"),
        (b"Z2,10,0", b"E01"), (b"qXfer:features:read::zz", b"E01"), (b"qXfer:nothing:read::0,10", b""),
        (b"vMustReplyEmpty", b""), (b"!", b""), (b"G00", b"OK"), (b"", b""), (b"qAttached", b"1"),
    ],
)  # fmt: skip
def test_bad_packets_are_answered_and_change_nothing(packet: bytes, answer: bytes) -> None:
    with session("riscv64", "work", 3) as (it, client):
        before = client.ask(b"g")
        assert client.ask(packet) == answer
        if packet != b"G00":
            assert client.ask(b"g") == before
        client.socket.sendall(b"garbage$g#00+-$g#")  # a wrong checksum, and half a packet
        client.socket.sendall(b"67")
        assert client.receive() == client.ask(b"g")
        assert client.ask(b"D;1") == b"OK"
    assert it.result == 6


def test_memory_is_read_up_to_where_it_ends() -> None:
    with session("aarch64", "work", 1) as (it, client):
        region = it.machine.memory.region_at(it.machine.stack.bottom)
        assert region is not None
        assert client.ask(b"m%x,20" % (region.end - 8)) == it.machine.memory.read(region.end - 8, 8).hex().encode()


def test_calls_in_host_functions_and_later_calls_are_of_one_session() -> None:
    source = "int ask(int);\nint inner(int x) { return x + 1; }\nint outer(int x) { return ask(x) + 1; }\n"
    library = linked("x86_64", [compiled("x86_64", source, "-g", "-O1", "-fPIC")])
    with Machine("x86_64") as machine:
        lib = machine.load(library, symbols={"ask": lambda x: lib.inner(x)})
        with machine.debug() as debugger:
            client: list[Client] = []
            inner = lib.image.symbol("inner").address

            def drive() -> None:
                client.append(Client(debugger.port))
                assert client[0].ask(b"Z0,%x,1" % inner) == b"OK"
                for _ in range(2):  # the entry of the second call is a stop of its own
                    assert client[0].ask(b"c").startswith(b"T05swbreak")
                    assert client[0].pc == inner
                    reply = client[0].ask(b"c")
                    if reply == b"W00":
                        break
                    assert reply.startswith(b"T05")

            thread = threading.Thread(target=drive)
            thread.start()
            assert [lib.outer(1), lib.outer(2)] == [3, 4]
        thread.join(30)
        assert not thread.is_alive()
        assert lib.outer(5) == 7


def test_a_machine_has_one_debugger_and_listens_on_the_loopback_interface_only() -> None:
    with Machine("x86_64") as machine, machine.debug() as debugger:
        assert debugger._socket.getsockname()[0] == "127.0.0.1"
        with pytest.raises(MachineError, match="under a debugger already"):
            machine.debug()
        with Machine("arm") as other, pytest.raises(OSError, match=r"(?i)in use"):
            other.debug(port=debugger.port)


def test_a_debugger_leaves_what_watched_calls_before_it() -> None:
    with Machine("x86_64") as machine:
        runner: Any = machine.runner
        plain, own = runner.call_planned, lambda *args: plain(*args)
        machine.debug().close()
        assert "call_planned" not in vars(runner)
        runner.call_planned = own
        machine.debug().close()
        assert runner.call_planned is own


# ---------------------------------------------------------------- GDB itself


@pytest.mark.skipif(GDB is None, reason="needs gdb-multiarch, of Debian's package of that name")
@pytest.mark.parametrize("kind", ["so", "o"])
def test_gdb_breaks_steps_reads_lists_and_goes_back(target: str, kind: str) -> None:
    if target == "loongarch64":
        pytest.skip("GDB 13 of Debian knows no LoongArch")
    with Machine(target) as machine:
        library = machine.load(built(target, kind))
        with machine.debug() as debugger:
            commands = [
                "set pagination off", "set sysroot /", f"target remote 127.0.0.1:{debugger.port}", "sharedlibrary",
                "info sharedlibrary", "break helper", "continue", "continue", "backtrace", "print x",
                "print state", "finish", "print state.hits", "watch state.hits", "delete 1", "continue", "delete",
                "stepi", "reverse-stepi", "break helper", "reverse-continue", "print x", "print state.hits",
                "reverse-continue", "reverse-continue", "reverse-continue", "info symbol $pc", "delete",
                "print state.hits = 1000", "finish", "continue",
            ]  # fmt: skip
            arguments = [word for command in commands for word in ("-ex", command)]
            gdb = subprocess.Popen(
                [str(GDB), "-nx", "-batch", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert library.work(4) == 12
        told = gdb.communicate(timeout=60)[0]
        hits = library.symbols["state"].value.hits
    assert hits == 1006, told
    for expected in (
        r"0x[0-9a-f]+  0x[0-9a-f]+  Yes ",  # the library's symbols
        r"Breakpoint 1, (0x[0-9a-f]+ in )?helper \(x=1\)",
        r"#0  (0x[0-9a-f]+ in )?helper \(x=1\).*\n#1  0x[0-9a-f]+ in work \(n=4\)",
        r"\$1 = 1\n\$2 = \{hits = 3, ratio = 0\.5\}",
        r"Value returned is \$3 = 2\n\$4 = 4",
        r"Old value = 4\nNew value = 6",
        r"Breakpoint 3, (0x[0-9a-f]+ in )?helper \(x=2\).*\n.*\n\$5 = 2\n\$6 = 4",
        r"No more reverse-execution history",
        r"work in section \.text",
        r"Value returned is \$8 = 12",
        r"exited normally",
    ):
        assert re.search(expected, told), f"{expected}\n{told}"
