"""Time limits and Ctrl-C: one thread that stops engines from outside.

Unicorn's own `timeout` starts and joins a polling thread on every run, tens of microseconds each; here a run
with a limit costs one lock. The thread sleeps until the nearest deadline and is only woken when a nearer one
is set, so a limit of seconds set again for each of a million short calls never wakes it.

A run without any limit keeps Python from handling signals. Twice a second the thread interrupts runs that
have lasted since its last look; the engine's owner sees `interrupted`, passes through the Python interpreter,
where a pending KeyboardInterrupt is raised, and goes on. Such runs announce themselves without a lock, so a stop
may reach the run after the one it was meant for: it must be harmless there as well, and is.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

#: A stop sent just before the engine enters its loop is lost, so it is sent again until the run is over.
_REPEAT_SECONDS = 0.001
_LOOK_SECONDS = 0.5


class Watch:
    """One engine as the watchdog sees it. Its owner sets the fields of unlimited runs without a lock."""

    def __init__(self, stop: Callable[[], object]) -> None:
        self.stop = stop
        self.deadline = math.inf
        self.fired = False  #: the deadline has passed in the current, or last, run that had one
        self.running = False  #: in a run without a limit
        self.runs = 0  #: how many such runs there have been
        self.interrupted = False  #: stopped only so that Python may look around
        self.seen_runs = -1  #: `runs` at the watchdog's last look


class Watchdog:
    """Holds the watches and the thread that serves them (started when first needed)."""

    def __init__(self) -> None:
        # Reentrant: the collector may free a CPU, and so call `forget`, while its thread holds the lock.
        self._condition = threading.Condition(threading.RLock())
        self._known: set[Watch] = set()
        self._armed: set[Watch] = set()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None

    def add(self, watch: Watch) -> None:
        """Look after the runs of an engine until `forget`."""
        with self._condition:
            self._known.add(watch)
            if self._thread is None or not self._thread.is_alive():  # never started, or lost in a fork
                self._thread = threading.Thread(target=self._serve, name="guest time limits", daemon=True)
                self._thread.start()

    def forget(self, watch: Watch) -> None:
        """After this returns `watch.stop` is not called any more."""
        with self._condition:
            self._known.discard(watch)
            self._armed.discard(watch)

    def arm(self, watch: Watch, seconds: float) -> None:
        """Call `watch.stop` again and again from `seconds` from now on, until disarmed."""
        with self._condition:
            watch.fired = False
            watch.deadline = time.monotonic() + seconds
            self._armed.add(watch)
            if watch.deadline < self._wakes_at:
                self._condition.notify()

    def disarm(self, watch: Watch) -> None:
        """End of the run: it is not stopped any more."""
        with self._condition:
            self._armed.discard(watch)

    def _serve(self) -> None:
        look_at = time.monotonic() + _LOOK_SECONDS
        with self._condition:
            while True:
                now = time.monotonic()
                if now >= look_at:
                    self._look()
                    look_at = now + _LOOK_SECONDS
                self._wakes_at = look_at
                for watch in tuple(self._armed):
                    if watch.deadline <= now:
                        watch.fired = True
                        watch.stop()
                        self._wakes_at = min(self._wakes_at, now + _REPEAT_SECONDS)
                    else:
                        self._wakes_at = min(self._wakes_at, watch.deadline)
                self._condition.wait(max(self._wakes_at - time.monotonic(), 0.0))

    def _look(self) -> None:
        for watch in tuple(self._known):
            if watch.running and watch.runs == watch.seen_runs:
                watch.interrupted = True
                watch.stop()
            watch.seen_runs = watch.runs


WATCHDOG = Watchdog()
