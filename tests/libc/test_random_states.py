"""random, its states and the reentrant generators: glibc's numbers on every ISA."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable

import pytest

from emu import Machine
from emu.libc.errno import Errno
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled, linked

_SOURCE = """
typedef __SIZE_TYPE__ size_t;
typedef struct { int *a, *b, *c; int d, e, f; int *g; } random_data;
typedef struct { unsigned short fields[8]; unsigned long long a; } drand48_data;
void srandom(unsigned);
long random(void);
int rand(void);
char *initstate(unsigned, char *, size_t), *setstate(char *);
int initstate_r(unsigned, char *, size_t, random_data *), random_r(random_data *, int *);
int setstate_r(char *, random_data *), srandom_r(unsigned, random_data *);
int srand48_r(long, drand48_data *), drand48_r(drand48_data *, double *), lrand48_r(drand48_data *, long *);
int mrand48_r(drand48_data *, long *), erand48_r(unsigned short *, drand48_data *, double *);
int seed48_r(unsigned short *, drand48_data *), lcong48_r(unsigned short *, drand48_data *);
int nrand48_r(unsigned short *, drand48_data *, long *), jrand48_r(unsigned short *, drand48_data *, long *);
static char states[5][256];
static random_data data;
long plain(unsigned seed) { srandom(seed); random(); return random(); }
int first(void) { return rand(); }
long with_state(unsigned seed, int size)
{
    char *before = initstate(seed, states[0], size);
    if (!before)
        return -1;
    random();
    if (setstate(before) != states[0])
        return -2;
    random();
    setstate(states[0]);
    long number = random();
    setstate(before);
    return number;
}
int reentrant(unsigned seed, int size)
{
    int number = -1;
    data.c = 0;
    if (initstate_r(seed, states[1], size, &data) || random_r(&data, &number))
        return -1;
    random_data other = {0};
    setstate_r(states[1], &other);
    srandom_r(seed + 1, &data);
    random_r(&data, &number);
    return random_r(&data, &number) ? -1 : number;
}
long numbers48(long seed, int which)
{
    drand48_data d = {{0}, 0};
    unsigned short x[7] = {1, 2, 3, 4, 5, 6, 7};
    double real = 0;
    long number = 0;
    srand48_r(seed, &d);
    switch (which) {
    case 0: drand48_r(&d, &real); drand48_r(&d, &real); return (long)(real * 1000000000);
    case 1: return lrand48_r(&d, &number) ? -1 : number;
    case 2: return mrand48_r(&d, &number) ? -1 : number;
    case 3: return nrand48_r(x, &d, &number) ? -1 : number;
    case 4: return jrand48_r(x, &d, &number) ? -1 : number;
    case 5: seed48_r(x, &d); lrand48_r(&d, &number); return number;
    case 6: lcong48_r(x, &d); lrand48_r(&d, &number); return number;
    default: erand48_r(x, &d, &real); return (long)(real * 1000000000);
    }
}
"""


def _reentrant(glibc: ctypes.CDLL, seed: int, size: int) -> int:
    data, state, number = (ctypes.create_string_buffer(n) for n in (64, 256, 4))
    glibc.initstate_r(seed, state, ctypes.c_size_t(size), data)
    glibc.srandom_r(seed + 1, data)
    for _ in range(2):
        glibc.random_r(data, number)
    return int(struct.unpack("<i", number)[0])


def _with_state(glibc: ctypes.CDLL, seed: int, size: int) -> int:
    state = ctypes.create_string_buffer(256)
    glibc.initstate.restype = ctypes.c_void_p
    glibc.setstate.argtypes = [ctypes.c_void_p]
    glibc.random.restype = ctypes.c_long
    before = glibc.initstate(seed, state, ctypes.c_size_t(size))
    glibc.random()
    number = glibc.random()
    glibc.setstate(before)
    return int(number)


def _numbers48(glibc: ctypes.CDLL, seed: int, which: int) -> int:
    data, real, number = ctypes.create_string_buffer(24), ctypes.c_double(), ctypes.c_long()
    x = (ctypes.c_ushort * 7)(1, 2, 3, 4, 5, 6, 7)
    glibc.srand48_r(ctypes.c_long(seed), data)
    calls: dict[int, Callable[[], object]] = {
        0: lambda: (glibc.drand48_r(data, ctypes.byref(real)), glibc.drand48_r(data, ctypes.byref(real))),
        1: lambda: glibc.lrand48_r(data, ctypes.byref(number)),
        2: lambda: glibc.mrand48_r(data, ctypes.byref(number)),
        3: lambda: glibc.nrand48_r(x, data, ctypes.byref(number)),
        4: lambda: glibc.jrand48_r(x, data, ctypes.byref(number)),
        5: lambda: (glibc.seed48_r(x, data), glibc.lrand48_r(data, ctypes.byref(number))),
        6: lambda: (glibc.lcong48_r(x, data), glibc.lrand48_r(data, ctypes.byref(number))),
        7: lambda: glibc.erand48_r(x, data, ctypes.byref(real)),
    }
    calls[which]()
    return int(real.value * 1000000000) if which in (0, 7) else number.value


@pytest.mark.parametrize("target", TARGETS)
def test_random_numbers_are_glibcs(target: str, glibc: ctypes.CDLL) -> None:
    made = linked(target, [compiled(target, _SOURCE, "-fPIC", "-fno-builtin")])
    with Machine(arch_of(target)) as machine:
        library = machine.load(made)
        assert library.function("first", "int(void)")() == 1804289383  # without a seed
        plain = library.function("plain", "long(unsigned)")
        for seed in (0, 1, 5, 0xFFFF_FFFF):
            glibc.srandom(ctypes.c_uint(seed))
            glibc.random()
            assert plain(seed) == glibc.random()
        with_state = library.function("with_state", "long(unsigned, int)")
        reentrant = library.function("reentrant", "int(unsigned, int)")
        for size in (8, 31, 32, 64, 128, 255, 256):
            assert with_state(42, size) == _with_state(glibc, 42, size), size
            assert reentrant(42, size) == _reentrant(glibc, 42, size), size
        assert with_state(42, 7) == -1
        assert machine.libc.errno == Errno.EINVAL
        numbers48 = library.function("numbers48", "long(long, int)")
        for which in range(8):
            assert numbers48(12345, which) == _numbers48(glibc, 12345, which), which
