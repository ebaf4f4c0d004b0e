"""The options of `relink-emu link`: where sections go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from emu.cli.command import Option, Usage
from relink.records import dataclass, field

if TYPE_CHECKING:
    from relink.objects.script import LinkScript


@dataclass(frozen=True)
class Placing:
    """Memory regions and sections of a device."""

    script: Annotated[
        Path | None,
        Option("--script", "-T", metavar="FILE", help="Regions and sections, in TOML (docs/devices.md)."),
    ] = None
    region: Annotated[
        list[str] | None,
        Option(
            "--region",
            metavar="NAME=ORIGIN,LENGTH[,rwx[,FILL]]",
            help="Memory region, instead of a script: usual sections, code in the first with x, data in the first "
            "with w. May be repeated.",
        ),
    ] = None
    entry: Annotated[
        str | None, Option("--entry", "-e", metavar="NAME", help="Symbol where execution begins.")
    ] = None
    gc: Annotated[bool, Option("--gc-sections", help="Remove sections that nothing refers to.")] = False
    undefined: Annotated[
        list[str] | None,
        Option("--undefined", "-u", metavar="NAME", help="Symbol to look up in archives and keep. Repeatable."),
    ] = None
    define: Annotated[
        list[str] | None,
        Option(
            "--define", "-D", metavar="NAME=VALUE", help="Define an undefined symbol as an address. Repeatable."
        ),
    ] = None
    #: `define`, parsed.
    definitions: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if (self.script is None) is not bool(self.region):
            raise Usage("give either a script or regions", param_hint="'--script', '--region'")
        for text in self.define or ():
            name, equals, value = text.partition("=")
            try:
                self.definitions[name.strip()] = int(value, 0)
            except ValueError:
                equals = ""
            if not equals or not name.strip():
                raise Usage(f"{text!r} is not of the form NAME=VALUE", param_hint="'--define'")

    def rules(self) -> LinkScript:
        """The link script. Raises ScriptError, OSError."""
        from relink.objects.script import LinkScript
        from relink.objects.script_file import read_script, region_of
        from relink.records import replace

        if self.script is not None:
            script = read_script(self.script)
        else:
            script = LinkScript.of(regions=[region_of(text) for text in self.region or ()])
        return replace(script, entry=self.entry or script.entry, gc=self.gc or script.gc)
