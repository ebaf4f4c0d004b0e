"""Objects and archives on the command line: load, call, map, report, inspect."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from tests.fixtures import each_target, fixture
from tests.objects.build import TARGETS, archived, compiled

from .conftest import RunCommand

ADD = "int add(int a, int b) { return a + b; }\n"
TWICE = "extern int add(int, int); int twice(int x) { return add(x, x); }\n"
CRASH = "int deref(const int *p)\n{\n    return *p;\n}\nint crash(long n)\n{\n    return deref((int *)n) + 1;\n}\n"


kind = each_target()


@pytest.fixture
def archive(kind: str, tmp_path: Path) -> Path:
    return archived(tmp_path / "lib.a", [compiled(kind, ADD, "-g"), compiled(kind, TWICE, "-g")])


@pytest.mark.parametrize("target", TARGETS)
def test_static_thread_local_storage_has_the_room_that_is_asked_for(relink_emu: RunCommand, target: str) -> None:
    source = "__thread char big[1 << 20]; int end(void) { return big[(1 << 20) - 1] += 5; }\n"
    path, call = compiled(target, source, "-fPIE", "-ftls-model=local-exec"), "int end(void)()"
    error = relink_emu("call", path, call)
    assert error.status
    size = re.search(r"--tls-size: (\d+) is enough", error.err)
    assert size is not None, error.err
    assert relink_emu("call", path, "--tls-size", size[1], call).out == "5\n"


# ---------------------------------------------------------------- several files


def test_an_object_takes_what_it_needs_from_an_archive_beside_it(
    relink_emu: RunCommand, kind: str, archive: Path
) -> None:
    result = relink_emu("call", compiled(kind, TWICE), "--with", archive, "int twice(int)(21)")
    assert (result.status, result.out) == (0, "42\n")


def test_an_archive_by_itself_is_taken_whole(relink_emu: RunCommand, archive: Path) -> None:
    result = relink_emu("call", archive, "twice(4)", "add(40, 2)", "--json")
    assert [call["result"] for call in result.json["calls"]] == [8, 42]
    assert {call["prototype_from"] for call in result.json["calls"]} == {"dwarf"}, "of -g objects"


def test_a_call_pulls_in_what_it_needs_and_no_more(relink_emu: RunCommand, kind: str, tmp_path: Path) -> None:
    broken = "extern int nowhere(void); int other(void) { return nowhere(); }\n"
    path = archived(tmp_path / "lib.a", [compiled(kind, text) for text in (ADD, TWICE, broken)])
    assert relink_emu("call", path, "int twice(int)(21)").out == "42\n"
    assert relink_emu("load", path).status == 1, "all of it needs more"
    assert relink_emu("load", path, "--undefined", "add").status == 0
    whole = relink_emu("call", path, "--whole-archive", "twice(21)")
    assert whole.status == 1
    assert "undefined symbol: nowhere" in whole.err


def test_wrap_puts_a_function_of_another_object_before_one(relink_emu: RunCommand, kind: str) -> None:
    wrapper = "int __real_add(int, int); int __wrap_add(int a, int b) { return 100 + __real_add(a, b); }\n"
    files = [compiled(kind, text) for text in (TWICE, ADD, wrapper)]
    command = ("call", files[0], "--with", files[1], "--with", files[2], "int twice(int)(21)")
    assert relink_emu(*command, "--wrap", "add").out == "142\n"
    assert relink_emu(*command).status == 1, "__real_add is a name like any other"


def test_what_no_file_defines_is_named(relink_emu: RunCommand, kind: str) -> None:
    result = relink_emu("load", compiled(kind, TWICE))
    assert result.status == 1
    assert "undefined symbol: add" in result.err


def test_a_shared_object_has_nothing_linked_with_it(relink_emu: RunCommand, archive: Path) -> None:
    result = relink_emu("load", fixture("x86_64", "bare"), "--with", archive)
    assert result.status == 1
    assert "not a relocatable object" in result.err


def test_files_of_two_architectures_do_not_link(relink_emu: RunCommand) -> None:
    result = relink_emu("load", compiled("x86_64", ADD), "--with", compiled("riscv64", TWICE))
    assert result.status == 1
    assert "is for riscv64, not x86_64" in result.err


def test_the_archive_knows_its_architecture_and_a_contradiction_is_an_error(
    relink_emu: RunCommand, tmp_path: Path
) -> None:
    path = archived(tmp_path / "lib.a", [compiled("arm", ADD)])
    assert relink_emu("load", path).status == 0
    for command in ("load", "inspect"):
        result = relink_emu(command, path, "--arch", "i386")
        assert result.status == 1
        assert "is for arm, not i386" in result.err


def test_an_archive_without_objects_is_named(relink_emu: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("nothing\n")
    path = archived(tmp_path / "lib.a", [tmp_path / "readme"])
    result = relink_emu("load", path)
    assert result.status == 1
    assert "without relocatable objects" in result.err


# ---------------------------------------------------------------- faults


def test_a_fault_in_an_object_names_the_source_line(relink_emu: RunCommand, kind: str) -> None:
    path = compiled(kind, CRASH, "-g", "-fno-inline", "-O1")
    result = relink_emu("call", path, "crash(8)")
    assert result.status == 1
    assert ".c:3" in result.err.splitlines()[0]
    assert ".c:7" in result.err
    fault = relink_emu("call", path, "crash(8)", "--json").json["error"]
    assert fault["frame"]["line"] == 3
    assert fault["frame"]["file"].endswith(".c")


# ---------------------------------------------------------------- map


def test_a_map_lists_sections_and_symbols_of_each_input(relink_emu: RunCommand, kind: str) -> None:
    files = [compiled(kind, TWICE, "-fPIC"), compiled(kind, ADD, "-fPIC")]
    result = relink_emu("map", files[0], "--with", files[1])
    assert result.status == 0
    for expected in (*map(str, files), "Segments", "Sections and symbols", ".text", "twice", "add"):
        assert expected in result.out
    report = relink_emu("map", files[0], "--with", files[1], "--json").json
    (image,) = report["images"]
    assert image["objects"] == list(map(str, files))
    owners = {symbol["name"]: symbol["object"] for symbol in image["symbols"] if symbol["object"]}
    assert owners == {"twice": str(files[0]), "add": str(files[1])}, "the rest are the linker's own"


def test_a_map_runs_no_constructor(relink_emu: RunCommand) -> None:
    text = "#include <stddef.h>\n__attribute__((constructor)) void f(void) { *(volatile int *)8 = 1; }\n"
    path = compiled("x86_64", text.partition("\n")[2])
    assert relink_emu("load", path).status == 1
    assert relink_emu("map", path).status == 0


def test_a_map_tells_every_image_on_request(relink_emu: RunCommand) -> None:
    top = fixture("riscv64", "deps/libtop")
    assert len(relink_emu("map", top, "-L", top.parent, "--json").json["images"]) == 1
    assert len(relink_emu("map", top, "-L", top.parent, "--all", "--json").json["images"]) == 4


# ---------------------------------------------------------------- report


def test_a_report_counts_types_and_tells_the_share(relink_emu: RunCommand, kind: str, archive: Path) -> None:
    result = relink_emu("report", archive)
    assert result.status == 0
    assert "2 objects" in result.out
    assert "100 % implemented" in result.out
    (part,) = relink_emu("report", archive, archive, "--json").json["architectures"]
    assert part["objects"] == 4
    assert part["entries"] == part["implemented"] == sum(row["entries"] for row in part["types"])
    assert 0 < sum(row["loaded"] for row in part["types"]) < part["entries"], "the rest is debug information"


def test_a_refused_and_an_unknown_type_are_named_and_the_status_says_so(
    relink_emu: RunCommand, tmp_path: Path
) -> None:
    text = ".reloc ., R_X86_64_RELATIVE\n.reloc . + 8, R_X86_64_RELATIVE\n.quad 0, 0\n"
    source = compiled("x86_64", text, language="assembler")
    content = bytearray(source.read_bytes())
    with source.open("rb") as file:
        rows: Any = ELFFile(file).get_section_by_name(".rela.text")
        content[rows["sh_offset"] + 8] = 200  # r_info's type
    path = tmp_path / "odd.o"
    path.write_bytes(content)
    result = relink_emu("report", path)
    assert result.status == 1
    assert "refused: only a dynamic linker may meet it" in result.out
    assert "unknown: the psABI has no such type" in result.out
    assert "0 % implemented" in result.out


def test_members_of_no_use_are_skipped_with_the_reason(relink_emu: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("nothing\n")
    path = archived(tmp_path / "lib.a", [compiled("x86_64", ADD), tmp_path / "readme"])
    result = relink_emu("report", path)
    assert result.status == 0
    assert "lib.a(readme): not an ELF file" in result.out


def test_a_report_of_something_else_is_an_error(relink_emu: RunCommand) -> None:
    result = relink_emu("report", fixture("x86_64", "basic"))
    assert result.status == 1
    assert "not a relocatable object" in result.err


def test_a_report_of_an_archive_without_members_says_so(relink_emu: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "libdl.a").write_bytes(b"!<arch>\n")
    result = relink_emu("report", tmp_path / "libdl.a")
    assert (result.status, result.out) == (0, f"{tmp_path}/libdl.a: no objects\n")


def test_an_ld_script_among_archives_is_skipped_by_name_and_alone_an_error(
    relink_emu: RunCommand, tmp_path: Path
) -> None:
    script = tmp_path / "libm.a"
    script.write_text("/* GNU ld script\n*/\nGROUP ( /lib/libm-2.36.a )\n")
    archive = archived(tmp_path / "lib.a", [compiled("x86_64", ADD)])
    result = relink_emu("report", script, archive)
    assert result.status == 0
    assert "libm.a: a GNU ld script, not an archive" in result.out
    alone = relink_emu("report", script)
    assert alone.status == 1
    assert "a GNU ld script" in alone.err


# ---------------------------------------------------------------- inspect


def test_inspect_lists_members_and_the_index(relink_emu: RunCommand, archive: Path) -> None:
    result = relink_emu("inspect", archive, "--symbols")
    assert result.status == 0
    assert "archive" in result.out.splitlines()[0]
    report = relink_emu("inspect", archive, "--json").json
    assert report["schema"] == "relink-emu/archive/1"
    assert {entry["symbol"] for entry in report["index"]} == {"add", "twice"}
    assert [member["defined"] for member in report["members"]] == [1, 1]
    assert [member["undefined"] for member in report["members"]] == [0, 1]


def test_inspect_lists_the_symbols_of_an_object_and_a_modules_own_words(relink_emu: RunCommand, kind: str) -> None:
    result = relink_emu("inspect", compiled(kind, "module.c"), "--symbols")
    assert result.status == 0
    assert "vermagic" in result.out
    report = relink_emu("inspect", compiled(kind, "module.c"), "--json").json
    assert report["modinfo"]["license"] == ["GPL"]
    assert {"init_module", "_printk"} <= {symbol["name"] for symbol in report["symbols"]}
    assert report["imported"] == 4
