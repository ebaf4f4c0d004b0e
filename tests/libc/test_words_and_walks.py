"""wordexp expands as a shell does, and scandir and nftw see the hosted files."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from tests.fixtures import arch_of
from tests.objects.build import compiled

_FILES: dict[str, bytes | bytearray] = {
    "apple": b"",
    "avocado": b"",
    "top/b": b"",
    "top/a/c": b"",
    "top/.hidden": b"",
}
_NOCMD, _UNDEF = 4, 32
#: Words, flags, and what they become: an error, or 0 and fields.
WORDS = [
    ("a b  c", 0, "0 [a] [b] [c]"), ("'a b' c\"d e\"f", 0, "0 [a b] [cd ef]"), ("$V", 0, "0 [one] [two]"),
    ('"$V"', 0, "0 [one two]"), ("$E", 0, "0"), ('"$E"', 0, "0 []"),
    ("x$E pre${V}post", 0, "0 [x] [preone] [twopost]"),
    ("${N-def ault}", 0, "0 [def] [ault]"), ('"${N:-def ault}"', 0, "0 [def ault]"), ("${V:+alt}", 0, "0 [alt]"),
    ("${E:-x}${E-x}${N:+x}y", 0, "0 [xy]"), ("${#V}", 0, "0 [7]"), (r"a\ b \$V", 0, "0 [a b] [$V]"),
    ("~/x ~ a~", 0, "0 [/home/me/x] [/home/me] [a~]"),
    ("a* '*' nomatch*", 0, "0 [apple] [avocado] [*] [nomatch*]"),
    ("*", 0, "0 [apple] [avocado] [top]"), ("${M:=set it}-$M", 0, "0 [set] [it-set] [it]"),
    ("$ x", 0, "0 [$] [x]"),
    ("a|b", 0, "2"), ("a\nb", 0, "2"), ("$N", _UNDEF, "3"), ("$(ls)", _NOCMD, "4"), ("`ls`", 0, "4"),
    ('"unclosed', 0, "5"), ("${V", 0, "5"), ("", 0, "0"),
]  # fmt: skip
_TREE = "top:1:0:top top/a:1:1:a top/a/c:0:2:c top/b:0:1:b top/.hidden:0:1:.hidden "
_DEPTH = 8


@pytest.mark.parametrize("target", ["x86_64", "arm", "riscv32", "loongarch64"])
def test_words_are_expanded_and_folders_walked(target: str) -> None:
    source = (Path(__file__).parent / "words_and_walks.c").read_text()
    with Machine(arch_of(target), files=_FILES) as machine:
        library = machine.load(compiled(target, source))
        expanded = library.function("expanded", "const char *expanded(const char *, int)")
        for text, flags, result in WORDS:
            place = machine.libc.new_string(text.encode())
            assert machine.memory.read_cstring(expanded(place, flags)).decode() == result, text
        walked = library.function("walked", "const char *walked(int)")
        for flags, tree in ((0, _TREE), (_DEPTH, " ".join(reversed(_TREE.split())))):
            listed, _, visited = machine.memory.read_cstring(walked(flags)).decode().partition(" | ")
            assert listed == "a b -1"
            kinds = {each.split(":")[0]: each.replace(":5:", ":1:") for each in visited.split()}
            assert set(kinds.values()) == set(tree.split())
            assert list(kinds)[-1 if flags else 0] == "top"
