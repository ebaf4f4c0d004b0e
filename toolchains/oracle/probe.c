/* What a real dynamic linker has done, told from inside the process: a library to preload.

   Its constructor runs when everything the program started with is relocated and (but for the program) has run
   its constructors. It reads orders from the environment (ORACLE, one a line, words separated by spaces):

       open PATH              dlopen(PATH, RTLD_NOW | RTLD_GLOBAL); a refusal is told, and ends it
       lazy PATH              the same with RTLD_LAZY
       name SYMBOL VERSION    where the global scope has SYMBOL (VERSION "-": the default one)
       dump PREFIX            the memory of every module whose path starts so ("-": the program itself)
       descriptor PREFIX OFF  the two words the second word of a TLS descriptor points to
       call SYMBOL ARGUMENT…  call it with up to three integers
   and answers on standard output, in the same order; then it ends the process. The answers to `dump` are
   segments as bytes; numbers are hexadecimal. No header is included, so that any cross compiler will do. */

typedef __UINTPTR_TYPE__ word;
typedef unsigned short half;
typedef unsigned int u32;

struct phdr { /* gABI, "Program header" */
#if __SIZEOF_POINTER__ == 8
    u32 type, flags;
    word offset, vaddr, paddr, filesz, memsz, align;
#else
    u32 type;
    word offset, vaddr, paddr, filesz, memsz;
    u32 flags;
    word align;
#endif
};
struct module { /* struct dl_phdr_info, dl_iterate_phdr(3) */
    word base;
    const char *name;
    const struct phdr *headers;
    half count;
    unsigned long long added, removed;
    word tls_module;
    void *tls_block;
};

enum { PT_LOAD = 1, RTLD_LAZY = 1, RTLD_NOW = 2, RTLD_GLOBAL = 0x100, LINE = 4096 };
#define RTLD_DEFAULT ((void *)0)

extern int dl_iterate_phdr(int (*each)(struct module *, word, void *), void *);
extern void *dlopen(const char *, int), *dlsym(void *, const char *);
extern void *dlvsym(void *, const char *, const char *) __attribute__((weak)); /* musl has no versions */
extern char *dlerror(void), *getenv(const char *), *strchr(const char *, int);
extern char *strtok_r(char *, const char *, char **);
extern int strncmp(const char *, const char *, word), strcmp(const char *, const char *);
extern word strlen(const char *), strtoul(const char *, char **, int);
extern int dprintf(int, const char *, ...);
extern long write(int, const void *, word);
extern void _exit(int) __attribute__((noreturn));
extern void *__tls_get_addr(word index[2]);

#if defined(__arm__)
#define ARGUMENT 0
#else
#define ARGUMENT 1
#endif
#define FAR ((word)1 << 20)

#if defined(__riscv)
#define DTV_BIAS 0x800 /* RISC-V psABI, "Thread Local Storage": offsets are from 0x800 into the block */
#else
#define DTV_BIAS 0
#endif

static void tell(const void *data, word size) {
    const char *at = data;
    while (size) {
        long done = write(1, at, size);
        if (done <= 0) _exit(3);
        at += done;
        size -= (word)done;
    }
}

/* The program has no name here; "-" is what orders call it. */
static int is_meant(const struct module *module, const char *prefix) {
    if (!strcmp(prefix, "-")) return module->name == 0 || !*module->name;
    return module->name && !strncmp(module->name, prefix, strlen(prefix));
}

static int tell_module(struct module *module, word size, void *unused) {
    word low = ~(word)0, high = 0, block = 0, index[2] = {module->tls_module, (word)0 - DTV_BIAS};
    for (int n = 0; n < module->count; n++) {
        const struct phdr *segment = &module->headers[n];
        if (segment->type != PT_LOAD) continue;
        if (segment->vaddr < low) low = segment->vaddr;
        if (segment->vaddr + segment->memsz > high) high = segment->vaddr + segment->memsz;
    }
    if (module->tls_module) block = (word)__tls_get_addr(index);
    dprintf(1, "module %lx %lx %lx %lx %lx %s\n", (long)module->base, (long)low, (long)high,
            (long)module->tls_module, (long)block, module->name && *module->name ? module->name : "-");
    return 0;
}

static int dump(struct module *module, word size, void *prefix) {
    if (!is_meant(module, prefix)) return 0;
    for (int n = 0; n < module->count; n++) {
        const struct phdr *segment = &module->headers[n];
        if (segment->type != PT_LOAD || !segment->memsz) continue;
        dprintf(1, "memory %lx %lx %s\n", (long)segment->vaddr, (long)segment->memsz,
                module->name && *module->name ? module->name : "-");
        tell((const void *)(module->base + segment->vaddr), segment->memsz);
        tell("\n", 1);
    }
    return 0;
}

struct descriptor {
    const char *prefix;
    word offset;
};

static int tell_descriptor(struct module *module, word size, void *data) {
    const struct descriptor *wanted = data;
    if (!is_meant(module, wanted->prefix)) return 0;
    const word *pair = (const word *)(module->base + wanted->offset);
    /* A small argument is an offset from the thread pointer and no pointer. On Arm it is the first word. */
    const word argument = pair[ARGUMENT];
    if (argument + FAR < 2 * FAR) return 1;
    const word *index = (const word *)argument;
    dprintf(1, "descriptor %lx %lx %lx %s\n", (long)wanted->offset, (long)index[0], (long)index[1], wanted->prefix);
    return 1;
}

static void *find(const char *name, const char *version) {
    if (!version || !strcmp(version, "-") || !dlvsym) return dlsym(RTLD_DEFAULT, name);
    return dlvsym(RTLD_DEFAULT, name, version);
}

static void call(void *handle, const char *name, char **rest) {
    long arguments[3] = {0, 0, 0};
    for (int n = 0; n < 3; n++) {
        const char *text = strtok_r(0, " ", rest);
        if (text) arguments[n] = (long)strtoul(text, 0, 0);
    }
    void *found = handle ? dlsym(handle, name) : 0;
    if (!found) found = dlsym(RTLD_DEFAULT, name);
    if (!found) {
        dprintf(1, "absent %s\n", name);
        return;
    }
    word (*function)(long, long, long) = (word(*)(long, long, long))found;
    dprintf(1, "result %lx %s\n", (long)function(arguments[0], arguments[1], arguments[2]), name);
}

static void obey(char *line, void **handle) {
    char *rest = 0, *order = strtok_r(line, " ", &rest), *first = strtok_r(0, " ", &rest);
    if (!order || !first) return;
    if (!strcmp(order, "open") || !strcmp(order, "lazy")) {
        *handle = dlopen(first, (*order == 'o' ? RTLD_NOW : RTLD_LAZY) | RTLD_GLOBAL);
        if (!*handle) {
            dprintf(1, "refused %s\n", dlerror());
            _exit(0);
        }
    } else if (!strcmp(order, "name")) {
        const char *version = strtok_r(0, " ", &rest);
        dprintf(1, "name %lx %s\n", (long)find(first, version), first);
    } else if (!strcmp(order, "modules")) {
        dprintf(1, "thread %lx\n", (long)__builtin_thread_pointer());
        dl_iterate_phdr(tell_module, 0);
    } else if (!strcmp(order, "dump")) {
        dl_iterate_phdr(dump, first);
    } else if (!strcmp(order, "descriptor")) {
        struct descriptor wanted = {first, strtoul(strtok_r(0, " ", &rest), 0, 16)};
        dl_iterate_phdr(tell_descriptor, &wanted);
    } else if (!strcmp(order, "call")) {
        call(*handle, first, &rest);
    }
}

__attribute__((constructor)) static void answer(void) {
    static char line[LINE];
    void *handle = 0;
    const char *at = getenv("ORACLE");
    while (at && *at) {
        const char *end = strchr(at, '\n');
        word size = end ? (word)(end - at) : strlen(at);
        if (size >= LINE) _exit(4);
        for (word n = 0; n < size; n++) line[n] = at[n];
        line[size] = 0;
        obey(line, &handle);
        at += size + (end != 0);
    }
    dprintf(1, "end\n");
    _exit(0);
}
