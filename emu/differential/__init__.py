"""The same calls on every architecture, and what differs: `relink-emu test`.

`inputs` makes arguments from prototypes, `guest` and `host` run a call, `compare` looks for the first difference.
"""
