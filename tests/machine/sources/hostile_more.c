/* Further guests that misbehave: each is to end in an answer or a typed error, within its limits. */
typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;
void *malloc(size_t), *calloc(size_t, size_t), *realloc(void *, size_t), free(void *), *aligned_alloc(size_t, size_t);
void *memset(void *, int, size_t); void *memcpy(void*,const void*,size_t);
void *memmem(const void *, size_t, const void *, size_t);
int snprintf(char *, size_t, const char *, ...), sscanf(const char *, const char *, ...), printf(const char *, ...), asprintf(char **, const char *, ...), dprintf(int,const char*,...);
size_t strftime(char *, size_t, const char *, const void *), strlen(const char *);
char *strstr(const char *, const char *), *strcasestr(const char *, const char *), *strpbrk(const char*,const char*);
size_t strspn(const char*,const char*), strcspn(const char*,const char*);
int strverscmp(const char*, const char*), strcoll(const char*,const char*);
long strtol(const char *, char **, int); double strtod(const char *, char **);
int open(const char *, int, ...), close(int), dup(int), pipe(int *), poll(void *, unsigned long, int), fork(void), getpid(void), raise(int), atexit(void (*)(void));
long read(int, void *, size_t), write(int, const void *, size_t), sendfile(int,int,long*,size_t);
void *mmap(void *, size_t, int, int, int, long), *mremap(void *, size_t, size_t, int, ...);
int munmap(void *, size_t), mprotect(void *, size_t, int);
void *signal(int, void *); int sigaction(int, const void *, void *);
int setjmp(void *); void longjmp(void *, int);
void *dlopen(const char *, int), *dlsym(void *, const char *); int dlclose(void *);
void qsort(void *, size_t, size_t, int (*)(const void *, const void *)); void *bsearch(const void*,const void*,size_t,size_t,int(*)(const void*,const void*));
int pthread_create(void *, const void *, void *(*)(void *), void *), pthread_join(uintptr_t, void *), pthread_mutex_lock(void *), pthread_once(void*, void(*)(void));
int pthread_cond_wait(void*,void*); int pthread_key_create(void*,void(*)(void*)); int pthread_setspecific(unsigned,const void*);
unsigned sleep(unsigned), alarm(unsigned); int usleep(unsigned); int nanosleep(const void*,void*); long syscall(long, ...);
int setenv(const char *, const char *, int); char *getenv(const char *); int putenv(char *);
size_t iconv(void *, char **, size_t *, char **, size_t *); void *iconv_open(const char *, const char *);
char *realpath(const char *, char *); int mkdir(const char *, unsigned), symlink(const char *, const char *); int chdir(const char*);
void *fopen(const char *, const char *), *opendir(const char *), *readdir(void *); long getline(char **, size_t *, void *); int fclose(void*); int fseek(void*,long,int); size_t fwrite(const void*,size_t,size_t,void*); int setvbuf(void*,char*,int,size_t);
void *sbrk(long); int ungetc(int, void *); void exit(int), abort(void); int system(const char *); int ftruncate(int,long); long pwrite(int,const void*,size_t,long);
int wait(int*); int dl_iterate_phdr(int (*)(void *, size_t, void *), void *);
int getrandom(void*,size_t,unsigned); int fputs(const char*,void*); int vsnprintf(char*,size_t,const char*,__builtin_va_list);
size_t mbstowcs(void*,const char*,size_t); void lsearch(const void*,void*,size_t*,size_t,int(*)(const void*,const void*));
static char room[1 << 16]; static uintptr_t jb[512], jb2[512]; static int fds[2];

int width_max(void) { return snprintf(room, 10, "%2147483647d", 1); }
int width_over(void) { return snprintf(room, 10, "%2147483648d", 1); }
int width_star(void) { return snprintf(room, 10, "%*d", 2147483647, 1); }
int width_negative(void) { return snprintf(room, 10, "%*d", (int)0x80000000, 1); }
int precision_max(void) { return snprintf(room, 10, "%.2147483647f", 1.0); }
int precision_e(void) { return snprintf(room, 10, "%.2000000000e", 1.1); }
int precision_g(void) { return snprintf(room, 10, "%.500000000La", 1.1L); }
int width_out(void) { return printf("%2000000000s", ""); }
int width_asprintf(void) { char *p; return asprintf(&p, "%1500000000s", ""); }
int width_loop(void) { for (;;) snprintf(room, 10, "%30000000d", 1); }
int n_far(void) { return snprintf(room, 10, "abc%n", (int *)8); }
int n_position(void) { int n; return snprintf(room, 10, "%2$d %1$n", &n, 5); }
int n_const(void) { static const int k = 1; return snprintf(room, 10, "abc%n", (int *)&k); }
int position_bomb(void) { int i = 0; for (; i < 60000; i += 6) memcpy(room + i, "%9999d$"+0, 6), room[i+5]='$'; room[60000]=0; return snprintf(jb2, 10, room, 1, 2); }
int many_formats(void) { int i; for (i = 0; i < 65000; i += 2) room[i] = '%', room[i + 1] = 'd'; room[i] = 0; return snprintf(0, 0, room, 1, 2, 3); }
int scan_width(void) { return sscanf("1234", "%2147483647c", room); }
int scan_set(void) { memset(room, 'a', 65000); room[0]='%'; room[1]='['; room[65000]=0; return sscanf("aaaa", room, jb2); }
int scan_ms(void) { char *p; size_t n = 8 << 20; char *s = malloc(n + 1); memset(s, 'x', n); s[n] = 0; for (;;) { sscanf(s, "%ms", &p); } }
int time_bomb(void) { int tm[16] = {0}; size_t n = 4 << 20; char *f = malloc(n + 1), *o = malloc(64 << 20); for (size_t i = 0; i < n; i += 2) f[i] = '%', f[i + 1] = 'c'; f[n] = 0; for (;;) strftime(o, 64 << 20, f, tm); }
int time_fields(void) { int tm[16]; for (int i = 0; i < 16; i++) tm[i] = 0x7fffffff; return strftime(room, 1000, "%c %x %X %j %U %G %s %Ey %Od %999999999Y %+", tm); }
int realloc_loop(void) { char *p = 0; size_t n = 1; for (;;) { char *q = realloc(p, n += 1 << 20); if (!q) { n = 1; free(p); p = 0; } else { p = q; p[n - 1] = 1; } } }
int realloc_grow(void) { char *p = 0; for (size_t n = 1; ; n++) p = realloc(p, n); }
int mmap_loop(void) { for (;;) { char *p = mmap(0, 1 << 20, 3, 0x22, -1, 0); if (p == (void *)-1) return 1; p[0] = 1; munmap(p, 1 << 20); } }
int mmap_many(void) { int i; for (i = 0; mmap(0, 4096, i & 3, 0x22, -1, 0) != (void *)-1; i++); return i > 100; }
int mremap_grow(void) { char *p = mmap(0, 4096, 3, 0x22, -1, 0); size_t n = 4096; for (;;) { char *q = mremap(p, n, n * 2, 1); if (q == (void *)-1) return 1; p = q; n *= 2; } }
int protect_loop(void) { char *p = mmap(0, 1 << 24, 3, 0x22, -1, 0); for (int i = 0;; i++) mprotect(p + 4096 * (i % 4096), 4096, i & 1 ? 3 : 1); }
int align_huge(void) { void *p = aligned_alloc((size_t)1 << (sizeof(size_t) * 8 - 2), 16); return p != 0; }
int align_big(void) { int n = 0; while (aligned_alloc(1 << 26, 16)) n++; return n; }
int calloc_overflow(void) { return calloc((size_t)-1 / 2, 4) != 0; }
int sbrk_far(void) { return sbrk((long)((size_t)-1 / 2)) != (void *)-1; }
int sbrk_back(void) { return sbrk(-(1L << 30)) != (void *)-1; }
int fork_bomb(void) { for (;;) fork(); }
static int deep(const void *a, const void *b) { char t[2] = {2, 1}; qsort(t, 2, 1, deep); return 0; }
int sort_deep2(void) { char t[2] = {2, 1}; qsort(t, 2, 1, deep); return 1; }
static void once_again(void); static int once_word; static void once_again(void) { int w = 0; pthread_once(&w, once_again); }
int once_deep(void) { pthread_once(&once_word, once_again); return 1; }
static int jump_out(const void *a, const void *b) { longjmp(jb, 3); }
int jump_out_of_sort(void) { volatile int n = 0; if (setjmp(jb)) if (n++ > 2000) return n; char t[4] = {4, 3, 2, 1}; qsort(t, 4, 1, jump_out); return -1; }
static int jump_deep(const void *a, const void *b) { static int d; char t[2] = {2, 1}; if (++d % 20 == 0) longjmp(jb, 1); qsort(t, 2, 1, jump_deep); return 0; }
int jump_out_deep(void) { volatile int n = 0; if (setjmp(jb)) if (n++ > 50) return n; char t[2] = {2, 1}; qsort(t, 2, 1, jump_deep); return -1; }
static int stay(const void *a, const void *b) { for (;;) __asm__ volatile("" ::: "memory"); }
int callback_stays(void) { char t[2] = {2, 1}; qsort(t, 2, 1, stay); return 1; }
int search_wrong(void) { char t[100]; for (;;) bsearch(t, t, (size_t)-1 / 2, 1, jump_deep == 0 ? 0 : (int (*)(const void *, const void *))getpid); }
static void dead_frame(void) { setjmp(jb2); }
int jump_dead(void) { dead_frame(); longjmp(jb2, 1); }
int close_all(void) { for (int i = -1; i < 2000; i++) close(i); printf("x"); return write(1, "x", 1); }
int dup_all(void) { int n = 0; while (dup(1) >= 0) n++; return n; }
static void none(void) {} 
int atexit_many(void) { int n; for (n = 0; atexit(none) == 0; n++); return n > 10; }
static void handle(int n) { raise(n); }
int signal_loop(void) { signal(10, handle); raise(10); return 1; }
int signal_segv(void) { signal(11, handle); *(volatile int *)8 = 1; return 1; }
static void back(int n) { longjmp(jb, 1); }
int signal_jump(void) { signal(10, back); volatile int n = 0; if (setjmp(jb)) n++; if (n > 3000) return n; raise(10); return -1; }
int alarm_wait(void) { alarm(1000000); for (;;) sleep(1000000); }
int nap_loop(void) { for (;;) usleep(1); }
int nap_far(void) { long t[4] = {0x7fffffff, 0, 0, 0}; return nanosleep(t, 0); }
int poll_ever(void) { return poll(0, 0, -1); }
int poll_many(void) { return poll(room, 1UL << 30, 0); }
int lock_twice(void) { uintptr_t m[16] = {0}; pthread_mutex_lock(m); pthread_mutex_lock(m); return 1; }
int wait_cond(void) { uintptr_t m[16] = {0}, c[16] = {0}; pthread_mutex_lock(m); pthread_cond_wait(c, m); return 1; }
static void *worker(void *p) { for (;;) __asm__ volatile("" ::: "memory"); }
int thread_spins(void) { uintptr_t t; pthread_create(&t, 0, worker, 0); pthread_join(t, 0); return 1; }
static void *breed(void *p) { uintptr_t t; pthread_create(&t, 0, breed, 0); return 0; }
int thread_bomb(void) { uintptr_t t; for (int i = 0; i < 100000; i++) if (pthread_create(&t, 0, breed, 0)) return i; return -1; }
static void key_again(void *p) { pthread_setspecific(*(unsigned *)room, p); }
static void *with_key(void *p) { pthread_setspecific(*(unsigned *)room, room); return 0; }
int key_loop(void) { uintptr_t t; pthread_key_create(room, key_again); pthread_create(&t, 0, with_key, 0); pthread_join(t, 0); return 1; }
int dlopen_loop(void) { for (;;) dlclose(dlopen("libc.so.6", 2)); }
int dlopen_names(void) { for (int i = 0;; i++) { snprintf(room, 100, "lib%d.so", i); dlopen(room, 2); } }
int dlopen_long(void) { memset(room, '/', 65000); room[65000] = 0; for (;;) dlopen(room, 2); }
int dlsym_loop(void) { for (int i = 0;; i++) { snprintf(room, 100, "sym%d", i); dlsym(0, room); } }
static int phdr(void *a, size_t n, void *b) { return dl_iterate_phdr(phdr, b); }
int phdr_deep(void) { return dl_iterate_phdr(phdr, 0); }
int needle(void) { size_t n = 8 << 20; char *h = malloc(n + 1), *d = malloc(n / 2 + 1); memset(h, 'a', n); h[n] = 0; memset(d, 'a', n / 2); d[n / 2 - 1] = 'b'; d[n / 2] = 0; return strstr(h, d) != 0; }
int needle_loop(void) { size_t n = 8 << 20; char *h = malloc(n + 1); memset(h, 'a', n); h[n] = 0; for (;;) strcasestr(h, "aaaaaaaaaaaaaaaab"); }
int span_loop(void) { size_t n = 8 << 20; char *h = malloc(n + 1); memset(h, 'a', n); h[n] = 0; for (;;) { strspn(h, "bcda"); strcspn(h, "xyz"); strpbrk(h, "xyz"); } }
int memmem_far(void) { return memmem(room, (size_t)-1, "xyz", 3) != 0; }
int versions(void) { size_t n = 8 << 20; char *a = malloc(n + 1), *b = malloc(n + 1); memset(a, '1', n); memset(b, '1', n); a[n] = b[n] = 0; for (;;) strverscmp(a, b); }
int collate(void) { size_t n = 8 << 20; char *a = malloc(n + 1), *b = malloc(n + 1); memset(a, '1', n); memset(b, '1', n); a[n] = b[n] = 0; for (;;) strcoll(a, b); }
int digits(void) { size_t n = 16 << 20; char *a = malloc(n + 1); memset(a, '9', n); a[n] = 0; char *e; for (;;) { strtol(a, &e, 10); strtod(a, &e); } }
int digits_hex(void) { size_t n = 16 << 20; char *a = malloc(n + 1); memset(a, 'f', n); a[0] = '0'; a[1] = 'x'; a[n] = 0; char *e; for (;;) strtod(a, &e); }
int convert(void) { void *c = iconv_open("UTF-16", "UTF-8"); size_t n = 8 << 20; char *a = malloc(n), *o = malloc(4 * n); memset(a, 'x', n); for (;;) { char *i = a, *p = o; size_t l = n, r = 4 * n; iconv(c, &i, &l, &p, &r); } }
int convert_far(void) { void *c = iconv_open("UTF-16", "UTF-8"); char *i = room, *p = room; size_t l = (size_t)-1, r = (size_t)-1; return iconv(c, &i, &l, &p, &r); }
int wide_far(void) { return mbstowcs(room, "aaaa", (size_t)-1); }
int env_loop(void) { for (int i = 0;; i++) { snprintf(room, 100, "V%d", i % 50000); if (setenv(room, "v", 1)) return 1; } }
int env_scan(void) { for (int i = 0; i < 3000; i++) { snprintf(room, 100, "V%d", i); setenv(room, "v", 1); } for (;;) getenv("NOT THERE"); }
int links(void) { symlink("/a", "/b"); symlink("/b", "/a"); return open("/a/x", 0) < 0 && realpath("/a", room) == 0; }
int path_deep(void) { for (int i = 0; i < 100000; i++) if (mkdir("d", 0755) || chdir("d")) return i; return -1; }
int path_dots(void) { for (int i = 0; i < 4000; i += 2) room[i] = '.', room[i + 1] = '/'; room[4000] = 0; for (;;) open(room, 0); }
int dir_many(void) { for (int i = 0; i < 200000; i++) { snprintf(room, 100, "/f%d", i); int f = open(room, 0101, 0644); if (f < 0) return i; close(f); } return -1; }
int dir_read(void) { for (;;) { void *d = opendir("/"); while (readdir(d)); } }
int file_far(void) { int f = open("/x", 0102, 0644); for (int i = 0; i < 60; i++) pwrite(f, "x", 1, (1L << (i % (sizeof(long) * 8 - 1)))); return 1; }
int send_self(void) { int f = open("/x", 0102, 0644); write(f, room, 60000); long o = 0; for (;;) { o = 0; if (sendfile(f, f, &o, 1 << 30) <= 0) return 1; } }
int getline_long(void) { int f = open("/x", 0102, 0644); char *p = malloc(1 << 20); memset(p, 'a', 1 << 20); for (int i = 0; i < 16; i++) write(f, p, 1 << 20); char *l = 0; size_t n = 0; void *s = fopen("/x", "r"); return getline(&l, &n, s) > 0; }
int stream_many(void) { int i; for (i = 0; fopen("/dev/null", "w"); i++); return i; }
int buffer_far(void) { void *s = fopen("/x", "w"); setvbuf(s, room, 0, (size_t)-1); return fwrite(room, 1, 60000, s) > 0; }
int unget_flood(void) { void *s = fopen("/file", "r"); int i; for (i = 0; ungetc('x', s) != -1; i++); return i; }
int read_stdin(void) { return read(0, room, 100); }
int zero_read(void) { int f = open("/dev/zero", 0); char *p = malloc(1 << 24); for (;;) if (read(f, p, 1 << 24) <= 0) return 1; }
int random_loop(void) { char *p = malloc(1 << 24); for (;;) getrandom(p, 1 << 24, 0); }
int system_loop(void) { for (int i = 0; i < 1000; i++) system("true"); return 1; }
int exit_in(void) { exit(7); }
static void never(void) { for (;;) __asm__ volatile("" ::: "memory"); }
int exit_handler_stays(void) { atexit(never); exit(1); }
int abort_in(void) { abort(); }
int stack_low(void) { char *p = __builtin_alloca(7 << 20); memset(p, 1, 7 << 20); return p[5]; }
int stack_over(void) { char *p = __builtin_alloca(512 << 20); p[0] = 1; return p[0]; }
static int recurse(int n) { volatile char b[256]; b[0] = n; return recurse(n + 1) + b[0]; }
int recursion(void) { return recurse(0); }
int unmap_all(void) { for (uintptr_t a = 0x1000; a; a <<= 1) munmap((void *)a, a); return 1; }
int unmap_own_code(void) { munmap((void *)((uintptr_t)unmap_all & ~(uintptr_t)4095), 4096); return 1; }
int protect_own_code(void) { mprotect((void *)((uintptr_t)unmap_all & ~(uintptr_t)4095), 4096, 0); return 1; }
int map_over_code(void) { mmap((void *)((uintptr_t)unmap_all & ~(uintptr_t)4095), 4096, 3, 0x32, -1, 0); return 1; }
int map_over_return(void) { void *p = __builtin_return_address(0); mmap((void *)((uintptr_t)p & ~(uintptr_t)4095), 4096, 7, 0x32, -1, 0); munmap((void *)((uintptr_t)p & ~(uintptr_t)4095), 4096); return 1; }
int call_traps(void) { void *p = __builtin_return_address(0); for (int i = 0; i < 64; i++) ((void (*)(void))((uintptr_t)p - 32 * 16 + 16 * i))(); return 1; }
int raw_calls(void) { for (long i = 0; i < 600; i++) if (i != 60 && i != 93 && i != 94 && i != 231 && i != 1 && i != 252) syscall(i, room, room, room, room, room, room); return 1; }
