"""Objects that are read together are as each is by itself: every column, and the error of the first bad one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relink.arch import architecture
from relink.arrays import AnyArray
from relink.elf.batch_relocations import BatchRelocations
from relink.elf.batch_symbols import BatchSymbols
from relink.elf.object_batch import ObjectBatch
from relink.elf.objects import ObjectFile, decode_object
from relink.elf.source import open_source
from relink.errors import ElfError
from tests.elf.broken_objects import BROKEN
from tests.elf.build_object import Sec, Sym, group, rela, simple_object, write_object
from tests.elf.test_object_mutations import mutated_object, originals
from tests.grouping import each
from tests.sampling import examples

#: What is compared: the columns of one stage, or the error that ends it.
Found: TypeAlias = "dict[str, object] | tuple[type, str]"

_STAGES, _NOT_LOADED = ("headers-", "symbols-", "relocations-"), ("relocations-bss",)
_MANY = 7  #: more than are read one by one
ODD = [
    simple_object([Sym("f", bind=1, section=1)], [rela((0, 1, 1, -4), (4, 2, 0, 9)), group(1, 1, 1)]),
    simple_object([Sym("g", section=1), Sym("", type=3, section=1), Sym("common", 8, 4, 1, 1, section=0xFFF2)]),
    simple_object([Sym("absolute", 5, bind=2, section=0xFFF1)], [rela(name=".rela.empty"), Sec(".x", flags=2)]),
    write_object([Sec(".text", data=bytes(8), flags=6), Sec(".rela", 4, bytes(24), info=1, entsize=24)]),
    write_object([Sec(f".s{n}", data=b"x", flags=2) for n in range(70)], extended=True),
]


def files_of(contents: Sequence[bytes]) -> list[ObjectFile]:
    return [ObjectFile(f"{number}.o", None, open_source(c, None)[2]) for number, c in enumerate(contents)]


def outcome(stage: Callable[[], dict[str, object]]) -> Found:
    try:
        return stage()
    except ElfError as error:
        return type(error), str(error)


def joined(parts: Sequence[AnyArray]) -> list[object]:
    return list(np.concatenate(parts).tolist())


def alone(contents: Sequence[bytes]) -> list[Found]:
    """What the objects are one by one: sections, symbols, names of symbols, relocations."""
    files = files_of(contents)

    def sections() -> dict[str, object]:
        for file in files:
            file.check()
        return {
            "rows": joined([file.sections.rows for file in files]),
            "names": [section.name for file in files for section in file.sections],
            "unset": [file.has_unset_flags for file in files],
        }

    def symbols() -> dict[str, object]:
        tables = [file.symbols for file in files]
        return {
            "records": joined([table.records for table in tables if len(table)]),
            "section": joined([table.section for table in tables]),
            "first_global": [table.first_global for table in tables],
        }

    def names() -> dict[str, object]:
        return {"names": [text for file in files for text in file.symbols.names.texts()]}

    def relocations() -> dict[str, object]:
        tables = [(file, table) for file in files for table in file.loaded_relocations]
        return {"tables": [columns(file, table) for file, table in tables]}

    return stages(sections, symbols, names, relocations)


def together(contents: Sequence[bytes]) -> list[Found]:
    """The same of the batch."""
    made: list[ObjectBatch] = []
    read: list[BatchSymbols] = []

    def sections() -> dict[str, object]:
        made.append(batch := ObjectBatch(files_of(contents)))
        names = batch.section_names.texts()
        texts, numbers = batch.section_groups
        assert [texts[number] for number in numbers.tolist()] == names
        return {"rows": batch.sections.tolist(), "names": names, "unset": batch.unset_flags.tolist()}

    def symbols() -> dict[str, object]:
        read.append(table := BatchSymbols(made[0]))
        return {
            "records": table.records.tolist(),
            "section": table.section.tolist(),
            "first_global": table.first_global.tolist(),
        }

    def names() -> dict[str, object]:
        read[0].check_names()
        return {"names": read[0].names.texts()}

    def relocations() -> dict[str, object]:
        tables = BatchRelocations(read[0])
        if tables.refused:
            raise tables.refused[min(tables.refused)]
        owners = [made[0].files[file] for file in made[0].section_file[tables.rows].tolist()]
        return {"tables": [columns(owner, tables.one(number)) for number, owner in enumerate(owners)]}

    return stages(sections, symbols, names, relocations)


def columns(file: ObjectFile, table: object) -> tuple[object, ...]:
    parts = (getattr(table, name) for name in ("offset", "type", "symbol", "addend"))
    place = (getattr(table, name) for name in ("section", "index", "name"))
    return file.name, *place, *(None if part is None else part.tolist() for part in parts)


def stages(*stages: Callable[[], dict[str, object]]) -> list[Found]:
    """The outcomes up to the first error."""
    found: list[Found] = []
    for stage in stages:
        found.append(outcome(stage))
        if isinstance(found[-1], tuple):
            break
    return found


def of_one_class(contents: Sequence[bytes]) -> bool:
    return len({content[4:5] for content in contents}) == 1


def test_objects_of_each_kind_are_read_alike() -> None:
    for bits in (1, 2):
        some = [content for content in originals() if content[4] == bits]
        contents = [*some, *(ODD if bits == 2 else []), *some, *some]
        assert len(contents) >= _MANY
        for several in (contents, contents[::-1], contents[:2]):
            found = together(several)
            assert found == alone(several)
            assert len(found) == 4
            assert not isinstance(found[-1], tuple)


@each("name", sorted(name for name in BROKEN if name.startswith(_STAGES) and name not in _NOT_LOADED))
def test_the_first_bad_object_of_several_is_named(name: str) -> None:
    """Wherever it is, and whatever is wrong with a later one."""
    bad = BROKEN[name][0]
    for place, later in ((0, bad), (3, b"no object"), (_MANY - 1, bad)):
        contents = [ODD[number % len(ODD)] for number in range(_MANY)]
        contents[place] = bad
        contents.append(later)
        found = together(contents)
        assert found == alone(contents)
        assert isinstance(found[-1], tuple)


@settings(max_examples=examples(120), deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated_object(), st.integers(0, _MANY - 1), st.integers(0, 1 << 30))
def test_a_mutated_object_among_others_is_read_as_if_alone(content: bytes, place: int, seed: int) -> None:
    others = [original for original in originals() if original[4:5] == content[4:5]]
    if not others:
        return
    contents = [others[(seed + number) % len(others)] for number in range(_MANY - 1)]
    contents.insert(place, content)
    assert together(contents) == alone(contents)


def test_an_object_of_the_other_class_is_unlike_the_others() -> None:
    of_32 = next(content for content in originals() if content[4] == 1)
    batch = ObjectBatch(files_of([*ODD, of_32, *ODD]))
    assert batch.files[len(ODD)] in list(batch.unlike(architecture("x86_64")))
    assert decode_object(of_32).header.bits == 32
