"""drcov files, version 2: the format of DynamoRIO's coverage tool, which Lighthouse, Ghidra and others read.

A text header, a table of modules, and a binary table of blocks: uint32 offset in the module, uint16 size, uint16
module id. (DynamoRIO, clients/drcov/drcov.h)
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from emu.debug.coverage.data import CoverageData
from emu.debug.coverage.module import Module
from relink.errors import MachineError, printable

_BLOCK: Final = np.dtype([("start", "<u4"), ("size", "<u2"), ("module", "<u2")])
_MOST: Final = (1 << 16) - 1
_HEADER: Final = "DRCOV VERSION: 2\nDRCOV FLAVOR: drcov\n"
_COLUMNS: Final = "Columns: id, base, end, entry, path\n"


def write_drcov(data: CoverageData) -> bytes:
    """The contents of a drcov file. Raises MachineError for an image of more than 4 GiB, and for more than
    65,535.
    """
    modules = list(data.modules.values())
    if len(modules) > _MOST:
        raise MachineError(f"a drcov file has at most {_MOST} modules, not {len(modules)}")
    text = f"{_HEADER}Module Table: version 2, count {len(modules)}\n{_COLUMNS}"
    blocks: list[tuple[int, int, int]] = []
    for number, module in enumerate(modules):
        end = module.base + module.size
        path = module.path.replace("\n", "\\n")
        text += f"{number:3d}, {module.base:#018x}, {end:#018x}, {0:#018x}, {path}\n"
        for offset, size in sorted(module.blocks):
            for at in range(offset, offset + size, _MOST):
                if at >= 1 << 32:
                    raise MachineError(f"{printable(module.path)}: a drcov file has no offsets beyond 4 GiB")
                blocks.append((at, min(_MOST, offset + size - at), number))
    table = np.array(blocks, _BLOCK)
    return f"{text}BB Table: {len(blocks)} bbs\n".encode("utf-8", "surrogateescape") + table.tobytes()


def read_drcov(content: bytes, name: str) -> CoverageData:
    """The contents of a drcov file, of version 2 or later with a table of version 2 to 5. Raises MachineError."""
    head, separator, rest = content.partition(b"BB Table: ")
    count, _, table = rest.partition(b" bbs\n")
    lines = head.decode("utf-8", "surrogateescape").splitlines()
    if not separator or not count.isdigit() or not lines or not lines[0].startswith("DRCOV VERSION: "):
        raise MachineError(f"{printable(name)} is not a drcov file with a table of blocks")
    if len(table) != int(count) * _BLOCK.itemsize:
        raise MachineError(f"{printable(name)} has {len(table)} bytes of blocks, not {count.decode()} blocks")
    columns = next((line for line in lines if line.startswith("Columns: ")), _COLUMNS)
    names = [each.strip() for each in columns.removeprefix("Columns: ").split(",")]
    modules: dict[int, Module] = {}
    for line in lines:
        fields = [each.strip() for each in line.split(",", len(names) - 1)]
        if len(fields) != len(names) or not re.fullmatch(r"\d+", fields[0]):
            continue
        row = dict(zip(names, fields, strict=True))
        try:
            base, end = int(row.get("base", row.get("start", "")), 16), int(row["end"], 16)
        except (KeyError, ValueError):
            raise MachineError(f"{printable(name)}: a module without bounds: {printable(line)}") from None
        modules[int(row["id"])] = Module(row["path"].replace("\\n", "\n"), "", end - base, base, 0, None)
    for start, size, module in np.frombuffer(table, _BLOCK).tolist():
        if module not in modules:
            raise MachineError(f"{printable(name)}: a block of module {module}, which is not in the table")
        modules[module].blocks[start, size] += 1
    return CoverageData(modules.values())
