"""Fuzzing of guest code, guided by the edges between its blocks.

    from emu.fuzz import Fuzzer

    found = Fuzzer(machine, library.parse, seeds=[b"{}"]).run(seconds=10)
    print(found.executions, found.edges, [crash.error for crash in found.crashes])

See docs/fuzzing.md. `fuzzer` is the loop, `session` one execution after the other on a machine, `target` passes
inputs to a function, `findings` what is kept, `files` reads and writes it, `mutate` changes inputs, `minimise`
makes them smaller, `strategies` is for Hypothesis, `afl` serves afl-fuzz.
"""

from emu.fuzz.findings import Finding, Found
from emu.fuzz.fuzzer import Fuzzer
from emu.fuzz.strategies import arguments

__all__ = ["Finding", "Found", "Fuzzer", "arguments"]
