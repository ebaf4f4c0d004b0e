"""The benchmarks: absent peers are named, exponents are those of the data, both sides get the same files."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import inputs, peers, plots, report
from benchmarks.measure import Absent, PeerFailed, Row, Series, alternately, exponent
from benchmarks.subject import SUBJECTS
from benchmarks.subjects import load_all
from emu import Machine
from relink.elf.archive import Archive
from tests.fixtures import fixture

ROW = Row("small", "a | b", 2.0, peer_name="peer", peer=4.0, goal=0.6, how="both the same")
ALONE = Row("small", "alone", 1500.0, "µs", "peer", absent="not installed", goal=1.0)
SERIES = Series(
    "chain", "libraries", (10, 100, 1000), {"ours": (3.0, 12.0, 102.0), "peer": (1.0, 2.0, 4.0)}, {"ours": 2.0}
)


def test_every_subject_has_a_line_and_a_peer_in_it() -> None:
    load_all()
    wanted = {
        "startup", "small", "machine", "library", "real", "chain", "flat", "relocations", "symbols", "exports",
        "sections", "members", "archive", "lazy", "calls", "hosted", "loops", "program", "suite", "plugin",
    }  # fmt: skip
    assert wanted <= set(SUBJECTS)
    assert all(":" in subject.what for subject in SUBJECTS.values())


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power(power: float) -> None:
    sizes = (3, 10, 100, 5000)
    assert exponent(sizes, [7 * size**power for size in sizes]) == pytest.approx(power)


def test_a_series_is_judged_without_its_base() -> None:
    assert SERIES.exponent("ours") == pytest.approx(1.0)
    assert SERIES.met
    square = Series("chain", "libraries", (10, 100), {"ours": (1.0, 1.0), "ours, first": (1.0, 100.0)})
    assert not square.met


def test_ratios_and_goals() -> None:
    assert (ROW.ratio, ROW.met) == (0.5, True)
    assert (ALONE.ratio, ALONE.met) == (None, None)
    assert Row("small", "slow", 2.0, most=1.0).met is False


def test_contenders_run_in_turns_and_one_that_fails_says_why() -> None:
    order: list[str] = []

    def fails() -> float:
        order.append("fails")
        raise PeerFailed("no such file")

    def ours() -> float:
        order.append("ours")
        return float(len(order))

    found = alternately({"ours": ours, "fails": fails, "absent": Absent("not here")}, 3)
    assert order == ["ours", "fails", "ours", "ours"]
    assert found.least("ours") == 1.0
    assert found.of_peer("fails") is None
    assert found.reason("fails") == "it fails: no such file"
    assert found.reason("absent") == "not here"
    assert found.reason("ours") == ""


def test_an_error_of_ours_is_no_failure_of_a_peer() -> None:
    def broken() -> float:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        alternately({"ours": broken}, 1)


def test_a_peer_whose_environment_is_missing_is_absent(tmp_path: Path) -> None:
    peer = peers.in_python(tmp_path, "lief", "x")
    assert isinstance(peer, Absent)
    assert "--install-peers" in peer.reason


def test_the_table_names_absent_peers(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    page.write_text("before\n<!-- generated: speed -->\nold\n<!-- end -->\nafter\n")
    for _ in range(2):
        report.write_docs(page, [ROW, ALONE, SERIES])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\n<!-- end -->\nafter\n")
    assert "old" not in text
    assert "### `small`\n\nBoth the same:\n\n| what |" in text
    assert "| a / b | 2.00 ms | peer 4.00 | 0.50× | ≤ 0.6× ✓ |  |" in text
    assert "| alone | 1,500 µs | peer absent: not installed |  | ≤ 1× |" in text
    assert "exponent 1.00, peer 0.30 (at most 1.0 + 0.1: met; 10 to 1,000)" in text
    assert "peer absent: not installed" in report.line(ALONE)


def test_figures_as_json(tmp_path: Path) -> None:
    report.write_json(tmp_path / "out.json", [ROW, ALONE, SERIES])
    found = json.loads((tmp_path / "out.json").read_text())
    assert [row["ratio"] for row in found["rows"]] == [0.5, None]
    assert found["series"][0]["exponents"]["ours"] == pytest.approx(1.0)
    assert report.read_json(tmp_path / "out.json") == (found["about"], [SERIES, ROW, ALONE])


def test_plots_hold_all_their_points(tmp_path: Path) -> None:
    plots.write(tmp_path, [ROW, ALONE, SERIES, SERIES])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chain-2.svg", "chain.svg", "ratios.svg"]
    root = ElementTree.parse(tmp_path / "chain.svg").getroot()
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    dots = root.findall("{*}circle")
    assert len(dots) == 6
    assert all(0 < float(dot.attrib["cx"]) < width and 0 < float(dot.attrib["cy"]) < height for dot in dots)
    assert len(ElementTree.parse(tmp_path / "ratios.svg").getroot().findall("{*}rect")) == 2  # and the background


def test_a_copy_without_constructors_is_otherwise_the_file(tmp_path: Path) -> None:
    path = fixture("x86_64-gcc", "ctors")
    copy = inputs.without_constructors(path, tmp_path)
    noted = []
    for file in (path, copy):
        with Machine("x86_64") as machine:
            library = machine.load(file)
            noted.append(machine.memory.read(library.symbols["order_count"].address, 1)[0])
    assert noted == [4, 0]
    assert copy.stat().st_size == path.stat().st_size


def test_archives_have_an_index_of_their_members(tmp_path: Path) -> None:
    member = fixture("x86_64-clang", "objects/pic/basic").read_bytes()
    path = tmp_path / "two.a"
    path.write_bytes(inputs.archive([member, member + b"\0"], [b"one", b"two"]))
    assert len(Archive.open(path).objects) == 2
