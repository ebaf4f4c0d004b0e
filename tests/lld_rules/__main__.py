"""Walk the tests of LLVM's linker, and compare: `python -m tests.lld_rules CHECKOUT [TEST...]`.

CHECKOUT is a checkout of llvm-project, or of its lld alone. What a test links is assembled with LLVM's tools
(llvm-mc, llvm-ar, yaml2obj, llvm-objcopy, split-file in PATH), linked with the ld.lld of the ziglang wheel as the
test says, and linked by this project. Prints each link that differs, and a table. See docs/objects.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.lld_rules.categories import by_name, on_purpose
from tests.lld_rules.examine import HELD, REFUSED, WRONG, Verdict, examine
from tests.lld_rules.shell import Invocation, Script
from toolchains.engine import find_zig

ON_PURPOSE = "different on purpose"
_KINDS = (HELD, REFUSED, ON_PURPOSE, WRONG)
_ISAS = ("aarch64", "arm", "i386", "riscv", "loongarch", "x86-64")


class Row(NamedTuple):
    """One link of a test, or a test that is left out."""

    test: str
    line: int
    kind: str  #: one of _KINDS, or the category of what does not apply
    detail: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("tests", nargs="*", help="parts of paths; all tests without")
    parser.add_argument("--json", type=Path, help="a file for all verdicts")
    options = parser.parse_args()
    root = next(
        path for path in (options.checkout / "lld/test/ELF", options.checkout / "test/ELF") if path.is_dir()
    )
    tests = [path for path in sorted(root.rglob("*")) if _is_test(path, root, options.tests)]
    rows: list[Row] = []
    with ProcessPoolExecutor() as pool:
        for found in pool.map(_walked, [root] * len(tests), tests, chunksize=4):
            rows += found
    for row in rows:
        if row.kind == WRONG or (options.tests and row.kind in _KINDS):
            print(f"{row.test}:{row.line}: {row.kind}: {row.detail}")
    _print_table(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def _is_test(path: Path, root: Path, wanted: Sequence[str]) -> bool:
    name = str(path.relative_to(root))
    chosen = not wanted or any(word in name for word in wanted)
    return chosen and path.suffix in (".s", ".test", ".yaml") and "Inputs" not in path.parts


def _walked(root: Path, test: Path) -> list[Row]:
    """What the links of one test come to."""
    name = str(test.relative_to(root))
    category = by_name(name)
    if category is not None:
        return [Row(name, 0, category, "")]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:

        def link(call: Invocation) -> int:
            status, verdict = _examined(call)
            reason = on_purpose(name) if verdict.kind == WRONG else None
            rows.append(Row(name, call.line, ON_PURPOSE if reason else verdict.kind, reason or verdict.detail))
            return status

        Script(test, Path(folder), _tool).run(link)
    return rows or [Row(name, 0, "no link", "")]


def _examined(call: Invocation) -> tuple[int, Verdict]:
    try:
        return examine(call, [str(find_zig()), "ld.lld"])
    except Exception as error:  # a fault of one link must not end the walk
        return 0, Verdict(WRONG, f"crashed: {type(error).__name__}: {error}"[:500])


def _tool(name: str) -> list[str]:
    return [shutil.which(name) or name]


def _print_table(rows: Sequence[Row]) -> None:
    counts = Counter((_isa(row.test), row.kind) for row in rows if row.kind in _KINDS)
    print(f"{'':10}{'links':>7}" + "".join(f"{kind:>22}" for kind in _KINDS))
    for isa in (*_ISAS, "any", "all"):
        numbers = [sum(n for (of, k), n in counts.items() if k == kind and isa in (of, "all")) for kind in _KINDS]
        print(f"{isa:10}{sum(numbers):7}" + "".join(f"{number:22}" for number in numbers))
    print("\ndo not apply (tests, or links of a test):")
    for kind, count in Counter(row.kind for row in rows if row.kind not in _KINDS).most_common():
        print(f"{count:6} {kind}")


def _isa(test: str) -> str:
    return next((isa for isa in _ISAS if test.startswith((isa, f"invalid/{isa}"))), "any")


if __name__ == "__main__":
    main()
