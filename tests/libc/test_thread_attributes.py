"""pthread_attr_t, and what a program without threads is told."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.errors import GuestAbort
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

_SOURCE = """
typedef __SIZE_TYPE__ size_t;
struct { long words[sizeof(long) == 8 ? 7 : 8]; int guard; } a;
int pthread_attr_init(void *); int pthread_attr_getstacksize(const void *, size_t *);
int pthread_attr_setstacksize(void *, size_t); int pthread_attr_getdetachstate(const void *, int *);
int pthread_attr_setdetachstate(void *, int); int pthread_attr_setscope(void *, int);
int pthread_attr_getguardsize(const void *, size_t *); int pthread_attr_setguardsize(void *, size_t);
int pthread_create(void *, const void *, void *(*)(void *), void *); void abort(void);
int run(void) {
    size_t size = 1, guard = 1; int detached = 5;
    for (unsigned i = 0; i < sizeof a; i++) ((char *)&a)[i] = 0x55;
    if (pthread_attr_init(&a) || pthread_attr_getstacksize(&a, &size) || size != 8 << 20) return 1;
    if (pthread_attr_setstacksize(&a, 100) != 22 || pthread_attr_setstacksize(&a, 65536)) return 2;
    if (pthread_attr_getstacksize(&a, &size) || size != 65536) return 3;
    if (pthread_attr_getdetachstate(&a, &detached) || detached) return 4;
    if (pthread_attr_setdetachstate(&a, 1) || pthread_attr_setdetachstate(&a, 2) != 22) return 5;
    if (pthread_attr_getdetachstate(&a, &detached) || detached != 1) return 6;
    if (pthread_attr_setguardsize(&a, 0) || pthread_attr_getguardsize(&a, &guard) || guard) return 7;
    if (pthread_attr_setscope(&a, 1) != 95) return 8;
    return a.guard == 0x55555555 ? 0 : 9;
}
extern char *__libc_stack_end; int pthread_getattr_np(unsigned long, void *);
int pthread_attr_getstack(const void *, void **, size_t *);
int ends(void) {
    char here, *low; size_t size;
    if (pthread_getattr_np(0, &a) || pthread_attr_getstack(&a, (void **)&low, &size)) return 1;
    return low <= &here && &here < __libc_stack_end && __libc_stack_end == low + size ? 0 : 2;
}
void start(void) { long thread; if (pthread_create(&thread, 0, 0, 0) == 11) abort(); }
"""


@pytest.mark.parametrize("target", TARGETS)
def test_attributes_are_kept_and_a_refused_thread_is_named(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        lib = machine.load(compiled(target, _SOURCE, "-fno-builtin"))
        assert lib.function("run", "int()")() == 0
        with pytest.raises(GuestAbort, match="pthread_create failed: the hosted C library has a single thread"):
            lib.function("start", "void()")()


@pytest.mark.parametrize("target", TARGETS)
def test_garbage_collectors_find_the_end_of_the_stack(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        lib = machine.load(compiled(target, _SOURCE, "-fno-builtin"))
        assert lib.function("ends", "int()")() == 0
