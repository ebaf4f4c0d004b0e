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

from collections.abc import Sequence

import numpy as np

from relink.arch import Architecture, FloatAbi
from relink.arch.spec import Stub
from relink.arrays import I64
from relink.elf.constants import SegmentType
from relink.elf.contents import Contents
from relink.elf.dynamic import Dynamic
from relink.elf.layout import ELF32, ELF64
from relink.elf.objects import ObjectFile
from relink.errors import LinkError, raise_all
from relink.objects import linker_symbols
from relink.objects.combined import (
    CONSTRUCTORS,
    DESTRUCTORS,
    FIRST,
    CombinedObjects,
    DebugLinker,
    no_debug_sections,
)
from relink.objects.float_abi import build_attributes, object_float_abi
from relink.objects.got_and_stubs import Slots, assign_slots, far_callees, stub_symbols, stub_table
from relink.objects.layout import Layout
from relink.objects.options import ObjectOptions
from relink.objects.relocation_tables import InputTables
from relink.objects.sections import kept_sections
from relink.objects.symbols import Symbols
from relink.records import replace

_DEFAULT = ObjectOptions()
_ROUNDS = 8  #: maximum number of layout passes


def combine(
    name: str,
    files: Sequence[ObjectFile],
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
    sections = kept_sections(files)
    symbols = Symbols(name, files, sections)
    errors += symbols.resolve(frozenset(options.undefined), options.wrapped)
    errors += linker_symbols.redefined(symbols)
    symbols.override(options.overridden)
    defined_here = linker_symbols.asked_for(symbols)
    tables = InputTables(arch, symbols, sections)
    errors += tables.errors
    slots, got_size = assign_slots(arch, tables)
    callees = stub_symbols(arch, stub, tables)
    raise_all(name, errors)
    layout = Layout(name, arch, stub, list(sections.values()), symbols)
    callees = _place(layout, tables, got_size, callees)
    symbols.settle(layout.commons, layout.tls_start)
    linker_symbols.define(defined_here, symbols, layout)
    symbols.bind_to_own_image()
    dso_handle = FIRST if linker_symbols.DSO_HANDLE in defined_here else None
    image = _image(layout, tables, slots, callees)
    return replace(image, float_abi=float_abi, dso_handle=dso_handle, link_debug_sections=link_debug_sections)


def _common_abi(
    files: Sequence[ObjectFile], arch: Architecture
) -> tuple[Stub | None, FloatAbi | None, list[LinkError]]:
    """(stubs that every object's core can run, common floating-point convention, errors for objects that
    differ).
    """
    attributes = [build_attributes(file, arch) for file in files]
    errors: list[LinkError] = []
    first: tuple[FloatAbi, str] | None = None
    for file in files:
        abi = object_float_abi(file, arch)
        if abi is not None and first is not None and abi is not first[0]:
            problem = f"makes {abi.value} calls, {first[1]} makes {first[0].value} calls"
            errors.append(LinkError(file.name, problem))
        if abi is not None and first is None:
            first = abi, file.name
    stub = arch.baseline_stub if any(map(arch.is_baseline, attributes)) else arch.stub
    return stub, first[0] if first else None, errors


def _place(layout: Layout, tables: InputTables, got_size: int, callees: I64) -> I64:
    """Repeat layout until every branch reaches; return the symbols that have stubs."""
    layout.place(got_size, len(callees))
    for _ in range(_ROUNDS):
        far = far_callees(layout.arch, layout, tables, callees)
        if not len(far):
            break
        callees = np.union1d(callees, far)
        layout.place(got_size, len(callees))
    return callees


def _image(layout: Layout, tables: InputTables, slots: Slots, callees: I64) -> CombinedObjects:
    symbols, files = layout.symbols, layout.symbols.files
    stubs = stub_table(callees, layout, len(symbols))
    data = layout.content(stubs)
    headers = tuple(layout.program_headers())
    segments = tuple(header for header in headers if header.type == SegmentType.LOAD)
    return CombinedObjects(
        layout.name,
        None,
        data,
        None,
        files[0].header,
        headers,
        segments,
        Contents(layout.name, segments, lambda s: data[s.offset : s.offset + s.filesz]),
        Dynamic.empty(),
        inputs=tuple(sorted(symbols.sections.values(), key=lambda s: s.offset)),
        files=tuple(files),
        alias=symbols.alias,
        table=symbols.table(ELF64 if layout.arch.bits == 64 else ELF32),
        static=tables.combined(),
        got=layout.got,
        slots=slots,
        object_versions=symbols.versions(),
        stubs=stubs,
        low_bits=tables.low_bits(),
        direct=tables.direct(),
        constructors=layout.array(CONSTRUCTORS),
        destructors=layout.array(DESTRUCTORS),
        routines=(symbols.offset_of("_init"), symbols.offset_of("_fini")),
    )
