/* A store with a write-ahead log, the model that watches it, and room for one bug.
 *
 * The store numbers what it is given, and says of each number that it is safe once it is.  On its disk:
 *
 *     log/N          records, each with a checksum, and in sectors of its own: where the power goes as a sector
 *                    is written, what stood in it before may be gone, too
 *     state/base     what all records up to a number come to, and which N goes on from there
 *
 *     append         write records, data sync; then they are safe
 *     roll           make log/N+1, sync log/; replace state/base, which names it; take log/N away
 *     begin          read state/base and its log, up to the first record that is not whole; roll
 *
 * So whatever is read at the beginning is written anew before anything is built on it, and after an error
 * nothing is trusted but what was safe before: the store rolls, and writes what was under way again.
 *
 * The model (in the memory of the test, which no crash touches) knows each number's value and which were
 * called safe.  After each crash the store says what it found: all that was safe must be there, nothing that
 * was not given, and the sum must be right.
 *
 * wal_bug makes the store one of those that look right: test/sim/buggy/wal_*.c. */
#ifndef TEST_SIM_WAL_H
#define TEST_SIM_WAL_H

#include <proactor.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAL_RIGHT,
    WAL_NO_SYNC,
    WAL_NO_DIRECTORY_SYNC,
    WAL_SAFE_TOO_EARLY,
    WAL_SYNCS_AGAIN,
    WAL_BUGS
};
#ifndef WAL_BUG
#define WAL_BUG WAL_RIGHT
#endif
static int wal_bug = WAL_BUG;

enum { WAL_RECORDS = 300, WAL_ROLL = 40, WAL_BATCH = 4, WAL_SECTOR = 512, WAL_PAYLOAD = 996 };

typedef struct wal_base {
    uint64_t number, sum, log;
    uint64_t check;
} wal_base;

typedef struct wal_record {
    uint64_t number, value, check;
    uint32_t len;
    char     payload[WAL_PAYLOAD];
} wal_record;

enum { WAL_HEAD = offsetof(wal_record, payload) };
_Static_assert(sizeof(wal_record) % WAL_SECTOR == 0, "whole sectors");

/* What the store has in memory: gone with every crash. */
typedef struct wal_store {
    pro_loop  *loop;
    pro_file   log;
    bool       is_open;
    wal_base   base;
    uint64_t   number, sum; /* of the last one that is safe */
    uint64_t   offset;
    wal_record batch[WAL_BATCH];
} wal_store;

/* The model. */
static struct {
    pro_sim  *world;
    wal_store store;
    uint64_t  value[WAL_RECORDS + 1]; /* of what was given last under this number */
    uint64_t  given, safe;
    bool      is_begun; /* the store works, and is not looking */
} wal;

static uint64_t wal_mix(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * UINT64_C(0x9fb21c651e98df25);
    return sum ^ (sum >> 29);
}

/* On the disk. */
static size_t wal_size(const wal_record *r)
{
    return (WAL_HEAD + r->len + WAL_SECTOR - 1) / WAL_SECTOR * WAL_SECTOR;
}

static uint64_t wal_sum(const void *bytes, size_t len)
{
    uint64_t sum = 1;
    for (const unsigned char *b = bytes; len > 0; len--) sum = wal_mix(sum, *b++);
    return sum;
}

/* ---- The model ------------------------------------------------------------------------------ */

/* Is it what must be there? */
static bool wal_found(uint64_t number, uint64_t sum)
{
    uint64_t want = 0;
    if (number < wal.safe) {
        pro_sim_fail(wal.world, "wal: record %llu was safe, and only %llu are there",
                     (unsigned long long)wal.safe, (unsigned long long)number);
        return false;
    }
    if (number > wal.given) {
        pro_sim_fail(wal.world, "wal: a record that nobody gave");
        return false;
    }
    for (uint64_t i = 1; i <= number; i++) want = wal_mix(want, wal.value[i]);
    if (sum != want) {
        pro_sim_fail(wal.world, "wal: a record is another than it was");
        return false;
    }
    pro_sim_sometimes(wal.world, "wal: a record was there before it was safe", number > wal.safe);
    wal.safe = wal.given = number;
    return true;
}

static uint64_t wal_give(void)
{
    uint64_t value = 1 + pro_sim_choose(wal.world, "wal value", 1u << 30);
    wal.value[++wal.given] = value;
    return value;
}

static void wal_is_safe(uint64_t number) { wal.safe = number; }

/* ---- The log -------------------------------------------------------------------------------- */

static void wal_log_path(char path[64], uint64_t log)
{
    snprintf(path, 64, "log/%llu", (unsigned long long)log);
}

static int64_t wal_sync_directory(const char *path)
{
    pro_file directory = {0};
    int64_t  n = pro_await_file_open(&directory, NULL, path, PRO_FILE_DIRECTORY, 0);
    if (n < 0) return n;
    n = pro_await_file_sync(&directory);
    pro_await_file_close(&directory);
    return n;
}

/* A new log, and a base that names it. */
static int64_t wal_roll(wal_store *s)
{
    char     path[64], old[64];
    wal_base base = {.number = s->number, .sum = s->sum, .log = s->base.log};
    int64_t  n;
    if (s->is_open) pro_await_file_close(&s->log);
    s->is_open = false;
    do {
        wal_log_path(path, ++base.log);
        n = pro_await_file_open(&s->log, NULL, path,
                                PRO_FILE_WRITE | PRO_FILE_CREATE | PRO_FILE_EXCLUSIVE, 0644);
    } while (n == PRO_EEXIST); /* of an attempt that failed */
    if (n < 0) return n;
    s->is_open = true;
    s->offset = 0;
    if (wal_bug != WAL_NO_DIRECTORY_SYNC) n = wal_sync_directory("log");
    base.check = wal_sum(&base, offsetof(wal_base, check));
    if (n >= 0) n = pro_await_path_replace("state/base", &base, sizeof base, 0644);
    if (n < 0) return n;
    wal_log_path(old, s->base.log);
    s->base = base;
    pro_await_path_unlink(old); /* or not: nobody reads it any more */
    return 0;
}

/* Until it works: what goes wrong may go right the next time. */
static void wal_must_roll(wal_store *s)
{
    while (wal_roll(s) < 0) pro_await_sleep(PRO_MSEC);
}

static int64_t wal_write(wal_store *s, int count)
{
    pro_vec  vecs[WAL_BATCH];
    uint64_t len = 0;
    for (int i = 0; i < count; i++) {
        vecs[i] = (pro_vec){&s->batch[i], wal_size(&s->batch[i])};
        len += vecs[i].len;
    }
    int64_t n = pro_await_file_writev(&s->log, vecs, (size_t)count, s->offset);
    if (n < 0) return n;
    s->offset += len;
    if (wal_bug == WAL_SAFE_TOO_EARLY) wal_is_safe(s->batch[count - 1].number);
    if (wal_bug == WAL_NO_SYNC) return 0;
    do n = pro_await_file_datasync(&s->log);
    while (wal_bug == WAL_SYNCS_AGAIN && n < 0);
    pro_sim_sometimes(wal.world, "wal: a sync failed", n == PRO_EIO);
    return n;
}

static void wal_append(wal_store *s, int count)
{
    for (int i = 0; i < count; i++) {
        wal_record *r = &s->batch[i];
        r->number = s->number + 1 + (uint64_t)i;
        r->value = wal_give();
        r->len = pro_sim_choose(wal.world, "wal length", WAL_PAYLOAD);
        memset(r->payload, (int)r->value, r->len);
        r->check = 0;
        r->check = wal_sum(r, WAL_HEAD + r->len);
    }
    while (wal_write(s, count) < 0) wal_must_roll(s);
    for (int i = 0; i < count; i++) s->sum = wal_mix(s->sum, s->batch[i].value);
    s->number += (uint64_t)count;
    wal_is_safe(s->number);
}

/* ---- The beginning -------------------------------------------------------------------------- */

/* Up to the first that is not whole. */
static void wal_replay(wal_store *s, const char *bytes, size_t len)
{
    wal_record *r = &s->batch[0];
    for (size_t at = 0; at + WAL_HEAD <= len; at += wal_size(r)) {
        memcpy(r, bytes + at, WAL_HEAD);
        if (r->number != s->number + 1 || r->len > WAL_PAYLOAD || at + wal_size(r) > len) break;
        memcpy(r->payload, bytes + at + WAL_HEAD, r->len);
        uint64_t check = r->check;
        r->check = 0;
        pro_sim_sometimes(wal.world, "wal: a record was torn",
                          check != wal_sum(r, WAL_HEAD + r->len));
        if (check != wal_sum(r, WAL_HEAD + r->len)) break;
        s->number++;
        s->sum = wal_mix(s->sum, r->value);
    }
}

static int64_t wal_read(wal_store *s)
{
    char      path[64];
    pro_bytes bytes;
    int64_t   n = pro_await_path_read("state/base", sizeof(wal_base), &bytes);
    if (n == PRO_ENOENT) return 0; /* there never was one */
    if (n < 0) return n;
    bool is_whole = bytes.len == sizeof s->base;
    if (is_whole) memcpy(&s->base, bytes.data, sizeof s->base);
    pro_bytes_free(s->loop, &bytes);
    if (!is_whole || s->base.check != wal_sum(&s->base, offsetof(wal_base, check)))
        pro_sim_fail(wal.world, "wal: the base is not whole");
    s->number = s->base.number;
    s->sum = s->base.sum;
    wal_log_path(path, s->base.log);
    n = pro_await_path_read(path, SIZE_MAX, &bytes);
    if (n == PRO_ENOENT) return 0;
    if (n < 0) return n;
    wal_replay(s, bytes.data, bytes.len);
    pro_bytes_free(s->loop, &bytes);
    return 0;
}

static int64_t wal_make_directories(void)
{
    int64_t n = pro_await_path_mkdir("log", 0755), m = pro_await_path_mkdir("state", 0755);
    if (n < 0 && n != PRO_EEXIST) return n;
    if (m < 0 && m != PRO_EEXIST) return m;
    return wal_sync_directory("/");
}

static void wal_run(void *arg)
{
    wal_store *s = arg;
    while (wal_make_directories() < 0) pro_await_sleep(PRO_MSEC);
    for (;;) {
        s->number = s->sum = 0;
        memset(&s->base, 0, sizeof s->base);
        if (wal_read(s) >= 0) break;
        pro_await_sleep(PRO_MSEC);
    }
    wal_must_roll(s);
    wal.is_begun = wal_found(s->number, s->sum);
    for (int since = 0; wal.is_begun && s->number < WAL_RECORDS;) {
        uint64_t left = WAL_RECORDS - s->number;
        int      count = 1 + (int)pro_sim_choose(wal.world, "wal batch", WAL_BATCH);
        wal_append(s, (uint64_t)count < left ? count : (int)left);
        since += count;
        if (since < WAL_ROLL) continue;
        wal_must_roll(s);
        since = 0;
    }
    pro_await_file_close(&s->log);
}

/* ---- The world ------------------------------------------------------------------------------ */

static void wal_main(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    pro_loop_options options = {.version = PRO_VERSION, .engine = PRO_ENGINE_SIM};
    memset(&wal.store, 0, sizeof wal.store);
    if (pro_loop_new(&wal.store.loop, &options) != PRO_OK) abort();
    pro_go(pro_loop_scope(wal.store.loop), wal_run, &wal.store, NULL);
}

static void wal_crashed(void *arg)
{
    (void)arg;
    pro_sim_sometimes(wal.world, "wal: a crash while it was looking", !wal.is_begun);
    wal.is_begun = false;
}

static int wal_is_full(void *arg)
{
    (void)arg;
    return wal.safe == WAL_RECORDS;
}

/* Some time, and a crash, again and again; then fair weather, to the end, and one more power cut. */
static void wal_world(pro_sim *world)
{
    memset(&wal, 0, sizeof wal);
    wal.world = world;
    pro_sim_node *node = pro_sim_node_new(world, "store", NULL, wal_main, NULL);
    pro_sim_node_on_crash(node, wal_crashed);
    for (int i = 0; i < 12 && pro_sim_failures(world) == 0; i++) {
        pro_sim_run_for(world, (1 + pro_sim_choose(world, "wal pause", 100)) * PRO_MSEC);
        pro_sim_crash(node);
        pro_sim_restart(node);
    }
    pro_sim_heal(world);
    if (pro_sim_failures(world) || !pro_sim_run(world, wal_is_full, NULL, 60 * PRO_SEC)) return;
    pro_sim_settle(world, 60 * PRO_SEC);
    pro_sim_power_cut(node);
    pro_sim_restart(node);
    if (!pro_sim_settle(world, 60 * PRO_SEC)) return;
    pro_sim_stats stats;
    pro_sim_stats_get(world, &stats);
    pro_sim_sometimes(world, "wal: a power cut lost sectors", stats.sectors_lost > 0);
    pro_sim_sometimes(world, "wal: a power cut lost names", stats.names_lost > 0);
    if (!wal.is_begun) pro_sim_fail(world, "wal: the store does not begin");
}

#endif
