"""A kernel module is an object like any other: it links, its init runs, and it says what it is."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import Library, Machine
from relink.elf.objects import decode_object
from relink.errors import MalformedElf, RelocationOverflow, UnresolvedSymbol
from relink.objects.kernel_module import is_kernel_module, kernel_module, modinfo, symbol_versions
from tests.fixtures import arch_of, each_target, fixture
from tests.objects.build import compiled

#: Where the kernel's data lies, and its modules: in reach of each other for every code model.
JIFFIES, MODULES = 0x20_0000, 0x40_0000
_FLAGS = {"x86_64": ("-mcmodel=kernel",)}


def module_of(target: str) -> Path:
    return compiled(target, "module.c", *_FLAGS.get(target, ()))


class Kernel:
    """The kernel a module is loaded into: what it calls, and what came of it."""

    def __init__(self, target: str) -> None:
        self.machine = Machine(arch_of(target))
        self.printed: list[str] = []
        self.machine.memory.map_anonymous(4096, at=JIFFIES)
        self.machine.memory.write_uint(JIFFIES, 4, 39)

    def load(self, target: str) -> Library:
        return self.machine.load(
            module_of(target),
            base=MODULES,
            symbols={
                "_printk": (self.printk, "int(const char *, int)"),
                "jiffies": JIFFIES,
                "kernel_alloc": (lambda size: self.machine.memory.map_anonymous(size), "void *(unsigned long)"),
                "try_module_get": (lambda module: module, "void *(void *)"),
            },
        )

    def printk(self, format_: bytes, value: int) -> int:
        text = self.machine.memory.read_cstring(format_) if isinstance(format_, int) else format_
        self.printed.append(text.decode() % value)
        return 0


kind = each_target()


@pytest.fixture
def kernel(kind: str) -> Iterator[Kernel]:
    kernel = Kernel(kind)
    with kernel.machine:
        yield kernel


def test_init_module_runs_with_the_kernels_symbols_and_returns(kernel: Kernel, kind: str) -> None:
    lib = kernel.load(kind)
    assert kernel.printed == [], "loading runs nothing"
    assert lib.function("init_module", "int(void)")() == 0
    assert kernel.printed == ["tiny: 42\n"]
    assert lib.function("tiny_count", "int(void)")() == 42
    lib.function("cleanup_module", "void(void)")()
    assert lib.function("tiny_count", "int(void)")() == -1


def test_this_module_leads_to_init_and_exit(kernel: Kernel, kind: str) -> None:
    """The kernel finds both through `struct module`, never by name."""
    lib = kernel.load(kind)
    module = lib.image.kernel_module
    assert module is not None
    section = lib.image.section(".gnu.linkonce.this_module")
    words = lib.image.architecture.word_size
    record = kernel.machine.memory.read(section.address, section.size)
    assert record[4:60].rstrip(b"\0") == b"tiny"
    found = struct.unpack_from(f"<2{'Q' if words == 8 else 'I'}", record, (60 + words - 1) & -words)
    assert found == (module.init, module.exit)
    assert lib.symbols["__this_module"].address == section.address
    assert module.init is not None
    assert kernel.machine.call(module.init, "int(void)") == 0


def test_a_module_says_what_it_is(kernel: Kernel, kind: str) -> None:
    image = kernel.load(kind).image
    module = image.kernel_module
    assert module is not None
    assert module.name == "tiny"
    assert image.modinfo == module.modinfo
    assert module.modinfo["license"] == ("GPL",)
    assert module.modinfo["author"] == ("Somebody", "Somebody else"), "every value, in order"
    assert module.depends == ("first", "second")
    assert module.exports == ("tiny_count",)
    assert module.versions == {"_printk": 0x12345678, "module_layout": 0xFEDCBA98}, "reported, not compared"


def test_init_text_lies_with_code_and_what_is_written_does_not(kernel: Kernel, kind: str) -> None:
    image = kernel.load(kind).image
    access = {section.name: section.permissions for section in image.link_map().sections}
    assert access[".init.text"] == access[".exit.text"] == "r-x"
    assert access[".modinfo"] == access["__versions"] == "r--"
    assert access[".gnu.linkonce.this_module"] == "rw-"


def test_a_kernel_symbol_nobody_provides_is_named(kind: str) -> None:
    with Machine(arch_of(kind)) as machine, pytest.raises(ExceptionGroup) as caught:
        machine.load(module_of(kind), symbols={"jiffies": JIFFIES}, base=MODULES)
    missing = {error.symbol for error in caught.value.exceptions if isinstance(error, UnresolvedSymbol)}
    assert missing == {"_printk", "kernel_alloc", "try_module_get"}


def test_other_images_are_no_kernel_modules() -> None:
    with Machine("x86_64") as machine:
        image = machine.load(fixture("x86_64", "basic"), symbols={"my_host_function": lambda value: value}).image
        assert image.kernel_module is None
        assert image.modinfo == {}
    assert not is_kernel_module(decode_object(compiled("x86_64", "int one(void) { return 1; }\n")))


# ---------------------------------------------------------------- sections by themselves


def assembled(section: str, body: str) -> Path:
    return compiled("x86_64", f'.section {section},"a",@progbits\n{body}\n', language="assembler")


def test_newer_kernels_keep_versions_in_two_sections() -> None:
    source = '.long 1, 0x80000001\n.section __version_ext_names,"a",@progbits\n.asciz "one"\n.asciz "two"'
    assert symbol_versions(decode_object(assembled("__version_ext_crcs", source))) == {"one": 1, "two": 0x80000001}


@pytest.mark.parametrize(
    ("section", "body", "problem"),
    [
        ("__versions", ".zero 65", "65 bytes are not a multiple of the entry size 64"),
        ("__version_ext_names", '.asciz "one"', "0 bytes for the CRCs of 1 names"),
    ],
)
def test_damaged_versions_are_a_typed_error(section: str, body: str, problem: str) -> None:
    with pytest.raises(MalformedElf, match=re.escape(problem)):
        kernel_module(decode_object(assembled(section, body)))


def test_modinfo_without_an_end_or_a_value_is_taken_as_it_is() -> None:
    file = decode_object(assembled(".modinfo", '.asciz "intree"\n.ascii "license=GPL v2"'))
    assert modinfo(file) == {"intree": ("",), "license": ("GPL v2",)}
    assert is_kernel_module(file)
    assert kernel_module(file).name == Path(file.name).name


@pytest.mark.parametrize("kind", ["aarch64", "riscv64", "x86_64"])
def test_kernel_data_out_of_reach_is_an_overflow_and_not_read_from_a_stub(kind: str) -> None:
    kernel = Kernel(kind)
    with kernel.machine as machine:
        far = machine.memory.map_anonymous(4096, at=0x7F_0000_0000)
        functions = dict.fromkeys(("_printk", "kernel_alloc", "try_module_get"), 0x7F_1000_0000)
        with pytest.raises(RelocationOverflow, match="jiffies"):
            machine.load(module_of(kind), base=MODULES, symbols={**functions, "jiffies": far})
