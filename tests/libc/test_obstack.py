"""Obstacks, with the layout of glibc's <obstack.h>, which the macros of programs have."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.errors import GuestAbort
from tests.objects.build import compiled, linked

SOURCE = """
struct chunk { char *limit; struct chunk *previous; char contents[4]; };
struct obstack {
    long chunk_size; struct chunk *chunk; char *base, *next, *limit;
    union { long number; void *pointer; } temporary;
    int mask; void *allocate, *release, *extra; unsigned extra_used : 1, empty : 1, failed : 1;
};
void *malloc(unsigned long), free(void *), *memcpy(void *, const void *, unsigned long);
int _obstack_begin(struct obstack *, int, int, void *, void *);
int obstack_printf(struct obstack *, const char *, ...);
void _obstack_newchunk(struct obstack *, int), obstack_free(struct obstack *, void *);
int _obstack_memory_used(struct obstack *), _obstack_allocated_p(struct obstack *, void *);

static int blocks;
static void *get(long size) { blocks++; return malloc(size); }
static void put(void *block) { blocks--; free(block); }
static struct obstack stack;

static void grow(const char *text, int size) {
    if (stack.next + size > stack.limit) _obstack_newchunk(&stack, size);
    memcpy(stack.next, text, size);
    stack.next += size;
}
static char *finish(void) {
    char *object = stack.base;
    if (stack.next == object) stack.empty = 1;
    stack.next = (char *)(((unsigned long)stack.next + stack.mask) & ~(unsigned long)stack.mask);
    if (stack.next > stack.limit) stack.next = stack.limit;
    stack.base = stack.next;
    return object;
}
char *grown(int rounds) {
    _obstack_begin(&stack, 0, 0, get, put);
    grow("first", 6);
    char *first = finish();
    for (int round = 0; round < rounds; round++) { grow("abc", 3); obstack_printf(&stack, "%d,", round); }
    grow("", 1);
    char *object = finish();
    return first[0] == 'f' && !((unsigned long)object & stack.mask) ? object : 0;
}
int used(void) { return _obstack_memory_used(&stack); }
int back(char *object) {
    if (!_obstack_allocated_p(&stack, object)) return -1;
    obstack_free(&stack, object);
    return stack.base == object && stack.next == object && stack.limit > object ? blocks : -2;
}
int end(void) { obstack_free(&stack, 0); return blocks; }
void strange(void) { obstack_free(&stack, &blocks); }
void huge(void) { stack.next = stack.base + (-1UL >> 1) - 100; _obstack_newchunk(&stack, 1); }
"""


@pytest.mark.parametrize("target", ["x86_64", "i386", "aarch64", "arm", "riscv32", "loongarch64"])
def test_objects_grow_over_chunks_and_are_freed_back_to_one(target: str) -> None:
    with Machine(target) as machine:
        library = machine.load(linked(target, [compiled(target, SOURCE, "-fPIC", "-fno-builtin")]))
        grown = library.function("grown", "char *(int)")
        text = "".join(f"abc{n}," for n in range(700))
        address = int(grown(700))
        assert machine.memory.read(address, len(text) + 1).decode() == text + "\0"
        assert library.function("used", "int(void)")() > len(text)
        assert library.function("back", "int(char *)")(address) == 2, "the chunk of the first object, and this one"
        with pytest.raises(GuestAbort, match="is not in the obstack"):
            library.function("strange", "void(void)")()
        grown(3)
        with pytest.raises(GuestAbort, match="memory exhausted"):
            library.function("huge", "void(void)")()
        assert library.function("end", "int(void)")() == 0, "every chunk was given back"
