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
from relink.errors import LinkError, MachineError
from relink.image import Image, image_of
from relink.load import emit
from relink.load.lifetime import initialisation_order, with_used
from relink.load.plan import Plan, constructed, constructors, destructors, preinitialisers, runs_code
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
        #: Images whose constructors have not begun (loads in progress, deferred), or whose destructors have: not
        #: l_init_called, as glibc says.
        self._waiting: set[Image] = set()
        self._deferred: set[Image] = set()  #: images whose constructors were deferred, until they have run

    def expect(self, plan: Plan) -> None:
        """Note that the constructors of a load, which is linked, are due.

        Raises LinkError when it uses an image whose code cannot run yet: one of a load that waits for the caller,
        such as an ifunc resolver or an observer. (glibc fails an assertion then: elf/dl-open.c.)
        """
        if self._linker.under_way[1:]:  # besides this load
            unprepared = self._linker.unprepared.difference(plan.images)
            for image in with_used([plan.root, *plan.images]) & unprepared:
                raise LinkError(image.name, "cannot be used yet: its own load has not reached constructors")
        for image in constructed(plan, plan.initialise):
            if runs_code(image.decoded):
                self._waiting.add(image)

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
        """Run the constructors of a load, with those of earlier loads that are due (`_with_earlier`). Raises
        ConstructorFault.
        """
        order = constructed(plan, self._with_earlier(plan)) if self._waiting else ()
        if plan.root.decoded.is_executable:
            for which, address in preinitialisers(plan):
                self.run_constructor(plan.root, which, address)
        for image in order:
            if image in self._waiting:
                self._construct(image)

    def _with_earlier(self, plan: Plan) -> list[Image]:
        """The images whose constructors this load runs, in order, where images of earlier loads wait for theirs:
        the deferred ones that it needs, and, in a constructor or host function that one called, those of the loads
        in progress; but not if its root is or was itself opened by one (glibc, elf/dl-open.c).
        """
        waiting = self._deferred if plan.root.lifetime.references > 1 else self._waiting
        needed = dict.fromkeys(image for first in plan.first for image in first.scope)
        earlier = [image for image in needed if image in waiting]
        if not earlier:
            return plan.initialise
        new = {*plan.initialise}
        chosen = [image for image in needed if image in waiting or image in new]
        return initialisation_order([*dict.fromkeys([*chosen, *plan.initialise])], plan.root)

    def _construct(self, image: Image) -> None:
        """Run an image's constructors, unless a load within this one has done so."""
        if image not in self._waiting:
            return
        self._waiting.remove(image)
        try:
            for which, address in constructors(image):
                self.run_constructor(image, which, address)
        except BaseException:
            self._waiting.add(image)
            raise
        if image in self._deferred:
            self._deferred.remove(image)
            image.stage = Stage.INITIALISED

    def defer(self, plan: Plan) -> None:
        """Defer the constructors of a load to `initialise`. Until then, destructors of its images are not run."""
        deferred = constructed(plan, plan.initialise)
        self._waiting.update(deferred)
        self._deferred.update(deferred)

    def mark_deferred(self, plan: Plan) -> None:
        """Set the stage of images with deferred constructors, once their load is complete."""
        for image in self._deferred.intersection(plan.images):
            image.stage = Stage.RELOCATED

    def initialise(self, images: Iterable[Image]) -> None:
        """Run the deferred constructors of these images, dependencies first.

        Raises ConstructorFault: the image in it and those after it then remain uninitialised.
        """
        for image in sorted(self._deferred.intersection(images), key=_turn):
            self._construct(image)

    def run_constructor(self, image: Image, which: str, address: int) -> None:
        """Run one constructor with the program's arguments. Raises ConstructorFault."""
        self._run(image, which, address, *self._stack.constructor_arguments)

    def destruct(self, image: Image) -> bool:
        """Run an image's destructors, unless they have already run or its constructors have not; whether there
        were any. Raises ConstructorFault.
        """
        decoded, called = image.decoded, False
        if not runs_code(decoded) or image.already_initialised or image in self._waiting:
            return False
        self._waiting.add(image)  # a load in a destructor that needs it runs its constructors again
        handle = decoded.dso_handle
        if not decoded.fini and decoded.fini_array is None and handle is None:
            return False
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
                self._waiting.add(each)

    def forget(self, image: Image) -> None:
        """Forget an image that has been unloaded."""
        for images in (self._waiting, self._deferred):
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
