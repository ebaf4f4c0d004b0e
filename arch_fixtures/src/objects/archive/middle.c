extern int archive_bottom(int value);
int archive_middle_data = 5;
int archive_middle(int value) { return archive_bottom(value) * archive_middle_data; }
