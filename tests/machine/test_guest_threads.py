"""Several guest threads: blocks of their own, and what runs and goes when one ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Library, Machine
from emu.errors import CallError, ConstructorFault, GuestExit, GuestFault
from emu.run.threads import STACK_GUARD
from relink.errors import LinkError, UseAfterUnload
from tests.fixtures import arch_of, fixture, variant_of
from tests.machine.conftest import MakeMachine
from tests.machine.test_dynamic_tls import MODES, state
from tests.objects.build import TARGETS, compiled, linked

#: An object per thread with a destructor, as a C++ compiler registers it; `say` is the host's.
DESTRUCTORS = """
    extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
    extern int __cxa_atexit(void (*)(void *), void *, void *);
    extern void say(int);
    __attribute__((visibility("hidden"))) void *__dso_handle = &__dso_handle;
    __thread int object[3];
    static void destroy(void *each) { say(*(int *)each); }
    static void last(void *nothing) { say(1000); }
    static void late(void *nothing) {
        object[2] = 77;
        __cxa_thread_atexit_impl(destroy, &object[2], &__dso_handle);
    }
    void make(int value) {
        object[0] = value;
        object[1] = value + 1;
        __cxa_thread_atexit_impl(destroy, &object[0], &__dso_handle);
        __cxa_thread_atexit_impl(destroy, &object[1], &__dso_handle);
    }
    void make_late(void) { __cxa_thread_atexit_impl(late, 0, &__dso_handle); }
    extern void exit(int);
    void quit(void) { exit(3); }
    void at_exit(void) { __cxa_atexit(last, 0, 0); }
    void crash(void *nothing) { *(volatile int *)0 = 0; }
    void make_crash(void) { __cxa_thread_atexit_impl(crash, 0, &__dso_handle); }
    __attribute__((destructor)) static void gone(void) { say(2000); }
"""


def destructors(target: str) -> Path:
    target = variant_of(target).target.name
    return linked(target, [compiled(target, DESTRUCTORS, "-fPIC")])


def load_destructors(machine: Machine, target: str, said: list[int]) -> Library:
    return machine.load(destructors(target), symbols={"say": (said.append, "void(int)")})


@MODES
def test_threads_have_variables_of_their_own(make_machine: MakeMachine, target: str, dynamic: bool) -> None:
    machine = make_machine(dynamic_tls=dynamic)
    early = machine.load(fixture(target, "tls"))
    before = state(machine)
    thread, other = machine.new_thread(), machine.new_thread()
    late = machine.load(fixture(target, "tls_dynamic"))
    blocks = {machine.thread_pointer, thread.thread_pointer, other.thread_pointer}
    assert len(blocks) == 3
    early.function("tls_set", "void(int)")(100)
    late.function("dynamic_set", "void(int)")(5)
    models = ("tls_gd", "tls_ld", "tls_ie", "tls_other_gd")
    with machine.use_thread(thread):
        assert machine.thread_pointer == thread.thread_pointer
        assert [early.function(f, "int(void)")() for f in models] == [11, 43, 63, 41]
        assert late.function("dynamic_get", "int(void)")() == 71
        early.function("tls_set", "void(int)")(200)
        late.symbols["dynamic_variable"].write(6, "int")
        with machine.use_thread(other):
            assert early.function("tls_gd", "int(void)")() == 11
            assert late.function("dynamic_get", "int(void)")() == 71
        assert early.symbols["gd_variable"].read("int") == 200
        assert late.function("dynamic_get", "int(void)")() == 6
    assert [early.function(f, "int(void)")() for f in models] == [100, 203, 207, 105]
    assert late.function("dynamic_get", "int(void)")() == 5
    late.close()
    machine.exit_thread(thread)
    machine.exit_thread(other)
    assert state(machine)[1:] == (*before[1:3], *state(machine)[3:])
    assert machine.threads.alive == [machine.threads.main]


def test_a_hundred_threads_leave_nothing() -> None:
    with Machine("x86_64", dynamic_tls=True) as machine, machine.load(fixture("x86_64", "tls_dynamic")) as lib:
        before = state(machine)
        for _ in range(100):
            thread = machine.new_thread()
            with machine.use_thread(thread):
                assert lib.function("dynamic_get", "int(void)")() == 71
            machine.exit_thread(thread)
        after = state(machine)
    assert after == before


@pytest.mark.parametrize("target", TARGETS)
def test_a_host_function_may_run_the_guest_as_another_thread(target: str) -> None:
    source = """
        extern int in_another(int);
        __thread int mine = 1;
        int get(void) { return mine; }
        void set(int value) { mine = value; }
        int both(int value) { mine = value; int other = in_another(value + 1); return other * 1000 + mine; }
    """
    with Machine(arch_of(target)) as machine:
        thread = machine.new_thread()

        def in_another(value: int) -> int:
            with machine.use_thread(thread):
                before = lib.function("get", "int(void)")()
                lib.function("set", "void(int)")(value)
                with pytest.raises(GuestFault):
                    machine.call(0x10, "void(void)")
                assert isinstance(before, int)
                return before

        lib = machine.load(
            linked(target, [compiled(target, source, "-fPIC")]), symbols={"in_another": (in_another, "int(int)")}
        )
        assert lib.function("both", "int(int)")(5) == 1005
        assert lib.function("both", "int(int)")(8) == 6008
        with machine.use_thread(thread):
            assert lib.symbols["mine"].read("int") == 9


def test_errno_and_keys_are_a_thread_s_own(machine: Machine, target: str) -> None:
    target = variant_of(target).target.name
    source = """
        extern __thread int errno;
        extern void say(int);
        extern int pthread_key_create(unsigned *, void (*)(void *));
        extern int pthread_setspecific(unsigned, const void *);
        extern void *pthread_getspecific(unsigned);
        static unsigned key;
        static void gone(void *value) {
            say((int)(long)value);
            if (value == (void *)7) pthread_setspecific(key, (void *)8);
        }
        int create(void) { return pthread_key_create(&key, gone); }
        int put(long value) { return pthread_setspecific(key, (void *)value); }
        long get(void) { return (long)pthread_getspecific(key); }
        int error(void) { return errno; }
    """
    said: list[int] = []
    lib = machine.load(
        linked(target, [compiled(target, source, "-fPIC")]), symbols={"say": (said.append, "void(int)")}
    )
    thread = machine.new_thread()
    assert lib.function("create", "int(void)")() == 0
    machine.libc.errno = 5
    lib.function("put", "int(long)")(3)
    with machine.use_thread(thread):
        assert lib.function("error", "int(void)")() == machine.libc.errno == 0
        machine.libc.errno = 6
        assert lib.function("get", "long(void)")() == 0
        lib.function("put", "int(long)")(7)
        assert lib.function("error", "int(void)")() == 6
    assert lib.function("error", "int(void)")() == 5
    assert lib.function("get", "long(void)")() == 3
    machine.exit_thread(thread)
    assert said == [7, 8]
    assert lib.function("get", "long(void)")() == 3


def test_a_new_thread_s_control_block_is_what_compilers_expect(machine: Machine) -> None:
    thread = machine.new_thread()
    guard = {"x86_64": 0x28, "i386": 0x14}.get(machine.arch.name)
    word = machine.arch.word_size
    if guard is not None:
        pointer = thread.thread_pointer
        assert machine.memory.read_uint(pointer, word) == pointer
        assert machine.memory.read_uint(pointer + guard, word) == STACK_GUARD & machine.arch.address_mask
    with machine.use_thread(thread):
        assert machine.thread_pointer == thread.thread_pointer
    machine.exit_thread(thread)
    assert machine.memory.region_at(thread.thread_pointer) is None


def test_threads_that_cannot_be_ended_or_used_say_so(machine: Machine) -> None:
    thread = machine.new_thread()
    with pytest.raises(CallError, match="main"):
        machine.exit_thread(machine.threads.main)
    with machine.use_thread(thread):
        with pytest.raises(CallError, match="in use"):
            machine.exit_thread(thread)
        with machine.use_thread(machine.new_thread()), pytest.raises(CallError, match="in use"):
            machine.exit_thread(thread)
    machine.exit_thread(thread)
    with pytest.raises(CallError, match="ended"), machine.use_thread(thread):
        pass
    with pytest.raises(CallError, match="ended"):
        machine.exit_thread(thread)


# ---------------------------------------------------------------- destructors of thread-local objects


@MODES
def test_destructors_run_when_their_thread_ends_last_first(
    make_machine: MakeMachine, target: str, dynamic: bool
) -> None:
    machine, said = make_machine(dynamic_tls=dynamic), list[int]()
    lib = load_destructors(machine, target, said)
    thread = machine.new_thread()
    lib.function("make", "void(int)")(10)
    with machine.use_thread(thread):
        lib.function("make_late", "void(void)")()
        lib.function("make", "void(int)")(20)
    machine.exit_thread(thread)
    assert said == [21, 20, 77]
    lib.function("at_exit", "void(void)")()
    machine.os.finish()
    assert said == [21, 20, 77, 11, 10, 1000]


def test_a_library_stays_until_its_destructors_have_run(make_machine: MakeMachine, target: str) -> None:
    machine, said = make_machine(), list[int]()
    lib = load_destructors(machine, target, said)
    thread = machine.new_thread()
    with machine.use_thread(thread):
        lib.function("make", "void(int)")(20)
    lib.close()
    assert not lib.image.closed
    assert said == []
    with pytest.raises(LinkError):
        lib.close()
    machine.exit_thread(thread)
    assert said == [21, 20, 2000]
    assert lib.image.closed
    with pytest.raises(UseAfterUnload):
        lib.function("make", "void(int)")


def test_closing_the_machine_runs_the_main_thread_s_destructors_before_all_else(target: str) -> None:
    said: list[int] = []
    with Machine(arch_of(target)) as machine:
        lib = load_destructors(machine, target, said)
        lib.function("at_exit", "void(void)")()
        lib.function("make", "void(int)")(10)
        with machine.use_thread(machine.new_thread()):
            lib.function("make", "void(int)")(20)  # exit does not end other threads (POSIX): theirs do not run
        lib.close()
    assert said == [11, 10, 1000, 2000]


def test_exit_runs_the_calling_thread_s_destructors_first(make_machine: MakeMachine, target: str) -> None:
    machine, said = make_machine(), list[int]()
    lib = load_destructors(machine, target, said)
    lib.function("make", "void(int)")(10)
    lib.function("at_exit", "void(void)")()
    with machine.use_thread(machine.new_thread()):
        lib.function("make", "void(int)")(20)
        with pytest.raises(GuestExit):
            lib.function("quit", "void(void)")()
    assert said == [21, 20, 1000]


def test_a_destructor_that_crashes_ends_its_thread_all_the_same(make_machine: MakeMachine, target: str) -> None:
    machine, said = make_machine(), list[int]()
    lib = load_destructors(machine, target, said)
    before = state(machine)
    thread = machine.new_thread()
    with machine.use_thread(thread):
        lib.function("make", "void(int)")(20)
        lib.function("make_crash", "void(void)")()
    with pytest.raises(GuestFault):
        machine.exit_thread(thread)
    assert not thread.alive
    assert state(machine)[0] == before[0]
    assert machine.linker.pinned_addresses() == ()
    lib.close()
    assert lib.image.closed


def test_a_failed_load_s_destructors_hold_nothing(make_machine: MakeMachine, target: str) -> None:
    machine, arch = make_machine(), variant_of(target).target.name
    path = linked(
        arch,
        [
            compiled(
                arch,
                """
        extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
        static int here;
        static void destroy(void *nothing) { here = 1; }
        __attribute__((constructor)) static void fail(void) {
            __cxa_thread_atexit_impl(destroy, 0, &here);
            *(volatile int *)0 = 0;
        }
    """,
                "-fPIC",
            )
        ],
    )
    with pytest.raises(ConstructorFault):
        machine.load(path)
    assert machine.linker.pinned_addresses() == ()
    machine.os.finish()


@pytest.mark.parametrize("target", TARGETS)
@MODES
def test_cxx_thread_local_objects_are_made_and_destroyed_thread_by_thread(target: str, dynamic: bool) -> None:
    source = """
        extern "C" void say(int);
        extern "C" { __attribute__((visibility("hidden"))) void *__dso_handle = &__dso_handle; }
        struct Counter {
            int count;
            Counter(int start) : count(start) { say(start); }
            ~Counter() { say(-count); }
        };
        thread_local Counter shared(100);
        extern "C" int count() { return ++shared.count; }
        extern "C" int inner() { static thread_local Counter mine(200); return ++mine.count; }
    """
    said: list[int] = []
    path = linked(target, [compiled(target, source, "-fPIC", "-fno-exceptions", language="c++")])
    with Machine(arch_of(target), dynamic_tls=dynamic) as machine:
        lib = machine.load(path, symbols={"say": (said.append, "void(int)")})
        count, inner = lib.function("count", "int()"), lib.function("inner", "int()")
        thread = machine.new_thread()
        assert [count(), count(), inner()] == [101, 102, 201]
        with machine.use_thread(thread):
            assert [inner(), count()] == [201, 101]
        assert said == [100, 200, 200, 100]
        machine.exit_thread(thread)
        assert said[4:] == [-101, -201]
        assert [count(), inner()] == [103, 202]
        lib.close()
        assert not lib.image.closed
    assert said[6:] == [-202, -103]
