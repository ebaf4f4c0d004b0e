"""A new version of a library in the place of a loaded one: bindings, state, handles, and what refuses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import ConstructorFault, HostFunction, Machine, SwapRefused, Variable
from relink.errors import RelinkError, UseAfterUnload
from tests.fixtures import each_target
from tests.objects.build import compiled, linked, program

ONE = """
struct state { int hits; const char *label; struct state *self; int (*step)(int); };
int add(int a, int b) { return a + b; }
int twice(int x) { return 2 * x; }
static int calls;
static unsigned char bytes[8] = {1, 2, 3};
struct state state = { 0, "one", &state, twice };
__thread int mine = 5;
static int *walker = &calls;
int work(int x) {
    ++*walker; ++state.hits; ++mine; bytes[1] += 10;
    return state.step(x) + state.self->hits;
}
const char *label(void) { return state.label; }
int count(void) { return calls; }
int thread_count(void) { return mine; }
int byte(int n) { return bytes[n]; }
"""
#: The same interface, elsewhere in memory, with other code and another initial label.
TWO = (
    ONE.replace("int add(int a", "int before(int n) { return n ? n * before(n - 1) : 1; }\nint add(int a", 1)
    .replace("return 2 * x", "return 3 * x", 1)
    .replace('"one"', '"two"', 1)
    .replace(
        "static int calls;",
        "static int padding[99] = {1};\nint pad(int n) { return padding[n]; }\nstatic int calls;",
    )
)
USER = """
struct state;
extern struct state state;
extern __thread int mine;
int add(int, int); int work(int); int twice(int);
int (*pointer)(int) = work;
int (*late)(int);
struct state *where = &state;
void remember(void) { late = twice; }
int through(int x) { return pointer(x); }
int direct(int x) { return work(x); }
int later(int x) { return late(x); }
int sum(int a) { return add(a, 1); }
int thread_value(void) { return mine; }
"""


def library(target: str, source: str, *flags: str, soname: str = "libwork.so") -> Path:
    return linked(target, [compiled(target, source, "-fPIC", *flags)], f"-soname={soname}")


def user(target: str, library_: Path, source: str = USER) -> Path:
    return linked(target, [compiled(target, source, "-fPIC", "-g")], str(library_), "-soname=libuser.so")


target = each_target()


@pytest.mark.parametrize("binding", ["now", "lazy"])
def test_bindings_state_and_handles_go_over(target: str, binding: str) -> None:
    one, two = library(target, ONE, "-g"), library(target, TWO, "-g")
    with Machine(target, binding=binding) as machine:
        old = machine.load(one)
        users = machine.load(user(target, one))
        work = old.function("work", "int(int)")
        users.function("remember", "void(void)")()
        through, direct, later = (users.function(name, "int(int)") for name in ("through", "direct", "later"))
        assert (through(10), direct(10), later(10)) == (21, 22, 20)
        image = old.image
        again = machine.swap(old, two)
        assert again is old
        assert image.closed
        assert old.image is image.successor
        # the code is the new one's, the state the old one's
        assert (through(10), direct(10), later(10), work(10)) == (33, 34, 30, 35)
        assert old.function("count", "int(void)")() == 5
        assert old.function("thread_count", "int(void)")() == users.function("thread_value", "int(void)")() == 10
        assert [old.function("byte", "int(int)")(n) for n in range(3)] == [1, 52, 3]
        label = old.function("label", "const char *(void)")()
        assert machine.memory.read_cstring(label) == b"two"  # the guest had not changed it
        assert old.function("before", "int(int)")(5) == 120
        assert old.swapped is not None
        assert set(old.swapped.rebound[users.name]) >= {"work", "state", "mine"}


def test_nothing_of_the_old_version_is_left(target: str) -> None:
    one, two = library(target, ONE, "-g"), library(target, TWO, "-g")
    with Machine(target) as machine:
        old = machine.load(one)
        users = machine.load(user(target, one))
        users.function("remember", "void(void)")()
        users.function("through", "int(int)")(1)
        image, base, size = old.image, old.base, old.image.region.size
        machine.swap(old, two)
        assert image not in machine.linker.images
        assert image not in machine.linker.global_scope
        assert not machine.memory.is_mapped(base, 1)
        word = machine.arch.word_size
        for region in machine.memory.regions:
            if region.name == "[stack]":
                continue  # what lies below the stack pointer
            for offset, length, _ in region.pages:
                data = machine.memory.read(region.address + offset, length)
                words = (int.from_bytes(data[at : at + word], "little") for at in range(0, len(data), word))
                assert not [hex(value) for value in words if base <= value < base + size], region.name
        old.close()
        users.close()
        assert [image.name for image in machine.linker.images] == []


def test_versions_may_be_swapped_again_and_again(target: str) -> None:
    versions = library(target, ONE, "-g"), library(target, TWO, "-g")
    with Machine(target) as machine:
        handle = machine.load(versions[0])
        users = machine.load(user(target, versions[0]))
        for number in range(1, 7):
            assert users.function("direct", "int(int)")(0) == number
            mapped = len(machine.memory.regions)
            machine.swap(handle, versions[number % 2])
            assert len(machine.memory.regions) == mapped


CHANGES = {
    "function gone": ("int work(int x)", "int labour(int x)", "undefined symbol: work"),
    "thread-local variable gone": ("__thread int mine", "static __thread int mine", "undefined symbol: mine"),
    "another prototype": ("int add(int a, int b)", "int add(int a, long long b)", "function add is in use"),
    "another layout": ("int hits; const", "long long hits; const", "struct state is in use"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("target", ["x86_64", "arm", "riscv32"])
def test_what_others_use_must_be_there_unchanged(target: str, change: str) -> None:
    before, after, told = CHANGES[change]
    one = library(target, ONE, "-g")
    two = library(target, ONE.replace(before, after, 1), "-g")
    with Machine(target) as machine:
        old, users = machine.load(one), machine.load(user(target, one))
        assert users.function("direct", "int(int)")(1) == 3
        images, regions = list(machine.linker.images), [region.address for region in machine.memory.regions]
        with pytest.raises(RelinkError, match=told):
            machine.swap(old, two)
        assert machine.linker.images == images
        assert [region.address for region in machine.memory.regions] == regions
        assert users.function("direct", "int(int)")(1) == 4
        assert not old.image.closed


KEEPER = """
void *malloc(unsigned long);
void *dlopen(const char *, int);
void *dlsym(void *, const char *);
int twice(int);
struct node { long tag; int (*call)(int); } *node;
void keep(void) { node = malloc(sizeof *node); node->tag = 7; node->call = twice; }
int kept(int x) { return node->call(x); }
void *handle;
int open_it(const char *path) { return (handle = dlopen(path, 2)) != 0; }
int by_handle(int x) { return ((int (*)(int))dlsym(handle, "work"))(x); }
"""


def test_a_word_that_only_looks_like_a_pointer_refuses_the_swap_or_is_rewritten(target: str) -> None:
    one, two = library(target, ONE, "-g"), library(target, TWO, "-g")
    with Machine(target) as machine:
        old, keeper = machine.load(one), machine.load(user(target, one, KEEPER))
        keeper.function("keep", "void(void)")()
        kept = keeper.function("kept", "int(int)")
        with pytest.raises(SwapRefused, match=r"\[heap\] at .* nothing tells that it is a pointer"):
            machine.swap(old, two)
        assert (kept(5), old.image.closed) == (10, False)
        machine.swap(old, two, pointers="rewrite")
        assert kept(5) == 15
        assert old.swapped is not None
        assert old.swapped.pointers == 1


def test_a_handle_of_dlopen_is_one_of_the_new_version(target: str, tmp_path: Path) -> None:
    one, two = library(target, ONE, "-g"), library(target, TWO, "-g")
    with Machine(target, libraries={"libwork.so": one}) as machine:
        keeper = machine.load(user(target, one, KEEPER))
        assert keeper.function("open_it", "int(const char *)")("libwork.so") == 1
        by_handle = keeper.function("by_handle", "int(int)")
        assert by_handle(10) == 21
        machine.swap(keeper.image.dependencies[0], two)
        assert by_handle(10) == 32


def test_running_code_is_not_swapped(target: str) -> None:
    calling = ONE + "int ask(void);\nint outer(int x) { return work(x) + ask(); }\n"
    one, two = library(target, calling, "-g"), library(target, TWO, "-g")
    seen = list[int]()
    with Machine(target) as machine:

        def ask() -> int:
            with pytest.raises(SwapRefused, match=r"its code is running: .*outer"):
                machine.swap(old, two)
            seen.append(1)
            return 100

        old = machine.load(one, symbols={"ask": ask})
        assert old.function("outer", "int(int)")(10) == 121
        assert seen == [1]


def test_a_host_function_may_swap_a_library_that_is_not_running(target: str) -> None:
    one, two = library(target, ONE, "-g"), library(target, TWO, "-g")
    around = "void now(void);\nint around(int x) { int y = direct(x); now(); return 100 * y + direct(x); }\n"
    with Machine(target) as machine:
        old = machine.load(one)
        symbols = {"now": lambda: machine.swap(old, two) and None}
        users = machine.load(user(target, one, USER + around), symbols=symbols)
        assert users.function("around", "int(int)")(10) == 2132


def test_the_old_one_is_destructed_before_the_new_one_is_constructed(target: str) -> None:
    source = """
    void say(int);
    int value = 1;
    __attribute__((constructor)) static void up(void) { say(VERSION * 10 + value); }
    __attribute__((destructor)) static void down(void) { say(-VERSION); value = 7; }
    """
    one, two = (library(target, f"#define VERSION {number}\n{source}", "-g") for number in (1, 2))
    said: list[int] = []
    with Machine(target) as machine:
        handle = machine.load(one, symbols={"say": HostFunction(said.append, "void(int)")})
        machine.swap(handle, two)
        assert said == [11, -1, 27]
    assert said == [11, -1, 27, -2]


def test_a_constructor_that_fails_rolls_the_swap_back(target: str) -> None:
    failing = TWO + "__attribute__((constructor)) static void up(void) { __builtin_trap(); }\n"
    one, two = library(target, ONE, "-g"), library(target, failing, "-g")
    with Machine(target) as machine:
        old, users = machine.load(one), machine.load(user(target, one))
        users.function("remember", "void(void)")()
        through, later = (users.function(name, "int(int)") for name in ("through", "later"))
        assert through(10) == 21
        with pytest.raises(ConstructorFault):
            machine.swap(old, two)
        assert (through(10), later(10), old.image.closed) == (22, 20, False)
        machine.swap(old, library(target, TWO, "-g"))
        assert (through(10), later(10)) == (33, 30)


def test_a_failed_swap_undoes_what_destructors_and_constructors_did(target: str) -> None:
    other = linked(
        target, [compiled(target, "int journal = 1;\nint *unused = &journal;\n", "-fPIC")], "-soname=libj.so"
    )
    versions = []
    for number, ending in (("2", ""), ("3", "__builtin_trap();")):
        source = f"""
        extern int journal; int held = 5;
        __attribute__((constructor)) static void up(void) {{ journal *= {number}; {ending} }}
        __attribute__((destructor)) static void down(void) {{ journal += 100; held = 0; }}
        int get(void) {{ return held; }}
        """
        versions.append(linked(target, [compiled(target, source, "-fPIC")], str(other), "-soname=libv.so"))
    with Machine(target, libraries={"libj.so": other}) as machine:
        handle = machine.load(versions[0])
        journal = handle.symbols["journal"]
        get = handle.function("get", "int(void)")
        assert journal.read("int") == 2
        with pytest.raises(ConstructorFault):
            machine.swap(handle, versions[1])
        assert (journal.read("int"), get(), handle.image.closed) == (2, 5, False)
        machine.swap(handle, versions[0])
        assert (journal.read("int"), get()) == (204, 0)  # the destructor reset it


def test_members_that_are_added_keep_their_initial_value_and_hooks_change_what_only_they_can(target: str) -> None:
    old_source = """
    struct item { short id; unsigned flag : 3, level : 5; double weight; };
    struct item items[3] = { { 1, 2, 3, 0.5 } };
    float ratio = 1;
    int grow(int n) { items[n].id -= 100; items[n].level++; items[n].weight *= 2; ratio = n + 3; return 0; }
    """
    new_source = """
    struct item { double weight; int added; unsigned char id; unsigned level : 9, flag : 4; };
    struct item items[4] = { { 0.5, 42, 1, 3, 2 }, { .added = 43 } };
    int ratio = 1;
    int grow(int n) { return items[n].id; }
    """
    one, two = library(target, old_source, "-g"), library(target, new_source, "-g")
    with Machine(target) as machine:
        handle = machine.load(one)
        for number in range(2):
            handle.function("grow", "int(int)")(number)
        with pytest.raises(SwapRefused, match=r"items\[0\].id: .* cannot be -99.*ratio: was float, is int"):
            machine.swap(handle, two)

        def items(old: Variable, new: Variable) -> None:
            for before, after in zip(old.value, new.value, strict=False):
                after.id = abs(before.id)
                for name in ("level", "flag", "weight"):
                    setattr(after, name, getattr(before, name))

        hooks = {"items": items, "ratio": lambda old, new: new.write(int(old.value) + 10)}
        machine.swap(handle, two, hooks=hooks)
        values = [tuple(item) for item in handle.symbols["items"].value]
        assert values[:2] == [(1.0, 42, 99, 4, 2), (0.0, 43, 100, 1, 0)]
        assert handle.symbols["ratio"].value == 14


def test_integers_may_become_wider_and_members_move(target: str) -> None:
    old_source = """
    struct s { short a; signed char b : 4; int *p; int q[3]; } s = { 1, 2, 0, { 7 } };
    void change(void) { s.a = -5; s.b = -3; s.q[1] = 8; }
    """
    new_source = "int other; struct s { int q[5], *p; signed char b : 6; int a; } s = { .q = { 9 } };\n"
    one, two = library(target, old_source, "-g"), library(target, new_source, "-g")
    with Machine(target) as machine:
        handle = machine.load(one)
        handle.function("change", "void(void)")()
        machine.swap(handle, two)
        s = handle.symbols["s"].value
        assert (s.a, list(s.q)) == (-5, [9, 8, 0, 0, 0])


def test_without_debug_information_state_goes_over_by_size(target: str) -> None:
    one, two = library(target, ONE), library(target, TWO)
    with Machine(target) as machine:
        old, users = machine.load(one), machine.load(user(target, one))
        assert users.function("direct", "int(int)")(10) == 21
        machine.swap(old, two)
        assert users.function("direct", "int(int)")(10) == 32
        assert old.function("count", "int(void)")() == 2


def test_each_thread_keeps_its_thread_local_state(target: str) -> None:
    one, two = library(target, ONE, "-g"), library(target, TWO, "-g")
    with Machine(target) as machine:
        old = machine.load(one)
        other = machine.new_thread()
        counts = []
        for thread, calls in ((machine.threads.main, 2), (other, 4)):
            with machine.use_thread(thread):
                for _ in range(calls):
                    old.function("work", "int(int)")(1)
        machine.swap(old, two)
        for thread in (machine.threads.main, other):
            with machine.use_thread(thread):
                counts.append(old.function("thread_count", "int(void)")())
        assert counts == [7, 9]


def test_relocatable_objects_are_swapped_too(target: str) -> None:
    with Machine(target) as machine:
        old = machine.load(compiled(target, ONE, "-g"), name="work.o")
        work = old.function("work", "int(int)")
        assert [work(10), work(10)] == [21, 22]
        machine.swap(old, compiled(target, TWO, "-g"), name="work2.o")
        assert work(10) == 33


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("closed", "use after unload|unloaded|closed"),
        ("patched", "twice is patched: undo that first"),
        ("other machine", "arm"),
        ("loaded already", "is loaded already"),
        ("executable", "is an executable"),
    ],
)
def test_what_cannot_be_swapped_is_refused(what: str, told: str) -> None:
    target = "x86_64"
    one, two = library(target, ONE, "-g"), library(target, TWO, "-g")
    with Machine(target) as machine:
        old, source = machine.load(one), two
        if what == "closed":
            old.close()
        elif what == "patched":
            machine.patch(old.function("twice", "int(int)"), lambda x: x)
        elif what == "other machine":
            source = library("arm", TWO)
        elif what == "loaded already":
            source = library(target, "int other;\n", soname="libother.so")
            machine.load(source)
        elif what == "executable":
            old = machine.load(program(target, [compiled(target, "int _start;\n", "-fPIC")], "-pie"))
        images = list(machine.linker.images)
        with pytest.raises((RelinkError, UseAfterUnload), match=f"(?i){told}"):
            machine.swap(old, source)
        assert machine.linker.images == images
