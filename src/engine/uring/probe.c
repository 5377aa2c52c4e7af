/* Making a ring: by trying, never by the kernel's version.
 *
 * The set-up starts with every flag that is not masked; as long as the kernel says EINVAL, the newest
 * one that is left goes away.  What set-up flags do not decide comes from the ring's feature bits and
 * from its list of opcodes.  A few things are known of kernels that no bit tells:
 *
 *   quirk              where                          what we do
 *   slow_release       the memory of a closed ring    ENOMEM from the set-up is retried with a delay
 *                      comes back a little later
 *   born_with_socket   poll_first, multishot accept,  taken to be there if IORING_OP_SOCKET is, which
 *                      an empty table of buffers      came with the same kernel
 *                      have no bit
 *   born_with_zc       multishot receives, which have taken to be there if IORING_OP_SEND_ZC is, which
 *                      no bit                         came with the same kernel
 *   multishot_einval   multishot accept refused all   reap.c: that accept goes on one-shot; if this
 *                      the same                       works, so do all the others
 *   zc_report_einval   the flag that asks for a report    reap.c: a zero-copy send that is refused with
 *                      of copies, which has no bit        EINVAL goes again without; then so do all
 *   no_fast_poll       receives would hold a worker   the engine is refused
 *                      thread each
 *   nonblocking_file   a descriptor that somebody     reap.c: EAGAIN comes at once there; a poll goes
 *                      made non-blocking              before the next attempt
 *   sendmsg_again      a datagram that met a full receiver     a send of a message never waits in the
 *                      is sent again without its data, since   kernel: EAGAIN, a poll, a new entry
 *                      the first attempt used it up
 *   born_with_rw_attr  a slot's file is kept as long   fixed_slots is taken to work where
 *                      as any older request goes on   IORING_FEAT_RW_ATTR is, one kernel after the cure
 *   cancel_misses      an entry that became ready and     reap.c: a cancel that found nothing is
 *                      is to be tried again is not        repeated for all that go on
 *                      found by a cancel
 *   multishot_end      a multishot receive may miss the   entry.h: one-shot receives there (liburing's
 *                      end of a Unix stream for good       issue 1549; TCP does not have it)
 *   ring_fd_full       16 registered rings a thread   life.c: the plain descriptor is used */
#include "engine/uring/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "engine/uring/kernel.h"

enum { RETRIES = 8, OPS = PRI_URING_OPS, SLOTS_MAX = 1 << 20 /* the kernel's */ };

static const struct {
    uint32_t    bit;
    const char *word;
    const char *without;
} rows[] = {
#define ROW(id, word, without) {PRI_URING_##id, word, without},
    PRI_URING_FEATURES(ROW)
#undef ROW
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* Features that are set-up flags, the newest first: the order in which EINVAL takes them away. */
static const struct {
    uint32_t feature;
    unsigned flags;
} ladder[] = {
    {PRI_URING_DEFER_TASKRUN, IORING_SETUP_DEFER_TASKRUN},
    {PRI_URING_SINGLE_ISSUER, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_R_DISABLED},
    {PRI_URING_TASKRUN_FLAG, IORING_SETUP_TASKRUN_FLAG},
    {PRI_URING_COOP_TASKRUN, IORING_SETUP_COOP_TASKRUN},
    {PRI_URING_SUBMIT_ALL, IORING_SETUP_SUBMIT_ALL},
    {PRI_URING_CQ_SIZE, IORING_SETUP_CQSIZE},
};
enum { RUNGS = sizeof ladder / sizeof ladder[0] };

/* Features that are bits of the ring. */
static const struct {
    uint32_t feature;
    unsigned bit;
} bits[] = {
    {PRI_URING_CQE_SKIP, IORING_FEAT_CQE_SKIP},
    {PRI_URING_TIMEOUT_UPDATE, IORING_FEAT_EXT_ARG}, /* of the same kernel */
    {PRI_URING_NO_IOWAIT, PRI_IORING_FEAT_NO_IOWAIT},
    {PRI_URING_FIXED_SLOTS, PRI_IORING_FEAT_RW_ATTR}, /* quirk born_with_rw_attr */
};
enum { BITS = sizeof bits / sizeof bits[0] };

/* Without these there is no engine.  The opcodes are those that every ring uses. */
static const struct {
    unsigned    bit;
    const char *name;
} needed_bits[] = {
    {IORING_FEAT_NODROP, "NODROP"},
    {IORING_FEAT_SUBMIT_STABLE, "SUBMIT_STABLE"},
    {IORING_FEAT_FAST_POLL, "FAST_POLL"},
};
static const uint8_t needed_ops[] = {
    IORING_OP_RECV,    IORING_OP_SEND,         IORING_OP_RECVMSG,        IORING_OP_SENDMSG,
    IORING_OP_ACCEPT,  IORING_OP_CONNECT,      IORING_OP_READ,           IORING_OP_POLL_ADD,
    IORING_OP_TIMEOUT, IORING_OP_ASYNC_CANCEL, IORING_OP_TIMEOUT_REMOVE,
};

/* And these with fixed slots; the newest of them tells that all are there. */
static const uint8_t slot_ops[] = {IORING_OP_SOCKET, IORING_OP_CLOSE, IORING_OP_SHUTDOWN,
                                   IORING_OP_URING_CMD, PRI_IORING_OP_FIXED_FD_INSTALL};

/* ---- Why ------------------------------------------------------------------------------------ */

/* The number in /proc/sys/kernel/io_uring_disabled, or -1. */
static int sysctl_disabled(void)
{
    char digit = '?';
    int  fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n = read(fd, &digit, 1);
    close(fd);
    return n == 1 && digit >= '0' && digit <= '9' ? digit - '0' : -1;
}

static void explain_refusal(int error, pri_why *why)
{
    static const struct {
        int         number;
        const char *text;
    } reasons[] = {
        {EPERM, "EPERM (not permitted: kernel.io_uring_disabled, or a seccomp filter)"},
        {EACCES, "EACCES (a security module forbids it)"},
        {ENOSYS, "ENOSYS (this kernel has no io_uring, or a seccomp filter hides it)"},
        {EOPNOTSUPP, "EOPNOTSUPP (this kernel lacks something that is needed)"},
        {ENOMEM, "ENOMEM (no memory, or the limit on locked memory: ulimit -l)"},
        {EMFILE, "EMFILE (too many descriptors in this process)"},
        {ENFILE, "ENFILE (too many descriptors in the system)"},
        {EINVAL, "EINVAL (no set of flags that we know of is accepted)"},
    };
    char        number[32];
    const char *text = number;
    snprintf(number, sizeof number, "system error %d", error);
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].number == error) text = reasons[i].text;
    if (error == EPERM && sysctl_disabled() > 0) text = "EPERM (kernel.io_uring_disabled is set)";
    pri_why_add(why, "io_uring: set-up refused: %s", text);
    pri_why_line(why, "io_uring refused: %s", text);
}

static void add_word(char *list, size_t size, const char *word)
{
    size_t len = strlen(list);
    snprintf(list + len, size - len, "%s%s", len ? ", " : "", word);
}

/* Would it make no difference? */
static bool is_moot(uint32_t feature, uint32_t features, const pri_engine_options *options)
{
    if (feature == PRI_URING_FIXED_SLOTS) return options->fixed_slots == 0;
    bool deferred = features & PRI_URING_DEFER_TASKRUN;
    if (feature == PRI_URING_COOP_TASKRUN) return deferred;
    return feature == PRI_URING_TASKRUN_FLAG && !deferred && !(features & PRI_URING_COOP_TASKRUN);
}

static void explain_features(const pri_uring_found *found, const pri_engine_options *options,
                             pri_why *why)
{
    uint32_t    features = found->features;
    const char *mask = options->mask;
    char        used[320] = "", without[80] = "";
    for (int i = 0; i < ROWS; i++)
        if (features & rows[i].bit) add_word(used, sizeof used, rows[i].word);
    pri_why_add(why, "io_uring: uses %s", used[0] ? used : "no optional feature");
    for (int i = 0; i < ROWS; i++) {
        if ((features & rows[i].bit) || is_moot(rows[i].bit, features, options)) continue;
        pri_why_add(why, "io_uring: without %s (%s): %s", rows[i].word,
                    pri_masked(mask, rows[i].word) ? "masked" : "missing", rows[i].without);
        add_word(without, sizeof without, rows[i].word);
    }
    if (found->slots)
        pri_why_add(why, "io_uring: %u fixed slots%s", found->slots,
                    found->slots < options->fixed_slots ? " (cut to ulimit -n)" : "");
    pri_why_line(why, "io_uring: native, with %s%s%s",
                 features & PRI_URING_DEFER_TASKRUN  ? "DEFER_TASKRUN"
                 : features & PRI_URING_COOP_TASKRUN ? "COOP_TASKRUN"
                                                     : "plain task work",
                 without[0] ? "; without " : "", without);
}

/* ---- Opening -------------------------------------------------------------------------------- */

/* Take away what makes no sense without something else. */
static uint32_t consistent(uint32_t features)
{
    if (!(features & PRI_URING_SEND_ZC)) features &= ~(uint32_t)PRI_URING_ZC_REPORT;
    if (!(features & PRI_URING_REGISTERED_MEMORY))
        features &= ~(uint32_t)PRI_URING_REGISTERED_PIECES;
    if (!(features & PRI_URING_SINGLE_ISSUER)) features &= ~(uint32_t)PRI_URING_DEFER_TASKRUN;
    if (!(features & (PRI_URING_DEFER_TASKRUN | PRI_URING_COOP_TASKRUN)))
        features &= ~(uint32_t)PRI_URING_TASKRUN_FLAG;
    return features;
}

static int set_up(struct io_uring *ring, uint32_t features, const pri_engine_options *options)
{
    struct io_uring_params params = {.flags = IORING_SETUP_CLAMP};
    /* A timer that moves may need two entries at once. */
    uint32_t entries = options->queue_len < 4 ? 4 : options->queue_len;
    for (int i = 0; i < RUNGS; i++)
        if (features & ladder[i].feature) params.flags |= ladder[i].flags;
    if (options->restricted) params.flags |= IORING_SETUP_R_DISABLED;
    if (params.flags & IORING_SETUP_DEFER_TASKRUN) params.flags &= ~IORING_SETUP_COOP_TASKRUN;
    if (params.flags & IORING_SETUP_CQSIZE) {
        /* Room for what is submitted at once, four times, and for two full turns. */
        uint32_t turns = 2 * options->batch_max;
        params.cq_entries = 4 * entries;
        if (params.cq_entries < turns) params.cq_entries = turns;
        if (params.cq_entries < 64) params.cq_entries = 64;
    }
    long delay_ns = 1000000;
    for (int tries = 0;; tries++) {
        int error = pri_os_fault(options->env, "io_uring_setup");
        if (error) return error;
        error = io_uring_queue_init_params(entries, ring, &params);
        if (error != -ENOMEM || tries == RETRIES) return error;
        nanosleep(&(struct timespec){.tv_nsec = delay_ns}, NULL); /* quirk slow_release */
        delay_ns *= 2;
    }
}

static bool has_op(const struct io_uring_probe *probe, unsigned op)
{
    return op < probe->ops_len && (probe->ops[op].flags & IO_URING_OP_SUPPORTED);
}

/* The ring is to do what it does for us now, and nothing else. */
static int restrict_ring(struct io_uring *ring, const pri_uring_found *found, const pro_env *env,
                         pri_why *why)
{
    bool allowed[OPS] = {false};
    for (size_t i = 0; i < sizeof needed_ops; i++) allowed[needed_ops[i]] = true;
    for (size_t i = 0; i < sizeof slot_ops && found->slots; i++) allowed[slot_ops[i]] = true;
    allowed[IORING_OP_SEND_ZC] = allowed[IORING_OP_SENDMSG_ZC] =
        found->features & PRI_URING_SEND_ZC;
    pri_uring_allow_calls(found->calls, found->features, allowed);
    int error = pri_uring_restrict(ring, found->features, allowed, env);
    if (!why) return error;
    if (error)
        pri_why_add(why, "io_uring: cannot be restricted: system error %d", -error);
    else
        pri_why_add(why, "io_uring: restricted to the opcodes and calls that are used");
    return error;
}

/* A table of empty slots, as large as wanted and allowed.  0, or a negated system number. */
static int make_slots(struct io_uring *ring, pri_uring_found *found,
                      const pri_engine_options *options)
{
    struct rlimit limit;
    found->slots = options->fixed_slots < SLOTS_MAX ? options->fixed_slots : SLOTS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < found->slots)
        found->slots = (uint32_t)limit.rlim_cur;
    struct io_uring_rsrc_register table = {.nr = found->slots,
                                           .flags = IORING_RSRC_REGISTER_SPARSE};
    int                           error = pri_os_fault(options->env, "io_uring_register");
    if (error) return error;
    return io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_FILES2, &table, sizeof table);
}

/* Which of the wanted features the ring has; or a negated system number. */
static int look(struct io_uring *ring, pri_uring_found *found, const pri_engine_options *options,
                pri_why *why)
{
    uint32_t *features = &found->features;
    for (size_t i = 0; i < sizeof needed_bits / sizeof needed_bits[0]; i++) {
        if (ring->features & needed_bits[i].bit) continue;
        if (why) pri_why_add(why, "io_uring: feature %s is missing", needed_bits[i].name);
        return -EOPNOTSUPP;
    }
    union {
        struct io_uring_probe probe;
        char room[sizeof(struct io_uring_probe) + OPS * sizeof(struct io_uring_probe_op)];
    } list;
    memset(&list, 0, sizeof list); /* the kernel insists */
    int error = pri_os_fault(options->env, "io_uring_register");
    if (!error) error = io_uring_register_probe(ring, &list.probe, OPS);
    if (error < 0) return error;
    for (size_t i = 0; i < sizeof needed_ops; i++) {
        if (has_op(&list.probe, needed_ops[i])) continue;
        if (why) pri_why_add(why, "io_uring: opcode %d is missing", needed_ops[i]);
        return -EOPNOTSUPP;
    }
    for (int i = 0; i < BITS; i++)
        if (!(ring->features & bits[i].bit)) *features &= ~bits[i].feature;
    if (!has_op(&list.probe, IORING_OP_SOCKET)) /* quirk born_with_socket */
        *features &= ~(uint32_t)(PRI_URING_MULTISHOT_ACCEPT | PRI_URING_POLL_FIRST |
                                 PRI_URING_BUFFER_RING | PRI_URING_REGISTERED_MEMORY);
    if (!has_op(&list.probe, PRI_IORING_OP_READV_FIXED))
        *features &= ~(uint32_t)PRI_URING_REGISTERED_PIECES;
    if (!has_op(&list.probe, IORING_OP_SEND_ZC)) /* quirk born_with_zc */
        *features &= ~(uint32_t)(PRI_URING_MULTISHOT_RECV | PRI_URING_MULTISHOT_RECVMSG);
    if (!has_op(&list.probe, IORING_OP_SENDMSG_ZC))
        *features &= ~(uint32_t)(PRI_URING_SEND_ZC | PRI_URING_ZC_REPORT);
    if (*features & PRI_URING_DONTFORK && io_uring_ring_dontfork(ring) < 0)
        *features &= ~(uint32_t)PRI_URING_DONTFORK;
    if (!has_op(&list.probe, PRI_IORING_OP_FIXED_FD_INSTALL))
        *features &= ~(uint32_t)PRI_URING_FIXED_SLOTS;
    if (*features & PRI_URING_FILES)
        found->calls = pri_uring_calls(&list.probe, options->mask, why);
    if (*features & PRI_URING_FIXED_SLOTS) error = make_slots(ring, found, options);
    if (error < 0 || !options->restricted) return error < 0 ? error : 0;
    return restrict_ring(ring, found, options->env, why);
}

int pri_uring_open(struct io_uring *ring, pri_uring_found *found, const pri_engine_options *options,
                   pri_why *why)
{
    uint32_t features = 0;
    for (int i = 0; i < ROWS; i++)
        if (!pri_masked(options->mask, rows[i].word)) features |= rows[i].bit;
    if (!options->fixed_slots) features &= ~(uint32_t)PRI_URING_FIXED_SLOTS;
    features = consistent(features);

    int error = set_up(ring, features, options);
    for (int i = 0; i < RUNGS && error == -EINVAL; i++) {
        if (!(features & ladder[i].feature)) continue;
        features = consistent(features & ~ladder[i].feature);
        error = set_up(ring, features, options);
    }
    if (error) goto refused;
    if (features & PRI_URING_DEFER_TASKRUN) features &= ~(uint32_t)PRI_URING_COOP_TASKRUN;
    *found = (pri_uring_found){.features = features};
    error = look(ring, found, options, why);
    if (error) goto close_ring;
    if (why) explain_features(found, options, why);
    return 0;

close_ring:
    io_uring_queue_exit(ring);
refused:
    if (why) explain_refusal(-error, why);
    return error;
}

int pri_uring_probe(const pri_engine_options *options, pri_why *why)
{
    struct io_uring ring;
    pri_uring_found found;
    int             error = pri_uring_open(&ring, &found, options, why);
    if (!error) io_uring_queue_exit(&ring);
    return error;
}
