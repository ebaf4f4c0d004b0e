"""The compiled part of the hosted C library: functions that are faster, or only correct, as guest code.

`src` has their C sources, `built` shared objects for every ISA and float ABI (made by
`toolchains.compiled_library`). An object is linked on first use of one of its names, by a separate linker: its
image is in no scope, list or link map of the guest, and its symbols are found through the hosted library. An
undefined symbol of an object is defined by another object, or is `__relink_hosted_NAME`, the function NAME in
Python.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from relink.linker import Linker
from relink.records import Assigned
from relink.resolve.sources import DataAddress, SymbolRequest

if TYPE_CHECKING:
    from emu.isa.convention import CallingConvention
    from emu.isa.spec import Isa
    from relink.image import Image
    from relink.memory.address_space import AddressSpace

_BUILT = Path(__file__).with_name("built")
_HOSTED = "__relink_hosted_"
#: Functions that must run once to initialise the variables of an object.
_INITIALISERS = {"cpu_model": "__cpu_indicator_init"}


@functools.cache
def index(folder: str) -> dict[str, str]:
    """Name -> shared object that defines it, for one variant; empty if the variant does not exist."""
    path = _BUILT / folder / "index.txt"
    rows = path.read_text().splitlines() if path.is_file() else []
    return {name: stem for row in rows for stem, _, names in [row.partition(": ")] for name in names.split()}


def variant(isa: Isa, convention: CallingConvention) -> str:
    """The folder of the objects for code with the calling convention `convention`."""
    _, colon, float_abi = convention.arch.partition(":")
    return f"{isa.libc.compiled}.{float_abi}" if colon else isa.libc.compiled


class CompiledLibrary(Assigned):
    """The compiled functions of one machine. `hosted` returns the address of a Python function; `run` calls a
    guest function without arguments.
    """

    def __init__(
        self,
        memory: AddressSpace,
        folder: str,
        hosted: Callable[[str], int | None],
        run: Callable[[int], object],
    ) -> None:
        self._memory = memory
        self._folder = folder
        self._hosted, self._run = hosted, run
        self._images: dict[str, Image] = {}  # by the object's name without suffix
        self._addresses: dict[str, int] = {}

    @property
    def images(self) -> list[Image]:
        """The images of the objects linked so far."""
        return list(self._images.values())

    def lookup(self, name: str) -> int | None:
        """The address of a function, a `DataAddress` of a variable, or None. Raises AddressSpaceError."""
        stem = index(self._folder).get(name)
        if stem is None:
            return None
        if name not in self._addresses:
            symbol = self._image(stem).symbol(name)
            address: int = symbol.address
            self._addresses[name] = address if symbol.is_function else DataAddress.of(address, symbol.size)
        return self._addresses[name]

    def is_function(self, address: int) -> bool:
        """Whether a guest address is that of a function looked up before."""
        return any(image.contains(address) for image in self._images.values())

    def _image(self, stem: str) -> Image:
        if stem not in self._images:
            self._images[stem] = image = self._linker.load(
                _BUILT / self._folder / f"{stem}.so", name=f"[libc {stem}]"
            )
            if stem in _INITIALISERS:
                self._run(image.symbol(_INITIALISERS[stem]).address)
        return self._images[stem]

    @functools.cached_property
    def _linker(self) -> Linker:
        linker = Linker(self._memory)
        linker.resolver.is_host_function = lambda address: True
        linker.resolver.after.append(self._undefined)
        return linker

    def _undefined(self, request: SymbolRequest) -> int | None:
        name = request.name
        return self._hosted(name.removeprefix(_HOSTED)) if name.startswith(_HOSTED) else self._find(name)

    def _find(self, name: str) -> int | None:
        found = self.lookup(name)
        return self._hosted(name) if found is None else found
