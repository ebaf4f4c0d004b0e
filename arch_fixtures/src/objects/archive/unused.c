extern int nobody_defines_this(void);
int archive_unused(void) { return nobody_defines_this(); }
