"""Options of `relink-emu fuzz`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from emu.cli.command import Option
from relink.records import dataclass

USUAL_NAME = "LLVMFuzzerTestOneInput"  #: of the function, as for libFuzzer


@dataclass(frozen=True)
class Fuzzing:
    """How inputs are made, and where they are kept."""

    prototype: Annotated[
        str | None, Option("--prototype", "-p", metavar="C", help="C prototype of the function.")
    ] = None
    corpus: Annotated[
        Path | None, Option("--corpus", "-c", metavar="FOLDER", help="Inputs to begin with; new ones are added.")
    ] = None
    crashes: Annotated[Path, Option("--crashes", metavar="FOLDER", help="Where inputs that fail are written.")] = (
        Path("crashes")
    )
    dictionary: Annotated[
        Path | None, Option("--dictionary", metavar="FILE", help="Tokens, in the format of AFL++ and libFuzzer.")
    ] = None
    seconds: Annotated[float, Option("--seconds", min=0, help="How long; 0: until interrupted.")] = 60.0
    executions: Annotated[int, Option("--executions", min=0, help="The most executions; 0: any number.")] = 0
    max_size: Annotated[int, Option("--max-size", min=1, metavar="BYTES", help="Longest input.")] = 4096
    seed: Annotated[int, Option("--seed", min=0, help="Start of the random changes.")] = 0
    replay: Annotated[
        list[Path] | None,
        Option("--replay", metavar="FILE", help="Only run this input. May be repeated."),
    ] = None
    minimise: Annotated[
        Path | None, Option("--minimise", metavar="FILE", help="Only make this failing input smaller.")
    ] = None
    merge: Annotated[
        Path | None,
        Option("--merge", metavar="FOLDER", help="Only copy the inputs of the corpus that reach all its edges."),
    ] = None
    afl: Annotated[
        str | None,
        Option("--afl", metavar="FILE", help="Be the target of afl-fuzz: FILE is @@, or - for standard input."),
    ] = None
