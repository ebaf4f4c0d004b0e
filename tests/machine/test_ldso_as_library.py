"""The target's own ld.so, loaded as a library: nothing has initialised it."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.isa.registry import ISAS
from tests.fixtures import arch_of
from tests.objects.build import compiled, linked

_LDSO = """
void *__tls_get_addr(void *index) { return 0; }
void *___tls_get_addr(void *index) { return 0; }
int pthread_create(void *t, const void *a, void *(*s)(void *), void *p) { return 1 / *(volatile int *)&(int){0}; }
"""
_USER = """
int pthread_create(void *, const void *, void *(*)(void *), void *);
__attribute__((tls_model("global-dynamic"))) __thread int variable = 7;
int run(void) { return ++variable; }
int start(void) { long thread; return pthread_create(&thread, 0, 0, 0); }
"""


@pytest.mark.parametrize("target", ["x86_64", "i386", "aarch64", "arm", "riscv64", "riscv32", "loongarch64"])
def test_thread_local_storage_and_threads_are_not_left_to_an_ldso_that_never_started(target: str) -> None:
    soname = ISAS[arch_of(target)].libc.sonames[0]
    ldso = linked(target, [compiled(target, _LDSO, "-fPIC", "-w")], "-soname", soname)
    user = linked(target, [compiled(target, _USER, "-fPIC")], str(ldso))
    with Machine(arch_of(target), hosted_libc=False, libraries={soname: ldso}) as machine:
        library = machine.load(user)
        assert machine.linker.loaded(soname) is not None
        assert library.function("run", "int()")() == 8
        assert library.function("start", "int()")() == 11
