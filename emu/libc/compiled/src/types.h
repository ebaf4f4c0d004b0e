/* Integer types of given sizes, without any header of a C library. */
#ifndef TYPES_H
#define TYPES_H

typedef __INT8_TYPE__ i8;
typedef __INT32_TYPE__ i32;
typedef __INT64_TYPE__ i64;
typedef __UINT8_TYPE__ u8;
typedef __UINT16_TYPE__ u16;
typedef __UINT32_TYPE__ u32;
typedef __UINT64_TYPE__ u64;
typedef __SIZE_TYPE__ size;
typedef __UINTPTR_TYPE__ word;
#if defined(__SIZEOF_INT128__)
typedef __int128 i128;
typedef unsigned __int128 u128;
#endif

#define ALIAS(name) __attribute__((alias(name)))
#define INTERNAL static __attribute__((unused)) /* of a header included for several types */

#endif
