#define MODINFO(tag, key, text) \
    static const char modinfo_##tag[] __attribute__((used, section(".modinfo"), aligned(1))) = key "=" text
MODINFO(name, "name", "tiny");
MODINFO(license, "license", "GPL");
MODINFO(depends, "depends", "first,second");
MODINFO(vermagic, "vermagic", "6.1.0 SMP mod_unload");
MODINFO(author, "author", "Somebody");
MODINFO(author2, "author", "Somebody else");
MODINFO(parm, "parmtype", "level:int");

/* As modpost writes it: what the kernel finds a module's functions by. */
struct module {
    int state;
    char name[56];
    int (*init)(void);
    void (*exit)(void);
};
extern int init_module(void);
extern void cleanup_module(void);
struct module __this_module __attribute__((section(".gnu.linkonce.this_module"))) = {
    .name = "tiny", .init = init_module, .exit = cleanup_module,
};

struct modversion_info {
    unsigned long crc;
    char name[64 - sizeof(unsigned long)];
};
static const struct modversion_info versions[] __attribute__((used, section("__versions"))) = {
    { 0x12345678, "_printk" }, { 0xfedcba98, "module_layout" },
};

struct kernel_symbol { unsigned long value; const char *name; const char *name_space; };
extern int _printk(const char *format, ...);
extern void *kernel_alloc(unsigned long size);
extern unsigned long jiffies;
extern struct module *try_module_get(struct module *module);
static int *count;
int level = 3;

int tiny_count(void) { return *count; }
static const char name_tiny_count[] __attribute__((section("__ksymtab_strings"))) = "tiny_count";
const struct kernel_symbol __ksymtab_tiny_count __attribute__((used, section("___ksymtab_gpl+tiny_count"))) = {
    (unsigned long)&tiny_count, name_tiny_count, 0,
};

static int __attribute__((noinline, section(".init.text"))) tiny_init(void)
{
    count = kernel_alloc(sizeof *count);
    if (!count)
        return -12;
    *count = level + (int)jiffies;
    _printk("tiny: %d\n", *count);
    return try_module_get(&__this_module) == &__this_module ? 0 : -22;
}
int init_module(void) __attribute__((alias("tiny_init")));
static void __attribute__((noinline, section(".exit.text"))) tiny_exit(void) { *count = -1; }
void cleanup_module(void) __attribute__((alias("tiny_exit")));
