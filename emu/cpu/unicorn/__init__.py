"""Unicorn, the engine of six ISAs, behind `emu.cpu.protocol.Cpu`. Start with `cpu`."""
