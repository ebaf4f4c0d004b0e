"""Where objects' sections, commons, stubs and names come to lie, observed by the code that depends on it."""

from __future__ import annotations

import pytest

from emu import Library, Machine
from relink import Linker, RelinkError
from relink.memory import placement as place
from relink.memory.address_space import HostMemory, Protection
from relink.objects.combined import CombinedObjects
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled, linked

EACH = pytest.mark.parametrize("target", TARGETS)
_INT = "int(int)"


def load(machine: Machine, *sources: object, **options: object) -> Library:
    return machine.load(list(sources), **options)  # type: ignore[arg-type]


def words(lib: Library, symbol: str, count: int) -> list[int]:
    data = lib.symbols[symbol].read_bytes(4 * count)
    return [int.from_bytes(data[4 * i : 4 * i + 4], "little") for i in range(count)]


# ---------------------------------------------------------------- places


@EACH
@pytest.mark.parametrize("align", [64, 4096, 65536])
def test_alignment_beyond_a_page_holds_in_memory(target: str, align: int) -> None:
    source = f"""
        char data[3] __attribute__((aligned({align}))) = "ab";
        char bss[5] __attribute__((aligned({align})));
        const char constant[2] __attribute__((aligned({align}))) = "c";
        __attribute__((aligned({align})))
        int function(int value) {{ return value + data[0] + bss[4] + constant[0]; }}
        """
    with Machine(arch_of(target)) as machine:
        load(machine, compiled(target, "int filler(void) { return 1; }\n"))
        lib = load(machine, compiled(target, "char odd = 1;\n"), compiled(target, source, "-fPIC"))
        assert lib.function("function", _INT)(1) == 1 + ord("a") + ord("c")
        for name in ("data", "bss", "constant", "function"):
            assert lib.symbols[name].address & ~machine.arch.code_address_bits & (align - 1) == 0


@EACH
def test_thread_local_alignment_holds(target: str) -> None:
    source = """
        __thread char first = 5;
        __thread int aligned __attribute__((aligned(256))) = 6;
        __thread int zero __attribute__((aligned(512)));
        typedef __UINTPTR_TYPE__ word;
        word misaligned(void) { return ((word)&aligned & 255) | ((word)&zero & 511); }
        int sum(void) { return first + aligned + zero; }
        """
    with Machine(arch_of(target)) as machine:
        lib = load(machine, compiled(target, "__thread char odd[3] = {1, 2, 3};\n"), compiled(target, source))
        assert lib.function("misaligned", "unsigned()")() == 0
        assert lib.function("sum", "int()")() == 11


@EACH
def test_pages_are_writable_or_executable_never_both(target: str) -> None:
    source = "int data = 1, bss; const int constant = 2; int f(void) { return data + bss + constant; }\n"
    with Machine(arch_of(target)) as machine:
        lib = load(machine, compiled(target, source))
        with pytest.raises(RelinkError):
            machine.call(lib.symbols["data"].address, "int()")
        permissions = {pages.protection for pages in place.pages(lib.image.decoded)}
        assert permissions == {Protection.R, Protection.R | Protection.X, Protection.R | Protection.W}


@EACH
def test_sections_of_one_c_name_lie_together(target: str) -> None:
    """`__start_` and `__stop_` bound the elements of all objects and nothing else."""
    entry = 'static int {0} __attribute__((section("registry"), used)) = {1}; int other_{0} = -1;\n'
    user = """
        extern int __start_registry[], __stop_registry[];
        static int own __attribute__((section("registry"), used)) = 1;
        int count(void) { return __stop_registry - __start_registry; }
        int sum(void) { int s = 0; for (int *p = __start_registry; p < __stop_registry; p++) s += *p; return s; }
        """
    parts = [compiled(target, entry.format(f"e{i}", 10**i)) for i in (1, 2, 3)]
    constant = compiled(
        target, '__attribute__((section("registry"), used)) static const int c = 20000;\nint d = -1;\n'
    )
    with Machine(arch_of(target)) as machine:
        lib = load(machine, parts[0], compiled(target, user, "-fPIC"), *parts[1:], constant)
        assert lib.function("count", "int()")() == 5
        assert lib.function("sum", "int()")() == 21111


@EACH
def test_bounds_of_a_section_nobody_has_are_weakly_null(target: str) -> None:
    source = """
        extern int __start_absent[] __attribute__((weak)), __stop_absent[] __attribute__((weak));
        int nothing(void) { return !__start_absent && !__stop_absent; }
        """
    with Machine(arch_of(target)) as machine:
        assert load(machine, compiled(target, source, "-fPIC")).function("nothing", "int()")() == 1


@EACH
def test_functions_and_data_in_sections_of_their_own(target: str) -> None:
    count = 200
    source = "\n".join(
        f"int d{i} = {i}; __attribute__((noinline)) int f{i}(int v) {{ return v + d{i}; }}" for i in range(count)
    )
    source += "\nint all(int v) { " + " ".join(f"v = f{i}(v);" for i in range(count)) + " return v; }\n"
    with Machine(arch_of(target)) as machine:
        lib = load(machine, compiled(target, source, "-ffunction-sections", "-fdata-sections"))
        assert lib.function("all", _INT)(1) == 1 + sum(range(count))


@pytest.mark.parametrize("target", ["riscv32"])
def test_more_sections_than_a_symbol_can_number(target: str) -> None:
    """SHN_XINDEX: symbols whose section's number does not fit 16 bits."""
    count = 65_400
    text = "".join(f'.section .data.s{i},"aw"\n.long {i}\n' for i in range(count))
    text += ".globl last\nlast: .long last_but_one - .\n"
    text += ".section .data.before\n.globl last_but_one\nlast_but_one: .long 7\n"
    lib = Linker(HostMemory(arch_of(target))).load(compiled(target, text, language="assembler"))
    last, before = lib.symbol("last").address, lib.symbol("last_but_one").address
    linker_memory = lib.region.buffer
    at = last - lib.region.address
    distance = int.from_bytes(linker_memory[at : at + 4].tobytes(), "little", signed=True)
    assert last + distance == before
    assert linker_memory[before - lib.region.address] == 7


@pytest.mark.parametrize("target", ["i386", "arm"])
def test_sections_linked_once_by_name(target: str) -> None:
    """.gnu.linkonce: what compilers wrote before there were groups."""
    number = {"i386": "movl ${0}, %eax\nret\n", "arm": "mov r0, #{0}\nbx lr\n"}[target]
    once = '.section .gnu.linkonce.t.{0},"ax",%progbits\n.weak {0}\n.type {0}, %function\n{0}: {1}'
    parts = [compiled(target, once.format("f", number.format(n)), language="assembler") for n in (1, 2)]
    with Machine(arch_of(target)) as machine:
        lib = load(machine, *parts)
        assert lib.function("f", "int()")() == 1
        combined = lib.image.decoded
        assert isinstance(combined, CombinedObjects)
        assert [s.name for s in combined.inputs if "linkonce" in s.name] == [".gnu.linkonce.t.f"]


@pytest.mark.parametrize("target", ["arm", "thumb"])
def test_the_index_of_unwind_tables_is_sorted_by_address(target: str) -> None:
    """.ARM.exidx is searched: its sections lie as the code they describe does, between two names."""
    source = "int a{0}(int (*f)(int)) {{ return f(0) + 1; }} int b{0}(int (*f)(int)) {{ return f(0) + 2; }}\n"
    parts = [compiled(target, source.format(n), "-ffunction-sections", "-funwind-tables") for n in range(3)]
    bounds = "extern char __exidx_start[], __exidx_end[]; char *first = __exidx_start, *last = __exidx_end;\n"
    with Machine("arm") as machine:
        lib = load(machine, *parts, compiled(target, bounds))
        first, last = (machine.memory.read_uint(lib.symbols[name].address, 4) for name in ("first", "last"))
        starts = []
        for place in range(first, last, 8):
            offset = machine.memory.read_uint(place, 4)
            starts.append((place + offset - (offset >> 30 & 1) * (1 << 31)) & 0xFFFF_FFFF)
        assert len(starts) >= 6
        assert starts == sorted(starts)


# ---------------------------------------------------------------- constructors


@EACH
def test_old_and_new_constructors_by_priority(target: str) -> None:
    """.ctors.N counts down from 65535 and runs from its end; .init_array.N counts up."""
    word = ".quad" if target in ("x86_64", "aarch64", "riscv64", "loongarch64") else ".long"
    source = f"""
        int order[10], count;
        static void note(int value) {{ order[count++] = value; }}
        #define F(n) __attribute__((used)) static void f##n(void) {{ note(n); }}
        F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8)
        #define AT(section, f) __asm__(".pushsection " section "\\n {word} " f "\\n.popsection");
        AT(".ctors,\\"aw\\",%progbits", "f5\\n{word} f4")
        AT(".ctors.65335,\\"aw\\",%progbits", "f2")
        AT(".init_array.00100,\\"aw\\",%progbits", "f1")
        AT(".init_array.300,\\"aw\\",%progbits", "f3")
        AT(".dtors,\\"aw\\",%progbits", "f6\\n{word} f7")
        AT(".fini_array.00100,\\"aw\\",%progbits", "f8")
        """
    with Machine(arch_of(target)) as machine:
        lib = load(machine, compiled(target, source))
        assert words(lib, "order", 8) == [1, 2, 3, 4, 5, 0, 0, 0]
        machine.initialisers.destruct(lib.image)
        assert words(lib, "order", 8) == [1, 2, 3, 4, 5, 6, 7, 8]


@EACH
def test_read_only_constructor_sections_run_too(target: str) -> None:
    word = ".quad" if target in ("x86_64", "aarch64", "riscv64", "loongarch64") else ".long"
    source = f"""
        int ran;
        __attribute__((used)) static void start(void) {{ ran = 1; }}
        __asm__(".section .init_array.7,\\"a\\"\\n {word} start\\n.text");
        """
    with Machine(arch_of(target)) as machine:
        assert load(machine, compiled(target, source)).symbols["ran"].read("int") == 1


@EACH
def test_atexit_functions_run_when_the_object_goes(target: str) -> None:
    """`__cxa_atexit` with `__dso_handle`, which tells whose they are."""
    source = """
        extern "C" void note(int);
        struct Noisy { int n; Noisy(int n) : n(n) { note(n); } ~Noisy() { note(-n); } };
        static Noisy one(1), two(2);
        """
    notes: list[int] = []
    with Machine(arch_of(target)) as machine:
        lib = load(
            machine,
            compiled(target, source, "-fno-exceptions", "-fno-rtti", language="c++"),
            symbols={"note": lambda value: notes.append(value & 0xFF)},
        )
        assert notes == [1, 2]
        lib.close()
        assert notes == [1, 2, 254, 255]


@EACH
def test_atexit_functions_of_what_is_gone_are_forgotten(target: str) -> None:
    """Registered by a constructor of a load that then fails, or without a handle by an object that is closed."""
    source = """
        extern "C" void note(int); extern "C" int atexit(void (*)()); static void last() { note(7); }
        struct Noisy { ~Noisy() { note(5); } }; static Noisy one;
        __attribute__((constructor(65535))) static void late() { atexit(last); note(3); }
        """

    def note(value: int) -> None:
        notes.append(value)
        if failing and value == 3:
            raise RuntimeError("as asked")

    path = compiled(target, source, "-fno-exceptions", "-fno-rtti", language="c++")
    for failing in (False, True):
        notes: list[int] = []
        with Machine(arch_of(target)) as machine:
            if failing:
                with pytest.raises(RuntimeError, match="as asked"):
                    load(machine, path, symbols={"note": note})
            else:
                load(machine, path, symbols={"note": note}).close()
        assert notes == ([3] if failing else [3, 5])


# ---------------------------------------------------------------- names


@EACH
def test_a_function_has_one_address(target: str) -> None:
    """From two objects, from data, from a shared object that imports it."""
    first = "int f(int value) { return value + 1; } int (*a(void))(int) { return f; }\n"
    second = "extern int f(int); int (*in_data)(int) = f; int (*b(void))(int) { return f; }\n"
    library = compiled(target, "extern int f(int); int (*c(void))(int) { return f; }\n", "-fPIC")
    with Machine(arch_of(target)) as machine:
        lib = load(machine, compiled(target, first, "-fPIC"), compiled(target, second, "-fPIC"))
        shared = machine.load(linked(target, [library]))
        size = machine.arch.word_size
        seen = {
            lib.function("a", "uintptr_t()")(),
            lib.function("b", "uintptr_t()")(),
            shared.function("c", "uintptr_t()")(),
            machine.memory.read_uint(lib.symbols["in_data"].address, size),
            lib.symbols["f"].address,
        }
        assert len(seen) == 1


@EACH
def test_weak_names(target: str) -> None:
    """A weak definition loses to any other; an undefined one has no address."""
    weak = "__attribute__((weak, noinline)) int f(int v) { return 1; } int use(int v) { return f(v); }\n"
    strong = "int f(int v) { return 2; }\n"
    absent = """
        extern int gone(int) __attribute__((weak)); extern int lost __attribute__((weak));
        int (*pointer)(int) = gone;
        int none(void) { return !gone && !&lost && !pointer; }
        int guarded(int value) { return gone ? gone(value) : 7; }
        """
    for flags in ((), ("-fPIC",)):
        with Machine(arch_of(target)) as machine:
            first = compiled(target, weak, *flags)
            lib = load(machine, first, compiled(target, strong), compiled(target, absent, *flags))
            assert lib.function("use", _INT)(0) == 2
            assert lib.function("none", "int()")() == 1
            assert lib.function("guarded", _INT)(0) == 7
            alone = load(machine, compiled(target, weak.replace("use", "use2"), *flags))
            assert alone.function("use2", _INT)(0) == 1


@EACH
def test_hidden_and_protected_names_stay_within(target: str) -> None:
    inside = """
        __attribute__((visibility("hidden"))) int secret(int v) { return v + 10; }
        __attribute__((visibility("protected"))) int kept(int v) { return v + 20; }
        """
    user = """
        extern int secret(int) __attribute__((visibility("hidden"))); extern int kept(int);
        int both(int v) { return secret(v) + kept(v); }
        """
    with Machine(arch_of(target), symbols={"kept": lambda value: 0}) as machine:
        lib = load(machine, compiled(target, inside, "-fPIC"), compiled(target, user, "-fPIC"))
        assert lib.function("both", _INT)(1) == 32
        with pytest.raises(RelinkError, match="secret"):
            load(machine, compiled(target, "extern int secret(int); int f(int v) { return secret(v); }\n"))


@EACH
def test_absolute_names_are_not_moved(target: str) -> None:
    source = """
        extern char fixed[]; __UINTPTR_TYPE__ held = (__UINTPTR_TYPE__)fixed;
        __asm__(".globl fixed\\nfixed = 0x1234");
        """
    with Machine(arch_of(target)) as machine:
        lib = load(machine, compiled(target, source))
        assert lib.symbols["held"].read("unsigned") == 0x1234
        assert lib.symbols["fixed"].address == 0x1234
        size = machine.arch.word_size
        other = load(machine, compiled(target, "extern char fixed[]; char *p = fixed;\n"))
        assert machine.memory.read_uint(other.symbols["p"].address, size) == 0x1234


@EACH
def test_names_a_linker_defines(target: str) -> None:
    source = """
        extern char _end[], __bss_start[], _edata[], _etext[], __ehdr_start[];
        int data = 1, bss; int text(void) { return 1; }
        int ordered(void) {
            return __ehdr_start < (char *)&text && (char *)&text < _etext && (char *)&data < _edata
                && (char *)&bss >= __bss_start && (char *)&bss < _end;
        }
        """
    with Machine(arch_of(target)) as machine:
        assert load(machine, compiled(target, source, "-fPIC")).function("ordered", "int()")() == 1


@EACH
def test_an_ifunc_of_an_object(target: str) -> None:
    """Called, by pointer, from data and from another image."""
    source = """
        static int one(int v) { return v + 1; }
        static int (*choose(void))(int) { return one; }
        int f(int) __attribute__((ifunc("choose")));
        int (*in_data)(int) = f;
        int call(int v) { return f(v); }
        int (*address(void))(int) { return f; }
        int same(void) { return in_data == address(); }
        """
    for flags in ((), ("-fPIC",)):
        with Machine(arch_of(target)) as machine:
            lib = load(machine, compiled(target, source, *flags))
            assert lib.function("call", _INT)(1) == 2
            assert lib.function("same", "int()")() == 1
            assert machine.call(lib.function("address", "uintptr_t()")(), _INT, 4) == 5
            assert lib.function("f", _INT)(9) == 10
            user = "extern int f(int); int g(int v) { return f(v) * 2; }\n"
            assert load(machine, compiled(target, user, *flags)).function("g", _INT)(2) == 6
            shared = machine.load(linked(target, [compiled(target, user, "-fPIC")]))
            assert shared.function("g", _INT)(2) == 6
