/* wcs*: strings of 32-bit characters. Comparisons are those of the C locale. wchar_t is unsigned on Arm alone. */
#include "types.h"

typedef __WCHAR_TYPE__ wide;

extern size wcslen(const wide *);
extern size wcsnlen(const wide *, size);
extern wide *wcschr(const wide *, wide);
extern wide *wcscpy(wide *, const wide *);
extern wide *wmemcpy(wide *, const wide *, size);
extern void *malloc(size);
extern void free(void *);
extern unsigned towlower(unsigned);
extern size wcstombs(char *, const wide *, size);

wide *wcsncat(wide *dest, const wide *src, size n) {
    size end = wcslen(dest), length = wcsnlen(src, n);
    wmemcpy(dest + end, src, length);
    dest[end + length] = 0;
    return dest;
}

wide *wcpcpy(wide *dest, const wide *src) {
    size n = wcslen(src);
    wmemcpy(dest, src, n + 1);
    return dest + n;
}

wide *wcpncpy(wide *dest, const wide *src, size n) {
    size length = wcsnlen(src, n);
    wmemcpy(dest, src, length);
    for (size i = length; i < n; i++)
        dest[i] = 0;
    return dest + length;
}

wide *wmempcpy(wide *dest, const wide *src, size n) {
    return wmemcpy(dest, src, n) + n;
}

wide *wcsdup(const wide *s) {
    size n = wcslen(s) + 1;
    wide *copy = malloc(n * sizeof *s);
    return copy ? wmemcpy(copy, s, n) : 0;
}

size wcscspn(const wide *s, const wide *reject) {
    size n = 0;
    while (s[n] && !wcschr(reject, s[n]))
        n++;
    return n;
}

size wcsspn(const wide *s, const wide *accept) {
    size n = 0;
    while (s[n] && wcschr(accept, s[n]))
        n++;
    return n;
}

wide *wcspbrk(const wide *s, const wide *accept) {
    s += wcscspn(s, accept);
    return *s ? (wide *)s : 0;
}

wide *wcschrnul(const wide *s, wide c) {
    while (*s && *s != c)
        s++;
    return (wide *)s;
}

wide *wcsstr(const wide *hay, const wide *needle) {
    if (!*needle)
        return (wide *)hay;
    for (; (hay = wcschr(hay, *needle)); hay++) {
        size n = 1;
        while (needle[n] && hay[n] == needle[n])
            n++;
        if (!needle[n])
            return (wide *)hay;
    }
    return 0;
}

wide *wcswcs(const wide *, const wide *) ALIAS("wcsstr");

wide *wcstok(wide *text, const wide *delimiters, wide **next) {
    if (!text)
        text = *next;
    text += wcsspn(text, delimiters);
    if (!*text) {
        *next = text;
        return 0;
    }
    wide *end = text + wcscspn(text, delimiters);
    *next = *end ? end + 1 : end;
    *end = 0;
    return text;
}

int wcsncasecmp(const wide *a, const wide *b, size n) {
    for (; n; n--, a++, b++) {
        unsigned x = towlower((unsigned)*a), y = towlower((unsigned)*b);
        if (x != y || !x)
            return x < y ? -1 : x > y;
    }
    return 0;
}

int wcscasecmp(const wide *a, const wide *b) {
    return wcsncasecmp(a, b, (size)-1);
}

/* Numbers: what strtol and strtod read is ASCII, so the characters up to the first other one are enough for them. */
#define SHORT 400

/* Those characters as bytes: in `room`, or allocated where they are too many. NULL without memory. */
static char *narrowed(const wide *s, char *room) {
    size n = 0;
    while (s[n] > 0 && s[n] < 128)
        n++;
    char *text = n < SHORT ? room : malloc(n + 1);
    if (text) {
        text[n] = 0;
        while (n--)
            text[n] = (char)s[n];
    }
    return text;
}

/* `stop` is not set where the base is none, nor is then the caller's. */
#define NUMBER(type, call)                                           \
    char room[SHORT], *stop = 0, *text = narrowed(s, room);          \
    if (!text)                                                       \
        return 0;                                                    \
    type value = call;                                               \
    if (end && stop)                                                 \
        *end = (wide *)s + (stop - text);                            \
    if (text != room)                                                \
        free(text);                                                  \
    return value;
#define INTEGER(type, name, narrow)                                  \
    extern type narrow(const char *, char **, int);                  \
    type name(const wide *s, wide **end, int base) { NUMBER(type, narrow(text, &stop, base)) }
#define REAL(type, name, narrow)                                     \
    extern type narrow(const char *, char **);                       \
    type name(const wide *s, wide **end) { NUMBER(type, narrow(text, &stop)) }
INTEGER(long, wcstol, strtol)
INTEGER(unsigned long, wcstoul, strtoul)
INTEGER(long long, wcstoll, strtoll)
INTEGER(unsigned long long, wcstoull, strtoull)
INTEGER(i64, wcstoimax, strtoimax)
INTEGER(u64, wcstoumax, strtoumax)
REAL(double, wcstod, strtod)
REAL(float, wcstof, strtof)
REAL(long double, wcstold, strtold)
long __isoc23_wcstol(const wide *, wide **, int) ALIAS("wcstol");
unsigned long __isoc23_wcstoul(const wide *, wide **, int) ALIAS("wcstoul");
long long __isoc23_wcstoll(const wide *, wide **, int) ALIAS("wcstoll");
unsigned long long __isoc23_wcstoull(const wide *, wide **, int) ALIAS("wcstoull");

/* The locale is the C locale. */
#define WITH_LOCALE(result, name, ...)                \
    result name##_l(__VA_ARGS__, void *) ALIAS(#name); \
    result __##name##_l(__VA_ARGS__, void *) ALIAS(#name);
WITH_LOCALE(int, wcscasecmp, const wide *, const wide *)
WITH_LOCALE(int, wcsncasecmp, const wide *, const wide *, size)
WITH_LOCALE(long, wcstol, const wide *, wide **, int)
WITH_LOCALE(unsigned long, wcstoul, const wide *, wide **, int)
WITH_LOCALE(long long, wcstoll, const wide *, wide **, int)
WITH_LOCALE(unsigned long long, wcstoull, const wide *, wide **, int)
WITH_LOCALE(double, wcstod, const wide *, wide **)
WITH_LOCALE(float, wcstof, const wide *, wide **)
WITH_LOCALE(long double, wcstold, const wide *, wide **)

/* Columns on a terminal: 0 for combining characters, 2 for East Asian wide ones (Unicode 15, the large blocks). */
static const struct { u32 first, last; i8 width; } widths[] = {
    {0x300, 0x36f, 0}, {0x483, 0x489, 0}, {0x591, 0x5bd, 0}, {0x610, 0x61a, 0}, {0x64b, 0x65f, 0},
    {0x1100, 0x115f, 2}, {0x1ab0, 0x1aff, 0}, {0x1dc0, 0x1dff, 0}, {0x200b, 0x200f, 0}, {0x20d0, 0x20ff, 0},
    {0x2e80, 0x303e, 2}, {0x3041, 0x33ff, 2}, {0x3400, 0x4dbf, 2}, {0x4e00, 0x9fff, 2}, {0xa000, 0xa4cf, 2},
    {0xac00, 0xd7a3, 2}, {0xf900, 0xfaff, 2}, {0xfe00, 0xfe0f, 0}, {0xfe20, 0xfe2f, 0}, {0xfe30, 0xfe6f, 2},
    {0xff00, 0xff60, 2}, {0xffe0, 0xffe6, 2}, {0x1f300, 0x1f64f, 2}, {0x1f680, 0x1f6ff, 2}, {0x1f900, 0x1f9ff, 2},
    {0x20000, 0x3fffd, 2},
};

int wcwidth(wide character) {
    u32 c = (u32)character;
    if (!c)
        return 0;
    if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return -1;
    for (unsigned i = 0; i < sizeof widths / sizeof *widths; i++)
        if (c >= widths[i].first && c <= widths[i].last)
            return widths[i].width;
    return 1;
}

int wcswidth(const wide *s, size n) {
    int total = 0;
    for (; n && *s; n--, s++) {
        int width = wcwidth(*s);
        if (width < 0)
            return -1;
        total += width;
    }
    return total;
}
