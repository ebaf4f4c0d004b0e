/* <search.h>: binary trees (POSIX leaves their balance open: these are plain), hash tables, and queues. */
#include "types.h"

extern void *calloc(size, size);
extern void free(void *);
extern int strcmp(const char *, const char *), *__errno_location(void);

typedef struct node { const void *key; struct node *left, *right; } node;
typedef int compare(const void *, const void *);

static node **place(const void *key, node **at, compare *order) {
    while (*at) {
        int way = order(key, (*at)->key);
        if (!way)
            break;
        at = way < 0 ? &(*at)->left : &(*at)->right;
    }
    return at;
}

void *tsearch(const void *key, void **root, compare *order) {
    if (!root)
        return 0;
    node **at = place(key, (node **)root, order);
    if (!*at && (*at = calloc(1, sizeof **at)))
        (*at)->key = key;
    return *at;
}

void *tfind(const void *key, void *const *root, compare *order) {
    return root ? *place(key, (node **)root, order) : 0;
}

void *tdelete(const void *key, void **root, compare *order) {
    node **at = (node **)root, *parent = 0;
    if (!root)
        return 0;
    for (int way; *at && (way = order(key, (*at)->key)); at = way < 0 ? &(*at)->left : &(*at)->right)
        parent = *at;
    if (!*at)
        return 0;
    node *gone = *at;
    if (gone->left && gone->right) {
        node **least = &gone->right;
        while ((*least)->left)
            least = &(*least)->left;
        node *heir = *least;
        *least = heir->right;
        heir->left = gone->left, heir->right = gone->right;
        *at = heir;
    } else
        *at = gone->left ? gone->left : gone->right;
    free(gone);
    return parent ? (void *)parent : (void *)root;
}

enum { PREORDER, POSTORDER, ENDORDER, LEAF };

static void walk(const node *at, void (*act)(const void *, int, int), int level) {
    if (!at->left && !at->right) {
        act(at, LEAF, level);
        return;
    }
    act(at, PREORDER, level);
    if (at->left)
        walk(at->left, act, level + 1);
    act(at, POSTORDER, level);
    if (at->right)
        walk(at->right, act, level + 1);
    act(at, ENDORDER, level);
}

void twalk(const void *root, void (*act)(const void *, int, int)) {
    if (root && act)
        walk(root, act, 0);
}

void tdestroy(void *root, void (*release)(void *)) {
    node *at = root;
    while (at) { /* the left child is turned up, so that no recursion is needed */
        if (at->left) {
            node *left = at->left;
            at->left = left->right;
            left->right = at;
            at = left;
        } else {
            node *right = at->right;
            release((void *)at->key);
            free(at);
            at = right;
        }
    }
}

typedef struct { char *key; void *data; } entry;
struct hsearch_data { entry *table; unsigned size, filled; };
static struct hsearch_data global;

static unsigned hash_of(const char *key) {
    u32 hash = 2166136261u;
    for (; *key; key++)
        hash = (hash ^ (u8)*key) * 16777619u;
    return hash;
}

enum { ESRCH = 3, ENOMEM = 12, EINVAL = 22 };

static int failed(int error) {
    *__errno_location() = error;
    return 0;
}

int hcreate_r(size count, struct hsearch_data *table) {
    unsigned n = 3;
    if (!table)
        return failed(EINVAL);
    if (table->table)
        return 0;
    if (count >= 1u << 27) /* in bytes, no object of a 32-bit ISA */
        return failed(ENOMEM);
    while (n < count)
        n = n * 2 + 1;
    if (!(table->table = calloc(n, sizeof(entry))))
        return failed(ENOMEM);
    table->size = n, table->filled = 0;
    return 1;
}

int hsearch_r(entry item, int action, entry **result, struct hsearch_data *table) {
    unsigned at = hash_of(item.key) % table->size;
    for (unsigned seen = 0; seen < table->size; seen++, at = (at + 1) % table->size) {
        entry *slot = &table->table[at];
        if (!slot->key) {
            if (action != 1) { /* ENTER */
                *result = 0;
                return failed(ESRCH);
            }
            *slot = item;
            table->filled++;
            *result = slot;
            return 1;
        }
        if (!strcmp(slot->key, item.key)) {
            *result = slot;
            return 1;
        }
    }
    *result = 0;
    return failed(action == 1 ? ENOMEM : ESRCH);
}

void hdestroy_r(struct hsearch_data *table) {
    free(table->table);
    table->table = 0;
}

int hcreate(size count) { return hcreate_r(count, &global); }
void hdestroy(void) { hdestroy_r(&global); }
entry *hsearch(entry item, int action) {
    entry *result;
    return hsearch_r(item, action, &result, &global) ? result : 0;
}

typedef struct link { struct link *next, *previous; } link;

void insque(void *element, void *before) {
    link *e = element, *b = before;
    e->previous = b;
    e->next = b ? b->next : 0;
    if (b)
        b->next = e;
    if (e->next)
        e->next->previous = e;
}

void remque(void *element) {
    link *e = element;
    if (e->next)
        e->next->previous = e->previous;
    if (e->previous)
        e->previous->next = e->next;
}
