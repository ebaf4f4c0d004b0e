"""Programs for developers, not installed.

constructors           writes the constructors of records that every load makes; its output is committed
libc_index             writes docs/libc.md and the index of the hosted C library; its output is committed
random_instructions    random instructions here, and on the host's processor or QEMU
random_programs        csmith's programs here, and on the host
torture                GCC's torture tests here, and in QEMU
"""
