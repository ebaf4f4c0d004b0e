"""Combining relocatable objects: the steps of a static linker before addresses are assigned. The steps, in order:

    sections            keeps one of each COMDAT group, sorts sections
    symbols             one table, in which each name has one definition
    relocation_tables   the entries of kept sections, with indices in that table
    got_and_stubs       room for the GOT slots and stubs that the code needs
    layout              assigns offsets to sections, GOT, stubs and commons
    linker_symbols      defines `_end`, `__start_x` and similar symbols

Each is a module in this folder. Stubs increase distances, which may require more stubs: layout is repeated until
all branches reach.
"""

from __future__ import annotations

import numpy as np

from relink.arch import Architecture, FloatAbi
from relink.arch.spec import Stub
from relink.arrays import I64, distinct
from relink.elf import ProgramHeader
from relink.elf.batch_symbols import BatchSymbols
from relink.elf.constants import SegmentType
from relink.elf.contents import Contents
from relink.elf.dynamic import Dynamic
from relink.elf.layout import ELF32, ELF64
from relink.elf.object_batch import ObjectBatch
from relink.errors import LinkError, raise_all
from relink.objects import linker_symbols, script_symbols
from relink.objects.combined import (
    CONSTRUCTORS,
    DESTRUCTORS,
    FIRST,
    CombinedObjects,
    DebugLinker,
    no_debug_sections,
)
from relink.objects.float_abi import all_attributes, float_abis
from relink.objects.gc import live_sections
from relink.objects.got_and_stubs import Slots, assign_slots, choose_callers, far_callees, stub_symbols, stub_table
from relink.objects.input_sections import InputSections
from relink.objects.layout import Layout
from relink.objects.options import ObjectOptions
from relink.objects.placed import PlacedImage
from relink.objects.placed_layout import PlacedLayout
from relink.objects.placed_outputs import without_discarded
from relink.objects.relocation_tables import InputTables
from relink.objects.sections import kept_sections
from relink.objects.symbols import Symbols

_DEFAULT = ObjectOptions()
_ROUNDS = 8  #: maximum number of layout passes


def combine(
    name: str,
    files: ObjectBatch,
    arch: Architecture,
    options: ObjectOptions = _DEFAULT,
    link_debug_sections: DebugLinker = no_debug_sections,
) -> CombinedObjects:
    """Lay out `files` as one image.

    `options.undefined` are names that other images may bind to regardless of their visibility.
    `link_debug_sections` relocates the image's debug sections on request. Raises LinkErrors for duplicate symbols,
    ElfError for damaged input and for objects without machine code.
    """
    stub, float_abi, errors = _common_abi(files, arch)
    script = options.script
    sections = kept_sections(files)
    rows = BatchSymbols(files)
    if script is not None:
        sections = without_discarded(sections, script)
    symbols, tables = _tables(name, rows, arch, options, sections, errors)
    if script is not None and script.gc:
        raise_all(name, errors)
        sections = live_sections(script, symbols, tables, options.undefined)
        symbols, tables = _tables(name, rows, arch, options, sections, errors)
    errors += tables.errors
    slots, got_size = assign_slots(arch, tables)
    parts = name, arch, stub, symbols
    layout = Layout(*parts) if script is None else PlacedLayout(*parts, script)
    defined_here, of_script = linker_symbols.asked_for(symbols), dict[str, int]()
    if isinstance(layout, PlacedLayout):
        of_script = script_symbols.asked_for(symbols, layout)
        defined_here = {row: number for row, number in defined_here.items() if row not in of_script}
        callees = stub_symbols(arch, stub, tables, {*defined_here.values(), *of_script.values()})
    else:
        callees = stub_symbols(arch, stub, tables)
    raise_all(name, errors)
    callees = _place(layout, tables, got_size, callees)
    symbols.settle(layout.commons, layout.tls_start)
    linker_symbols.define(defined_here, symbols, layout)
    if isinstance(layout, PlacedLayout):
        script_symbols.define(of_script, symbols, layout)
    symbols.bind_to_own_image()
    dso_handle = FIRST if linker_symbols.DSO_HANDLE in defined_here else None
    return _image(layout, tables, slots, callees, float_abi, dso_handle, link_debug_sections)


def _tables(
    name: str,
    rows: BatchSymbols,
    arch: Architecture,
    options: ObjectOptions,
    sections: InputSections,
    errors: list[LinkError],
) -> tuple[Symbols, InputTables]:
    """The symbols of all objects, resolved, and the relocations of `sections`; errors are added to `errors`."""
    symbols = Symbols(name, rows, sections)
    errors += symbols.resolve(frozenset(options.undefined), options.wrapped)
    errors += linker_symbols.redefined(symbols)
    symbols.override(options.overridden)
    return symbols, InputTables(arch, symbols)


def _common_abi(batch: ObjectBatch, arch: Architecture) -> tuple[Stub | None, FloatAbi | None, list[LinkError]]:
    """(stubs that every object's core can run, common floating-point convention, errors for objects that
    differ).
    """
    attributes = all_attributes(batch, arch)
    errors: list[LinkError] = []
    first: tuple[FloatAbi, int] | None = None
    for number, abi in float_abis(batch, arch, attributes):
        if first is None:
            first = abi, number
        elif abi is not first[0]:
            problem = f"makes {abi.value} calls, {batch.files[first[1]].name} makes {first[0].value} calls"
            errors.append(LinkError(batch.files[number].name, problem))
    different = {*attributes.values(), *([] if len(attributes) == len(batch) else [b""])}
    stub = arch.baseline_stub if any(map(arch.is_baseline, different)) else arch.stub
    return stub, first[0] if first else None, errors


def _place(layout: Layout, tables: InputTables, got_size: int, callees: I64) -> I64:
    """Repeat layout until every branch reaches; return the symbols that have stubs."""
    _place_once(layout, tables, got_size, callees)
    for _ in range(_ROUNDS):
        far = far_callees(layout.arch, layout, tables, callees)
        if not len(far):
            break
        callees = distinct(np.concatenate((callees, far)))
        _place_once(layout, tables, got_size, callees)
    return callees


def _place_once(layout: Layout, tables: InputTables, got_size: int, callees: I64) -> None:
    if isinstance(layout, PlacedLayout):
        choose_callers(layout, tables, callees)
    layout.place(got_size, len(callees))


def _image(
    layout: Layout,
    tables: InputTables,
    slots: Slots,
    callees: I64,
    float_abi: FloatAbi | None,
    dso_handle: int | None,
    link_debug_sections: DebugLinker,
) -> CombinedObjects:
    symbols = layout.symbols
    stubs = stub_table(callees, layout, len(symbols))
    placed = None
    if isinstance(layout, PlacedLayout):
        entry = script_symbols.entry_row(layout.script, symbols)
        placed = PlacedImage(layout.script, layout.rows(), entry)
    data = layout.content(stubs)
    headers, segments = _segments(layout)
    return CombinedObjects(
        layout.name,
        None,
        data,
        None,
        symbols.batch.files[0].header,
        headers,
        segments,
        Contents(layout.name, segments, lambda s: data[s.offset : s.offset + s.filesz]),
        Dynamic.empty(),
        input_sections=symbols.sections,
        batch=symbols.batch,
        alias=symbols.alias,
        table=symbols.table(ELF64 if layout.arch.bits == 64 else ELF32),
        static=tables.combined(),
        got=layout.got,
        slots=slots,
        object_versions=symbols.versions(),
        stubs=stubs,
        low_bits=tables.low_bits(),
        direct=tables.direct(),
        # Start-up code runs the constructors of what a script has placed.
        constructors=None if placed else layout.array(CONSTRUCTORS),
        destructors=None if placed else layout.array(DESTRUCTORS),
        routines=(None, None) if placed else (symbols.offset_of("_init"), symbols.offset_of("_fini")),
        placed=placed,
        float_abi=float_abi,
        dso_handle=dso_handle,
        link_debug_sections=link_debug_sections,
    )


def _segments(layout: Layout) -> tuple[tuple[ProgramHeader, ...], tuple[ProgramHeader, ...]]:
    """(all program headers, those of PT_LOAD by address). Raises LinkError when there is nothing to load."""
    headers = tuple(layout.program_headers())
    loads = (header for header in headers if header.type == SegmentType.LOAD)
    segments = tuple(sorted(loads, key=lambda header: header.vaddr))
    if not segments:
        raise LinkError(layout.name, "has nothing to load")
    return headers, segments
