"""Coverage: the lines, functions and branches that gcov sees of the same source; files; what comes and goes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from emu import Machine
from emu.cpu.events import Recorded
from emu.debug.coverage.data import CoverageData
from emu.debug.coverage.drcov import read_drcov, write_drcov
from emu.debug.coverage.files import merge_files
from emu.debug.coverage.lcov import Tracefile
from emu.errors import GuestFault
from emu.library import Library
from relink.errors import MachineError
from relink.memory.address_space import Protection
from tests.fixtures import arch_of, each_target
from toolchains.engine import Zig, find_zig
from toolchains.errors import CompilerMissing
from toolchains.targets import TARGETS

_SOURCE = Path(__file__).parent / "sources" / "covered.c"
_BOTH_ENGINES = pytest.mark.parametrize("target", ["x86_64", "loongarch64"], indirect=True)


target = each_target()


def build(target: str, folder: Path, *, level: str = "-O0", suffix: str = ".so", source: Path = _SOURCE) -> Path:
    """The source for a target, with debug information."""
    path = folder / f"{source.stem}-{target}{level}{suffix}"
    if path.exists():
        return path
    try:
        find_zig()
    except CompilerMissing as error:
        pytest.skip(str(error))
    engine, row, compiled = Zig(), TARGETS[target], path.with_suffix(".o")
    engine.run("covered", engine.compile(row, str(source), str(compiled), (level, "-g", "-fPIC")), {}, folder)
    if suffix == ".so":
        engine.run("covered", engine.link(row, [compiled.name], path.name, ["-shared"]), {}, folder)
    return path


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture
def path(target: str, folder: Path) -> Path:
    return build(target, folder)


def run(machine: Machine, library: Library) -> int:
    """Some of the source, as `main` in `gcov` does; 97."""
    block = machine.heap.malloc(16)
    machine.memory.write(block, b"".join(number.to_bytes(4, "little") for number in (1, 2, 13, 4)))
    classify = library.function("classify", "int(int)")
    result = classify(0) + classify(7) + classify(50) + classify(-3)
    result += library.function("sum", "int(const int *, size_t)")(block, 4)
    return int(result + library.function("indirect", "int(int)")(3))


@pytest.fixture(scope="module")
def gcov(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bool]:
    """Line -> whether it has run, of the source compiled for the host and run there."""
    if not (shutil.which("gcc") and shutil.which("gcov")):
        pytest.skip("no gcc with gcov on this host")
    folder = tmp_path_factory.mktemp("gcov")
    main = """int classify(int); int sum(const int *, __SIZE_TYPE__); int indirect(int);
    int main(void) { int v[] = {1, 2, 13, 4}; return classify(0) + classify(7) + classify(50) + classify(-3)
                     + sum(v, 4) + indirect(3); }"""
    (folder / "main.c").write_text(main)
    shutil.copy(_SOURCE, folder / "covered.c")
    subprocess.run(["gcc", "-O0", "--coverage", "-c", "covered.c"], cwd=folder, check=True)
    subprocess.run(["gcc", "-O0", "--coverage", "main.c", "covered.o", "-o", "main"], cwd=folder, check=True)
    assert subprocess.run([folder / "main"], cwd=folder, check=False).returncode == 97
    subprocess.run(["gcov", "covered.c", "-o", "covered.o"], cwd=folder, check=True, capture_output=True)
    rows = re.findall(r"^ *(\d+|#####)\*?: *(\d+):", (folder / "covered.c.gcov").read_text(), re.MULTILINE)
    return {int(line): hits != "#####" for hits, line in rows}


def lines_of(coverage: CoverageData) -> dict[int, int]:
    """Line -> hits, of the one source file."""
    (lines,) = (lines for file, lines in coverage.lines().items() if file.endswith("covered.c"))
    return lines


def test_the_lines_that_ran_are_those_that_gcov_sees(machine: Machine, path: Path, gcov: dict[int, bool]) -> None:
    library = machine.load(path)
    assert run(machine, library) == 97  # translates all of it
    with machine.coverage(branches=True) as coverage:
        assert run(machine, library) == 97
    ours = {line: hits > 0 for line, hits in lines_of(coverage).items()}
    common = ours.keys() & gcov.keys()
    assert len(common) > 30
    assert {line for line in common if ours[line] != gcov[line]} == set()
    (functions,) = coverage.functions().values()
    assert {name for name, hits in functions.items() if not hits} == {"never", "faulty"}
    branches: dict[int, list[int]] = {}
    text = _SOURCE.read_text().splitlines()
    for hit in coverage.branch_hits():
        branches.setdefault(hit.line, []).append(hit.hits)
    loop = next(line for line, hits in branches.items() if "i < n" in text[line - 1])
    assert min(branches[loop]) > 0  # both outcomes
    bigger = next(line for line in branches if "r > 1000" in text[line - 1])
    assert sorted(branches[bigger]) == [0, 1]


@_BOTH_ENGINES
def test_files_say_the_same_and_can_be_merged(machine: Machine, path: Path, tmp_path: Path) -> None:
    library = machine.load(path)
    with machine.coverage(branches=True) as first:
        library.function("classify", "int(int)")(0)
    with machine.coverage(branches=True) as second:
        run(machine, library)
    read = read_drcov(write_drcov(first), "first")
    assert read.blocks == first.blocks
    first.save(tmp_path / "a.info", test="a")
    second.save(tmp_path / "b.info")
    merge_files([tmp_path / "a.info", tmp_path / "b.info"], tmp_path / "both.info")
    merged = Tracefile.read((tmp_path / "both.info").read_text(), "both.info")
    both = CoverageData()
    both.merge(first, second)
    assert {name: dict(file.lines) for name, file in merged.files.items()} == both.lines()
    assert merged.text() == (tmp_path / "both.info").read_text()
    first.save(tmp_path / "all.info", append=True)
    second.save(tmp_path / "all.info", append=True)
    assert (tmp_path / "all.info").read_text() == merged.text()
    first.save(tmp_path / "a.drcov")
    second.save(tmp_path / "b.drcov")
    merge_files([tmp_path / "a.drcov", tmp_path / "b.drcov"], tmp_path / "both.drcov")
    first.save(tmp_path / "all.drcov")
    second.save(tmp_path / "all.drcov", append=True)
    for name in ("both.drcov", "all.drcov"):
        assert read_drcov((tmp_path / name).read_bytes(), name).blocks == both.blocks
    if lcov := shutil.which("lcov"):
        subprocess.run([lcov, "--summary", str(tmp_path / "both.info")], check=True, capture_output=True)


def test_several_isas_are_merged_by_line(folder: Path) -> None:
    every, alone = CoverageData(), dict[str, dict[int, int]]()
    for target in TARGETS:
        with Machine(arch_of(target)) as machine:
            library = machine.load(build(target, folder))
            with machine.coverage() as coverage:
                library.function("classify", "int(int)")(len(alone))
        alone[target] = lines_of(coverage)
        every.merge(coverage)
    total = lines_of(every)
    assert all(total[line] == sum(lines.get(line, 0) for lines in alone.values()) for line in total)
    assert max(total.values()) == len(TARGETS)


_SAVE = """
import sys
from emu import Machine
with Machine("x86_64") as machine:
    library = machine.load(sys.argv[1])
    with machine.coverage() as coverage:
        library.function("classify", "int(int)")(int(sys.argv[3]))
    coverage.save(sys.argv[2], append=True)
"""


def test_processes_write_one_file(folder: Path, tmp_path: Path) -> None:
    path, output = build("x86_64", folder), tmp_path / "all.info"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", _SAVE, str(path), str(output)]
    running = [subprocess.Popen([*arguments, str(number)], env=environment) for number in range(3)]
    assert [process.wait() for process in running] == [0] * 3
    (file,) = Tracefile.read(output.read_text(), "all.info").files.values()
    assert max(file.lines.values()) == 3
    returns = {
        line: hits for line, hits in file.lines.items() if "return 1" in _SOURCE.read_text().splitlines()[line - 1]
    }
    assert sorted(returns.values())[-3:] == [1, 1, 1]


# ---------------------------------------------------------------- what comes and goes


@_BOTH_ENGINES
def test_a_library_is_the_same_wherever_it_is_loaded(machine: Machine, path: Path, target: str) -> None:
    with machine.coverage() as coverage:
        library = machine.load(path)  # a load during coverage
        first = library.base
        library.function("classify", "int(int)")(0)
        library.close()
        block = machine.memory.map_anonymous(1 << 20)  # where it was
        library = machine.load(path)
        assert (library.base, block) != (first, 0)
        library.function("classify", "int(int)")(1)
        library.close()
    with machine.coverage() as short:
        library = machine.load(path)
        library.function("never", "int(int)")(1)  # a single block
        library.close()
    (functions,) = short.functions().values()
    assert functions["never"] == 1
    assert [module.path for module in coverage.modules.values()] == [str(path)]
    text = _SOURCE.read_text().splitlines()
    ran = {text[line - 1].strip() for line, hits in lines_of(coverage).items() if hits}
    assert {"return 10;", "return 11;"} <= ran
    assert "return 12;" not in ran


@_BOTH_ENGINES
def test_each_test_can_have_its_own_map(machine: Machine, path: Path) -> None:
    classify = machine.load(path).function("classify", "int(int)")
    coverage = machine.coverage().start()
    classify(0)
    first = coverage.take()
    classify(1)
    second = coverage.take()
    classify(0)
    coverage.stop()
    coverage.stop()
    text = _SOURCE.read_text().splitlines()

    def ran(data: CoverageData) -> set[str]:
        return {
            text[line - 1].strip()
            for line, hits in lines_of(data).items()
            if hits and "return 1" in text[line - 1]
        }

    assert (ran(first), ran(second)) == ({"return 10;"}, {"return 11;"})
    assert sorted(lines_of(coverage).values())[-1] == 3
    coverage.clear()
    assert coverage.blocks == {}


@_BOTH_ENGINES
def test_two_coverages_do_not_disturb_each_other(machine: Machine, path: Path) -> None:
    library = machine.load(path)
    classify = library.function("classify", "int(int)")
    outer, inner = machine.coverage(), machine.coverage([library.image])
    outer.start()
    classify(0)
    inner.start()
    classify(1)
    inner.stop()
    classify(2)
    outer.stop()
    with machine.coverage() as alone:
        classify(1)
    assert inner.blocks == alone.blocks
    with machine.coverage() as three:
        for number in range(3):
            classify(number)
    assert outer.blocks == three.blocks


@_BOTH_ENGINES
def test_what_a_fault_leaves_out_has_not_run(machine: Machine, path: Path) -> None:
    library = machine.load(path)
    text = _SOURCE.read_text().splitlines()
    after = next(number for number, line in enumerate(text, 1) if "before += 2" in line)
    faulty, block = library.function("faulty", "int(int *)"), machine.heap.malloc(4)
    coverage = machine.coverage()
    with coverage, pytest.raises(GuestFault):
        faulty(0)
    assert [lines_of(coverage)[line] for line in (after - 1, after)] == [1, 0]
    with coverage:
        with pytest.raises(GuestFault):
            faulty(0)
        assert faulty(block) == 3
    assert [lines_of(coverage)[line] for line in (after - 1, after)] == [2, 1]


@pytest.mark.parametrize("target", ["x86_64", "thumb", "loongarch64"], indirect=True)
def test_objects_and_optimised_code_have_lines(machine: Machine, target: str, folder: Path) -> None:
    library = machine.load(build(target, folder, level="-O2", suffix=".o"))
    with machine.coverage() as coverage:
        assert run(machine, library) == 97
    (functions,) = coverage.functions().values()
    assert functions["clamp"] == functions["classify"] == 1  # `clamp` is inlined
    assert functions["never"] == 0
    lines = lines_of(coverage)
    assert 0 < sum(hits > 0 for hits in lines.values()) < len(lines)


@_BOTH_ENGINES
def test_code_without_debug_information_or_image_has_blocks(machine: Machine, path: Path, target: str) -> None:
    library = machine.load(path)
    image = library.image
    start = library.function_symbol("never").address & machine.arch.code_address_mask
    code = machine.memory.read(start, library.function_symbol("never").size)
    block = machine.memory.map_anonymous(4096, Protection.R | Protection.W | Protection.X)
    machine.memory.write(block, code)
    with machine.coverage() as coverage, machine.coverage([image]) as only:
        assert machine.call(block, "int(int)", 20) == 41
        machine.memory.write(block, code)
        assert machine.call(block, "int(int)", 20) == 41
    ((name, blocks),) = coverage.blocks.items()
    assert name.startswith("[")
    assert sum(size for _, size in blocks) == len(code)
    assert coverage.lines() == {}
    assert only.blocks == {}


@_BOTH_ENGINES
def test_observers_are_no_part_of_a_snapshot(machine: Machine, path: Path) -> None:
    library = machine.load(path)
    classify, before = library.function("classify", "int(int)"), machine.snapshot()
    coverage = machine.coverage().start()
    trace = machine.trace(library).start()
    during = machine.snapshot()
    classify(0)
    machine.restore(before)
    classify(1)
    machine.restore(during)
    classify(2)
    other = machine.load(build(arch_of(machine.arch.name), path.parent, level="-O2"))
    other.function("never", "int(int)")(1)
    machine.restore(before)
    trace.stop()
    coverage.stop()
    machine.restore(during)
    machine.load(path)
    assert [call.arguments for call in trace.calls] == [("0",), ("1",), ("2",)]
    hits = coverage.functions()
    assert sum(names["classify"] for names in hits.values()) == 1
    assert sum(names["never"] for names in hits.values()) == 1
    lines, text = lines_of(coverage), _SOURCE.read_text().splitlines()
    assert {text[line - 1].strip() for line, count in lines.items() if count and "return 1" in text[line - 1]} == {
        "return 10;",
        "return 11;",
        "return 12;",
    }
    assert classify(0) == 10  # takes the last breakpoints out of the engine
    assert not machine.cpu.events.active


@_BOTH_ENGINES
def test_coverage_is_refused_during_a_call_and_twice(machine: Machine, path: Path) -> None:
    library, told = machine.load(path), []
    coverage = machine.coverage()

    def begin(act: Callable[[], object]) -> None:
        with pytest.raises(MachineError, match="during a call"):
            act()
        told.append(machine.cpu.events.active)

    host = machine.define("host", (lambda: begin(coverage.start), "void(void)"))
    machine.call(host, "void(void)")
    assert told == [False]
    with coverage:
        with pytest.raises(MachineError, match="already"):
            coverage.start()
        with pytest.raises(MachineError, match="is being recorded"):
            coverage.clear()
        machine.call(machine.define("host", (lambda: begin(coverage.stop), "void(void)")), "void(void)")
        library.function("classify", "int(int)")(0)
    assert coverage.blocks
    recording = machine.cpu.events.record(Recorded.BLOCKS, lambda rows: None)
    recording.close()
    recording.close()


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    good = b"DRCOV VERSION: 2\nDRCOV FLAVOR: drcov\nModule Table: version 2, count 1\n"
    good += b"Columns: id, base, end, entry, path\n"
    good += b"  0, 0x0000000000001000, 0x0000000000002000, 0x0, a, b.so\nBB Table: 1 bbs\n" + bytes(
        [4, 0, 0, 0, 8, 0, 0, 0]
    )
    assert read_drcov(good, "good").blocks == {"a, b.so": {(4, 8)}}
    for bad in (
        b"",
        good[:-1],
        good[:-2] + b"\1\0",
        good.replace(b"0x0000000000001000", b"x"),
        good.replace(b"BB T", b"B"),
    ):
        with pytest.raises(MachineError, match="bad"):
            read_drcov(bad, "bad")
    for text in ("DA:1,1\n", "SF:a\nDA:1\n", "SF:a\nXX:1\n", "SF:a\nFN:x,y\n"):
        with pytest.raises(MachineError, match="bad"):
            Tracefile.read(text, "bad")
    lcov2 = "TN:t\nSF:a.c\nFN:3,9,f\nFNDA:2,f\nBRDA:4,e0,1,-\nDA:3,2,hash\nend_of_record\n"
    (file,) = Tracefile.read(lcov2, "lcov2").files.values()
    assert (dict(file.functions), dict(file.lines), file.unreached) == ({("f", 3): 2}, {3: 2}, {(4, "e0", "1")})
