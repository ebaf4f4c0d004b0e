"""Errors of fetching libraries."""

from __future__ import annotations

from relink.errors import RelinkError


class FetchError(RelinkError):
    """A real library is not available."""


class ToolMissing(FetchError):
    """A program needed to fetch or build the library is not installed on this host."""


class Unreachable(FetchError):
    """The archive did not answer, or does not have the package."""
