/* Registered memory: what is read into it and written from it is what it would be without, whatever is
 * registered and unregistered meanwhile; on an engine that makes nothing of it, too.  Where the engine says
 * that it uses it (pro_loop_explain), the count of such transfers must move. */
#include "lib/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { RW = PRO_FILE_READ | PRO_FILE_WRITE | PRO_FILE_CREATE };

/* Is the word in the line that says what the engine uses? */
static bool uses(const pro_loop *loop, const char *word)
{
    char text[4000];
    pro_loop_explain(loop, text, sizeof text);
    char *line = strstr(text, " uses ");
    if (!line) return false;
    line[strcspn(line, "\n")] = '\0';
    const char *at = strstr(line, word);
    return at && strchr(", ", at[-1]) && strchr(",", at[strlen(word)]);
}

static bool names_memory(const pro_loop *loop)
{
    return uses(loop, "registered_memory") && uses(loop, "files");
}

static bool names_pieces(const pro_loop *loop)
{
    return names_memory(loop) && uses(loop, "registered_pieces");
}

static uint64_t bytes_of(const pro_loop *loop)
{
    pro_loop_stats stats;
    pro_loop_stats_get(loop, &stats);
    return stats.registered_bytes;
}

static uint64_t transfers_of(const pro_loop *loop)
{
    pro_loop_stats stats;
    pro_loop_stats_get(loop, &stats);
    return stats.registered_transfers;
}

static bool explains(const pro_loop *loop, const char *what)
{
    char text[4000];
    pro_loop_explain(loop, text, sizeof text);
    return strstr(text, what) != NULL;
}

/* Initiate, wait, check, and look whether it was by the memory's name; a transfer may need several steps. */
#define DO(loop, want_named, want_error, want_value, call, ...)                                    \
    do {                                                                                           \
        t_op    *do_ = t_new_op();                                                                 \
        uint64_t before_ = transfers_of(loop);                                                     \
        call(&do_->op, __VA_ARGS__, t_done);                                                       \
        t_wait((loop), do_);                                                                       \
        CHECK_DONE(do_, (want_error), (want_value));                                               \
        CHECK_EQ(transfers_of(loop) > before_, (want_named));                                      \
    } while (0)

CONFORM(reads_and_writes_in_registered_memory_move_the_same_bytes)
{
    enum { LEN = 200000, AT = 1234, SIZE = 3 * LEN };
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    char       *memory = t_alloc(SIZE), *out = memory + AT, *in = out + LEN;
    bool        named = names_memory(loop), pieces = names_pieces(loop);
    CHECK_EQ(bytes_of(loop), 0);
    CHECK_ERROR(pro_memory_register(loop, memory, SIZE), PRO_OK);
    CHECK_EQ(bytes_of(loop), uses(loop, "registered_memory") ? SIZE : 0);
    if (!named) CHECK(explains(loop, "registered"));

    t_fill(out, LEN, 3, 0);
    t_file_open(loop, f, path, RW);
    DO(loop, named, PRO_OK, LEN, pro_file_write, f, out, LEN, 0);
    DO(loop, named, PRO_OK, LEN, pro_file_read_exactly, f, in, LEN, 0);
    CHECK_FILL(in, LEN, 3, 0);
    memset(in, 0, LEN);
    DO(loop, named, PRO_OK, 100, pro_file_read, f, in, LEN, LEN - 100); /* a short one */
    CHECK_FILL(in, 100, 3, LEN - 100);
    CHECK_EQ(in[100], 0);
    DO(loop, named, PRO_EOF, 100, pro_file_read_exactly, f, in, LEN, LEN - 100);
    DO(loop, named, PRO_OK, 1, pro_file_read, f, memory + SIZE - 1, 1, 7); /* its last byte */
    CHECK_FILL(memory + SIZE - 1, 1, 3, 7);

    pro_vec vecs[3] = {{in + 1000, 10000}, {in, 1000}, {in + 20000, 50000}};
    DO(loop, pieces, PRO_OK, 61000, pro_file_readv_exactly, f, vecs, 3, 5);
    CHECK_FILL(in + 1000, 10000, 3, 5);
    CHECK_FILL(in, 1000, 3, 10005);
    CHECK_FILL(in + 20000, 50000, 3, 11005);
    vecs[0] = (pro_vec){out + 100, LEN - 100};
    vecs[1] = (pro_vec){out, 100};
    DO(loop, pieces, PRO_OK, LEN, pro_file_writev, f, vecs, 2, 100);
    DO(loop, named, PRO_OK, LEN, pro_file_read_exactly, f, in, LEN, 100);
    CHECK_FILL(in, LEN - 100, 3, 100);
    CHECK_FILL(in + LEN - 100, 100, 3, 0);

    CHECK_ERROR(pro_memory_unregister(loop, memory), PRO_OK);
    CHECK_EQ(bytes_of(loop), 0);
    DO(loop, 0, PRO_OK, LEN, pro_file_read_exactly, f, in, LEN, 100);
    t_file_close(loop, f);
    t_file_check(path, 100, 3, 0);
    t_dir_remove(loop, dir);
}

CONFORM(errors_of_transfers_in_registered_memory_are_those_of_any_other)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    char       *memory = t_alloc(1000);
    t_file_make(path, 100, 1);
    CHECK_ERROR(pro_memory_register(loop, memory, 1000), PRO_OK);
    t_file_open(loop, f, path, PRO_FILE_READ);
    t_op *t = t_new_op(), *late = t_new_op();
    pro_file_write(&t->op, f, memory, 1, 0, t_done); /* open for reading only */
    t_wait(loop, t);
    CHECK_DONE(t, PRO_EBADF, 0);
    t_op *read = t_new_op();
    pro_file_read(&read->op, f, memory, 1000, 100, t_done);
    pro_cancel(&read->op);
    t_wait(loop, read);
    CHECK(read->error == PRO_EOF || read->error == PRO_ECANCELED);
    late->op.deadline_ns = 1; /* past already: one attempt it has */
    pro_file_read(&late->op, f, memory, 1000, 0, t_done);
    t_wait(loop, late);
    CHECK(late->error == PRO_OK || late->error == PRO_ETIMEDOUT);
    t_file_close(loop, f);
    t_dir_remove(loop, dir);
}

CONFORM(what_lies_across_two_registered_regions_is_as_any_other)
{
    enum { LEN = 50000 };
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    char       *memory = t_alloc(4 * LEN), *border = memory + LEN;
    bool        named = names_memory(loop), pieces = names_pieces(loop);
    t_file_make(path, 2 * LEN, 6);
    t_file_open(loop, f, path, PRO_FILE_READ);
    CHECK_ERROR(pro_memory_register(loop, border, LEN),
                PRO_OK); /* they touch; the higher one first */
    CHECK_ERROR(pro_memory_register(loop, memory, LEN), PRO_OK);
    DO(loop, 0, PRO_OK, LEN, pro_file_read_exactly, f, border - LEN / 2, LEN, 3);
    CHECK_FILL(border - LEN / 2, LEN, 6, 3);
    DO(loop, 0, PRO_OK, LEN, pro_file_read_exactly, f, border + 1, LEN, 4); /* out at the end */
    CHECK_FILL(border + 1, LEN, 6, 4);
    DO(loop, named, PRO_OK, LEN, pro_file_read_exactly, f, memory, LEN, 5);
    DO(loop, named, PRO_OK, LEN, pro_file_read_exactly, f, border, LEN, 5 + LEN / 2);
    CHECK_FILL(memory, LEN, 6, 5);
    CHECK_FILL(border, LEN, 6, 5 + LEN / 2);

    pro_vec vecs[2] = {{border - 100, 100}, {border, 100}};
    DO(loop, 0, PRO_OK, 200, pro_file_readv_exactly, f, vecs, 2, 9);
    CHECK_FILL(border - 100, 200, 6, 9);
    vecs[1] = (pro_vec){border + 2 * LEN, 100}; /* one in none */
    DO(loop, 0, PRO_OK, 200, pro_file_readv_exactly, f, vecs, 2, 10);
    CHECK_FILL(border + 2 * LEN, 100, 6, 110);
    vecs[1] = (pro_vec){border - 300, 100};
    DO(loop, pieces, PRO_OK, 200, pro_file_readv_exactly, f, vecs, 2, 11);
    CHECK_FILL(border - 300, 100, 6, 111);
    t_file_close(loop, f);
    t_dir_remove(loop, dir);
}

CONFORM(memory_is_registered_once_and_unregistered_as_it_was_registered)
{
    enum { LEN = 10000 };
    pro_loop *loop = t_loop(), *other = t_loop();
    char     *memory = t_alloc(3 * LEN), *middle = memory + LEN;
    CHECK_ERROR(pro_memory_register(loop, NULL, LEN), PRO_EINVAL);
    CHECK_ERROR(pro_memory_register(loop, memory, 0), PRO_EINVAL);
    CHECK_ERROR(pro_memory_register(loop, memory, SIZE_MAX), PRO_EINVAL);
    CHECK_ERROR(pro_memory_unregister(loop, memory), PRO_ENOENT);

    CHECK_ERROR(pro_memory_register(loop, middle, LEN), PRO_OK);
    CHECK_ERROR(pro_memory_register(loop, middle, LEN), PRO_EEXIST);
    CHECK_ERROR(pro_memory_register(loop, middle + 10, 10), PRO_EEXIST);
    CHECK_ERROR(pro_memory_register(loop, memory, LEN + 1), PRO_EEXIST);
    CHECK_ERROR(pro_memory_register(loop, middle + LEN - 1, 2), PRO_EEXIST);
    CHECK_ERROR(pro_memory_register(loop, memory, 3 * LEN), PRO_EEXIST);
    CHECK_ERROR(pro_memory_register(loop, memory, LEN), PRO_OK); /* they may touch */
    CHECK_ERROR(pro_memory_register(loop, middle + LEN, LEN), PRO_OK);
    CHECK_ERROR(pro_memory_register(other, middle, LEN), PRO_OK); /* and two loops share */

    CHECK_ERROR(pro_memory_unregister(loop, middle + 1), PRO_ENOENT);
    CHECK_ERROR(pro_memory_unregister(loop, middle + 2 * LEN), PRO_ENOENT);
    CHECK_ERROR(pro_memory_unregister(loop, middle), PRO_OK);
    CHECK_ERROR(pro_memory_unregister(loop, middle), PRO_ENOENT);
    CHECK_ERROR(pro_memory_register(loop, middle + 1, LEN - 1), PRO_OK);
    CHECK_ERROR(pro_memory_unregister(other, middle), PRO_OK);
    /* The rest is undone with the loops. */
}

/* ---- While operations are in flight ----------------------------------------------------------- */

CONFORM(unregistering_registered_memory_ends_nothing_that_is_in_flight)
{
    enum { READS = 24, PART = 20000 };
    for (int turns = 0; turns < 3; turns++) { /* before the system heard of them, and later */
        pro_loop   *loop = t_loop();
        const char *dir = t_dir(loop), *path = t_in(dir, "a");
        pro_file   *f = t_new(pro_file);
        char       *memory = t_alloc(READS * PART), *others = t_alloc(READS * PART);
        t_op       *ops = t_array(t_op, READS);
        t_file_make(path, READS * PART, 8);
        t_file_open(loop, f, path, PRO_FILE_READ);
        CHECK_ERROR(pro_memory_register(loop, memory, READS * PART), PRO_OK);
        for (int i = 0; i < READS; i++) {
            size_t  at = (size_t)i * PART;
            pro_vec halves[2] = {{memory + at + 100, PART - 100}, {memory + at, 100}};
            if (i % 3)
                pro_file_read(&ops[i].op, f, memory + at, PART, at, t_done);
            else
                pro_file_readv(&ops[i].op, f, halves, 2, at, t_done);
        }
        for (int i = 0; i < turns; i++) t_poll(loop);
        CHECK_ERROR(pro_memory_unregister(loop, memory), PRO_OK);
        /* Under the same number, as likely as not. */
        CHECK_ERROR(pro_memory_register(loop, others, READS * PART), PRO_OK);
        t_run(loop);
        for (int i = 0; i < READS; i++) {
            size_t at = (size_t)i * PART;
            CHECK_DONE(&ops[i], PRO_OK, PART);
            CHECK_FILL(memory + at, 100, 8, i % 3 ? at : at + PART - 100);
            CHECK_FILL(memory + at + 100, PART - 100, 8, i % 3 ? at + 100 : at);
        }
        for (size_t i = 0; i < READS * PART; i++) CHECK_EQ(others[i], 0);
        t_file_close(loop, f);
        t_dir_remove(loop, dir);
        t_loop_free(loop);
    }
}

/* ---- Random: regions come and go while reads and writes are in flight -------------------------- */

enum { SLOTS = 16, SLOT = 8192, FILE_LEN = 100000, BLOCKS = 2 * SLOTS };

typedef struct slot {
    t_op     t;
    char    *memory, *at;
    size_t   len;
    uint64_t offset;
    bool     busy;
} slot;

static void slot_done(t_op *t)
{
    slot *s = t->ctx;
    s->busy = false;
    CHECK_ERROR(t->error, PRO_OK);
    CHECK_EQ(t->value, s->len);
    CHECK_FILL(s->at, s->len, 5, s->offset);
}

/* A write puts back what is there: whoever reads sees the same. */
static void slot_begin(pro_file *f, slot *s)
{
    size_t from = t_below(SLOT);
    s->len = 1 + t_below(SLOT - from);
    s->at = s->memory + from;
    s->offset = t_below(FILE_LEN - SLOT);
    s->busy = true;
    s->t.then = slot_done;
    s->t.ctx = s;
    size_t   cut = t_below(s->len + 1);
    pro_vec  vecs[2] = {{s->at, cut}, {s->at + cut, s->len - cut}};
    unsigned how = (unsigned)t_below(4);
    if (how >= 2) t_fill(s->at, s->len, 5, s->offset);
    if (how == 0) pro_file_read_exactly(&s->t.op, f, s->at, s->len, s->offset, t_done);
    if (how == 1) pro_file_readv_exactly(&s->t.op, f, vecs, 2, s->offset, t_done);
    if (how == 2) pro_file_write(&s->t.op, f, s->at, s->len, s->offset, t_done);
    if (how == 3) pro_file_writev(&s->t.op, f, vecs, 2, s->offset, t_done);
}

/* Nothing has used registered memory yet, though it could. */
static bool lacks_named(const pro_loop *loop)
{
    return names_memory(loop) && transfers_of(loop) == 0;
}

CONFORM(random_regions_come_and_go_while_registered_memory_is_read_into)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    char       *memory = t_alloc(SLOTS * SLOT);
    slot       *slots = t_array(slot, SLOTS);
    size_t      lens[BLOCKS] = {0}; /* of the region that begins in a half slot; 0: none */
    size_t      starts[BLOCKS] = {0};
    t_file_make(path, FILE_LEN, 5);
    t_file_open(loop, f, path, PRO_FILE_READ | PRO_FILE_WRITE);
    for (int i = 0; i < SLOTS; i++) slots[i].memory = memory + (size_t)i * SLOT;
    int rounds = t_rounds(4000), most = 100 * rounds;
    for (int round = 0; round < (lacks_named(loop) ? most : rounds); round++) {
        slot *s = &slots[t_below(SLOTS)];
        if (!s->busy)
            slot_begin(f, s);
        else if (t_below(4) ==
                 0) /* or a slow disk would see the end with a handful of operations */
            t_turn(loop);
        if (t_below(4) == 0) {
            size_t block = t_below(BLOCKS), room = SLOTS * SLOT - block * (SLOT / 2);
            if (lens[block]) {
                CHECK_ERROR(pro_memory_unregister(loop, memory + starts[block]), PRO_OK);
                lens[block] = 0;
            } else {
                size_t in = t_below(SLOT / 2), len = 1 + t_below(3 * SLOT);
                if (len > room - in) len = room - in;
                size_t from = block * (SLOT / 2) + in;
                int    error = pro_memory_register(loop, memory + from, len);
                bool   overlaps = false;
                for (int i = 0; i < BLOCKS; i++)
                    overlaps |= lens[i] && from < starts[i] + lens[i] && starts[i] < from + len;
                CHECK_ERROR(error, overlaps ? PRO_EEXIST : PRO_OK);
                if (!error) lens[block] = len, starts[block] = from;
            }
        }
        if (t_below(3) == 0) t_poll(loop);
    }
    t_run(loop);
    for (int i = 0; i < SLOTS; i++) CHECK(!slots[i].busy);
    CHECK(!lacks_named(loop));
    if (!names_memory(loop)) CHECK_EQ(transfers_of(loop), 0);
    t_file_close(loop, f);
    t_file_check(path, FILE_LEN, 5, 0);
    t_dir_remove(loop, dir);
}

/* ---- What runs out, and what is refused -------------------------------------------------------- */

CONFORM(there_are_so_many_registered_regions_and_no_more)
{
    enum { STEP = 2 };
    pro_loop *loop = t_loop();
    char     *memory = t_alloc((size_t)STEP * (PRO_MEMORY_REGIONS_MAX + 1)), *more = memory;
    for (int i = 0; i < PRO_MEMORY_REGIONS_MAX; i++, more += STEP) {
        int error = pro_memory_register(loop, more, 1);
        if (error == PRO_ENOMEM) { /* each holds a page, and the user may have no more */
            CHECK(explains(loop, "ulimit -l"));
            t_loop_free(loop);
            t_skip("less memory may be locked");
        }
        CHECK_ERROR(error, PRO_OK);
    }
    CHECK_ERROR(pro_memory_register(loop, more, 1), PRO_ENOBUFS);
    CHECK_ERROR(pro_memory_unregister(loop, memory + (size_t)STEP * 1000), PRO_OK);
    CHECK_ERROR(pro_memory_register(loop, more, 1), PRO_OK);
    CHECK_ERROR(pro_memory_register(loop, memory + (size_t)STEP * 1000, 1), PRO_ENOBUFS);
}

CONFORM(without_memory_for_its_place_in_the_book_nothing_is_registered)
{
    pro_loop *loop = t_loop();
    char     *memory = t_alloc(100);
    t_memory_fails(0);
    CHECK_ERROR(pro_memory_register(loop, memory, 100), PRO_ENOMEM);
    t_memory_fails(-1);
    CHECK_EQ(bytes_of(loop), 0);
    CHECK_ERROR(pro_memory_register(loop, memory, 100), PRO_OK);
}

static int calls_until_refusal, refusal;

static int refuse(void *ctx, const char *call)
{
    (void)ctx;
    if (strcmp(call, "io_uring_register") != 0 || calls_until_refusal == 0) return 0;
    return --calls_until_refusal == 0 ? refusal : 0;
}

CONFORM(a_refusal_of_registered_memory_is_an_error_and_all_else_goes_on)
{
    static const struct {
        int number, error;
    } kinds[] = {{EPERM, PRO_EPERM}, {ENOMEM, PRO_ENOMEM}};
    for (int round = 0; round < 4; round++) { /* the table is refused, or the region */
        pro_loop_options options = t_loop_options();
        options.env.fault = refuse;
        refusal = kinds[round % 2].number;
        calls_until_refusal = 0;
        pro_loop   *loop = t_loop_with(&options);
        const char *dir = t_dir(loop), *path = t_in(dir, "a");
        pro_file   *f = t_new(pro_file);
        char       *memory = t_alloc(5000);
        bool        named = names_memory(loop);
        t_file_make(path, 5000, 2);
        t_file_open(loop, f, path, PRO_FILE_READ);
        calls_until_refusal = 1 + round / 2;
        bool is_asked = uses(loop, "registered_memory");
        CHECK_ERROR(pro_memory_register(loop, memory, 5000),
                    is_asked ? kinds[round % 2].error : PRO_OK);
        calls_until_refusal = 0;
        if (is_asked) {
            CHECK(explains(loop, "not registered"));
            CHECK_EQ(bytes_of(loop), 0);
            DO(loop, 0, PRO_OK, 5000, pro_file_read_exactly, f, memory, 5000, 0);
            CHECK_FILL(memory, 5000, 2, 0);
            CHECK_ERROR(pro_memory_unregister(loop, memory), PRO_ENOENT);
            CHECK_ERROR(pro_memory_register(loop, memory, 5000), PRO_OK);
        }
        DO(loop, named, PRO_OK, 5000, pro_file_read_exactly, f, memory, 5000, 0);
        t_file_close(loop, f);
        t_dir_remove(loop, dir);
        t_loop_free(loop);
    }
}

/* ---- Zero-copy sends --------------------------------------------------------------------------- */

CONFORM(a_send_that_is_not_copied_goes_from_registered_memory)
{
    enum { LEN = 300000 };
    pro_loop_options options = t_loop_options();
    options.zerocopy_min = 1000;
    pro_loop *loop = t_loop_with(&options);
    t_pair   *pair = t_pair_new(loop);
    char     *out = t_alloc(2 * LEN), *in = t_alloc(4 * LEN);
    t_op     *recv = t_new_op(), *send = t_new_op();
    bool      named = uses(loop, "registered_memory") && uses(loop, "send_zc");
    t_fill(out, 2 * LEN, 7, 0);
    CHECK_ERROR(pro_memory_register(loop, out, 2 * LEN - 1), PRO_OK);
    pro_recv_exactly(&recv->op, &pair->b, in, 4 * LEN, t_done);
    DO(loop, named, PRO_OK, LEN, pro_send_zerocopy, &pair->a, out, LEN);
    DO(loop, 0, PRO_OK, LEN, pro_send_zerocopy, &pair->a, out + LEN, LEN); /* not all of it */
    pro_vec vecs[2] = {{out, LEN / 2}, {out + LEN / 2, LEN - LEN / 2}};
    DO(loop, named && uses(loop, "registered_pieces"), PRO_OK, LEN, pro_sendv_zerocopy, &pair->a,
       vecs, 2);
    /* It is filled, and unregistered before the system hears of it. */
    pro_send_zerocopy(&send->op, &pair->a, out + LEN - 1, LEN, t_done);
    CHECK_ERROR(pro_memory_unregister(loop, out), PRO_OK);
    t_run(loop);
    CHECK_DONE(send, PRO_OK, LEN);
    CHECK_DONE(recv, PRO_OK, 4 * LEN);
    CHECK_FILL(in, 2 * LEN, 7, 0);
    CHECK_FILL(in + 2 * LEN, LEN, 7, 0);
    CHECK_FILL(in + 3 * LEN, LEN, 7, LEN - 1);
    t_pair_close(loop, pair);
}
