"""Any history of loads, unloads, late moves, threads and writes: every thread sees its own values, and at the end
nothing is left. A model in Python says what each block must hold."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu import Library, Machine
from emu.run.threads import Thread
from relink.errors import TlsError
from tests.fixtures import ARCHES
from tests.linker.craft import DATA, TLS, Rel, Sym, undefined
from tests.linker.craft import Library as Crafted
from tests.linker.numbers import TPOFF
from tests.machine.test_dynamic_tls import is_static, state
from tests.sampling import everything

#: (bytes, alignment) of each provider's block; together more than the static area.
BLOCKS = ((40, 8), (200, 64), (700, 16), (2400, 256), (24, 4096))
STATIC = 0x1000

STEPS = ("load", "load", "close", "write", "write", "bind", "bind", "start", "end")
st_steps = st.tuples(
    st.sampled_from(STEPS), st.integers(0, len(BLOCKS) - 1), st.integers(0, 3), st.integers(1, 255)
)


def provider(arch: str, n: int) -> bytes:
    size, align = BLOCKS[n]
    symbol = Sym(f"t{n}", 0, type=TLS, size=4)
    return Crafted(arch, f"lib{n}.so", symbols=[symbol], tls=(bytes([n + 1] * 4), size, align)).image()


def user(arch: str, n: int) -> bytes:
    """A library whose code has the offset of the provider's variable from the thread pointer in it."""
    symbol = undefined(f"t{n}", type=TLS)
    return Crafted(
        arch, f"user{n}.so", needed=[f"lib{n}.so"], symbols=[symbol], relocations=[Rel(DATA, TPOFF[arch], symbol)]
    ).image()


@dataclass
class History:
    """The machine and what its blocks must hold: the bytes threads have looked at or written."""

    machine: Machine
    threads: list[Thread]
    libraries: dict[int, Library] = field(default_factory=dict)
    users: dict[int, Library] = field(default_factory=dict)
    blocks: dict[tuple[int, int], bytes] = field(default_factory=dict)  #: (library, thread) -> its first bytes
    late: int = 0
    refused: int = 0

    def do(self, step: str, n: int, which: int, value: int) -> None:
        thread = which % len(self.threads)
        if step == "load" and n not in self.libraries:
            self.libraries[n] = self.machine.load(f"lib{n}.so")
        elif step == "close" and n in self.libraries and n not in self.users:
            self.libraries.pop(n).close()
            self.blocks = {key: each for key, each in self.blocks.items() if key[0] != n}
        elif step == "close" and n in self.users:
            self.users.pop(n).close()
        elif step == "write" and n in self.libraries:
            with self.machine.use_thread(self.threads[thread]):
                self.machine.memory.write(self.machine.tls_block(self.libraries[n].image), bytes([value] * 4))
            self.blocks[n, thread] = bytes([value] * 4)
        elif step == "bind" and n in self.libraries and n not in self.users:
            self.bind(n)
        elif step == "start" and len(self.threads) < 4:
            self.threads.append(self.machine.new_thread())
        elif step == "end" and len(self.threads) > 1:
            self.machine.exit_thread(self.threads.pop())
            self.blocks = {key: each for key, each in self.blocks.items() if key[1] < len(self.threads)}

    def bind(self, n: int) -> None:
        machine, image = self.machine, self.libraries[n].image
        was_static, before = is_static(image), state(machine)
        used = any(key[0] == n for key in self.blocks)
        problem = ""
        try:
            self.users[n] = machine.load(f"user{n}.so")
        except TlsError as error:
            problem = str(error)
        if problem:
            assert not was_static
            assert ("in use as a dynamic module" in problem) == used
            assert state(machine) == before
            self.refused += 1
            return
        assert was_static or not used
        self.late += not was_static
        assert image.tls is not None
        word = machine.arch.word_size
        stored = machine.memory.read_uint(self.users[n].image.address_of(DATA), word)
        assert stored == image.tls.offset & machine.arch.address_mask

    def check(self) -> None:
        """Where blocks are is asked only of those a thread has: asking makes them."""
        ranges = []
        for number, thread in enumerate(self.threads):
            with self.machine.use_thread(thread):
                for n, library in self.libraries.items():
                    size, align = BLOCKS[n]
                    if not is_static(library.image) and (n, number) not in self.blocks:
                        continue
                    block = self.machine.tls_block(library.image)
                    expected = self.blocks.get((n, number), bytes([n + 1] * 4))
                    assert self.machine.memory.read(block, size) == expected.ljust(size, b"\0")
                    segment = library.image.decoded.tls
                    assert segment is not None
                    assert (block - segment.vaddr) % align == 0
                    ranges.append((block, block + size))
        ranges.sort()
        assert all(high <= low for (_, high), (low, _) in pairwise(ranges))


def play(arch: str, history: list[tuple[str, int, int, int]], *, dynamic: bool) -> History:
    files = {f"lib{n}.so": provider(arch, n) for n in range(len(BLOCKS))}
    files |= {f"user{n}.so": user(arch, n) for n in range(len(BLOCKS))}
    with Machine(arch, libraries=files, tls_size=STATIC, dynamic_tls=dynamic) as machine:
        before = state(machine)
        model = History(machine, [machine.threads.main])
        for step in history:
            model.do(*step)
            model.check()
        for thread in model.threads[1:]:
            machine.exit_thread(thread)
        for library in (*model.users.values(), *model.libraries.values()):
            library.close()
        assert state(machine) == before
    return model


@pytest.mark.sample(4)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("arch", ARCHES)
def test_every_thread_sees_its_own_through_any_history(
    arch: str, dynamic: bool, request: pytest.FixtureRequest
) -> None:
    late = refused = 0
    for seed in range(12 if everything(request.config) else 4):
        choose = random.Random(seed)
        history = [
            (choose.choice(STEPS), choose.randrange(len(BLOCKS)), choose.randrange(4), choose.randrange(1, 256))
            for _ in range(80)
        ]
        model = play(arch, history, dynamic=dynamic)
        late, refused = late + model.late, refused + model.refused
    assert late or not dynamic
    assert refused


@settings(max_examples=40)
@given(dynamic=st.booleans(), history=st.lists(st_steps, min_size=5, max_size=30))
def test_the_shortest_history_that_goes_wrong(dynamic: bool, history: list[tuple[str, int, int, int]]) -> None:
    """The same; Hypothesis reports a failure with the fewest steps that show it."""
    play("x86_64", history, dynamic=dynamic)
