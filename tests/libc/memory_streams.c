/* fmemopen and open_memstream, compared with the host's. */
#ifdef HOST
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#else
typedef __SIZE_TYPE__ size_t;
typedef void FILE;
typedef struct { long long place, state; } fpos_t;
extern FILE *fmemopen(void *, size_t, const char *), *open_memstream(char **, size_t *);
extern int fprintf(FILE *, const char *, ...), fscanf(FILE *, const char *, ...), fclose(FILE *), fgetc(FILE *);
extern int fseek(FILE *, long, int), fflush(FILE *), feof(FILE *), fputs(const char *, FILE *), ungetc(int, FILE *);
extern int snprintf(char *, size_t, const char *, ...), fgetpos(FILE *, fpos_t *), fsetpos(FILE *, const fpos_t *);
extern long ftell(FILE *);
extern size_t fread(void *, size_t, size_t, FILE *), fwrite(const void *, size_t, size_t, FILE *), strlen(const char *);
extern char *fgets(char *, int, FILE *);
extern void free(void *), *memset(void *, int, size_t);
#endif

static char report[2048];
static void say(const char *what, long a, long b, const char *text) {
    snprintf(report + strlen(report), sizeof report - strlen(report), "%s %ld %ld [%s]\n", what, a, b, text);
}
const char *memory_streams(void) {
    char area[16] = "12 345\nab\0cdef", line[32];
    int a = 0, b = 0;
    fpos_t place;
    report[0] = 0;
    FILE *stream = fmemopen(area, sizeof area, "r");
    fscanf(stream, "%d %d", &a, &b);
    say("read", a, b, "");
    fgetpos(stream, &place);
    a = fgetc(stream), b = fgetc(stream);
    say("bytes", a, b, "");
    fsetpos(stream, &place);
    a = fgetc(stream), b = ungetc('x', stream);
    say("again", a, b, "");
    a = fgetc(stream);
    say("byte", a, ftell(stream), "");
    fseek(stream, 0, 2);
    a = (int)ftell(stream);
    say("end", a, fgetc(stream), "");
    a = feof(stream) != 0;
    say("eof", a, fseek(stream, 17, 0), "");
    fclose(stream);

    memset(area, '#', sizeof area);
    stream = fmemopen(area, sizeof area, "w");
    say("opened", area[0], 0, "");
    say("write", fprintf(stream, "%s-%d", "ten", 10), 0, "");
    fflush(stream);
    say("written", area[6], area[7], area);
    fseek(stream, 1, 0);
    fputs("EN", stream);
    fclose(stream);
    say("moved", area[6], area[7], area);

    stream = fmemopen(area, sizeof area, "a+");
    fputs("!", stream);
    fflush(stream);
    say("appended", ftell(stream), 0, area);
    fclose(stream);
    stream = fmemopen(0, 8, "w+");
    fputs("own", stream);
    fseek(stream, 0, 0);
    memset(line, 0, sizeof line);
    a = (int)fread(line, 1, 3, stream);
    say("own", a, ftell(stream), line);
    fclose(stream);

    memset(area, '#', sizeof area);
    stream = fmemopen(area, 8, "w");
    fwrite("123456789", 1, 9, stream);
    fclose(stream);
    area[15] = 0;
    say("full", 0, 0, area);

    char *text = 0;
    size_t length = 99;
    stream = open_memstream(&text, &length);
    fflush(stream);
    say("empty", (long)length, text != 0, text);
    fprintf(stream, "%04d", 7);
    fflush(stream);
    say("grown", (long)length, ftell(stream), text);
    for (int n = 0; n < 50; n++)
        fprintf(stream, "%d", n % 10);
    fclose(stream);
    say("long", (long)length, text[53], text);
    free(text);
    return report;
}
#ifdef HOST
int main(void) { return fputs(memory_streams(), stdout) < 0; }
#endif
