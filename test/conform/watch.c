/* Watching (53 of the list): created, changed, renamed, removed, lost, and nothing after a close. */
#include <stdio.h>

#include "lib/net.h"
#include "lib/world.h"

enum {
    NAMES =
        PRO_CHANGE_CREATED | PRO_CHANGE_REMOVED | PRO_CHANGE_RENAMED_FROM | PRO_CHANGE_RENAMED_TO,
    VAGUE = PRO_CHANGE_MODIFIED | PRO_CHANGE_ATTRIBUTES,
};

typedef struct seen {
    pro_watcher watcher;
    pro_change  changes[64], last;
    const char *directory;
    bool        is_exact; /* else there is what the system does not tell: watch.h */
} seen;

static void close_watcher(pro_loop *loop, pro_watcher *w)
{
    t_op *close = t_new_op();
    pro_watcher_close(&close->op, w, t_done);
    t_wait_count(loop, &close->done, 1);
    CHECK_DONE(close, PRO_OK, 0);
}

static seen *watcher(pro_loop *loop, const char *path, uint32_t what)
{
    seen *s = t_new(seen);
    CHECK_ERROR(pro_watcher_open(&s->watcher, loop, NULL), PRO_OK);
    int closed = pro_watcher_add(&s->watcher, path, PRO_CHANGE_CLOSED);
    s->is_exact = closed != PRO_ENOTSUP;
    int id = pro_watcher_add(&s->watcher, path, what);
    CHECK_GE(id, 0);
    if (s->is_exact) CHECK_EQ(closed, id);
    return s;
}

/* A directory, watched. */
static seen *watching(pro_loop *loop, uint32_t what)
{
    const char *directory = t_path("watched");
    t_make_directory(directory);
    seen *s = watcher(loop, directory, what);
    s->directory = directory;
    return s;
}

/* The next change, alone. */
static const pro_change *next(pro_loop *loop, seen *s)
{
    t_op *watch = t_new_op();
    s->last = s->changes[0];
    pro_watch(&watch->op, &s->watcher, s->changes, 1, t_done);
    t_wait_count(loop, &watch->done, 1);
    CHECK_DONE(watch, PRO_OK, 1);
    return &s->changes[0];
}

/* What happens once may be told twice in a row. */
static bool is_repeated(const seen *s)
{
    const pro_change *change = &s->changes[0];
    return change->what & VAGUE && change->what == s->last.what && change->path == s->last.path &&
           strcmp(change->name, s->last.name) == 0;
}

static void check_next(pro_loop *loop, seen *s, uint32_t what, const char *name)
{
    if (!s->is_exact && what == PRO_CHANGE_CLOSED) return;
    const pro_change *change = next(loop, s);
    while (!(what & VAGUE) && is_repeated(s)) change = next(loop, s);
    if (s->is_exact)
        CHECK_EQ(change->what, what);
    else if (what & VAGUE)
        CHECK(change->what & what && !(change->what & ~(uint32_t)VAGUE));
    else
        CHECK_EQ(change->what, what & ~PRO_CHANGE_DIRECTORY);
    if (strcmp(change->name, name) != 0) FAIL("it is of \"%s\", want \"%s\"", change->name, name);
}

/* Nothing more is told. */
static void check_silence(pro_loop *loop, seen *s)
{
    t_op *watch = t_new_op();
    do {
        watch->done = 0;
        s->last = s->changes[0];
        pro_watch(&watch->op, &s->watcher, s->changes, 1, t_done);
        for (int i = 0; i < 3; i++) t_poll(loop);
    } while (watch->done && is_repeated(s));
    CHECK_EQ(watch->done, 0);
    pro_cancel(&watch->op);
    t_wait_count(loop, &watch->done, 1);
    CHECK_DONE(watch, PRO_ECANCELED, 0);
}

CONFORM(a_watched_directory_tells_what_happens_to_its_entries)
{
    pro_loop   *loop = t_loop();
    seen       *s = watching(loop, PRO_CHANGE_CREATED | PRO_CHANGE_REMOVED | PRO_CHANGE_MODIFIED |
                                       PRO_CHANGE_ATTRIBUTES | PRO_CHANGE_CLOSED);
    const char *file = t_path_in(s->directory, "file"), *sub = t_path_in(s->directory, "sub");
    t_op       *early = t_new_op();
    pro_watch(&early->op, &s->watcher, s->changes, 1, t_done);
    for (int i = 0; i < 3; i++) t_poll(loop);
    CHECK_EQ(early->done, 0);
    t_write_file(file, "text");
    t_wait_count(loop, &early->done, 1);
    CHECK_DONE(early, PRO_OK, 1);
    CHECK_EQ(s->changes[0].what, PRO_CHANGE_CREATED);
    CHECK(strcmp(s->changes[0].name, "file") == 0);
    check_next(loop, s, PRO_CHANGE_MODIFIED, "file");
    check_next(loop, s, PRO_CHANGE_CLOSED, "file");
    t_touch(file);
    check_next(loop, s, PRO_CHANGE_ATTRIBUTES, "file");
    t_make_directory(sub);
    t_remove_directory(sub);
    t_remove(file);
    check_next(loop, s, PRO_CHANGE_CREATED | PRO_CHANGE_DIRECTORY, "sub");
    check_next(loop, s, PRO_CHANGE_REMOVED | PRO_CHANGE_DIRECTORY, "sub");
    check_next(loop, s, PRO_CHANGE_REMOVED, "file");
    check_silence(loop, s);
    close_watcher(loop, &s->watcher);
    t_remove_directory(s->directory);
}

CONFORM(both_halves_of_a_renaming_are_told_as_a_pair)
{
    pro_loop   *loop = t_loop();
    seen       *s = watching(loop, PRO_CHANGE_RENAMED_FROM | PRO_CHANGE_RENAMED_TO);
    const char *from = t_path_in(s->directory, "from"), *to = t_path_in(s->directory, "to");
    t_write_file(from, "text");
    t_rename(from, to);
    check_next(loop, s, PRO_CHANGE_RENAMED_FROM, "from");
    uint32_t pair = s->changes[0].pair;
    CHECK(pair != 0);
    check_next(loop, s, PRO_CHANGE_RENAMED_TO, "to");
    CHECK_EQ(s->changes[0].pair, pair);
    close_watcher(loop, &s->watcher);
    t_remove(to);
    t_remove_directory(s->directory);
}

/* Where the system says one at first and the others when it is asked again, not all of them at once. */
CONFORM(changes_that_came_together_are_told_together)
{
    enum { COUNT = 20 };
    pro_loop   *loop = t_loop();
    seen       *s = watching(loop, PRO_CHANGE_CREATED | PRO_CHANGE_REMOVED);
    t_op       *first = t_new_op(), *second = t_new_op(), *all = t_new_op();
    char        name[16];
    pro_change *parts[3] = {s->changes, s->changes + 5, t_array(pro_change, 64)};
    pro_change *told = t_array(pro_change, COUNT);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "%d", i);
        t_write_file(t_path_in(s->directory, name), "");
    }
    pro_watch(&first->op, &s->watcher, parts[0], 5, t_done);
    pro_watch(&second->op, &s->watcher, parts[1], 5, t_done); /* queued, in order */
    pro_watch(&all->op, &s->watcher, parts[2], 64, t_done);
    t_wait_count(loop, &all->done, 1);
    if (s->is_exact) {
        CHECK_DONE(first, PRO_OK, 5);
        CHECK_DONE(second, PRO_OK, 5);
        CHECK_DONE(all, PRO_OK, 10);
    }
    CHECK(first->order < second->order && second->order < all->order);
    int64_t     count = 0;
    const t_op *ops[] = {first, second, all};
    for (int part = 0; part < 3; part++) {
        CHECK_ERROR(ops[part]->error, PRO_OK);
        CHECK(ops[part]->value > 0 && count + ops[part]->value <= COUNT);
        for (int64_t i = 0; i < ops[part]->value; i++) told[count++] = parts[part][i];
    }
    while (count < COUNT) told[count++] = *next(loop, s);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "%d", i);
        CHECK_EQ(told[i].what, PRO_CHANGE_CREATED);
        CHECK(strcmp(told[i].name, name) == 0);
        t_remove(t_path_in(s->directory, name));
    }
    close_watcher(loop, &s->watcher);
    t_remove_directory(s->directory);
}

CONFORM(a_watched_file_tells_its_own_changes_and_its_end)
{
    pro_loop   *loop = t_loop();
    const char *file = t_path("file"), *other = t_path("other");
    t_write_file(file, "text");
    t_write_file(other, "text");
    seen *s = watcher(loop, file, PRO_CHANGE_ATTRIBUTES);
    int   id = pro_watcher_add(&s->watcher, file, PRO_CHANGE_MODIFIED | PRO_CHANGE_REMOVED);
    int   of_other = pro_watcher_add(&s->watcher, other, PRO_CHANGE_MODIFIED);
    CHECK_GE(id, 0);
    CHECK(of_other != id);
    CHECK_EQ(pro_watcher_add(&s->watcher, file, PRO_CHANGE_ALL), id);
    t_write_file(file, "more");
    check_next(loop, s, PRO_CHANGE_MODIFIED, "");
    CHECK_EQ(s->changes[0].path, id);
    check_next(loop, s, PRO_CHANGE_CLOSED, "");
    t_write_file(other, "more");
    check_next(loop, s, PRO_CHANGE_MODIFIED, "");
    CHECK_EQ(s->changes[0].path, of_other);
    t_remove(file);
    if (s->is_exact) check_next(loop, s, PRO_CHANGE_ATTRIBUTES, ""); /* its number of links */
    check_next(loop, s, PRO_CHANGE_REMOVED, "");
    check_next(loop, s, PRO_CHANGE_ENDED, "");
    CHECK_EQ(s->changes[0].path, id);
    CHECK_ERROR(pro_watcher_remove(&s->watcher, id), PRO_EINVAL);
    CHECK_ERROR(pro_watcher_remove(&s->watcher, of_other), PRO_OK);
    check_next(loop, s, PRO_CHANGE_ENDED, "");
    CHECK_EQ(s->changes[0].path, of_other);
    t_write_file(other, "yet more");
    check_silence(loop, s);
    close_watcher(loop, &s->watcher);
    t_remove(other);
}

CONFORM(a_watched_file_is_followed_through_its_renaming)
{
    pro_loop   *loop = t_loop();
    const char *from = t_path("from"), *to = t_path("to"), *third = t_path("third");
    t_write_file(from, "text");
    seen *s = watcher(loop, from, PRO_CHANGE_MODIFIED | PRO_CHANGE_RENAMED_FROM);
    t_rename(from, to);
    check_next(loop, s, PRO_CHANGE_RENAMED_FROM, "");
    t_write_file(from, "another");
    t_write_file(to, "more");
    check_next(loop, s, PRO_CHANGE_MODIFIED, "");
    t_rename(from, third);
    check_silence(loop, s);
    t_remove(third);
    t_remove(to); /* which is told when it is, and nothing else of it was asked for */
    check_next(loop, s, PRO_CHANGE_ENDED, "");
    close_watcher(loop, &s->watcher);
}

CONFORM(a_watched_directory_that_is_removed_says_so_and_ends)
{
    pro_loop *loop = t_loop();
    seen     *s = watching(loop, PRO_CHANGE_CREATED | PRO_CHANGE_REMOVED);
    int       id = pro_watcher_add(&s->watcher, s->directory, PRO_CHANGE_REMOVED);
    t_remove_directory(s->directory);
    check_next(loop, s, PRO_CHANGE_REMOVED, "");
    check_next(loop, s, PRO_CHANGE_ENDED, "");
    CHECK_EQ(s->changes[0].path, id);
    CHECK_ERROR(pro_watcher_remove(&s->watcher, id), PRO_EINVAL);
    check_silence(loop, s);
    t_make_directory(s->directory); /* nothing holds its name */
    CHECK_GT(pro_watcher_add(&s->watcher, s->directory, PRO_CHANGE_REMOVED), id);
    close_watcher(loop, &s->watcher);
    t_remove_directory(s->directory);
}

CONFORM(the_name_of_a_change_is_utf8)
{
    static const char name[] = "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5\xe6\x9c\xac";
    pro_loop         *loop = t_loop();
    seen             *s = watching(loop, PRO_CHANGE_CREATED | PRO_CHANGE_REMOVED);
    const char       *path = t_path_in(s->directory, name);
    t_op             *mkdir = t_new_op(), *rmdir = t_new_op();
    pro_path_mkdir(&mkdir->op, loop, path, 0755, t_done);
    t_wait(loop, mkdir);
    CHECK_DONE(mkdir, PRO_OK, 0);
    check_next(loop, s, PRO_CHANGE_CREATED | PRO_CHANGE_DIRECTORY, name);
    pro_path_rmdir(&rmdir->op, loop, path, t_done);
    t_wait(loop, rmdir);
    CHECK_DONE(rmdir, PRO_OK, 0);
    check_next(loop, s, PRO_CHANGE_REMOVED | PRO_CHANGE_DIRECTORY, name);
    close_watcher(loop, &s->watcher);
    t_remove_directory(s->directory);
}

CONFORM(no_change_is_told_after_a_close)
{
    pro_loop *loop = t_loop();
    seen     *s = watching(loop, PRO_CHANGE_ALL);
    t_op     *pending = t_new_op(), *queued = t_new_op(), *close = t_new_op(), *late = t_new_op();
    pro_watch(&pending->op, &s->watcher, s->changes, 8, t_done);
    pro_watch(&queued->op, &s->watcher, s->changes + 8, 8, t_done);
    t_poll(loop);
    const char *file = t_path_in(s->directory, "file");
    pro_watcher_close(&close->op, &s->watcher, t_done);
    t_write_file(file, "text");
    pro_watch(&late->op, &s->watcher, s->changes + 16, 8, t_done);
    t_wait_count(loop, &close->done, 1);
    t_wait_count(loop, &late->done, 1);
    CHECK_EQ(pending->done, 1); /* with what was there when it ended, or canceled */
    CHECK(pending->error == PRO_OK || pending->error == PRO_ECANCELED);
    CHECK_DONE(queued, PRO_ECANCELED, 0);
    CHECK_DONE(close, PRO_OK, 0);
    CHECK_DONE(late, PRO_ECLOSED, 0);
    CHECK_LT(pending->order, close->order);
    CHECK_ERROR(pro_watcher_add(&s->watcher, s->directory, PRO_CHANGE_ALL), PRO_ECLOSED);
    t_remove(file);
    t_remove_directory(s->directory);
}

CONFORM(a_watch_canceled_or_timed_out_loses_no_change)
{
    pro_loop *loop = t_loop();
    seen     *s = watching(loop, PRO_CHANGE_CREATED);
    t_op     *timed = t_new_op();
    timed->op.deadline_ns = pro_loop_now(loop) + PRO_MSEC;
    pro_watch(&timed->op, &s->watcher, s->changes, 1, t_done);
    t_wait_count(loop, &timed->done, 1);
    CHECK_DONE(timed, PRO_ETIMEDOUT, 0);
    int rounds = t_rounds(50), told = 0;
    for (int i = 0; i < rounds; i++) {
        char  name[16];
        t_op *watch = t_new_op();
        snprintf(name, sizeof name, "%d", i);
        pro_watch(&watch->op, &s->watcher, s->changes, 64, t_done);
        if (t_below(2)) t_poll(loop);
        t_write_file(t_path_in(s->directory, name), "");
        if (t_below(2)) t_poll(loop);
        pro_cancel(&watch->op);
        t_wait_count(loop, &watch->done, 1);
        CHECK(watch->error == PRO_OK || watch->error == PRO_ECANCELED);
        told += (int)watch->value;
    }
    while (told < rounds) {
        next(loop, s);
        told++;
    }
    check_silence(loop, s);
    close_watcher(loop, &s->watcher);
    for (int i = 0; i < rounds; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        t_remove(t_path_in(s->directory, name));
    }
    t_remove_directory(s->directory);
}

/* How many the system keeps is its own to know: more and more, until some are lost. */
CONFORM(changes_that_nobody_fetches_end_in_an_overflow)
{
    enum { FIRST = 3000, MOST = 200000 };
    pro_loop   *loop = t_loop();
    seen       *s = watching(loop, NAMES);
    const char *a = t_path_in(s->directory, "a"), *b = t_path_in(s->directory, "b");
    int         told = 0, made = 1;
    bool        lost = false;
    t_write_file(a, "");
    for (int burst = FIRST; !lost; burst *= 2) {
        if (burst > MOST) t_skip("the system keeps more changes than there should be files");
        for (int i = 0; i < burst; i += 2) { /* two changes a call */
            t_rename(a, b);
            t_rename(b, a);
            made += 4;
        }
        while (!lost && told < made) {
            t_op *watch = t_new_op();
            pro_watch(&watch->op, &s->watcher, s->changes, 64, t_done);
            t_wait_count(loop, &watch->done, 1);
            CHECK_ERROR(watch->error, PRO_OK);
            for (int i = 0; i < watch->value; i++) {
                if (s->changes[i].what == PRO_CHANGE_OVERFLOW) {
                    CHECK_EQ(s->changes[i].path, -1);
                    lost = true;
                } else {
                    told++;
                }
            }
        }
    }
    CHECK_LT(told, made);
    t_rename(a, b); /* and it goes on */
    check_next(loop, s, PRO_CHANGE_RENAMED_FROM, "a");
    t_remove(b);
    close_watcher(loop, &s->watcher);
    t_remove_directory(s->directory);
}

CONFORM(watching_what_is_not_there_is_an_error)
{
    pro_loop *loop = t_loop();
    seen     *s = watching(loop, PRO_CHANGE_ALL);
    t_op     *none = t_new_op();
    CHECK_ERROR(pro_watcher_add(&s->watcher, t_path("missing"), PRO_CHANGE_ALL), PRO_ENOENT);
    CHECK_ERROR(pro_watcher_add(&s->watcher, s->directory, 0), PRO_EINVAL);
    CHECK_ERROR(pro_watcher_add(&s->watcher, s->directory, PRO_CHANGE_ENDED), PRO_EINVAL);
    pro_watch(&none->op, &s->watcher, s->changes, 0, t_done);
    t_wait_count(loop, &none->done, 1);
    CHECK_DONE(none, PRO_EINVAL, 0);
    close_watcher(loop, &s->watcher);
    t_remove_directory(s->directory);
}
