"""The phases of a load; `relink.load.load` describes each."""

from __future__ import annotations

import enum


class Phase(enum.StrEnum):
    """The phases of a load, in order."""

    OPEN = "open"
    MAP = "map"
    JOIN = "join"
    ASSIGN_TLS = "assign_tls"
    RELOCATE = "relocate"
    PUBLISH = "publish"
    COMMIT = "commit"


ORDER = tuple(Phase)
#: The phase that follows each; None before the first, and after the last.
NEXT: dict[Phase | None, Phase | None] = dict(zip((None, *ORDER), (*ORDER, None), strict=True))
#: The number of each phase; -1 before the first.
TURNS: dict[Phase | None, int] = {None: -1, **dict(zip(ORDER, range(len(ORDER)), strict=True))}
#: The name under which a phase's time is added in `Plan.timings`.
TIMED = {
    Phase.OPEN: "open",
    Phase.MAP: "map",
    Phase.JOIN: "relocate",
    Phase.ASSIGN_TLS: "relocate",
    Phase.RELOCATE: "relocate",
}
