"""Functions of the hosted C library, called by the guest in a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from benchmarks.measure import microseconds
from emu import Machine
from tests.fixtures import arch_of
from tests.objects.build import compiled

_SOURCE = """
typedef __SIZE_TYPE__ size;
extern int host(int);
extern void *malloc(size), *memcpy(void *, const void *, size);
extern void free(void *);
extern size strlen(const char *);
static char one[64] __attribute__((aligned(16))), two[64] __attribute__((aligned(16)));
int loop_host(int n) { int sum = 0; while (n--) sum += host(n); return sum; }
void loop_memcpy(int n) { void *(*volatile f)(void *, const void *, size) = memcpy; while (n--) f(one, two, 16); }
void loop_malloc(int n) { while (n--) { void *volatile block = malloc(40); free(block); } }
void loop_strlen(int n)
{
    size (*volatile f)(const char *) = strlen;
    for (int i = 0; i < 40; i++) two[i] = 'x';
    while (n--) f(two);
}
"""
_LOOPS = {"host function": "host", "strlen": "strlen", "memcpy": "memcpy", "malloc and free": "malloc"}
_COUNT = 2000


class HostedFunctions:
    """A machine of one target, and what each function costs in it."""

    names = tuple(_LOOPS)

    def __init__(self, target: str) -> None:
        self.machine = Machine(arch_of(target))
        host: Callable[[int], int] = lambda value: value + 1  # noqa: E731
        library = self.machine.load(
            compiled(target, _SOURCE, "-g", "-w", "-fno-builtin"), symbols={"host": (host, "int host(int)")}
        )
        self._loops: dict[str, Any] = {name: library[f"loop_{loop}"] for name, loop in _LOOPS.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.machine.close()

    def cost(self, name: str) -> float:
        """Microseconds of one call, with the loop's part in it."""
        loop = self._loops[name]
        return microseconds(lambda: loop(_COUNT), 1) / _COUNT
