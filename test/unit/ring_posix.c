/* What a ring is told of its own safety: a restricted one refuses what this library never asks for, and
 * its memory does not go to a child of fork.  Seen from inside: the tests put entries of their own into it. */
#include "unit.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <proactor.h>

#include "core/op.h"
#include "engine/uring/state.h"

enum { MINE = 0x77 }; /* a sequence number, with the tag of an entry whose completion is ignored */

static pro_loop *make(int restricted, const char *mask)
{
    pro_loop        *loop;
    pro_loop_options options = {
        .version = PRO_VERSION, .engine = PRO_ENGINE_URING, .mask = mask, .restricted = restricted};
    if (pro_loop_new(&loop, &options) != PRO_OK) UNIT_SKIP("this engine is refused here");
    CHECK_EQ(pro_loop_poll(loop), 0); /* the ring is enabled */
    return loop;
}

/* What the kernel says to an entry with this opcode and these flags. */
static int asked(pro_loop *loop, uint8_t opcode, uint8_t flags)
{
    uring               *u = uring_of(loop);
    struct io_uring_sqe *sqe = entry(u);
    CHECK(sqe != NULL);
    sqe->opcode = opcode;
    sqe->flags = flags;
    sqe->user_data = tag_with(&u->own[OWN_CANCEL], MINE);
    unsigned submit = unsubmitted(u);
    io_uring_smp_store_release(u->ring.sq.ktail, tail_of(u));
    const struct io_uring_cq *cq = &u->ring.cq;
    int                       submitted =
        io_uring_enter((unsigned)u->ring.ring_fd, submit, 1, IORING_ENTER_GETEVENTS, NULL);
    CHECK(submitted > 0);
    for (unsigned at = *cq->khead; at != io_uring_smp_load_acquire(cq->ktail); at++) {
        const struct io_uring_cqe *cqe = &cq->cqes[at & cq->ring_mask];
        if (cqe->user_data == sqe->user_data) {
            int result = cqe->res;
            pro_loop_poll(loop); /* takes it */
            return result;
        }
    }
    CHECK(!"no completion");
    return 0;
}

static int registered(pro_loop *loop)
{
    int fd = uring_of(loop)->wake_fd;
    return io_uring_register((unsigned)uring_of(loop)->ring.ring_fd, IORING_REGISTER_EVENTFD, &fd,
                             1);
}

static void on_slept(pro_op *op) { *(int *)op->user += op->error == PRO_OK; }

static void works_and_ends(pro_loop *loop)
{
    int    slept = 0;
    pro_op op = {.user = &slept};
    pro_sleep(&op, loop, PRO_USEC, on_slept);
    CHECK(pro_loop_run(loop) > 0);
    CHECK_EQ(slept, 1);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

static bool says(pro_loop *loop, const char *what)
{
    char text[4096];
    pro_loop_explain(loop, text, sizeof text);
    return strstr(text, what) != NULL;
}

UNIT(a_restricted_ring_refuses_an_opcode_that_the_library_never_uses)
{
    pro_loop *loop = make(1, NULL);
    CHECK(says(loop, "restricted to the opcodes"));
    CHECK_EQ(asked(loop, IORING_OP_NOP, 0), -EACCES);
    CHECK_EQ(asked(loop, IORING_OP_SPLICE, 0), -EACCES);
    CHECK_EQ(asked(loop, IORING_OP_MSG_RING, 0), -EACCES);
    works_and_ends(loop);
}

UNIT(a_restricted_ring_refuses_a_flag_that_the_library_never_uses)
{
    pro_loop *loop = make(1, NULL);
    CHECK_EQ(asked(loop, IORING_OP_TIMEOUT_REMOVE, IOSQE_IO_LINK), -EACCES);
    CHECK_EQ(asked(loop, IORING_OP_TIMEOUT_REMOVE, 0), -ENOENT); /* by itself it is asked */
    works_and_ends(loop);
}

UNIT(a_restricted_ring_refuses_to_register_what_the_library_never_registers)
{
    pro_loop *loop = make(1, NULL);
    CHECK_EQ(registered(loop), -EACCES);
    works_and_ends(loop);
}

UNIT(calls_of_files_that_are_masked_are_refused_by_a_restricted_ring)
{
    pro_loop *loop = make(1, "files");
    CHECK_EQ(asked(loop, IORING_OP_OPENAT, 0), -EACCES);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
    loop = make(1, NULL);
    CHECK(asked(loop, IORING_OP_OPENAT, 0) != -EACCES);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

UNIT(a_ring_that_is_not_restricted_takes_all_of_it)
{
    pro_loop *loop = make(0, NULL);
    CHECK(!says(loop, "restricted"));
    CHECK_EQ(asked(loop, IORING_OP_NOP, 0), 0);
    CHECK_EQ(asked(loop, IORING_OP_TIMEOUT_REMOVE, IOSQE_IO_LINK), -ENOENT);
    CHECK_EQ(registered(loop), 0);
    works_and_ends(loop);
}

UNIT(the_environment_restricts_too)
{
    setenv("PROACTOR_RESTRICTED", "1", 1);
    pro_loop *loop = make(0, NULL);
    unsetenv("PROACTOR_RESTRICTED");
    CHECK_EQ(asked(loop, IORING_OP_NOP, 0), -EACCES);
    works_and_ends(loop);
}

UNIT(without_single_issuer_a_ring_is_restricted_as_well)
{
    pro_loop *loop = make(1, "single_issuer");
    CHECK_EQ(asked(loop, IORING_OP_NOP, 0), -EACCES);
    works_and_ends(loop);
}

/* ---- Zero-copy sends ------------------------------------------------------------------------ */

enum { LEN = 300000 };

static struct {
    pro_loop    *loop;
    pro_listener listener;
    pro_socket   here, there;
    pro_op       accept, connect, send, recv;
    int          done;
    char         out[LEN], in[LEN];
} z;

static void on_accepted(pro_op *op)
{
    CHECK_EQ(op->error, PRO_OK);
    CHECK_EQ(pro_accept_take(op, &z.there, NULL), PRO_OK);
}

static void on_done(pro_op *op)
{
    (void)op;
    z.done++;
}

/* A connection, and a send on it, that went as far as it can while nobody reads. */
static void send_unread(const char *mask)
{
    pro_address address;
    memset(&z, 0, sizeof z);
    z.loop = make(0, mask);
    CHECK_EQ(pro_address_parse(&address, "127.0.0.1:0"), PRO_OK);
    CHECK_EQ(pro_listen(&z.listener, z.loop, NULL, &address, NULL), PRO_OK);
    CHECK_EQ(pro_listener_local(&z.listener, &address), PRO_OK);
    pro_socket_init(&z.here, z.loop, NULL);
    pro_accept(&z.accept, &z.listener, on_accepted);
    pro_connect(&z.connect, &z.here, &address, on_done);
    CHECK(pro_loop_run(z.loop) > 0);
    CHECK_EQ(pro_socket_set(&z.here, PRO_OPT_SEND_BUFFER, 2 * LEN), PRO_OK);
    z.done = 0;
    pro_send_zerocopy(&z.send, &z.here, z.out, LEN, on_done);
    for (int i = 0; i < 5; i++) pro_loop_poll(z.loop);
}

static void read_and_end(uint64_t zerocopy_sends)
{
    pro_loop_stats stats;
    pro_recv_exactly(&z.recv, &z.there, z.in, LEN, on_done);
    CHECK(pro_loop_run(z.loop) > 0);
    CHECK_EQ(z.done, 2);
    CHECK_EQ(z.send.error, PRO_OK);
    CHECK_EQ(z.send.value, LEN);
    pro_loop_stats_get(z.loop, &stats);
    CHECK_EQ(stats.zerocopy_sends, zerocopy_sends);
    CHECK_EQ(stats.zerocopy_copied, zerocopy_sends); /* over the loopback */
    pro_scope_close(pro_loop_scope(z.loop));
    CHECK(pro_loop_run(z.loop) >= 0);
    CHECK_EQ(pro_loop_free(z.loop), PRO_OK);
}

UNIT(a_zero_copy_send_is_held_until_its_memory_is_free)
{
    send_unread(NULL);
    CHECK_EQ(z.done, 0);
    CHECK_EQ(pri_op_state_of(&z.send), PRI_HELD);
    CHECK_EQ(z.send.pri_kernel_step.len, 0); /* all of it went */
    read_and_end(1);
}

UNIT(without_the_feature_it_is_a_plain_send)
{
    send_unread("send_zc");
    CHECK_EQ(z.done, 1); /* as soon as the system had a copy */
    read_and_end(0);
}

/* ---- Cancel --------------------------------------------------------------------------------- */

static void on_received(pro_op *op) { *(int *)op->user = op->error; }

/* A cancel finds nothing while the entry that it is for is about to be tried again.  That cannot be had at
 * will, so the first one is made to look for what there is not. */
UNIT(a_cancel_that_misses_is_repeated)
{
    int        error = 1;
    char       byte;
    pro_loop  *loop = make(0, NULL);
    uring     *u = uring_of(loop);
    pro_socket a = {0}, b = {0};
    pro_op     op = {.user = &error};
    CHECK_EQ(pro_socket_pair(&a, &b, loop, NULL), PRO_OK);
    pro_recv(&op, &a, &byte, 1, on_received);
    pro_loop_poll(loop);
    pro_cancel(&op);
    struct io_uring_sqe *sqe = u->next - 1;
    CHECK_EQ(sqe->opcode, IORING_OP_ASYNC_CANCEL);
    sqe->addr = tag_with(&u->own[OWN_NOW], MINE);
    for (int turns = 0; turns < 1000 && error == 1; turns++) pro_loop_poll(loop);
    CHECK_EQ(error, PRO_ECANCELED);
    pro_scope_close(pro_loop_scope(loop));
    pro_loop_run(loop);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

/* Of many that are closed at once some are over already, and a cancel finds nothing of these.  It does not
 * make all others be asked again and again: a few entries for each is what there are. */
UNIT(a_cancel_that_misses_does_not_repeat_all_others_for_ever)
{
    enum { PAIRS = 400, OVER = 20, ENTRIES_MAX = 3 * PAIRS };
    static struct {
        pro_socket a, b;
        pro_op     op;
        char       byte;
    } pairs[PAIRS];
    int              errors[PAIRS], ended = 0;
    const pro_vec    one = {(void *)(uintptr_t) "x", 1};
    pro_loop        *loop;
    pro_loop_options options = {
        .version = PRO_VERSION, .engine = PRO_ENGINE_URING, .queue_len = 32, .batch_max = 8};
    if (pro_loop_new(&loop, &options) != PRO_OK) UNIT_SKIP("this engine is refused here");
    const pro_env *env = pri_loop_env(loop);
    uring         *u = uring_of(loop);
    memset(pairs, 0, sizeof pairs);
    for (int i = 0; i < PAIRS; i++) {
        errors[i] = 1;
        pairs[i].op.user = &errors[i];
        CHECK_EQ(pro_socket_pair(&pairs[i].a, &pairs[i].b, loop, NULL), PRO_OK);
        pro_recv(&pairs[i].op, &pairs[i].a, &pairs[i].byte, 1, on_received);
    }
    for (int turns = 0; turns < 10; turns++) pro_loop_poll(loop);
    for (int i = 0; i < OVER; i++)
        CHECK_EQ(pri_os_sendv(env, pairs[i * PAIRS / OVER].b.handle.pri_fd, &one, 1), 1);
    unsigned before = tail_of(u);
    for (int i = 0; i < PAIRS; i++) pro_cancel(&pairs[i].op);
    while (ended < PAIRS) {
        pro_loop_poll(loop);
        for (ended = 0; ended < PAIRS && errors[ended] != 1;) ended++;
    }
    CHECK(tail_of(u) - before <= ENTRIES_MAX);
    pro_scope_close(pro_loop_scope(loop));
    pro_loop_run(loop);
    CHECK_EQ(pro_loop_free(loop), PRO_OK);
}

/* ---- Fork ----------------------------------------------------------------------------------- */

/* Is this page there, in a child of fork? */
static int is_there_in_child(void *page)
{
    int   status;
    pid_t child = fork();
    if (child == 0) {
        unsigned char there;
        _exit(mincore(page, 1, &there) == 0 ? 1 : errno == ENOMEM ? 0 : 2);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}

UNIT(a_child_of_fork_has_none_of_the_rings_memory)
{
    pro_loop *loop = make(0, NULL);
    CHECK_EQ(is_there_in_child(uring_of(loop)->ring.sq.sqes), 0);
    CHECK_EQ(is_there_in_child(uring_of(loop)->ring.sq.ring_ptr), 0);
    CHECK_EQ(is_there_in_child(uring_of(loop)->ring.cq.ring_ptr), 0);
    works_and_ends(loop);
}

UNIT(with_that_masked_it_has)
{
    pro_loop *loop = make(0, "dontfork");
    CHECK_EQ(is_there_in_child(uring_of(loop)->ring.sq.sqes), 1);
    works_and_ends(loop);
}
