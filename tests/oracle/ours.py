"""This project's answer to the questions the oracle was asked, in the same words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from emu import Machine
from emu.host.symbols import SymbolValue
from relink.elf.constants import SymbolType
from relink.errors import MachineError, RelinkError, UnresolvedSymbol
from relink.image import BoundSymbol, Image
from toolchains.build import BUILT
from toolchains.manifest import sha256_of
from toolchains.oracle.run import STAND_IN_RESULT, Outcome, told_result
from toolchains.oracle.scenarios import Scenario, ignored
from toolchains.oracle.words import Describer, Loaded, Module
from toolchains.recipe import Kind
from toolchains.recipes import RECIPES
from toolchains.targets import Variant

_SIGSEGV = 11
_CALL = "unsigned long f(long, long, long)"


def _stand_in() -> int:
    return STAND_IN_RESULT


def _hosts(names: tuple[str, ...]) -> Mapping[str, SymbolValue]:
    """What the oracle's stand-in library does; C++'s allocation is this project's own."""
    return {name: (_stand_in, "int f(void)") for name in names if not name.startswith(("_Zn", "_Zd"))}


def observe(variant: Variant, scenario: Scenario, hosts: tuple[str, ...], *, dynamic_tls: bool = False) -> Outcome:
    """What this project makes of `scenario`, `hosts` answering as the oracle's stand-in library does."""
    folder = BUILT / variant.name
    program_itself = scenario.recipe.kind is Kind.EXECUTABLE
    # The last names the fixtures' folder, which `$ORIGIN/..` of some leads to.
    paths = [*(folder / name for name in scenario.path), folder]
    with Machine(
        variant.target.arch,
        library_path=paths,
        max_instructions=10_000_000,
        dynamic_tls=dynamic_tls,
        binding="faithful" if scenario.lazy else "now",
    ) as machine:
        preload = [folder / RECIPES[name].file for name in scenario.preload]
        try:
            machine.load(
                folder / scenario.recipe.file,
                symbols=_hosts(hosts),
                preload=preload,
                # The oracle tells of a program before its own code has run, its constructors included.
                run_initialisers=not program_itself,
            )
            return _outcome(machine, variant, scenario)
        except MachineError:
            return Outcome(fault=_SIGSEGV)
        except RelinkError as error:
            return Outcome(refused=str(error))


def _outcome(machine: Machine, variant: Variant, scenario: Scenario) -> Outcome:
    describer = Describer(loaded(machine, BUILT / variant.name), machine.arch.name)
    words, compared = {}, 0
    for module in describer.loaded.modules:
        words[module.name], count = describer.module(module, ignored(module.name, variant))
        compared += count
    unseen = ignored(scenario.fixture, variant)
    results = tuple(
        (name, told_result(describer, name, value))
        for name, value in _results(machine, scenario)
        if name not in unseen
    )
    files = {module.name: sha256_of(module.path) for module in describer.loaded.modules}
    return Outcome(words, results, None, None, files, (), compared)


def _results(machine: Machine, scenario: Scenario) -> Iterator[tuple[str, int | None]]:
    root = next(image for image in machine.linker.images if image.short_name == Path(scenario.recipe.file).name)
    for call in scenario.calls:
        name, *texts = call.split(" ")
        arguments = [int(text) for text in texts] + [0] * (3 - len(texts))
        try:
            address = root.symbol(name).address
        except UnresolvedSymbol:
            yield name, None
            continue
        result = machine.call(address, _CALL, *arguments)
        assert isinstance(result, int)
        yield name, result


def observe_library(arch: str, path: Path) -> dict[int, str]:
    """Every relocated word of a real library, in words; what nobody here has is bound by name all the same."""
    with Machine(arch, library_path=[path.parent]) as machine:
        # Constructors may change what was relocated, and depend on the processor.
        root = machine.load(path, allow_unresolved=True, run_initialisers=False).image
        return Describer(loaded(machine, None, root), arch).relocated_of(path)


def loaded(machine: Machine, folder: Path | None, only: Image | None = None) -> Loaded:
    """A machine's images as the oracle tells of its own; with `folder`, named as the fixtures under it. With
    `only`, that image alone, and all it imports known by name."""
    chosen = machine.linker.images if only is None else [only]
    modules = tuple(_module(machine, image, folder) for image in chosen)
    images = {module.name: image for module, image in zip(modules, chosen, strict=True)}
    names: dict[int, set[str]] = {}
    for image in chosen:
        for bound in image.bindings():
            if bound.address and (bound.kind == "host" or (only is not None and bound.provider != only.name)):
                names.setdefault(_meant(machine, image, bound), set()).add(bound.symbol)

    def read(module: Module, start: int, size: int) -> bytes:
        return machine.memory.read(images[module.name].address_of(start), size)

    known = {at: frozenset(each) for at, each in names.items()}
    descriptors = dict(_descriptors(machine, images))
    return Loaded(machine.thread_pointer, modules, read, known, descriptors=descriptors)


def _descriptors(
    machine: Machine, images: Mapping[str, Image]
) -> Iterator[tuple[tuple[str, int], tuple[int, int]]]:
    """The descriptors that are not static: their function is a trap, of one module, their argument an offset."""
    argument = machine.arch.tls.descriptor_argument
    owners = {image.name: image for image in machine.linker.images}
    for name, image in images.items():
        for slot in image.link_map(machine.memory.read).slots:
            if slot.kind == "TLS_DESC" and slot.words[1 - argument] in machine.traps:
                provider = image if not slot.symbol else owners[slot.provider or ""]
                assert provider.tls is not None
                yield (name, slot.address - image.bias), (provider.tls.id, slot.words[argument])


def _meant(machine: Machine, image: Image, bound: BoundSymbol) -> int:
    """The address a reference comes to: for an ifunc of another image what its resolver answers."""
    if bound.kind == "image":
        symbol = image.symbol(bound.symbol, bound.version)
        if symbol.type == SymbolType.GNU_IFUNC:
            return machine.initialisers.ifunc_target(symbol.image, bound.address)
    return bound.address


def _module(machine: Machine, image: Image, folder: Path | None) -> Module:
    path = Path(os.path.normpath(image.name))
    name = str(path.relative_to(folder).with_suffix("")) if folder else path.name
    end = max(segment.vaddr + segment.memsz for segment in image.decoded.segments)
    low = image.address_of(int(image.low))
    tls = image.tls
    return Module(
        name,
        path,
        image.bias,
        low,
        image.address_of(end),
        tls.id if tls else 0,
        machine.tls_block(image) if tls else 0,
        tls.size if tls else 0,
    )
