/* strptime in the C locale, as glibc's: what it accepts, what it leaves alone, and which fields it derives. */
#include "types.h"

typedef struct { int sec, min, hour, mday, mon, year, wday, yday, isdst; long gmtoff; const char *zone; } tm;
typedef struct { int have_i, have_mon, have_mday, have_yday, have_wday, sunday_weeks, monday_weeks; int pm, century, week, use_century, derive; } state;

static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January", "February", "March", "April", "May", "June",
                                     "July", "August", "September", "October", "November", "December"};
static const short before[2][13] = {{0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365},
                                    {0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335, 366}};

static int space(char c) { return c == ' ' || (c >= 9 && c <= 13); }
static int lower(char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }
static int leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }
static const short *year_of(const tm *t) { return before[leap(1900 + t->year)]; }

/* The length of the prefix of `text` that is `name`, of `most` characters at the most, in any case; or 0. */
static int same(const char *text, const char *name, int most) {
    int i = 0;
    while (i < most && name[i] && lower(text[i]) == lower(name[i]))
        i++;
    return i == most || !name[i] ? i : 0;
}

static int named(const char **at, const char *const *names, int count) {
    for (int i = 0; i < count; i++) {
        int length = same(*at, names[i], 99);
        if (!length)
            length = same(*at, names[i], 3);
        if (length) {
            *at += length;
            return i;
        }
    }
    return -1;
}

/* A number of `digits` digits at the most, within the bounds, after spaces; or -1. */
static int number(const char **at, int low, int high, int digits) {
    int value = 0;
    while (**at == ' ')
        ++*at;
    if (**at < '0' || **at > '9')
        return -1;
    do
        value = value * 10 + *(*at)++ - '0';
    while (--digits && value * 10 <= high && **at >= '0' && **at <= '9');
    return value < low || value > high ? -1 : value;
}

static int zone(const char **at, tm *t) {
    const char *text = *at;
    int value = 0, digits = 0;
    while (space(*text))
        text++;
    if (*text == 'Z')
        t->gmtoff = 0, text++;
    else {
        int negative = *text == '-';
        if (!negative && *text != '+')
            return 0;
        text++;
        while (digits < 4 && *text >= '0' && *text <= '9') {
            value = value * 10 + *text++ - '0';
            if (++digits == 2 && *text == ':' && text[1] >= '0' && text[1] <= '9')
                text++;
        }
        if (digits == 2)
            value *= 100;
        else if (digits != 4 || value % 100 >= 60)
            return 0;
        t->gmtoff = value / 100 * 3600 + value % 100 * 60;
        t->gmtoff = negative ? -t->gmtoff : t->gmtoff;
    }
    *at = text;
    return 1;
}

static void find_weekday(tm *t) {
    int year = 1900 + t->year - (t->mon < 2), fours = year / 4;
    int day = -473 + 365 * (t->year - 70) + fours - fours / 25 + (fours % 25 < 0) + fours / 25 / 4;
    day += before[0][t->mon] + t->mday - 1;
    t->wday = (day % 7 + 7) % 7;
}

static void find_date(tm *t, const state *s) {
    int month = 0;
    while (year_of(t)[month] <= t->yday)
        month++;
    if (!s->have_mon)
        t->mon = month - 1;
    if (!s->have_mday)
        t->mday = t->yday - year_of(t)[month - 1] + 1;
}

static void derive(tm *t, state *s) {
    if (s->have_i && s->pm)
        t->hour += 12;
    if (s->century != -1)
        t->year = (s->use_century ? t->year % 100 : 0) + (s->century - 19) * 100;
    if (s->derive && !s->have_wday) {
        if (!(s->have_mon && s->have_mday) && s->have_yday) {
            find_date(t, s);
            s->have_mon = s->have_mday = 1;
        }
        if (s->have_mon || (unsigned)t->mon <= 11)
            find_weekday(t);
    }
    if (s->derive && !s->have_yday && (s->have_mon || (unsigned)t->mon <= 11))
        t->yday = year_of(t)[t->mon] + t->mday - 1;
    if ((s->sunday_weeks || s->monday_weeks) && s->have_wday) {
        int wday = t->wday, mday = t->mday, mon = t->mon, first = s->sunday_weeks ? 0 : 1;
        t->mday = 1, t->mon = 0;
        find_weekday(t);
        if (s->have_mday)
            t->mday = mday;
        if (s->have_mon)
            t->mon = mon;
        if (!s->have_yday)
            t->yday = (7 - (t->wday - first)) % 7 + (s->week - 1) * 7 + (wday - first + 7) % 7;
        if (!s->have_mday || !s->have_mon)
            find_date(t, s);
        t->wday = wday;
    }
}

extern tm *localtime_r(const void *, tm *);

static int seconds(const char **at, tm *t) {
    i64 value = 0; /* time_t has 32 bits on some ISAs: the lower half, then, as they are little-endian */
    if (**at < '0' || **at > '9')
        return 0;
    do
        value = value * 10 + *(*at)++ - '0';
    while (**at >= '0' && **at <= '9');
    return localtime_r(&value, t) != 0;
}

static const char *read(const char *, const char *, tm *, state *);

/* A conversion that is a format of its own. */
static int as(const char **at, const char *format, tm *t, state *s) {
    const char *end = read(*at, format, t, s);
    if (end)
        *at = end;
    return end != 0;
}

static int field(const char **at, int low, int high, int digits, int add, int *to) {
    int value = number(at, low, high, digits);
    if (value >= 0)
        *to = value + add;
    return value >= 0;
}

static int name(const char **at, const char *const *names, int count, int *to) {
    int value = named(at, names, count);
    if (value >= 0)
        *to = value;
    return value >= 0;
}

static int conversion(char kind, const char **at, tm *t, state *s) {
    int value;
    switch (kind) {
    case '%': return *(*at)++ == '%';
    case 'a': case 'A': return s->have_wday = 1, name(at, days, 7, &t->wday);
    case 'b': case 'B': case 'h': return s->have_mon = s->derive = 1, name(at, months, 12, &t->mon);
    case 'c': return s->derive = 1, as(at, "%a %b %e %H:%M:%S %Y", t, s);
    case 'C': return s->derive = 1, field(at, 0, 99, 2, 0, &s->century);
    case 'd': case 'e': return s->have_mday = s->derive = 1, field(at, 1, 31, 2, 0, &t->mday);
    case 'x': case 'D': return s->derive = 1, as(at, "%m/%d/%y", t, s);
    case 'F': return s->derive = 1, as(at, "%Y-%m-%d", t, s);
    case 'H': case 'k': return s->have_i = 0, field(at, 0, 23, 2, 0, &t->hour);
    case 'I': case 'l':
        s->have_i = 1;
        if ((value = number(at, 1, 12, 2)) < 0)
            return 0;
        t->hour = value % 12;
        return 1;
    case 'j': return s->have_yday = 1, field(at, 1, 366, 3, -1, &t->yday);
    case 'm': return s->have_mon = s->derive = 1, field(at, 1, 12, 2, -1, &t->mon);
    case 'M': return field(at, 0, 59, 2, 0, &t->min);
    case 'n': case 't':
        while (space(**at))
            ++*at;
        return 1;
    case 'p':
        s->pm = lower(**at) == 'p';
        if ((!s->pm && lower(**at) != 'a') || lower((*at)[1]) != 'm')
            return 0;
        *at += 2;
        return 1;
    case 'r': return as(at, "%I:%M:%S %p", t, s);
    case 'R': return as(at, "%H:%M", t, s);
    case 's': return seconds(at, t);
    case 'S': return field(at, 0, 61, 2, 0, &t->sec);
    case 'X': case 'T': return as(at, "%H:%M:%S", t, s);
    case 'u': case 'w':
        if ((value = number(at, kind == 'u', kind == 'u' ? 7 : 6, 1)) < 0)
            return 0;
        t->wday = value % 7, s->have_wday = 1;
        return 1;
    case 'g': return number(at, 0, 99, 2) >= 0;
    case 'G':
        if (**at < '0' || **at > '9')
            return 0;
        while (**at >= '0' && **at <= '9')
            ++*at;
        return 1;
    case 'U': return s->sunday_weeks = 1, field(at, 0, 53, 2, 0, &s->week);
    case 'W': return s->monday_weeks = 1, field(at, 0, 53, 2, 0, &s->week);
    case 'V': return number(at, 0, 53, 2) >= 0;
    case 'y':
        if ((value = number(at, 0, 99, 2)) < 0)
            return 0;
        t->year = value >= 69 ? value : value + 100, s->use_century = s->derive = 1;
        return 1;
    case 'Y': return s->use_century = 0, s->derive = 1, field(at, 0, 9999, 4, -1900, &t->year);
    case 'Z':
        while (space(**at))
            ++*at;
        while (**at && !space(**at))
            ++*at;
        return 1;
    case 'z': return zone(at, t);
    }
    return 0;
}

static int within(char c, const char *set) {
    while (*set && *set != c)
        set++;
    return *set != 0;
}

static const char *read(const char *text, const char *format, tm *t, state *s) {
    while (*format) {
        if (space(*format)) {
            while (space(*text))
                text++;
            format++;
            continue;
        }
        if (*format != '%') {
            if (*format++ != *text++)
                return 0;
            continue;
        }
        format++;
        while (*format && within(*format, "-_0^#"))
            format++;
        char kind = *format++;
        const char *modified = kind == 'E' ? "cCYxX" : kind == 'O' ? "bBhdeHImMSUWVwy" : 0;
        if (modified) {
            kind = *format++;
            if (!kind || !within(kind, modified))
                return 0;
        }
        if (!kind || !conversion(kind, &text, t, s))
            return 0;
    }
    return text;
}

char *strptime(const char *text, const char *format, tm *t) {
    state s = {.century = -1};
    const char *end = read(text, format, t, &s);
    if (end)
        derive(t, &s);
    return (char *)end;
}

