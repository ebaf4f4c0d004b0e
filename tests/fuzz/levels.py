"""What else mutants are given to: objects and archives, programs that run, images in memory, cores, commands.

A level is a class whose call takes a seed, and says whether its mutant was of use. Whatever is raised but a typed
error, or left behind by a failure, gets out.
"""

from __future__ import annotations

import io
import random
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from emu import Machine
from emu.errors import ConstructorFault
from relink import CoreDump, HostMemory, Protection, decode
from relink.arch import architecture_of
from relink.elf.archive import Archive
from relink.elf.objects import decode_object
from relink.errors import RelinkError
from relink.memory.placement import fill, region_size
from relink.relocate.lazy import BindMode
from tests.elf.build_archive import gnu_archive
from tests.fixtures import all_fixtures, arch_of, fixture
from tests.fuzz.state import MEMORY, SECONDS, state
from tests.linker.cores import mappings_of, write_core
from tests.linker.test_mutations import INTERESTING, originals, spots
from tests.machine.static_programs import static_program
from toolchains.recipe import Kind
from toolchains.targets import TARGETS

_INSTRUCTIONS, _OF_A_PROGRAM = 20_000, 300_000
_LARGEST = 64 << 10  #: bytes of an original


def mutate(content: bytearray, where: list[tuple[int, int]], dice: random.Random) -> bytes:
    """Change some words at places that matter; sometimes cut the end off."""
    for _ in range(dice.randint(1, 5)):
        start, size = dice.choice(where)
        width = dice.choice((1, 2, 4, 8))
        offset = min(start + dice.randrange(size), len(content) - 1)
        if dice.random() < 0.7:
            offset &= -width
        old = int.from_bytes(content[offset : offset + width], "little")
        value = dice.choice(
            (dice.choice(INTERESTING), dice.getrandbits(64), dice.randrange(len(content)), old + 1, old - 1)
        )
        content[offset : offset + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    if dice.random() < 0.1:
        del content[dice.randrange(len(content)) :]
    return bytes(content)


@cache
def _objects() -> list[tuple[str, bytes, list[tuple[int, int]]]]:
    """(target, content, places that matter) of small objects."""
    found = []
    for target, name in all_fixtures((Kind.OBJECT,)):
        path = fixture(target, name)
        content = path.read_bytes()
        if path.suffix != ".o" or len(content) > _LARGEST:
            continue
        one = decode_object(content)
        where = [(0, 64), *[(one.header.shoff, len(one.sections) * one.header.shentsize)] * 3]
        where += [(s.offset, s.size) for s in one.sections if s.size and s.type not in (0, 8)]
        found.append((target, content, where))
    return found


def _mutated_object(dice: random.Random) -> tuple[str, bytes]:
    target, content, where = dice.choice(_objects())
    return target, mutate(bytearray(content), where, dice)


def objects(seed: int) -> bool:
    """Read all of a mutated object."""
    with suppress(RelinkError):
        read = decode_object(_mutated_object(random.Random(seed))[1])
        for index in range(len(read.sections)):
            read.section_bytes(index)
        _ = read.symbols.names.texts(), read.groups
        return True
    return False


def archives(seed: int) -> bool:
    """Read an archive of mutated objects, whose own headers are mutated too."""
    dice = random.Random(seed)
    members = {
        f"m{number}.o" * dice.choice((1, 9)): _mutated_object(dice)[1] for number in range(dice.randint(0, 3))
    }
    content = bytearray(gnu_archive(members, {"one": 0} if members and dice.random() < 0.5 else None))
    with suppress(RelinkError):
        archive = Archive.open(mutate(content, [(0, len(content)), (8, 200)], dice))
        _ = [member.data.tobytes() for member in archive.members]
        for number in archive.objects:
            with suppress(RelinkError):
                archive.object(number)
        _ = archive.index
        return True
    return False


class _Machines:
    """Machines that serve many mutants, each made anew now and then."""

    def __init__(self, serves: int = 100, **options: object) -> None:
        self._machines: dict[str, Machine] = {}
        self._served, self._serves, self._options = 0, serves, options

    def of(self, arch: str) -> Machine:
        self._served += 1
        if self._served % self._serves == 0:
            self.close()
        if arch not in self._machines:
            self._machines[arch] = Machine(
                arch,
                max_instructions=_INSTRUCTIONS,
                timeout=SECONDS,
                memory_limit=MEMORY,
                **self._options,  # type: ignore[arg-type]
            )
        return self._machines[arch]

    def close(self) -> None:
        for machine in self._machines.values():
            machine.close(run_destructors=False)
        self._machines.clear()


class Links:
    """Links mutated objects into machines, constructors and all, in each binding."""

    def __init__(self) -> None:
        self._machines = _Machines()

    def __call__(self, seed: int) -> bool:
        dice = random.Random(seed)
        target, content = _mutated_object(dice)
        machine = self._machines.of(arch_of(target))
        before, library = state(machine), None
        with suppress(RelinkError):
            library = machine.load(content, binding=[*BindMode][seed % 3], allow_unresolved=True)
        if library is not None:
            with suppress(RelinkError):
                machine.unload(library.image)
            return True
        assert state(machine) == before
        return False


class Runs:
    """Runs mutated programs from their entry, those that bring their C library along."""

    def __call__(self, seed: int) -> bool:
        dice = random.Random(seed)
        target, original = dice.choice(_programs())
        content = bytearray(original)
        where = [(0, 64), (64, 600), *[(4096, len(content) - 4096)] * 3]
        mutant = mutate(content, where, dice)
        machine = Machine(
            arch_of(target),
            max_instructions=_OF_A_PROGRAM,
            timeout=SECONDS,
            memory_limit=MEMORY,
            stdin=b"a line\n",
        )
        with suppress(RelinkError):
            machine.start(mutant, ["program", "last"], {"HOME": "/"}).run()
        machine.close(run_destructors=False)
        return (machine.runner.executed or 0) > 1000  # it got into its own code


@cache
def _programs() -> list[tuple[str, bytes]]:
    return [(target, static_program(target).read_bytes()) for target in TARGETS]


class Adoptions:
    """Adopts mutated images that lie in a machine's memory."""

    def __init__(self) -> None:
        self._machines = _Machines(serves=200)

    def __call__(self, seed: int) -> bool:
        dice = random.Random(seed)
        target, path = dice.choice(originals())
        machine = self._machines.of(arch_of(target))
        content = bytearray(_in_memory(target, path))
        mutant = mutate(content, [*_dynamic(path), (0, 400)], dice).ljust(len(content), b"\0")
        address = machine.memory.map_anonymous(
            len(mutant), Protection.R | Protection.W | Protection.X, name="firmware"
        )
        machine.memory.write(address, mutant)
        before, library = state(machine), None
        ran = False  # its constructors, which may change their own data
        try:
            library = machine.adopt(address, relocated=dice.random() < 0.5, symbols=lambda request: 0x1000)
        except ConstructorFault:
            ran = True
        except RelinkError:
            pass
        if library is None:
            assert state(machine) == before
            assert ran or machine.memory.read(address, len(mutant)) == mutant
        else:
            with suppress(RelinkError):
                machine.unload(library.image)
        machine.memory.unmap_pages(address, len(mutant) + -len(mutant) % 4096)
        return library is not None


@cache
def _in_memory(target: str, path: Path) -> bytes:
    """A file's segments as they lie in memory before relocation."""
    decoded = decode(path)
    region = HostMemory(arch_of(target)).reserve(region_size(decoded))
    fill(region, decoded)
    return region.buffer.tobytes()


@cache
def _dynamic(path: Path) -> list[tuple[int, int]]:
    """Where in memory the tables lie that adopting reads."""
    decoded = decode(path)
    low = int(decoded.min_vaddr) & -4096
    return [(s.vaddr - low, s.memsz) for s in decoded.program_headers if s.type in (2, 6) and s.memsz] * 2


@cache
def _cores() -> list[bytes]:
    found = []
    for target in ("x86_64", "arm", "riscv64"):
        with Machine(target) as machine:
            library = machine.load(fixture(target, "basic"), allow_unresolved=True)
            found += [write_core(target, mappings_of(machine, library, dumped=dumped)) for dumped in (True, False)]
    return found


def cores(seed: int) -> bool:
    """Read a mutated core file, the images in it, and load one."""
    dice = random.Random(seed)
    content = bytearray(dice.choice(_cores()))
    with suppress(RelinkError):
        core = CoreDump.open(mutate(content, [(0, 64), (64, 600), (0, len(content))], dice), name="core")
        for image in core.images:
            with suppress(RelinkError):
                core.read(image.address, 4096)
        _ = core.stretches
        arch = architecture_of(core.header.machine, core.header.bits)
        if arch is not None:
            core.restore(HostMemory(arch.name))
        return True
    return False


_UNESCAPED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("inspect",), ("inspect", "--symbols"), ("load", "--allow-unresolved"), ("map", "--allow-unresolved"),
    ("tree",), ("call",), ("run",), ("load", "--binding", "lazy", "--bindings", "--allow-unresolved"),
)  # fmt: skip


class Commands:
    """Gives mutants to the command line: a status it documents, and nothing a terminal would act upon."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz")
        self._file = Path(self._folder.name) / "mutant"

    def __call__(self, seed: int) -> bool:
        from emu.cli.app import run

        dice = random.Random(seed)
        if dice.random() < 0.3:
            content = _mutated_object(dice)[1]
        else:
            path = dice.choice(originals())[1]
            content = mutate(bytearray(path.read_bytes()), spots(path), dice)
        self._file.write_bytes(content)
        command = dice.choice(_COMMANDS)
        limits = ["--max-instructions", str(_INSTRUCTIONS)] if command[0] in ("load", "call", "run", "map") else []
        line = [
            command[0],
            *limits,
            *command[1:],
            *(["--json"] if dice.random() < 0.3 and command[0] != "run" else []),
        ]
        line += [str(self._file), *(["f()"] if command[0] == "call" else [])]
        status, out = _output(lambda: run(line))
        assert status in range(3) or command[0] == "run", f"{line}: {status}"
        assert "bug in relink-emu" not in out, out
        if command[0] != "run":
            assert _UNESCAPED.search(out) is None, ascii(out)
        return status == 0


def _output(action: Callable[[], int]) -> tuple[int, str]:
    """What a command returns, and prints on both its streams."""
    before = sys.stdout, sys.stderr
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape")
    sys.stdout = sys.stderr = stream
    try:
        status = action()
        stream.flush()
        return status, stream.buffer.getvalue().decode("utf-8", "surrogateescape")
    finally:
        sys.stdout, sys.stderr = before
