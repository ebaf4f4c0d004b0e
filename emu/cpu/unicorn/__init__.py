"""Unicorn, the engine of six ISAs, behind `emu.cpu.protocol.Cpu`. Start with `cpu`.

`UnicornCpu` is one object, whose class is divided into files. Each class derives from the one below it in its
column, whose methods it calls:

    cpu           running, and what a stop of the engine means
      memory        mapping, reading and writing       system        system registers, for boards
      translations  code changed by the host           pieces        runs from one event of a board to the next
                                                       devices       accesses to devices
                                                       limits        the last instructions before a limit
                                                       stops         stopping exactly, and continuing
                                                       first_blocks  inspecting the first block of a run
                                                       hints         yield and wfe, at which Unicorn stops
                                                       registers     registers by name

`pieces` also derives from `emu.cpu.observed.ObservedEngine`, which has `Cpu.run`, `step` and `events`. Until the
engine is needed, `waiting.WaitingCpu` takes the place of a `UnicornCpu`, and then becomes it.

Other files hold objects that the CPU uses: `late_maps` (mappings that the engine gets before a run or at the first
access), `code_pages` (execute permission that the engine gets at the first fetch), `quick_stores`, `first_calls`,
`heap_calls`, `events`, and `watched`, by which `emu.cpu.hooks.inspector` and `emu.cpu.hooks.meter` use the engine.
`api` is Unicorn's C library, `isas` the data of each ISA.

`replaced` puts machine code in the place of functions of Unicorn that are wrong or lack something: `bad_stores`,
`denormal_operands`, `lost_stores`, `nan_boxing`, `x87`. `float_state` and `x86_context` are state that no register
of Unicorn shows.
"""
