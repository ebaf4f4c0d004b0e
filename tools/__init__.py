"""Programs that generate parts of the project's sources. Their output is committed. Not installed."""
