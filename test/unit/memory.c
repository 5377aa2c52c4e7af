/* The book of registered memory, with an engine that only notes what it is lent: regions of several GiB, which
 * are not there, in pieces. */
#include "unit.h"

#include <proactor.h>

#include "core/loop.h"
#include "engine/scripted/scripted.h"
#include "os/os.h"

#define GIB ((uintptr_t)1 << 30)

enum { ENTRIES = PRO_MEMORY_REGIONS_MAX };

static struct {
    pro_loop  *loop;
    pri_engine engine;
    uintptr_t  from[ENTRIES];
    size_t     len[ENTRIES];
    int        lent, lends, fail_at; /* fail_at: the lend that fails, from 1 on */
} x;

/* The system's number for it. */
static int no_memory(void)
{
    int number = 1;
    while (pri_os_error(number) != PRO_ENOMEM) number++;
    return -number;
}

static int lend(pro_loop *loop, unsigned entry, void *base, size_t len)
{
    (void)loop;
    if (entry >= ENTRIES || x.len[entry] || len > GIB) return -1; /* not to be */
    if (++x.lends == x.fail_at) return no_memory();
    x.from[entry] = (uintptr_t)base;
    x.len[entry] = len;
    x.lent++;
    return 1;
}

static void back(pro_loop *loop, unsigned entry)
{
    (void)loop;
    x.lent -= x.len[entry] > 0;
    x.len[entry] = 0;
}

static void set_up(void)
{
    memset(&x, 0, sizeof x);
    CHECK_EQ(pri_scripted_loop_new(&x.loop), PRO_OK);
    x.engine = *x.loop->engine;
    x.engine.memory_lend = lend;
    x.engine.memory_back = back;
    x.loop->engine = &x.engine;
}

static void tear_down(void) { CHECK_EQ(pro_loop_free(x.loop), PRO_OK); }

/* The region in which this lies has these ends; 0, 0: there is none. */
static void look(uintptr_t address, size_t len, uintptr_t from, uintptr_t to)
{
    const pri_piece *region = pri_memory_of(&x.loop->memory, (void *)address, len);
    CHECK_EQ(region ? region->from : 0, from);
    CHECK_EQ(region ? region->to : 0, to);
    if (!region) return;
    CHECK_EQ(x.from[region->entry], from);
    CHECK_EQ(x.len[region->entry], to - from);
}

static uint64_t bytes(void)
{
    pro_loop_stats stats;
    pro_loop_stats_get(x.loop, &stats);
    return stats.registered_bytes;
}

UNIT(a_large_region_is_lent_in_pieces)
{
    const uintptr_t base = 5 * GIB + 123;
    set_up();
    CHECK_EQ(pro_memory_register(x.loop, (void *)base, 2 * GIB + 1000), PRO_OK);
    CHECK_EQ(x.lent, 3);
    CHECK_EQ(bytes(), 2 * GIB + 1000);
    look(base, GIB, base, base + GIB);
    look(base + GIB, GIB, base + GIB, base + 2 * GIB);
    look(base + 2 * GIB, 1000, base + 2 * GIB, base + 2 * GIB + 1000);
    look(base + GIB - 1, 2, 0, 0);
    look(base + 2 * GIB, 1001, 0, 0);
    look(base - 1, 1, 0, 0);
    CHECK_EQ(pro_memory_register(x.loop, (void *)(base + 2 * GIB + 999), 1), PRO_EEXIST);
    CHECK_EQ(pro_memory_unregister(x.loop, (void *)(base + GIB)), PRO_ENOENT); /* a rest */
    CHECK_EQ(pro_memory_unregister(x.loop, (void *)base), PRO_OK);
    CHECK_EQ(x.lent, 0);
    CHECK_EQ(bytes(), 0);
    look(base, 1, 0, 0);
    tear_down();
}

UNIT(where_a_piece_is_refused_the_others_are_taken_back)
{
    set_up();
    CHECK_EQ(pro_memory_register(x.loop, (void *)(9 * GIB), GIB), PRO_OK);
    for (int at = 1; at <= 4; at++) {
        x.fail_at = x.lends + at;
        CHECK_EQ(pro_memory_register(x.loop, (void *)(5 * GIB), 4 * GIB), PRO_ENOMEM);
        CHECK_EQ(x.lent, 1);
        CHECK_EQ(bytes(), GIB);
        look(5 * GIB, 1, 0, 0);
        look(9 * GIB, GIB, 9 * GIB, 10 * GIB);
    }
    CHECK_EQ(pro_memory_register(x.loop, (void *)(5 * GIB), 4 * GIB), PRO_OK);
    CHECK_EQ(x.lent, 5);
    tear_down();
}

UNIT(pieces_count_where_regions_are_counted)
{
    set_up();
    CHECK_EQ(pro_memory_register(x.loop, (void *)GIB, (ENTRIES - 1) * GIB), PRO_OK);
    uintptr_t next = ENTRIES * GIB;
    CHECK_EQ(pro_memory_register(x.loop, (void *)next, GIB + 1), PRO_ENOBUFS);
    CHECK_EQ(x.lent, ENTRIES - 1);
    CHECK_EQ(pro_memory_register(x.loop, (void *)next, GIB), PRO_OK);
    CHECK_EQ(pro_memory_register(x.loop, (void *)(next + GIB), 1), PRO_ENOBUFS);
    tear_down();
}

/* Against a list that is simply gone through. */
UNIT(random_regions_are_found_and_no_others)
{
    enum { MAX = 64, SPAN = 4096, ROUNDS = 20000 };
    struct {
        uintptr_t from, to;
    } list[MAX];
    int      count = 0;
    uint64_t random = 88172645463325252u;
    set_up();
    for (int round = 0; round < ROUNDS; round++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        uintptr_t from = 1 + random % SPAN, len = 1 + (random >> 20) % 100;
        bool      overlaps = false;
        int       in = -1;
        for (int i = 0; i < count; i++) {
            overlaps |= from < list[i].to && list[i].from < from + len;
            if (from >= list[i].from && from + len <= list[i].to) in = i;
        }
        look(from, len, in < 0 ? 0 : list[in].from, in < 0 ? 0 : list[in].to);
        if (count == MAX || (count > 0 && (random >> 40) % 2)) {
            int at = (int)((random >> 44) % (unsigned)count);
            CHECK_EQ(pro_memory_unregister(x.loop, (void *)list[at].from), PRO_OK);
            list[at] = list[--count];
        } else {
            CHECK_EQ(pro_memory_register(x.loop, (void *)from, len),
                     overlaps ? PRO_EEXIST : PRO_OK);
            if (overlaps) continue;
            list[count].from = from;
            list[count++].to = from + len;
        }
        CHECK_EQ(x.lent, count);
    }
    tear_down();
}
