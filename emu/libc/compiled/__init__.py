"""The compiled part of the hosted C library: functions that are quicker, or right only, as code of the guest.

`src` has their C sources, `built` shared objects for every ISA and float ABI (`toolchains.compiled_library` makes
them). An object is linked when one of its names is first asked for, by a linker of its own: its image is in no
scope, list or link map of the guest's, and is asked for what it defines when the hosted library is. What an object
leaves undefined is another of these, or `__relink_hosted_NAME`, the function NAME in Python.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from relink.linker import Linker
from relink.resolve.sources import DataAddress, SymbolRequest

if TYPE_CHECKING:
    from emu.isa.convention import CallingConvention
    from emu.isa.spec import Isa
    from relink.image import Image
    from relink.memory.address_space import AddressSpace

_BUILT = Path(__file__).with_name("built")
_HOSTED = "__relink_hosted_"
#: What has to run once before the variables of an object mean anything.
_INITIALISERS = {"cpu_model": "__cpu_indicator_init"}


@functools.cache
def index(folder: str) -> dict[str, str]:
    """Which shared object defines a name, for one variant; empty where there is no such variant."""
    path = _BUILT / folder / "index.txt"
    rows = path.read_text().splitlines() if path.is_file() else []
    return {name: stem for row in rows for stem, _, names in [row.partition(": ")] for name in names.split()}


def variant(isa: Isa, convention: CallingConvention) -> str:
    """The folder of the objects for code that calls by `convention`."""
    _, colon, float_abi = convention.arch.partition(":")
    return f"{isa.libc.compiled}.{float_abi}" if colon else isa.libc.compiled


class CompiledLibrary:
    """The compiled functions of one machine.

    `hosted` gives the address of a function in Python; `run` calls a function of the guest that takes nothing.
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
        self._images: dict[str, Image] = {}  # by the object's stem
        self._addresses: dict[str, int] = {}

    @property
    def images(self) -> list[Image]:
        """The objects that have been linked so far."""
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
        """Whether a function that was asked for is at a guest address."""
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
