"""The search lists of programs, their libraries, and what is loaded later."""

from __future__ import annotations

import pytest

from relink import HostMemory, Linker, LoadOptions, SearchPath
from relink.resolve.scopes import scope_after
from tests.fixtures import ARCHES
from tests.linker.craft import Library


@pytest.mark.parametrize("arch", ARCHES)
def test_next_to_a_program_and_its_libraries_is_also_what_is_loaded_later(arch: str) -> None:
    """RTLD_NEXT goes on in the global scope (glibc, _dl_new_object); a later load has its own list."""
    early, own = (Library(arch, f"{name}.so") for name in ("early", "own"))
    linker = Linker(HostMemory(arch), search=SearchPath({"early.so": early.image(), "own.so": own.image()}))
    program = linker.load(Library(arch, None, ["early.so"], base=0x10000, e_type=2).image())
    opened = linker.load(Library(arch, "late.so", ["own.so"]).image())
    hidden = linker.load(Library(arch, "hidden.so").image(), options=LoadOptions(local=True))
    following = {each: scope_after(each, linker.global_scope) for each in linker.images}
    assert [each.soname for each in following[program]] == ["early.so", "late.so", "own.so"]
    assert [each.soname for each in following[program.scope[1]]] == ["late.so", "own.so"]
    assert [each.soname for each in following[opened]] == ["own.so"]
    assert following[hidden] == []
