"""Icicle, the engine of LoongArch64, behind `emu.cpu.protocol.Cpu`. Start with `cpu`."""
