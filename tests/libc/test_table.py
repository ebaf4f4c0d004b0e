"""The table as a whole: every prototype can be passed, and its page is current."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

from emu.calls.plan import plan_call
from emu.libc import document, table
from relink.arch import ARCHITECTURES
from tests.libc.fake import Harness


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_prototype_can_be_passed_and_names_what_it_declares(arch: str) -> None:
    for row in table.functions(arch):
        plan = plan_call(arch, row.prototype)
        assert plan.prototype.name, row.prototype


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_implementation_takes_what_its_prototype_passes(arch: str) -> None:
    for row in table.functions(arch):
        prototype = plan_call(arch, row.prototype).prototype
        passed = [None] * (1 + len(prototype.parameters) + prototype.variadic)
        inspect.signature(row.call).bind(*passed)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_variable_can_be_had(arch: str) -> None:
    host = Harness(arch)
    for row in table.variables():
        addresses = {host.libc.lookup(name) for name in row.names}
        assert len(addresses) == 1
        assert all(isinstance(address, int) and address % 16 == 0 for address in addresses)


def test_a_second_definition_is_refused() -> None:
    with pytest.raises(ValueError, match="strlen is exported twice"):
        table.register("strlen", "int strlen(void)", lambda libc: 0)


def test_the_generated_page_is_current() -> None:
    assert document.PAGE.read_text(encoding="utf-8") == document.render(), "run python -m emu.libc.document"


def test_the_generated_index_is_current() -> None:
    assert document.INDEX.read_text(encoding="utf-8") == document.render_index(), "run python -m emu.libc.document"


def test_a_name_belongs_to_one_family() -> None:
    for row in table.functions():
        assert table.family_of(row.name) == row.family, row.name


def test_looking_a_symbol_up_imports_only_its_family() -> None:
    program = (
        "import sys, emu.libc\n"
        "from emu.libc import table\n"
        "assert table.find('memcpy', 'arm') and table.find('__cxa_finalize', 'arm')\n"
        "assert table.find('no_such_symbol', 'arm') is None\n"
        "print([f for f in table.FAMILIES if f'emu.libc.{f}' in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['memory', 'process']\n"


def test_no_name_is_exported_as_both_function_and_variable() -> None:
    functions = {row.name for row in table.functions()}
    assert not functions & {name for row in table.variables() for name in row.names}
    assert all(re.fullmatch(r"\w+", name) for name in functions)
