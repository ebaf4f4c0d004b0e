"""Errors of links that a script places (`relink.objects.script`)."""

from __future__ import annotations

from collections.abc import Sequence

from relink.errors import LinkError, printable

_MOST_NAMED = 5  #: sections that a message lists


class ScriptError(LinkError):
    """A link script contradicts itself, or names what the objects do not have."""


class UnplacedSection(LinkError):
    """No output section of the script takes an input section (`section` of `object`, `size` bytes)."""

    def __init__(self, image: str, section: str, object: str, size: int, problem: str) -> None:
        self.section, self.object, self.size = section, object, size
        super().__init__(image, f"section {printable(section)} of {printable(object)} ({size:#x} bytes) {problem}")


class SectionOverlap(LinkError):
    """An output section with a fixed address cannot have it: it lies in another, outside its region, or is not
    aligned.
    """

    def __init__(self, image: str, section: str, address: int, problem: str) -> None:
        self.section, self.address = section, address
        super().__init__(image, f"section {printable(section)} at {address:#x} {problem}")


class RegionOverflow(LinkError):
    """The sections placed in `region` need `needed` bytes, it has `length`.

    `largest` lists (input section, object, bytes), the largest first.
    """

    def __init__(
        self, image: str, region: str, length: int, needed: int, largest: Sequence[tuple[str, str, int]]
    ) -> None:
        self.region, self.length, self.needed = region, length, needed
        self.largest = tuple(largest)
        named = ", ".join(
            f"{printable(section)} of {printable(object)} ({size:#x})"
            for section, object, size in self.largest[:_MOST_NAMED]
        )
        problem = f"region {region} overflows by {needed - length:#x} bytes: {needed:#x} of {length:#x} needed"
        super().__init__(image, f"{problem}; largest: {named}" if named else problem)

    @property
    def excess(self) -> int:
        """The number of bytes that do not fit."""
        return self.needed - self.length
