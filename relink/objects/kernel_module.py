"""The description in a Linux kernel module (`.ko`), which is linked like other relocatable objects.

    module = machine.load("hello.ko", symbols={"_printk": printk}).image.kernel_module
    module.name, module.modinfo["license"], module.init

Loading a module only links it. Not done:

- running `init_module` (call it, and `cleanup_module`);
- loading the modules in `depends`;
- comparing the CRCs of `__versions` or the vermagic with a kernel's;
- setting parameters, patching alternatives, static keys or call sites;
- discarding `.init.text` after init.

Sources: Linux, include/linux/module.h, include/linux/moduleparam.h, scripts/mod/modpost.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from relink.elf import Decoded
from relink.elf.objects import ObjectFile
from relink.errors import MalformedElf
from relink.objects.combined import combined
from relink.records import dataclass

__all__ = ["KernelModule", "is_kernel_module", "kernel_module", "modinfo", "symbol_versions"]

MODINFO, THIS_MODULE = ".modinfo", ".gnu.linkonce.this_module"
_VERSIONS = "__versions"
_EXTENDED_NAMES, _EXTENDED_CRCS = "__version_ext_names", "__version_ext_crcs"
_VERSION_SIZE = 64  #: struct modversion_info: a word with the CRC, then the name
_EXPORTED = "__ksymtab_"  #: the symbol of each entry of __ksymtab and __ksymtab_gpl


@dataclass(frozen=True, slots=True)
class KernelModule:
    """A module's description.

    - `modinfo`: all values of each key, in order ("license", "depends", "vermagic", "parm", "alias"…);
    - `versions`: the CRC that the module expects of each kernel symbol; not checked here;
    - `exports`: the names it exports to other modules;
    - `init`, `exit`: guest addresses of init_module and cleanup_module, None without one.
    """

    name: str
    modinfo: Mapping[str, tuple[str, ...]]
    versions: Mapping[str, int]
    exports: tuple[str, ...]
    init: int | None = None
    exit: int | None = None

    @property
    def depends(self) -> tuple[str, ...]:
        """The modules that must be loaded before it."""
        return tuple(name for value in self.modinfo.get("depends", ()) for name in value.split(",") if name)


def is_kernel_module(file: ObjectFile) -> bool:
    """Whether an object is a kernel module: it has the section with `struct module`, or .modinfo."""
    return file.section(THIS_MODULE) is not None or file.section(MODINFO) is not None


def kernel_module_of(decoded: Decoded, exports: Callable[[], Mapping[str, int]]) -> KernelModule | None:
    """The description of the first kernel module among an image's objects; None without one.

    `exports` gives the guest addresses of the image's symbols. Raises ElfError.
    """
    objects = combined(decoded)
    file = next(filter(is_kernel_module, objects.files if objects is not None else ()), None)
    if file is None:
        return None
    symbols = exports()
    return kernel_module(file, symbols.get("init_module"), symbols.get("cleanup_module"))


def kernel_module(file: ObjectFile, init: int | None = None, exit: int | None = None) -> KernelModule:
    """Read a module's sections. Raises MalformedElf for a damaged table of versions, ElfError."""
    info = modinfo(file)
    name = info.get("name", ("",))[0] or file.name.rpartition("/")[2].removesuffix(".ko")
    return KernelModule(name, info, symbol_versions(file), tuple(_exports(file)), init, exit)


def modinfo(file: ObjectFile) -> Mapping[str, tuple[str, ...]]:
    """The "key=value" strings of .modinfo, each ended by a NUL; one without "=" is a key with an empty value."""
    found: dict[str, tuple[str, ...]] = {}
    for text in _strings(_content(file, MODINFO)):
        key, _, value = text.partition("=")
        found[key] = (*found.get(key, ()), value)
    return found


def symbol_versions(file: ObjectFile) -> Mapping[str, int]:
    """The CRCs of `__versions`, and of `__version_ext_crcs` with its names (since Linux 6.14), by symbol."""
    word = file.header.bits // 8
    table = _content(file, _VERSIONS)
    if len(table) % _VERSION_SIZE:
        problem = f"{len(table)} bytes are not a multiple of the entry size {_VERSION_SIZE}"
        raise MalformedElf(f"{file.name}: {_VERSIONS}", problem)
    found = {}
    for at in range(0, len(table), _VERSION_SIZE):
        entry = table[at : at + _VERSION_SIZE]
        found[_text(entry[word:].partition(b"\0")[0])] = int.from_bytes(entry[:word], "little")
    names, crcs = list(_strings(_content(file, _EXTENDED_NAMES))), _content(file, _EXTENDED_CRCS)
    if 4 * len(names) > len(crcs):
        problem = f"{len(crcs)} bytes for the CRCs of {len(names)} names"
        raise MalformedElf(f"{file.name}: {_EXTENDED_CRCS}", problem)
    for number, name in enumerate(names):
        found[name] = int.from_bytes(crcs[4 * number : 4 * number + 4], "little")
    return found


def _exports(file: ObjectFile) -> Iterator[str]:
    symbols = file.symbols
    for name, section in zip(symbols.names.texts(), symbols.section.tolist(), strict=True):
        if name.startswith(_EXPORTED) and section > 0:
            yield name.removeprefix(_EXPORTED)


def _content(file: ObjectFile, name: str) -> bytes:
    index = file.section(name)
    return b"" if index is None else file.section_bytes(index).tobytes()


def _strings(data: bytes) -> Iterator[str]:
    return (_text(part) for part in data.split(b"\0") if part)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
