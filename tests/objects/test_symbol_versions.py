"""Versions in the names of objects' symbols: `.symver` of definitions and references, in objects and archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from relink.errors import DuplicateSymbol, RelinkError, UnresolvedSymbol
from tests.elf.build_object import Sym, simple_object
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, archived, compiled, linked
from tests.toolcache import text_file

EACH = pytest.mark.parametrize("target", TARGETS)
DEFINING = """
    __asm__(".symver old,get@LIB_1.1\\n.symver new,get@@LIB_1.2");
    int old(void) { return 1; }
    int new(void) { return 2; }
"""
PLAIN = "int get(void); int run(void) { return get(); }\n"
ASKING = '__asm__(".symver older,get@{}"); int older(void); int run(void) {{ return older(); }}\n'


@EACH
@pytest.mark.parametrize(
    ("source", "answer"),
    [(PLAIN, 2), (ASKING.format("LIB_1.1"), 1), (ASKING.format("LIB_1.2"), 2)],
    ids=["plain", "1.1", "1.2"],
)
def test_an_object_defines_and_asks_for_versions(target: str, source: str, answer: int, tmp_path: Path) -> None:
    user, library = compiled(target, source), compiled(target, DEFINING)
    archive = archived(tmp_path / "lib.a", [compiled(target, "int other(void) { return 0; }\n"), library])
    for objects in ([user, library], [library, user], [user, archive]):
        with Machine(arch_of(target)) as machine:
            assert machine.load(objects).function("run", "int()")() == answer


@EACH
def test_an_object_asks_a_shared_object_for_a_version(target: str) -> None:
    script = text_file("LIB_1.1 { global: get; local: *; }; LIB_1.2 { global: get; } LIB_1.1;\n", ".map")
    library = linked(
        target, [compiled(target, DEFINING, "-fPIC")], f"--version-script={script}", "-soname=libget.so"
    )
    for version, answer in (("LIB_1.1", 1), ("LIB_1.2", 2)):
        with Machine(arch_of(target)) as machine:
            machine.load(library)
            assert machine.load(compiled(target, ASKING.format(version))).function("run", "int()")() == answer
    with Machine(arch_of(target)) as machine:
        machine.load(library)
        with pytest.raises(UnresolvedSymbol, match=r"get, version LIB_3"):
            machine.load(compiled(target, ASKING.format("LIB_3")))


@EACH
def test_an_image_of_objects_has_its_names_without_versions(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        image = machine.load(compiled(target, DEFINING)).image
        assert set(image.exports) >= {"get", "old", "new"}
        assert image.symbol("get").address == image.exports["new"]
        assert image.symbol("get", "LIB_1.1").address == image.exports["old"]


def test_a_version_that_is_not_the_default_answers_no_plain_reference() -> None:
    only_old = '__asm__(".symver old,get@LIB_1.1"); int old(void) { return 1; }\n'
    with Machine("x86_64") as machine, pytest.raises(UnresolvedSymbol, match="get"):
        machine.load([compiled("x86_64", PLAIN), compiled("x86_64", only_old)])


def test_a_name_and_its_default_version_are_one_definition_where_they_are_one_place() -> None:
    """Older assemblers keep the name that `.symver` gives a version; two places are two definitions."""
    for value, fine in ((0, True), (4, False)):
        symbols = [Sym("f", 0, bind=1, section=1), Sym("f@@V", value, bind=1, section=1)]
        with Machine("x86_64") as machine:
            if fine:
                assert "f" in machine.load(simple_object(symbols)).image.exports
            else:
                with pytest.raises(DuplicateSymbol, match="f is defined"):
                    machine.load(simple_object(symbols))


@pytest.mark.parametrize("name", ["@", "@V", "f@", "f@@", "f@@@V", "f@V@W", "@@@"])
def test_odd_names_are_names(name: str) -> None:
    with Machine("x86_64") as machine:
        try:
            exports = machine.load(simple_object([Sym(name, 0, bind=1, section=1)])).image.exports
        except RelinkError:
            return
        assert len(exports) <= 1
