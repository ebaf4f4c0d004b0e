"""Time limits: one thread that stops engines whose deadline has passed.

Unicorn's own `timeout` starts and joins a polling thread on every run, tens of microseconds each; here a run
costs one lock. The thread sleeps until the nearest deadline and is only woken when a nearer one is set, so
a limit of seconds set again for each of a million short calls never wakes it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

#: A stop sent just before the engine enters its loop is lost, so it is sent again until the run is over.
_REPEAT_SECONDS = 0.001


class Watch:
    """One engine's deadline. `fired` tells whether the current (or last) run was stopped by it."""

    def __init__(self, stop: Callable[[], object]) -> None:
        self.stop = stop
        self.deadline = math.inf
        self.fired = False


class Watchdog:
    """Holds the armed watches and the thread that serves them (started when first needed)."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._armed: set[Watch] = set()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None

    def arm(self, watch: Watch, seconds: float) -> None:
        """Call `watch.stop` again and again from `seconds` from now on, until disarmed."""
        with self._condition:
            watch.fired = False
            watch.deadline = time.monotonic() + seconds
            self._armed.add(watch)
            if self._thread is None or not self._thread.is_alive():  # never started, or lost in a fork
                self._thread = threading.Thread(target=self._serve, name="guest time limits", daemon=True)
                self._thread.start()
            elif watch.deadline < self._wakes_at:
                self._condition.notify()

    def disarm(self, watch: Watch) -> None:
        """After this returns `watch.stop` is not called any more."""
        with self._condition:
            self._armed.discard(watch)

    def _serve(self) -> None:
        with self._condition:
            while True:
                now = time.monotonic()
                self._wakes_at = math.inf
                for watch in self._armed:
                    if watch.deadline <= now:
                        watch.fired = True
                        watch.stop()
                        self._wakes_at = now + _REPEAT_SECONDS
                    else:
                        self._wakes_at = min(self._wakes_at, watch.deadline)
                # A limit beyond what a lock can wait for (an hour is plenty) is simply looked at again.
                self._condition.wait(min(self._wakes_at - now, 3600.0))


WATCHDOG = Watchdog()
