"""Link scripts as files in TOML, and sizes as people write them.

entry = "Reset_Handler"
gc = true

[regions.flash]
origin = 0x08000000
length = "128K"
attributes = "rx"
fill = 0xFF

[[sections]]                # left out: the usual sections
name = ".data"
region = "ram"
load_in = "flash"

[symbols]
_estack = "ram.end"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from relink.objects.script import LinkScript, MemoryRegion, OutputSection, named_output
from relink.objects.script_errors import ScriptError

_UNITS = {"": 1, "k": 10, "m": 20, "g": 30}
_SIZE = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+) ?([kKmMgG]?)(?:i?[bB])?")
_TOP = ("entry", "gc", "keep", "discard", "orphans", "regions", "sections", "symbols")
_REGION = ("origin", "length", "attributes", "fill")
_SECTION = ("name", "region", "load_in", "inputs", "align", "at", "keep", "unique", "fill", "load")


def size_of(text: str | int, what: str = "size") -> int:
    """The number of bytes that a text such as "128K", "0x1000" or "1 MiB" means. Raises ScriptError."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ScriptError("script", f'{what} {text!r} is not a number such as 4096, 0x1000 or "128K"')
    unit = found[2].lower()
    return int(found[1], 0) << _UNITS[unit] if unit else int(found[1], 0)


def region_of(text: str) -> MemoryRegion:
    """The region that "NAME=ORIGIN,LENGTH[,ATTRIBUTES[,FILL]]" means. Raises ScriptError."""
    name, separator, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(",")]
    if not separator or not 2 <= len(parts) <= 4:
        raise ScriptError("script", f"region {text!r} is not NAME=ORIGIN,LENGTH[,ATTRIBUTES[,FILL]]")
    origin, length = (size_of(part, f"region {name}:") for part in parts[:2])
    fill = size_of(parts[3], f"region {name}:") if len(parts) > 3 else 0
    return MemoryRegion(name.strip(), origin, length, parts[2] if len(parts) > 2 else "rwx", fill)


def read_script(path: str | Path) -> LinkScript:
    """Read a script file. Raises ScriptError, OSError."""
    import tomllib

    try:
        return script_of(tomllib.loads(Path(path).read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScriptError(str(path), f"is not TOML: {error}") from None
    except ScriptError as error:
        raise ScriptError(str(path), error.problem) from None


def script_of(values: Mapping[str, object]) -> LinkScript:
    """The script of a file's values. Raises ScriptError."""
    _check_keys("the script", values, _TOP)
    regions = {name: _region(name, _table(f"regions.{name}", row)) for name, row in _items(values, "regions")}
    rows = values.get("sections")
    symbols = dict(_items(values, "symbols"))
    for name, value in symbols.items():
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            raise ScriptError("script", f"symbol {name}: {value!r} is not a number or place")
    place = None
    if rows is not None:
        if not isinstance(rows, list):
            raise ScriptError("script", "sections is no list of tables: write [[sections]]")
        outputs = [_section(_table("sections", row), regions) for row in rows]
        place = tuple(outputs)
    entry, orphans = values.get("entry"), values.get("orphans", "place")
    if not isinstance(entry, str | None) or not isinstance(orphans, str):
        raise ScriptError("script", "entry and orphans are strings")
    usual = LinkScript.of(regions=list(regions.values())) if place is None else None
    return LinkScript(
        tuple(regions.values()),
        place if usual is None else usual.outputs,  # type: ignore[arg-type]
        entry,
        _flag(values, "gc"),
        _texts("the script", values, "keep"),
        _texts("the script", values, "discard"),
        symbols,  # type: ignore[arg-type]
        orphans,
    )


def _region(name: str, row: Mapping[str, object]) -> MemoryRegion:
    _check_keys(f"region {name}", row, _REGION)
    for key in ("origin", "length"):
        if key not in row:
            raise ScriptError("script", f"region {name} has no {key}")
    origin, length, fill = (_size(f"region {name}", row, key) for key in ("origin", "length", "fill"))
    attributes = row.get("attributes", "rwx")
    if not isinstance(attributes, str):
        raise ScriptError("script", f"region {name}: attributes {attributes!r} are not a string")
    return MemoryRegion(name, origin, length, attributes, fill)


def _section(row: Mapping[str, object], regions: Mapping[str, MemoryRegion]) -> OutputSection:
    name = row.get("name")
    if not isinstance(name, str) or not name:
        raise ScriptError("script", "a section has no name")
    where = f"section {name}"
    _check_keys(where, row, _SECTION)
    found: list[MemoryRegion | None] = []
    for key in ("region", "load_in"):
        wanted = row.get(key)
        if wanted is None and key == "load_in":
            found.append(None)
        elif isinstance(wanted, str) and wanted in regions:
            found.append(regions[wanted])
        else:
            raise ScriptError(
                "script", f"{where}: {key} {wanted!r} is none of {', '.join(regions) or 'no region'}"
            )
    assert found[0] is not None
    output = OutputSection(
        found[0],
        found[1],
        inputs=_texts(where, row, "inputs"),
        align=_size(where, row, "align", 1),
        at=_size(where, row, "at") if "at" in row else None,
        keep=_flag(row, "keep"),
        unique=_flag(row, "unique"),
        fill=_size(where, row, "fill") if "fill" in row else None,
        load=_flag(row, "load", default=True),
    )
    return named_output(name, output)


def _check_keys(where: str, row: Mapping[str, object], known: tuple[str, ...]) -> None:
    if odd := sorted(set(row) - set(known)):
        raise ScriptError("script", f"{where} has {odd[0]!r}; known are {', '.join(known)}")


def _items(values: Mapping[str, object], key: str) -> list[tuple[str, object]]:
    return list(_table(key, values.get(key, {})).items())


def _table(where: str, row: object) -> Mapping[str, object]:
    if not isinstance(row, dict):
        raise ScriptError("script", f"{where} is no table")
    return row


def _size(where: str, row: Mapping[str, object], key: str, default: int = 0) -> int:
    value = row.get(key, default)
    return size_of(value if isinstance(value, (int, str)) else repr(value), f"{where}: {key}")


def _flag(row: Mapping[str, object], key: str, *, default: bool = False) -> bool:
    value = row.get(key, default)
    if not isinstance(value, bool):
        raise ScriptError("script", f"{key} is {value!r}, not true or false")
    return value


def _texts(where: str, row: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = row.get(key, [])
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
        raise ScriptError("script", f"{where}: {key} is no list of strings")
    return tuple(values)
