/* The io_uring engine: a ring's beginning and end, and the thread that it is bound to. */
#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/uring/sanitize.h"
#include "engine/uring/state.h"

/* The next ring may be mapped where this one was, perhaps by another thread. */
static void close_ring(uring *u)
{
    PRI_URING_SUBMITTED();
    io_uring_queue_exit(&u->ring);
}

int pri_uring_init(pro_loop *loop, const pri_engine_options *options, pri_why *why)
{
    (void)why; /* probe has said it */
    const pro_env *env = pri_loop_env(loop);
    uring         *u = pri_env_realloc(env, NULL, sizeof *u);
    if (!u) return -ENOMEM;
    memset(u, 0, sizeof *u);
    u->loop = loop;
    u->env = env;

    int error = pri_os_fault(env, "eventfd");
    if (error) goto free_state;
    u->wake_fd = eventfd(0, EFD_CLOEXEC); /* blocking: else its read in the ring would not wait */
    if (u->wake_fd < 0) {
        error = -errno;
        goto free_state;
    }
    pri_uring_found found;
    error = pri_uring_open(&u->ring, &found, options, NULL);
    if (error) goto close_wake;
    PRI_URING_COMPLETED();
    u->features = found.features;

    /* Entries are always used in order, so the index array never changes. */
    for (unsigned i = 0; i < u->ring.sq.ring_entries; i++) u->ring.sq.array[i] = i;
    u->enter_fd = u->ring.ring_fd;
    u->enter_flags = IORING_ENTER_GETEVENTS;
    u->wait_flags = u->features & PRI_URING_NO_IOWAIT ? PRI_IORING_ENTER_NO_IOWAIT : 0;
    u->enter_to_poll = (u->features & (PRI_URING_DEFER_TASKRUN | PRI_URING_COOP_TASKRUN)) &&
                       !(u->features & PRI_URING_TASKRUN_FLAG);
    bool waits = u->features & PRI_URING_POLL_FIRST;
    u->recv_head = waits ? HEAD_WAITING : HEAD(IORING_OP_RECV, 0);
    u->nonempty = waits ? IORING_CQE_F_SOCK_NONEMPTY : 0;
    u->timer_at_ns = NEVER;
    u->base = u->next = u->end = u->ring.sq.sqes;
    pri_list_init(&u->waiting);
    pri_list_init(&u->cancels);
    pri_list_init(&u->asked);
    pri_list_init(&u->missed);
    pri_list_init(&u->ended);
    error = pri_uring_slots_init(u, found.slots);
    if (error) goto no_slots;
    pri_loop_set_engine_state(loop, u);
    pri_loop_set_native(loop, found.calls);
    return 0;

no_slots:
    close_ring(u);
close_wake:
    close(u->wake_fd);
free_state:
    pri_env_realloc(env, u, 0);
    return error;
}

/* The number under which this thread's calls may name the ring; it saves a look-up each. */
static void register_ring(uring *u)
{
    struct io_uring_rsrc_update update = {.offset = ~0u, .data = (unsigned)u->ring.ring_fd};
    int                         result = pri_os_fault(u->env, "io_uring_register");
    pri_loop_count_system_call(u->loop);
    if (!result)
        result = io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_RING_FDS, &update, 1);
    if (result != 1) { /* quirk ring_fd_full */
        u->features &= ~(uint32_t)PRI_URING_RING_FD;
        return;
    }
    u->enter_fd = (int)update.offset;
    u->enter_flags |= IORING_ENTER_REGISTERED_RING;
}

int pri_uring_bind(pro_loop *loop)
{
    uring *u = uring_of(loop);
    if (u->ring.flags & IORING_SETUP_R_DISABLED) {
        int error = pri_os_fault(u->env, "io_uring_register");
        if (error) return error;
        pri_loop_count_system_call(loop);
        error = io_uring_enable_rings(&u->ring);
        if (error < 0) return error;
    }
    u->bound = pri_os_thread_self();
    if (u->features & PRI_URING_RING_FD) register_ring(u);
    return 0;
}

/* The kernel ends what stands in the ring (the timer, the eventfd's read) by itself. */
void pri_uring_fini(pro_loop *loop)
{
    uring *u = uring_of(loop);
    pri_uring_slots_fini(u);
    assert(pri_list_empty(&u->waiting) && pri_list_empty(&u->cancels) &&
           pri_list_empty(&u->asked) && pri_list_empty(&u->missed) && pri_list_empty(&u->ended));
    /* The number is the bound thread's: in another thread it would be another ring's. */
    if ((u->enter_flags & IORING_ENTER_REGISTERED_RING) && u->bound == pri_os_thread_self()) {
        struct io_uring_rsrc_update update = {.offset = (unsigned)u->enter_fd};
        io_uring_register((unsigned)u->ring.ring_fd, IORING_UNREGISTER_RING_FDS, &update, 1);
    }
    close_ring(u);
    close(u->wake_fd);
    pri_loop_set_engine_state(loop, NULL);
    pri_env_realloc(u->env, u, 0);
}
