/* Torture by countdown, as in torture.c, over what is no TCP: a pipe, UDP in batches, a Unix connection
 * with handles.  The first allocation fails, then the second, and so on; the same for system calls.
 * Whatever fails: every operation completes exactly once, everything is freed, nothing hangs.
 *
 * And a fork without exec: the child has loops of its own, and leaves its parent's alone. */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include <proactor.h>

#include "lib/os.h"

enum { LEN = 200000, MESSAGES = 3, WHOLE = 6 };

static struct {
    long memory_countdown, call_countdown; /* fails when it reaches 0; -1: never */
    int  number;
    long allocated;
    char call[32];
} env;

static void *env_realloc(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (size == 0) {
        if (ptr) env.allocated--;
        free(ptr);
        return NULL;
    }
    if (env.memory_countdown >= 0 && env.memory_countdown-- == 0) return NULL;
    void *memory = realloc(ptr, size);
    if (memory && !ptr) env.allocated++;
    return memory;
}

static int env_fault(void *ctx, const char *call)
{
    (void)ctx;
    if (env.call_countdown < 0 || env.call_countdown-- != 0) return 0;
    snprintf(env.call, sizeof env.call, "%s", call);
    return env.number;
}

/* ---- The scenario --------------------------------------------------------------------------- */

static struct {
    pro_loop    *loop;
    pro_scope    scope;
    pro_socket   reader, writer, client, server;
    pro_datagram from, to;
    pro_listener listener;
    pro_op       read, write, batch, recv, connect, accept, send_handles, recv_handles;
    pro_message  messages[MESSAGES];
    pro_address  address;
    int          started, completed, datagrams, whole;
    char         out[LEN], in[LEN], text[16], handles_text[16];
} s;

/* Each completion comes along here; what fails ends all of it. */
static bool failed(pro_op *op)
{
    s.completed++;
    if (op->error != PRO_OK) pro_scope_close(&s.scope);
    return op->error != PRO_OK;
}

static void whole(void)
{
    if (++s.whole == WHOLE) pro_scope_close(&s.scope);
}

static void on_whole(pro_op *op)
{
    if (!failed(op)) whole();
}

static void on_datagram(pro_op *op)
{
    if (failed(op)) return;
    if (++s.datagrams == MESSAGES) {
        whole();
        return;
    }
    s.started++;
    pro_recv_from(op, &s.to, s.text, sizeof s.text, &s.address, on_datagram);
}

static void on_handles(pro_op *op)
{
    intptr_t fd = pro_received_take(op); /* the first of two; the other is left */
    if (fd >= 0) close((int)fd);
    if (!failed(op)) whole();
}

static void on_accepted(pro_op *op)
{
    if (failed(op)) return;
    if (pro_accept_take(op, &s.server, &s.scope) != PRO_OK) {
        pro_scope_close(&s.scope);
        return;
    }
    s.started++;
    pro_recv_handles(&s.recv_handles, &s.server, s.handles_text, sizeof s.handles_text, on_handles);
}

static void on_connected(pro_op *op)
{
    intptr_t fds[2] = {pro_socket_descriptor(&s.client), pro_socket_descriptor(&s.client)};
    if (failed(op)) return;
    s.started++;
    pro_send_handles(&s.send_handles, &s.client, "handles", 7, fds, 2, on_whole);
}

static int open_all(const char *name)
{
    pro_address at = pro_address_loopback(PRO_IPV4, 0);
    int         error = pro_pipe_pair(&s.reader, &s.writer, s.loop, &s.scope);
    if (!error) error = pro_datagram_open(&s.from, s.loop, &s.scope, PRO_IPV4);
    if (!error) error = pro_datagram_open(&s.to, s.loop, &s.scope, PRO_IPV4);
    if (!error) error = pro_datagram_bind(&s.to, &at);
    if (!error) error = pro_datagram_local(&s.to, &at);
    if (!error) error = pro_listen_unix(&s.listener, s.loop, &s.scope, name, NULL);
    for (int i = 0; i < MESSAGES; i++)
        s.messages[i] = (pro_message){.buf = s.out, .len = (size_t)i, .address = at};
    return error;
}

static void begin(const char *name)
{
    s.started += 6;
    pro_recv_exactly(&s.read, &s.reader, s.in, LEN, on_whole);
    pro_send_all(&s.write, &s.writer, s.out, LEN, on_whole);
    pro_recv_from(&s.recv, &s.to, s.text, sizeof s.text, &s.address, on_datagram);
    pro_send_batch(&s.batch, &s.from, s.messages, MESSAGES, on_whole);
    pro_accept(&s.accept, &s.listener, on_accepted);
    pro_socket_init(&s.client, s.loop, &s.scope);
    pro_connect_unix(&s.connect, &s.client, name, on_connected);
}

static void run_scenario(pro_engine engine, const char *mask)
{
    char             name[64];
    pro_loop_options options = {
        .version = PRO_VERSION, .engine = engine, .mask = mask, .queue_len = 4};
    snprintf(name, sizeof name, "@proactor-streams-%ld", (long)getpid());
    memset(&s, 0, sizeof s);
    memset(s.out, 'x', sizeof s.out);
    options.env.realloc = env_realloc;
    options.env.fault = env_fault;
    if (pro_loop_new(&s.loop, &options) != PRO_OK) {
        CHECK_EQ(env.allocated, 0);
        return;
    }
    pro_scope_init(&s.scope, s.loop, NULL, NULL);
    if (open_all(name) == PRO_OK)
        begin(name);
    else
        pro_scope_close(&s.scope);
    for (int tries = 0; pro_loop_run(s.loop) < 0; tries++) CHECK(tries < 100);
    CHECK_EQ(s.started, s.completed);
    CHECK_EQ(pro_loop_free(s.loop), PRO_OK);
    CHECK_EQ(env.allocated, 0);
}

static bool is_here(pro_engine engine)
{
    pro_loop        *loop;
    pro_loop_options options = {.version = PRO_VERSION, .engine = engine};
    if (pro_loop_new(&loop, &options) != PRO_OK) return false;
    return pro_loop_free(loop) == PRO_OK;
}

/* number 0: allocations fail.  Returns in how many runs something did. */
static long torture(pro_engine engine, const char *mask, int number)
{
    int before = t_os_descriptors();
    for (long n = 0;; n++) {
        CHECK(n < 10000);
        env.memory_countdown = number ? -1 : n;
        env.call_countdown = number ? n : -1;
        env.number = number;
        run_scenario(engine, mask);
        if (t_os_descriptors() != before) printf("# %ld, %s, error %d\n", n, env.call, number);
        CHECK_EQ(t_os_descriptors(), before);
        if ((number ? env.call_countdown : env.memory_countdown) < 0) continue;
        CHECK_EQ(s.whole, WHOLE);
        CHECK(memcmp(s.in, s.out, LEN) == 0);
        CHECK(n > (number ? 20 : 3)); /* it did fail */
        return n;
    }
}

static void torture_all(pro_engine engine, const char *mask)
{
    const int numbers[] = {0, ENOMEM, EINTR, EMFILE, ENOBUFS, ECONNRESET, EAGAIN};
    if (!is_here(engine)) UNIT_SKIP("this engine is refused here");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        /* A lie to who waits for an edge: none comes. */
        if (numbers[i] == EAGAIN && engine == PRO_ENGINE_EPOLL) continue;
        long n = torture(engine, mask, numbers[i]);
        printf("# error %d in each of %ld\n", numbers[i], n);
    }
}

UNIT(pipes_datagrams_and_handles_survive_every_failure_on_epoll)
{
    torture_all(PRO_ENGINE_EPOLL, NULL);
}

UNIT(pipes_datagrams_and_handles_survive_every_failure_on_uring)
{
    torture_all(PRO_ENGINE_URING, NULL);
}

/* ---- Fork ----------------------------------------------------------------------------------- */

/* The whole scenario, on a loop of this process. */
static int exchange(pro_engine engine)
{
    run_scenario(engine, NULL);
    return s.whole == WHOLE ? 0 : 1;
}

static void fork_on(pro_engine engine)
{
    static pro_socket reader, writer;
    static pro_op     read_op, write_op;
    static char       byte;
    pro_loop         *loop;
    pro_loop_options  options = {.version = PRO_VERSION, .engine = engine};
    int               status;
    if (!is_here(engine)) UNIT_SKIP("this engine is refused here");
    env.memory_countdown = env.call_countdown = -1;
    memset(&read_op, 0, sizeof read_op);
    memset(&write_op, 0, sizeof write_op);
    memset(&s, 0, sizeof s);
    CHECK_EQ(pro_loop_new(&loop, &options), PRO_OK);
    CHECK_EQ(pro_pipe_pair(&reader, &writer, loop, NULL), PRO_OK);
    pro_recv(&read_op, &reader, &byte, 1, on_whole);
    pro_loop_poll(loop); /* with the kernel */
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(exchange(engine));
    CHECK(child > 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_EQ(pro_op_in_flight(&read_op), 1); /* the child's end did nothing to it */
    pro_send(&write_op, &writer, "x", 1, on_whole);
    CHECK(pro_loop_run(loop) >= 0);
    CHECK_EQ(s.whole, 2);
    CHECK_EQ(byte, 'x');
    pro_scope_close(pro_loop_scope(loop));
    CHECK(pro_loop_run(loop) >= 0);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

UNIT(a_child_has_loops_of_its_own_and_leaves_its_parents_alone_on_epoll)
{
    fork_on(PRO_ENGINE_EPOLL);
}

UNIT(a_child_has_loops_of_its_own_and_leaves_its_parents_alone_on_uring)
{
    fork_on(PRO_ENGINE_URING);
}
