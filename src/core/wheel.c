/* The wheel.
 *
 * A tick has eight digits of six bits.  An entry stands on the level of the highest digit in which
 * its tick differs from the cursor's, in the slot of that digit; so all of a level is later than all
 * of the levels below, and the lowest set bit of the lowest level in use is what comes next.  As the
 * cursor enters a slot of a higher level its entries are dealt out again below (each at most seven
 * times).  A slot keeps a lower bound of its deadlines, so asking for the next one sorts nothing.
 *
 * Invariants, for every entry e with tick t (t = cursor if its deadline is already past):
 *   level(e) = 0 if t == cursor, else highest differing bit of (t ^ cursor) / 6
 *   slot(e)  = digit number level(e) of t
 *   earliest[level][slot] <= deadline(e),  used[level] has slot's bit,  levels has level's bit
 * A bit may stay set when its slot ran empty; whoever looks at it clears it. */
#include "core/wheel.h"

#include "core/layout.h"

static inline uint64_t deadline_of(const pri_link *link)
{
    return ((const uint64_t *)(const void *)link)[-1];
}

void pri_wheel_init(pri_wheel *wheel, uint64_t now_ns,
                    bool (*before)(const pri_link *a, const pri_link *b))
{
    wheel->cursor = now_ns >> PRI_WHEEL_SHIFT;
    wheel->before = before;
    wheel->levels = 0;
    for (int level = 0; level < PRI_WHEEL_LEVELS; level++) {
        wheel->used[level] = 0;
        for (int slot = 0; slot < PRI_WHEEL_SLOTS; slot++)
            pri_list_init(&wheel->slots[level][slot]);
    }
}

void pri_wheel_insert(pri_wheel *wheel, pri_link *link)
{
    uint64_t deadline = deadline_of(link);
    uint64_t tick = deadline >> PRI_WHEEL_SHIFT;
    if (tick < wheel->cursor) tick = wheel->cursor;
    uint64_t  differs = tick ^ wheel->cursor;
    int       level = differs ? (63 - __builtin_clzll(differs)) / PRI_WHEEL_DIGIT : 0;
    int       slot = (int)(tick >> (level * PRI_WHEEL_DIGIT)) & (PRI_WHEEL_SLOTS - 1);
    pri_link *head = &wheel->slots[level][slot];
    uint64_t *earliest = &wheel->earliest[level][slot];
    if (pri_list_empty(head) || deadline < *earliest) *earliest = deadline;
    wheel->levels |= 1u << level;
    wheel->used[level] |= UINT64_C(1) << slot;
    pri_list_append(head, link);
}

/* The slot that comes next, as level * PRI_WHEEL_SLOTS + slot; -1 if the wheel is empty. */
static int next_slot(pri_wheel *wheel)
{
    for (; wheel->levels; wheel->levels &= wheel->levels - 1) {
        int level = __builtin_ctz(wheel->levels);
        while (wheel->used[level]) {
            int slot = __builtin_ctzll(wheel->used[level]);
            if (!pri_list_empty(&wheel->slots[level][slot])) return level * PRI_WHEEL_SLOTS + slot;
            wheel->used[level] &= wheel->used[level] - 1;
        }
    }
    return -1;
}

uint64_t pri_wheel_next(pri_wheel *wheel)
{
    int at = next_slot(wheel);
    return at < 0 ? UINT64_MAX : wheel->earliest[at / PRI_WHEEL_SLOTS][at % PRI_WHEEL_SLOTS];
}

bool pri_wheel_empty(pri_wheel *wheel) { return next_slot(wheel) < 0; }

static bool sorted(const pri_wheel *wheel, const pri_link *a, const pri_link *b)
{
    uint64_t x = deadline_of(a), y = deadline_of(b);
    if (x != y) return x < y;
    return !wheel->before || !wheel->before(b, a);
}

/* Merge two chains that end in NULL, linked by next; a's entries first where they are equal. */
static pri_link *merge(const pri_wheel *wheel, pri_link *a, pri_link *b)
{
    pri_link first, *last = &first;
    while (a && b) {
        pri_link **from = sorted(wheel, a, b) ? &a : &b;
        last->next = *from;
        last = *from;
        *from = (*from)->next;
    }
    last->next = a ? a : b;
    return first.next;
}

/* Stable merge sort: chains[i] holds nothing or 2^i entries, older entries in higher chains. */
static void sort(const pri_wheel *wheel, pri_link *head)
{
    bool in_order = true;
    for (pri_link *l = head->next; in_order && l->next != head; l = l->next)
        in_order = sorted(wheel, l, l->next);
    if (in_order) return;

    pri_link *chains[40] = {0};
    head->prev->next = NULL;
    for (pri_link *l = head->next, *next; l; l = next) {
        next = l->next;
        l->next = NULL;
        int i = 0;
        for (; chains[i]; i++) {
            l = merge(wheel, chains[i], l);
            chains[i] = NULL;
        }
        chains[i] = l;
    }
    pri_link *all = NULL;
    for (int i = 0; i < 40; i++)
        if (chains[i]) all = merge(wheel, chains[i], all);

    pri_list_init(head);
    for (pri_link *l = all, *next; l; l = next) {
        next = l->next;
        pri_list_append(head, l);
    }
}

/* Take from a slot what is due: all of it if its tick is over (then the cursor leaves it); else the
 * rest stays and its bound becomes exact again. */
static void take_due(pri_wheel *wheel, int slot, bool is_over, uint64_t now_ns, pri_link *due)
{
    pri_link *head = &wheel->slots[0][slot];
    if (!is_over && wheel->earliest[0][slot] > now_ns) return;
    uint64_t earliest = UINT64_MAX;
    pri_link taken;
    pri_list_init(&taken);
    for (pri_link *l = head->next, *next; l != head; l = next) {
        next = l->next;
        if (is_over || deadline_of(l) <= now_ns) {
            /* The lines around, for whoever runs it: all of them at once. */
            PRI_FETCH((char *)l - 64);
            PRI_FETCH((char *)l + 64);
            pri_list_remove(l);
            pri_list_append(&taken, l);
        } else if (deadline_of(l) < earliest) {
            earliest = deadline_of(l);
        }
    }
    wheel->earliest[0][slot] = earliest;
    sort(wheel, &taken);
    pri_list_splice(due, &taken);
}

void pri_wheel_expire(pri_wheel *wheel, uint64_t now_ns, pri_link *due)
{
    uint64_t now = now_ns >> PRI_WHEEL_SHIFT;
    for (int at; (at = next_slot(wheel)) >= 0;) {
        int      level = at / PRI_WHEEL_SLOTS, slot = at % PRI_WHEEL_SLOTS;
        int      shift = level * PRI_WHEEL_DIGIT;
        uint64_t above = ~UINT64_C(0) << shift << PRI_WHEEL_DIGIT;
        uint64_t start = (wheel->cursor & above) | ((uint64_t)slot << shift);
        if (start > now) break;
        if (start > wheel->cursor) wheel->cursor = start;
        if (level == 0) {
            take_due(wheel, slot, start < now, now_ns, due);
            if (start == now) break; /* what is left in it is due later within this tick */
        } else {
            pri_link entries;
            pri_list_init(&entries);
            pri_list_splice(&entries, &wheel->slots[level][slot]);
            while (!pri_list_empty(&entries)) pri_wheel_insert(wheel, pri_list_pop(&entries));
        }
    }
    if (now > wheel->cursor) wheel->cursor = now;
}
