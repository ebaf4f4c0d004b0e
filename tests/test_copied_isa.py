"""An ISA is a page in relink, a page in emu, a row of an engine, and fixtures."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from emu.isa.registry import ISAS
from relink.arch import ARCHITECTURES, Role, architecture
from tests.sampling import everything, spread

ROOT = Path(__file__).resolve().parent.parent
#: What a machine does, from a load to a system call.
SELECTION = (
    "tests/machine/test_calls_and_hosts.py",
    "tests/machine/test_cxx.py",
    "tests/machine/test_dynamic_tls.py",
    "tests/machine/test_guest_faults.py",
    "tests/machine/test_guest_threads.py",
    "tests/machine/test_host_frames.py",
    "tests/machine/test_lazy.py",
    "tests/machine/test_nested_registers.py",
    "tests/machine/test_patching.py",
    "tests/machine/test_redirecting.py",
    "tests/machine/test_startup.py",
    "tests/machine/test_syscalls.py",
    "tests/machine/test_tls_descriptors.py",
    "tests/machine/test_programs.py::test_a_program_with_its_own_c_library_computes_prints_and_exits",
    "tests/machine/test_programs.py::test_a_program_finds_its_stack_as_the_psabi_says",
    "tests/libc/test_libcuser.py",
    "tests/libc/test_compiled.py",
    "tests/objects/test_execution.py",
)
#: These ask for riscv64 by its name.
DESELECTED = (
    "tests/machine/test_patching.py::test_where_there_is_no_assembler_that_is_said[riscv64]",
    "tests/machine/test_syscalls.py::test_every_number_is_the_kernels_own",
    "tests/libc/test_compiled.py::test_struct_stat_is_laid_out_as_glibcs_headers_say",
)


def run(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_a_copied_page_passes_the_tests_of_machines(request: pytest.FixtureRequest) -> None:
    whole = everything(request.config)
    words = "riscv64 or copied64" if whole else "(riscv64 or copied64) and not gcc"
    options = "-q -x --tb=short -p tests.copied_isa -p no:cacheprovider -p no:xdist".split()
    chosen = SELECTION if whole else spread(SELECTION, 6, "copied")
    selection = (*chosen, "-k", words, *(f"--deselect={test}" for test in DESELECTED))
    output = run("-m", "pytest", *options, *selection)
    passed = re.search(r"^(\d+) passed", output, re.MULTILINE)
    assert passed is not None, output[-4000:]
    assert int(passed[1]) > (200 if whole else 30)


FACTS = """
import json, sys
from pathlib import Path
from emu.calls.plan import plan_call
from emu.cpu.create import create_cpu
from emu.isa.registry import ISAS
from emu.libc import table
from emu.linux.personality import Linux
from emu.linux.syscalls.table import names
from relink.arch import architecture, architecture_of
from tests import copied_isa

copied_isa.copy_pages(Path(sys.argv[1]))
from emu.cpu.corrections.finders import FINDERS
found = {}
for name in (copied_isa.ORIGINAL, copied_isa.COPY):
    isa = ISAS[name]
    found[name] = [
        sorted(row.name for row in table.functions(isa)),
        sorted(names(name).items()),
        sorted(Linux().policy(architecture(name)).host_provided),
        sorted(create_cpu(name).registers),
        name in FINDERS,
        str(plan_call(name, "long double f(long double, ...)").locations),
    ]
assert architecture_of(copied_isa.MACHINE, 64).name == copied_isa.COPY
print(json.dumps(found))
"""


def test_a_copied_page_loses_nothing(tmp_path: Path) -> None:
    original, copy = json.loads(run("-c", FACTS, str(tmp_path))).values()
    assert copy == original
    assert len(copy[0]) > 1000, "functions of the hosted C library"


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_pages_of_an_isa_agree(arch: str) -> None:
    """What the linker's page and the machine's page both say."""
    page, isa = architecture(arch), ISAS[arch]
    assert isa.name == isa.convention.arch == arch
    assert isa.dwarf.sp == page.dwarf_stack_pointer
    assert isa.convention.word_size == isa.dwarf.word == page.word_size
    assert len(isa.instruction_sets) - 1 == isa.dwarf.code_bits == page.code_address_bits
    assert any(row.role is Role.ALIGN for row in page.relocations.values()) == (page.alignment is not None)
    assert (isa.data.time_size == 4) == ("64_time64" in isa.libc.stat)
    assert [variant.arch for variant in isa.variants] == [f"{arch}:{v.float_abi.value}" for v in isa.variants]


def named_isas(path: Path) -> set[str]:
    """ISAs that string literals of a file name, those of docstrings left out."""
    tree = ast.parse(path.read_text())
    texts = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    constants = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in texts)
    return {value for value in constants if isinstance(value, str)} & {*ARCHITECTURES, "thumb"}


def test_only_pages_and_engines_name_an_isa() -> None:
    # What compilers, a distribution and makers of chips call them are tables with rows too.
    apart = ("emu/isa", "emu/cpu", "relink/arch", "emu/build", "emu/fetch", "emu/boards")
    files = [path for package in ("emu", "relink") for path in (ROOT / package).rglob("*.py")]
    others = [path for path in files if not str(path.relative_to(ROOT)).startswith(apart)]
    assert len(others) > 200
    assert not {str(path): found for path in others if (found := named_isas(path))}
