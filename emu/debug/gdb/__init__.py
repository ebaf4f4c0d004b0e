"""A GDB remote server for a machine: `Machine.debug`, `relink-emu debug`.

`packets` is the transport, `target` describes registers, `objects` the loaded images, `execution` runs the guest
in slices and to exact instruction counts, `commands` answers packets while the guest is stopped, `server`
connects them. GDB manual, appendix "Remote Serial Protocol".
"""
