"""The models of Cortex-M, and what they have."""

from __future__ import annotations

from collections.abc import Mapping

from relink.records import dataclass


@dataclass(frozen=True)
class CortexModel:
    """One CPU. `engine` is the model that executes its instructions, which may know more of them."""

    name: str
    architecture: str  #: "v6-M", "v7-M", "v7E-M", "v8-M baseline", "v8-M mainline"
    engine: str
    cpuid: int  #: the value of CPUID
    priority_bits: int  #: bits of a priority that are implemented
    has_vtor: bool = True
    has_fpu: bool = False
    tags: tuple[int, ...] = ()  #: values of Tag_CPU_arch whose code it runs

    @property
    def is_mainline(self) -> bool:
        """Whether it has BASEPRI, FAULTMASK, configurable faults, CFSR and DWT."""
        return self.architecture in ("v7-M", "v7E-M", "v8-M mainline")

    @property
    def is_v8(self) -> bool:
        return self.architecture.startswith("v8")

    @property
    def has_bit_band(self) -> bool:
        return self.architecture in ("v7-M", "v7E-M") and self.name != "cortex-m7"


#: Tag_CPU_arch (Arm, "Addenda to, and Errata in, the ABI", 3.3.5.2): v6-M 11, v6S-M 12, v7 10 (with profile M),
#: v7E-M 13, v8-M.baseline 16, v8-M.mainline 17. Code for an older architecture of the profile runs too.
_V6, _V7, _V7E = (11, 12), (10, 11, 12), (10, 11, 12, 13)
_V8B, _V8M = (11, 12, 16), (10, 11, 12, 13, 16, 17)

MODELS: Mapping[str, CortexModel] = {
    model.name: model
    for model in (
        CortexModel("cortex-m0", "v6-M", "cortex-m0", 0x410C_C200, 2, has_vtor=False, tags=_V6),
        CortexModel("cortex-m0plus", "v6-M", "cortex-m0", 0x410C_C601, 2, tags=_V6),
        CortexModel("cortex-m1", "v6-M", "cortex-m0", 0x411C_C210, 2, has_vtor=False, tags=_V6),
        CortexModel("cortex-m3", "v7-M", "cortex-m3", 0x412F_C231, 8, tags=_V7),
        CortexModel("cortex-m4", "v7E-M", "cortex-m4", 0x410F_C241, 8, has_fpu=True, tags=_V7E),
        CortexModel("cortex-m7", "v7E-M", "cortex-m7", 0x411F_C272, 8, has_fpu=True, tags=_V7E),
        CortexModel("cortex-m23", "v8-M baseline", "cortex-m33", 0x411C_D200, 2, tags=_V8B),
        CortexModel("cortex-m33", "v8-M mainline", "cortex-m33", 0x410F_D213, 8, has_fpu=True, tags=_V8M),
    )
}
ALIASES: Mapping[str, str] = {"cortex-m4f": "cortex-m4"}
