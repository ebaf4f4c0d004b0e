"""Running the guest code of loads and unloads: ifunc resolvers, constructors, destructors.

`relink.load.plan` gives the functions and their order; the calling convention is from the ISA's page and glibc.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from emu.errors import ConstructorFault
from emu.isa.registry import ISAS
from relink.elf.constants import DynamicFlag1
from relink.errors import MachineError
from relink.image import Image, image_of
from relink.load import emit
from relink.load.plan import Plan, destructors, initialisers
from relink.module import Module, Stage
from relink.records import Assigned
from relink.relocate.result import finish_ifuncs
from relink.resolve.bindings import UNRESOLVED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emu.calls.types import Prototype
    from emu.debug.symbolizer import Symbolizer
    from emu.isa.convention import CallingConvention
    from emu.memory.guest_memory import GuestMemory
    from emu.run.runner import Runner
    from emu.run.stack import Stack
    from relink.image import Image
    from relink.linker import Linker


_INIT_FIRST = int(DynamicFlag1.INITFIRST)  # operators of enums are slow


# Built directly: parsing a prototype imports a C parser, and nearly every library has a constructor.
@cache
def _prototype(word_size: int, *, destructor: bool) -> Prototype:
    """void(int argc, char **argv, char **envp), as ld.so calls constructors; of a destructor, void(void)."""
    from emu.calls.types import Integer, Parameter, Prototype, Void

    pointer = Parameter("", Integer(word_size, False, "unsigned long"))
    arguments = (Parameter("", Integer(4, True, "int")), pointer, pointer)
    return Prototype("", Void(), () if destructor else arguments)


def _turn(image: Image) -> tuple[bool, int]:
    """An image's position in the initialisation order (see `relink.load.plan.initialisers`)."""
    return not image.decoded.flags_1 & _INIT_FIRST, image.lifetime.init_index


class Initialisers(Assigned):
    """Runs the initialisers and destructors of one machine's images."""

    def __init__(
        self,
        linker: Linker,
        memory: GuestMemory,
        runner: Runner,
        convention: CallingConvention,
        stack: Stack,
        symbolizer: Symbolizer,
    ) -> None:
        self._linker = linker
        self._memory = memory
        self._runner = runner
        self._convention = convention
        self._stack = stack
        self._symbolizer = symbolizer
        self._ifunc_block = 0
        self._finalised: set[Image] = set()  # images whose destructors have run
        self._deferred: set[Image] = set()  # images whose constructors were deferred

    # ------------------------------------------------------------ ifuncs

    def resolve_ifuncs(self, plan: Plan) -> None:
        """Call every ifunc resolver once, with the arguments of the ABI, and store the results."""
        memory = self._memory
        answers: dict[int, int] = {}
        for calls in plan.ifuncs:
            assert calls.reloc_type.word is not None
            for resolver in dict.fromkeys(calls.resolver.tolist()):
                if resolver not in answers:
                    answers[resolver] = self.ifunc_target(calls.image, resolver)
                places = int((calls.resolver == resolver).sum())
                emit.ifunc_resolved(
                    self._linker.observers, image_of(calls.image), resolver, answers[resolver], places
                )
            words = finish_ifuncs(calls, np.array([answers[r] for r in calls.resolver.tolist()], np.uint64))
            for place, word in zip(calls.place.tolist(), words.tolist(), strict=True):
                memory.write_uint(place, calls.reloc_type.word.size, word)

    def ifunc_target(self, image: Module, resolver: int) -> int:
        """The function that the ifunc resolver at a guest address chooses. Raises ConstructorFault."""
        memory, ifunc = self._memory, ISAS[self._memory.architecture.name].start.ifunc
        if ifunc.block and not self._ifunc_block:
            self._ifunc_block = memory.map_anonymous(len(ifunc.block), name="[ifunc]")
            memory.write(self._ifunc_block, ifunc.block)
        try:
            answer = self._runner.call(resolver, ifunc.prototype, *ifunc.arguments(self._ifunc_block))
        except MachineError as error:
            raise ConstructorFault(
                image.name, f"ifunc resolver {self._symbolizer.symbolize(resolver)}", error
            ) from error
        assert isinstance(answer, int)
        return answer

    # ------------------------------------------------------------ constructors and destructors

    def construct(self, plan: Plan) -> None:
        """Run the constructors of a load. Raises ConstructorFault."""
        if self._deferred:
            self.initialise(image for first in plan.first for image in first.scope)
        self._construct(plan)

    def _construct(self, plan: Plan) -> None:
        for image, which, address in initialisers(plan):
            self.run_constructor(image, which, address)

    def defer(self, plan: Plan) -> None:
        """Defer the constructors of a load to `initialise`. Until then, destructors of its images are not run."""
        self._deferred.update(image for image in plan.initialise if not image.already_initialised)

    def mark_deferred(self, plan: Plan) -> None:
        """Set the stage of images with deferred constructors, once their load is complete."""
        for image in self._deferred.intersection(plan.images):
            image.stage = Stage.RELOCATED

    def initialise(self, images: Iterable[Image]) -> None:
        """Run the deferred constructors of these images, dependencies first.

        Raises ConstructorFault: the image in it and those after it then remain uninitialised.
        """
        waiting = sorted(self._deferred.intersection(images), key=_turn)
        for image in waiting:
            self._construct(Plan(image, images=[image], first=[image], initialise=[image]))
            self._deferred.discard(image)
            image.stage = Stage.INITIALISED

    def run_constructor(self, image: Image, which: str, address: int) -> None:
        """Run one constructor with the program's arguments. Raises ConstructorFault."""
        self._run(image, which, address, *self._stack.constructor_arguments)

    def destruct(self, image: Image) -> bool:
        """Run an image's destructors, unless they have already run or its constructors have not; whether there
        were any. Raises ConstructorFault.
        """
        if image.already_initialised or image in self._finalised or image in self._deferred:
            return False
        decoded, called = image.decoded, False
        handle = decoded.dso_handle
        if not decoded.fini and decoded.fini_array is None and handle is None:
            return False
        self._finalised.add(image)
        for which, address in destructors(image):
            called = True
            self._run(image, which, address)
        # crtbegin.o does this in a shared object; it is not linked into relocatable objects.
        if handle is not None:
            finalize = self._linker.resolver.find("__cxa_finalize", None, image.scope, hosts=True)
            if finalize.provider[0] != UNRESOLVED:
                called = True
                self._runner.call(int(finalize.address[0]), "void(void *)", image.address_of(handle))
        return called

    def finalise(self, image: Image | None = None, *, run: bool = True) -> None:
        """Run the destructors of all images (dependents first) or of one; with `run` False, only mark them as
        run.
        """
        for each in self._linker.teardown_order() if image is None else [image]:
            if run:
                self.destruct(each)
            else:
                self._finalised.add(each)

    def forget(self, image: Image) -> None:
        """Forget an image that has been unloaded."""
        for images in (self._finalised, self._deferred):
            if image in images:
                images.remove(image)

    def _run(self, image: Image, which: str, address: int, *args: int) -> None:
        with emit.running(self._linker.observers, image, which, address, destructor=not args):
            try:
                prototype = _prototype(self._convention.word_size, destructor=not args)
                self._runner.call(address, prototype, *args)
            except MachineError as error:
                where = f"{which} {self._symbolizer.symbolize(address)}"
                raise ConstructorFault(image.name, where, error) from error
