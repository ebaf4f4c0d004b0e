"""Arm's A and R profiles: AArch64 at EL1, Arm v7-A and v7-R, with a GIC and the generic timer."""
