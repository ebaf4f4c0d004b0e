"""Sections that linkers write into one output section: where they lie, what they may do, what is left out.

Where lld links the same objects into a shared object, both must answer alike.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Library, Machine
from relink.errors import RelinkError
from relink.memory.address_space import Protection
from relink.objects.sections import output_name
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled, linked

EACH = pytest.mark.parametrize("target", TARGETS)
RWX = Protection.R | Protection.W | Protection.X
#: Instructions of three objects that make one function, which gives 3.
FRAGMENTS = {
    "x86_64": ("mov $1, %eax", "add $2, %eax", "ret"),
    "i386": ("mov $1, %eax", "add $2, %eax", "ret"),
    "aarch64": ("mov w0, #1", "add w0, w0, #2", "ret"),
    "arm": ("mov r0, #1", "add r0, r0, #2", "bx lr"),
    "thumb": ("movs r0, #1", "adds r0, r0, #2", "bx lr"),
    "riscv64": ("li a0, 1", "addi a0, a0, 2", "ret"),
    "riscv32": ("li a0, 1", "addi a0, a0, 2", "ret"),
    "loongarch64": ("li.w $a0, 1", "addi.w $a0, $a0, 2", "ret"),
}


def load(machine: Machine, objects: list[Path], **options: object) -> Library:
    return machine.load(list(objects), **options)  # type: ignore[arg-type]


def both(target: str, objects: list[Path], call: str) -> tuple[int, int]:
    """What `call()` gives linked here, and linked by lld."""
    answers = []
    for source in (objects, linked(target, objects)):
        with Machine(arch_of(target)) as machine:
            answers.append(machine.load(source).function(call, "int()")())
    return int(answers[0] or 0), int(answers[1] or 0)


def assembly(text: str) -> str:
    """C of a line of assembly text each; sections end with the file's own."""
    lines = "".join(f'"{line.strip()}\\n"\n' for line in text.replace('"', '\\"').strip().splitlines())
    return f"__asm__({lines});\n"


# ---------------------------------------------------------------- permissions


@EACH
@pytest.mark.parametrize("section", [".patched", "named"])
def test_a_section_that_is_written_and_executed_is_both(target: str, section: str) -> None:
    """So is all of its output section, as in GNU ld and lld."""
    cell = f"""
        .section {section},"awx",%progbits
        .p2align 2
        .globl cell
        cell: .4byte 41
        .previous
    """
    plain = f'__attribute__((section("{section}"))) int other(void) {{ return 1; }}\n'
    source = assembly(cell) + "extern int cell;\nint bump(void) { return ++cell + other_calls(); }\n"
    source = "int other(void);\nstatic int other_calls(void) { return other() - 1; }\n" + source
    with Machine(arch_of(target)) as machine:
        lib = load(machine, [compiled(target, source, "-Wno-section"), compiled(target, plain)])
        assert lib.function("bump", "int()")() == 42
        assert machine.memory.protection(lib.symbols["cell"].address) == RWX
        assert machine.memory.protection(lib.symbols["other"].address & ~1) == RWX


@EACH
def test_no_other_section_becomes_writable_code(target: str) -> None:
    cell = '.section .patched,"awx",%progbits\n.globl cell\ncell: .4byte 41\n.previous'
    source = assembly(cell) + "int data = 1; const int constant = 2; int f(void) { return data; }\n"
    with Machine(arch_of(target)) as machine:
        lib = load(machine, [compiled(target, source)])
        protections = [machine.memory.protection(lib.symbols[n].address & ~1) for n in ("f", "data", "constant")]
        assert protections == [RWX & ~Protection.W, RWX & ~Protection.X, Protection.R]


# ---------------------------------------------------------------- order


@EACH
@pytest.mark.parametrize("attribute", ["", "-ffunction-sections"])
def test_start_and_stop_bound_the_code_of_their_section_alone(target: str, attribute: str) -> None:
    hot = '__attribute__((section("hot"), noinline)) int {0}(int x) {{ return x + {1}; }}\n'
    other = hot.format("second", 2) + "int cold(int x) { return x * 3; }\n"
    source = f"""
        extern char __start_hot[], __stop_hot[];
        int cold(int x); int second(int x);
        int first(int x);
        {hot.format("first", 1)}
        int warm(int x) {{ return x - 1; }}
        static int in(int (*f)(int)) {{ return (char *)f >= __start_hot && (char *)f < __stop_hot; }}
        int run(void) {{ return in(first) * 1000 + in(second) * 100 + in(cold) * 10 + in(warm); }}
        """
    objects = [compiled(target, text, "-fPIC", attribute or "-O1") for text in (source, other)]
    assert both(target, objects, "run") == (1100, 1100)


@EACH
def test_an_output_section_begins_as_aligned_as_its_parts(target: str) -> None:
    """Or where the second part lies, seen from the first, depends on what lies before."""
    entry = 'struct {{ int x[2]; }} {0} __attribute__((section("set"), aligned({1}))) = {{{{ {2}, 0 }}}};\n'
    source = f"""
        {entry.format("one", 4, 1)}
        extern char __start_set[] __attribute__((visibility("hidden")));
        extern char __stop_set[] __attribute__((visibility("hidden")));
        int size(void) {{ return __stop_set - __start_set; }}
        """
    objects = [compiled(target, text, "-fPIC") for text in (source, entry.format("two", 64, 2))]
    assert both(target, objects, "size") == (72, 72)


@EACH
@pytest.mark.parametrize("align", [1, 32])
def test_fragments_of_init_run_into_each_other(target: str, align: int) -> None:
    """Also over what alignment leaves between them, and whatever code other sections have."""
    first, second, third = FRAGMENTS[target]
    mode = ".thumb" if target == "thumb" else ""
    head = f'{mode}\n.section .init,"ax",%progbits\n.globl _init\n.type _init,%function\n'
    head += (".thumb_func\n" if mode else "") + f"_init: {first}"
    parts = [head, f'{mode}\n.section .init,"ax",%progbits\n.balign {align}\n{second}']
    parts.append(f'{mode}\n.section .init,"ax",%progbits\n{third}')
    codes = [assembly(part) + f"int f{n}(void) {{ return {n}; }}\n" for n, part in enumerate(parts)]
    with Machine(arch_of(target)) as machine:
        lib = load(machine, [compiled(target, code) for code in codes])
        assert lib.function("_init", "int()")() == 3


@EACH
def test_init_and_fini_of_objects_are_dt_init_and_dt_fini(target: str) -> None:
    """Where the ISA's ld.so runs those: the newer ports have only the arrays."""
    source = """
        volatile int value;
        void say(int);
        void _init(void) { value = value * 10 + 1; }
        __attribute__((constructor)) void constructor(void) { value = value * 10 + 2; }
        void _fini(void) { say(4); }
        __attribute__((destructor)) void destructor(void) { say(3); }
        """
    said: list[int] = []
    with Machine(arch_of(target)) as machine:
        lib = load(machine, [compiled(target, source)], symbols={"say": (said.append, "void(int)")})
        old = machine.arch.runs_init_fini
        assert lib.symbols["value"].read("int") == (12 if old else 2)
        lib.close()
    assert said == ([3, 4] if old else [3])


# ---------------------------------------------------------------- left out


@EACH
def test_excluded_sections_are_no_part_of_the_image(target: str) -> None:
    text = '.section gone,"ae",%progbits\n.globl absent\nabsent: .4byte 1\n.previous'
    source = assembly(text) + "extern int absent;\nint *f(void) { return &absent; }\n"
    with Machine(arch_of(target)) as machine:
        lib = load(machine, [compiled(target, source, "-fPIC")], symbols={"absent": 0x1234})
        assert lib.function("f", "void *()")() == 0x1234
        with pytest.raises(RelinkError):
            lib.image.section("gone")


@EACH
def test_what_is_about_a_section_lies_in_its_order_and_goes_with_it(target: str) -> None:
    """SHF_LINK_ORDER: the second object's copy of a COMDAT function is dropped, and what is said of it."""
    about = '.section meta,"ao",%progbits,.text.own{0}\n.4byte {0}\n.previous\n'
    twin = '.section .text.twin,"axG",%progbits,twin,comdat\n.p2align 2\n.globl twin\ntwin: .4byte 0\n.previous\n'
    of_twin = '.section meta,"aoG",%progbits,.text.twin,twin,comdat\n.4byte {0}\n.previous\n'
    own = '.section .text.own{0},"ax",%progbits\n.p2align 2\nown{0}: .4byte 0\n.previous\n'

    def source(number: int) -> str:
        parts = (twin, own.format(number), about.format(number), of_twin.format(100 + number))
        return assembly("".join(parts))

    reader = """
        extern int __start_meta[] __attribute__((visibility("hidden")));
        extern int __stop_meta[] __attribute__((visibility("hidden")));
        int count(void) { return __stop_meta - __start_meta; }
        int nth(int n) { return __start_meta[n]; }
        """
    objects = [
        compiled(target, source(1) + reader, "-fPIC"),
        compiled(target, source(2), "-fPIC"),
    ]
    with Machine(arch_of(target)) as machine:
        lib = load(machine, objects)
        count = lib.function("count", "int()")()
        assert isinstance(count, int)
        entries = [lib.function("nth", "int(int)")(n) for n in range(count)]
    assert entries == [101, 1, 2]


@pytest.mark.parametrize(
    ("name", "output"),
    [
        (".text.startup", ".text"),
        (".textual", ".textual"),
        (".data.rel.ro.local", ".data.rel.ro"),
        (".data.rel.local", ".data"),
        (".rodata.str1.1", ".rodata"),
        (".ARM.exidx.text.f", ".ARM.exidx"),
        ("named.x", "named.x"),
    ],
)
def test_which_output_a_section_goes_to(name: str, output: str) -> None:
    assert output_name(name) == output
