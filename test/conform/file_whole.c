/* Whole files, files when something runs out, and all of it at random. */
#include "lib/files.h"

#include <stdio.h>

#include "lib/os.h"

enum { RW = PRO_FILE_READ | PRO_FILE_WRITE | PRO_FILE_CREATE };

CONFORM(a_whole_file_is_read_whatever_its_size)
{
    static const size_t sizes[] = {0, 1, 4094, 4095, 4096, 65536, 300001};
    pro_loop           *loop = t_loop();
    const char         *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_bytes          *bytes = t_new(pro_bytes);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        t_op *t = t_new_op();
        t_file_make(path, sizes[i], (unsigned)i);
        pro_path_read(&t->op, loop, path, SIZE_MAX, bytes, t_done);
        t_run(loop);
        CHECK_DONE(t, PRO_OK, sizes[i]);
        CHECK_EQ(bytes->len, sizes[i]);
        CHECK_FILL(bytes->data, sizes[i], (unsigned)i, 0);
        CHECK_EQ(((char *)bytes->data)[sizes[i]], 0);
        pro_bytes_free(loop, bytes);
        t_op *small = t_new_op();
        if (sizes[i] == 0) continue;
        pro_path_read(&small->op, loop, path, sizes[i] - 1, bytes, t_done);
        t_run(loop);
        CHECK_DONE(small, PRO_EFBIG, 0);
        CHECK(bytes->data == NULL && bytes->len == 0);
    }
    t_op *t = t_new_op(), *none = t_new_op();
    pro_path_read(&t->op, loop, dir, SIZE_MAX, bytes, t_done);
    pro_path_read(&none->op, loop, t_in(dir, "none"), SIZE_MAX, t_new(pro_bytes), t_done);
    t_run(loop);
    CHECK_DONE(t, PRO_EISDIR, 0);
    CHECK_DONE(none, PRO_ENOENT, 0);
    t_dir_remove(loop, dir);
}

CONFORM(a_whole_file_is_replaced_in_one_step)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    char       *out = t_alloc(100000);
    pro_stat   *stat = t_new(pro_stat);
    for (int i = 0; i < 4; i++) {
        size_t len = i == 2 ? 0 : (size_t)(i + 1) * 25000;
        t_fill(out, len, (unsigned)i, 0);
        t_op *t = t_new_op();
        pro_path_replace(&t->op, loop, path, out, len, 0600, t_done);
        t_run(loop);
        CHECK_DONE(t, PRO_OK, len);
        CHECK_EQ(t_file_size(path), len);
        t_file_check(path, len, (unsigned)i, 0);
        CHECK_EQ(t_dir_count(loop, dir), 1);
    }
    t_op *t = t_new_op(), *none = t_new_op();
    pro_path_stat(&t->op, loop, path, 0, stat, t_done);
    pro_path_replace(&none->op, loop, t_in(dir, "none/a"), out, 10, 0600, t_done);
    t_run(loop);
    CHECK_EQ(stat->mode, 0600);
    CHECK_DONE(none, PRO_ENOENT, 0);
    t_dir_remove(loop, dir);
}

/* At whatever step: the old or the new content, whole, and nothing beside it. */
CONFORM(a_replacement_that_is_canceled_or_fails_leaves_old_or_new)
{
    enum { LEN = 60000 };
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    char       *out = t_alloc(LEN);
    unsigned    key = 1;
    int         replaced = 0, left = 0;
    t_file_make(path, LEN, key);
    for (int i = t_rounds(400); i > 0; i--) {
        t_op *t = t_new_op();
        t_fill(out, LEN, key + 1, 0);
        pro_path_replace(&t->op, loop, path, out, LEN, 0644, t_done);
        for (uint64_t turns = t_below(10); turns > 0 && !t->done; turns--) t_turn(loop);
        if (t_below(2))
            pro_cancel(&t->op);
        else
            pro_scope_cancel(pro_loop_scope(loop));
        t_run(loop);
        CHECK_EQ(t->done, 1);
        if (t->error != PRO_OK) CHECK_DONE(t, PRO_ECANCELED, 0);
        key += t->error == PRO_OK;
        replaced += t->error == PRO_OK;
        left += t->error != PRO_OK;
        CHECK_EQ(t_file_size(path), LEN);
        t_file_check(path, LEN, key, 0);
        CHECK_EQ(t_dir_count(loop, dir), 1);
    }
    t_note("  replaced %d, left %d\n", replaced, left);
    t_dir_remove(loop, dir);
}

CONFORM(without_descriptors_a_file_says_so_and_opens_later)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    t_op       *t = t_new_op(), *read = t_new_op(), *put = t_new_op();
    pro_bytes  *bytes = t_new(pro_bytes);
    t_file_make(path, 10, 1);
    if (!t_descriptors_exhaust()) t_skip("descriptors cannot be exhausted here");
    pro_file_open(&t->op, f, loop, NULL, path, PRO_FILE_READ, 0, t_done);
    pro_path_read(&read->op, loop, path, 100, bytes, t_done);
    pro_path_replace(&put->op, loop, path, "x", 1, 0644, t_done);
    t_run(loop);
    t_descriptors_restore();
    CHECK_DONE(t, PRO_EMFILE, 0);
    CHECK_DONE(read, PRO_EMFILE, 0);
    CHECK_DONE(put, PRO_EMFILE, 0);
    t_file_open(loop, f, path, PRO_FILE_READ);
    t_file_close(loop, f);
    t_file_check(path, 10, 1, 0);
    t_dir_remove(loop, dir);
}

/* One allocation after the other fails, until all of it goes well. */
CONFORM(without_memory_an_operation_of_a_file_says_so)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    char       *out = t_alloc(20000), *in = t_alloc(20000);
    pro_vec     vecs[40];
    bool        is_fine = false;
    t_file_make(path, 20000, 7);
    for (int i = 0; i < 40; i++) vecs[i] = (pro_vec){in + i * 500, 500};
    for (long after = 0; !is_fine; after++) {
        CHECK_LT(after, 100);
        pro_loop  *mine = t_loop();
        pro_file  *f = t_new(pro_file);
        t_op      *open = t_new_op(), *read = t_new_op(), *stat = t_new_op(), *whole = t_new_op();
        t_op      *put = t_new_op(), *close = t_new_op();
        pro_stat  *x = t_new(pro_stat);
        pro_bytes *bytes = t_new(pro_bytes);
        t_memory_fails(after);
        pro_file_open(&open->op, f, mine, NULL, path, PRO_FILE_READ, 0, t_done);
        t_run(mine);
        CHECK(open->error == PRO_OK || open->error == PRO_ENOMEM);
        if (open->error == PRO_OK) {
            pro_file_readv_exactly(&read->op, f, vecs, 40, 0, t_done);
            pro_path_stat(&stat->op, mine, path, 0, x, t_done);
            pro_path_read(&whole->op, mine, path, 100000, bytes, t_done);
            pro_path_replace(&put->op, mine, t_in(dir, "b"), out, 20000, 0644, t_done);
            t_run(mine);
            pro_file_close(&close->op, f, t_done);
            t_run(mine);
            CHECK_DONE(close, PRO_OK, 0);
            t_op *all[] = {read, stat, whole, put};
            is_fine = true;
            for (int i = 0; i < 4; i++) {
                CHECK_EQ(all[i]->done, 1);
                CHECK(all[i]->error == PRO_OK || all[i]->error == PRO_ENOMEM);
                is_fine &= all[i]->error == PRO_OK;
            }
            if (read->error == PRO_OK) CHECK_FILL(in, 20000, 7, 0);
            pro_bytes_free(mine, bytes);
        }
        t_memory_fails(-1);
        t_loop_free(mine);
        CHECK_LE(t_dir_count(loop, dir), 2);
    }
    t_dir_remove(loop, dir);
}

/* ---- Exactly once, at random ------------------------------------------------------------------ */

enum { FILES = 4, SLOTS = 64, SLOT = 3000, OPS = 48 };

typedef struct any {
    t_op      t;
    int       file, slot;
    bool      is_write;
    uint64_t  born;
    char      buf[SLOT];
    pro_stat  stat;
    pro_bytes bytes;
    char      path[200];
} any;

typedef struct shelf {
    pro_loop   *loop;
    const char *dir;
    pro_file    files[FILES];
    t_op        opens[FILES], closes[FILES];
    bool        is_open[FILES];
    int         key[FILES][SLOTS];  /* of what stands there; 0: nothing as yet, -1: not known */
    int         busy[FILES][SLOTS]; /* writers in flight */
    int         keys, left;
    int         counts[8], errors[3]; /* initiated by kind; OK, canceled or timed out, other */
    any         ops[OPS];
} shelf;

static void begin_any(shelf *s, any *x);

static void any_over(t_op *t)
{
    any   *x = pro_container_of(t, any, t);
    shelf *s = t->ctx;
    bool   is_cut = t->error == PRO_ECANCELED || t->error == PRO_ETIMEDOUT;
    s->errors[t->error == PRO_OK ? 0 : is_cut ? 1 : 2]++;
    if (x->slot >= 0 && x->is_write) {
        s->busy[x->file][x->slot]--;
        if (t->error == PRO_OK)
            CHECK_EQ(t->value, SLOT);
        else
            s->key[x->file][x->slot] = -1;
    } else if (x->slot >= 0 && t->error == PRO_OK) {
        int key = s->key[x->file][x->slot];
        CHECK_EQ(t->value, SLOT);
        if (key > 0 && !s->busy[x->file][x->slot]) CHECK_FILL(x->buf, SLOT, (unsigned)key, 0);
    }
    pro_bytes_free(s->loop, &x->bytes);
    if (s->left > 0) begin_any(s, x);
}

static void transfer_any(shelf *s, any *x, pro_file *f)
{
    x->slot = (int)t_below(SLOTS);
    x->is_write = t_below(2) && !s->busy[x->file][x->slot];
    uint64_t offset = (uint64_t)x->slot * SLOT;
    size_t   cut = t_below(SLOT);
    pro_vec  vecs[2] = {{x->buf, cut}, {x->buf + cut, SLOT - cut}};
    if (!x->is_write) {
        if (t_below(2))
            pro_file_read_exactly(&x->t.op, f, x->buf, SLOT, offset, t_done);
        else
            pro_file_readv_exactly(&x->t.op, f, vecs, 2, offset, t_done);
        if (s->busy[x->file][x->slot]) x->slot = -1; /* no telling what it sees */
        return;
    }
    s->busy[x->file][x->slot]++;
    s->key[x->file][x->slot] = ++s->keys;
    t_fill(x->buf, SLOT, (unsigned)s->keys, 0);
    for (int i = 0; i < OPS; i++) /* nor what those see that read there now */
        if (&s->ops[i] != x && s->ops[i].file == x->file && s->ops[i].slot == x->slot)
            s->ops[i].slot = -1;
    if (t_below(2))
        pro_file_write(&x->t.op, f, x->buf, SLOT, offset, t_done);
    else
        pro_file_writev(&x->t.op, f, vecs, 2, offset, t_done);
}

static void begin_any(shelf *s, any *x)
{
    int kind = (int)t_below(12);
    s->left--;
    x->slot = -1;
    x->file = (int)t_below(FILES);
    x->t.done = 0;
    x->t.then = any_over;
    x->t.ctx = s;
    pro_file *f = &s->files[x->file];
    if (t_below(6) == 0) x->t.op.deadline_ns = pro_loop_now(s->loop) + 1 + t_below(300000);
    s->counts[kind < 6 ? 0 : kind - 5]++;
    snprintf(x->path, sizeof x->path, "%s/x%d", s->dir, (int)t_below(3));
    switch (kind) {
    case 6: pro_file_datasync(&x->t.op, f, t_done); break;
    case 7: pro_file_stat(&x->t.op, f, &x->stat, t_done); break;
    case 8: pro_path_stat(&x->t.op, s->loop, x->path, 0, &x->stat, t_done); break;
    case 9: pro_path_read(&x->t.op, s->loop, x->path, 100000, &x->bytes, t_done); break;
    case 10: pro_path_unlink(&x->t.op, s->loop, x->path, t_done); break;
    case 11: pro_path_replace(&x->t.op, s->loop, x->path, x->buf, SLOT, 0644, t_done); break;
    default: transfer_any(s, x, f); break;
    }
}

static void open_any(shelf *s, int i)
{
    char *path = t_alloc(200);
    snprintf(path, 200, "%s/f%d", s->dir, i);
    memset(&s->opens[i], 0, sizeof s->opens[i]);
    memset(&s->closes[i], 0, sizeof s->closes[i]);
    pro_file_open(&s->opens[i].op, &s->files[i], s->loop, NULL, path, RW, 0644, t_done);
}

CONFORM(every_operation_of_a_file_completes_exactly_once)
{
    pro_loop *loop = t_loop();
    shelf    *s = t_new(shelf);
    s->loop = loop;
    s->dir = t_dir(loop);
    s->left = t_count(20000);
    for (int i = 0; i < FILES; i++) open_any(s, i);
    t_run(loop);
    char *zero = t_alloc(SLOTS * SLOT);
    for (int i = 0; i < FILES; i++) {
        t_op *t = t_new_op();
        pro_file_write(&t->op, &s->files[i], zero, SLOTS * SLOT, 0, t_done);
        t_wait(loop, t);
        CHECK_DONE(t, PRO_OK, SLOTS * SLOT);
    }
    int closed = 0, canceled = 0;
    for (int i = 0; i < OPS; i++) begin_any(s, &s->ops[i]);
    while (s->left > 0) {
        t_turn(loop);
        if (t_below(4) == 0) pro_cancel(&s->ops[t_below(OPS)].t.op), canceled++;
        if (t_below(200) == 0) pro_file_cancel(&s->files[t_below(FILES)]);
        int i = (int)t_below(FILES);
        if (t_below(100) == 0 && !s->closes[i].op.user && s->opens[i].done && !s->closes[i].done &&
            !pro_op_in_flight(&s->closes[i].op)) {
            pro_file_close(&s->closes[i].op, &s->files[i], t_done);
            closed++;
        }
        for (i = 0; i < FILES; i++)
            if (s->closes[i].done) open_any(s, i);
    }
    t_run(loop);
    for (int i = 0; i < OPS; i++) CHECK_EQ(s->ops[i].t.done, 1);
    for (int i = 0; i < FILES; i++) {
        if (s->closes[i].done) continue;
        t_file_close(loop, &s->files[i]);
    }
    t_note(
        "  %d transfers, %d syncs, %d + %d stats, %d reads, %d unlinks, %d replacements of files\n"
        "  %d ok, %d cut, %d other errors; %d closed, %d canceled\n",
        s->counts[0], s->counts[1], s->counts[2], s->counts[3], s->counts[4], s->counts[5],
        s->counts[6], s->errors[0], s->errors[1], s->errors[2], closed, canceled);
    t_dir_remove(loop, s->dir);
}

/* ---- One call after the other fails ----------------------------------------------------------- */

static int calls_left, fault_number;

static int fail_in_turn(void *ctx, const char *call)
{
    bool is_ours = strncmp(call, "file_", 5) == 0 || strcmp(call, "rename") == 0 ||
                   strcmp(call, "unlink") == 0 || strcmp(call, "thread") == 0;
    if (!is_ours || calls_left < 0) return t_os_fault(ctx, call);
    return calls_left-- == 0 ? fault_number : 0;
}

/* How many operations of a small life of a file failed; each completed once. */
static int live_once(pro_loop *loop, const char *path, const char *other)
{
    enum { LEN = 9000 };
    pro_file  *f = t_new(pro_file);
    pro_stat  *stat = t_new(pro_stat);
    pro_bytes *bytes = t_new(pro_bytes);
    char      *buf = t_alloc(LEN), *in = t_alloc(LEN);
    t_op      *t = t_array(t_op, 8);
    int        failed = 0, used = 8;
    t_fill(buf, LEN, 5, 0);
    pro_file_open(&t[0].op, f, loop, NULL, path, RW, 0644, t_done);
    t_run(loop);
    if (t[0].error == PRO_OK) {
        pro_file_write(&t[1].op, f, buf, LEN, 0, t_done);
        t_run(loop);
        pro_file_read_exactly(&t[2].op, f, in, LEN, 0, t_done);
        pro_file_datasync(&t[3].op, f, t_done);
        pro_file_stat(&t[4].op, f, stat, t_done);
        pro_path_replace(&t[5].op, loop, other, buf, LEN, 0644, t_done);
        pro_path_read(&t[6].op, loop, path, LEN, bytes, t_done);
        t_run(loop);
        pro_file_close(&t[7].op, f, t_done);
        t_run(loop);
        CHECK_ERROR(t[7].error, PRO_OK);
        if (t[1].error == PRO_OK && t[2].error == PRO_OK) CHECK_FILL(in, LEN, 5, 0);
        if (t[6].error == PRO_OK && t[1].error == PRO_OK) CHECK_FILL(bytes->data, LEN, 5, 0);
        pro_bytes_free(loop, bytes);
    } else {
        used = 1;
    }
    for (int i = 0; i < used; i++) {
        CHECK_EQ(t[i].done, 1);
        failed += t[i].error != PRO_OK;
    }
    return failed;
}

CONFORM(each_call_of_a_file_that_fails_is_an_error_at_the_handler)
{
    static const int errors[] = {PRO_EIO, PRO_ENOSPC, PRO_EMFILE, PRO_ENOMEM};
    pro_loop        *loop = t_loop();
    const char      *dir = t_dir(loop), *path = t_in(dir, "a"), *other = t_in(dir, "b");
    for (int i = 0; i < 4; i++) {
        fault_number = 1;
        while (pro_error_from_system(fault_number) != errors[i]) fault_number++;
        for (int after = 0, failed = 1; failed > 0; after++) {
            CHECK_LT(after, 100);
            pro_loop_options options = t_loop_options();
            options.env.fault = fail_in_turn;
            pro_loop *mine = t_loop_with(&options);
            calls_left = after;
            failed = live_once(mine, path, other);
            if (calls_left >= 0) CHECK_EQ(failed, 0);
            if (failed == 0 && calls_left < 0) failed = 1; /* a retry hid it: go on */
            calls_left = -1;
            t_loop_free(mine);
            CHECK_LE(t_dir_count(loop, dir), 3);
        }
    }
    t_dir_remove(loop, dir);
}
