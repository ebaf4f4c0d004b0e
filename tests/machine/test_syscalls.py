"""The kernel's numbers against its own headers, and its memory page by page."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from emu import Machine
from emu.errors import GuestAbort, GuestExit
from emu.libc.errno import Errno
from emu.linux.syscalls.handlers import HANDLERS
from emu.linux.syscalls.table import names
from relink.errors import AddressSpaceError
from relink.memory.address_space import PAGE, Protection
from tests.fixtures import ARCHES, variant_of
from tests.objects.build import zig

#: Folders of zig's copy of Linux's headers.
_HEADERS = {
    "x86_64": "x86",
    "i386": "x86",
    "aarch64": "aarch64",
    "arm": "arm",
    "riscv64": "riscv",
    "riscv32": "riscv",
    "loongarch64": "loongarch",
}
#: Arm's own calls have names of their own in the headers: __ARM_NR_*.
_OTHERWISE = {"arm_set_tls": "set_tls", "arm_cacheflush": "cacheflush"}
RW = Protection.R | Protection.W


def kernel_headers(arch: str) -> list[Path]:
    """Folders of Linux's headers for an ISA, the ISA's own first; skips the test if there are none."""
    includes = Path(zig()).parent / "lib/libc/include"
    folders = [includes / f"{name}-linux-any" for name in (_HEADERS[arch], "any")]
    if not all(folder.is_dir() for folder in folders):
        pytest.skip(f"this ziglang has no kernel headers in {includes}")
    return folders


@pytest.mark.parametrize("arch", ARCHES)
def test_every_number_is_the_kernels_own(arch: str) -> None:
    folders = kernel_headers(arch)
    command = [zig(), "clang", "-target", variant_of(arch).target.triple, "-nostdinc", "-E", "-dM"]
    command += [part for folder in folders for part in ("-isystem", str(folder))]
    done = subprocess.run(
        [*command, "-x", "c", "-"], input="#include <asm/unistd.h>\n", capture_output=True, text=True, check=True
    )
    defined = dict(re.findall(r"#define __NR_(\w+) (.+)", done.stdout))
    defined |= {
        name: "0x0f0000 + " + text.rpartition("+")[2]
        for name, text in re.findall(r"#define __ARM_NR_(\w+) (.+)", done.stdout)
    }
    theirs = {name: _number(text, defined) for name, text in defined.items()}
    ours = {name: number for number, name in names(arch).items()}
    for name, number in ours.items():
        # 16-bit identities have the plain names on i386 and Arm; a call glibc wraps has an underscore.
        spellings = (f"{name}32", f"_{name}", _OTHERWISE.get(name, name))
        assert next((theirs[known] for known in spellings if known in theirs), None) == number, name
    assert len(ours) > 60


def _number(text: str, defined: dict[str, str]) -> int:
    """What a macro of the headers comes to: a number, another macro, or a sum of two."""
    parts = text.strip("() ").split("+")
    words = [part.strip("() ") for part in parts]
    return sum(
        _number(defined.get(word.removeprefix("__NR_"), "0"), defined) if word.startswith("_") else int(word, 0)
        for word in words
    )


@pytest.mark.parametrize("arch", ARCHES)
def test_every_call_with_a_handler_has_a_number_somewhere(arch: str) -> None:
    everywhere = {name for other in ARCHES for name in names(other).values()}
    assert HANDLERS.keys() <= everywhere
    assert {"write", "exit_group", "brk", "munmap"} <= set(names(arch).values())


@pytest.fixture(params=ARCHES)
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


def ask(machine: Machine, name: str, *arguments: int) -> int:
    """One system call, as the guest makes it but for the instruction."""
    abi = machine.isa.kernel
    number = next(number for number, known in names(machine.arch.name).items() if known == name)
    words = [argument & machine.arch.address_mask for argument in (*arguments, 0, 0, 0, 0, 0, 0)][:6]
    machine.cpu.write_registers([(abi.number, number), *zip(abi.arguments, words, strict=True)])
    assert machine.syscalls.answer(0x1000) == 0x1000 + machine.isa.instruction_set(0).system_call
    return machine.syscalls.signed(machine.cpu.read_register(abi.result))


def test_the_break_grows_and_shrinks(machine: Machine) -> None:
    with machine:
        start = ask(machine, "brk", 0)
        assert start % PAGE == 0
        assert ask(machine, "brk", start + 5000) == start + 5000
        machine.memory.write(start, b"x" * 5000)
        assert ask(machine, "brk", start + 100) == start + 100
        with pytest.raises(AddressSpaceError):
            machine.memory.read(start + PAGE, 1)
        assert ask(machine, "brk", start - 1) == start + 100, "below its start it does not move"
        assert ask(machine, "brk", start + 3 * PAGE) == start + 3 * PAGE
        assert machine.memory.read(start + PAGE, 2 * PAGE) == bytes(2 * PAGE)


def test_pages_are_mapped_over_protected_and_given_back_one_by_one(machine: Machine) -> None:
    with machine:
        map_ = "mmap" if machine.arch.bits == 64 else "mmap2"
        before = machine.memory.regions
        at = ask(machine, map_, 0, 4 * PAGE, 3, 0x22, -1, 0) & machine.arch.address_mask
        machine.memory.write(at, b"a" * 4 * PAGE)
        assert ask(machine, "munmap", at + PAGE, PAGE) == 0
        assert machine.memory.protection(at + PAGE) is None
        assert machine.memory.read(at + 2 * PAGE, 4) == b"aaaa"
        assert ask(machine, map_, at + PAGE, 2 * PAGE, 1, 0x32, -1, 0) & machine.arch.address_mask == at + PAGE
        assert machine.memory.read(at, 4 * PAGE) == b"a" * PAGE + bytes(2 * PAGE) + b"a" * PAGE
        assert machine.memory.protection(at + PAGE) == Protection.R
        assert ask(machine, "mprotect", at, 2 * PAGE, 0) == 0
        assert [machine.memory.protection(at + n * PAGE) for n in range(4)] == [0, 0, Protection.R, RW]
        assert ask(machine, "mprotect", at + 3 * PAGE, 2 * PAGE, 1) == -Errno.ENOMEM
        assert machine.memory.protection(at + 3 * PAGE) == RW, "nothing is changed by a call that fails"
        assert ask(machine, "munmap", at, 4 * PAGE) == 0
        assert machine.memory.regions == before


def test_a_mapping_over_a_gap_and_two_neighbours_is_one_piece(machine: Machine) -> None:
    with machine:
        at = machine.memory.map_anonymous(8 * PAGE)
        machine.memory.unmap(at)
        machine.memory.map_anonymous(PAGE, at=at + PAGE)
        machine.memory.map_anonymous(2 * PAGE, at=at + 4 * PAGE)
        machine.memory.write(at + 5 * PAGE, b"kept")
        machine.memory.map_over(at, 5 * PAGE, RW)
        assert machine.memory.read(at, 5 * PAGE) == bytes(5 * PAGE)
        machine.memory.write(at, b"x" * 5 * PAGE)
        assert machine.memory.read(at + 5 * PAGE, 4) == b"kept"


def test_failures_are_minus_an_errno(machine: Machine) -> None:
    with machine:
        assert ask(machine, "close", 77) == -Errno.EBADF
        assert ask(machine, "write", 1, 0x10, 4) == -Errno.EFAULT
        assert ask(machine, "munmap", 1, PAGE) == -Errno.EINVAL
        assert ask(machine, "ioctl", 1, 0x5413, 0) == -Errno.ENOTTY
        assert machine.libc.stdout.getvalue() == b""


def test_an_unknown_call_is_enosys_and_noted(machine: Machine) -> None:
    with machine:
        abi = machine.isa.kernel
        for _ in range(2):
            machine.cpu.write_registers([(abi.number, 9999)])
            machine.syscalls.answer(0x1000)
            assert machine.syscalls.signed(machine.cpu.read_register(abi.result)) == -Errno.ENOSYS
        assert ask(machine, "rseq") == -Errno.ENOSYS
        assert machine.syscalls.unknown == {"system call 9999": 2, "rseq": 1}


def test_exit_ends_the_guest_with_the_low_byte(machine: Machine) -> None:
    with machine, pytest.raises(GuestExit) as done:
        ask(machine, "exit_group", 0x1234)
    assert done.value.status == 0x34


def test_a_wait_nobody_ends_is_a_deadlock_by_name(machine: Machine) -> None:
    with machine:
        at = machine.memory.map_anonymous(PAGE)
        futex = "futex_time64" if machine.arch.name == "riscv32" else "futex"
        assert ask(machine, futex, at, 0, 5, 0) == -Errno.EAGAIN
        assert ask(machine, futex, at, 1, 1, 0) == 0
        with pytest.raises(Exception, match="no other thread"):
            ask(machine, futex, at, 0, 0, 0)


def test_a_wait_with_a_limit_takes_the_guests_time(machine: Machine) -> None:
    """FUTEX_WAIT's limit is a duration, that of FUTEX_WAIT_BITSET (9) a time."""
    with machine:
        machine.libc.clock = lambda: 1000
        at = machine.memory.map_anonymous(PAGE)
        futex, size = ("futex_time64", 8) if machine.arch.name == "riscv32" else ("futex", machine.arch.word_size)
        machine.memory.write(at + 16, (0).to_bytes(size, "little") + (3000).to_bytes(size, "little"))
        assert ask(machine, futex, at, 0, 0, at + 16) == -Errno.ETIMEDOUT
        assert machine.libc.clock() == 4000
        machine.libc.slept = 0
        assert ask(machine, futex, at, 9, 0, at + 16) == -Errno.ETIMEDOUT
        assert machine.libc.clock() == 3000


def test_a_wait_for_signals_takes_the_guests_time(machine: Machine) -> None:
    with machine:
        machine.libc.clock = lambda: 1000
        at = machine.memory.map_anonymous(PAGE)
        wide = machine.arch.name == "riscv32"
        name, size = ("rt_sigtimedwait_time64", 8) if wide else ("rt_sigtimedwait", machine.arch.word_size)
        machine.memory.write(at + 16 + size, (3000).to_bytes(size, "little"))
        assert ask(machine, name, at, 0, at + 16, 8) == -Errno.EAGAIN
        assert machine.libc.clock() == 4000


def test_a_deadlock_after_a_thread_was_refused_says_so(machine: Machine) -> None:
    """Go's run time on RISC-V does not look at what clone returns."""
    with machine:
        at = machine.memory.map_anonymous(PAGE)
        assert ask(machine, "clone", 0x50F00, at) == -Errno.ENOSYS
        futex = "futex_time64" if machine.arch.name == "riscv32" else "futex"
        with pytest.raises(GuestAbort, match=r"no other thread \(clone, which would start one, returned ENOSYS\)"):
            ask(machine, futex, at, 0, 0, 0)


def test_a_file_gets_a_size_of_64_bits(machine: Machine) -> None:
    """In a register pair on 32-bit ISAs, after a gap on Arm (the EABI's even registers)."""
    with machine:
        path = machine.memory.map_anonymous(PAGE)
        machine.memory.write(path, b"/file\0")
        number = ask(machine, "openat", -100, path, 0o102, 0o644)
        name = "ftruncate" if machine.arch.bits == 64 else "ftruncate64"
        gap = (0xBAD,) if machine.arch.name == "arm" else ()
        assert ask(machine, name, number, *gap, 300, 0) == 0
        assert machine.libc.files["/file"] == bytes(300)


@pytest.mark.parametrize("arch", ["i386", "arm"])
def test_the_older_numbers_of_32_bit_kernels_are_known(arch: str) -> None:
    """Go's run time calls fcntl, not fcntl64."""
    with Machine(arch) as machine:
        assert ask(machine, "fcntl", 0, 1, 0) == ask(machine, "fcntl64", 0, 1, 0) == 0
        assert ask(machine, "fcntl", 77, 1, 0) == -Errno.EBADF


def test_a_folder_is_listed_in_pieces(machine: Machine) -> None:
    with machine:
        machine.libc.files |= {"/data/one": b"1", "/data/sub/two": b"2"}
        path, buffer = machine.memory.map_anonymous(PAGE), machine.memory.map_anonymous(PAGE)
        machine.memory.write(path, b"/data\0")
        number = ask(machine, "openat", -100, path, 0)
        names_: list[bytes] = []
        while (size := ask(machine, "getdents64", number, buffer, 48)) > 0:
            content = machine.memory.read(buffer, size)
            while content:
                length = int.from_bytes(content[16:18], "little")
                names_.append(content[19:length].rstrip(b"\0") + b" %d" % content[18])
                content = content[length:]
        assert (size, names_) == (0, [b". 4", b".. 4", b"one 8", b"sub 4"])
        assert ask(machine, "getdents64", 1, buffer, 48) == -Errno.ENOTDIR


def test_arms_page_of_helpers_does_what_linux_documents() -> None:
    """Linux, Documentation/arch/arm/kernel_user_helpers.rst: there for libraries too, before any program began."""
    with Machine("arm") as machine:
        assert machine.memory.read_uint(0xFFFF0FFC, 4) == 5
        assert machine.call(0xFFFF0FE0, "unsigned(void)") == machine.thread_pointer
        machine.call(0xFFFF0FA0, "void(void)")
        at = machine.memory.map_anonymous(PAGE)
        machine.memory.write_uint(at, 4, 7)
        exchange = "int(int expected, int value, int *at)"
        assert machine.call(0xFFFF0FC0, exchange, 6, 9, at) != 0
        assert not machine.cpu.read_register("cpsr") >> 29 & 1, "C is set exactly when it was stored"
        assert machine.memory.read_uint(at, 4) == 7
        assert machine.call(0xFFFF0FC0, exchange, 7, 9, at) == 0
        assert machine.cpu.read_register("cpsr") >> 29 & 1
        assert machine.memory.read_uint(at, 4) == 9
        for place, value in ((at + 8, 1 << 40), (at + 16, 1 << 40), (at + 24, 3 << 33), (at + 32, 5)):
            machine.memory.write_uint(place, 8, value)
        wide = "int(void *expected, void *value, void *at)"
        assert machine.call(0xFFFF0F60, wide, at + 32, at + 24, at + 8) != 0
        assert machine.call(0xFFFF0F60, wide, at + 16, at + 24, at + 8) == 0
        assert machine.memory.read_uint(at + 8, 8) == 3 << 33


#: Words that are likely to hit something: ends of ranges, sizes, descriptors, signs.
WORDS = (0, 1, 2, 3, 4, 8, 17, 0x22, 0x32, PAGE - 1, PAGE, 5 * PAGE, 1 << 20, 1 << 24, 1 << 46, -1, -100)


@pytest.mark.parametrize("seed", range(8))
def test_any_arguments_at_all_give_a_result_or_end_the_guest(machine: Machine, seed: int) -> None:
    dice = random.Random(f"{machine.arch.name} {seed}")
    with machine:
        area = machine.memory.map_anonymous(4 * PAGE)
        known = sorted(set(names(machine.arch.name).values()) - {"rt_sigreturn", "sigreturn"})
        for _ in range(150):
            name = dice.choice(known)
            words = [dice.choice([dice.choice(WORDS), area, area + dice.randrange(4 * PAGE)]) for _ in range(6)]
            try:
                result = ask(machine, name, *words)
            except (GuestExit, GuestAbort):
                continue
            assert isinstance(result, int), name


@pytest.mark.parametrize("arch", ARCHES)
def test_the_only_processor_is_the_one_to_run_on(arch: str) -> None:
    number = next(number for number, name in names(arch).items() if name == "sched_setaffinity")
    with Machine(arch) as machine:
        call, mask = machine.libc.system_call, machine.libc.allocate(16)
        assert call is not None
        assert call(number, (0, 16, mask)) == -Errno.EINVAL
        machine.memory.write(mask, b"\3")
        assert call(number, (0, 16, mask)) == 0
        assert call(number, (1, 16, mask)) == -Errno.ESRCH
        assert call(number, (0, 16, 0)) == -Errno.EFAULT, "by which LLVM's OpenMP learns the size of a mask"
