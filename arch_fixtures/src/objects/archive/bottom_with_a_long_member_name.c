int archive_bottom(int value) { return value + 3; }
