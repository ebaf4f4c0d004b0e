"""What a kernel and ld.so set up for code: the stack's permissions, RELRO and its time, PT_DYNAMIC, the program's
path."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from emu.errors import GuestFault
from emu.linux.process import Process
from relink.memory.address_space import Protection
from tests.fixtures import arch_of, fixture
from tests.objects.build import TARGETS, compiled, linked

EACH = pytest.mark.parametrize("target", TARGETS)
RUNS_ON_THE_STACK = """
    typedef __UINTPTR_TYPE__ word;
    int seven(void) { return 7; }
    int run(void) {
        volatile unsigned char code[64] __attribute__((aligned(16)));
        const unsigned char *from = (const unsigned char *)((word)seven & ~(word)1);
        for (int i = 0; i < 64; i++) code[i] = from[i];
        return ((int (*)(void))((word)code | ((word)seven & 1)))();
    }
"""
LOOP = 'void _start(void) { for (;;) __asm__ volatile ("" ::: "memory"); }\n'
NOTE = '__asm__(".section .note.GNU-stack,\\"x\\",%progbits\\n.text");\n'


@EACH
def test_the_stack_is_executable_where_a_file_asks_for_it(target: str) -> None:
    library = compiled(target, RUNS_ON_THE_STACK, "-fPIC")
    for source, runs in (
        (linked(target, [library]), False),
        (linked(target, [library], "-z", "execstack"), True),
        (library, False),
        (compiled(target, NOTE + RUNS_ON_THE_STACK, "-fPIC"), True),
    ):
        with Machine(arch_of(target)) as machine:
            function = machine.load(source).function("run", "int()")
            if runs:
                assert function() == 7
            else:
                with pytest.raises(GuestFault, match="non-executable"):
                    function()


@EACH
def test_a_load_that_fails_leaves_the_stack_as_it_was(target: str) -> None:
    broken = NOTE + RUNS_ON_THE_STACK + "void fail(void); __attribute__((constructor)) void c(void) { fail(); }\n"

    def fail() -> None:
        raise ZeroDivisionError

    with Machine(arch_of(target)) as machine:
        with pytest.raises(ZeroDivisionError):
            machine.load(compiled(target, broken, "-fPIC"), symbols={"fail": fail})
        assert machine.memory.protection(machine.stack.bottom) == Protection.R | Protection.W


@EACH
def test_relro_is_protected_after_ifunc_resolvers_have_run(target: str) -> None:
    """They may write there, as those of glibc do; nobody may afterwards."""
    if target == "loongarch64":
        pytest.skip("clang has no ifunc attribute for LoongArch")
    source = """
        static int chosen __attribute__((section(".data.rel.ro")));
        static int forty_two(void) { return 42; }
        static int (*choose(void))(void) { *(volatile int *)&chosen = 1; return forty_two; }
        int f(void) __attribute__((ifunc("choose")));
        int run(void) { return f() + *(volatile int *)&chosen; }
        void write(void) { *(volatile int *)&chosen = 2; }
        """
    library = linked(target, [compiled(target, source, "-fPIC")])
    with Machine(arch_of(target)) as machine:
        lib = machine.load(library)
        assert lib.function("run", "int()")() == 43
        with pytest.raises(GuestFault):
            lib.function("write", "void()")()


@EACH
def test_addresses_in_the_dynamic_section_are_rebased_but_on_riscv(target: str) -> None:
    source = """
        typedef __UINTPTR_TYPE__ word;
        extern word _DYNAMIC[] __attribute__((visibility("hidden")));
        word tag(word wanted) { for (word *d = _DYNAMIC; *d; d += 2) if (*d == wanted) return d[1]; return 0; }
        """
    library = linked(target, [compiled(target, source, "-fPIC")], "--hash-style=both")
    with Machine(arch_of(target)) as machine:
        lib = machine.load(library)
        image, tag = lib.image, lib.function("tag", "unsigned long(unsigned long)")
        bias = 0 if target.startswith("riscv") else image.bias
        for number in (5, 6, 4, 0x6FFFFEF5):  # DT_STRTAB, DT_SYMTAB, DT_HASH, DT_GNU_HASH
            assert tag(number) == image.decoded.dynamic.value(number, 0) + bias
        assert tag(10) == image.decoded.dynamic.value(10)  # DT_STRSZ, a size


@EACH
def test_a_program_is_told_its_absolute_path(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = linked(target, [compiled(target, LOOP, "-fPIC")], "-e", "_start")
    monkeypatch.chdir(path.parent)
    for name in (path.name, f"./{path.name}", str(path)):
        with Machine(arch_of(target)) as machine:
            process = machine.start(name)
            assert isinstance(process, Process)
            assert process.stack is not None
            at = process.auxv[31]
            assert machine.memory.read(at, len(str(path)) + 1) == str(Path.cwd() / path.name).encode() + b"\0"


@EACH
def test_anything_with_an_entry_may_be_run(target: str) -> None:
    """DF_1_PIE is a hint of linkers: the kernel does not ask for it."""
    library = linked(target, [compiled(target, LOOP, "-fPIC")], "-e", "_start")
    with Machine(arch_of(target)) as machine:
        process = machine.start(library)
        assert process.entry == process.image.symbol("_start").address
    with Machine(arch_of(target)) as machine, pytest.raises(Exception, match="has no entry"):
        machine.start(compiled(target, LOOP))


VSYSCALLS = """
    long seconds(void) { return ((long (*)(long *))0xffffffffff600400UL)(0); }
    long microseconds(void) {
        long now[2] = {0, -1};
        return ((long (*)(long *, void *))0xffffffffff600000UL)(now, 0) ? -1 : now[0];
    }
    int cpu(void) {
        unsigned cpu = 7, node = 7;
        ((long (*)(unsigned *, unsigned *, void *))0xffffffffff600800UL)(&cpu, &node, 0);
        return cpu + node;
    }
    int elsewhere(void) { return ((int (*)(void))0xffffffffff600008UL)(); }
"""


def test_the_vsyscall_page_of_x86_64_answers_at_its_three_addresses() -> None:
    target = next(target for target in TARGETS if arch_of(target) == "x86_64")
    with Machine("x86_64") as machine:
        library = machine.load(compiled(target, VSYSCALLS, "-fPIC"))
        seconds = library.function("seconds", "long(void)")()
        assert 0 <= library.function("microseconds", "long(void)")() - seconds < 100
        assert library.function("cpu", "int(void)")() == 0
        with pytest.raises(GuestFault, match="execution of unmapped memory"):
            library.function("elsewhere", "int(void)")()


def test_debuggers_are_shown_the_dynamic_section_that_is_read(tmp_path: Path) -> None:
    """Of several PT_DYNAMIC the last that is not empty counts, for l_ld too; here PT_PHDR becomes one."""
    data = bytearray(fixture("x86_64-clang", "basic").read_bytes())
    offset = int.from_bytes(data[32:40], "little")
    assert data[offset : offset + 4] == b"\6\0\0\0", "the first program header is PT_PHDR"
    data[offset : offset + 4] = b"\2\0\0\0"
    data[offset + 32 : offset + 40] = bytes(8)
    library = tmp_path / "two.so"
    library.write_bytes(data)
    with Machine("x86_64") as machine:
        image = machine.load(library, allow_unresolved=True).image
        assert image.decoded.dynamic_segment is not None
        l_ld = machine.memory.read_uint(machine.link_maps.link_map_address(image) + 16, 8)
        assert l_ld == image.address_of(image.decoded.dynamic_segment.vaddr)
        assert image.decoded.dynamic_segment.filesz
