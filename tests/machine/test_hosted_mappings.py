"""The hosted C library's mmap and its kin do what Linux does; devices and limits programs look for are there."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.errors import CallError, GuestFault
from relink.errors import UnresolvedSymbol
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

SOURCE = """
typedef unsigned long size_t;
#ifdef NARROW
typedef long off_t;
#else
typedef long long off_t;
#endif
void *mmap(void *, size_t, int, int, int, off_t); int munmap(void *, size_t); int mprotect(void *, size_t, int);
void *memcpy(void *, const void *, size_t); void *sbrk(long); int open(const char *, int, ...);
long read(int, void *, size_t); long write(int, const void *, size_t); int close(int);
int getrlimit64(int, unsigned long long *); int inet_pton(int, const char *, void *);
int prctl(int, ...); int statfs64(const char *, void *);
__attribute__((noinline, section(".text.leaf"))) int leaf(void) { return 42; }
static int call_copy(char *page) {
  unsigned long from = (unsigned long)leaf;
  return ((int (*)(void))((unsigned long)page | (from & 1)))();
}
static void copy(char *page) { memcpy(page, (void *)((unsigned long)leaf & ~1ul), 16); }
int writable_code(void) {
  char *page = mmap(0, 4096, 7, 0x22, -1, 0);
  if (page == (char *)-1) return -1;
  copy(page);
  return call_copy(page);
}
int protected_code(void) {
  char *page = mmap(0, 4096, 3, 0x22, -1, 0);
  copy(page);
  return mprotect(page, 4096, 5) ? -1 : call_copy(page);
}
int hole(void) { char *p = mmap(0, 0x8000, 3, 0x22, -1, 0); munmap(p, 0x1000); p[0x2000] = 7; return p[0x2000]; }
int fixed(void) {
  char *p = mmap(0, 0x4000, 0, 0x22, -1, 0), *q = mmap(p + 0x1000, 0x1000, 3, 0x32, -1, 0);
  if (q != p + 0x1000) return -1;
  *q = 5;
  return *q;
}
int guard(void) {
  volatile char *p = mmap(0, 0x2000, 3, 0x22, -1, 0);
  mprotect((void *)(p + 0x1000), 0x1000, 0);
  return p[0x1000];
}
int constant(void) { volatile char *p = mmap(0, 0x1000, 1, 0x22, -1, 0); return *p = 1; }
int not_code(void) { char *page = mmap(0, 4096, 3, 0x22, -1, 0); copy(page); return call_copy(page); }
int grow(void) { char *a = sbrk(5000), *b = sbrk(0); a[4999] = 3; return b - a + a[4999]; }
int devices(void) {
  unsigned char bytes[16] = {0};
  int null = open("/dev/null", 2), random = open("/dev/urandom", 0), sum = 0;
  if (write(null, bytes, 16) != 16 || read(null, bytes, 16) != 0 || read(random, bytes, 16) != 16) return -1;
  for (int i = 0; i < 16; i++) sum |= bytes[i];
  return close(null) || close(random) ? -2 : sum != 0;
}
int limits(void) { unsigned long long l[2]; return getrlimit64(3, l) ? -1 : l[0] == 8 << 20; }
int address(void) { unsigned char a[4]; return inet_pton(2, "10.1.2.3", a) == 1 && a[0] == 10 && a[3] == 3; }
"""
RIGHT = {
    "writable_code": 42, "protected_code": 42, "hole": 7, "fixed": 5, "grow": 5003, "devices": 1, "limits": 1,
    "address": 1,
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_mappings_are_protected_split_and_placed_as_on_linux(target: str) -> None:
    flags = ("-DNARROW",) if target in ("i386", "arm", "thumb") else ()
    with Machine(arch_of(target)) as machine:
        library = machine.load(compiled(target, SOURCE, "-O1", "-w", *flags))
        for name, right in RIGHT.items():
            assert library.function(name, f"int {name}(void)")() == right, name
        for name in ("guard", "constant", "not_code"):
            with pytest.raises(GuestFault):
                library.function(name, f"int {name}(void)")()


LOCALS = """
static __attribute__((used, noinline)) int inner(int x) { return x + 1; }
__attribute__((visibility("hidden"))) int hidden(int x) { return x + 2; }
static __attribute__((used)) int table[4];
int visible(int x) { return x + 3; }
"""
AGAIN = """static __attribute__((used, noinline)) int twice(int x) { return x + %d; }
int %s(int x) { return twice(x); }"""


@pytest.mark.parametrize("target", TARGETS)
def test_static_and_hidden_functions_are_found_where_only_one_is_meant(target: str) -> None:
    parts = [
        compiled(target, LOCALS, "-g"),
        compiled(target, AGAIN % (4, "four")),
        compiled(target, AGAIN % (5, "five")),
    ]
    with Machine(arch_of(target)) as machine:
        library = machine.load(parts)
        for name, right in (("inner", 11), ("hidden", 12), ("visible", 13)):
            assert library.function(name, f"int {name}(int)")(10) == right
        with pytest.raises(UnresolvedSymbol, match=r"twice \(local, in 2 places\)"):
            library.function("twice", "int twice(int)")
        with pytest.raises(CallError, match="is data"):
            library.function("table", "int table(void)")
        with pytest.raises(UnresolvedSymbol, match=r"looked up in the image"):
            library.function("nowhere", "int nowhere(void)")
