"""References of an image are led elsewhere, and back."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.errors import PatchError
from relink.errors import UseAfterUnload
from tests.fixtures import arch_of, fixture
from tests.machine.test_patching import _SOURCE, ORIGINAL, results
from tests.objects.build import TARGETS as COMPILED
from tests.objects.build import compiled


def test_an_image_s_references_lead_elsewhere_and_back(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: value})
    awesome = library.function("awesome_func", "int(int)")
    slots = [slot for slot in library.link_map().slots if slot.symbol == "my_host_function"]
    traps = len(machine.traps)
    assert awesome(4) == 4
    with library.redirect("my_host_function", lambda value: value * 2) as redirection:
        assert awesome(4) == 8
        assert {word.address for word in redirection.words} >= {slot.address for slot in slots}
        with library.redirect("my_host_function", (lambda value: value * 3, "int(int)")) as inner:
            assert awesome(4) == 12
            with pytest.raises(PatchError, match="patched again"):
                redirection.undo()
            assert inner.active
        assert awesome(4) == 8
    assert awesome(4) == 4
    assert len(machine.traps) == traps
    assert not redirection.active


def test_a_machine_redirects_and_unloads_a_library_as_its_image(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "basic"), allow_unresolved=True)
    with machine.redirect(library, "my_host_function", lambda value: value * 2):
        assert library.function("awesome_func", "int(int)")(4) == 8
    assert machine.tls_block(machine.load(fixture(target, "tls"))) > 0
    machine.unload(library)
    with pytest.raises(UseAfterUnload):
        machine.unload(library)


def test_pointers_in_data_are_references_too_and_others_are_left_alone(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: value})
    apply, add = library.function("apply", "int(int, int, int)"), library.function("add", "int(int, int)")
    with library.redirect("add", lambda left, right: left * 100 + right):
        assert apply(0, 2, 3) == 203
        assert add(2, 3) == 5, "the function itself is as it was"
    assert apply(0, 2, 3) == 5


def test_a_redirection_to_another_library_keeps_it_alive(machine: Machine, target: str) -> None:
    path = fixture(target, "basic")
    first = machine.load(path, symbols={"my_host_function": lambda value: value})
    second = machine.load(path.read_bytes(), name="second", local=True, symbols={"my_host_function": lambda v: v})
    redirection = first.redirect("my_host_function", second.function("bump_zeroed", "int(int)"))
    second.close()
    awesome = first.function("awesome_func", "int(int)")
    assert (awesome(1), awesome(1)) == (1, 2)
    redirection.undo()
    assert second.image.closed
    assert awesome(1) == 1


def test_what_an_image_does_not_refer_to_cannot_be_redirected(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: value})
    traps = len(machine.traps)
    with pytest.raises(PatchError, match="no relocated word of it contains the address of nothing_of_the_kind"):
        library.redirect("nothing_of_the_kind", lambda: 0)
    redirection = library.redirect("my_host_function", lambda value: value)
    library.close()
    redirection.undo()
    assert not redirection.active
    assert len(machine.traps) == traps - 1
    with pytest.raises(UseAfterUnload):
        library.redirect("my_host_function", lambda value: value)


@pytest.mark.parametrize("target", COMPILED)
def test_linked_objects_have_no_slots_to_redirect(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        library = machine.load(compiled(target, _SOURCE, "-fPIC"))
        with pytest.raises(PatchError, match="may call victim directly"):
            library.redirect("victim", lambda n: n)
        with library.replace("victim", lambda n: 3):
            assert results(library) == [3, 1003, 2003]
        assert results(library) == ORIGINAL
