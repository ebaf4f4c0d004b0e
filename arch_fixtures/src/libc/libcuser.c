/* Uses what small libraries import of a C library. Built with -fno-builtin so that each call stays a call,
   -fstack-protector-strong for the guard, and without compiler-rt so that its helpers are imports too. */
#include "fixture.h"

typedef struct FILE FILE;
extern FILE *stdout, *stderr;
extern void *malloc(size_t), *calloc(size_t, size_t), *realloc(void *, size_t);
extern void free(void *);
extern void *aligned_alloc(size_t, size_t);
extern int posix_memalign(void **, size_t, size_t);
extern void *memcpy(void *, const void *, size_t), *memmove(void *, const void *, size_t);
extern void *memset(void *, int, size_t), *memchr(const void *, int, size_t);
extern int memcmp(const void *, const void *, size_t);
extern size_t strlen(const char *), strnlen(const char *, size_t), strspn(const char *, const char *);
extern size_t strcspn(const char *, const char *);
extern char *strcpy(char *, const char *), *strncpy(char *, const char *, size_t), *strcat(char *, const char *);
extern char *strncat(char *, const char *, size_t), *strchr(const char *, int), *strrchr(const char *, int);
extern char *strstr(const char *, const char *), *strdup(const char *), *strtok_r(char *, const char *, char **);
extern char *strpbrk(const char *, const char *), *strerror(int);
extern int strcmp(const char *, const char *), strncmp(const char *, const char *, size_t);
extern int strcasecmp(const char *, const char *);
extern int printf(const char *, ...), fprintf(FILE *, const char *, ...), puts(const char *), putchar(int);
extern int sprintf(char *, const char *, ...), snprintf(char *, size_t, const char *, ...);
extern int vsnprintf(char *, size_t, const char *, va_list), vprintf(const char *, va_list), fflush(FILE *);
extern int fputs(const char *, FILE *), fputc(int, FILE *);
extern size_t fwrite(const void *, size_t, size_t, FILE *);
extern int sscanf(const char *, const char *, ...);
extern void qsort(void *, size_t, size_t, int (*)(const void *, const void *));
extern void *bsearch(const void *, const void *, size_t, size_t, int (*)(const void *, const void *));
extern long strtol(const char *, char **, int);
extern unsigned long strtoul(const char *, char **, int);
extern long long strtoll(const char *, char **, int);
extern unsigned long long strtoull(const char *, char **, int);
extern double strtod(const char *, char **), atof(const char *);
extern float strtof(const char *, char **);
extern int atoi(const char *), abs(int);
extern int isalpha(int), isdigit(int), isspace(int), isupper(int), isxdigit(int), toupper(int), tolower(int);
extern const unsigned short **__ctype_b_loc(void);
extern const int32_t **__ctype_tolower_loc(void);
extern int *__errno_location(void);
extern void abort(void) __attribute__((noreturn)), exit(int) __attribute__((noreturn));
extern void __assert_fail(const char *, const char *, unsigned, const char *) __attribute__((noreturn));
extern void *__memcpy_chk(void *, const void *, size_t, size_t), *__memset_chk(void *, int, size_t, size_t);
extern void *__memmove_chk(void *, const void *, size_t, size_t);
extern char *__strcpy_chk(char *, const char *, size_t), *__strcat_chk(char *, const char *, size_t);
extern int __sprintf_chk(char *, int, size_t, const char *, ...);
extern int __snprintf_chk(char *, size_t, int, size_t, const char *, ...);
extern int __printf_chk(int, const char *, ...), __fprintf_chk(FILE *, int, const char *, ...);
extern char *getenv(const char *);
extern long time(long *);
extern int rand(void);
extern void srand(unsigned);
extern int atexit(void (*)(void));

/* ---- memory */
int use_malloc(int count) {
    int *numbers = malloc((size_t)count * sizeof *numbers);
    if (!numbers) return -1;
    for (int index = 0; index < count; index++) numbers[index] = index;
    numbers = realloc(numbers, (size_t)count * 4 * sizeof *numbers);
    int sum = 0;
    for (int index = 0; index < count; index++) sum += numbers[index];
    free(numbers);
    unsigned char *zeroed = calloc(16, 4);
    for (int index = 0; index < 64; index++) sum += zeroed[index];
    free(zeroed);
    return sum;
}
int use_aligned(void) {
    void *first = aligned_alloc(64, 128), *second = NULL;
    int status = posix_memalign(&second, 256, 100);
    int misaligned = ((uintptr_t)first & 63) != 0 || ((uintptr_t)second & 255) != 0 || status;
    free(first);
    free(second);
    return misaligned;
}
void *malloc_huge(void) { return malloc((size_t)-1 / 2 - 4096); }
void double_free(void) { void *block = malloc(8); free(block); free(block); }
/* ---- strings */
int use_strings(void) {
    char buffer[64], *rest = NULL;
    strcpy(buffer, "alpha,beta");
    strcat(buffer, ",gamma");
    strncat(buffer, ";delta", 1);
    int score = (int)strlen(buffer);                               /* 17 */
    score += (int)(strchr(buffer, ',') - buffer) * 100;            /* 500 */
    score += (int)(strrchr(buffer, ',') - buffer) * 1000;          /* 10000 */
    score += (strstr(buffer, "beta") == buffer + 6) * 100000;
    score += (strcmp("abc", "abd") < 0) + (strncmp("abc", "abd", 2) == 0) + (strcasecmp("ABC", "abc") == 0);
    score += (memcmp("abc", "abc", 3) == 0) + (memchr("abc", 'c', 3) != NULL);
    score += (int)(strspn("aab", "a") + strcspn("aab", "b") + strnlen("abcdef", 3));
    char *copy = strdup(buffer), *token = strtok_r(copy, ",;", &rest);
    for (; token; token = strtok_r(NULL, ",;", &rest)) score += 1000000;
    free(copy);
    memmove(buffer + 1, buffer, 8);
    memset(buffer, 'z', 1);
    return score + (buffer[0] == 'z' && buffer[1] == 'a') * 10000000 + (strpbrk("xyz", "zy") != NULL);
}
/* ---- printing */
int use_printf(void) {
    int written = printf("%d %5d|%-5d|%05d %x %#X %o %c %s %.3s %%\n", -42, 42, 42, 42, 255u, 255u, 8u, 'q', "text", "truncate");
    written += printf("%lld %llu %ld %zu %hhd %p\n", -5000000000LL, 18446744073709551615ULL, -7L, (size_t)9, 300, (void *)0x1234);
    written += printf("%f %.2f %e %g %+.1f %*d\n", 3.5, 2.0 / 3, 12345.678, 0.0001, 1.25, 6, 7);
    written += fprintf(stderr, "to stderr %s\n", "too");
    puts("puts");
    putchar('c');
    fputs("fputs", stdout);
    fputc('\n', stdout);
    fwrite("raw\0bytes", 1, 9, stdout);
    fflush(stdout);
    return written;
}
int use_snprintf(char *out, size_t size, int number, double fraction) {
    return snprintf(out, size, "<%d:%.3f:%s>", number, fraction, "end");
}
int log_line(char *out, size_t size, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int written = vsnprintf(out, size, format, list);
    va_end(list);
    return written;
}
int use_vsnprintf(char *out, size_t size) { return log_line(out, size, "%s=%d %lld %.1f", "key", 5, 6000000000LL, 7.5); }
int use_sscanf(const char *text) {
    int first = 0, second = 0;
    return sscanf(text, "%d %d", &first, &second) * 1000 + first + second;
}
/* ---- numbers, sorting, character classes, errno */
static int compare(const void *left, const void *right) { return *(const int *)left - *(const int *)right; }
int use_sort(void) {
    int numbers[8] = {5, 3, 8, 1, 9, 2, 7, 4}, key = 7, score = 0;
    qsort(numbers, 8, sizeof(int), compare);
    for (int index = 0; index < 8; index++) score = score * 10 + numbers[index];
    int *found = bsearch(&key, numbers, 8, sizeof(int), compare);
    return found ? score + (int)(found - numbers) : -1;            /* 12345789 + 5 */
}
int use_strtol(void) {
    char *end;
    long value = strtol(" -123xyz", &end, 10);
    int score = (int)value + (*end == 'x' ? 1000 : 0) + (int)strtoul("0x10", NULL, 0) + atoi("7") + abs(-1);
    score += (int)strtoll("77", NULL, 8) + (int)strtoull("101", NULL, 2);
    return score + (int)(strtod("2.5e1rest", &end) + atof("0.5") + strtof("1.5", NULL));
}
long strtol_overflow(void) {
    *__errno_location() = 0;
    long value = strtol("99999999999999999999999", NULL, 10);
    return value > 0 ? *__errno_location() : -1;
}
int use_ctype(const char *text) {
    int score = 0;
    for (; *text; text++)
        score += isalpha(*text) ? 1 : isdigit(*text) ? 10 : isspace(*text) ? 100 : 1000;
    return score + (toupper('a') == 'A') * 10000 + (tolower('A') == 'a') * 10000 + (isupper('A') && isxdigit('f')) * 10000;
}
/* glibc's ctype macros read these tables; index and bit positions are its ABI (isalpha is bit 10). */
int use_ctype_tables(void) {
    const unsigned short *table = *__ctype_b_loc();
    return ((table['a'] >> 10 & 1) == 1) + ((table['1'] >> 10 & 1) == 0) * 2 + ((*__ctype_tolower_loc())['Q'] == 'q') * 4;
}
int set_errno(int value) { *__errno_location() = value; return *__errno_location(); }
/* ---- fortify and the guard */
int use_fortify(size_t length) {
    char buffer[32];
    __memset_chk(buffer, 'm', length, sizeof buffer);
    __memcpy_chk(buffer, "0123456789012345678901234567890123456789", length, sizeof buffer);
    __memmove_chk(buffer + 1, buffer, 4, sizeof buffer - 1);
    int first = buffer[0] + buffer[1];
    __strcpy_chk(buffer, "copy", sizeof buffer);
    __strcat_chk(buffer, "cat", sizeof buffer);
    int written = __sprintf_chk(buffer, 1, sizeof buffer, "%d", 12345);
    written += __snprintf_chk(buffer, sizeof buffer, 1, sizeof buffer, "%s", "four");
    return first + written + __printf_chk(1, "fortified %d\n", 1) + __fprintf_chk(stdout, 1, "%s\n", "f");
}
static volatile int smash_length = 64;
int smash_stack(void) {
    volatile char buffer[16];
    for (int index = 0; index < smash_length; index++) buffer[index] = 'S';
    return buffer[3];
}
int guarded(int value) {
    volatile char buffer[16];
    buffer[value & 15] = (char)value;
    return buffer[value & 15];
}
/* ---- ends */
void call_abort(void) { abort(); }
void call_exit(int status) { exit(status); }
void failed_assertion(void) { __assert_fail("1 == 2", "libcuser.c", 42, "failed_assertion"); }
const char *environment(const char *name) { return getenv(name); }
const char *describe_error(int number) { return strerror(number); }
static void at_exit_handler(void) { puts("at exit"); }
int register_at_exit(void) { return atexit(at_exit_handler); }
#if defined(__i386__) && !defined(__clang__)
/* gcc calls the guard through a hidden function that glibc's static part holds, to need no %ebx. */
extern void __stack_chk_fail(void) __attribute__((noreturn));
HIDDEN void __stack_chk_fail_local(void) { __stack_chk_fail(); }
#endif
