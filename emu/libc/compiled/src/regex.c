/* <regex.h>: leftmost, longest matches; of a sequence, all but the last part is as long as possible, then all but
   the last two, and so on, as in glibc.

   Sets of positions are bits. `forward` maps positions at which a tree may begin to those at which it may end,
   `backward` the reverse. The match begins at the first position from which the whole may end anywhere, and ends at
   the last it may reach. Within that, each part's place follows from the two sets at its ends. So the time is
   proportional to the length of the text and of the expression, but for repeated groups. Expressions with back
   references are matched by trying, up to a limit (then REG_ESPACE). */
#include "regex.h"

typedef u64 bits;

static bits *fresh(matcher *m) {
    bits *made = m->failed ? 0 : calloc(m->words, sizeof *made);
    if (!made)
        m->failed = 1;
    return made;
}

static int has(const bits *set, int at) { return set[at >> 6] >> (at & 63) & 1; }
static void put(bits *set, int at) { set[at >> 6] |= (bits)1 << (at & 63); }

static int merge(matcher *m, bits *into, const bits *from) {
    int more = 0;
    for (int i = 0; i < m->words; i++) {
        more |= (from[i] & ~into[i]) != 0;
        into[i] |= from[i];
    }
    return more;
}

static int is_word(matcher *m, int at) { return at >= 0 && at < m->length && __relink_regex_word(m->text[at]); }

static int holds(matcher *m, enum kind kind, int at) {
    int before = is_word(m, at - 1), after = is_word(m, at), newline = m->newline;
    switch (kind) {
    case BOL: return (at == 0 && !(m->flags & NOTBOL)) || (newline && at > 0 && m->text[at - 1] == '\n');
    case EOL: return (at == m->length && !(m->flags & NOTEOL)) || (newline && at < m->length && m->text[at] == '\n');
    case BUFFER_START: return at == 0;
    case BUFFER_END: return at == m->length;
    case WORD_EDGE: return before != after;
    case NOT_WORD_EDGE: return before == after;
    case WORD_START: return !before && after;
    case WORD_END: return before && !after;
    default: return 1;
    }
}

static bits *moved(matcher *, int node, const bits *from, int back);

/* From `from` by one SET, or by any number of it. */
static void by_set(matcher *m, const tree *t, const bits *from, bits *to, int back, int many) {
    if (many)
        merge(m, to, from);
    const bits *source = many ? to : from;
    if (!back) {
        for (int at = m->low; at < m->stop; at++)
            if (has(source, at) && HAS(t->set, m->text[at]))
                put(to, at + 1);
    } else
        for (int at = m->stop; at > m->low; at--)
            if (has(source, at) && HAS(t->set, m->text[at - 1]))
                put(to, at - 1);
}

static bits *repeated(matcher *m, const tree *t, int least, int most, const bits *from, int back) {
    const tree *what = m->program->trees + t->left;
    bits *now = fresh(m), *all;
    if (m->failed)
        return now;
    merge(m, now, from);
    for (int i = 0; i < least && !m->failed; i++) {
        bits *next = moved(m, t->left, now, back);
        free(now);
        now = next;
    }
    if (m->failed || !(all = fresh(m)))
        return now;
    if (what->kind == SET && most == INFINITE)
        by_set(m, what, now, all, back, 1);
    else {
        merge(m, all, now);
        for (int i = least; (most == INFINITE || i < most) && !m->failed; i++) {
            bits *next = moved(m, t->left, now, back);
            int more = !m->failed && merge(m, all, next);
            free(now);
            now = next;
            if (!more)
                break;
        }
    }
    free(now);
    return all;
}

static bits *moved(matcher *m, int node, const bits *from, int back) {
    const tree *t = m->program->trees + node;
    if (t->kind == GROUP)
        return moved(m, t->left, from, back);
    if (t->kind == REPEAT)
        return repeated(m, t, t->least, t->most, from, back);
    if (t->kind == CAT) {
        bits *middle = moved(m, back ? t->right : t->left, from, back);
        bits *end = m->failed ? 0 : moved(m, back ? t->left : t->right, middle, back);
        free(middle);
        return end;
    }
    if (t->kind == ALT) {
        bits *one = moved(m, t->left, from, back), *other = m->failed ? 0 : moved(m, t->right, from, back);
        if (!m->failed)
            merge(m, one, other);
        free(other);
        return one;
    }
    bits *to = fresh(m);
    if (m->failed)
        return to;
    if (t->kind == SET)
        by_set(m, t, from, to, back, 0);
    else
        for (int at = m->low; at <= m->stop; at++)
            if (has(from, at) && holds(m, t->kind, at))
                put(to, at);
    return to;
}

static bits *only(matcher *m, int at) {
    bits *made = fresh(m);
    if (made)
        put(made, at);
    return made;
}

static int last_of_both(const bits *one, const bits *other, int low, int high) {
    for (int at = high; at >= low; at--)
        if (has(one, at) && has(other, at))
            return at;
    return -1;
}

static void assign(matcher *, int node, int start, int end);

/* The iterations of a repetition, from left to right, each as long as possible. */
static void assign_repeat(matcher *m, const tree *t, int start, int end) {
    int least = t->least, most = t->most;
    do {
        int left_least = least > 0 ? least - 1 : 0, left_most = most == INFINITE ? INFINITE : most - 1;
        bits *from = only(m, start), *to = only(m, end);
        bits *ends = m->failed ? 0 : moved(m, t->left, from, 0);
        bits *rests = m->failed ? 0 : repeated(m, t, left_least, left_most, to, 1);
        int middle = m->failed ? -1 : last_of_both(ends, rests, start, end);
        free(from), free(to), free(ends), free(rests);
        if (middle < 0 || (middle == start && start < end && least == 0))
            return;
        assign(m, t->left, start, middle);
        if (middle == start && left_least == 0)
            return;
        start = middle, least = left_least, most = left_most;
    } while (start < end && most != 0 && !m->failed);
}

static void assign(matcher *m, int node, int start, int end) {
    const tree *t = m->program->trees + node;
    while (!m->failed) {
        if (t->kind == GROUP) {
            m->groups[t->right] = (range){start, end};
            t = m->program->trees + t->left;
        } else if (t->kind == ALT) {
            bits *from = only(m, start), *ends = m->failed ? 0 : moved(m, t->left, from, 0);
            int first = !m->failed && has(ends, end);
            free(from), free(ends);
            t = m->program->trees + (first ? t->left : t->right);
        } else if (t->kind == CAT) {
            bits *from = only(m, start), *to = only(m, end);
            bits *ends = m->failed ? 0 : moved(m, t->left, from, 0), *starts = m->failed ? 0 : moved(m, t->right, to, 1);
            int middle = m->failed ? -1 : last_of_both(ends, starts, start, end);
            free(from), free(to), free(ends), free(starts);
            if (middle < 0)
                return;
            assign(m, t->left, start, middle);
            t = m->program->trees + t->right, start = middle;
        } else {
            if (t->kind == REPEAT)
                assign_repeat(m, t, start, end);
            return;
        }
    }
}

/* ---- with back references: what follows a tree is a list of what is left to do */

typedef struct rest { const struct rest *next; int node, least, most, start, group; } rest;
enum { CLOSE = -2, MOST_STEPS = 4000000 };

typedef struct { range *best; int groups; } found;

static void try(matcher *m, const rest *todo, int at, found *f) {
    if (m->failed || ++m->steps > MOST_STEPS) {
        m->failed = 1;
        return;
    }
    if (!todo) {
        if (at > f->best[0].end) {
            for (int i = 1; i <= f->groups; i++)
                f->best[i] = m->groups[i];
            f->best[0].end = at;
        }
        return;
    }
    if (todo->node == CLOSE) {
        range before = m->groups[todo->group];
        m->groups[todo->group] = (range){todo->start, at};
        try(m, todo->next, at, f);
        m->groups[todo->group] = before;
        return;
    }
    const tree *t = m->program->trees + todo->node;
    rest one = {.next = todo->next, .node = t->left}, two = {.next = todo->next, .node = t->right};
    int least = todo->least, most = todo->most;
    switch (t->kind) {
    case SET:
        if (at < m->stop && HAS(t->set, m->text[at]))
            try(m, todo->next, at + 1, f);
        return;
    case CAT:
        one.next = &two;
        try(m, &one, at, f);
        return;
    case ALT:
        try(m, &one, at, f);
        try(m, &two, at, f);
        return;
    case GROUP:
        two.node = CLOSE, two.group = t->right, two.start = at, one.next = &two;
        try(m, &one, at, f);
        return;
    case REPEAT:
        if (!todo->group) /* not begun */
            least = t->least, most = t->most;
        else if (todo->start == at && least <= 0 && todo->group > 1)
            return try(m, todo->next, at, f);
        if (most != 0) {
            two.node = todo->node, two.group = 1 + (least <= 0), two.start = at;
            two.least = least > 0 ? least - 1 : 0, two.most = most == INFINITE ? INFINITE : most - 1;
            one.next = &two;
            try(m, &one, at, f);
        }
        if (least <= 0)
            try(m, todo->next, at, f);
        return;
    case BACKREF: {
        range group = m->groups[t->right];
        int length = group.end - group.start;
        if (group.start < 0 || at + length > m->stop)
            return;
        for (int i = 0; i < length; i++) {
            int a = m->text[group.start + i], b = m->text[at + i];
            if (m->program->syntax & ICASE) {
                a += a >= 'A' && a <= 'Z' ? 32 : 0;
                b += b >= 'A' && b <= 'Z' ? 32 : 0;
            }
            if (a != b)
                return;
        }
        try(m, todo->next, at + length, f);
        return;
    }
    default:
        if (holds(m, t->kind, at))
            try(m, todo->next, at, f);
    }
}

static int search_trying(matcher *m) {
    int groups = m->program->groups, step = m->last < m->start ? -1 : 1;
    range *best = m->groups + groups + 1;
    found f = {best, groups};
    rest todo = {.node = m->program->root};
    for (int start = m->start;; start += step) {
        for (int i = 0; i <= groups; i++)
            m->groups[i] = best[i] = (range){-1, -1};
        if (start <= m->stop)
            try(m, &todo, start, &f);
        if (m->failed)
            return ESPACE;
        if (best[0].end >= 0) {
            best[0].start = start;
            for (int i = 0; i <= groups; i++)
                m->groups[i] = best[i];
            return OK;
        }
        if (start == m->last)
            return NOMATCH;
    }
}

/* The first position to begin at from which the whole may end anywhere, or -1. */
static int find_start(matcher *m) {
    if (m->start == m->last)
        return m->start;
    bits *every = fresh(m), *starts;
    for (int i = 0; i < m->words && every; i++)
        every[i] = ~(bits)0;
    if (every && (m->stop + 1) & 63)
        every[m->words - 1] = ((bits)1 << ((m->stop + 1) & 63)) - 1;
    starts = m->failed ? 0 : moved(m, m->program->root, every, 1);
    int step = m->last < m->start ? -1 : 1, found = -1;
    for (int at = m->start; !m->failed && found < 0; at += step) {
        if (at <= m->stop && has(starts, at))
            found = at;
        if (at == m->last)
            break;
    }
    free(every), free(starts);
    return found;
}

int __relink_regex_search(matcher *m, int with_groups) {
    for (int i = 0; i < 2 * (m->program->groups + 1); i++)
        m->groups[i] = (range){-1, -1};
    m->low = m->last < m->start ? m->last : m->start;
    m->words = (m->stop + 64) >> 6;
    if (m->low > m->stop)
        return NOMATCH;
    if (m->program->backrefs)
        return search_trying(m);
    int start = find_start(m), end = -1;
    if (m->failed || start < 0)
        return m->failed ? ESPACE : NOMATCH;
    bits *from = only(m, start), *ends = m->failed ? 0 : moved(m, m->program->root, from, 0);
    for (int at = m->stop; !m->failed && at >= start && end < 0; at--)
        if (has(ends, at))
            end = at;
    free(from), free(ends);
    if (end < 0)
        return m->failed ? ESPACE : NOMATCH;
    m->groups[0] = (range){start, end};
    if (with_groups)
        assign(m, m->program->root, start, end);
    return m->failed ? ESPACE : OK;
}
