"""Signal handlers that raise, or load too, while thread-local storage is given to images."""

from __future__ import annotations

from itertools import combinations, count

import pytest

from relink import HostMemory, Linker
from relink.load.load import Load
from relink.load.phases import Phase
from relink.records import ASSIGNMENTS
from tests.interrupts import interrupted
from tests.linker.craft import Library
from tests.linker.helpers import lay

_PLACE = 0x5000_0000


def _loading(linker: Linker, kind: str) -> Load:
    library = Library(linker.memory.architecture.name, "libt.so", tls=(b"abc", 16, 8)).image()
    if kind == "loaded":
        return linker.begin(library)
    if not linker.memory.regions:  # type: ignore[attr-defined]
        lay(linker.memory, library, _PLACE)  # type: ignore[arg-type]
    return linker.begin_adoption(_PLACE, relocated=True)


@pytest.mark.parametrize("kind", ["loaded", "adopted"])
def test_a_module_is_given_back(kind: str) -> None:
    linker, watched = Linker(HostMemory("x86_64")), object()
    ASSIGNMENTS.begin(id(watched))  # as with a snapshot: that an attribute is assigned takes a call
    try:
        for number in count(1):
            load = _loading(linker, kind)
            load.run_to(Phase.JOIN)
            passed = interrupted(load.assign_tls, number, starts=True)
            load.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)  # as of a `with` statement
            assert not linker.tls.modules, number
            if passed < number:
                break
        assert number > 10
    finally:
        ASSIGNMENTS.end(id(watched))


@pytest.mark.parametrize("kind", ["loaded", "adopted"])
def test_modules_of_a_handler_have_other_ids_and_places(kind: str) -> None:
    for number in count(1):
        linker = Linker(HostMemory("x86_64"))
        load = _loading(linker, kind)
        load.run_to(Phase.JOIN)
        other = Library("x86_64", "libo.so", tls=(b"abcd", 32, 8)).image()
        passed = interrupted(load.assign_tls, number, starts=True, handler=lambda: linker.load(other))  # noqa: B023
        load.finish()
        assert all(image.tls is linker.tls.modules[image.tls.id] for image in linker.images if image.tls)
        assert len(linker.tls.modules) == len(linker.images)
        for one, two in combinations(linker.tls.modules.values(), 2):
            assert one.offset + one.size <= two.offset or two.offset + two.size <= one.offset, number
        if passed < number:
            break
    assert number > 10
