/* Files: 31, 51, 52 and 53 of the list.  Whole files and what goes wrong: file_whole.c. */
#include "lib/files.h"

#include <stdio.h>
#include <stdlib.h>

enum { RW = PRO_FILE_READ | PRO_FILE_WRITE | PRO_FILE_CREATE };

/* Initiate, wait, check. */
#define DO(loop, want_error, want_value, call, ...)                                                \
    do {                                                                                           \
        t_op *do_ = t_new_op();                                                                    \
        call(&do_->op, __VA_ARGS__, t_done);                                                       \
        CHECK_EQ(do_->done, 0);                                                                    \
        t_wait((loop), do_);                                                                       \
        CHECK_DONE(do_, (want_error), (want_value));                                               \
    } while (0)

CONFORM(a_file_is_written_and_read_at_offsets)
{
    enum { LEN = 300000 };
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    char       *out = t_alloc(LEN), *in = t_alloc(LEN);
    t_fill(out, LEN, 3, 0);
    t_file_open(loop, f, path, RW);
    CHECK(pro_file_descriptor(f) >= 0);
    DO(loop, PRO_OK, LEN - 1000, pro_file_write, f, out + 1000, LEN - 1000, 1000);
    DO(loop, PRO_OK, 1000, pro_file_write, f, out, 1000, 0);
    DO(loop, PRO_OK, 5000, pro_file_read_exactly, f, in, 5000, 70000);
    CHECK_FILL(in, 5000, 3, 70000);
    DO(loop, PRO_OK, LEN, pro_file_read_exactly, f, in, LEN, 0);
    CHECK_FILL(in, LEN, 3, 0);
    t_file_close(loop, f);
    CHECK_EQ(pro_file_descriptor(f), -1);
    CHECK_EQ(t_file_size(path), LEN);
    t_file_check(path, LEN, 3, 0);
    t_dir_remove(loop, dir);
}

CONFORM(a_short_read_of_a_file_is_a_result_and_its_end_says_so)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    char       *in = t_alloc(100);
    t_file_make(path, 100, 1);
    t_file_open(loop, f, path, PRO_FILE_READ);
    DO(loop, PRO_OK, 20, pro_file_read, f, in, 60, 80);
    CHECK_FILL(in, 20, 1, 80);
    DO(loop, PRO_EOF, 20, pro_file_read_exactly, f, in, 60, 80);
    DO(loop, PRO_EOF, 0, pro_file_read, f, in, 60, 100);
    DO(loop, PRO_EOF, 0, pro_file_read, f, in, 60, 100000);
    DO(loop, PRO_EOF, 0, pro_file_read_exactly, f, in, 1, 100);
    DO(loop, PRO_OK, 100, pro_file_read, f, in, 100, 0);
    DO(loop, PRO_EINVAL, 0, pro_file_read, f, in, 100, UINT64_MAX);
    DO(loop, PRO_EBADF, 0, pro_file_write, f, in, 1, 0); /* open for reading only */
    t_file_close(loop, f);
    t_dir_remove(loop, dir);
}

CONFORM(reads_and_writes_of_length_zero_complete_without_the_file)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    pro_vec     none[2] = {{NULL, 0}, {NULL, 0}};
    t_file_open(loop, f, path, RW);
    DO(loop, PRO_OK, 0, pro_file_read, f, NULL, 0, 12345);
    DO(loop, PRO_OK, 0, pro_file_read_exactly, f, NULL, 0, 0);
    DO(loop, PRO_OK, 0, pro_file_write, f, NULL, 0, 12345);
    DO(loop, PRO_OK, 0, pro_file_writev, f, none, 2, 7);
    DO(loop, PRO_OK, 0, pro_file_readv, f, none, 0, 7);
    t_file_close(loop, f);
    CHECK_EQ(t_file_size(path), 0);
    t_dir_remove(loop, dir);
}

CONFORM(more_pieces_than_the_system_takes_are_written_and_read)
{
    enum { PIECES = 3000 };
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    pro_vec    *vecs = t_array(pro_vec, PIECES);
    size_t      total = 0;
    for (int i = 0; i < PIECES; i++) total += vecs[i].len = t_below(40);
    char *bytes = t_alloc(total);
    t_fill(bytes, total, 9, 50);
    size_t at = 0;
    for (int i = 0; i < PIECES; at += vecs[i++].len) vecs[i].base = bytes + at;
    t_file_open(loop, f, path, RW);
    DO(loop, PRO_OK, total, pro_file_writev, f, vecs, PIECES, 50);
    for (int exactly = 0; exactly < 2; exactly++) {
        memset(bytes, 0, total);
        t_op *t = t_new_op();
        if (exactly)
            pro_file_readv_exactly(&t->op, f, vecs, PIECES, 50, t_done);
        else
            pro_file_readv(&t->op, f, vecs, PIECES, 50, t_done);
        memset(vecs, 0, PIECES * sizeof *vecs); /* ours again: it is a copy that counts */
        t_wait(loop, t);
        CHECK_DONE(t, PRO_OK, total);
        CHECK_FILL(bytes, total, 9, 50);
        at = 0;
        for (int i = 0; i < PIECES; i++) {
            vecs[i] = (pro_vec){bytes + at, i < PIECES - 1 ? total / PIECES : total - at};
            at += vecs[i].len;
        }
    }
    t_file_close(loop, f);
    t_dir_remove(loop, dir);
}

CONFORM(many_operations_of_one_file_are_in_flight_at_once)
{
    enum { COUNT = 500, PART = 700 };
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    char       *out = t_alloc(COUNT * PART), *in = t_alloc(COUNT * PART);
    t_op       *ops = t_array(t_op, COUNT);
    t_fill(out, COUNT * PART, 4, 0);
    t_file_open(loop, f, path, RW);
    for (int i = COUNT - 1; i >= 0; i--)
        pro_file_write(&ops[i].op, f, out + i * PART, PART, (uint64_t)(i * PART), t_done);
    t_run(loop);
    for (int i = 0; i < COUNT; i++) CHECK_DONE(&ops[i], PRO_OK, PART);
    memset(ops, 0, COUNT * sizeof *ops);
    for (int i = 0; i < COUNT; i++)
        pro_file_read_exactly(&ops[i].op, f, in + i * PART, PART, (uint64_t)(i * PART), t_done);
    t_run(loop);
    for (int i = 0; i < COUNT; i++) CHECK_DONE(&ops[i], PRO_OK, PART);
    CHECK_FILL(in, COUNT * PART, 4, 0);
    t_file_close(loop, f);
    t_dir_remove(loop, dir);
}

CONFORM(appending_writes_at_the_end_whatever_the_offset)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    char       *out = t_alloc(200);
    t_fill(out, 200, 8, 0);
    t_file_make(path, 100, 8);
    t_file_open(loop, f, path, PRO_FILE_WRITE | PRO_FILE_APPEND);
    DO(loop, PRO_OK, 50, pro_file_write, f, out + 100, 50, 0);
    DO(loop, PRO_OK, 50, pro_file_write, f, out + 150, 50, 7);
    t_file_close(loop, f);
    CHECK_EQ(t_file_size(path), 200);
    t_file_check(path, 200, 8, 0);
    t_dir_remove(loop, dir);
}

CONFORM(a_sync_comes_after_the_writes_and_sizes_are_set_and_told)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    pro_stat   *stat = t_new(pro_stat);
    char       *out = t_alloc(1000);
    t_file_open(loop, f, path, RW);
    DO(loop, PRO_OK, 1000, pro_file_write, f, out, 1000, 0);
    DO(loop, PRO_OK, 0, pro_file_datasync, f);
    DO(loop, PRO_OK, 0, pro_file_sync, f);
    DO(loop, PRO_OK, 0, pro_file_advise, f, 0, 0, PRO_ADVICE_SEQUENTIAL);
    DO(loop, PRO_EINVAL, 0, pro_file_advise, f, 0, 0, (pro_advice)77);
    DO(loop, PRO_OK, 0, pro_file_stat, f, stat);
    CHECK_EQ(stat->size, 1000);
    CHECK_EQ(stat->type, PRO_TYPE_REGULAR);
    CHECK_EQ(stat->mode & 0600, 0600);
    CHECK_EQ(stat->links, 1);
    CHECK_GT(stat->modified_ns, INT64_C(1500000000) * 1000000000);
    DO(loop, PRO_OK, 0, pro_file_truncate, f, 10);
    CHECK_EQ(t_file_size(path), 10);
    DO(loop, PRO_OK, 0, pro_file_truncate, f, 5000);
    CHECK_EQ(t_file_size(path), 5000);
    t_op *t = t_new_op();
    pro_file_allocate(&t->op, f, 4000, 100000, t_done);
    t_wait(loop, t);
    if (t->error != PRO_ENOTSUP) { /* of the file system */
        CHECK_DONE(t, PRO_OK, 0);
        CHECK_EQ(t_file_size(path), 104000);
    }
    t_file_close(loop, f);
    t_file_open(loop, f, path, PRO_FILE_WRITE | PRO_FILE_TRUNCATE);
    CHECK_EQ(t_file_size(path), 0);
    t_file_close(loop, f);
    t_dir_remove(loop, dir);
}

CONFORM(names_are_made_changed_and_taken_away)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *a = t_in(dir, "a"), *b = t_in(dir, "b");
    const char *sub = t_in(dir, "sub"), *sub_a = t_in(sub, "a"), *none = t_in(dir, "none/x");
    pro_stat   *stat = t_new(pro_stat);
    t_file_make(a, 77, 1);
    DO(loop, PRO_OK, 0, pro_path_stat, loop, a, 0, stat);
    CHECK_EQ(stat->size, 77);
    uint64_t inode = stat->inode;
    DO(loop, PRO_OK, 0, pro_path_link, loop, a, b);
    DO(loop, PRO_EEXIST, 0, pro_path_link, loop, a, b);
    DO(loop, PRO_OK, 0, pro_path_stat, loop, b, 0, stat);
    CHECK_EQ(stat->inode, inode);
    CHECK_EQ(stat->links, 2);
    DO(loop, PRO_OK, 0, pro_path_unlink, loop, b);
    DO(loop, PRO_ENOENT, 0, pro_path_stat, loop, b, 0, stat);

    DO(loop, PRO_OK, 0, pro_path_mkdir, loop, sub, 0700);
    DO(loop, PRO_EEXIST, 0, pro_path_mkdir, loop, sub, 0700);
    DO(loop, PRO_OK, 0, pro_path_stat, loop, sub, 0, stat);
    CHECK_EQ(stat->type, PRO_TYPE_DIRECTORY);
    CHECK_EQ(stat->mode, 0700);
    DO(loop, PRO_OK, 0, pro_path_rename, loop, a, sub_a);
    DO(loop, PRO_ENOENT, 0, pro_path_rename, loop, a, b);
    DO(loop, PRO_ENOTEMPTY, 0, pro_path_rmdir, loop, sub);
    DO(loop, PRO_EISDIR, 0, pro_path_unlink, loop, sub);
    DO(loop, PRO_ENOTDIR, 0, pro_path_rmdir, loop, sub_a);
    DO(loop, PRO_OK, 0, pro_path_unlink, loop, sub_a);
    DO(loop, PRO_OK, 0, pro_path_rmdir, loop, sub);
    DO(loop, PRO_ENOENT, 0, pro_path_mkdir, loop, none, 0755);
    DO(loop, PRO_ENOENT, 0, pro_path_unlink, loop, none);
    t_dir_remove(loop, dir);
}

CONFORM(a_symbolic_link_is_followed_unless_asked_not_to)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *b = t_in(dir, "b"), *c = t_in(dir, "c");
    pro_stat   *stat = t_new(pro_stat);
    pro_file   *f = t_new(pro_file);
    t_file_make(b, 77, 1);
    DO(loop, PRO_OK, 0, pro_path_symlink, loop, "b", c);
    DO(loop, PRO_OK, 0, pro_path_stat, loop, c, 0, stat);
    CHECK_EQ(stat->type, PRO_TYPE_REGULAR);
    DO(loop, PRO_OK, 0, pro_path_stat, loop, c, PRO_FILE_NO_FOLLOW, stat);
    CHECK_EQ(stat->type, PRO_TYPE_SYMLINK);
    DO(loop, PRO_ELOOP, 0, pro_file_open, f, loop, NULL, c, PRO_FILE_NO_FOLLOW, 0644);
    DO(loop, PRO_OK, 0, pro_path_unlink, loop, b);
    DO(loop, PRO_ENOENT, 0, pro_path_stat, loop, c, 0, stat);
    DO(loop, PRO_OK, 0, pro_path_unlink, loop, c);
    t_dir_remove(loop, dir);
}

CONFORM(an_open_that_fails_says_why_and_leaves_nothing_to_close)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *a = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    char       *name = t_alloc(400), *in = t_alloc(8);
    memset(name, 'x', 399);
    t_file_make(a, 1, 1);
    const struct {
        const char *path;
        uint32_t    flags;
        int         error;
    } tries[] = {
        {t_in(dir, "none"), PRO_FILE_READ, PRO_ENOENT}, {t_in(dir, "none/x"), RW, PRO_ENOENT},
        {a, RW | PRO_FILE_EXCLUSIVE, PRO_EEXIST},       {a, PRO_FILE_DIRECTORY, PRO_ENOTDIR},
        {t_in(a, "x"), PRO_FILE_READ, PRO_ENOTDIR},     {dir, PRO_FILE_WRITE, PRO_EISDIR},
        {t_in(dir, name), RW, PRO_ENAMETOOLONG},
    };
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++)
        DO(loop, tries[i].error, 0, pro_file_open, f, loop, NULL, tries[i].path, tries[i].flags,
           0644);
    t_file_open(loop, f, dir, PRO_FILE_DIRECTORY);
    DO(loop, PRO_EISDIR, 0, pro_file_read, f, in, 8, 0);
    DO(loop, PRO_OK, 0, pro_file_sync, f);
    t_file_close(loop, f);
    t_dir_remove(loop, dir);
}

CONFORM(a_directory_is_listed_whole)
{
    enum { NAMES = 700, LEN = 1024 };
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop);
    bool       *seen = t_array(bool, NAMES);
    pro_file   *f = t_new(pro_file);
    char       *buf = t_alloc(LEN), name[32];
    int         count = 0, parts = 0;
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "name-%d", i);
        t_file_make(t_in(dir, name), 0, 0);
    }
    t_file_open(loop, f, dir, PRO_FILE_DIRECTORY);
    for (;; parts++) {
        t_op *t = t_new_op();
        pro_file_list(&t->op, f, buf, LEN, t_done);
        t_wait(loop, t);
        if (t->error == PRO_EOF) break;
        CHECK_ERROR(t->error, PRO_OK);
        CHECK_GT(t->value, 0);
        pro_dir_entry entry;
        for (size_t at = 0; pro_dir_next(buf, t->value, &at, &entry); count++) {
            int i = atoi(entry.name + 5);
            CHECK(strncmp(entry.name, "name-", 5) == 0 && i < NAMES && !seen[i]);
            CHECK(entry.type == PRO_TYPE_REGULAR || entry.type == PRO_TYPE_UNKNOWN);
            seen[i] = true;
        }
    }
    CHECK_EQ(count, NAMES);
    CHECK_GT(parts, 1);
    DO(loop, PRO_EOF, 0, pro_file_list, f, buf, LEN);
    t_file_close(loop, f);
    t_dir_remove(loop, dir);
}

/* Names are UTF-8 on every system: letters of two, three and four bytes come back as they went. */
CONFORM(a_path_is_utf_8)
{
    static const char name[] = "na\xc3\xafve-\xe3\x83\x95\xe3\x82\xa1-\xf0\x9f\x9a\xaa";
    pro_loop         *loop = t_loop();
    const char       *dir = t_dir(loop), *path = t_in(dir, name);
    pro_file         *f = t_new(pro_file);
    pro_stat         *stat = t_new(pro_stat);
    char             *buf = t_alloc(1024);
    pro_dir_entry     entry;
    size_t            at = 0;
    t_file_open(loop, f, path, RW);
    DO(loop, PRO_OK, 3, pro_file_write, f, "abc", 3, 0);
    t_file_close(loop, f);
    DO(loop, PRO_OK, 0, pro_path_stat, loop, path, 0, stat);
    CHECK_EQ(stat->size, 3);
    t_file_open(loop, f, dir, PRO_FILE_DIRECTORY);
    t_op *list = t_new_op();
    pro_file_list(&list->op, f, buf, 1024, t_done);
    t_wait(loop, list);
    CHECK_ERROR(list->error, PRO_OK);
    CHECK(pro_dir_next(buf, list->value, &at, &entry));
    CHECK(strcmp(entry.name, name) == 0);
    CHECK(!pro_dir_next(buf, list->value, &at, &entry));
    t_file_close(loop, f);
    DO(loop, PRO_OK, 0, pro_path_unlink, loop, path);
    t_dir_remove(loop, dir);
}

CONFORM(a_temporary_file_has_no_name)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop);
    pro_file   *f = t_new(pro_file);
    char       *out = t_alloc(5000), *in = t_alloc(5000);
    t_fill(out, 5000, 2, 0);
    DO(loop, PRO_OK, 0, pro_file_open_temporary, f, loop, NULL, dir);
    CHECK_EQ(t_dir_count(loop, dir), 0);
    DO(loop, PRO_OK, 5000, pro_file_write, f, out, 5000, 0);
    DO(loop, PRO_OK, 5000, pro_file_read_exactly, f, in, 5000, 0);
    CHECK_FILL(in, 5000, 2, 0);
    t_file_close(loop, f);
    DO(loop, PRO_ENOENT, 0, pro_file_open_temporary, f, loop, NULL, t_in(dir, "none"));
    t_dir_remove(loop, dir);
}

CONFORM(direct_input_and_output_say_their_alignment)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    uint32_t    memory, offset;
    t_file_make(path, 65536, 6);
    t_file_open(loop, f, path, PRO_FILE_READ);
    pro_file_alignment(f, &memory, &offset);
    CHECK_EQ(memory, 1);
    CHECK_EQ(offset, 1);
    t_file_close(loop, f);

    t_op *t = t_new_op();
    pro_file_open(&t->op, f, loop, NULL, path, PRO_FILE_READ | PRO_FILE_DIRECT, 0, t_done);
    t_wait(loop, t);
    if (t->error == PRO_EINVAL) {
        t_dir_remove(loop, dir);
        t_skip("this file system has no direct I/O");
    }
    CHECK_DONE(t, PRO_OK, 0);
    pro_file_alignment(f, &memory, &offset);
    CHECK(memory > 0 && offset > 0 && 65536 % offset == 0);
    char *room = t_alloc(16384 + memory), *in = room;
    while ((uintptr_t)in % memory) in++;
    DO(loop, PRO_OK, 16384, pro_file_read_exactly, f, in, 16384, 32768);
    CHECK_FILL(in, 16384, 6, 32768);
    t_file_close(loop, f);
    t_dir_remove(loop, dir);
}

/* ---- The end of a file ----------------------------------------------------------------------- */

CONFORM(closing_a_file_ends_what_is_in_flight_and_completes_last)
{
    enum { COUNT = 200, PART = 4096 };
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    t_op       *ops = t_array(t_op, COUNT), *close = t_new_op(), *again = t_new_op();
    char       *in = t_alloc(COUNT * PART);
    t_file_make(path, COUNT * PART, 5);
    t_file_open(loop, f, path, PRO_FILE_READ);
    for (int i = 0; i < COUNT; i++)
        pro_file_read_exactly(&ops[i].op, f, in + i * PART, PART, (uint64_t)(i * PART), t_done);
    pro_file_close(&close->op, f, t_done);
    pro_file_close(&again->op, f, t_done);
    CHECK_EQ(close->done, 0);
    t_op *late = t_new_op();
    pro_file_read(&late->op, f, in, 1, 0, t_done);
    t_run(loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(ops[i].done, 1);
        CHECK(ops[i].error == PRO_OK || ops[i].error == PRO_ECANCELED);
        if (ops[i].error == PRO_OK) CHECK_FILL(in + i * PART, PART, 5, (uint64_t)(i * PART));
        CHECK_LT(ops[i].order, close->order);
    }
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_DONE(again, PRO_OK, 0);
    CHECK_LT(close->order, again->order);
    CHECK_DONE(late, PRO_ECLOSED, 0);
    DO(loop, PRO_ECLOSED, 0, pro_file_sync, f);
    DO(loop, PRO_OK, 0, pro_file_close, f);
    t_dir_remove(loop, dir);
}

CONFORM(a_file_may_be_closed_while_it_opens)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    t_file_make(path, 10, 5);
    for (int i = 0; i < 20; i++) {
        pro_file *f = t_new(pro_file);
        t_op     *open = t_new_op(), *close = t_new_op(), *early = t_new_op();
        pro_file_open(&open->op, f, loop, NULL, i % 3 ? path : t_in(dir, "none"), PRO_FILE_READ, 0,
                      t_done);
        pro_file_sync(&early->op, f, t_done);
        if (i & 1) pro_cancel(&open->op);
        pro_file_close(&close->op, f, t_done);
        t_run(loop);
        CHECK_EQ(open->done, 1);
        CHECK_DONE(early, PRO_EBADF, 0);
        CHECK_DONE(close, PRO_OK, 0);
        CHECK_LT(open->order, close->order);
        CHECK(open->error == PRO_OK || open->error == PRO_ECANCELED || open->error == PRO_ENOENT);
    }
    t_dir_remove(loop, dir);
}

static int drained;

static void on_drained(pro_scope *scope)
{
    (void)scope;
    drained = t_completions();
}

CONFORM(a_scope_that_ends_closes_its_files_and_waits_for_that)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    char       *in = t_alloc(4096);
    t_file_make(path, 4096, 5);
    for (int drain = 0; drain < 2; drain++) {
        pro_scope *scope = t_new(pro_scope);
        pro_file  *f = t_new(pro_file), *late = t_new(pro_file);
        t_op      *open = t_new_op(), *read = t_new_op(), *refused = t_new_op();
        pro_scope_init(scope, loop, NULL, on_drained);
        pro_file_open(&open->op, f, loop, scope, path, PRO_FILE_READ, 0, t_done);
        t_wait(loop, open);
        CHECK_DONE(open, PRO_OK, 0);
        int before = t_completions();
        drained = -1;
        pro_file_read(&read->op, f, in, 4096, 0, t_done);
        if (drain)
            pro_scope_drain(scope, PRO_NEVER);
        else
            pro_scope_close(scope);
        if (!drain) pro_file_open(&refused->op, late, loop, scope, path, PRO_FILE_READ, 0, t_done);
        t_run(loop);
        CHECK_EQ(read->done, 1);
        if (drain) CHECK_DONE(read, PRO_OK, 4096);
        if (!drain) CHECK_DONE(refused, PRO_ECANCELED, 0);
        CHECK_EQ(drained, before + 1 + !drain);
        CHECK_EQ(pro_file_descriptor(f), -1);
    }
    t_dir_remove(loop, dir);
}

CONFORM(a_deadline_ends_an_operation_of_a_file_once)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop), *path = t_in(dir, "a");
    pro_file   *f = t_new(pro_file);
    char       *in = t_alloc(4096);
    t_file_make(path, 4096, 5);
    t_file_open(loop, f, path, PRO_FILE_READ);
    for (int i = t_rounds(300); i > 0; i--) {
        t_op *t = t_new_op();
        t->op.deadline_ns = pro_loop_now(loop) + 1 + t_below(50000);
        pro_file_read_exactly(&t->op, f, in, 4096, 0, t_done);
        t_run(loop);
        if (t->error == PRO_ETIMEDOUT)
            CHECK_DONE(t, PRO_ETIMEDOUT, 0);
        else
            CHECK_DONE(t, PRO_OK, 4096);
        CHECK_EQ(t->op.deadline_ns, PRO_NEVER);
    }
    t_file_close(loop, f);
    t_dir_remove(loop, dir);
}

CONFORM(a_file_opened_by_an_operation_whose_scope_is_closing_is_not_made)
{
    pro_loop   *loop = t_loop();
    const char *dir = t_dir(loop);
    pro_scope  *scope = t_new(pro_scope);
    pro_file   *f = t_new(pro_file);
    t_op       *open = t_new_op();
    pro_scope_init(scope, loop, NULL, NULL);
    pro_scope_close(scope);
    open->op.scope = scope;
    pro_file_open(&open->op, f, loop, NULL, t_in(dir, "a"), RW, 0600, t_done);
    t_wait(loop, open);
    CHECK_DONE(open, PRO_ECANCELED, 0);
    t_run(loop);
    pro_loop_stats stats;
    pro_loop_stats_get(loop, &stats);
    CHECK_EQ(stats.live_handles, 0); /* there is nothing to close */
    t_dir_remove(loop, dir);
}
