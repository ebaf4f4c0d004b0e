"""Writes the parts of the documentation that the code already knows.

    python docs/generate.py           rewrite them in place
    python docs/generate.py --check   exit 1 if anything would change

README.md keeps its prose; only what stands between `<!-- generated: NAME -->` and `<!-- end -->` is written.
docs/relocations.md is written whole.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from emu.cpu.create import engine_of  # noqa: E402
from relink.arch import ARCHITECTURES, Architecture, Reloc, Role, TlsVariant  # noqa: E402


def _engine(arch: Architecture) -> str:
    return "icicle, own SLEIGH specification" if engine_of(arch.name) == "icicle" else "Unicorn"


def support() -> str:
    """The support table."""
    lines = [
        "| architecture | also called | psABI | CPU | types in shared objects | in relocatable objects | TLS |",
        "|---|---|---|---|---|---|---|",
    ]
    for arch in ARCHITECTURES.values():
        idle = (Role.NONE, Role.REFUSED, Role.COPY)
        rows = arch.relocations.values()
        shared = sum(not row.static and row.role not in idle for row in rows)
        own = [row for row in rows if row.static]
        refused = sum(row.role is Role.REFUSED for row in own)
        objects = f"{len(own) - refused}, {refused} refused" if refused else f"{len(own)}"
        variant = "I" if arch.tls.variant is TlsVariant.I else "II"
        aliases = ", ".join(f"`{alias}`" for alias in arch.aliases[:5])
        lines.append(
            f"| `{arch.name}` | {aliases} | {arch.psabi} | {_engine(arch)} | {shared} | {objects} "
            f"| variant {variant}, descriptors |"
        )
    return "\n".join(lines)


_INTRODUCTION = """\
# Relocation types

Generated from `relink/arch/` by `python docs/generate.py`.

- *formula*: S symbol, A addend, P place, B load bias, GOT the global offset table, G the symbol's slot in it,
  Z the symbol's size, M TLS module, T offset of its block from the thread pointer, DTV the dtv bias, V what the
  place holds (exactly: `relink/arch/spec.py`). Where a psABI has L, a PLT entry, S stands here, and the role is a
  branch;
- *field*: the bits the value is written to, and the values it may have (of n bits); others are an error;
- *role*: what is done; "refused" with the reason.
"""


#: Type, formula, field and role.
_Cells: TypeAlias = tuple[str, str, str, str]


def _cells(arch: Architecture, row: Reloc) -> _Cells:
    formula = f"`{row.formula.text}`" if row.formula else ""
    field = row.word.description if row.word else ""
    role = f"refused: {row.reason}" if row.role is Role.REFUSED else row.role.value
    if row.role is Role.COPY:
        role = f"{row.role.value}; refused in shared objects: it belongs to executables"
    return f"`{arch.prefix}{row.name}`", formula, field, role


def _lines(rows: Mapping[int, _Cells]) -> list[str]:
    """The table. Consecutive types that are refused for one reason share a line."""
    lines = ["| number | type | formula | field | role |", "|---|---|---|---|---|"]
    for _, run in groupby(
        rows.items(), key=lambda row: row[1][3] if row[1][3].startswith("refused: ") else row[0]
    ):
        numbers, cells = zip(*run, strict=True)
        names = [name for name, *_ in cells]
        contiguous = len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
        number = f"{numbers[0]} to {numbers[-1]}" if contiguous else ", ".join(map(str, numbers))
        numbered = contiguous and len({name.rstrip("`0123456789") for name in names}) == 1
        name = f"{names[0]} to {names[-1]}" if numbered else ", ".join(names)
        lines.append(f"| {number} | {name} | {' | '.join(cells[0][1:])} |")
    return lines


def relocations() -> str:
    """docs/relocations.md. Of two architectures with one set of types, the second lists what is different."""
    parts = [_INTRODUCTION]
    listed: dict[str, tuple[Architecture, dict[int, _Cells]]] = {}
    for arch in ARCHITECTURES.values():
        rows = {number: _cells(arch, row) for number, row in arch.relocations.items()}
        parts += [f"## {arch.title}\n", f"{arch.psabi}\n"]
        if arch.prefix in listed:
            other, others = listed[arch.prefix]
            assert rows.keys() == others.keys()
            rows = {number: row for number, row in rows.items() if row != others[number]}
            parts.append(f"As {other.title}, but for these:\n")
        else:
            listed[arch.prefix] = arch, rows
        parts += [*_lines(rows), ""]
    return "\n".join(parts)


_SECTIONS: dict[str, Callable[[], str]] = {"support": support}


def _readme(text: str) -> str:
    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{_SECTIONS[match[2]]()}\n{match[3]}"

    return re.sub(r"(<!-- generated: (\w+) -->)\n.*?(<!-- end -->)", fill, text, flags=re.DOTALL)


def outputs() -> dict[Path, str]:
    """What each file should hold."""
    readme = ROOT / "README.md"
    return {
        readme: _readme(readme.read_text("utf-8")),
        ROOT / "docs" / "relocations.md": relocations(),
    }


def main() -> int:
    stale = [path for path, text in outputs().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: python docs/generate.py")
        return bool(stale)
    for path in stale:
        path.write_text(outputs()[path], "utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
