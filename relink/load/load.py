"""One load. Its phases are methods; the caller of `Linker.begin` may stop between any two.

    open        decode the file, find and decode all dependencies; check   relink.search
    map         a region, load bias and bytes for each new image        relink.load.map, relink.memory
    join        count references, make search lists, join scopes      relink.load.lifetime, relink.resolve
    assign_tls  a module id, and a static offset if possible, for each with TLS   relink.tls
    relocate    bind symbols, apply relocations in host buffers               relink.relocate
    publish     map the regions in the guest, which is unchanged until then        relink.memory
    commit      complete the load; it can no longer be rolled back

    with linker.begin("plugin.so") as load:
        load.run_to("map")
        load.plan.root.region.buffer[:4]              # inspect or change something
        image = load.finish()                         # or load.rollback()

Each phase registers its rollback before it changes shared state. The load is rolled back when a phase or the block
raises, and when the block ends before `commit`: memory, scopes, TLS module ids and reference counts are as before,
and later images that use one of it are released. A phase out of order raises LoadOrderError and changes nothing.

Loads may overlap. `map` and `join` check which images other loads have added or unloaded since `open`, and raise
LinkError when a library was loaded twice or is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from types import TracebackType
from typing import Self, TypeAlias

from relink.elf.source import FileMapping, reading
from relink.errors import LinkError, LoadOrderError, LoadRolledBack, raise_all
from relink.image import Image
from relink.load import deferred, emit, joining, lifetime
from relink.load import map as mapping
from relink.load.options import NO_OPTIONS, LoadOptions
from relink.load.phases import NEXT, TIMED, TURNS, Phase
from relink.load.plan import Plan
from relink.load.relocating import relocate_images
from relink.load.state import LinkerState
from relink.load.timings import Timings
from relink.memory.garbage import WithoutCollections
from relink.memory.rollback import Rollback
from relink.module import Module, Stage
from relink.records import cached_property
from relink.relocate.state import Environment
from relink.search import graph, version_check
from relink.search.graph import Node
from relink.search.search_path import Source
from relink.tls import LoadTls

_MAP, _INITIALISED = Phase.MAP, Stage.INITIALISED  # members of enums are found slowly
_MOST_KEPT = 256  #: images in a scope; bindings made in larger ones keep only what they are bound to

#: A phase, what it does without regard to the order, and the name under which its time is in `Plan.timings`.
_Step: TypeAlias = "tuple[Phase, Callable[[Load], None], str | None]"
_STEPS: list[_Step] = []  #: in order


def _phase(body: Callable[[Load], None]) -> Callable[[Load], None]:
    """Make a method the next phase: called by itself it checks the order (see `Load._run`)."""
    phase = Phase(body.__name__)
    step = phase, body, TIMED.get(phase)
    _STEPS.append(step)

    @wraps(body)
    def run(load: Load) -> None:
        if load._running is not None or load._ended or NEXT[load.done] is not phase:
            load._check_turn(phase)
        load._run((step,))

    return run


class Load:
    """One load of a linker. `nodes` are available after `open`, the `plan` with its images after `map`."""

    def __init__(
        self,
        state: LinkerState,
        source: Source | Sequence[Source] | Node,
        name: str | None = None,
        options: LoadOptions | None = None,
    ) -> None:
        self.state = state
        self.source = source
        self.name = name  #: name of the file in messages
        self.options = options or NO_OPTIONS
        self.done: Phase | None = None  #: the last phase that has run
        self.timings = Timings()
        self.root: Node | None = None  #: the node of the file to load
        self.nodes: list[Node] = []  #: the root and all its dependencies
        self._tls: LoadTls | None = None
        self._rollback = Rollback()
        self._running: Phase | None = None
        self._mapped: Collection[FileMapping] = ()  # the new files that are mapped, not copied
        self._ended = ""  # how
        self._settled = False  # whether all is done that follows a commit
        self._changes = state.changes

    # ------------------------------------------------------------ driving it

    @property
    def next(self) -> Phase | None:
        """The next phase; None after a commit or rollback."""
        return None if self._ended else NEXT[self.done]

    @cached_property
    def plan(self) -> Plan:
        """The images of the load and the remaining work on the machine. Raises LoadOrderError before `map`."""
        raise LoadOrderError(self._what, "plan", f"is known only after {Phase.MAP}")

    def step(self) -> Phase:
        """Run and return the next phase. Raises LoadOrderError after the last one, and what the phase raises."""
        phase = self.next
        if phase is None:
            raise LoadOrderError(self._what, "step", f"the load has been {self._ended}")
        getattr(self, phase._value_)()  # Python keeps where it has found a plain string, not a member of an enum
        return phase

    def run_to(self, phase: Phase | str) -> None:
        """Run all phases up to and including this one. Raises LoadOrderError when it has already run."""
        last = phase if phase.__class__ is Phase else Phase(phase)
        first, end = TURNS[self.done] + 1, TURNS[last] + 1
        if self._running is not None or self._ended or first >= end:
            self._check_turn(last)
        with WithoutCollections():
            self._run(_STEPS[first:end])

    def _run(self, steps: Sequence[_Step]) -> None:
        """Run phases, of which the first is next; the load is rolled back when one raises."""
        state, marks = self.state, self.timings.marks
        if self.done is None:
            state.under_way.append(self)
        marks.append((None, time.perf_counter()))
        try:
            for phase, body, timed in steps:
                self._running = phase
                if phase is _MAP:
                    self._mapped = mapping.mapped_files(self.nodes)
                if self._mapped or state.mapped:
                    mapping.check_files(self._mapped, state.mapped)
                body(self)
                if timed is not None:
                    marks.append((timed, time.perf_counter()))
                self.done = phase
        except BaseException as error:
            self._end(error)
            raise
        finally:
            self._running = None

    def finish(self) -> Image:
        """Run all remaining phases and return the root image."""
        self.run_to(Phase.COMMIT)
        return self.plan.root

    def rollback(self) -> None:
        """Undo all phases that have run. Raises LoadOrderError after a commit or rollback.

        Raises LinkError, and undoes nothing, while an image of another load uses an image of this one.
        """
        if self._ended or self._running is not None:
            self._check_turn("rollback")
        for image in self.state.users(self.plan.images) if "plan" in vars(self) else ():
            raise LinkError(image.name, f"uses an image of the load of {self._what}: unload it first")
        self.abandon()

    def abandon(self) -> None:
        """Roll back even if images of other loads use images of this one: those are released too."""
        self.check_idle()
        if not self._ended:
            self._end(LoadRolledBack(self._what, f"rolled back after {self.done or 'no phase'}"))

    def check_idle(self) -> None:
        """Raise LoadOrderError while a phase is running."""
        if self._running is not None:
            self._check_turn("rollback")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ended:
            return
        if error is None:
            self.rollback()
        else:
            self._end(error)

    # ------------------------------------------------------------ the phases

    @_phase
    def open(self) -> None:
        """Find and decode the file and all its dependencies. Raises ElfError, LibraryNotFound, LinkError(s)."""
        mode, folders = self.options.mapping, self.state.search.folders
        if mode is None and not folders:  # as files are read anyway
            self.root, self.nodes = self._find()
        else:
            with reading(mode, folders):
                self.root, self.nodes = self._find()
        self._changes = self.state.changes
        if self.state.observers:
            emit.opened(self.state.observers, self.nodes)
        if self.options.strict:
            mapping.refuse_warnings(self.nodes)
        self._check_closure(self.root)

    @_phase
    def map(self) -> None:
        """Reserve a region for each new image and fill it. Raises AddressSpaceError, MalformedElf."""
        state, root = self.state, self.root
        if self._changes != state.changes:
            self._check_unchanged()
        assert root is not None
        plan = mapping.plan_of(root, self.nodes, self.options, state.architecture, state.resolver, self.timings)
        self.plan = plan
        mapping.give_places(state, plan, self.options, self._rollback)
        plan.initialise = lifetime.initialisation_order(plan.images, plan.root)
        for image in plan.initialise:
            state.init_index += 1
            image.lifetime.init_index = state.init_index
        if plan.root.decoded.is_executable:
            mapping.put_program_first(plan)

    @_phase
    def join(self) -> None:
        """Count the load, and add the images to search lists and, unless local, to the global scope."""
        state, plan = self.state, self.plan
        if self._changes != state.changes:
            self._check_unchanged()
        joining.join(state, plan, self.options, self._rollback)
        self._joined()

    @_phase
    def assign_tls(self) -> None:
        """Assign a TLS module to each new image with thread-local storage. Raises TlsError."""
        state, plan = self.state, self.plan
        self._tls = LoadTls(state.tls, self._rollback, self.options.dynamic_tls)
        if users := [image for image in plan.images if image.decoded.tls is not None]:
            self._claim_tls()
            self._tls.assign([image for image in users if not plan.relocates_itself(image)])
            emit.tls_assigned(state.observers, users)

    @_phase
    def relocate(self) -> None:
        """Relocate the images, dependencies first, as ld.so does. Raises all errors together as LinkErrors."""
        state, plan, options, tls = self.state, self.plan, self.options, self._tls
        assert tls is not None
        new: set[Module] = set(plan.images)
        environment = Environment(
            state.resolver,
            descriptor_stubs=lambda: state.descriptor_stubs.addresses(plan.regions, self._rollback),
            unresolved=options.unresolved,
            allow_deferred=options.allow_deferred,
            tls=tls,
            binding=options.binding,
            lazy=state.lazy_host,
            read=state.memory.read,
            is_running=lambda image: image not in new,
        )
        errors = relocate_images(state, plan, options, environment)
        errors += self._rebind(environment)
        if errors:
            raise_all(plan.root.name, errors)
        plan.static_tls = [*[image for image in plan.images if image.tls is not None], *tls.late]

    @_phase
    def publish(self) -> None:
        """Map the regions in the guest. Raises AddressSpaceError."""
        self._publish()

    def _publish(self) -> None:
        mapping.publish(self.state.memory, self.plan, self._rollback)

    @_phase
    def commit(self) -> None:
        """Complete the load: from now on its images are in use, and are released by `Linker.unload`."""
        state, plan = self.state, self.plan
        for image in plan.images:
            image.stage = _INITIALISED
            bindings = image.relocated.bindings
            if bindings is not None and bindings.images[_MOST_KEPT:]:
                image.relocated.bindings = bindings.without_others()
        state.unprepared.difference_update(plan.images)
        if state.observers:
            emit.rebound(state.observers, plan.rebound)
            emit.loaded(state.observers, plan.images)
        try:  # whatever a signal handler raises before undoes the load, afterwards nothing
            plan.root.lifetime.uncommitted -= 1  # from now on `Linker.unload` can undo it
            self._rollback.calls[:] = ()
            self._ended = "committed"
            self._settle()
        finally:
            if not self._settled:
                self._settle()

    # ------------------------------------------------------------ what adoption and replacement do differently

    def _find(self) -> tuple[Node, list[Node]]:
        """The root's node, and the nodes of all its dependencies."""
        state, options = self.state, self.options
        if options.no_load and not state.is_loaded(self.source):
            raise LinkError(self.name or str(self.source), "is not loaded, and `no_load` was given")
        root, nodes = graph.survey(
            state,
            self.source,
            self.name,
            options.preload,
            options.objects((*options.sources, *state.resolver.before)),
        )
        if root.host_provided:
            raise LinkError(root.name, "is provided by the host: there is no image to load")
        if options.script is not None or root.image is not None:
            mapping.check_place(root, options)
        return root, nodes

    def _check_closure(self, root: Node) -> None:
        """Raise an error for missing libraries, symbol versions, and names the host has."""
        for node in self.nodes if self.state.provided else ():
            if node.is_new and node.decoded is not None and node.decoded.soname in self.state.provided:
                raise LinkError(node.name, f"has the SONAME {node.decoded.soname}, which is provided by the host")
        version_check.check(root, self.nodes, self.state.loaded, self._hosts)

    def _hosts(self) -> frozenset[str]:
        """The names of libraries that the host may provide."""
        return self.state.policy.host_provided | self.state.policy.fallbacks | self.state.provided.keys()

    def _claim_tls(self) -> None:
        """Claim the TLS modules that adopted images already use."""

    def _joined(self) -> None:
        """Called at the end of `join`."""

    def _rebind(self, environment: Environment) -> list[LinkError]:
        """Bind references of earlier images again; return the errors."""
        return deferred.rebind_all(self.state, self.plan, environment, self._rollback)

    # ------------------------------------------------------------ order and end

    @property
    def _what(self) -> str:  # in messages
        return self.name or graph.source_name(self.source)

    def _check_turn(self, wanted: str) -> None:
        """Raise LoadOrderError unless `wanted` is next."""
        if self._running is not None:
            problem = f"{self._running} is running"
        elif self._ended:
            problem = f"the load has been {self._ended}"
        elif wanted == self.next:
            return
        else:
            problem = f"{self.next} is next"
        raise LoadOrderError(self._what, wanted, problem)

    def _check_unchanged(self) -> None:
        """Called after changes: raise LinkError when this load depends on an image that was added or removed."""
        self._changes = self.state.changes
        for node in self.nodes:
            if node.image is not None and node.image.closed:
                raise LinkError(node.name, f"has been unloaded since the load of {self._what} was opened")
            if node.is_new and (other := self.state.loaded_twin(node)) is not None:
                raise LinkError(other.name, f"has been loaded since the load of {self._what} was opened")

    def _end(self, error: BaseException) -> None:
        """Roll back, and emit LoadFailed with the reason."""
        if self._ended:  # committed, before a signal handler raised
            return
        rest = self._rollback
        rest.callback(self._leave)
        try:
            self._ended = "rolled back"
            rest.close()
        finally:
            if rest.calls:
                rest.close()
        emit.failed(self.state.observers, self._what, error)

    @property
    def committed(self) -> bool:
        """Whether the load has been completed."""
        return self._ended == "committed"

    def _settle(self) -> None:
        """Note the names under which images were requested, and that the load is no longer in progress."""
        for node in self.nodes:
            if node.image is not None:
                node.image.names |= node.names
                self.state.known.name(node.image, node.names)
        self._leave()
        self._settled = True

    def _leave(self) -> None:
        under_way = self.state.under_way
        if self in under_way:
            under_way.remove(self)
