/* str*: lengths and searches for the end go a word at a time; an aligned word never crosses a page. A string that
 * does not end soon is left to the hosted function, from where the search has come. */
#include "types.h"

#define W sizeof(word)
#define ONES ((word)-1 / 255)
#define HAS_ZERO(w) (((w) - ONES) & ~(w) & (ONES << 7))
#if defined(__loongarch__)
#define SOON 512
#else
#define SOON 4096 /* bytes */
#endif

extern size __relink_hosted_strlen(const char *);
extern size __relink_hosted_strnlen(const char *, size);
extern size __relink_hosted_strspn(const char *, const char *);
extern size __relink_hosted_strcspn(const char *, const char *);
extern void *memmove(void *, const void *, size);

typedef word __attribute__((may_alias)) aword;

size strlen(const char *start) {
    const char *s = start, *far;
    for (; (word)s & (W - 1); s++)
        if (!*s)
            return (size)(s - start);
    for (far = s + SOON; !HAS_ZERO(*(const aword *)s); s += W)
        if (s >= far)
            return (size)(s - start) + __relink_hosted_strlen(s);
    while (*s)
        s++;
    return (size)(s - start);
}

size __strlen(const char *) ALIAS("strlen");

size strnlen(const char *start, size limit) {
    size n = 0;
    for (; n < limit && start[n]; n++)
        if (n >= SOON)
            return n + __relink_hosted_strnlen(start + n, limit - n);
    return n;
}

size __strnlen(const char *, size) ALIAS("strnlen");

char *stpcpy(char *dest, const char *src) {
    size n = strlen(src);
    memmove(dest, src, n + 1);
    return dest + n;
}

char *__stpcpy(char *, const char *) ALIAS("stpcpy");

char *strcpy(char *dest, const char *src) {
    stpcpy(dest, src);
    return dest;
}

char *strcat(char *dest, const char *src) {
    stpcpy(dest + strlen(dest), src);
    return dest;
}

static void clear(char *d, size n) {
    while (n--)
        *d++ = 0;
}

char *stpncpy(char *dest, const char *src, size n) {
    size length = strnlen(src, n);
    memmove(dest, src, length);
    clear(dest + length, n - length);
    return dest + length;
}

char *__stpncpy(char *, const char *, size) ALIAS("stpncpy");

char *strncpy(char *dest, const char *src, size n) {
    stpncpy(dest, src, n);
    return dest;
}

char *strncat(char *dest, const char *src, size n) {
    char *end = dest + strlen(dest);
    size length = strnlen(src, n);
    memmove(end, src, length);
    end[length] = 0;
    return dest;
}

int strcmp(const char *first, const char *second) {
    const u8 *a = (const u8 *)first, *b = (const u8 *)second;
    if ((((word)a ^ (word)b) & (W - 1)) == 0) {
        for (; (word)a & (W - 1); a++, b++)
            if (*a != *b || !*a)
                return *a - *b;
        for (; *(const aword *)a == *(const aword *)b && !HAS_ZERO(*(const aword *)a); a += W)
            b += W;
    }
    for (; *a == *b && *a; a++)
        b++;
    return *a - *b;
}

int strcoll(const char *, const char *) ALIAS("strcmp");
int __strcoll(const char *, const char *) ALIAS("strcmp");

int strncmp(const char *first, const char *second, size n) {
    const u8 *a = (const u8 *)first, *b = (const u8 *)second;
    for (; n; n--, a++, b++)
        if (*a != *b || !*a)
            return *a - *b;
    return 0;
}

char *strchrnul(const char *s, int c) {
    while (*s && *s != (char)c)
        s++;
    return (char *)s;
}

char *__strchrnul(const char *, int) ALIAS("strchrnul");

char *strchr(const char *s, int c) {
    s = strchrnul(s, c);
    return *s == (char)c ? (char *)s : 0;
}

char *index(const char *, int) ALIAS("strchr");
char *__strchr(const char *, int) ALIAS("strchr");

char *strrchr(const char *s, int c) {
    const char *found = 0;
    do
        if (*s == (char)c)
            found = s;
    while (*s++);
    return (char *)found;
}

char *rindex(const char *, int) ALIAS("strrchr");

/* A set of bytes, one bit each. */
typedef struct { u8 bits[32]; } set;

#define HAS(set, byte) ((set).bits[(u8)(byte) >> 3] >> ((byte) & 7) & 1)

static void make_set(set *made, const char *members) {
    clear((char *)made->bits, sizeof made->bits);
    for (; *members; members++)
        made->bits[(u8)*members >> 3] |= (u8)(1 << (*members & 7));
}

size strspn(const char *s, const char *accept) {
    size n = 0;
    set accepted;
    make_set(&accepted, accept);
    for (; HAS(accepted, s[n]); n++)
        if (n >= SOON)
            return n + __relink_hosted_strspn(s + n, accept);
    return n;
}

size strcspn(const char *s, const char *reject) {
    size n = 0;
    set rejected;
    make_set(&rejected, reject);
    for (; s[n] && !HAS(rejected, s[n]); n++)
        if (n >= SOON)
            return n + __relink_hosted_strcspn(s + n, reject);
    return n;
}

char *strpbrk(const char *s, const char *accept) {
    s += strcspn(s, accept);
    return *s ? (char *)s : 0;
}
