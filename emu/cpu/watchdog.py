"""Time limits and signals: one thread that asks engines to stop, from outside.

An engine is asked, and stops by itself, at a place it can go on from as if nothing had been
(`emu.cpu.stop_hook`). So a request that comes late, and meets the run after the one it was meant for, is harmless.

Unicorn's own `timeout` starts and joins a polling thread on every run, tens of microseconds each; here a run
with a limit costs one lock. The thread sleeps until the nearest deadline and is only woken when a nearer one
is set, so a limit of seconds set again for each of a million short calls never wakes it.

While the main thread is in an engine, Python handles no signals. So every `LOOK_SECONDS` the thread asks runs that
have lasted since its last look to stop; the owner of the engine passes through the Python interpreter, where the
handlers of signals that have come are run (and KeyboardInterrupt is raised), and goes on. `signal.set_wakeup_fd`
would tell of signals without that, but a process has only one, and event loops use it. Runs announce themselves
without a lock.

**After a fork** the child has its own thread. The lock is held across the fork, so it is never found taken by a
thread that the child does not have.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable

LOOK_SECONDS = 0.2

#: For tests: CPUs made from now on stop from outside, and go on, after every so many blocks of guest code (icicle:
#: instructions). 0: only when there is reason to.
stop_every = 0


class Watch:
    """One engine as the watchdog sees it. Its owner sets `running` and `runs` without a lock."""

    def __init__(self, request: Callable[[], object]) -> None:
        self.request = request  #: asks the engine to stop where it can go on; may be called at any time
        self.deadline = math.inf
        self.fired = False  #: the deadline has passed in the current, or last, run that had one
        self.running = False
        self.runs = 0  #: how many there have been
        self.seen_runs = -1  #: `runs` at the watchdog's last look


class Watchdog:
    """Holds the watches and the thread that serves them (started when first needed)."""

    def __init__(self) -> None:
        # Reentrant: the collector may free a CPU, and so call `forget`, while its thread holds the lock. Taken
        # by `with`: between that and the block no signal handler can raise.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._known: set[Watch] = set()
        self._armed: set[Watch] = set()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None
        os.register_at_fork(
            before=lambda: self._lock.acquire(),
            after_in_parent=lambda: self._lock.release(),
            after_in_child=self._after_fork,
        )

    def add(self, watch: Watch) -> None:
        """Look after the runs of an engine until `forget`."""
        with self._lock:
            self._known.add(watch)
            if self._thread is None:
                self._start()

    def forget(self, watch: Watch) -> None:
        """After this returns `watch.request` is not called any more."""
        with self._lock:
            self._known.discard(watch)
            self._armed.discard(watch)

    def arm(self, watch: Watch, seconds: float) -> None:
        """Set `watch.fired` and call `watch.request` in `seconds` from now, unless disarmed before."""
        with self._lock:
            watch.fired = False
            watch.deadline = time.monotonic() + seconds
            self._armed.add(watch)
            if watch.deadline < self._wakes_at:
                self._changed.notify()

    def disarm(self, watch: Watch) -> None:
        """End of the run: its deadline does not matter any more."""
        with self._lock:
            self._armed.discard(watch)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._serve, name="guest time limits", daemon=True)
        self._thread.start()

    def _after_fork(self) -> None:
        """In the child: the old lock is its parent's, and only the thread that forked is here."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._armed.clear()  # what is armed runs in a thread that is not here
        self._thread = None
        if self._known:
            self._start()

    def _serve(self) -> None:
        look_at = time.monotonic() + LOOK_SECONDS
        with self._lock:
            while True:
                now = time.monotonic()
                if now >= look_at:
                    self._look()
                    look_at = now + LOOK_SECONDS
                self._wakes_at = look_at
                for watch in tuple(self._armed):
                    if watch.deadline <= now:
                        self._armed.discard(watch)
                        watch.fired = True  # before the request: who answers it looks whether it was for this
                        watch.request()
                    else:
                        self._wakes_at = min(self._wakes_at, watch.deadline)
                self._changed.wait(max(self._wakes_at - time.monotonic(), 0.0))

    def _look(self) -> None:
        for watch in tuple(self._known):
            if watch.running and watch.runs == watch.seen_runs:
                watch.request()
            watch.seen_runs = watch.runs


WATCHDOG = Watchdog()
