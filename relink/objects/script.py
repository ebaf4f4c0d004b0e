"""Link scripts: the memory regions of a device, and the output sections that the sections of objects go to.

    flash = MemoryRegion("flash", 0x0800_0000, 128 << 10, "rx", fill=0xFF)
    ram = MemoryRegion("ram", 0x2000_0000, 20 << 10, "rw")
    script = LinkScript.of({".text": flash, ".rodata": flash, ".data": (ram, flash), ".bss": ram})
    image = linker.load(objects, options=LoadOptions(script=script))

The counterpart of a linker's script as data. Output sections are placed in the order given, each after the last
one in its region. An input section goes to the first output section with a pattern for it; one that no pattern
matches goes after the output sections of its kind. A section that is loaded elsewhere (`load_in`) is linked for
its own region, and its bytes are exported for the other. docs/devices.md describes it all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from relink.objects.script_errors import ScriptError
from relink.records import dataclass, field

_SPACE = 1 << 64
_MAX_ALIGN = 1 << 30
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
#: The input sections of usual output sections, in the order of GNU ld's and picolibc's scripts. Patterns of one
#: string are matched together.
_INPUTS: Mapping[str, tuple[str, ...]] = {
    ".isr_vector": (".isr_vector .isr_vector.* .vectors .vectors.* .vector_table .vector_table.* .intvecs",),
    ".text": (".text .text.* .gnu.linkonce.t.*",),
    ".rodata": (".rodata .rodata.* .srodata .srodata.* .lrodata .gnu.linkonce.r.*",),
    ".data": (".data .data.* .sdata .sdata.* .ldata .gnu.linkonce.d.* .gnu.linkonce.s.*",),
    ".bss": (".bss .bss.* .sbss .sbss.* .lbss .gnu.linkonce.b.* .gnu.linkonce.sb.* COMMON",),
    ".tdata": (".tdata .tdata.* .gnu.linkonce.td.*",),
    ".tbss": (".tbss .tbss.* .gnu.linkonce.tb.*",),
    ".preinit_array": (".preinit_array .preinit_array.*",),
    ".init_array": (".init_array .init_array.* .ctors .ctors.*",),
    ".fini_array": (".fini_array .fini_array.* .dtors .dtors.*",),
    ".ARM.extab": (".ARM.extab .ARM.extab.* .gnu.linkonce.armextab.*",),
    ".ARM.exidx": (".ARM.exidx .ARM.exidx.* .gnu.linkonce.armexidx.*",),
    ".eh_frame": (".eh_frame .eh_frame.*",),
    ".gcc_except_table": (".gcc_except_table .gcc_except_table.*",),
    ".ramfunc": (".ramfunc .ramfunc.* .RamFunc .RamFunc.* .ramtext .ramtext.* .time_critical .time_critical.*",),
    ".noinit": (".noinit .noinit.* .persistent .persistent.*",),
}
VECTORS = ".isr_vector"
_NOT_LOADED = (".noinit", ".persistent")  #: kept over a reset: neither loaded nor zeroed
#: The output sections of a script without any: read-only ones, then writable ones.
_CODE_OUTPUTS = (
    VECTORS, ".text", ".rodata", ".ARM.extab", ".ARM.exidx", ".eh_frame", ".gcc_except_table", ".preinit_array",
    ".init_array", ".fini_array",
)  # fmt: skip
_DATA_OUTPUTS, _ZERO_OUTPUTS = (".ramfunc", ".data", ".tdata"), (".tbss", ".bss", ".noinit")


@dataclass(frozen=True)
class MemoryRegion:
    """A range of addresses of a device. `attributes` are letters of "rwx"; `fill` is the byte between sections."""

    name: str
    origin: int
    length: int  #: in bytes
    attributes: str = "rwx"
    fill: int = 0

    @property
    def end(self) -> int:
        """The address after its last byte."""
        return self.origin + self.length

    def __str__(self) -> str:
        return f"{self.name} ({self.origin:#x} to {self.end:#x})"


@dataclass(frozen=True)
class OutputSection:
    """One output section.

    `inputs` are patterns of input sections, as in a linker's script: ".text.*", "*startup.o(.text)"; patterns in
    one string, separated by spaces, keep the order of the link. Without any they follow from the name.
    """

    region: MemoryRegion
    load_in: MemoryRegion | None = None  #: the region where its bytes are stored (None: its own)
    name: str = ""  #: (filled in by the key in `LinkScript.of`)
    inputs: tuple[str, ...] = ()
    align: int = 1  #: in bytes, besides that of its sections
    at: int | None = None  #: its address; None: after the last section in the region
    keep: bool = False  #: not removed by `gc`
    unique: bool = False  #: at most one input section: two vector tables are a mistake
    fill: int | None = None  #: the byte between its input sections (None: the region's)
    load: bool = True  #: False: takes memory, but has no bytes to load (NOLOAD)

    @property
    def patterns(self) -> tuple[tuple[str, ...], ...]:
        """The patterns of its input sections; those in one tuple are matched together."""
        inputs = self.inputs or _INPUTS.get(self.name) or (f"{self.name} {self.name}.*",)
        return tuple(tuple(group.split()) for group in inputs)


#: What `LinkScript.of` takes for an output section: a region, a pair with the one to store it in, or all of it.
Place = MemoryRegion | tuple[MemoryRegion, MemoryRegion] | OutputSection


@dataclass(frozen=True)
class LinkScript:
    """Regions, output sections, and what else a link for a device needs. Raises ScriptError if contradictory."""

    regions: tuple[MemoryRegion, ...]
    outputs: tuple[OutputSection, ...]
    entry: str | None = None  #: the symbol where execution begins
    gc: bool = False  #: remove sections that nothing refers to
    keep: tuple[str, ...] = ()  #: patterns of input sections that `gc` does not remove
    discard: tuple[str, ...] = ()  #: patterns of input sections that are left out
    #: Symbols: a number, or a place such as ".data.load", "ram.end", ".bss.start+16".
    symbols: Mapping[str, int | str] = field(default_factory=dict)
    orphans: str = "place"  #: "error": refuse input sections that no pattern matches

    def __post_init__(self) -> None:
        _check_regions(self.regions)
        _check_outputs(self.outputs, self.regions)
        if self.orphans not in ("place", "error"):
            raise ScriptError("script", f'orphans="{self.orphans}": give "place" or "error"')

    @classmethod
    def of(
        cls,
        place: Mapping[str, Place] | None = None,
        *,
        regions: Sequence[MemoryRegion] = (),
        entry: str | None = None,
        gc: bool = False,
        keep: Sequence[str] = (),
        discard: Sequence[str] = (),
        symbols: Mapping[str, int | str] | None = None,
        orphans: str = "place",
    ) -> LinkScript:
        """A script of output sections by name, in order; without `place` the usual ones in `regions`, code in the
        first that can be executed and data in the first that can be written. Raises ScriptError.
        """
        outputs = _usual_outputs(regions) if place is None else tuple(_output(*item) for item in place.items())
        named = [region for output in outputs for region in (output.region, output.load_in) if region is not None]
        return cls(
            tuple(dict.fromkeys((*regions, *named))),
            outputs,
            entry,
            gc,
            tuple(keep),
            tuple(discard),
            dict(symbols or {}),
            orphans,
        )


def _output(name: str, place: Place) -> OutputSection:
    if isinstance(place, OutputSection):
        output = place
    elif isinstance(place, MemoryRegion):
        output = OutputSection(place)
    elif isinstance(place, tuple) and len(place) == 2 and all(isinstance(part, MemoryRegion) for part in place):
        output = OutputSection(*place)
    else:
        raise ScriptError("script", f"{name}: {place!r} is no MemoryRegion, pair of them, or OutputSection")
    return named_output(name, output)


def named_output(name: str, output: OutputSection) -> OutputSection:
    """An output section under a name; a pattern as the name selects the sections, and names them without `*`."""
    from relink.records import replace

    is_pattern = any(character in name for character in "*?[( ")
    inputs = output.inputs or ((name,) if is_pattern else ())
    plain = re.split(r"[*?\[(]", name.rpartition("(")[2])[0].rstrip(".") or ".text" if is_pattern else name
    usual = name == VECTORS
    return replace(
        output,
        name=plain,
        inputs=inputs,
        keep=output.keep or usual,
        unique=output.unique or usual,
        load=output.load and plain not in _NOT_LOADED,
    )


def _usual_outputs(regions: Sequence[MemoryRegion]) -> tuple[OutputSection, ...]:
    data = next((region for region in regions if "w" in region.attributes), None)
    read_only = [region for region in regions if "x" in region.attributes and "w" not in region.attributes]
    code = next(iter(read_only), next((region for region in regions if "x" in region.attributes), None))
    if code is None:
        raise ScriptError("script", "no region can be executed (attribute x): code has no place")
    outputs = [named_output(name, OutputSection(code)) for name in _CODE_OUTPUTS]
    if data is not None:
        stored = code if data is not code else None
        outputs += [named_output(name, OutputSection(data, stored)) for name in _DATA_OUTPUTS]
        outputs += [named_output(name, OutputSection(data)) for name in _ZERO_OUTPUTS]
    return tuple(outputs)


# ---------------------------------------------------------------- checks


def _check_regions(regions: Sequence[MemoryRegion]) -> None:
    for region in regions:
        problem = ""
        if not _NAME.fullmatch(region.name):
            problem = "a region's name is a word of letters, digits and _"
        elif region.length <= 0:
            problem = f"a region of {region.length} bytes"
        elif region.origin < 0 or region.end > _SPACE:
            problem = f"{region.origin:#x} and {region.length:#x} bytes are outside of any address space"
        elif not region.attributes or set(region.attributes) - set("rwx"):
            problem = f'attributes "{region.attributes}" are not of "rwx"'
        elif not 0 <= region.fill <= 0xFF:
            problem = f"a fill of {region.fill:#x}, not one byte"
        if problem:
            raise ScriptError("script", f"region {region.name}: {problem}")
    ordered = sorted(regions, key=lambda region: region.origin)
    for one, other in pairwise(ordered):
        if one.name == other.name or other.origin < one.end:
            raise ScriptError("script", f"regions {one} and {other} overlap")
    if twice := _repeated(region.name for region in regions):
        raise ScriptError("script", f"two regions are named {min(twice)}")


def _repeated(names: Iterable[str]) -> list[str]:
    """The names that are there more than once."""
    return [name for name, times in Counter(names).items() if times > 1]


def _check_outputs(outputs: Sequence[OutputSection], regions: Sequence[MemoryRegion]) -> None:
    if not outputs:
        raise ScriptError("script", "no output section")
    if twice := _repeated(output.name for output in outputs):
        raise ScriptError("script", f"two output sections are named {min(twice)}")
    known = set(regions)
    for output in outputs:
        problem = ""
        if missing := {output.region, output.load_in or output.region} - known:
            problem = f"region {min(region.name for region in missing)} is not in the script"
        elif output.align < 1 or output.align & (output.align - 1) or output.align > _MAX_ALIGN:
            problem = f"an alignment of {output.align:#x}, not a power of two up to {_MAX_ALIGN:#x}"
        elif output.at is not None and output.at % output.align:
            problem = f"address {output.at:#x} is not aligned to {output.align:#x}"
        elif output.fill is not None and not 0 <= output.fill <= 0xFF:
            problem = f"a fill of {output.fill:#x}, not one byte"
        if problem:
            raise ScriptError("script", f"output section {output.name}: {problem}")
