"""The table as a whole: every prototype can be passed, and its page is current."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections import Counter

import pytest

from emu.calls.plan import plan_call
from emu.isa.registry import ISAS
from emu.libc import table
from tests.libc.fake import Harness
from tests.sampling import everything
from tools import libc_index

_MAKE = "run python -m tools.libc_index"


@pytest.mark.parametrize("arch", ISAS)
def test_every_prototype_names_what_it_declares_and_its_implementation_takes_what_it_passes(
    arch: str, request: pytest.FixtureRequest
) -> None:
    rows = list(table.functions(ISAS[arch]))
    step = 1 if everything(request.config) else 3
    for row in rows[list(ISAS).index(arch) % step :: step]:
        prototype = plan_call(arch, row.prototype).prototype
        assert prototype.name, row.prototype
        passed = [None] * (1 + len(prototype.parameters) + prototype.variadic)
        inspect.signature(row.call).bind(*passed)


@pytest.mark.parametrize("arch", ISAS)
def test_every_variable_can_be_had(arch: str) -> None:
    host = Harness(arch)
    for row in table.variables():
        addresses = {host.libc.lookup(name) for name in row.names}
        assert len(addresses) == 1
        assert all(isinstance(address, int) and address % 16 == 0 for address in addresses)


def test_a_second_definition_is_refused() -> None:
    with pytest.raises(ValueError, match="strlen is exported twice"):
        table.register("strlen", "int strlen(void)", lambda libc: 0)


@pytest.mark.parametrize("arch", ISAS)
def test_a_name_has_one_function_on_an_isa(arch: str) -> None:
    counted = Counter(row.name for row in table.functions(ISAS[arch]))
    assert not [name for name, count in counted.items() if count > 1]


def test_a_second_definition_for_the_same_isa_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table._functions["__addtf3"]
    monkeypatch.setitem(table._functions, "__addtf3", [*rows, rows[0]])
    assert table.find("__addtf3", ISAS["riscv32"]) in rows
    with pytest.raises(ValueError, match="__addtf3 is exported twice: in quad and quad"):
        table.find("__addtf3", ISAS["riscv64"])


def test_the_generated_page_is_current() -> None:
    assert libc_index.PAGE.read_text(encoding="utf-8") == libc_index.render(), _MAKE


def test_the_generated_index_is_current() -> None:
    assert libc_index.INDEX.read_text(encoding="utf-8") == libc_index.render_index(), _MAKE


def test_a_name_belongs_to_one_family() -> None:
    for row in table.functions():
        assert table.family_of(row.name) == row.family, row.name


def test_what_the_index_calls_a_function_is_one_on_every_isa() -> None:
    everywhere = set.intersection(*({row.name for row in table.functions(isa)} for isa in ISAS.values()))
    for name in {row.name for row in table.functions()}:
        assert table.is_function(name) is (name in everywhere), name
    assert table.is_function("strtold"), "whose prototype is another on one of them"
    for name in ("no_such_symbol", *(name for row in table.variables() for name in row.names)):
        assert not table.is_function(name), name


def test_a_symbol_that_is_bound_imports_no_family_until_it_is_called_or_traced() -> None:
    program = """
import sys
from emu import Machine
from emu.libc import table
from emu.debug.trace_functions import host_function

def imported():
    return [f for f in table.FAMILIES if f'emu.libc.{f}' in sys.modules]

machine = Machine('riscv64')
bind = machine.linker.resolver.after[-1].in_python
addresses = {name: bind(name) for name in ('toupper', 'qsort', 'environ')}
print(*imported())
print(machine.call(addresses['toupper'], 'int(int)', ord('a')), *imported())
trap = machine.traps.get(addresses['qsort'])
print(host_function(trap, 'riscv64').prototype.name, *imported())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "environment",
        "65 ctype environment",
        "qsort ctype sorting environment",
    ]


def test_a_family_whose_import_is_interrupted_is_imported_again() -> None:
    program = """
import sys
from emu.isa.registry import ISAS
from emu.libc import table

isa, register, count = ISAS['arm'], table.register, 0

def interrupted(*arguments, **options):
    global count
    count += 1
    if count == 3:
        raise KeyboardInterrupt
    register(*arguments, **options)

table.register = interrupted
try:
    table.find('strtok_r', isa)
except KeyboardInterrupt:
    print(count, 'emu.libc.strings' in sys.modules, *table._functions)
found = table.find('strtok_r', isa)
print(found.name, table.find('strlen', isa).call is sys.modules['emu.libc.strings'].strlen)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["3 False", "strtok_r True"]


def test_looking_a_symbol_up_imports_only_its_family() -> None:
    program = (
        "import sys, emu.libc\n"
        "from emu.isa.registry import ISAS\n"
        "from emu.libc import table\n"
        "assert table.find('memcpy', ISAS['arm']) and table.find('__cxa_finalize', ISAS['arm'])\n"
        "assert table.find('no_such_symbol', ISAS['arm']) is None\n"
        "print([f for f in table.FAMILIES if f'emu.libc.{f}' in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['memory', 'handlers']\n"


def test_no_name_is_exported_as_both_function_and_variable() -> None:
    functions = {row.name for row in table.functions()}
    assert not functions & {name for row in table.variables() for name in row.names}
    assert all(re.fullmatch(r"\w+", name) for name in functions)
