/* What every fixture shares. No libc header is used: the sources are freestanding on purpose, so that the
   same lines compile for all targets and nothing but what a fixture names ends up in its dynamic symbols. */
#ifndef FIXTURE_H
#define FIXTURE_H

typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __INT8_TYPE__ int8_t;
typedef __INT16_TYPE__ int16_t;
typedef __INT32_TYPE__ int32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;

typedef __builtin_va_list va_list;
#define va_start(list, last) __builtin_va_start(list, last)
#define va_arg(list, type) __builtin_va_arg(list, type)
#define va_copy(to, from) __builtin_va_copy(to, from)
#define va_end(list) __builtin_va_end(list)

#define NULL ((void *)0)
#define HIDDEN __attribute__((visibility("hidden")))
#define PROTECTED __attribute__((visibility("protected")))
#define NOINLINE __attribute__((noinline))
#define WEAK __attribute__((weak))

/* One address-sized datum in assembly. */
#if __SIZEOF_POINTER__ == 8
#define ASM_WORD ".quad"
#else
#define ASM_WORD ".long"
#endif

#endif
