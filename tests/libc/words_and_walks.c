/* wordexp, scandir and nftw. */
typedef __SIZE_TYPE__ size;
typedef struct { size count; char **words; size offset; } wordexp_t;
typedef struct { int base, level; } place;
extern int wordexp(const char *, wordexp_t *, int), sprintf(char *, const char *, ...), setenv(const char *, const char *, int);
extern void wordfree(wordexp_t *), free(void *);
extern int scandir64(const char *, void ***, int (*)(const void *), int (*)(const void **, const void **));
extern int alphasort64(const void **, const void **), nftw64(const char *, int (*)(const char *, const void *, int, place *), int, int);
extern char *strcat(char *, const char *), *strcpy(char *, const char *);
extern size strlen(const char *);

static char out[1024];
const char *expanded(const char *text, int flags) {
    wordexp_t words = {0};
    setenv("V", "one two", 1), setenv("E", "", 1), setenv("HOME", "/home/me", 1);
    int error = wordexp(text, &words, flags);
    sprintf(out, "%d", error);
    for (size i = 0; !error && i < words.count; i++)
        strcat(strcat(strcat(out, " ["), words.words[i]), "]");
    wordfree(&words);
    return out;
}
static int visible(const void *entry) { return ((const char *)entry)[19] != '.'; }
static int visit(const char *path, const void *status, int kind, place *at) {
    sprintf(out + strlen(out), "%s:%d:%d:%s ", path, kind, at->level, path + at->base);
    return 0;
}
const char *walked(int flags) {
    void **found;
    int count = scandir64("top", &found, visible, alphasort64);
    out[0] = 0;
    for (int i = 0; i < count; i++) {
        strcat(strcat(out, (char *)found[i] + 19), " ");
        free(found[i]);
    }
    free(found);
    sprintf(out + strlen(out), "%d | ", scandir64("none", &found, 0, 0));
    nftw64("top", visit, 20, flags);
    return out;
}
