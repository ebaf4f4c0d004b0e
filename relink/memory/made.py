"""Answers of `relink.memory.placement` for an image that the linker has laid out itself: known from the start."""

from __future__ import annotations

from functools import lru_cache

from relink.arrays import U8
from relink.memory import placement as place
from relink.memory.address_space import PAGE, Pages
from relink.memory.once import name_of
from relink.memory.runs import Run, Runs

_ANSWERS = tuple(
    map(
        name_of,
        (
            place.region_size,
            place.first_vaddr,
            place.alignment,
            place.contiguous,
            place.clustered,
            place.copied_pieces,
            place.is_copied,
            place.is_small,
            place.content,
            place.usual_pages,
            place.extent,
        ),
    )
)


def placed_as(content: U8, pages: tuple[Pages, ...]) -> dict[str, object]:
    """`Decoded.results` of a made file: what `relink.memory.placement` answers of an image at 0 whose
    segments are in separate pages.
    """
    size = len(content)
    runs = _runs_of(size)
    values = (size, 0, PAGE, runs, runs, ((0, content),), True, True, content, pages, (PAGE, size, runs, True))
    return dict(zip(_ANSWERS, values, strict=True))


@lru_cache(maxsize=64)
def _runs_of(size: int) -> Runs:
    return Runs((Run(0, size),))
