"""The same calls by the same code under the host's own glibc: its answers, and its words, are those that count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from emu import HostFunction, Machine
from tests.fixtures import fixture
from tests.machine.dl import DEEPBIND, GLOBAL, LAZY, NODELETE, NOLOAD, NOW, library
from tests.machine.test_dl_queries import asker
from tests.objects.build import compiled, linked

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="the host's own glibc is not an x86-64 one",
)
TARGET = "x86_64"
_NOTE = """
int notes[64], count;
void note(int n) { notes[count++] = n; }
int noted(int i) { return i < count ? notes[i] : 0; }
"""

#: (call, arguments); a string that begins with = names an earlier step whose result is meant.
Step = tuple[str, tuple[object, ...]]


def opened(path: str | None, mode: int = NOW) -> Step:
    return "open", (path, mode)


SCENARIOS: dict[str, Sequence[Step]] = {
    "modes": [
        opened("libone.so", 0), ("error", ()), opened("libone.so", NOW | 0x40000), ("error", ()),
        opened("libone.so", GLOBAL), ("error", ()), ("error", ()),
    ],
    "missing things": [
        opened("libmissing.so"), ("error", ()), opened("/nowhere/libmissing.so"), ("error", ()),
        opened("libone.so"), ("symbol", ("=4", "absent")), ("error", ()), ("versioned", ("=4", "one", "V1")),
        ("versioned", ("=4", "absent", "V9")), ("error", ()), ("any", ("absent",)), ("error", ()),
        ("next", ("absent",)), ("error", ()), opened("libmissing.so", NOW | NOLOAD), ("error", ()),
    ],
    "counts": [
        opened("libone.so"), opened("libone.so", LAZY), ("close", ("=0",)), ("noted", (0,)), ("noted", (1,)),
        ("close", ("=0",)), ("noted", (1,)), opened("libone.so", NOW | NOLOAD), ("error", ()),
    ],
    "nodelete": [
        opened("libone.so", NOW | NODELETE), ("close", ("=0",)), ("noted", (1,)),
        opened("libone.so", NOW | NOLOAD), ("close", ("=3",)), ("close", ("=0",)), ("error", ()), ("noted", (1,)),
    ],
    "promotion": [
        opened("libone.so"), ("any", ("one_value",)), opened("libborrower.so"), ("error", ()),
        opened("libone.so", NOW | NOLOAD | GLOBAL), opened("libborrower.so"), ("number", ("=5", "look")),
        ("close", ("=0",)), ("close", ("=4",)), ("noted", (1,)), ("number", ("=5", "look")), ("close", ("=5",)),
        ("noted", (1,)),
    ],
    "dependencies": [
        opened("libtwo.so"), ("noted", (0,)), ("noted", (1,)), ("number", ("=0", "two")), opened("libone.so"),
        ("close", ("=0",)), ("noted", (2,)), ("noted", (3,)), ("close", ("=4",)), ("noted", (3,)),
    ],
    "deepbind": [
        opened("libdeep.so", NOW | DEEPBIND), ("number", ("=0", "seen")), ("close", ("=0",)), opened("libdeep.so"),
        ("number", ("=3", "seen")),
    ],
    "constructors that open": [
        opened("libopener.so"), ("noted", (0,)), ("noted", (1,)), ("noted", (2,)), ("close", ("=0",)),
        ("noted", (3,)), ("noted", (4,)), opened("libone.so", NOW | NOLOAD),
    ],
    "a constructor that opens what waits for its turn": [
        opened("libpair.so"), *(("noted", (i,)) for i in range(5)), ("number", ("=0", "at_once")),
        ("close", ("=0",)), *(("noted", (i,)) for i in range(4, 7)),
    ],
    "a constructor that opens what needs it": [
        opened("libouter.so"), *(("noted", (i,)) for i in range(4)), ("close", ("=0",)),
        opened("libouter.so", NOW | NOLOAD),
    ],
    "an open that fails in a constructor": [opened("libfailing_opener.so"), ("text", ("=0", "text"))],
    "the chain": [
        opened("libchained.so"), ("number", ("=0", "start")), ("number", ("=0", "chain")), ("next", ("chain",)),
        ("error", ()),
    ],
    "what may not be opened": [
        opened("libclosed.so"), ("error", ()), opened("libprogram.so"), ("error", ()), opened("libtext.so"),
        ("error", ()), opened("libshort.so"), ("error", ()), opened("libforeign.so"), ("error", ()),
        opened("libempty.so"), ("error", ()),
    ],
    "versions": [
        opened("libversions.so"), ("number", ("=0", "versioned")), ("versioned_number", ("=0", "versioned", "V1")),
        ("versioned_number", ("=0", "versioned", "V2")), ("versioned", ("=0", "versioned", "V3")), ("error", ()),
        opened("libclient.so"), ("error", ()),
    ],
    "thread-local and indirect": [
        opened("libone.so"), ("word", ("=0", "one_local")), ("number", ("=0", "chosen")),
        ("symbol", ("=0", "nowhere")), ("number", ("=0", "one")),
    ],
    "itself": [opened("libdriver.so"), ("word", ("=0", "common")), ("close", ("=0",)), ("error", ())],
}  # fmt: skip
#: Calls whose answer is an address: only whether there is one can be compared.
ADDRESSES = frozenset({"open", "symbol", "versioned", "any", "next"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("libraries")
    names = ("driver", "one", "two", "borrower", "global", "seeker", "deep", "opener", "failing_opener",
             "seeker_of_nothing", "pair", "second", "impatient", "outer", "inner", "link2", "link3",
             "chained")  # fmt: skip
    files = {f"lib{name}.so": library(TARGET, name).read_bytes() for name in names}
    files["libclosed.so"] = library(TARGET, "global", "-z", "nodlopen").read_bytes()
    files["libprogram.so"] = fixture(TARGET, "exe/pie").read_bytes()
    files["libtext.so"] = b"not ELF at all, but long enough to be read " * 4
    files["libshort.so"], files["libempty.so"] = b"\x7fELF", b""
    files["libforeign.so"] = library("i386", "global").read_bytes()
    files["libversions.so"] = fixture(TARGET, "versions/v2/libversions").read_bytes()
    files["libclient.so"] = fixture(TARGET, "versions/client_v3").read_bytes()
    files["libnote.so"] = linked(TARGET, [compiled(TARGET, _NOTE, "-fPIC")], "-soname", "libnote.so").read_bytes()
    files["libasker.so"] = asker(TARGET).read_bytes()
    for name, content in files.items():
        (place / name).write_bytes(content)
    return place


PROTOTYPES = {
    "open": "void *(const char *, int)", "symbol": "void *(void *, const char *)", "close": "int(void *)",
    "versioned": "void *(void *, const char *, const char *)", "error": "void *(void)", "call": "int(void *)",
    "any": "void *(const char *)", "next": "void *(const char *)", "word": "int(void *)",
}  # fmt: skip


class Player:
    """The driver's calls by name."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.driver = machine.load("libdriver.so")

    def call(self, name: str, *arguments: object) -> object:
        result = self.driver.function(name, PROTOTYPES[name])(*arguments)
        if name == "error" and isinstance(result, int):
            return self.machine.memory.read_cstring(result).decode() if result else None
        return result


def ours(folder: Path, steps: Sequence[Step]) -> list[object]:
    notes: list[int] = []
    note = HostFunction(lambda number: notes.append(number), "void(int)")
    with Machine(TARGET, library_path=[folder], symbols={"note": note}) as machine:
        player = Player(machine)
        results: list[object] = []
        for name, arguments in steps:
            values = [results[int(a[1:])] if isinstance(a, str) and a.startswith("=") else a for a in arguments]
            if name == "noted":
                number = int(str(values[0]))
                results.append(notes[number] if number < len(notes) else 0)
            elif name in ("number", "versioned_number"):
                kind = "symbol" if name == "number" else "versioned"
                results.append(player.call("call", player.call(kind, *values)))
            elif name == "word":
                results.append(player.call("word", player.call("symbol", *values)))
            elif name == "text":
                place = player.call("symbol", *values)
                assert isinstance(place, int)
                results.append(machine.memory.read_cstring(place).decode())
            else:
                results.append(player.call(name, *values))
        return [bool(r) if name in ADDRESSES else r for (name, _), r in zip(steps, results, strict=True)]


_NATIVE = r"""
import ctypes, json, sys
folder, steps = sys.argv[1], json.loads(sys.argv[2])
note = ctypes.CDLL(f"{folder}/libnote.so", ctypes.RTLD_GLOBAL)
driver = ctypes.CDLL(f"{folder}/libdriver.so", ctypes.RTLD_GLOBAL)
P, S, I = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
KINDS = {"open": (P, S, I), "symbol": (P, P, S), "versioned": (P, P, S, S), "close": (I, P), "error": (S,),
         "any": (P, S), "next": (P, S), "call": (I, P), "word": (I, P)}
for name, (result, *types) in KINDS.items():
    getattr(driver, name).restype, getattr(driver, name).argtypes = result, types
def call(name, *values):
    return getattr(driver, name)(*(v.encode() if isinstance(v, str) else v for v in values))
results = []
for name, arguments in steps:
    values = [results[int(a[1:])] if isinstance(a, str) and a[0] == "=" else a for a in arguments]
    if name == "noted":
        results.append(note.noted(values[0]))
    elif name in ("number", "versioned_number"):
        results.append(call("call", call("symbol" if name == "number" else "versioned", *values)))
    elif name == "word":
        results.append(call("word", call("symbol", *values)))
    elif name == "text":
        results.append(ctypes.string_at(call("symbol", *values)).decode())
    else:
        result = call(name, *values)
        results.append(result.decode() if isinstance(result, bytes) else result)
ADDRESSES = sys.argv[3].split()
print(json.dumps([bool(r) if s[0] in ADDRESSES else r for s, r in zip(steps, results)]), flush=True)
__import__("os")._exit(0)
"""


def of_glibc(folder: Path, script: str, *arguments: str) -> list[object]:
    command = [sys.executable, "-c", script, str(folder), *arguments]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    result: list[object] = json.loads(done.stdout)
    return result


def short(answers: list[object], folder: Path) -> list[object]:
    """Answers without the folder in libraries' names."""
    return [answer.replace(f"{folder}/", "") if isinstance(answer, str) else answer for answer in answers]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_machine_answers_as_glibc_does(folder: Path, scenario: str) -> None:
    steps = SCENARIOS[scenario]
    expected = of_glibc(folder, _NATIVE, json.dumps(steps), " ".join(ADDRESSES))
    assert short(ours(folder, steps), folder) == short(expected, folder)


QUESTIONS = (
    "address_of_exported",
    "static_data_has_no_name",
    "on_the_stack",
    "entry_of_symbol",
    "map_of_symbol",
    "finds_itself",
    "exidx",
)
_ASKED = r"""
import ctypes, json, sys
asker = ctypes.CDLL(f"{sys.argv[1]}/libasker.so")
print(json.dumps([getattr(asker, name)() for name in sys.argv[2].split()]))
"""


def test_questions_about_images_are_answered_alike(folder: Path) -> None:
    with Machine(TARGET) as machine:
        library = machine.load(folder / "libasker.so")
        answers = [library.function(name, "int(void)")() for name in QUESTIONS]
    assert answers == of_glibc(folder, _ASKED, " ".join(QUESTIONS))
