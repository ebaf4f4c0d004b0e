"""What observation and snapshots cost: the same run without, and the kernel's floor."""

from __future__ import annotations

from benchmarks import events, snapshots
from benchmarks.measure import Row
from benchmarks.subject import Context, Results, subject
from tests.machine.loops import build_loops


@subject(asked=True)
def coverage(context: Context) -> Results:
    """Coverage, breakpoints, watchpoints and counting in loops: the same run without."""
    for target in ("x86_64",) if context.small else ("x86_64", "aarch64", "riscv64", "loongarch64"):
        found = events.hot(target, build_loops(target, context.folder))
        for name, seconds in found.items():
            if name != "off":
                yield Row(
                    "coverage",
                    f"{name}, {target}",
                    seconds * 1000,
                    peer_name="off",
                    peer=found["off"] * 1000,
                    how="long loops, translated before",
                )


@subject(asked=True)
def restore(context: Context) -> Results:
    """Returns to a snapshot by the number of changed pages: madvise of as many pages."""
    for arch in ("x86_64",) if context.small else snapshots.ARCHES:
        for pages, taken, floor in snapshots.returns(arch, snapshots.library(arch), 20 * context.rounds):
            yield Row(
                "restore",
                f"{pages:,} changed pages, {arch}",
                taken,
                "µs",
                "madvise",
                floor,
                how="elapsed; the peer only drops the pages",
            )
