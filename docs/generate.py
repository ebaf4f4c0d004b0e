"""Writes the parts of the documentation that the code already knows.

    python docs/generate.py           rewrite them in place
    python docs/generate.py --check   exit 1 if anything would change

README.md keeps its prose; only what stands between `<!-- generated: NAME -->` and `<!-- end -->` is written.
docs/relocations.md is written whole.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from emu.cpu.create import engine_of  # noqa: E402
from relink.arch import ARCHITECTURES, Architecture, Role, TlsVariant  # noqa: E402


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


def relocations() -> str:
    """docs/relocations.md."""
    parts = [
        "# Relocation types\n",
        "Generated from `relink/arch/` by `python docs/generate.py`. The letters are those of",
        "`relink/arch/spec.py`: S symbol, A addend, P place, B load bias, M TLS module, T offset of its block",
        "from the thread pointer, Z size, DTV the dtv bias.\n",
    ]
    for arch in ARCHITECTURES.values():
        parts += [f"## {arch.title}\n", f"{arch.psabi}\n"]
        parts += ["| number | type | formula | field | role |", "|---|---|---|---|---|"]
        for number, row in arch.relocations.items():
            formula = f"`{row.formula.text}`" if row.formula else ""
            field = row.word.description if row.word else ""
            role = f"refused: {row.reason}" if row.role is Role.REFUSED else row.role.value
            if row.role is Role.COPY:
                role = f"{row.role.value}; refused in shared objects: it belongs to executables"
            parts.append(f"| {number} | `{arch.prefix}{row.name}` | {formula} | {field} | {role} |")
        parts.append("")
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
