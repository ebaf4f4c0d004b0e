"""Types out of headers: layouts as compilers have them, attributes, what is not understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.calls.headers import header_types
from emu.calls.types import Integer, Pointer
from emu.errors import CallError
from emu.isa.registry import convention
from tests.objects.build import compiled

ARCHES = ("x86_64", "i386", "aarch64", "arm", "riscv64", "riscv32", "loongarch64")
DECLARATIONS = """
typedef struct node node;
struct node {
    node *next; union { int i; float f; }; struct { short a, b; } in; char data[LIMIT]; int (*cmp)(int);
};
#pragma pack(push, 1)
struct wire { char kind; long long length; };
#pragma pack(pop)
#pragma pack(2)
struct half { char kind; long long length; };
#pragma pack()
struct __attribute__((packed, aligned(4))) mixed { char a; long b; };
struct front { __attribute__((aligned(32))) char a; char b; } ;
struct over { _Alignas(16) int a; int b __attribute__((aligned(8))), c; };
typedef float v4 __attribute__((vector_size(16)));
typedef int wide __attribute__((aligned(16)));
struct vectors { char c; v4 v; __attribute__((vector_size(8))) short s; wide w; };
struct bits { unsigned a : 3, : 0, b : 7; long long c : 40; char d; short : 3; int e : 30; };
typedef int tiny __attribute__((mode(QI))); typedef unsigned m_word __attribute__ ((__mode__ (__word__)));
typedef int m_double __attribute__((mode(DI))); typedef float m_float __attribute__((mode(DF)));
struct modes { tiny a; m_word b; tiny c; m_double d; tiny e; m_float f; tiny g; };
struct empty {};
struct flexible { int n; double tail[]; };
enum colour { RED = -1, GREEN = 1 << 4, BLUE } __attribute__((unused));
union word { char bytes[sizeof(struct node)]; double _Complex z; long double wide; _Bool flag; };
static inline int twice(int n) { return ({ int m = n; m * 2; }); }
extern int use(node *n, struct wire w, v4 v) __asm__("renamed") __attribute__((nonnull));
"""
NAMES = ("node", "wire", "half", "mixed", "front", "over", "vectors", "bits", "modes", "empty", "flexible")
MEMBERS = {"node": "cmp", "wire": "length", "half": "length", "mixed": "b", "front": "b", "over": "c",
           "vectors": "w", "modes": "g", "flexible": "tail"}  # fmt: skip


@pytest.mark.parametrize("arch", ARCHES)
def test_a_header_is_laid_out_as_the_compiler_does(arch: str) -> None:
    types = header_types("#define LIMIT 013\n" + DECLARATIONS, convention(arch))
    assert types.problems == ()
    lines = ["#define LIMIT 013", DECLARATIONS, "int compiled;"]
    for name in (*NAMES, "word"):
        ctype = types.ctype(f"{'union' if name == 'word' else 'struct'} {name}")
        lines.append(f'_Static_assert(sizeof({ctype}) == {ctype.size}, "{name}");')  # type: ignore[union-attr]
        lines.append(f'_Static_assert(_Alignof({ctype}) == {ctype.alignment}, "{name}");')  # type: ignore[union-attr]
        if name in MEMBERS:
            offset = ctype.fields[MEMBERS[name]].offset  # type: ignore[union-attr]
            lines.append(f'_Static_assert(__builtin_offsetof({ctype}, {MEMBERS[name]}) == {offset}, "{name}");')
    compiled(arch, "\n".join(lines), "-w")
    assert types.LIMIT == 11
    assert (types.colour.RED, types.colour.BLUE) == (-1, 17)
    vector = "float __attribute__((vector_size(16)))"
    assert str(types.functions["use"]) == f"int use(struct node *n, struct wire w, {vector} v)"
    assert str(types.functions["twice"]) == "int twice(int n)"


def test_a_header_without_directives_needs_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emu.calls.headers.compilers", lambda arch: iter(()))
    header = tmp_path / "plain.h"
    header.write_text("/* a comment; */ struct pair { int a; // another;\n int b; };\nint f(struct pair *p);\n")
    types = header_types(header, convention("arm"))
    assert types.pair(1, 2) == (1, 2)
    pointer = types.functions["f"].parameters[0].type
    assert isinstance(pointer, Pointer)
    assert pointer.target == types.ctype("struct pair")
    with pytest.raises(CallError, match="needs a preprocessor for arm: install arm-linux-gnueabihf-gcc"):
        header_types("#include <stdint.h>\nint f(uint8_t);", convention("arm"))


def test_what_a_header_includes_is_found(tmp_path: Path) -> None:
    (tmp_path / "inner.h").write_text("#define COUNT 3\ntypedef unsigned short count_t;\n")
    (tmp_path / "outer.h").write_text('#include "inner.h"\nstruct box { count_t counts[COUNT]; };\n')
    types = header_types(tmp_path / "outer.h", convention("i386"))
    assert types.ctype("struct box").size == 6  # type: ignore[union-attr]
    (tmp_path / "store").mkdir()
    (tmp_path / "outer.h").rename(tmp_path / "store" / "3f9a")
    (tmp_path / "outer.h").symlink_to("store/3f9a")  # what is beside the link is found, as by compilers
    types = header_types(tmp_path / "outer.h", convention("i386"))
    assert types.ctype("struct box").size == 6  # type: ignore[union-attr]
    types = header_types(
        '#include "inner.h"\n#ifdef WIDE\ntypedef count_t wide_t;\n#endif\n',
        convention("x86_64"),
        include=[tmp_path],
        defines={"WIDE": 1},
    )
    assert types.wide_t == Integer(2, False, "unsigned short")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("int f(unknown_t x);", "unknown_t"),
        ("int f(int) __attribute__((regparm(3)));", "calling convention regparm"),
        ("struct s { int a; struct s inner; };", "incomplete"),
        ("struct s { int a[]; int b; };", "can only be the last member"),
        ("struct s { int a : 33; };", "33 bits do not fit int"),
        ("struct s { int a; }; struct s { int b; };", "declared twice"),
        ("int table[1 / 0];", ""),
    ],
)
def test_what_is_not_understood_is_a_problem_and_no_more(text: str, problem: str) -> None:
    types = header_types(f"struct first {{ int x; }};\n{text}\nstruct last {{ int y; }};\n", convention("riscv64"))
    assert problem in " ".join(types.problems)
    assert types.first(1) == (1,)
    assert types.last(2) == (2,)
