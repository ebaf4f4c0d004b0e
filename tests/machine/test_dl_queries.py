"""What the guest can ask of loaded images: dladdr, dlinfo, dl_iterate_phdr, _dl_find_object, link maps, r_debug.

The structures are read by C code of the target, declared as glibc's link.h and dlfcn.h have them.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from emu import Machine
from tests.fixtures import arch_of, fixture
from tests.machine.dl import FLAGS, SOURCES, Guest, library
from tests.objects.build import TARGETS, compiled, linked

pytestmark = [pytest.mark.sample(2), pytest.mark.parametrize("target", TARGETS)]

_DECLARED = """
typedef __SIZE_TYPE__ word; typedef __SIZE_TYPE__ size_t; typedef unsigned long long u64;
struct link_map { word l_addr; char *l_name; void *l_ld; struct link_map *l_next, *l_prev; };
struct r_debug { int r_version; struct link_map *r_map; word r_brk; int r_state; word r_ldbase; };
struct phdr_info {
    word addr; const char *name; const void *phdr; unsigned short phnum; u64 adds, subs; size_t modid; void *data;
};
struct found {
    u64 flags; void *start, *end; struct link_map *map; void *eh_frame;
#if defined __i386__
    void *dbase; unsigned pad;
#elif defined __arm__
    int count; unsigned pad;
#endif
    u64 reserved[7];
};
typedef struct { const char *fname; void *fbase; const char *sname; void *saddr; } Dl_info;
void *dlopen(const char *, int); int dladdr(const void *, Dl_info *);
int dladdr1(const void *, Dl_info *, void **, int); int dlinfo(void *, int, void *);
int dl_iterate_phdr(int (*)(struct phdr_info *, size_t, void *), void *);
int _dl_find_object(void *, struct found *);
"""

_ASKER = (
    _DECLARED
    + """
static int same(const char *a, const char *b) { while (*a && *a == *b) ++a, ++b; return *a == *b; }
static int ends(const char *a, const char *b)
{
    const char *p = a;
    while (*p) ++p;
    const char *q = b;
    while (*q) ++q;
    while (p > a && q > b && p[-1] == q[-1]) --p, --q;
    return q == b;
}

/* The chain forwards and backwards: how many entries; -1 where a link leads astray. */
int chain_length(void)
{
    struct link_map *map = dlopen(0, 2), *last = 0;
    int count = 0;
    if (map->l_prev) return -1;
    for (; map; last = map, map = map->l_next, ++count)
        if (map->l_prev != last) return -2;
    return count;
}

/* The entry of a library, by the end of its name. */
struct link_map *entry(const char *name)
{
    for (struct link_map *map = dlopen(0, 2); map; map = map->l_next)
        if (map->l_name[0] && ends(map->l_name, name)) return map;
    return 0;
}

int asked = 5;
__thread int per_thread = 6;
static int unexported(void) { return 1; }
static int unexported_data[10];
int exported(int a) { return a + unexported() + unexported_data[a]; }
Dl_info info;
void *extra;
int address(void *place) { return dladdr(place, &info); }
int address_of_exported(void) { return dladdr((char *)exported + 2, &info) && info.saddr == (void *)exported; }
/* An image without exports around has no name for what is static. */
int static_data_has_no_name(void)
{
    if (!dladdr(&unexported_data[3], &info)) return -1;
    return info.sname == 0 || info.saddr != unexported_data;
}
int on_the_stack(void) { int here = 0; return dladdr(&here, &info); }
int entry_of_symbol(void)
{
    if (!dladdr1(&asked, &info, &extra, 1)) return -1;
    /* ElfN_Sym: name, then value and size (32) or info, other, section, value, size (64). */
    return ((unsigned *)extra)[sizeof(word) == 8 ? 4 : 2] == sizeof asked && same(info.sname, "asked");
}
int map_of_symbol(void)
{
    return dladdr1(&asked, &info, &extra, 2) && (char *)((struct link_map *)extra)->l_addr <= (char *)&asked;
}

int rounds, count_seen, stop_at;
u64 adds, subs;
size_t sizes;
static int each(struct phdr_info *info, size_t size, void *data)
{
    ++count_seen;
    sizes = size;
    adds = info->adds;
    subs = info->subs;
    if (*(int *)data != 9) return -1;
    if (info->modid && info->data == 0) return -2;
    return stop_at && count_seen == stop_at ? 100 + stop_at : 0;
}
int iterate(int stop)
{
    int nine = 9;
    stop_at = stop;
    count_seen = 0;
    return dl_iterate_phdr(each, &nine);
}
u64 how_many_added(void) { iterate(0); return adds; }
u64 how_many_gone(void) { iterate(0); return subs; }

/* Whether a PT_LOAD of the image it is in covers a place. */
static int covering(struct phdr_info *info, size_t size, void *place)
{
    const unsigned *row = info->phdr;
    for (int n = 0; n < info->phnum; ++n, row += sizeof(word) == 8 ? 14 : 8) {
        const word *words = (const word *)(sizeof(word) == 8 ? row + 2 : row + 1);
        word vaddr = words[1], memsz = words[4];
        if (row[0] == 1 && (word)place - info->addr - vaddr < memsz) return 1;
    }
    return 0;
}
int covered(void *place) { return dl_iterate_phdr(covering, place); }

struct found found;
int find(void *place) { return _dl_find_object(place, &found); }
int finds_itself(void)
{
    struct link_map *map = 0;
    return _dl_find_object((char *)find + 1, &found) == 0 && (void *)find >= found.start
        && (void *)find < found.end && !dlinfo(found.map, 2, &map) && map == found.map && found.eh_frame != 0;
}
void *handle_info(void *handle, int request)
{
    void *result = 0;
    return dlinfo(handle, request, &result) ? (void *)-1 : result;
}
char text[300];
int origin(void *handle) { return dlinfo(handle, 6, text); }
#ifdef __arm__
void *__gnu_Unwind_Find_exidx(void *, int *);
int exidx(void)
{
    int count = 0;
    void *table = __gnu_Unwind_Find_exidx((void *)exported, &count);
    if (_dl_find_object((void *)exported, &found)) return 0;
    return table == found.eh_frame && count == found.count && count;
}
#else
int exidx(void) { return 1; }
#endif
"""
)


def asker(target: str) -> Path:
    source = compiled(target, _ASKER, *FLAGS, "-funwind-tables")
    return linked(target, [source], "-soname", "libasker.so", "--eh-frame-hdr")


class Asker(Guest):
    """A guest whose driver asks."""

    def __init__(self, target: str, *names: str, **options: object) -> None:
        super().__init__(target, *names, **options)
        self.library = self.machine.load(asker(target))

    def ask(self, name: str, prototype: str = "int(void)", *args: object) -> int:
        result = self.library.function(name, prototype)(*args)
        assert isinstance(result, int)
        return result

    def text_at(self, address: int) -> str:
        return self.machine.memory.read_cstring(address).decode()


def test_the_chain_holds_every_image_after_the_program(target: str) -> None:
    with Asker(target, "one", "two") as guest:
        assert guest.ask("chain_length") == 3, "the program, the driver, the asker"
        handle = guest.open("libtwo.so")
        assert guest.ask("chain_length") == 5
        assert guest.ask("entry", "void *(const char *)", library(target, "two").name) == handle
        guest.close(handle)
        assert guest.ask("chain_length") == 3
        assert guest.ask("entry", "void *(const char *)", library(target, "two").name) == 0


def test_a_link_map_says_bias_name_and_dynamic_section(target: str) -> None:
    with Asker(target, "one") as guest:
        handle = guest.open("libone.so")
        word = guest.machine.arch.word_size
        fields = [guest.machine.memory.read_uint(handle + n * word, word) for n in range(3)]
        image = guest.machine.linker.loaded("libone.so")
        assert image is not None
        assert fields[0] == image.bias
        assert guest.text_at(fields[1]) == str(library(target, "one"))
        tag = guest.machine.memory.read_uint(fields[2], word)
        assert tag == image.decoded.dynamic.tags[0]


def test_the_machine_of_a_program_shows_the_program_first_and_tells_it_of_r_debug(target: str) -> None:
    libraries, folder = {"libasker.so": asker(target)}, fixture(target, "deps/libleaf").parent
    with Machine(arch_of(target), libraries=libraries, library_path=[folder]) as machine:
        machine.load("libasker.so")
        program = machine.load(fixture(target, "exe/pie"), symbols={}, allow_unresolved=True)
        assert machine.link_maps.images[0] is program.image
        word = machine.arch.word_size
        head = machine.memory.read_uint(machine.link_maps.debug + word, word)
        assert head == machine.link_maps.link_map_address(program.image)
        tags = program.image.decoded.dynamic.tags
        if 21 in tags:
            row = machine.memory.read_uint(head + 2 * word, word) + 2 * word * tags.index(21)
            assert machine.memory.read_uint(row + word, word) == machine.link_maps.debug


def test_a_library_that_can_be_run_too_is_no_program(target: str) -> None:
    """Like libc.so.6: it has a PT_INTERP, and a DT_SONAME, which no program has."""
    source = 'const char path[] __attribute__((section(".interp"))) = "/lib/ld.so"; int f(void) { return 5; }'
    path = linked(target, [compiled(target, source, "-fPIC")], "-soname", "librun.so")
    with Guest(target) as guest:
        image = guest.machine.load(path).image
        assert image.decoded.has_interpreter
        maps = guest.machine.link_maps
        assert maps.executable is None
        assert maps.program != maps.link_map_address(image)
        assert guest.machine.memory.read_cstring(maps.name_address(image)).decode() == str(path)
        handle = guest.open(str(path))
        assert guest.call(handle, "f") == 5


def test_dladdr_tells_image_and_exported_symbol(target: str) -> None:
    with Asker(target) as guest:
        machine = guest.machine
        word = machine.arch.word_size
        assert guest.ask("address_of_exported") == 1
        info = guest.library.symbols["info"].address
        name, base, symbol = (machine.memory.read_uint(info + n * word, word) for n in range(3))
        assert guest.text_at(name) == str(asker(target))
        assert base == guest.library.base
        assert guest.text_at(symbol) == "exported"
        assert guest.ask("address", "int(void *)", guest.library.symbols["asked"].address) == 1
        assert guest.text_at(machine.memory.read_uint(info + 2 * word, word)) == "asked"
        assert guest.ask("static_data_has_no_name") == 1
        assert guest.ask("on_the_stack") == 0
        assert guest.ask("address", "int(void *)", None) == 0
        assert guest.ask("entry_of_symbol") == 1
        assert guest.ask("map_of_symbol") == 1


def test_the_name_dladdr_tells_opens_the_library(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries that must stay pin themselves so; by whatever relative path Python has loaded them."""
    path = asker(target)
    monkeypatch.chdir(path.parent)
    with Guest(target) as guest:
        loaded = guest.machine.load(f"./{path.name}")
        assert loaded.function("address_of_exported", "int(void)")() == 1
        word = guest.machine.arch.word_size
        name = guest.machine.memory.read_uint(loaded.symbols["info"].address, word)
        handle = guest.open(guest.machine.memory.read_cstring(name).decode())
        assert handle == guest.machine.link_maps.link_map_address(loaded.image)


def test_dlinfo_answers_by_handle(target: str) -> None:
    with Asker(target, "one") as guest:
        handle, image = guest.open("libone.so"), guest.machine.linker.loaded("libone.so")
        assert image is not None
        assert image.tls is not None
        prototype = "void *(void *, int)"
        assert guest.ask("handle_info", prototype, handle, 2) == handle
        assert guest.ask("handle_info", prototype, handle, 1) == 0
        assert guest.ask("handle_info", prototype, handle, 9) == image.tls.id
        assert guest.ask("handle_info", prototype, handle, 10) == guest.symbol(handle, "one_local")
        assert guest.ask("handle_info", prototype, handle, 3) == guest.machine.arch.address_mask
        assert guest.error() == "unsupported dlinfo request"
        assert guest.ask("handle_info", prototype, 0x1230, 2) == guest.machine.arch.address_mask
        assert guest.error() == "invalid handle"
        assert guest.ask("origin", "int(void *)", handle) == 0
        assert guest.text_at(guest.library.symbols["text"].address) == str(library(target, "one").parent)
        assert guest.ask("covered", "int(void *)", guest.symbol(handle, "one_value")) == 1


def test_dlinfo_lists_the_folders_that_are_searched(target: str, tmp_path: Path) -> None:
    lone = tmp_path / "liblone.so"
    lone.write_bytes(library(target, "global", "-rpath", "$ORIGIN/a:$ORIGIN/b").read_bytes())
    with Asker(target, library_path=[tmp_path, "/somewhere"]) as guest:
        handle = guest.open("liblone.so")
        place = guest.machine.heap.malloc(4096)
        word = guest.machine.arch.word_size
        dlinfo = guest.machine.libc.function("dlinfo")
        assert dlinfo is not None
        assert dlinfo.call(handle, 5, place) == 0
        size, count = guest.machine.memory.read_uint(place, word), guest.machine.memory.read_uint(place + word, 4)
        assert dlinfo.call(handle, 4, place) == 0
        rows = [place + 2 * word + n * 2 * word for n in range(count)]
        found = [
            (
                guest.text_at(guest.machine.memory.read_uint(row, word)),
                guest.machine.memory.read_uint(row + word, 4),
            )
            for row in rows
        ]
        assert found == [(str(tmp_path), 2), ("/somewhere", 2), (f"{tmp_path}/a", 4), (f"{tmp_path}/b", 4)]
        assert size == 2 * word + count * 2 * word + sum(len(name) + 1 for name, _ in found)


def test_dl_iterate_phdr_visits_every_image_until_told_to_stop(target: str) -> None:
    with Asker(target, "one", "two") as guest:
        symbols = guest.library.symbols
        assert guest.ask("iterate", "int(int)", 0) == 0
        assert symbols["count_seen"].read("int") == 2
        assert symbols["sizes"].read("size_t") == (64 if guest.machine.arch.word_size == 8 else 40)
        assert guest.ask("iterate", "int(int)", 1) == 101
        assert symbols["count_seen"].read("int") == 1
        for name in ("asked", "info"):
            assert guest.ask("covered", "int(void *)", symbols[name].address) == 1
        assert guest.ask("covered", "int(void *)", guest.machine.heap.malloc(8)) == 0
        added, gone = guest.ask("how_many_added", "uint64_t(void)"), guest.ask("how_many_gone", "uint64_t(void)")
        assert (added, gone) == (2, 0)
        handle = guest.open("libtwo.so")
        assert guest.ask("how_many_added", "uint64_t(void)") == added + 2
        assert guest.ask("how_many_gone", "uint64_t(void)") == gone
        guest.close(handle)
        assert guest.ask("how_many_added", "uint64_t(void)") == added + 2
        assert guest.ask("how_many_gone", "uint64_t(void)") == gone + 2
        guest.ask("iterate", "int(int)", 0)
        assert symbols["count_seen"].read("int") == 2


def test_dl_find_object_knows_images_and_nothing_else(target: str) -> None:
    with Asker(target, "one") as guest:
        assert guest.ask("finds_itself") == 1
        assert guest.ask("exidx") != 0
        handle = guest.open("libone.so")
        value = guest.symbol(handle, "one_value")
        assert guest.ask("find", "int(void *)", value) == 0
        word = guest.machine.arch.word_size
        found = guest.library.symbols["found"].address
        assert guest.machine.memory.read_uint(found + 8 + 2 * word, word) == handle
        guest.close(handle)
        assert guest.ask("find", "int(void *)", value) == -1
        assert guest.ask("find", "int(void *)", guest.machine.heap.malloc(8)) == -1


def test_the_index_of_an_image_is_its_own(target: str) -> None:
    """dlfo_eh_frame leads to what PT_GNU_EH_FRAME (on Arm PT_ARM_EXIDX) of the file holds."""
    with Asker(target) as guest:
        image = guest.library.image
        kind = 0x70000001 if guest.machine.arch.name == "arm" else 0x6474E550
        (header,) = [row for row in image.decoded.program_headers if row.type == kind]
        assert guest.ask("finds_itself") == 1
        word = guest.machine.arch.word_size
        table = guest.library.symbols["found"].address + 8 + 3 * word
        assert guest.machine.memory.read_uint(table, word) == image.address_of(header.vaddr)


def test_relocatable_objects_get_program_headers_and_an_index(target: str) -> None:
    source = compiled(
        target, SOURCES["deep"] + "int other(int (*f)(void)) { return f() + common; }\n", *FLAGS, "-funwind-tables"
    )
    with Asker(target) as guest:
        objects = guest.machine.load(source)
        function = objects.symbols["other"].address & guest.machine.arch.code_address_mask
        for name in ("common", "other"):
            assert guest.ask("covered", "int(void *)", objects.symbols[name].address) == 1
        assert guest.ask("find", "int(void *)", function) == 0
        word = guest.machine.arch.word_size
        table = guest.machine.memory.read_uint(guest.library.symbols["found"].address + 8 + 3 * word, word)
        assert table
        read = guest.machine.memory.read
        if guest.machine.arch.name == "arm":
            (offset,) = struct.unpack("<I", read(table, 4))
            first = table + (offset ^ 1 << 30) - (1 << 30)
            assert objects.image.contains(first)
            return
        assert read(table, 4) == bytes((1, 0x1B, 3, 0x3B))
        (count,) = struct.unpack("<I", read(table + 8, 4))
        rows = [struct.unpack("<ii", read(table + 12 + 8 * n, 8)) for n in range(count)]
        assert rows == sorted(rows)
        assert function in [table + start for start, _ in rows]
        assert all(objects.image.contains(table + entry) for _, entry in rows)
