"""Ctrl-C in the middle of loads, processes made from this one, and Python's development mode."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from emu import Machine
from emu.errors import BudgetExceeded, GuestFault
from relink.errors import ElfError, UnresolvedSymbol
from relink.module import Stage
from tests.fixtures import arch_of, fixture
from tests.fuzz.state import state

_IN_MAIN_THREAD = pytest.mark.skipif(
    "threading.current_thread() is not threading.main_thread()", reason="signals arrive in the main thread alone"
)

#: How many loads are interrupted; RELINK_INTERRUPTS asks for more.
ROUNDS = int(os.environ.get("RELINK_INTERRUPTS", "40"))


@_IN_MAIN_THREAD
@pytest.mark.usefixtures("interruptible")
@pytest.mark.not_taken_back("interrupts loads, and would interrupt the comparison")
@pytest.mark.parametrize("target", ["x86_64", "aarch64", "loongarch64"])
def test_ctrl_c_in_a_load_leaves_nothing_behind(target: str) -> None:
    """Wherever it comes: while files are decoded, linked, published, and constructors run."""
    dice, interrupted = random.Random(target), 0
    path = fixture(target, "ctors")
    with Machine(arch_of(target)) as machine:

        def load() -> float:
            begin = time.perf_counter()
            library = machine.load(path, allow_unresolved=True)
            seconds = time.perf_counter() - begin
            machine.unload(library.image)
            return seconds

        seconds = min(load() for _ in range(5))
        before = state(machine)
        for number in range(20 * ROUNDS):  # on a busy machine many signals come late
            if number >= ROUNDS and interrupted > 3:
                break
            timer = threading.Timer(dice.uniform(0, seconds), os.kill, (os.getpid(), signal.SIGINT))
            library = None
            try:
                timer.start()
                library = machine.load(path, allow_unresolved=True)
                timer.join()
                time.sleep(0.001)  # one that comes late is not for the next round
            except KeyboardInterrupt:
                interrupted += library is None
            finally:
                timer.join()
            if library is not None:
                machine.unload(library.image)
            elif machine.linker.images:  # it was complete, and had not returned yet
                (image,) = machine.linker.images
                assert image.stage is Stage.INITIALISED
                machine.unload(image)
            assert state(machine) == before
        load()
        assert state(machine) == before
    assert interrupted > 3


def _loads(target: str, kind: str) -> object:
    """What a worker does."""
    with Machine(arch_of(target), timeout=5) as machine:
        if kind == "unresolved":
            machine.load(fixture(target, "basic"))
        if kind == "not ELF":
            machine.load(b"text")
        library = machine.load(fixture(target, "faults" if kind == "fault" else "basic"), allow_unresolved=True)
        if kind == "fault":
            return library.function("null_read", "int(void)")()
        if kind == "late":
            return machine.call(
                machine.define("f", (lambda: time.sleep(0.2), "void(void)")), "void(void)", timeout=0.1
            )
        return library.function("add", "int(int, int)")(20, 22)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_answer_and_their_errors_come_back(method: str) -> None:
    expected = {"unresolved": UnresolvedSymbol, "not ELF": ElfError, "fault": GuestFault, "late": BudgetExceeded}
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(_loads, ("riscv64", "answer")).get(60) == 42
        for kind, error in expected.items():
            with pytest.raises(error):
                pool.apply_async(_loads, ("riscv64", kind)).get(60)
        assert pool.apply_async(_loads, ("loongarch64", "answer")).get(60) == 42


def test_pythons_development_mode_has_nothing_to_say() -> None:
    """No warning (ResourceWarning, DeprecationWarning …), which would be an error here, from import to exit."""
    script = f"""
        from emu import Machine
        from emu.cli.app import run
        from emu.errors import BudgetExceeded
        from relink.errors import RelinkError

        for path in {[str(fixture(target, "basic")) for target in ("x86_64", "arm", "loongarch64")]}:
            with Machine.for_file(path, timeout=60) as machine:
                library = machine.load(path, symbols={{"my_host_function": (lambda value: 2 * value, "int(int)")}})
                assert library.function("add", "int(int, int)")(20, 22) == 42
                assert library.function("add", "int(int, int)")(20, 22, max_instructions=1000) == 42
                for bad in (b"text", path + "/none"):
                    try:
                        machine.load(bad)
                    except RelinkError:
                        pass
            for command in ("inspect", "load --allow-unresolved", "tree --json", "map --allow-unresolved"):
                assert run([*command.split(), path]) == 0
    """
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
