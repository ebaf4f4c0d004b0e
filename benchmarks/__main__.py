"""Speed beside peers that do the same work, in the same run.

    python -m benchmarks                    every subject that takes seconds
    python -m benchmarks chain library      some of them
    python -m benchmarks --list             what there is
    python -m benchmarks --install-peers    a virtual environment with the peers in Python
    python -m benchmarks --json speed.json --plots docs/speed --docs docs/speed.md
    python -m benchmarks --results a.json b.json --docs docs/speed.md

Times are processor time, the least of some rounds in turns. Compare ratios: they hold between machines.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from benchmarks import peers, plots, report
from benchmarks.measure import ROOT, Row, Series
from benchmarks.subject import SUBJECTS, Context
from benchmarks.subjects import load_all


def main() -> None:
    load_all()
    arguments = _arguments()
    if arguments.list:
        for name, what in SUBJECTS.items():
            print(f"{name:12} {what.what}{' (only if named)' if what.asked else ''}")
        return
    if arguments.install_peers:
        peers.install(arguments.peers)
        return
    machine, results = "", list[Row | Series]()
    if arguments.results:
        for path in arguments.results:
            machine, found = report.read_json(path)
            results += found
    else:
        results = _measured(arguments)
    if arguments.json is not None:
        report.write_json(arguments.json, results)
    if arguments.plots is not None:
        plots.write(arguments.plots, results)
    if arguments.docs is not None:
        report.write_docs(arguments.docs, results, machine)


def _measured(arguments: argparse.Namespace) -> list[Row | Series]:
    """Measure what was asked for, and print each result at once."""
    names = arguments.subjects or [name for name, found in SUBJECTS.items() if not found.asked]
    folder = Path(tempfile.mkdtemp(prefix="relink-bench-"))
    context = Context(folder, arguments.peers, arguments.rounds, arguments.small)
    results: list[Row | Series] = []
    try:
        print(report.about(), flush=True)
        for name in names:
            for result in SUBJECTS[name].run(context):
                print(report.line(result), flush=True)
                results.append(result)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--rounds", type=int, default=5, help="of each contender (5)")
    parser.add_argument("--small", action="store_true", help="small sizes, to see that all works")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="their environment")
    parser.add_argument("--install-peers", action="store_true", help="make that environment")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--results", type=Path, nargs="+", help="measure nothing: take such files' figures")
    parser.add_argument("--plots", type=Path, help="write SVG plots into this folder")
    parser.add_argument("--docs", type=Path, help="write the table into this page")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.subjects if name not in SUBJECTS]:
        parser.error(f"no subject {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    return arguments


if __name__ == "__main__":
    main()
