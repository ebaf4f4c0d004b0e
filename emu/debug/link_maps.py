"""The dynamic linker's structures in guest memory: the chain of `struct link_map`, and `struct r_debug`.

Debuggers find every image through them (the SVR4 rendezvous; glibc, elf/link.h and elf/dl-debug.c), and programs
may use a `dlopen` handle as a `struct link_map *`. They are created on first use and updated by loads and unloads.
Once `r_debug` has been used, each change is announced as by ld.so: set the state, call `r_brk`, change, set the
state, call `r_brk`. The chain begins with the executable, or, if none is loaded, with an entry without name and
image. Libraries provided by the host have an entry outside the chain.
"""

from __future__ import annotations

import enum
from collections import defaultdict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.isa.registry import ISAS
from relink.elf.constants import DynamicTag
from relink.image import Image
from relink.memory.address_space import PAGE, Protection, page_ceil
from relink.records import Assigned, cached_property, dataclass, field

if TYPE_CHECKING:
    from emu.debug.synthetic_headers import HeaderTable, UnwindTable
    from emu.memory.guest_memory import GuestMemory
    from emu.ports import Caller
    from relink.linker import Linker

_R_VERSION = 1  #: r_debug version 1: one namespace


class State(enum.IntEnum):
    """r_state."""

    CONSISTENT = 0
    ADD = 1
    DELETE = 2


class Arena:
    """Guest memory for the dynamic linker's structures. Freed blocks are reused as late as possible."""

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self._next = self._end = 0
        self._sizes: dict[int, int] = {}
        self._free: dict[int, deque[int]] = defaultdict(deque)

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes, 16-byte aligned, with undefined contents."""
        size = (size + 15) & -16 or 16
        if self._free[size]:
            address = self._free[size].popleft()
        else:
            if self._next + size > self._end:
                extent = page_ceil(size)
                self._next = self._memory.map_anonymous(extent, name="[ld.so]")
                self._end = self._next + extent
            address = self._next
            self._next += size
        self._sizes[address] = size
        return address

    def place(self, data: bytes) -> int:
        """Store `data` and return its address."""
        address = self.allocate(len(data))
        self._memory.write(address, data)
        return address

    def free(self, address: int) -> None:
        self._free[self._sizes.pop(address)].append(address)


@dataclass(slots=True)
class _Entry:
    """The blocks of one image in the arena."""

    map: int  #: address of its struct link_map
    name: int  #: address of l_name
    path: str  #: of the file in the guest
    blocks: list[int] = field(default_factory=list)  #: other blocks
    unwind: UnwindTable | None = None
    headers: HeaderTable | None = None
    texts: dict[str, int] = field(default_factory=dict)
    inherited: bool = False  #: whether `map` is that of the image which this one has replaced


class LinkMaps(Assigned):
    """The structures of one machine. `added` counts the images ever loaded (dlpi_adds)."""

    def __init__(self, linker: Linker, memory: GuestMemory, caller: Caller) -> None:
        self._linker, self._memory, self._caller = linker, memory, caller
        self._word = memory.architecture.word_size
        self.added = 0
        self._entries: dict[Image, _Entry] = {}
        #: l_prev and l_next as they were written last, by the address of the struct link_map.
        self._links: dict[int, tuple[int, int]] = {}
        self._chained: list[Image] = []  #: the images that the chain was made of
        self._host_provided: dict[str, int] = {}
        self._debug = 0
        self._active = False

    @cached_property
    def arena(self) -> Arena:
        """The memory of the structures."""
        return Arena(self._memory)

    @property
    def images(self) -> list[Image]:
        """The loaded images: an executable first, then in load order."""
        return sorted(self._linker.images, key=lambda image: not image.decoded.is_executable)

    @property
    def executable(self) -> Image | None:
        """The loaded executable, or None."""
        return next((image for image in self.images[:1] if image.decoded.is_executable), None)

    # ------------------------------------------------------------ what is asked for

    def image_from(self, path: str) -> Image | None:
        """The loaded image whose file has this path in the guest, which dladdr gives."""
        entries = self._entries
        for image in self._linker.images:
            if (entries[image].path if image in entries else self.guest_path(image)) == path:
                return image
        return None

    def link_map_address(self, image: Image) -> int:
        """Guest address of an image's struct link_map. Raises UseAfterUnload."""
        image.check_open()
        return self._entry(image).map

    def image_of(self, address: int) -> Image | None:
        """The image whose struct link_map is at a guest address."""
        return next((image for image, entry in self._entries.items() if entry.map == address), None)

    @cached_property
    def _program(self) -> int:
        return self.arena.place(self._packed(0, self.arena.place(b"\0"), 0, 0, 0))

    @property
    def program(self) -> int:
        """The head of the chain: the executable's link_map, or the entry without an image."""
        self._activate()
        executable = self.executable
        return self._program if executable is None else self._entry(executable).map

    def host_provided(self, name: str) -> int:
        """The guest address of the link_map of a library that the host provides."""
        if name not in self._host_provided:
            text = self.arena.place(name.encode() + b"\0")
            self._host_provided[name] = self.arena.place(self._packed(0, text, 0, 0, 0))
        return self._host_provided[name]

    def host_provided_name(self, address: int) -> str | None:
        """The name of the host-provided library whose link_map is at a guest address."""
        return next((name for name, at in self._host_provided.items() if at == address), None)

    @property
    def debug(self) -> int:
        """Guest address of struct r_debug (`_r_debug`); changes are announced from now on."""
        if not self._debug:
            self._activate()
            self._debug = self.arena.allocate(5 * 8)
            self._write_debug(State.CONSISTENT)
            self._tell_program()
        return self._debug

    @cached_property
    def breakpoint(self) -> int:
        """r_brk (`_dl_debug_state`): guest code that is called before and after every change and only returns."""
        memory = self._memory
        code = ISAS[memory.architecture.name].return_instruction
        address = memory.map_anonymous(PAGE, Protection.R | Protection.X, name="[_dl_debug_state]")
        memory.write(address, code)
        return address

    def name_address(self, image: Image) -> int:
        """l_name: the guest's path of the file; empty for an executable."""
        return self._entry(image).name

    def text(self, image: Image, text: str) -> int:
        """A C string that lives as long as the image."""
        entry = self._entry(image)
        if text not in entry.texts:
            entry.texts[text] = self.arena.place(text.encode("utf-8", "surrogateescape") + b"\0")
        return entry.texts[text]

    def program_headers(self, image: Image) -> HeaderTable:
        """An image's program headers in guest memory (see `emu.debug.synthetic_headers`)."""
        from emu.debug import synthetic_headers as made  # imported late: with the unwinder it is rarely needed

        entry = self._entry(image)
        if entry.headers is None:
            entry.headers = made.own_headers(image)
        if entry.headers is None:
            headers = made.made_headers(image, self.unwind_table(image))
            address = self.arena.place(made.encoded(image, headers))
            entry.blocks.append(address)
            entry.headers = made.HeaderTable(address, len(headers))
        return entry.headers

    def unwind_table(self, image: Image) -> UnwindTable | None:
        """An image's unwind index in guest memory: .eh_frame_hdr, or on Arm .ARM.exidx."""
        from emu.debug.synthetic_headers import made_unwind_table, own_unwind_table

        entry = self._entry(image)
        if entry.unwind is None:
            entry.unwind = own_unwind_table(image)
        if entry.unwind is None and (made := made_unwind_table(image, self.arena.allocate)) is not None:
            entry.unwind, content = made
            self._memory.write(entry.unwind.address, content)
            entry.blocks.append(entry.unwind.address)
        return entry.unwind

    def hand_over(self, old: Image, new: Image) -> None:
        """Let the struct link_map of a replaced image, which is its handle, be that of the new one. May be
        repeated.
        """
        if old not in self._entries:
            return
        before, after = self._entries[old], self._new_entry(new)
        if not after.inherited:  # without a call from here on: no signal handler comes between
            before.map, after.map, after.inherited = after.map, before.map, True
        for image, entry in ((old, before), (new, after)):
            contents = self._packed(image.bias, entry.name, self._dynamic(image), 0, 0)
            self._links.pop(entry.map, None)
            self._memory.write(entry.map, contents)
        self._chained = []
        self.relink()

    # ------------------------------------------------------------ kept up to date

    def change(self, state: State, operation: Callable[[], None], added: int = 0) -> None:
        """Announce a change before and after the operation, which maps or unmaps images; `added` of them are
        new.
        """
        self.added += added
        if self._debug:
            self._announce(state)
        try:
            operation()
        finally:
            if self._active:
                self.relink()
        if self._debug:
            self._announce(State.CONSISTENT)

    def relink(self) -> None:
        """Make the chain that of the images currently loaded: what has other neighbours than before is written."""
        if not self._active:
            return
        loaded = [*self._linker.images]
        if loaded != self._chained or len(loaded) != len(self._entries):
            self._chain_images()
            self._chained = loaded
        if self._debug:
            self._memory.write_uint(self._debug + self._word, self._word, self.program)
            self._memory.write_uint(self._debug + 3 * self._word, 4, State.CONSISTENT)

    def _chain_images(self) -> None:
        for gone in [image for image in self._entries if image.closed]:
            self._release(self._entries.pop(gone))
        images = self.images
        chain = [] if images and images[0].decoded.is_executable else [self._program]
        chain += [self._new_entry(image).map for image in images]
        write, word = self._memory.write_uint, self._word
        for here, links in zip(chain, zip([0, *chain], [*chain[1:], 0], strict=False), strict=True):
            if self._links.get(here) != links:
                before, after = links
                write(here + 3 * word, word, after)
                write(here + 4 * word, word, before)
                self._links[here] = links

    def _activate(self) -> None:
        if not self._active:
            self._active = True
            self.relink()

    def _entry(self, image: Image) -> _Entry:
        self._activate()
        return self._new_entry(image)

    def _new_entry(self, image: Image) -> _Entry:
        if image not in self._entries:
            path = self.guest_path(image)
            told = "" if image.decoded.is_executable else path
            name = self.arena.place(told.encode("utf-8", "surrogateescape") + b"\0")
            contents = self._packed(image.bias, name, self._dynamic(image), 0, 0)
            self._entries[image] = _Entry(self.arena.place(contents), name, path)
        return self._entries[image]

    def _release(self, entry: _Entry) -> None:
        self._links.pop(entry.map, None)
        for address in (entry.map, entry.name, *entry.blocks, *entry.texts.values()):
            self.arena.free(address)

    def _packed(self, *words: int) -> bytes:
        return b"".join(word.to_bytes(self._word, "little") for word in words)

    def _dynamic(self, image: Image) -> int:
        found = image.decoded.dynamic_segment
        return 0 if found is None else image.address_of(found.vaddr)

    def guest_path(self, image: Image) -> str:
        """The path of an image's file in the guest: relative to the sysroot for a file below it."""
        path, root = image.decoded.path, self._linker.search.sysroot
        if path is None:
            return image.name
        absolute = path.absolute()
        if root is not None:
            for folder in (absolute, absolute.parent.resolve() / absolute.name):
                try:
                    return f"/{folder.relative_to(type(path)(root).resolve())}"
                except ValueError:
                    continue
        return str(absolute)

    # ------------------------------------------------------------ the debugger's side

    def _write_debug(self, state: State) -> None:
        """struct r_debug: r_version, r_map, r_brk, r_state, r_ldbase, each as wide as a word with its padding."""
        contents = self._packed(_R_VERSION, self.program, self.breakpoint, state, 0)
        self._memory.write(self._debug, contents)

    def _announce(self, state: State) -> None:
        self._memory.write_uint(self._debug + 3 * self._word, 4, state)
        self._tell_program()
        self._caller.call(self.breakpoint, "void(void)")

    def _tell_program(self) -> None:
        """Store the address of r_debug in DT_DEBUG of an executable (gABI, "Dynamic Section")."""
        image = self.executable
        tags = () if image is None else image.decoded.dynamic.tags
        if image is not None and DynamicTag.DEBUG in tags and (dynamic := self._dynamic(image)):
            place = dynamic + (2 * tags.index(DynamicTag.DEBUG) + 1) * self._word
            if self._memory.protection(place) is None:
                return  # not published yet
            self._memory.write_uint(place, self._word, self._debug)
