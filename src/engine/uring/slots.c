/* Fixed slots; see slots.h.
 *
 * The happy path: a multishot accept puts connections into free slots, every operation names the slot,
 * a close is an entry of the ring like any other.  No call is made of which the ring is not the reason.
 *
 * A full table.  The kernel accepts first and looks for a slot then: what finds none is lost.  So no
 * accept may stand for which there may be no slot:
 *   - a multishot one takes at most as many as the completion queue has room for before we hear of it.
 *     It stands only while twice as many are free, is narrowed (ended, by a cancel of our own) when
 *     fewer are, and goes on as
 *   - one-shot ones, each with the promise of a slot, as long as there is one left; after them
 *   - one-shot ones that take a descriptor, whose end is the kernel's own: EMFILE, and the connection
 *     stays in the backlog.  Each looks again, so slots that become free are used.
 *
 * Calls that are made at once, as of a socket (bind, setsockopt, getpeername): an entry of which the
 * kernel has done everything when io_uring_enter comes back.  Its answer is picked out of the
 * completion queue; those before it move up.  Is the queue full, all of it is set aside, for the next turn
 * to reap first.  Where the ring has no such entry, the slot gets a descriptor for the time of the call.
 *
 * Invariants:
 *   loop.stats.slots_used = slots that were reported or given to a handle, and whose close was not reaped
 *   standing > 0  ==>  slots_used + promised + margin <= max, when no completion is unheard of
 *   loop.closing  = tickets in use
 *   aside is not empty  <==>  aside_link is in the list of the ended */
#include "engine/uring/slots.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/loop.h"
#include "engine/uring/sanitize.h"
#include "engine/uring/state.h"

enum { TICKETS_MAX = UINT16_MAX, ASIDE_MIN = 64 };

/* What an answer that comes too late has made: the low bits of its sequence. */
enum { MADE_NOTHING, MADE_SLOT, MADE_DESCRIPTOR, MADE = 3 };

/* Slots that nobody has and nobody was promised. */
static uint32_t available(const uring *u)
{
    uint32_t taken = u->loop->stats.slots_used + u->slots.promised;
    return taken < u->slots.max ? u->slots.max - taken : 0;
}

/* ---- Accepts --------------------------------------------------------------------------------- */

bool pri_uring_slot_for(pri_step *step, struct io_uring_sqe *sqe, bool multi)
{
    uring           *u = uring_of(step->handle->pri_loop);
    pri_uring_slots *slots = &u->slots;
    step_words      *words = words_of(step);
    uint32_t         left = words->state & NO_SLOT ? 0 : available(u);
    if (left == 0) return false; /* the next one looks again */
    sqe->accept_flags = 0;
    sqe->file_index = IORING_FILE_INDEX_ALLOC;
    words->state |= IN_SLOT;
    multi = multi && left > slots->margin;
    if (multi) {
        slots->standing++;
    } else {
        words->state |= PROMISED;
        slots->promised++;
    }
    return multi;
}

int64_t pri_uring_slot_came(uring *u, pri_step *step, int result, bool more)
{
    pri_uring_slots *slots = &u->slots;
    step_words      *words = words_of(step);
    if (!more && words->state & PROMISED)
        slots->promised--;
    else if (!more)
        slots->standing--;
    if (result < 0) return result;
    pri_loop_count_slots(u->loop, 1, 0);
    if (more && available(u) <= slots->margin && !(words->state & (NARROWED | CANCEL_WISHED))) {
        words->state |= NARROWED;
        ask_to_end(u, step);
    }
    return result | PRI_SLOT;
}

/* ---- Calls at once ---------------------------------------------------------------------------- */

static int enter_now(uring *u, unsigned wait, unsigned flags)
{
    int result = pri_os_fault(u->env, "io_uring_enter");
    if (result) return result;
    write_tail(u);
    io_uring_smp_store_release(u->ring.sq.ktail, u->ring.sq.sqe_tail);
    PRI_URING_SUBMITTED();
    flags |= u->enter_flags & ~(unsigned)IORING_ENTER_GETEVENTS;
    pri_loop_count_system_call(u->loop);
    result = io_uring_enter((unsigned)u->enter_fd, unsubmitted(u), wait, flags, NULL);
    PRI_URING_COMPLETED();
    return result;
}

/* Room for so many entries, if that can be had. */
static bool has_room(uring *u, unsigned entries)
{
    if (u->ring.sq.ring_entries - unsubmitted(u) >= entries) return true;
    return enter_now(u, 0, 0) >= 0 && u->ring.sq.ring_entries - unsubmitted(u) >= entries;
}

/* Is the completion with this tag in the queue?  Then take it out of there. */
static bool take_answer(uring *u, uint64_t tag, int *result)
{
    struct io_uring_cqe *cqes = u->ring.cq.cqes;
    unsigned             mask = u->ring.cq.ring_mask, head = *u->ring.cq.khead;
    unsigned             tail = io_uring_smp_load_acquire(u->ring.cq.ktail), at = head;
    while (at != tail && cqes[at & mask].user_data != tag) at++;
    if (at == tail) return false;
    *result = cqes[at & mask].res;
    for (; at != head; at--) cqes[at & mask] = cqes[(at - 1) & mask];
    io_uring_smp_store_release(u->ring.cq.khead, head + 1);
    return true;
}

static bool grow_aside(uring *u, unsigned more)
{
    struct io_uring_cq *aside = &u->slots.aside;
    unsigned            have = u->slots.aside_tail - u->slots.aside_head;
    if (have + more <= aside->ring_entries) return true;
    unsigned size = aside->ring_entries ? aside->ring_entries : ASIDE_MIN;
    while (size < have + more) size *= 2;
    struct io_uring_cqe *cqes = pri_env_realloc(u->env, NULL, size * sizeof *cqes);
    if (!cqes) return false;
    for (unsigned i = 0; i < have; i++)
        cqes[i] = aside->cqes[(u->slots.aside_head + i) & aside->ring_mask];
    if (aside->cqes) pri_env_realloc(u->env, aside->cqes, 0);
    aside->cqes = cqes;
    aside->ring_entries = size;
    aside->ring_mask = size - 1;
    u->slots.aside_head = 0;
    u->slots.aside_tail = have;
    return true;
}

/* Empty the queue, so that what the kernel holds back can come.  false: no memory. */
static bool set_aside(uring *u)
{
    const struct io_uring_cq *cq = &u->ring.cq;
    pri_uring_slots          *slots = &u->slots;
    unsigned                  head = *cq->khead, tail = io_uring_smp_load_acquire(cq->ktail);
    if (!grow_aside(u, tail - head)) return false;
    if (head != tail && slots->aside_head == slots->aside_tail)
        pri_list_append(&u->ended, &slots->aside_link);
    while (head != tail)
        slots->aside.cqes[slots->aside_tail++ & slots->aside.ring_mask] =
            cq->cqes[head++ & cq->ring_mask];
    io_uring_smp_store_release(cq->khead, head);
    return true;
}

int pri_uring_reap_aside(uring *u, pri_record *records, int max)
{
    pri_uring_slots         *slots = &u->slots;
    const struct io_uring_cq ring = u->ring.cq;
    u->ring.cq = slots->aside;
    int n = pri_uring_reap(u, records, max, true);
    u->ring.cq = ring;
    if (slots->aside_head != slots->aside_tail) pri_list_append(&u->ended, &slots->aside_link);
    if (u->woken) pri_uring_wake(u->loop); /* the turn is about to wait, and must not */
    return n;
}

/* An empty entry for such a call; NULL: there is none to be had. */
static struct io_uring_sqe *entry_now(uring *u) { return has_room(u, 1) ? entry(u) : NULL; }

/* Have the kernel do what the newest entry says: its answer, or a negated number; what it makes. */
static int do_now(uring *u, struct io_uring_sqe *sqe, unsigned makes)
{
    int result = 0;
    stop_running(u);
    u->slots.sequence += MADE + 1;
    sqe->user_data = tag_with(&u->own[OWN_NOW], (uint16_t)(u->slots.sequence | makes));
    uint64_t tag = sqe->user_data;
    int      error = enter_now(u, 0, 0);
    if (unsubmitted(u) > 0) { /* it was not taken: then it never was */
        u->next--;
        io_uring_smp_store_release(u->ring.sq.ktail, tail_of(u));
        return error < 0 ? error : -EAGAIN;
    }
    while (!take_answer(u, tag, &result)) {
        if (!set_aside(u)) return -ENOMEM;
        error = enter_now(u, 1, IORING_ENTER_GETEVENTS);
        if (error < 0 && error != -EINTR) return error;
    }
    return result;
}

static uring *uring_of_env(const pro_env *env) { return uring_of(env->ctx); }

/* A descriptor of what is in a slot, the caller's. */
static intptr_t net_duplicate(const pro_env *env, intptr_t fd)
{
    if (!pri_is_slot(fd)) return pri_os_net.duplicate(env, fd);
    uring               *u = uring_of_env(env);
    struct io_uring_sqe *sqe = entry_now(u);
    if (!sqe) return -EAGAIN;
    fill_head(sqe, fd, HEAD(PRI_IORING_OP_FIXED_FD_INSTALL, 0));
    return do_now(u, sqe, MADE_DESCRIPTOR);
}

/* ---- Closing ---------------------------------------------------------------------------------- */

static uint32_t slot_of(intptr_t fd) { return (uint32_t)(fd & ~PRI_SLOT); }

static void fill_option(struct io_uring_sqe *sqe, unsigned command, intptr_t fd, int level,
                        int name, const void *value, size_t size)
{
    fill_head(sqe, fd, HEAD(IORING_OP_URING_CMD, 0));
    sqe->cmd_op = command;
    sqe->addr = (uint64_t)(unsigned)name << 32 | (unsigned)level;
    sqe->file_index = (uint32_t)size;
    sqe->addr3 = (uintptr_t)value;
}

/* At once, by a call that cannot fail, of what no entry of the queue is about. */
static void net_close(const pro_env *env, intptr_t fd, int abortive)
{
    uring                      *u = uring_of_env(env);
    const int                   none = -1;
    struct io_uring_rsrc_update update = {.offset = slot_of(fd), .data = (uintptr_t)&none};
    if (!pri_is_slot(fd)) {
        pri_os_net.close(env, fd, abortive);
        return;
    }
    intptr_t own = abortive ? net_duplicate(env, fd) : -1;
    if (own >= 0) pri_os_net.close(env, own, abortive);
    pri_loop_count_system_call(u->loop);
    io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_FILES_UPDATE, &update, 1);
    pri_loop_count_slots(u->loop, -1, 0);
}

/* By an entry.  false: none is to be had. */
static bool begin_close(uring *u, pro_handle *handle, bool abortive)
{
    static const struct linger now = {.l_onoff = 1, .l_linger = 0};
    pri_uring_slots           *slots = &u->slots;
    intptr_t                   fd = handle->pri_fd;
    if (slots->ticket == slots->tickets_len || !has_room(u, 2)) return false;
    struct io_uring_sqe *sqe = entry(u);
    if (abortive) {
        fill_option(sqe, PRI_SOCKET_URING_OP_SETSOCKOPT, fd, SOL_SOCKET, SO_LINGER, &now,
                    sizeof now);
        sqe->flags |= IOSQE_IO_HARDLINK;
        sqe->user_data = own_tag(u, OWN_CANCEL); /* nobody asks how it went */
        sqe = entry(u);
    }
    uint32_t ticket = slots->ticket;
    slots->ticket = slots->tickets[ticket].next;
    slots->tickets[ticket].handle = handle;
    sqe->opcode = IORING_OP_CLOSE;
    sqe->file_index = slot_of(fd) + 1;
    sqe->user_data = tag_with(&u->own[OWN_CLOSE], (uint16_t)ticket);
    pri_loop_count_slots(u->loop, 0, 1);
    return true;
}

bool pri_uring_close(pro_loop *loop, pro_handle *handle, bool abortive)
{
    uring *u = uring_of(loop);
    if (begin_close(u, handle, abortive)) return true;
    net_close(u->env, handle->pri_fd, abortive);
    return false;
}

void pri_uring_slot_closed(uring *u, uint16_t ticket)
{
    pri_uring_slots *slots = &u->slots;
    pro_handle      *handle = slots->tickets[ticket].handle;
    slots->tickets[ticket].next = slots->ticket;
    slots->ticket = ticket;
    pri_loop_count_slots(u->loop, -1, -1);
    u->woken = true; /* there may be a handler to run */
    handle->pri_fd = -1;
    pri_handle_ended(handle, PRO_OK);
}

/* ---- The network, with slots ------------------------------------------------------------------ */

void pri_uring_answered_late(uring *u, uint16_t sequence, int result)
{
    if (result < 0) return;
    if ((sequence & MADE) == MADE_DESCRIPTOR) close(result);
    if ((sequence & MADE) != MADE_SLOT) return;
    pri_loop_count_slots(u->loop, 1, 0);
    net_close(u->env, result | PRI_SLOT, 0);
}

/* Where a multishot accept stands, what it may take is not ours. */
static bool has_slot(const uring *u)
{
    return u->bound && available(u) > (u->slots.standing ? u->slots.margin : 0);
}

/* A TCP socket; with a descriptor, where there is no slot for it or the ring is not enabled yet. */
static intptr_t net_open(const pro_env *env, int family, int datagram, int nonblocking)
{
    uring *u = uring_of_env(env);
    bool   is_tcp = (family == PRO_IPV4 || family == PRO_IPV6) && !datagram && !nonblocking;
    struct io_uring_sqe *sqe = is_tcp && has_slot(u) ? entry_now(u) : NULL;
    if (!sqe) return pri_os_net.open(env, family, datagram, nonblocking);
    sqe->opcode = IORING_OP_SOCKET;
    sqe->fd = family == PRO_IPV4 ? AF_INET : AF_INET6;
    sqe->off = SOCK_STREAM;
    sqe->file_index = IORING_FILE_INDEX_ALLOC;
    int slot = do_now(u, sqe, MADE_SLOT);
    if (slot < 0) return pri_os_net.open(env, family, datagram, nonblocking);
    pri_loop_count_slots(u->loop, 1, 0);
    return slot | PRI_SLOT;
}

/* A descriptor for the time of a call, which said this. */
static intptr_t borrow(const pro_env *env, intptr_t fd)
{
    return pri_is_slot(fd) ? net_duplicate(env, fd) : fd;
}

static int give_back(intptr_t fd, intptr_t own, int error)
{
    if (own != fd) close((int)own);
    return error;
}

static int net_bind(const pro_env *env, intptr_t fd, const pro_address *address)
{
    intptr_t own = borrow(env, fd);
    return own < 0 ? (int)own : give_back(fd, own, pri_os_net.bind(env, own, address));
}

/* The ring has an entry for it, which a thread of the kernel's works off: dearer than a descriptor, but where
 * there is none a stream must come to its end all the same. */
static int net_shutdown(const pro_env *env, intptr_t fd)
{
    intptr_t own = borrow(env, fd);
    if (own >= 0) return give_back(fd, own, pri_os_net.shutdown(env, own));
    if (own != -EMFILE && own != -ENFILE) return (int)own;
    uring               *u = uring_of_env(env);
    struct io_uring_sqe *sqe = entry_now(u);
    if (!sqe) return -EAGAIN;
    fill_head(sqe, fd, HEAD(IORING_OP_SHUTDOWN, 0));
    sqe->len = SHUT_WR;
    return do_now(u, sqe, MADE_NOTHING);
}

/* Of a slot: a reset, on which the end of zero-copy sends depends (hold.c), so it needs no descriptor. */
static int net_associate(const pro_env *env, intptr_t fd, const pro_address *address)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    if (!pri_is_slot(fd)) return pri_os_net.associate(env, fd, address);
    assert(!address);
    uring               *u = uring_of_env(env);
    struct io_uring_sqe *sqe = entry_now(u);
    if (!sqe) return -EAGAIN;
    fill_head(sqe, fd, HEAD(IORING_OP_CONNECT, 0));
    sqe->addr = (uintptr_t)&nobody;
    sqe->off = sizeof nobody;
    return do_now(u, sqe, MADE_NOTHING);
}

static int net_local(const pro_env *env, intptr_t fd, pro_address *address)
{
    intptr_t own = borrow(env, fd);
    return own < 0 ? (int)own : give_back(fd, own, pri_os_net.local(env, own, address));
}

static int net_peer(const pro_env *env, intptr_t fd, pro_address *address)
{
    enum { SO_PEERNAME_NUMBER = 28 };
    size_t size = sizeof(struct sockaddr_in); /* more than there is would be an error */
    if (!pri_is_slot(fd)) return pri_os_net.peer(env, fd, address);
    uring *u = uring_of_env(env);
    int    fault = pri_os_fault(env, "getpeername");
    if (fault) return fault;
    for (;;) {
        struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
        struct io_uring_sqe    *sqe = entry_now(u);
        if (!sqe) return -EAGAIN;
        fill_option(sqe, PRI_SOCKET_URING_OP_GETSOCKOPT, fd, SOL_SOCKET, SO_PEERNAME_NUMBER, &name,
                    size);
        int len = do_now(u, sqe, MADE_NOTHING);
        if (len < 0) return len;
        if (name.ss_family == AF_INET6 && size < sizeof(struct sockaddr_in6)) {
            size = sizeof(struct sockaddr_in6);
            continue;
        }
        pri_os_address_in(address, &name);
        return address->family == PRO_FAMILY_NONE ? -EAFNOSUPPORT : 0;
    }
}

static int net_set(const pro_env *env, intptr_t fd, int option, int value)
{
    uring               *u = uring_of_env(env);
    struct io_uring_sqe *sqe = NULL;
    if (pri_is_slot(fd) && option == PRO_OPT_NODELAY) { /* the one that many connections ask for */
        int fault = pri_os_fault(env, "setsockopt");
        if (fault) return fault;
        sqe = entry_now(u);
    }
    if (sqe) {
        fill_option(sqe, PRI_SOCKET_URING_OP_SETSOCKOPT, fd, IPPROTO_TCP, TCP_NODELAY, &value,
                    sizeof value);
        return do_now(u, sqe, MADE_NOTHING);
    }
    intptr_t own = borrow(env, fd);
    return own < 0 ? (int)own : give_back(fd, own, pri_os_net.set(env, own, option, value));
}

static int net_get(const pro_env *env, intptr_t fd, int option, int *value)
{
    intptr_t own = borrow(env, fd);
    return own < 0 ? (int)own : give_back(fd, own, pri_os_net.get(env, own, option, value));
}

static int net_unix_name(const pro_env *env, intptr_t fd, int peer, char *buf, size_t size)
{
    intptr_t own = borrow(env, fd);
    return own < 0 ? (int)own : give_back(fd, own, pri_os_net.unix_name(env, own, peer, buf, size));
}

static int net_credentials(const pro_env *env, intptr_t fd, pro_credentials *who)
{
    intptr_t own = borrow(env, fd);
    return own < 0 ? (int)own : give_back(fd, own, pri_os_net.credentials(env, own, who));
}

/* ---- Life -------------------------------------------------------------------------------------- */

int pri_uring_slots_init(uring *u, uint32_t max)
{
    pri_uring_slots *slots = &u->slots;
    if (max == 0) return 0;
    uint32_t entries = u->ring.sq.ring_entries + u->ring.cq.ring_entries;
    slots->tickets_len = entries < TICKETS_MAX ? entries : TICKETS_MAX;
    slots->tickets = pri_env_realloc(u->env, NULL, slots->tickets_len * sizeof slots->tickets[0]);
    if (!slots->tickets) return -ENOMEM;
    for (uint32_t i = 0; i < slots->tickets_len; i++) slots->tickets[i].next = i + 1;
    slots->max = max;
    slots->margin = 2 * u->ring.cq.ring_entries;
    slots->aside.khead = &slots->aside_head;
    slots->aside.ktail = &slots->aside_tail;
    slots->net = pri_os_net;
    slots->net.open = net_open;
    slots->net.duplicate = net_duplicate;
    slots->net.bind = net_bind;
    slots->net.shutdown = net_shutdown;
    slots->net.close = net_close;
    slots->net.associate = net_associate;
    slots->net.local = net_local;
    slots->net.peer = net_peer;
    slots->net.set = net_set;
    slots->net.get = net_get;
    slots->net.unix_name = net_unix_name;
    slots->net.credentials = net_credentials;
    pri_loop_set_slots(u->loop, &slots->net, max);
    return 0;
}

void pri_uring_slots_fini(uring *u)
{
    pri_record none;
    if (u->slots.max == 0) return;
    pri_uring_report_ended(u, &none, 1); /* what was set aside: no step is left, so it is ours */
    if (u->slots.aside.cqes) pri_env_realloc(u->env, u->slots.aside.cqes, 0);
    pri_env_realloc(u->env, u->slots.tickets, 0);
}
