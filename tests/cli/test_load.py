"""`relink-emu load`, on every target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from relink.elf.layout import ELF32
from relink.image import Image
from relink.load import plan
from tests.elf.build import Segment, with_segments
from tests.fixtures import arch_of, fixture

from .conftest import RunCommand

pytestmark = pytest.mark.one_compiler

FIRMWARE = ((1, 0x0800_0000, 5), (2, 0x2000_0000, 6))  # place in the file in pages, address, flags
DEFINED = ("-D", "my_host_function=0x1000")


def test_report_names_segments_relocations_and_bindings(relink_emu: RunCommand, target: str) -> None:
    result = relink_emu("load", fixture(target, "basic"), *DEFINED)
    assert (result.status, result.err) == (0, "")
    assert f"basic.so: {arch_of(target)}, 1 image" in result.out
    for expected in ("asked for", "r-x", "rw-", "JUMP_SLOT", "Bound to --define\nmy_host_function", "Time"):
        assert expected in result.out


def test_json_says_where_everything_went(relink_emu: RunCommand, target: str) -> None:
    report = relink_emu("load", fixture(target, "basic"), *DEFINED, "--json").json
    (image,) = report["images"]
    start, end = int(image["base"], 16), int(image["base"], 16) + image["size"]
    assert report["arch"] == arch_of(target)
    assert all(start <= int(s["address"], 16) <= end - s["size"] for s in image["segments"])
    assert not any("w" in s["permissions"] and "x" in s["permissions"] for s in image["segments"])
    bound = {b["symbol"]: b for b in image["bindings"]}
    assert bound["my_host_function"] | {"version": None} == {
        "symbol": "my_host_function",
        "demangled": None,
        "version": None,
        "kind": "define",
        "provider": None,
        "address": "0x1000",
    }
    assert bound["counter"]["provider"] == image["name"]
    assert set(report["timings"]) >= {"machine", "open", "map", "relocate", "start"}


def test_dependencies_are_found_in_the_library_path_and_shown_breadth_first(
    relink_emu: RunCommand, target: str
) -> None:
    top = fixture(target, "deps/libtop")
    report = relink_emu("load", top, "-L", top.parent, "--json").json
    names = [Path(image["name"]).name for image in report["images"]]
    assert names == ["libtop.so", "libmid.so", "libside.so", "libleaf.so"]
    assert [i["rule"] for i in report["images"]] == ["asked for"] + ["library path"] * 3
    assert Path(report["initialised"][0]).name == "libleaf.so"


def test_constructors_are_gathered_once_for_all_images(
    relink_emu: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered, real = list[plan.Plan](), plan.initialisers

    def initialisers(of: plan.Plan) -> Iterator[tuple[Image, str, int]]:
        gathered.append(of)
        return real(of)

    monkeypatch.setattr(plan, "initialisers", initialisers)
    folder = fixture("x86_64-gcc", "startup/app").parent
    report = relink_emu("load", folder / "app.so", "-L", folder, "--json").json
    assert len(report["images"]) > 2
    assert any(image["constructors"] for image in report["images"])
    assert len(gathered) == 1


def test_constructors_are_listed_in_the_order_they_ran(relink_emu: RunCommand, target: str) -> None:
    folder = fixture(target, "startup/app").parent
    report = relink_emu("load", folder / "app.so", "-L", folder, "--json").json
    order = [Path(name).name for name in report["initialised"]]
    assert order.index("liblog.so") < order.index("libbase.so") < order.index("app.so")
    kinds = {Path(i["name"]).name: [c["kind"] for c in i["constructors"]] for i in report["images"]}
    assert kinds["app.so"] == ["init_array[0]"]


def test_bare_name_is_found_through_the_library_path_when_the_architecture_is_named(
    relink_emu: RunCommand,
) -> None:
    folder = fixture("riscv64", "deps/libtop").parent
    result = relink_emu("load", "--arch", "rv64", "-L", folder, "libtop.so", "--json")
    assert result.json["images"][0]["rule"] == "library path"


def test_base_is_where_the_library_goes(relink_emu: RunCommand) -> None:
    report = relink_emu("load", fixture("i386", "basic"), *DEFINED, "--base", "0x10000000", "--json").json
    assert report["images"][0]["base"] == "0x10000000"


def test_preloaded_library_comes_first_in_the_scope(relink_emu: RunCommand) -> None:
    interposer, symbolic = fixture("aarch64", "interposer"), fixture("aarch64", "not_symbolic")
    alone = relink_emu("load", symbolic, "--json").json["images"][0]
    report = relink_emu("load", symbolic, "--preload", interposer, "--json").json
    preloaded = next(i for i in report["images"] if i["rule"] == "preload")
    both = next(i for i in report["images"] if i["rule"] == "asked for")
    assert preloaded["name"] == str(interposer)
    assert {b["provider"] for b in alone["bindings"]} == {str(symbolic)}
    assert str(interposer) in {b["provider"] for b in both["bindings"]}


def test_unresolved_symbols_left_open_are_told_apart_from_weak_ones(relink_emu: RunCommand, target: str) -> None:
    report = relink_emu("load", fixture(target, "imports"), "--allow-unresolved", "--json").json
    kinds = {b["symbol"]: b["kind"] for b in report["images"][0]["bindings"]}
    assert kinds["absent_function"] == kinds["absent_second"] == kinds["absent_data"] == "unresolved"
    assert kinds["absent_weak"] == "weak"


def test_host_answers_the_c_library_unless_told_not_to(relink_emu: RunCommand) -> None:
    report = relink_emu("load", fixture("arm", "libcuser"), "--json").json
    assert {b["kind"] for b in report["images"][0]["bindings"] if b["symbol"] == "malloc"} == {"host"}
    result = relink_emu("load", fixture("arm", "libcuser"), "--no-libc")
    assert result.status == 1
    assert "\n  malloc\n" in result.err


def test_cxx_names_are_demangled_for_people_and_both_ways_in_json(relink_emu: RunCommand) -> None:
    arguments = ("load", fixture("riscv32", "cxx"), *DEFINED)
    assert "shapes::Square::area() const" in relink_emu(*arguments, "--bindings").out
    plain = relink_emu(*arguments, "--bindings", "--no-demangle").out
    assert "_ZNK6shapes6Square4areaEv" in plain
    assert "shapes::Square" not in plain
    bindings = relink_emu(*arguments, "--json").json["images"][0]["bindings"]
    assert {b["demangled"] for b in bindings if b["symbol"] == "_ZNK6shapes6Square4areaEv"} == {
        "shapes::Square::area() const"
    }


def test_tls_block_is_shown(relink_emu: RunCommand, target: str) -> None:
    report = relink_emu("load", fixture(target, "tls_static"), "--json").json
    assert report["images"][0]["tls"]["module"] >= 1
    assert report["images"][0]["tls"]["size"] > 0


def test_output_fits_eighty_columns(relink_emu: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    folder = fixture("x86_64", "deps/libtop").parent
    monkeypatch.chdir(folder)
    out = relink_emu("load", "libtop.so", "-L", ".", "--bindings").out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80


def test_the_segments_of_firmware_are_listed_where_they_are(relink_emu: RunCommand, tmp_path: Path) -> None:
    """Segments that are far apart are in several regions."""
    parts = [Segment(1, 0x1000 * n, at, 16, 16, flags) for n, at, flags in FIRMWARE]
    path = tmp_path / "fw.elf"
    path.write_bytes(with_segments(parts, ELF32, type_=2, machine=40, flags=0x05000400))
    (image,) = relink_emu("load", path, "--json").json["images"]
    found = [(int(each["address"], 16), each["size"], each["permissions"]) for each in image["segments"]]
    assert found == [(0x0800_0000, 0x1000, "r-x"), (0x2000_0000, 0x1000, "rw-")]
