"""glibc's names for programs of 32-bit ISAs with 64-bit times, called by C code."""

from __future__ import annotations

import pytest

from emu import Machine
from tests.fixtures import arch_of
from tests.objects.build import compiled, linked

_SOURCE = """
typedef __SIZE_TYPE__ size_t;
typedef struct { size_t count; char **paths; size_t offset; int flags; void *functions[5]; } glob_t;
int __nftw64_time64(const char *, int (*)(const char *, const void *, int, void *), int, int);
int __ftw64_time64(const char *, int (*)(const char *, const void *, int), int);
int __glob64_time64(const char *, int, int (*)(const char *, int), glob_t *);
void __globfree64_time64(glob_t *);
int __clock_nanosleep_time64(int, int, const void *, void *);
static long long sizes;
static int see(const char *path, const void *status, int kind, void *place)
{
    sizes += kind ? 0 : *(const long long *)((const char *)status + 40);
    return 0;
}
static int see_plain(const char *path, const void *status, int kind) { return see(path, status, kind, 0); }
int all(void)
{
    glob_t found;
    long long none[2] = {0, 0};
    int result = __glob64_time64("/d/*", 0, 0, &found) ? 0 : found.count;
    __globfree64_time64(&found);
    if (__nftw64_time64("/d", see, 5, 0) || __ftw64_time64("/d", see_plain, 5))
        return -1;
    if (__clock_nanosleep_time64(0, 0, none, 0))
        return -2;
    return result * 100 + (int)sizes;
}
"""


@pytest.mark.parametrize("target", ["i386", "arm", "thumb"])
def test_names_with_64_bit_times_see_the_same_files(target: str) -> None:
    made = linked(target, [compiled(target, _SOURCE, "-fPIC", "-fno-builtin")])
    with Machine(arch_of(target), files={"/d/one": b"four", "/d/two": b"sixsix"}) as machine:
        assert machine.load(made).function("all", "int all(void)")() == 220
