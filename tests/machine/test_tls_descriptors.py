"""Descriptors of thread-local variables, of static and of dynamic modules."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.isa.registry import convention
from relink.errors import RelinkError
from relink.linker import Linker, LoadOptions
from relink.memory.address_space import HostMemory
from tests.fixtures import arch_of
from tests.grouping import each
from tests.machine.conftest import MakeMachine
from tests.machine.test_dynamic_tls import MODES, WITH_DESCRIPTORS, available, is_static, library


@pytest.mark.parametrize("target", WITH_DESCRIPTORS)
@MODES
def test_values_live_across_a_descriptor_call(target: str, dynamic: bool) -> None:
    """Compilers keep everything but the result register in place around one."""
    path = library(
        target,
        """
        __thread int first = 11;
        static __thread int second = 20;
        double mixed(int a, double b, long c, float d, int e, int f, double g, double h) {
            double sum = b * 2 + d;
            return sum + first + a + (double)c + second + e * f + g * h + b;
        }
        int many(int a, int b, int c, int d, int e, int f) {
            return a + 2 * b + 3 * c + first + 4 * d + 5 * e + second + 6 * f;
        }
    """,
    )
    with Machine(arch_of(target), dynamic_tls=dynamic) as machine:
        lib = machine.load(path)
        assert [slot.kind for slot in lib.link_map().slots if slot.symbol == "first"] == ["TLS_DESC"]
        assert is_static(lib.image) is not dynamic
        mixed = lib.function("mixed", "double(int, double, long, float, int, int, double, double)")
        for _ in range(2):  # the first call makes the block
            expected = (2.5 * 2 + 0.5) + 11 + 1 + 3 + 20 + 4 * 5 + 1.5 * 3.0 + 2.5
            assert mixed(1, 2.5, 3, 0.5, 4, 5, 1.5, 3.0) == expected
            assert lib.function("many", "int(int, int, int, int, int, int)")(1, 2, 3, 4, 5, 6) == 91 + 31


@MODES
def test_a_descriptor_s_function_keeps_every_register(
    make_machine: MakeMachine, target: str, dynamic: bool
) -> None:
    """Every integer, floating-point and vector register but the result's, the flags too, on its first call
    (which makes the block) and on a later one."""
    machine = make_machine(dynamic_tls=dynamic)
    lib = machine.load(available(target, "tls_dynamic_desc"))
    slot = next(s for s in lib.link_map().slots if s.symbol == "dynamic_variable")
    tls, cpu, word = machine.arch.tls, machine.cpu, machine.arch.word_size
    function = slot.words[1 - tls.descriptor_argument]
    assert (function in machine.traps) is dynamic
    for _ in range(2):
        rules = convention(machine.arch.name)
        floats = [n for names in rules.float_arguments.values() for n in names] + list(rules.preserved_floats)
        special = {"pc", "sp", "rsp", "esp", "tp", "rip", "eip", "cpsr", "rflags", "eflags", "pstate"}
        filled = [n for n in dict.fromkeys((*cpu.registers, *floats)) if n not in special]
        mask = machine.arch.address_mask
        cpu.write_registers([(n, 0x0102_0304_0506_0708 * (i + 1) & mask) for i, n in enumerate(filled)])
        cpu.write_register(tls.descriptor_register, slot.address)
        stack = machine.memory.map_anonymous(0x1000) + 0x800
        if tls.descriptor_link is None:
            machine.memory.write_uint(stack, word, machine.traps.return_address)
        else:
            cpu.write_register(tls.descriptor_link, machine.traps.return_address)
        cpu.write_register("sp", stack)
        names = [n for n in dict.fromkeys((*cpu.registers, *floats)) if n not in ("pc", "rip", "eip")]
        before = dict(zip(names, cpu.read_registers(names), strict=True))
        machine.runner.run(function, machine.traps.return_address)
        after = dict(zip(names, cpu.read_registers(names), strict=True))
        result = after[tls.descriptor_register]
        assert result + machine.thread_pointer & mask == lib.symbols["dynamic_variable"].address
        changed = {name for name in names if before[name] != after[name]}
        popped = {"sp", "rsp", "esp"} if tls.descriptor_link is None else set()
        assert changed - popped == {tls.descriptor_register}
        if popped:
            assert cpu.read_register("sp") == stack + word


@each("name", ["tls_dynamic_desc", "tls_dynamic"])
def test_without_a_machine_a_dynamic_descriptor_is_an_error_and_a_module_id_is_not(target: str, name: str) -> None:
    path = available(target, name)
    linker = Linker(HostMemory(arch_of(target)))
    options = LoadOptions(dynamic_tls=True, unresolved=lambda image, symbol: 0x1000)
    has_descriptors = any(
        linker.architecture.relocations[number].role.name == "TLSDESC"
        for table in linker.load(path, options=LoadOptions(unresolved=options.unresolved)).decoded.relocations
        for number in set(table.type.tolist())
    )
    if has_descriptors:
        with pytest.raises(RelinkError) as caught:
            linker.load(path.read_bytes(), name="lib.so", options=options)
        assert "needs a machine" in str(caught.value)
        assert f"{linker.architecture.prefix}TLS" in str(caught.value)
        assert len(linker.images) == len(linker.tls.modules) == 1
    else:
        image = linker.load(path.read_bytes(), name="lib.so", options=options)
        assert not is_static(image)
