"""The oracle: the fixtures as loaded by each target's real dynamic linker. See docs/oracle.md.

scenarios   what is asked
probe.c     asks, from inside the process
run         builds and runs the probe
answer      reads what it tells
words       puts loaded memory into words that do not depend on the loader
goldens     the committed answers
real        the same for distribution libraries, as hashes
musl        the dynamic linker of RISC-V 32
"""
