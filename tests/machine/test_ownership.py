"""Objects of one machine are refused by another, by name, and change neither."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu import Machine
from emu.errors import ForeignObject
from relink.errors import ElfError, MachineError
from tests.fixtures import fixture


@pytest.mark.parametrize("other", ["x86_64", "riscv64"])
def test_objects_of_another_machine_are_refused_by_name(other: str) -> None:
    with Machine("x86_64") as theirs, Machine(other) as ours:
        library, host = (
            machine.load(fixture(machine.arch.name, "basic"), symbols={"my_host_function": 0x1000})
            for machine in (theirs, ours)
        )
        function, variable, image = library.function("add", "int(int, int)"), library.symbols["add"], library.image
        symbol = variable.symbol
        takes = host.function("add", "int(void *, int)")
        path = fixture(other, "datarel")
        uses: list[Callable[[], object]] = [
            lambda: ours.unload(image),
            lambda: ours.unload(library),
            lambda: ours.call(function, "int(int, int)", 1, 2),  # type: ignore[arg-type]
            lambda: ours.define("f", function),
            lambda: ours.provide("libf.so", {"f": function}),
            lambda: ours.load(path, symbols={"f": function}),
            lambda: ours.patch(symbol, b"\x90"),
            lambda: host.replace("add", function),
            lambda: host.redirect("my_host_function", symbol),
            lambda: ours.redirect(image, "my_host_function", 0),
            lambda: ours.use_thread(theirs.new_thread()).__enter__(),
            *(lambda value=value: takes(value, 2) for value in (function, variable, symbol, library, image)),
        ]
        for number, use in enumerate(uses):
            with pytest.raises(ForeignObject, match=rf"belongs to .* and was given to one of {other}$") as refused:
                use()
            assert refused.value.given_to == other, number
        with pytest.raises(ElfError, match="of type Library is neither a path nor bytes"):
            ours.load(library)
        context = theirs.cpu.save()
        with pytest.raises(MachineError, match="saved on another CPU"):
            ours.cpu.restore(context)
        assert function(20, 22) == host.function("add", "int(int, int)")(20, 22) == 42
        assert image in theirs.linker.images
