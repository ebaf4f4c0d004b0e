/* mem*: words at a time where both sides are aligned alike. A call for much memory is left to the hosted function,
 * which works on the host's memory at once. The copies read before they write, so overlap does no harm. */
#include "types.h"

#if defined(__loongarch__) /* on a slower engine */
#define MUCH 1024
#else
#define MUCH 2048 /* bytes; from here on the hosted function is quicker */
#endif
#define W sizeof(word)

extern void *__relink_hosted_memmove(void *, const void *, size);
extern void *__relink_hosted_memset(void *, int, size);
extern int __relink_hosted_memcmp(const void *, const void *, size);
extern void *__relink_hosted_memchr(const void *, int, size);

typedef word __attribute__((may_alias)) aword;

static void copy_up(u8 *d, const u8 *s, size n) {
    if (n >= 2 * W && (((word)d ^ (word)s) & (W - 1)) == 0) {
        for (; (word)d & (W - 1); n--)
            *d++ = *s++;
        for (; n >= 4 * W; n -= 4 * W, d += 4 * W, s += 4 * W) {
            aword a = ((const aword *)s)[0], b = ((const aword *)s)[1];
            aword c = ((const aword *)s)[2], e = ((const aword *)s)[3];
            ((aword *)d)[0] = a, ((aword *)d)[1] = b;
            ((aword *)d)[2] = c, ((aword *)d)[3] = e;
        }
        for (; n >= W; n -= W, d += W, s += W)
            *(aword *)d = *(const aword *)s;
    }
    while (n--)
        *d++ = *s++;
}

static void copy_down(u8 *d, const u8 *s, size n) {
    d += n, s += n;
    if (n >= 2 * W && (((word)d ^ (word)s) & (W - 1)) == 0) {
        for (; (word)d & (W - 1); n--)
            *--d = *--s;
        for (; n >= W; n -= W) {
            d -= W, s -= W;
            *(aword *)d = *(const aword *)s;
        }
    }
    while (n--)
        *--d = *--s;
}

void *memmove(void *dest, const void *src, size n) {
    if (n >= MUCH)
        return __relink_hosted_memmove(dest, src, n);
    if ((word)dest - (word)src >= n)
        copy_up(dest, src, n);
    else
        copy_down(dest, src, n);
    return dest;
}

void *memcpy(void *, const void *, size) ALIAS("memmove");

void *mempcpy(void *dest, const void *src, size n) {
    return (u8 *)memmove(dest, src, n) + n;
}

void *__mempcpy(void *, const void *, size) ALIAS("mempcpy");

void bcopy(const void *src, void *dest, size n) {
    memmove(dest, src, n);
}

void *memset(void *dest, int value, size n) {
    u8 *d = dest;
    if (n >= MUCH)
        return __relink_hosted_memset(dest, value, n);
    if (n >= 2 * W) {
        word pattern = (word)-1 / 255 * (u8)value;
        for (; (word)d & (W - 1); n--)
            *d++ = (u8)value;
        for (; n >= W; n -= W, d += W)
            *(aword *)d = pattern;
    }
    while (n--)
        *d++ = (u8)value;
    return dest;
}

void *__memset(void *, int, size) ALIAS("memset");

void bzero(void *dest, size n) {
    memset(dest, 0, n);
}

void explicit_bzero(void *, size) ALIAS("bzero");
void __bzero(void *, size) ALIAS("bzero");

int memcmp(const void *first, const void *second, size n) {
    const u8 *a = first, *b = second;
    if (n >= MUCH)
        return __relink_hosted_memcmp(first, second, n);
    if (n >= 2 * W && (((word)a ^ (word)b) & (W - 1)) == 0) {
        for (; (word)a & (W - 1); n--, a++, b++)
            if (*a != *b)
                return *a - *b;
        for (; n >= W && *(const aword *)a == *(const aword *)b; n -= W)
            a += W, b += W;
    }
    for (; n; n--, a++, b++)
        if (*a != *b)
            return *a - *b;
    return 0;
}

int bcmp(const void *, const void *, size) ALIAS("memcmp");
int __memcmpeq(const void *, const void *, size) ALIAS("memcmp");

void *memchr(const void *start, int c, size n) {
    const u8 *s = start;
    if (n >= MUCH)
        return __relink_hosted_memchr(start, c, n);
    for (; n; n--, s++)
        if (*s == (u8)c)
            return (void *)s;
    return 0;
}

void *__memchr(const void *, int, size) ALIAS("memchr");

#if defined(__arm__) /* Run-time ABI for the Arm Architecture, 5.3.1: memset takes its value last */
void __aeabi_memmove(void *dest, const void *src, size n) {
    memmove(dest, src, n);
}
void __aeabi_memmove4(void *, const void *, size) ALIAS("__aeabi_memmove");
void __aeabi_memmove8(void *, const void *, size) ALIAS("__aeabi_memmove");
void __aeabi_memcpy(void *, const void *, size) ALIAS("__aeabi_memmove");
void __aeabi_memcpy4(void *, const void *, size) ALIAS("__aeabi_memmove");
void __aeabi_memcpy8(void *, const void *, size) ALIAS("__aeabi_memmove");
void __aeabi_memset(void *dest, size n, int value) {
    memset(dest, value, n);
}
void __aeabi_memset4(void *, size, int) ALIAS("__aeabi_memset");
void __aeabi_memset8(void *, size, int) ALIAS("__aeabi_memset");
void __aeabi_memclr(void *dest, size n) {
    memset(dest, 0, n);
}
void __aeabi_memclr4(void *, size) ALIAS("__aeabi_memclr");
void __aeabi_memclr8(void *, size) ALIAS("__aeabi_memclr");
#endif
