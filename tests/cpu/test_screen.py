"""New blocks that run without inspection have nothing that an inspection would find."""

from __future__ import annotations

import ctypes
import random

import pytest

from emu.cpu.corrections.find_riscv import _reserved
from emu.cpu.corrections.finders import FINDERS
from emu.cpu.corrections.screens import tables_of
from emu.cpu.hooks.screen import MOST, NOWHERE, Screen, screen_hook
from emu.cpu.hooks.stop_hook import StopRequest
from tests.fixtures import TARGETS, arch_of, fixture

BEGIN = 0x1000
_STOP = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)
_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
#: Instructions that are found, by architecture.
WRONG = {
    "x86_64": [
        "c5f8 58c1",
        "62f1 7c48 58c1",
        "0fae 10",
        "d9fe",
        "0f53 c1",
        "66 0f3a 63c1 0c",
        "4c 9f",
        "f0 8906",
        "0fbcc1",
        "f2 0fbdc1",
        "f2 0fbdc1 c5f8 58c1",
        "0f1ac1 c5f8 58c1",
        "66f3 0f10c1",
        "fa",
        "8cc8",
    ],
    "i386": ["0fae 18", "d9ff", "0f52 c1", "660f3a 0bc1 08", "dbe8 9c", "0f77", "f0 01c8", "0e"],
    "aarch64": ["4140 2038".replace(" ", ""), "4150 6078", "7f4000d5", "001038d5", "df4f03d5", "20421bd5"],
    "arm": ["c00ab a0e".replace(" ", ""), "000d 21fd"],
    "riscv64": ["0080", "7321 10c0", "5305 b528"],
    "riscv32": ["0080", "7321 10c0"],
}


class _Block(ctypes.Structure):
    _fields_ = (("address", ctypes.c_uint64), ("count", ctypes.c_uint16), ("size", ctypes.c_uint16))


class Hook:
    """The hook with an engine that has nothing but code."""

    def __init__(self, arch: str) -> None:
        address = screen_hook()
        if address is None:
            pytest.skip("this host has no hook")
        self._hook, self._code = _HOOK(address), b""
        self._stop, self._read = _STOP(lambda engine: None), _READ(self._copy)
        self.request = StopRequest(stop=ctypes.cast(self._stop, ctypes.c_void_p))
        self.first = StopRequest()
        read = ctypes.cast(self._read, ctypes.c_void_p).value
        self.screen = Screen.of(tables_of(arch), self.request, self.first, read)
        self.readable = True

    def _copy(self, engine: object, address: int, place: int, size: int) -> int:
        ctypes.memmove(place, self._code, size)
        return 0 if self.readable else 1

    def passes(self, code: bytes) -> bool:
        self._code = code
        self.request.left, self.request.stopped = 1, 0
        block = _Block(BEGIN, 1, len(code))
        self._hook(None, ctypes.byref(block), None, ctypes.byref(self.screen))
        return not self.request.stopped


def some_code(rng: random.Random, arch: str, real: bytes) -> bytes:
    size = 4 * rng.randint(1, 10) if arch in ("aarch64", "arm") else 2 * rng.randint(1, 20)
    at = 4 * rng.randrange(len(real) // 4 - 20)
    code = bytearray(real[at : at + size])
    if arch in ("x86_64", "i386") and rng.random() < 0.5:  # instructions made of parts
        code = bytearray()
        for _ in range(rng.randint(1, 3)):
            code += bytes(rng.choices((0x66, 0xF2, 0xF3, 0x64, 0x67, 0xF0), k=rng.choice((0, 0, 1, 2))))
            code += bytes([rng.randrange(0x40, 0x50)] * (rng.random() < 0.4) + [0x0F] * (rng.random() < 0.6))
            code += rng.randbytes(rng.choice((2, 2, 3, 3, 4, 6)))
    for _ in range(rng.choice((0, 1, 2))):
        code[rng.randrange(len(code))] = rng.randrange(256)
    return bytes(code)


@pytest.mark.parametrize("target", [name for name in TARGETS if name.endswith("clang")])
def test_what_passes_has_nothing_to_be_found(target: str) -> None:
    arch = arch_of(target)
    if arch not in FINDERS:
        pytest.skip("its engine inspects nothing")
    hook, find, rng = Hook(arch), FINDERS[arch], random.Random(target)
    real = fixture(target, "basic").read_bytes()
    passed = 0
    for _ in range(6000):
        code = some_code(rng, arch, real)
        if hook.passes(code):
            passed += 1
            states = (0, 1) if arch == "arm" else (0,)
            found = [each for state in states for each in find(code, BEGIN | state)]
            # Of one byte: a reserved code, which nothing can be said of.
            assert not [each for each in found if each.run or each.size > 1], code.hex()
    assert passed > 200


@pytest.mark.parametrize("arch", WRONG)
def test_what_is_found_does_not_pass(arch: str) -> None:
    hook, find = Hook(arch), FINDERS[arch]
    for text in WRONG[arch]:
        code = bytes.fromhex(text)
        assert [*find(code, BEGIN)], text
        assert not hook.passes(code), text


@pytest.mark.parametrize("bits", [32, 64])
def test_no_reserved_code_of_risc_v_passes(bits: int) -> None:
    hook = Hook(f"riscv{bits}")
    passing = [half for half in range(1 << 16) if half & 3 != 3 and hook.passes(half.to_bytes(2, "little"))]
    assert len(passing) > 20_000
    assert not any(_reserved(half, bits) for half in passing)


def test_a_first_block_that_passes_takes_back_the_stop_before_it_and_no_other() -> None:
    hook, plain = Hook("x86_64"), b"\x90\xc3"
    hook.first.left, hook.screen.begin = 1, BEGIN
    assert hook.passes(plain)
    assert (hook.first.left, hook.screen.begin) == (0, NOWHERE)
    hook.first.left, hook.screen.begin = 1, BEGIN + 2  # another block
    assert hook.passes(plain)
    assert (hook.first.left, hook.screen.begin) == (1, BEGIN + 2)
    hook.first.left, hook.screen.begin = 1, BEGIN
    hook.first.ask()  # meanwhile, by the watchdog
    assert hook.passes(plain)
    assert hook.first.left == 2


def test_what_cannot_be_looked_at_stops_the_engine() -> None:
    hook = Hook("x86_64")
    assert hook.passes(b"\x90" * MOST)
    assert not hook.passes(b"\x90" * (MOST + 1))
    assert not hook.passes(b"\x90\xe8\0\0")  # an instruction that is cut off
    hook.readable = False
    assert not hook.passes(b"\x90")
