"""When the code of a guest is worth compiling.

An engine interprets 30 million instructions a second, code that runs for the first time too. Compiled code is
twenty to a hundred times as fast, but to compile an instruction takes as long as to interpret 1,250. So a guest
is interpreted first. After every `INTERVAL` instructions, over all runs, a sample of the program counter is
taken. The number of different places in the latest samples tells how much code the guest is running, and so what
compiling it would take; the number of samples, how long it has been running it. It is compiled once it could have
been in the time its interpretation took, so at worst a guest takes twice as long as with the better of both, and
no other rule can promise less. (To wait four times as long would halve what short runs lose, and runs of 50 ms to
a second, interpreted, would take two to three times as long.) Code that is run once is never compiled.

Compiled code is watched too: if it loses more time in the compiler than it gains, the guest is interpreted
again, and compiled later than before. If it runs for long, it is compiled once more, as a whole.
"""

from __future__ import annotations

#: Instructions between two samples: half a millisecond. The same when compiled.
INTERVAL = 1 << 14
COMPILED_INTERVAL = 1 << 18
#: What compiling the code of a line takes, in interpreted instructions: what is slow in the one is in the other.
#: Measured: 0.6 to 0.9 ms a line, 0.05 ms an access to memory.
LINE_COST = 20_000
#: Seconds: to create an engine that compiles and begin; to begin with one that was used before, and compile what
#: leads to the code that samples meet, and from it; to copy a MiB of code.
CREATION, START, MIB_COST = 15e-3, 2e-3, 2e-3
#: Seconds of an interpreted instruction, without a measurement and within these limits.
_USUAL, _FASTEST, _SLOWEST = 33e-9, 10e-9, 500e-9

_LINE = 6  #: a place of the guest is a line of this many bytes, as a power of two
_SAMPLES = 4096  #: that are kept
_FEW = 8  #: so many samples tell nothing unless places repeat
_NEVER = 1 << 62
#: Instructions per slice, after which the clock and Ctrl-C are checked: interpreted ones take 4 ms, compiled ones
#: about as long, with their compilation.
_SLICE = 1 << 17
_FIRST_SLICE, _MOST = 1 << 13, 1 << 24
_SHORT, _LONG = 2e-3, 8e-3
_MOST_FAILURES = 5
_MAY_LOSE = 50e-3  #: seconds, some of which other processes may have taken
#: Seconds of compilation after which another engine is used, since they free no code: that is some 80,000 blocks,
#: in 160 MB and 28,000 mappings of the host's 65,530. And what is not compilation: this for each instruction.
MOST_COMPILATION = 20.0
_COMPILED = 20e-9
#: Code that was compiled in parts is compiled as a whole when it has run for twice as long as that will take
#: (measured: a quarter of what the parts took), and for some seconds; again when so much of it is new. A signal
#: handler and a limit wait for so many seconds at most.
_JOIN_COST, _LEAST_TO_JOIN, _LEAST_GROWTH, _LONGEST_JOIN = 0.3, 20e-3, 0.25, 1.0

#: For tests: whether new CPUs compile code at once (True), never (False), or when it is hot.
default_jit: bool | None = None


class HotCode:
    """The decision for one CPU. `left` is the number of instructions until the next; it is due at 0."""

    def __init__(self, jit: bool | None) -> None:
        self.jit = jit  #: whether to compile: at once, never, when hot (None)
        self._places: list[int] = []
        self._failures: int = 0  #: how often compiled code was given up
        self.begin()

    def begin(self) -> None:
        """The guest is interpreted from now on."""
        self._places.clear()
        self._count = 0
        self._instructions, self._seconds = 0, 0.0  #: interpreted
        self._least = _SLOWEST  #: seconds of an instruction, in the fastest slice
        self._gain = 0.0  #: seconds that compiled code has gained, or may still lose
        self.slice = _SLICE
        self._interpreted_each = _USUAL
        self.compilation = 0.0  #: seconds that the engine has compiled for
        #: Seconds of compilation, in all and since code was joined, and seconds that compiled code has run since.
        self._whole = self._parts = self._ran = 0.0
        if self.jit is None or (self.jit and self._failures):
            self.wait()
        else:
            self.left = 0 if self.jit else _NEVER

    def wait(self) -> None:
        """Decide later."""
        self.left = INTERVAL

    def interpreted(self, instructions: int, seconds: float) -> None:
        """Note a slice of interpreted code."""
        self.left -= instructions
        self._instructions += instructions
        self._seconds += seconds
        if 2 * instructions > INTERVAL:
            self._least = min(self._least, seconds / instructions)

    @property
    def _each(self) -> float:
        """Seconds of an interpreted instruction of this guest."""
        if not self._instructions:
            return _USUAL
        return max(_FASTEST, min(self._seconds / self._instructions, _SLOWEST))

    def sampled(self, pc: int, start: float) -> bool:
        """Note that the guest is at `pc` after `INTERVAL` more instructions: whether to compile its code. `start`
        is what it takes to begin, in seconds.
        """
        if self.jit and not self._failures:
            return True
        self.wait()
        places = self._places
        places.append(pc >> _LINE)
        if len(places) > 2 * _SAMPLES:
            del places[:_SAMPLES]
        self._count += 1
        # What is translated for the first time, and other processes, let instructions seem slower than they are.
        begin = start / max(_FASTEST, min(self._least, self._each))
        recent = self._count & -self._count  # a power of two of samples at its multiples: few a sample on average
        while recent:
            if recent <= min(len(places), _SAMPLES) and self._are_worth(places[-recent:], begin):
                return True
            recent >>= 1
        return False

    def _are_worth(self, places: list[int], begin: float) -> bool:
        count, different = len(places), len(set(places))
        if count < _FEW and different * 2 > count:
            return False
        # Few places that were met again mean that there are many that no sample has met.
        lines = different * count / (count - different + 1)
        return count * INTERVAL >= (begin + lines * LINE_COST) * (1 << 2 * self._failures)

    # ---------------------------------------------------------------- compiled

    def begin_compiled(self, compilation: float) -> None:
        """The guest's code is compiled from now on, by an engine that has compiled for these seconds before."""
        self.left = COMPILED_INTERVAL
        self.slice = _FIRST_SLICE
        self.compilation = compilation
        self._gain = _MAY_LOSE + self._seconds
        self._interpreted_each = self._each

    def ran(self, instructions: int, seconds: float) -> None:
        """Note a slice of compiled code, with its compilation."""
        self.left -= instructions
        self._gain += instructions * self._interpreted_each - seconds
        compilation = max(0.0, seconds - instructions * _COMPILED)
        self.compilation += compilation
        self._whole += compilation
        self._parts += compilation
        self._ran += seconds - compilation
        if seconds > _LONG:
            self.slice = max(self.slice // 4, _FIRST_SLICE)
        elif instructions >= self.slice and seconds < _SHORT:
            self.slice = min(self.slice * 2, _MOST)

    def is_worth_it(self) -> bool:
        """Whether compiled code was no loss so far."""
        self.left = COMPILED_INTERVAL
        return bool(self.jit) or self._gain > 0

    @property
    def is_full(self) -> bool:
        """Whether the engine has compiled as much as it may."""
        return self.compilation > MOST_COMPILATION

    @property
    def is_to_be_joined(self) -> bool:
        """Whether code that was compiled in parts is to be compiled as a whole (`emu.cpu.icicle.joined`)."""
        takes = _JOIN_COST * self._whole
        grown = _LEAST_GROWTH * self._whole < self._parts
        return grown and self._ran > max(_LEAST_TO_JOIN, 2 * takes) and takes < _LONGEST_JOIN

    def joined(self, seconds: float) -> None:
        """Code has been joined, which took so long."""
        self.compilation += seconds
        self._gain -= seconds
        self._parts = self._ran = 0.0

    def give_up(self) -> None:
        """Compiled code is given up. The guest is compiled later than before, if at all."""
        self._failures = min(self._failures + 1, _MOST_FAILURES)
