"""Programs for the project's own sources: what they write is committed. Not installed."""
