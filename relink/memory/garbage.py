"""Python's search for garbage, turned off for a while."""

from __future__ import annotations

import gc


class WithoutCollections:
    """A context in which Python does not look for garbage in what a load or a link makes, which stays to its end:
    that takes half of the time where there are many members of archives, and a fifth where there are many images.
    """

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()

    def __exit__(self, *error: object) -> None:
        if self._collects:
            gc.enable()
