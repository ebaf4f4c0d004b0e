"""Numbers of signals, flags of actions and codes of siginfo_t, and the records of actions and pending signals.

Sources: signal(7), sigaction(2); glibc, bits/siginfo-consts.h.
"""

from __future__ import annotations

from typing import NamedTuple

from relink.records import dataclass

SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV, SIGPIPE, SIGALRM = 4, 5, 6, 7, 8, 9, 11, 13, 14
SIGSTOP, SIGSYS = 19, 31
NO_SIGNAL = "for a signal that no other process or thread can send"  #: for `Signals.wait`
#: By default these are ignored: SIGCHLD, SIGCONT, SIGURG, SIGWINCH.
IGNORED = frozenset({17, 18, 23, 28})
_NAMES = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU "
    "URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split()
#: Delivered before all others (SYNCHRONOUS_MASK).
SYNCHRONOUS = (SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS)
DEFAULT, IGNORE = 0, 1
LARGEST = 64
FIRST_QUEUED = 32  #: signals from this one on are queued, each with its own siginfo_t
MOST_PENDING = 1 << 12  #: limit for queued signals (RLIMIT_SIGPENDING)
UNBLOCKABLE = 1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1)
SA_SIGINFO, SA_RESTORER, SA_ONSTACK = 4, 0x0400_0000, 0x0800_0000
SA_RESTART, SA_NODEFER, SA_RESETHAND = 0x1000_0000, 0x4000_0000, 0x8000_0000
SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31
SI_USER, SI_QUEUE, SI_TKILL, SI_KERNEL = 0, -1, -6, 0x80


def name_of(number: int) -> str:
    """SIGSEGV, SIGRTMIN+1 (as programs count: from 34), or "signal 32"."""
    if number <= len(_NAMES):
        return f"SIG{_NAMES[number - 1]}"
    return f"SIGRTMIN+{number - 34}" if number >= 34 else f"signal {number}"


@dataclass(frozen=True, slots=True)
class Action:
    """The action that sigaction set for a signal."""

    handler: int
    mask: int = 0
    flags: int = 0
    restorer: int = 0  #: the code that ends the handler; 0 for the kernel's own


class Pending(NamedTuple):
    """A signal that waits: si_code, and what follows the sender in siginfo_t."""

    number: int
    code: int
    value: int = 0
