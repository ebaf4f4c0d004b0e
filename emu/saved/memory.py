"""The contents of guest memory in snapshots, for engines that share the host's buffers.

Each region's pages are kept over a base (`emu.saved.host_pages`) that has the contents of one of the snapshots.
A new snapshot moves the base on to the present contents; a return to an earlier one writes the pages that differ
(`emu.saved.page_trees`), and drops what has been changed since.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from emu.cpu.protocol import Protection
from emu.saved.host_pages import Files, HostPages, Ranges
from emu.saved.page_trees import PageTree
from emu.saved.state_hash import UnknownState
from relink.arrays import I64
from relink.memory.address_space import PAGE

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.memory.guest_memory import GuestMemory
    from relink.memory.address_space import Region

#: The contents of all regions in one snapshot. Never changed: snapshots share it.
Contents: TypeAlias = "Mapping[Region, PageTree]"
ZEROS = bytes(PAGE)


def _living(address: int, content: bytes, dead: range) -> tuple[bytes, int]:
    """The content of a page after the addresses in `dead`, and how much of it that leaves out."""
    skipped = min(max(dead.stop - address, 0), PAGE) if address + PAGE > dead.start else 0
    return content[skipped:], skipped


class Kept:
    """The pages of one region: what they were at first, and the tree whose contents the base has now."""

    def __init__(self, pages: HostPages) -> None:
        self.pages = pages
        #: None while the base is being changed: so that an interrupted change is noticed, and made good.
        self.tree: PageTree | None = self._untouched()
        self._first: dict[int, bytes] = {}  # of every page whose base has ever been changed

    def _untouched(self) -> PageTree:
        return PageTree(self.pages.size // PAGE)

    def _present(self) -> PageTree:
        """The tree of the base."""
        if self.tree is None:
            base = self.pages.base.reshape(-1, PAGE)
            self.tree = self._untouched().changed({page: base[page].tobytes() for page in self._first})
        return self.tree

    def save(self) -> PageTree:
        """Make the present contents the base; return their tree."""
        changed, tree = self.pages.changed(), self._present()
        if not len(changed):
            return tree
        self.pages.writable_base()
        new, contents, differ = self.pages.buffer.reshape(-1, PAGE), {}, []
        old = self.pages.base.reshape(-1, PAGE)
        for page in changed.tolist():
            if (new[page] == old[page]).all():
                continue
            differ.append(page)
            content = new[page].tobytes()
            contents[page] = ZEROS if content == ZEROS else content
            if tree.get(page) is None and page not in self._first:
                self._first[page] = old[page].tobytes()
        self.tree = None
        self.pages.keep(np.array(differ, np.int64))
        self.tree = tree.changed(contents)
        return self.tree

    def rebase(self, wanted: PageTree) -> I64:
        """Make the contents of a tree the base; return the numbers of the pages that were different."""
        if wanted is self.tree:
            return np.zeros(0, np.int64)
        self.pages.writable_base()
        base = self.pages.base.reshape(-1, PAGE)
        pages = list(self._first) if self.tree is None else list(self.tree.differing(wanted))
        self.tree = None
        for page in pages:
            base[page] = np.frombuffer(self.content(wanted, page), np.uint8)
        self.tree = wanted
        return np.array(pages, np.int64)

    def forget(self) -> None:
        """Forget the contents of all trees: no snapshot has one of them any more."""
        self.tree = self._untouched()
        self._first = {}

    def content(self, tree: PageTree, page: int) -> bytes:
        """The content of a page in a tree."""
        found = tree.get(page)
        if found is None:
            found = self._first.get(page)
        return self.pages.base.reshape(-1, PAGE)[page].tobytes() if found is None else found


class SharedMemory:
    """Saves and restores the memory of one machine."""

    def __init__(self, memory: GuestMemory, cpu: Cpu) -> None:
        self._memory, self._cpu = memory, cpu
        self._files = Files()
        self._kept: WeakKeyDictionary[Region, Kept] = WeakKeyDictionary()
        self._saved: Contents = {}  #: the contents saved or restored last
        self._changes = -1  # of the memory, when `_quick` was made
        self._quick: Ranges | None = None  # the host addresses that the guest may have changed
        self._code: list[tuple[Kept, int, int, int]] = []

    def save(self) -> Contents:
        """The present contents, which become the base."""
        contents = {}
        for region in self._memory.regions:
            if region.foreign:
                continue
            kept = self._kept.get(region)
            if kept is None:
                kept = self._keep(region)
            contents[region] = kept.save()
        self._cpu.take_host_writes()
        same = len(contents) == len(self._saved) and all(self._saved.get(r) is t for r, t in contents.items())
        if not same:
            self._saved = contents
        return self._saved

    def _keep(self, region: Region) -> Kept:
        pages = HostPages(region.buffer, self._files, has_file=region.has_file)
        region.discarded = pages.discarded
        kept = self._kept[region] = Kept(pages)
        self._changes = -1
        return kept

    def forget(self) -> None:
        """Forget all contents: there is no snapshot any more."""
        self._saved = {}
        for kept in self._kept.values():
            kept.forget()

    def restore(self, wanted: Contents, *, quick: bool) -> None:
        """Go back to saved contents. The regions are those of the snapshot again, and mapped. `quick`: neither
        regions nor permissions have changed since the last `save` or `restore`.
        """
        written = self._cpu.take_host_writes()
        rebase = wanted is not self._saved
        if (
            quick
            and not rebase
            and not written
            and self._quick is not None
            and self._changes == self._memory.changes
            and not self._files.has_replaced
        ):
            stale = list(self._changed_code())
            self._quick.drop()
        else:
            stale = [*self._restore_all(wanted), *written]
            if not quick:  # other regions, though `changes` may have the same number as before
                self._changes = -1
        for address, size in stale:
            self._cpu.forget(address, size)
        self._saved = wanted
        self._prepare(wanted)

    def changed_pages(self, dead: range) -> Iterator[tuple[int, bytes]]:
        """(guest address, content) of the pages whose contents differ from those last saved or restored; the
        addresses in `dead` do not count.
        """
        for region in self._memory.regions:
            if region.foreign:
                continue
            if (kept := self._kept.get(region)) is None:
                raise UnknownState("a new region of memory")
            now, base = kept.pages.buffer.reshape(-1, PAGE), kept.pages.base.reshape(-1, PAGE)
            for page in kept.pages.changed().tolist():
                content, skipped = _living(region.address + page * PAGE, now[page].tobytes(), dead)
                if content != base[page, skipped:].tobytes():
                    yield region.address + page * PAGE, content

    def _changed_code(self) -> Iterator[tuple[int, int]]:
        """Guest addresses of changed pages that may have been translated, where the guest may write."""
        for kept, offset, size, address in self._code:
            for page in kept.pages.changed().tolist():
                if offset <= page * PAGE < offset + size:
                    yield address + page * PAGE - offset, PAGE

    def _restore_all(self, wanted: Contents) -> Iterator[tuple[int, int]]:
        """Return any regions to their contents; yields the guest addresses of all changed pages."""
        for region, tree in wanted.items():
            kept = self._kept[region]
            pages = [kept.pages.changed(), kept.rebase(tree)]
            kept.pages.drop()
            for page in np.concatenate(pages).tolist():
                yield region.address + page * PAGE, PAGE
        self._files.has_replaced = False

    def _prepare(self, wanted: Contents) -> None:
        """Find what the next quick restore has to look at."""
        if self._changes == self._memory.changes and self._quick is not None:
            return
        writable, self._code = [], []
        for region in wanted:
            kept = self._kept[region]
            for run in region.pages:
                if run.protection & Protection.W:
                    writable.append((kept.pages.address + run.offset, run.size))
                    if run.protection & Protection.X:
                        self._code.append((kept, run.offset, run.size, region.address + run.offset))
        shared = all(self._kept[region].pages.shared for region in wanted)
        self._quick = Ranges(writable) if shared else None
        self._changes = self._memory.changes


class CopiedMemory:
    """Memory that returns to earlier contents, of an engine with its own memory, which reports the pages written
    (`Cpu.written`).
    """

    def __init__(self, memory: GuestMemory, cpu: Cpu) -> None:
        self._memory, self._cpu = memory, cpu
        self._first: WeakKeyDictionary[Region, dict[int, bytes]] = WeakKeyDictionary()
        self._saved: Contents = {}
        self._places: list[Region] = []  # the regions then, by address
        self._starts: list[int] = []

    def save(self) -> Contents:
        """The present contents, which become the base."""
        former = self._former()
        contents: dict[Region, PageTree] = {}
        for region in self._memory.regions:
            if region.foreign:
                continue
            tree = self._saved.get(region) or PageTree(region.size // PAGE)
            self._first.setdefault(region, {})
            new = dict[int, bytes]()
            for page, old in former.get(region, {}).items():
                content = self._content(region.address + page * PAGE)
                if content != old:
                    new[page] = content
            contents[region] = tree.changed(new) if new else tree
        self._use(contents)
        self._cpu.settle(())
        return contents

    def restore(self, wanted: Contents, *, quick: bool) -> None:
        """Go back to saved contents. The regions are those of the snapshot again, and mapped."""
        former = self._former()
        if wanted is self._saved:
            changed: Iterable[Region] = former.keys()
        else:
            changed = (r for r, tree in wanted.items() if r in former or self._saved.get(r) is not tree)
        stale = [page for region in changed for page in self._stale(region, wanted[region], former)]
        self._use({})  # unknown, if this is interrupted
        self._cpu.settle(stale)
        self._use(wanted)

    def changed_pages(self, dead: range) -> Iterator[tuple[int, bytes]]:
        """As `SharedMemory.changed_pages`."""
        for region, pages in self._former().items():
            for page, former in sorted(pages.items()):
                address = region.address + page * PAGE
                content, skipped = _living(address, self._content(address), dead)
                if content != former[skipped:]:
                    yield address, content

    def forget(self) -> None:
        """Forget all contents: there is no snapshot any more."""
        self._first.clear()
        self._use({})

    def _stale(
        self, region: Region, tree: PageTree, former: Mapping[Region, Mapping[int, bytes]]
    ) -> Iterator[tuple[int, bytes]]:
        """(guest address, content) of the pages of a region that differ from a tree, where they are mapped."""
        saved, start, extent = self._saved.get(region), region.address, self._cpu.extent
        if saved is tree:
            contents = former.get(region, {})
        else:
            contents = self._contents(region, tree, former.get(region, ()))
        low = high = 0  # addresses known to be mapped
        for page, content in contents.items():
            address = start + page * PAGE
            if not low <= address < high:
                low, high = address, address + extent(address, Protection.NONE)
            if address < high:
                yield address, content

    def _contents(self, region: Region, tree: PageTree, changed: Iterable[int]) -> Mapping[int, bytes]:
        """The contents in a tree of the pages that may differ from it, `changed` among them."""
        first, saved, get = self._first[region], self._saved.get(region), tree.get
        pages = {*changed, *(tree.differing(saved) if saved is not None else (*tree.pages(), *first))}
        return {page: first[page] if (content := get(page)) is None else content for page in pages}

    def _use(self, contents: Contents) -> None:
        if contents is not self._saved:
            self._saved = contents
            self._places = sorted(contents, key=lambda region: region.address)
            self._starts = [region.address for region in self._places]

    def _content(self, address: int) -> bytes:
        """The content of a page; zeros where nothing is mapped."""
        if not self._cpu.extent(address, Protection.NONE):
            return ZEROS
        content = self._cpu.read(address, PAGE)
        return ZEROS if content == ZEROS else content

    def _former(self) -> dict[Region, dict[int, bytes]]:
        """The pages written or unmapped since the last `save` or `restore`, with their contents then."""
        found: dict[Region, dict[int, bytes]] = {}
        for address, content in self._cpu.written().items():
            index = bisect_right(self._starts, address) - 1
            region = self._places[index] if index >= 0 else None
            if region is not None and address < region.address + region.size:
                found.setdefault(region, {})[(address - region.address) // PAGE] = content
        for region, pages in found.items():
            tree, first = self._saved[region], self._first[region]
            for page, content in pages.items():
                if page not in first and tree.get(page) is None:
                    first[page] = content
        return found
