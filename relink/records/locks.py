"""Locks for state that all threads of a process share."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from threading import RLock


def shared_lock(lost: Callable[[], object] | None = None) -> RLock:
    """A lock that is free in a forked child, where a thread that held it at the fork does not exist. If there was
    one, `lost` is called in the child: what that thread had half done will not be finished.

    It may be taken again by its thread, for finalisers and signal handlers run anywhere. So each step of a change
    under it must leave something that works.
    """
    lock = RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=partial(_free, lock, lost))
    return lock


def _free(lock: RLock, lost: Callable[[], object] | None) -> None:
    if lock.acquire(blocking=False):  # nobody held it, or the thread that forks
        lock.release()
    else:
        lock._at_fork_reinit()  # type: ignore[attr-defined]
        if lost is not None:
            lost()
