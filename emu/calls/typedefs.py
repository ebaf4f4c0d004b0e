"""The typedefs of the C, POSIX and GNU headers, which every C prototype may use without a declaration.

Sizes are glibc's (without _TIME_BITS and _FILE_OFFSET_BITS); those that differ between data models are given as
the name of the `DataModel` field with the size.
"""

from __future__ import annotations

_BY_SIZE: dict[tuple[int | str, bool], str] = {
    (1, True): "int8_t __int8_t int_least8_t int_fast8_t s8",
    (1, False): "uint8_t __uint8_t uint_least8_t uint_fast8_t u_int8_t u_char char8_t u8 bool _Bool",
    (2, True): "int16_t __int16_t int_least16_t s16",
    (2, False): "uint16_t __uint16_t uint_least16_t u_int16_t u_short ushort char16_t u16",
    (4, True): "int32_t __int32_t int_least32_t s32 pid_t clockid_t key_t sig_atomic_t",
    (4, False): (
        "uint32_t __uint32_t uint_least32_t u_int32_t u_int uint u32 char32_t wint_t uid_t gid_t id_t mode_t "
        "socklen_t useconds_t pthread_key_t"
    ),
    (8, True): "int64_t __int64_t int_least64_t int_fast64_t s64 intmax_t loff_t off64_t quad_t",
    (8, False): ("uint64_t __uint64_t uint_least64_t uint_fast64_t u_int64_t u64 uintmax_t u_quad_t dev_t"),
    ("pointer_size", True): "ssize_t intptr_t ptrdiff_t int_fast16_t int_fast32_t clock_t register_t",
    ("pointer_size", False): (
        "size_t uintptr_t uint_fast16_t uint_fast32_t u_long ulong nfds_t rlim_t pthread_t wctype_t"
    ),
    ("time_size", True): "time_t off_t suseconds_t",
}

#: Name -> (bytes, or the DataModel field that has them; signed). `wchar_t` is separate: its signedness varies.
INTEGERS: dict[str, tuple[int | str, bool]] = {
    name: row for row, names in _BY_SIZE.items() for name in names.split()
}
VA_LISTS = frozenset({"va_list", "__builtin_va_list", "__gnuc_va_list"})
#: Opaque structures.
STRUCTS = frozenset({
    "FILE", "DIR", "fpos_t", "jmp_buf", "sigjmp_buf", "mbstate_t", "div_t", "ldiv_t", "lldiv_t", "sigset_t",
    "pthread_mutex_t", "pthread_mutexattr_t", "pthread_cond_t", "pthread_attr_t", "pthread_once_t", "fd_set",
})  # fmt: skip
#: Pointers to structures without a name.
POINTERS = frozenset({"locale_t"})
_VARYING = {"wchar_t", "float_t", "double_t"}
#: All of them, without keywords.
TYPEDEFS = (frozenset(INTEGERS) | VA_LISTS | STRUCTS | POINTERS | _VARYING) - {"_Bool"}
