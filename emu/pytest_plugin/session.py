"""What the tests of one process share: the choice of targets, built libraries, machines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from emu.build.build import build
from emu.build.compilers import Compiler, find
from emu.build.errors import BuildError, CompilerMissing, NoSources
from emu.build.store import Store, default_folder
from emu.build.targets import SIBLINGS, TARGETS, Target, targets_of
from emu.errors import GuestFault
from emu.pytest_plugin import options
from emu.pytest_plugin.marks import Wanted, wanted
from relink.errors import RelinkError
from relink.records import cached_property, replace

if TYPE_CHECKING:
    from emu.pytest_plugin.coverage import GuestCoverage
    from emu.pytest_plugin.pool import Loaded, Pool


def fail(reason: str) -> NoReturn:
    """Fail the test with a message alone, without the exception it comes from."""
    raise pytest.fail.Exception(reason, pytrace=False) from None


def _skip_or_fail(reason: str, *, skip: bool) -> NoReturn:
    if skip:
        pytest.skip(reason)
    fail(reason)


class Session:
    """The plug-in's state in one process: the only one, or an xdist worker."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.chosen = {target.name for target in targets_of(options.words(config, "arch"))}
        self._compiler = options.value(config, "compiler")
        self._failures: dict[object, BuildError] = {}
        self.compilers: dict[str, str] = {}  #: names of the compilers that built something, by target

    # ------------------------------------------------------------ collection

    def parametrize(self, metafunc: pytest.Metafunc, name: str) -> None:
        """Make a test for each target of the marker."""
        try:
            targets = wanted(metafunc.definition, self.config).targets
        except BuildError as error:
            fail(f"{metafunc.function.__qualname__}: {error}")
        if not targets:
            fail(f"{metafunc.function.__qualname__}: the marker relink has arches= without any")
        names = [target.name for target in targets]
        metafunc.parametrize(name, names, indirect=True, ids=names)

    def deselect(self, items: list[pytest.Item], name: str) -> None:
        """Leave out the tests of other targets than those chosen with --arch."""
        if not self.chosen:
            return
        kept: list[pytest.Item] = []
        others: list[pytest.Item] = []
        for item in items:
            target = getattr(getattr(item, "callspec", None), "params", {}).get(name)
            # Thumb code is Arm's: --arch arm has both, --arch thumb only its own.
            about = target is None or not self.chosen.isdisjoint((target, TARGETS[target].arch))
            (kept if about else others).append(item)
        if others:
            self.config.hook.pytest_deselected(items=others)
            items[:] = kept

    def header(self) -> list[str]:
        """Versions of what runs the tests, and the seed of hypothesis."""
        from importlib.metadata import PackageNotFoundError, version

        def found(package: str) -> str:
            try:
                return f"{package} {version(package)}"
            except PackageNotFoundError:
                return f"{package} (not installed)"

        packages = ["relink-emu", "unicorn", "icicle-emu"]
        packages += ["ziglang"] if self._compiler in ("", "auto", "zig") else []
        packages += ["hypothesis"] if "hypothesis" in sys.modules else []
        line = ", ".join(map(found, packages))
        seed = getattr(self.config.option, "hypothesis_seed", None)
        return [line + (f" (seed {seed})" if seed is not None else "")]

    # ------------------------------------------------------------ machines

    @cached_property
    def pool(self) -> Pool:
        """The machines of this process."""
        from emu.pytest_plugin.pool import Pool

        return Pool()

    @cached_property
    def coverage(self) -> GuestCoverage | None:
        """The code that tests have run; None unless `--guest-cov` asks for it."""
        if not self.config.getoption("relink_guest_cov"):
            return None
        from emu.pytest_plugin.coverage import GuestCoverage, files

        return GuestCoverage(files(self.config))

    @contextmanager
    def loaded(self, item: pytest.Item, target_name: str) -> Iterator[Loaded]:
        """A machine of a target with the library that a test wants, for that test alone.

        Skips or fails the test when there is none.
        """
        target = TARGETS[target_name]
        try:
            want = wanted(item, self.config)
        except BuildError as error:
            fail(str(error))
        key = (target.name, want.identity)
        loaded = self.pool.take(key, lambda: self._load(want, target))
        try:
            with nullcontext() if self.coverage is None else self.coverage.recording(loaded):
                yield loaded
        finally:
            depth = loaded.machine.call_depth
            loaded.spent |= bool(depth)
            self.pool.give_back(key, loaded)
            if depth:
                fail(f"the test ended during {depth} calls of the guest, which never returned")

    def _load(self, want: Wanted, target: Target) -> Loaded:
        from emu.pytest_plugin import loading

        files = self._files(want, target)
        try:
            loaded = loading.load(want, target, files, options.timeout(self.config))
            loaded.sibling = lambda: self._sibling(want, target)
            return loaded
        except RelinkError as error:
            cause = error.__cause__
            fault = error if isinstance(error, GuestFault) else cause
            text = f"{error}\n{fault.report()}" if isinstance(fault, GuestFault) else str(error)
            name = files[0].name if files else "the machine"
            fail(f"{name} cannot be loaded for {target.name}: {text}")

    # ------------------------------------------------------------ files

    def _files(self, want: Wanted, target: Target) -> list[Path]:
        """The files of the library for a target; none when the marker names none."""
        if not want.has_files:
            return []
        try:
            recipe = want.recipe(target, options.words(self.config, "cflags"))
            if recipe is None:
                return want.binary(target)
            compiler = self._find(want, target)
            key = (recipe, target, compiler.driver)
            if key in self._failures:
                raise self._failures[key]
            self.compilers.setdefault(target.name, compiler.name)
            try:
                return build(recipe, compiler, self.store, rebuild=self.config.getoption("relink_rebuild"))
            except BuildError as error:
                self._failures[key] = error
                raise
        except NoSources as error:
            _skip_or_fail(str(error), skip=want.elsewhere(target))
        except BuildError as error:
            fail(str(error))

    def _sibling(self, want: Wanted, target: Target) -> Path | None:
        """The library for another target with the same sizes of types: see `SIBLINGS`."""
        if target.name not in SIBLINGS or not want.values.get("sources"):
            return None
        other = TARGETS[SIBLINGS[target.name]]
        try:
            recipe = want.recipe(other, options.words(self.config, "cflags"))
            if recipe is None:
                return None
            return build(replace(recipe, kind="so"), find(other, self._compiler), self.store)[0]
        except BuildError:
            return None

    def _find(self, want: Wanted, target: Target) -> Compiler:
        try:
            return find(target, self._compiler)
        except CompilerMissing as error:
            named = "all" not in want.words or target.name in self.chosen
            others = not named and any(self._compiles(other) for other in TARGETS.values())
            _skip_or_fail(str(error), skip=others)

    def _compiles(self, target: Target) -> bool:
        try:
            find(target, self._compiler)
        except CompilerMissing:
            return False
        return True

    @cached_property
    def store(self) -> Store:
        """The build cache: the folder that was asked for, the user's, or one of this run where neither is
        writable."""
        given = options.value(self.config, "build_cache")
        if given:
            return Store((self.config.invocation_params.dir / os.path.expanduser(given)).absolute())
        try:
            return Store(default_folder())
        except BuildError:
            factory: Any = self.config._tmp_path_factory  # type: ignore[attr-defined]
            base: Path = factory.getbasetemp()
            worker = hasattr(self.config, "workerinput")
            return Store((base.parent if worker else base) / "relink-builds")

    def finish(self) -> list[str]:
        """Free the machines, and what the build cache has not used for long; write the coverage. The problems with
        that are returned; an xdist worker's also go to the controlling process.
        """
        coverage: GuestCoverage | None = vars(self).get("coverage")
        problems = [] if coverage is None else list(coverage.save())
        if "pool" in vars(self):
            self.pool.close()
        if "store" in vars(self):
            self.store.trim()
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output[options.HEADER], output[options.PROBLEMS] = self.header(), problems
        return problems
