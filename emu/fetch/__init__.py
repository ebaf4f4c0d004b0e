"""Fetching real libraries: Debian's packages for every architecture, unpacked into sysroots in a cache."""
