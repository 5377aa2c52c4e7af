/* No handle of the system of any kind, threads, events and waits among them, is left by pipes, pairs, what
 * waits, children and their groups, watchers.  The list counts files, ports, processes and jobs after every sentence; here
 * it is all of them, over so many rounds that one a round would show. */
#include "lib/net.h"
#include "lib/world.h"

#include <windows.h>

enum { WARM_UP = 20, ROUNDS = 60, SLACK = ROUNDS / 4 };

/* One by one: Wine's GetProcessHandleCount says 0. */
static int handles(void)
{
    enum { MOST = 1024 };
    DWORD flags;
    int   count = 0;
    for (uintptr_t value = 4; value <= 4 * MOST; value += 4)
        count += GetHandleInformation((HANDLE)value, &flags) != 0;
    CHECK_GT(count, 0);
    CHECK_LT(count, MOST);
    return count;
}

static void end_pair(pro_loop *loop, t_pair *pair, int how)
{
    t_op *ops = t_array(t_op, 4);
    char  byte = 'x';
    pro_recv(&ops[0].op, &pair->a, &byte, 1, t_done);
    if (how % 3 == 0) pro_send_all(&ops[1].op, &pair->b, "y", 1, t_done);
    if (how % 3 != 2) t_poll(loop);
    if (how % 3 == 1) pro_cancel(&ops[0].op);
    pro_close(&ops[2].op, &pair->a, t_done);
    pro_close(&ops[3].op, &pair->b, t_done);
    t_run(loop);
    CHECK_EQ(ops[0].done + ops[2].done + ops[3].done, 3);
}

static void do_pairs(pro_loop *loop, int round)
{
    t_pair  *pair = t_new(t_pair);
    intptr_t fds[2];
    CHECK_ERROR(pro_pipe_pair(&pair->a, &pair->b, loop, NULL), PRO_OK);
    end_pair(loop, pair, round);
    CHECK_ERROR(pro_socket_pair(&pair->a, &pair->b, loop, NULL), PRO_OK);
    end_pair(loop, pair, round);
    t_pipe(fds);
    CHECK_ERROR(pro_socket_adopt(&pair->a, loop, NULL, fds[0]), PRO_OK);
    CHECK_ERROR(pro_socket_adopt(&pair->b, loop, NULL, fds[1]), PRO_OK);
    end_pair(loop, pair, round);
    if (pro_socket_standard(&pair->a, loop, NULL, PRO_STDIN) == PRO_OK) t_close(loop, &pair->a);
}

static void do_child(pro_loop *loop, int round)
{
    static const char *const scripts[] = {"exit 3", "sleep 60", "no-such-program"};
    pro_process             *p = t_new(pro_process);
    t_op                    *spawn = t_new_op(), *wait = t_new_op(), *close = t_new_op();
    const char              *args[] = {"sh", "-c", scripts[round % 3], NULL};
    pro_stdio         stdio[3] = {{PRO_STDIO_READ, 0}, {PRO_STDIO_WRITE, 0}, {PRO_STDIO_BOTH, 0}};
    pro_spawn_options o = {.file = t_shell(), .args = args, .stdio = stdio, .stdio_count = 3};
    if (round % 3 == 2) o.file = scripts[2];
    if (round % 2) o.flags = PRO_SPAWN_GROUP;
    pro_process_init(p, loop, NULL);
    pro_spawn(&spawn->op, p, &o, t_done);
    pro_process_wait(&wait->op, p, t_done);
    t_wait_count(loop, &spawn->done, 1);
    if (round % 3 == 0) t_wait_count(loop, &wait->done, 1);
    pro_process_close(&close->op, p, t_done);
    t_run(loop);
    CHECK_ERROR(spawn->error, round % 3 == 2 ? PRO_ENOENT : PRO_OK);
    for (int i = 0; i < 3 && spawn->error == PRO_OK; i++) t_close_fd(stdio[i].descriptor);
}

/* A directory whose question changes, and a file in it; a path that goes, one that is taken back, one that stays. */
static void do_watcher(pro_loop *loop, int round)
{
    pro_watcher *w = t_new(pro_watcher);
    pro_change  *changes = t_array(pro_change, 8);
    const char  *directory = t_path("watched"), *file = t_path_in(directory, "file");
    t_op        *watch = t_new_op(), *late = t_new_op(), *close = t_new_op();
    t_make_directory(directory);
    t_write_file(file, "text");
    CHECK_ERROR(pro_watcher_open(w, loop, NULL), PRO_OK);
    int of_directory = pro_watcher_add(w, directory, PRO_CHANGE_CREATED);
    CHECK_GT(of_directory, 0);
    CHECK_GT(pro_watcher_add(w, file, PRO_CHANGE_ALL), of_directory);
    if (round % 2) CHECK_EQ(pro_watcher_add(w, directory, PRO_CHANGE_ALL), of_directory);
    t_remove(file);
    pro_watch(&watch->op, w, changes, 8, t_done);
    t_wait_count(loop, &watch->done, 1);
    CHECK_ERROR(watch->error, PRO_OK);
    if (round % 3 == 0) CHECK_ERROR(pro_watcher_remove(w, of_directory), PRO_OK);
    pro_watch(&late->op, w, changes, 8, t_done);
    if (round % 3 == 1) t_poll(loop);
    pro_watcher_close(&close->op, w, t_done);
    t_run(loop);
    CHECK_EQ(late->done, 1);
    CHECK_DONE(close, PRO_OK, 0);
    t_remove_directory(directory);
}

static void check_rounds(void (*one)(pro_loop *loop, int round))
{
    pro_loop *loop = t_loop();
    for (int i = 0; i < WARM_UP; i++) one(loop, i);
    int before = handles();
    for (int i = 0; i < ROUNDS; i++) one(loop, i);
    int after = handles();
    t_note("%d handles, %d after %d rounds\n", before, after, ROUNDS);
    CHECK_LE(after, before + SLACK);
}

CONFORM(pairs_and_what_waits_leave_no_handle) { check_rounds(do_pairs); }

CONFORM(children_and_groups_leave_no_handle) { check_rounds(do_child); }

CONFORM(watchers_leave_no_handle) { check_rounds(do_watcher); }

int main(int argc, char **argv)
{
    char *args[8] = {argv[0], "--engine=iocp"}; /* and no other */
    for (int i = 1; i < argc && i < 7; i++) args[i + 1] = argv[i];
    return t_main(argc + 1, args);
}
