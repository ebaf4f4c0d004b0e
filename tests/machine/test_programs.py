"""Programs of every kind, from the entry to the exit: what they find on their stack, the kernel they ask, what is
copied into them and what they export.

`tell` is also run by qemu-user, or by this host's own kernel, which must say the same of the stack.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from emu import Machine
from emu.errors import BudgetExceeded, GuestAbort, GuestFault
from emu.linux.personality import Linux
from emu.linux.process import Aux, Process, initial_stack
from relink.errors import AddressSpaceError, LinkError, MachineError, UnsupportedElf
from tests.fixtures import arch_of, fixture, variant_of
from tests.grouping import each
from tests.machine.static_programs import NOTE, source_digest, static_program
from tests.objects.build import TARGETS, compiled, linked, program
from toolchains.errors import ToolchainError
from toolchains.oracle.interpreters import emulator

pytestmark = pytest.mark.sample(3)

SOURCES = Path(__file__).with_name("sources")
ARGUMENTS = ("tell", "one", "with space", "")
ENVIRONMENT = {"HOME": "/root", "EMPTY": ""}
#: How each kind is compiled and linked.
STATIC = {
    "fixed": (("-fno-pic",), ("-no-pie", "-static")),
    "static-pie": (("-fpie",), ("-pie", "--no-dynamic-linker", "-z", "text")),
}
# Data reached through the GOT, addresses in constants: what every lld can do (LoongArch's not otherwise).
DYNAMIC = {"fixed": (("-fno-pic",), ("-no-pie",)), "pie": (("-fpie",), ("-pie",))}


def built(target: str, source: str, *flags: str) -> Path:
    return compiled(target, (SOURCES / source).read_text(), f"-I{SOURCES}", *flags)


def tell(target: str, kind: str) -> Path:
    compiler, linker = STATIC[kind]
    return program(target, [built(target, "tell.c", *compiler)], *linker)


def shared(target: str) -> Path:
    return linked(target, [built(target, "shared.c", "-fPIC")], "-soname", "libshared.so")


def copying(target: str, kind: str) -> Path:
    compiler, linker = DYNAMIC[kind]
    found = built(target, "copying.c", "-fno-direct-access-external-data", *compiler)
    return program(target, [found, shared(target)], "--dynamic-linker=/lib/ld-linux.so.2", *linker)


def facts(output: bytes) -> dict[str, list[str]]:
    """The lines of `tell`: first word -> rests; of the auxiliary vector type -> value under "aux"."""
    found: dict[str, list[str]] = {}
    for line in output.decode().splitlines():
        name, _, rest = line.partition(" ")
        found.setdefault(name, []).append(rest)
    return found


def vector(told: Mapping[str, list[str]]) -> dict[int, int]:
    pairs = (row.split() for row in told["aux"])
    return {int(kind, 16): int(value, 16) for kind, value in pairs}


# ---------------------------------------------------------------- static programs


@pytest.mark.parametrize("kind", STATIC)
@pytest.mark.parametrize("target", TARGETS)
def test_a_program_finds_its_stack_as_the_psabi_says(target: str, kind: str) -> None:
    path = tell(target, kind)
    with Machine(arch_of(target)) as machine:
        process = machine.start(path, ARGUMENTS, ENVIRONMENT)
        assert process.run() == process.status == 7
        told = facts(machine.libc.stdout.getvalue())
        assert told["misaligned"] == ["0"]
        assert told["argc"] == ["4"]
        assert told["argv"] == list(ARGUMENTS)
        assert told["env"] == ["HOME=/root", "EMPTY="]
        assert told["finish"] == ["0"], "no dynamic linker, nothing to be called at the exit"
        assert told["relocated"] == [str(int(kind == "fixed"))], "a static PIE relocates itself, or nobody does"
        assert told["execfn"] == [str(path)]
        assert told.get("platform", [""]) == [machine.arch.platform]
        aux = vector(told)
        assert isinstance(process, Process)
        assert aux == dict(process.auxv)
        decoded = process.image.decoded
        assert (
            machine.memory.read(aux[Aux.PHDR], aux[Aux.PHENT])
            == decoded.data[decoded.header.phoff : decoded.header.phoff + decoded.header.phentsize].tobytes()
        )
        assert aux[Aux.PHNUM] == decoded.header.phnum
        assert aux[Aux.ENTRY] == process.entry == process.image.address_of(decoded.header.entry)
        assert (aux[Aux.BASE], aux[Aux.SECURE], aux[Aux.PAGESZ], aux[Aux.CLKTCK]) == (0, 0, 4096, 100)
        assert machine.syscalls.unknown == {}


@pytest.mark.real
@pytest.mark.parametrize("kind", STATIC)
@pytest.mark.parametrize("target", TARGETS)
def test_linux_says_the_same_of_the_stack(target: str, kind: str) -> None:
    path = tell(target, kind)
    try:
        words = emulator(variant_of(target).target)
    except ToolchainError as error:
        pytest.skip(f"nothing to run {target} with: {error}")
    done = subprocess.run(
        [*words, "-0", ARGUMENTS[0], path, *ARGUMENTS[1:]] if words else ARGUMENTS,
        executable=None if words else path,
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    with Machine(arch_of(target)) as machine:
        assert machine.run(path, ARGUMENTS, ENVIRONMENT) == done.returncode == 7
        ours, theirs = facts(machine.libc.stdout.getvalue()), facts(done.stdout)
    same = ("misaligned", "relocated", "argc", "argv", "finish")
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert sorted(ours["env"]) == sorted(theirs["env"])
    ours_aux, theirs_aux = vector(ours), vector(theirs)
    assert ours_aux.keys() - theirs_aux.keys() <= {Aux.HWCAP2, Aux.PLATFORM}, "nothing a kernel does not pass"
    fixed = [Aux.PHENT, Aux.PHNUM, Aux.PAGESZ, Aux.BASE, Aux.FLAGS, Aux.CLKTCK, Aux.SECURE]
    fixed += [Aux.PHDR, Aux.ENTRY] if kind == "fixed" else []
    assert {kind: ours_aux[kind] for kind in fixed} == {kind: theirs_aux[kind] for kind in fixed}
    assert set(theirs_aux) >= {Aux.RANDOM, Aux.EXECFN, Aux.HWCAP, Aux.UID, Aux.EUID, Aux.GID, Aux.EGID}


#: Where the alignment of malloc is 8, every block of musl's lies 8 past a multiple of 16: 1999 such remainders.
CALLOC = {"i386": 15992, "arm": 15992}
HOSTED = """\
constructed 7 thread 9
argv hosted
argv one
env HOME=/root
auxv 4096 0 {path} 1
double 3.250 2e+300 /root
sorted 1 3 5 9
realloc 3
calloc {calloc}
munmap 0
fixed 1 0 mprotect 0
again 5 bad 1
read first
end end
stat 0 11 1
missing -1 No such file or directory
stdin one
stdin two
uname 0 Linux
clock 0 1700000000
limit 0 8388608
signal 1
atexit
destructor
"""


@pytest.mark.sample(2)
@pytest.mark.parametrize("target", TARGETS)
def test_a_program_with_its_own_c_library_computes_prints_and_exits(target: str) -> None:
    path = static_program(target)
    files: dict[str, bytes | bytearray] = {"/data.txt": b"first\nsecond\nend\n"}
    with Machine(arch_of(target), files=files, stdin=b"one\ntwo\n", max_instructions=50_000_000) as machine:
        machine.libc.clock = lambda: 1_700_000_000_000_000_000
        assert machine.run(path, ["hosted", "one"], {"HOME": "/root"}) == 42
        assert machine.libc.stdout.getvalue().decode() == HOSTED.format(
            path=path, calloc=CALLOC.get(machine.arch.name, 0)
        )
        assert machine.libc.stderr.getvalue() == b"to stderr\n"
        assert files["/out.txt"] == b"written 42\n"
        assert machine.syscalls.unknown == {}


def test_the_prebuilt_programs_are_of_the_source_beside_them() -> None:
    assert source_digest() in NOTE.read_text(), "python -m tests.machine.static_programs"


@pytest.mark.parametrize("target", TARGETS)
def test_a_program_that_ends_itself_by_a_signal_or_faults_says_so(target: str) -> None:
    with Machine(arch_of(target)) as machine, pytest.raises(GuestAbort, match="ended by its own SIGABRT"):
        machine.run(static_program(target), ["hosted", "abort"])
    with Machine(arch_of(target)) as machine, pytest.raises(GuestFault, match="write to unmapped memory at 0x10"):
        machine.run(static_program(target), ["hosted", "fault"])


@pytest.mark.parametrize("target", TARGETS)
def test_a_limit_holds_for_programs_too(target: str) -> None:
    with Machine(arch_of(target)) as machine, pytest.raises(BudgetExceeded, match="1000 instructions"):
        machine.run(static_program(target), ["hosted"], max_instructions=1000)


# ---------------------------------------------------------------- dynamic programs

COPYING = """\
constructor of last
copied 5
bumped 6
seen 28
table 64
inside 1e
same 1
canonical 1
called 1e
destructor 28
"""


@pytest.mark.parametrize("kind", DYNAMIC)
@pytest.mark.parametrize("target", TARGETS)
def test_data_is_shared_and_functions_have_one_address(target: str, kind: str) -> None:
    with Machine(arch_of(target), libraries={"libshared.so": shared(target)}) as machine:
        process = machine.start(copying(target, kind), ["copying", "last"])
        assert machine.libc.stdout.getvalue() == b"constructor of last\n", "libraries' run before the entry"
        assert process.run() == 3
        assert machine.libc.stdout.getvalue().decode() == COPYING
        copies = {copied.symbol: copied.taken for copied in process.image.relocated.copies}
        word = machine.arch.word_size
        assert copies == ({"counter": 4, "table": 16, "inside": word} if kind == "fixed" else {})


@each("binding", ["lazy", "faithful"])
@each("kind", DYNAMIC)
@pytest.mark.parametrize("target", TARGETS)
def test_the_same_bound_at_the_first_call(target: str, kind: str, binding: str) -> None:
    """A function's canonical address is a PLT entry, whose slot is bound to the function itself."""
    with Machine(arch_of(target), libraries={"libshared.so": shared(target)}, binding=binding) as machine:
        process = machine.start(copying(target, kind), ["copying", "last"])
        assert process.image.relocated.lazy is not None
        assert process.run() == 3
        assert machine.libc.stdout.getvalue().decode() == COPYING
        assert {call.image for call in machine.first_calls} >= {process.image.name}


@pytest.mark.parametrize("target", TARGETS)
def test_destructors_run_once(target: str) -> None:
    with Machine(arch_of(target), libraries={"libshared.so": shared(target)}) as machine:
        machine.run(copying(target, "fixed"), ["copying", "last"])
        before = machine.libc.stdout.getvalue()
        out = machine.libc.stdout
        machine.close()
    assert out.getvalue() == before


def test_a_program_can_be_loaded_and_its_functions_called(target: str) -> None:
    if target == "loongarch64-clang":
        pytest.skip("this lld makes its code read another page, under glibc too: see the golden file")
    with Machine(arch_of(target), library_path=[fixture(target, "deps/libleaf").parent]) as machine:
        loaded = machine.load(fixture(target, "exe/copy"), run_initialisers=False)
        assert loaded.image.bias == 0
        assert loaded.function("copied_value", "int(void)")() == 10
        assert loaded.function("call_leaf", "int(int)")(3) == 13


_MAIN = ["argument", "value", "environ 1", "atexit"]
#: What each style of start files prints, and its status. DT_INIT and DT_FINI are not run by the newest ports.
STARTS = {
    1: (["A=value", *_MAIN, "destructor"], 5),
    2: (["init", *_MAIN, "fini", "destructor"], 5),
    3: (["DT_INIT", "A=value", *_MAIN, "destructor", "DT_FINI"], 5),
    4: (["A=value", *_MAIN[:3]], 6),
}
_STAND_IN = """\
char **environ; void __libc_start_main(void) {} void puts(void) {} void atexit(void) {} void getenv(void) {}
void _exit(void) {}
"""


@each("style", STARTS)
@each("kind", DYNAMIC)
@pytest.mark.parametrize("target", TARGETS)
def test_the_hosted_c_library_starts_main_as_the_programs_start_files_expect(
    target: str, kind: str, style: int
) -> None:
    libc = linked(target, [compiled(target, _STAND_IN, "-fPIC", "-fno-builtin")], "-soname", "libc.so.6")
    compiler, linker = DYNAMIC[kind]
    code = built(target, "main.c", f"-DSTYLE={style}", "-fno-direct-access-external-data", *compiler)
    path = program(target, [code, libc], "--dynamic-linker=/lib/ld-linux.so.2", *linker)
    with Machine(arch_of(target)) as machine:
        printed, status = STARTS[style]
        assert machine.run(path, ["main", "argument"], {"A": "value"}) == status
        unrun = set() if machine.arch.runs_init_fini else {"DT_INIT", "DT_FINI"}
        expected = [line for line in printed if line not in unrun]
        assert machine.libc.stdout.getvalue().decode().splitlines() == expected
        machine.close()
        assert machine.libc.stdout.getvalue().decode().splitlines() == expected, "nothing runs twice"


# ---------------------------------------------------------------- lifetimes and failures


def test_a_process_runs_once_and_leaves_the_machine_usable() -> None:
    with Machine("aarch64") as machine:
        before = machine.stack.top, machine.stack.constructor_arguments
        process = machine.start(tell("aarch64", "fixed"))
        assert isinstance(process, Process)
        assert process.arguments == (str(tell("aarch64", "fixed")),)
        assert process.run() == 7
        assert (machine.stack.top, machine.stack.constructor_arguments) == before
        with pytest.raises(MachineError, match="can be run only once"):
            process.run()
        library = machine.load(fixture("aarch64", "basic"), symbols={"my_host_function": lambda value: value})
        assert library.function("add", "int(int, int)")(2, 3) == 5


def test_what_is_no_program_is_refused_and_nothing_stays() -> None:
    with Machine("riscv64") as machine:
        before = machine.stack.top
        regions = machine.memory.regions
        with pytest.raises(UnsupportedElf, match="has no entry"):
            machine.start(fixture("riscv64", "basic"), symbols={"my_host_function": lambda value: value})
        assert (machine.linker.images, machine.memory.regions, machine.stack.top) == ([], regions, before)


def test_a_start_that_fails_leaves_the_machine_as_it_was() -> None:
    with Machine("riscv32", environment={"KEPT": "1"}) as machine:
        gp, regions = machine.cpu.read_register("gp"), machine.memory.regions
        unresolved = copying("riscv32", "fixed")
        with pytest.raises(LinkError, match=r"libshared\.so"):
            machine.start(unresolved, environment={"OTHER": "2"})
        assert machine.memory.regions == regions
        assert machine.cpu.read_register("gp") == gp
        assert (machine.libc.environment, machine.libc.program) == ({"KEPT": "1"}, None)
        assert isinstance(machine.os, Linux)
        assert machine.os.program is None


def test_variables_the_program_took_over_come_back_when_it_is_unloaded() -> None:
    source = "extern char *optarg; char **const where = &optarg; void _start(void) {}\n"
    libc = linked("x86_64", [compiled("x86_64", "char *optarg; int unused;\n", "-fPIC")], "-soname", "libc.so.6")
    path = program("x86_64", [compiled("x86_64", source), libc], "--dynamic-linker=/x", "-no-pie")
    with Machine("x86_64") as machine:
        before = machine.libc.data_symbol("optarg")
        with machine.load(path) as loaded:
            assert machine.libc.data_symbol("optarg") == loaded.symbols["optarg"].address != before
        assert machine.libc.data_symbol("optarg") == before


def test_two_fixed_programs_at_one_address_clash() -> None:
    with Machine("i386") as machine:
        path = tell("i386", "fixed")
        machine.run(path)
        with pytest.raises(AddressSpaceError, match="taken by"):
            machine.start(path.read_bytes())
        with pytest.raises(MachineError, match="is already loaded"):
            machine.start(path)


def test_arguments_that_do_not_fit_the_stack_are_an_error() -> None:
    with Machine("arm", stack_size=0x8000) as machine:
        with pytest.raises(MachineError, match="do not fit"):
            machine.start(tell("arm", "fixed"), ["x" * 0x8000])
        assert machine.linker.images == []


@pytest.mark.parametrize("word", [4, 8])
def test_the_initial_stack_is_laid_out_downwards_from_its_top(word: int) -> None:
    stack = initial_stack(0x8000, word, [b"a", b"bc"], [b"E=1"], {Aux.PAGESZ: 4096}, {Aux.EXECFN: b"/x\0"})
    words = [
        int.from_bytes(stack.content[at : at + word], "little") for at in range(0, len(stack.content) - 16, word)
    ]
    assert stack.sp % 16 == 0
    assert stack.sp + len(stack.content) == 0x8000
    assert words[0] == 2
    assert words[3] == 0
    assert words[5:12] == [0, Aux.PAGESZ, 4096, Aux.EXECFN, 0x8000 - 3, 0, 0]
    texts = [stack.content[at - stack.sp :].split(b"\0")[0] for at in (words[1], words[2], words[4], words[9])]
    assert texts == [b"a", b"bc", b"E=1", b"/x"]
    assert (stack.argv, stack.envp) == (stack.sp + word, stack.sp + 4 * word)
