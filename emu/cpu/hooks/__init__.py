"""Hooks of Unicorn that are machine code of the host: stops, counting, events, limits."""
