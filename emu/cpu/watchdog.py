"""Time limits and signals: one thread requests engines to stop.

An engine stops itself after a request, at a place from which it can continue (`emu.cpu.hooks.stop_hook`). So a
late request that affects the next run is harmless.

Unicorn's `timeout` starts and joins a polling thread for every run, tens of microseconds each; here a run with a
limit takes one lock. The thread sleeps until the nearest deadline and is only woken when a nearer one is set, so a
limit of seconds for each of a million short calls never wakes it.

While the main thread is in an engine, Python handles no signals. So every `LOOK_SECONDS` the thread requests a
stop of runs that have lasted since its last check; the owner of the engine returns to the Python interpreter,
which runs the handlers of pending signals (and raises KeyboardInterrupt), and continues. `signal.set_wakeup_fd`
would report signals without that, but a process has only one, and event loops use it. Runs announce themselves
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

#: For tests: CPUs created from now on are stopped and continued after this number of blocks of guest code (icicle:
#: instructions). 0: only when necessary.
stop_every = 0


class Watch:
    """The watchdog's data of one engine. The owner sets `running` and `runs` without a lock."""

    def __init__(self, request: Callable[[], object]) -> None:
        self.request = request  #: requests a stop from which the engine can continue; may be called at any time
        self.deadline = math.inf
        self.fired = False  #: the deadline has passed in the current, or last, run that had one
        self.running = False
        self.runs = 0  #: number of runs so far
        self.seen_runs = -1  #: `runs` at the watchdog's last check


class Watchdog:
    """Has the watches and the thread that serves them (started when first needed)."""

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
        """Watch the runs of an engine until `forget`."""
        with self._lock:
            self._known.add(watch)
            if self._thread is None:
                self._start()

    def forget(self, watch: Watch) -> None:
        """Stop watching; afterwards `watch.request` is not called."""
        with self._lock:
            self._known.discard(watch)
            self._armed.discard(watch)

    def arm(self, watch: Watch, seconds: float) -> None:
        """Set `watch.fired` and call `watch.request` after `seconds`, unless disarmed before."""
        with self._lock:
            watch.fired = False
            watch.deadline = time.monotonic() + seconds
            self._armed.add(watch)
            if watch.deadline < self._wakes_at:
                self._changed.notify()

    def disarm(self, watch: Watch) -> None:
        """Cancel the deadline at the end of a run."""
        with self._lock:
            self._armed.discard(watch)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._serve, name="guest time limits", daemon=True)
        self._thread.start()

    def _after_fork(self) -> None:
        """Reset in the child: the lock belongs to the parent, and only the forking thread exists."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._armed.clear()  # armed watches belong to threads that do not exist here
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
                        watch.fired = True  # set before the request, because the stopped run checks it
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
