/* The timer wheel against a sorted list: the same entries, the same order, never early. */
#include "unit.h"

#include "core/wheel.h"

typedef struct entry {
    uint64_t deadline_ns;
    pri_link link;
    unsigned sequence; /* of insertion */
    int      state;    /* 0 idle, 1 on the wheel, 2 fired */
} entry;

static uint64_t random_state = 88172645463325252u;

static uint64_t random64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static entry *entry_of(const pri_link *link)
{
    return (entry *)((char *)(uintptr_t)link - offsetof(entry, link));
}

static bool before(const pri_link *a, const pri_link *b)
{
    return entry_of(a)->sequence < entry_of(b)->sequence;
}

static pri_wheel wheel;

UNIT(an_empty_wheel_has_nothing_due_and_nothing_next)
{
    pri_link due;
    pri_list_init(&due);
    pri_wheel_init(&wheel, 12345, before);
    CHECK(pri_wheel_empty(&wheel));
    CHECK_EQ(pri_wheel_next(&wheel), UINT64_MAX);
    pri_wheel_expire(&wheel, UINT64_MAX, &due);
    CHECK(pri_list_empty(&due));
}

UNIT(the_largest_times_have_a_place_and_an_order)
{
    entry    a = {.deadline_ns = UINT64_MAX}, b = {.deadline_ns = UINT64_C(1) << 48};
    entry    c = {.deadline_ns = UINT64_MAX - 1};
    pri_link due;
    pri_list_init(&due);
    pri_wheel_init(&wheel, 1, before);
    pri_wheel_insert(&wheel, &a.link);
    pri_wheel_insert(&wheel, &b.link);
    pri_wheel_insert(&wheel, &c.link);
    CHECK_EQ(pri_wheel_next(&wheel), UINT64_C(1) << 48);
    pri_wheel_expire(&wheel, (UINT64_C(1) << 48) - 1, &due);
    CHECK(pri_list_empty(&due));
    pri_wheel_expire(&wheel, UINT64_C(1) << 48, &due);
    CHECK(pri_list_pop(&due) == &b.link && pri_list_empty(&due));
    CHECK_EQ(pri_wheel_next(&wheel), UINT64_MAX - 1);
    pri_wheel_expire(&wheel, UINT64_MAX, &due);
    CHECK(pri_list_pop(&due) == &c.link && pri_list_pop(&due) == &a.link);
}

UNIT(entries_with_one_deadline_fire_in_the_order_of_insertion_also_across_levels)
{
    enum { N = 1000 };
    static entry entries[N];
    uint64_t     deadline = UINT64_C(40) << 30, now = 1;
    pri_link     due;
    pri_list_init(&due);
    pri_wheel_init(&wheel, now, before);
    for (unsigned i = 0; i < N; i++) {
        entries[i] = (entry){.deadline_ns = deadline, .sequence = i};
        pri_wheel_insert(&wheel, &entries[i].link);
        now += (deadline - now) / 64; /* so that later ones start on lower levels */
        pri_wheel_expire(&wheel, now, &due);
        CHECK(pri_list_empty(&due));
    }
    pri_wheel_expire(&wheel, deadline, &due);
    for (unsigned i = 0; i < N; i++) CHECK_EQ(entry_of(pri_list_pop(&due))->sequence, i);
}

/* Which entry should fire next: the earliest deadline, then the first inserted. */
static entry *model_next(entry *entries, int count)
{
    entry *next = NULL;
    for (int i = 0; i < count; i++) {
        entry *e = &entries[i];
        if (e->state != 1) continue;
        if (!next || e->deadline_ns < next->deadline_ns ||
            (e->deadline_ns == next->deadline_ns && e->sequence < next->sequence))
            next = e;
    }
    return next;
}

UNIT(random_insert_remove_expire_agree_with_a_sorted_list)
{
    enum { N = 200 };
    static entry entries[N];
    for (int round = 0; round < 200; round++) {
        unsigned sequence = 0;
        uint64_t now = 1 + random64() % (UINT64_C(1) << (random64() % 50));
        int      spread = 10 + (int)(random64() % 40);
        memset(entries, 0, sizeof entries);
        pri_wheel_init(&wheel, now, before);
        for (int step = 0; step < 400; step++) {
            entry *e = &entries[random64() % N];
            switch (random64() % 4) {
            case 0:
            case 1:
                if (e->state == 1) break;
                e->deadline_ns = now + random64() % (UINT64_C(1) << spread);
                if (random64() % 8 == 0) e->deadline_ns = now / 2; /* past */
                e->sequence = sequence++;
                e->state = 1;
                pri_wheel_insert(&wheel, &e->link);
                break;
            case 2:
                if (e->state != 1) break;
                pri_wheel_remove(&e->link);
                e->state = 0;
                break;
            default: {
                entry   *model = model_next(entries, N);
                pri_link due;
                pri_list_init(&due);
                CHECK(pri_wheel_next(&wheel) <= (model ? model->deadline_ns : UINT64_MAX));
                now += random64() % (UINT64_C(1) << spread);
                pri_wheel_expire(&wheel, now, &due);
                while (!pri_list_empty(&due)) {
                    entry *fired = entry_of(pri_list_pop(&due));
                    CHECK(fired == model_next(entries, N));
                    CHECK(fired->deadline_ns <= now);
                    fired->link.next = NULL;
                    fired->state = 2;
                }
                model = model_next(entries, N);
                CHECK(!model || model->deadline_ns > now);
            }
            }
        }
    }
}

UNIT(next_becomes_exact_however_far_the_deadline_is)
{
    for (int bit = 17; bit < 63; bit++) {
        entry    e = {.deadline_ns = (UINT64_C(1) << bit) + 12345};
        pri_link due;
        pri_list_init(&due);
        pri_wheel_init(&wheel, 1, before);
        pri_wheel_insert(&wheel, &e.link);
        CHECK_EQ(pri_wheel_next(&wheel), e.deadline_ns);
        pri_wheel_expire(&wheel, e.deadline_ns - 1, &due);
        CHECK(pri_list_empty(&due));
        CHECK_EQ(pri_wheel_next(&wheel), e.deadline_ns);
    }
}
