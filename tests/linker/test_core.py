"""Core dumps: read, put back into a machine, and their images adopted."""

from __future__ import annotations

import platform
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from emu import Machine
from relink import (
    ARCHITECTURES,
    AddressSpaceError,
    CoreDump,
    CoreImage,
    ElfError,
    MalformedElf,
    NotElf,
    Protection,
    Truncated,
    UnsupportedElf,
)
from relink.elf.layout import ELF32, ELF64
from relink.memory.address_space import PAGE
from tests.fixtures import arch_of, fixture
from tests.grouping import each
from tests.linker.cores import Mapping, mappings_of, write_core


@each("dumped", [True, False], ids=["all", "text left out"])
def test_a_library_comes_back_out_of_a_core_file(target: str, dumped: bool) -> None:
    path = fixture(target, "basic")
    with Machine(arch_of(target)) as machine:
        library = machine.load(path, symbols={"my_host_function": lambda value: value})
        library.function("set_counter", "void(int)")(55)
        core = write_core(machine.arch.name, mappings_of(machine, library, dumped=dumped))
        base = library.base
    dump = CoreDump.open(core, name="core")
    assert dump.images == (CoreImage(str(path), base),)
    assert dump.read(base, 4) == b"\x7fELF"
    with Machine(arch_of(target)) as machine:
        assert dump.restore(machine.memory, files=lambda wanted: Path(wanted).read_bytes()) == ()
        adopted = machine.adopt(base, name=str(path), relocated=True)
        assert adopted.function("get_counter", "int()")() == 55
        assert adopted.function("apply", "int(int, int, int)")(1, 9, 4) == 5
        with adopted.replace("add", lambda left, right: 0):
            assert adopted.function("apply", "int(int, int, int)")(0, 9, 4) == 0


def test_what_neither_dump_nor_file_holds_is_told_and_not_mapped(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: value})
        kept = mappings_of(machine, library, dumped=True)
    kept[1].dumped = False
    dump = CoreDump.open(write_core(arch_of(target), kept))
    with Machine(arch_of(target)) as machine:
        missing = dump.restore(machine.memory)
        assert [(s.start, s.path) for s in missing] == [(kept[1].start, kept[1].path)]
        assert machine.memory.protection(kept[1].start) is None
        assert machine.memory.protection(kept[0].start) == Protection(kept[0].flags)
    with pytest.raises(AddressSpaceError, match="does not contain it"):
        dump.read(kept[1].start, 1)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_mappings_left_out_whole_are_known_from_their_files(arch: str) -> None:
    """As gdb's gcore writes them: no segment at all, only a line in NT_FILE."""
    image = fixture(arch, "basic").read_bytes()
    there = Mapping(0x5000_0000, image[:PAGE].ljust(PAGE, b"\0"), 4, "/lib/x.so")
    gone = Mapping(0x5000_1000, bytes(PAGE), 5, "/lib/x.so")
    core = bytearray(write_core(arch, [there, gone]))
    layout = ELF64 if ARCHITECTURES[arch].bits == 64 else ELF32
    struct.pack_into("<H", core, 16 + layout.header.size - 8, 2)  # e_phnum
    dump = CoreDump.open(bytes(core))
    assert [(s.start, s.protection) for s in dump.stretches] == [(there.start, Protection.R), (gone.start, None)]
    with Machine(arch) as machine:
        assert [s.start for s in dump.restore(machine.memory)] == [gone.start]
    with Machine(arch) as machine:
        assert dump.restore(machine.memory, files=lambda path: image) == ()
        assert machine.memory.read(gone.start, 64) == image[:64]
        assert machine.memory.protection(gone.start) is not None


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_place_that_is_taken_leaves_nothing_restored(arch: str) -> None:
    mappings = [Mapping(start, bytes(PAGE), 6) for start in (0x5000_0000, 0x5100_0000)]
    dump = CoreDump.open(write_core(arch, mappings))
    with Machine(arch) as machine:
        machine.memory.map_anonymous(PAGE, at=0x5100_0000)
        regions = machine.memory.regions
        with pytest.raises(AddressSpaceError, match="taken"):
            dump.restore(machine.memory)
        assert machine.memory.regions == regions
        assert dump.restore(machine.memory, wanted=lambda stretch: stretch.start == 0x5000_0000) == ()
    other = "arm" if arch != "arm" else "i386"
    with Machine(other) as machine, pytest.raises(UnsupportedElf, match=f"is of {arch}, not {other}"):
        dump.restore(machine.memory)


def test_what_is_no_core_file_is_a_typed_error(target: str) -> None:
    with pytest.raises(UnsupportedElf, match="no core file"):
        CoreDump.open(fixture(target, "basic"))
    with pytest.raises(NotElf):
        CoreDump.open(b"hello")


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_damaged_core_files_are_typed_errors(arch: str) -> None:
    mappings = [Mapping(start, bytes(PAGE), 6, name) for start, name in ((0x5000_0000, "/a"), (0x5100_0000, "/b"))]
    core = write_core(arch, mappings)
    with pytest.raises(Truncated):
        CoreDump.open(core[:-1])
    with pytest.raises(MalformedElf, match="overlap"):
        CoreDump.open(write_core(arch, [Mapping(0x5000_0000, bytes(8192), 6), Mapping(0x5000_1000, b"x", 6)]))
    with pytest.raises(MalformedElf, match="extends past its segment"):
        CoreDump.open(write_core(arch, [], extra=struct.pack("<3I", 0, 1 << 20, 1)))
    word = ARCHITECTURES[arch].word_size
    at = core.index(b"CORE\0\0\0\0") + 8
    for count in (3, 1 << 20, (1 << 8 * word) - 1):
        with pytest.raises(MalformedElf, match="NT_FILE"):
            CoreDump.open(core[:at] + count.to_bytes(word, "little") + core[at + word :])
    for position in range(0, len(core) - PAGE, 37):
        damaged = bytearray(core)
        damaged[position] ^= 0xFF
        with suppress(ElfError):  # and nothing else
            dump = CoreDump.open(bytes(damaged))
            assert (dump.images, dump.stretches) is not None


_PROCESS = """
import ctypes, sys, time
library = ctypes.CDLL(sys.argv[1], mode=1)  # RTLD_LAZY: nobody defines my_host_function
library.set_counter(1234)
print(library.apply(1, 9, 4), library.greeting_length(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("compiler", ["clang", "gcc"])
def test_a_process_of_this_host_runs_on_where_gcore_took_it(tmp_path: Path, compiler: str) -> None:
    """glibc has relocated every image; all are adopted, and functions of several run on the emulated CPU."""
    if platform.machine() != "x86_64" or sys.platform != "linux" or shutil.which("gcore") is None:
        pytest.skip("needs gcore on an x86-64 Linux host")
    path = fixture(f"x86_64-{compiler}", "basic")
    with subprocess.Popen(
        [sys.executable, "-c", _PROCESS, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            native = [int(word) for word in process.stdout.readline().split()]
            command = ["gcore", "-o", str(tmp_path / "core"), str(process.pid)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        finally:
            process.kill()
    cores = list(tmp_path.glob("core.*"))
    if done.returncode or not cores:
        pytest.skip(f"gcore may not here: {done.stderr.strip()[-100:]}")

    def files(name: str) -> bytes | None:
        return Path(name).read_bytes() if Path(name).is_file() else None

    dump = CoreDump.open(cores[0])
    with Machine("x86_64") as machine:
        # The vsyscall page is the kernel's, at an address no process can map.
        dump.restore(machine.memory, files=files, wanted=lambda stretch: stretch.start < 1 << 63)
        adopted = {
            Path(image.path).name: machine.adopt(image.address, name=image.path, relocated=True)
            for image in dump.images
        }
        ours = adopted["basic.so"]
        apply, length = ours.function("apply", "int(int, int, int)"), ours.function("greeting_length", "int()")
        assert [apply(1, 9, 4), length()] == native
        assert ours.function("get_counter", "int()")() == 1234
        libc = adopted.get("libc.so.6")
        if libc is not None:
            assert libc.image.tls is not None
            assert libc.function("strtol", "long(const char *, void *, int)")("4711", 0, 10) == 4711


def test_a_core_file_of_very_many_mappings_is_read_in_no_time() -> None:
    mappings = [Mapping(0x1000_0000 + 2 * PAGE * n, b"x" * (n % 2), 4, f"/f{n % 7}") for n in range(20_000)]
    dump = CoreDump.open(write_core("x86_64", mappings))
    assert len(dump.stretches) == 10_000
    assert dump.images == ()
