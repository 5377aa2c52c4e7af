/* Child processes on Linux, by posix_spawn and pidfd.
 *
 * posix_spawn is vfork and exec, with the C library's care: a stack of its own, no signal handler of ours
 * runs in the child, and an exec that fails is an error here, with the child reaped.  What a thread did
 * meanwhile to descriptors does not matter: all of ours are close-on-exec, and beyond those that were
 * asked for the child closes everything.
 *
 * The numbers of the child are 0 .. count-1; a descriptor of ours with such a number could be overwritten
 * before it is copied, so those are duplicated to numbers above first.
 *
 * Invariants, of a plan:
 *   source[i] >= count, or -1: /dev/null     the child's number i is a copy of it
 *   is_made[i]                               source[i] is ours to close
 *   ours[i] >= 0                             the other end of what was made for i */
#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

extern char **environ;

const int pri_os_kill_signal = SIGKILL;

struct pri_os_plan {
    pro_spawn_options what;
    int               source[PRO_STDIO_MAX], ours[PRO_STDIO_MAX];
    bool              is_made[PRO_STDIO_MAX];
    int               spawn_fault, pidfd_fault; /* asked on the loop's thread */
    int               result;                   /* of start */
    pid_t             pid;
    int               pidfd;
};

static const pro_stdio inherited[] = {
    {PRO_STDIO_INHERIT, 0}, {PRO_STDIO_INHERIT, 0}, {PRO_STDIO_INHERIT, 0}};

/* ---- What the child gets ---------------------------------------------------------------------- */

static void close_all(pri_os_plan *plan, bool ours_too)
{
    for (unsigned i = 0; i < plan->what.stdio_count; i++) {
        if (plan->is_made[i]) close(plan->source[i]);
        if (ours_too && plan->ours[i] >= 0) close(plan->ours[i]);
    }
}

/* fd, or a copy of it that stands in nobody's way.  0, or a negated number. */
static int take_source(const pro_env *env, pri_os_plan *plan, unsigned i, int fd)
{
    plan->source[i] = fd;
    if (fd >= (int)plan->what.stdio_count) return 0;
    int fault = pri_os_fault(env, "fcntl");
    int copy = fault ? fault : fcntl(fd, F_DUPFD_CLOEXEC, (int)plan->what.stdio_count);
    if (!fault && copy < 0) copy = -errno;
    if (plan->is_made[i]) close(fd);
    plan->is_made[i] = copy >= 0;
    plan->source[i] = copy;
    return copy < 0 ? copy : 0;
}

/* The child's end and ours. */
static int make_ends(const pro_env *env, pri_os_plan *plan, unsigned i, pro_stdio_kind kind)
{
    bool is_pair = kind == PRO_STDIO_BOTH;
    int  ends[2], fault = pri_os_fault(env, is_pair ? "socketpair" : "pipe");
    if (fault) return fault;
    if (is_pair ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) : pipe2(ends, O_CLOEXEC))
        return -errno;
    bool child_reads = kind != PRO_STDIO_WRITE;
    plan->ours[i] = ends[child_reads];
    plan->is_made[i] = true;
    return take_source(env, plan, i, ends[!child_reads]);
}

static int make_source(const pro_env *env, pri_os_plan *plan, unsigned i, const pro_stdio *stdio)
{
    switch (stdio->kind) {
    case PRO_STDIO_NULL: return 0;
    case PRO_STDIO_INHERIT: return take_source(env, plan, i, (int)i);
    case PRO_STDIO_GIVEN:
        if (stdio->descriptor < 0) return -EBADF;
        return take_source(env, plan, i, (int)stdio->descriptor);
    case PRO_STDIO_READ:
    case PRO_STDIO_WRITE:
    case PRO_STDIO_BOTH: return make_ends(env, plan, i, stdio->kind);
    default: return -EINVAL;
    }
}

int pri_os_child_prepare(const pro_env *env, const pro_spawn_options *options, pri_os_plan **out)
{
    if (!options->file || !*options->file || options->stdio_count > PRO_STDIO_MAX) return -EINVAL;
    pri_os_plan *plan = env->realloc(env->ctx, NULL, sizeof *plan);
    if (!plan) return -ENOMEM;
    memset(plan, 0, sizeof *plan);
    plan->what = *options;
    plan->result = -ECANCELED;
    plan->pidfd = -1;
    const pro_stdio *stdio = options->stdio;
    if (options->stdio_count == 0) {
        stdio = inherited;
        plan->what.stdio_count = 3;
    }
    for (int i = 0; i < PRO_STDIO_MAX; i++) plan->source[i] = plan->ours[i] = -1;
    int error = 0;
    for (unsigned i = 0; i < plan->what.stdio_count && !error; i++) {
        error = make_source(env, plan, i, &stdio[i]);
        /* Standard descriptors that this process has not, the child has not either. */
        if (error == -EBADF && stdio == inherited) error = 0;
    }
    if (!error) error = plan->spawn_fault = pri_os_fault(env, "posix_spawn");
    if (error) {
        close_all(plan, true);
        env->realloc(env->ctx, plan, 0);
        return error;
    }
    plan->pidfd_fault = pri_os_fault(env, "pidfd_open");
    *out = plan;
    return 0;
}

/* ---- Starting --------------------------------------------------------------------------------- */

/* The C library's form of it.  A positive number, or 0: then the caller destroys both. */
static int describe(const pri_os_plan *plan, posix_spawn_file_actions_t *actions,
                    posix_spawnattr_t *attributes)
{
    unsigned count = plan->what.stdio_count;
    sigset_t set;
    short    flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    int      error = 0;
    for (unsigned i = 0; i < count && !error; i++) {
        bool is_null = plan->what.stdio && plan->what.stdio[i].kind == PRO_STDIO_NULL;
        if (is_null)
            error = posix_spawn_file_actions_addopen(actions, (int)i, "/dev/null", O_RDWR, 0);
        else if (plan->source[i] >= 0)
            error = posix_spawn_file_actions_adddup2(actions, plan->source[i], (int)i);
    }
    if (!error) error = posix_spawn_file_actions_addclosefrom_np(actions, (int)count);
    if (!error && plan->what.directory)
        error = posix_spawn_file_actions_addchdir_np(actions, plan->what.directory);
    if (error) return error;

    if (plan->what.flags & PRO_SPAWN_SESSION)
        flags |= POSIX_SPAWN_SETSID;
    else if (plan->what.flags & PRO_SPAWN_GROUP)
        flags |= POSIX_SPAWN_SETPGROUP;
    sigemptyset(&set);
    posix_spawnattr_setsigmask(attributes, &set);
    sigfillset(&set);
    posix_spawnattr_setsigdefault(attributes, &set);
    posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setflags(attributes, flags);
    return 0;
}

/* A positive number, or 0 and plan->pid. */
static int spawn(pri_os_plan *plan)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t          attributes;
    const char                *alone[] = {plan->what.file, NULL};
    const char *const         *args = plan->what.args ? plan->what.args : alone;
    const char *const         *environment = plan->what.environment;
    if (!environment) environment = (const char *const *)environ;

    int error = posix_spawn_file_actions_init(&actions);
    if (error) return error;
    error = posix_spawnattr_init(&attributes);
    if (error) goto destroy_actions;
    error = describe(plan, &actions, &attributes);
    if (!error)
        error = posix_spawnp(&plan->pid, plan->what.file, &actions, &attributes,
                             (char *const *)(uintptr_t)args, (char *const *)(uintptr_t)environment);
    posix_spawnattr_destroy(&attributes);
destroy_actions:
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* Its number cannot go to another process before we have reaped it. */
int pri_os_child_start(pri_os_plan *plan)
{
    plan->result = -spawn(plan);
    if (plan->result) return plan->result;
    int fault = plan->pidfd_fault;
    if (!fault) plan->pidfd = (int)syscall(SYS_pidfd_open, plan->pid, 0);
    if (plan->pidfd >= 0) return 0;
    plan->result = fault ? fault : -errno;
    kill(plan->pid, SIGKILL); /* nobody could wait for it */
    while (waitpid(plan->pid, NULL, 0) < 0 && errno == EINTR) {}
    return plan->result;
}

int64_t pri_os_child_end(const pro_env *env, pri_os_plan *plan, intptr_t *fd, intptr_t *group)
{
    int64_t result = plan->result ? plan->result : plan->pid;
    bool    leads = plan->what.flags & (PRO_SPAWN_GROUP | PRO_SPAWN_SESSION);
    *group = leads ? plan->pid : 0;
    close_all(plan, plan->result != 0);
    *fd = plan->pidfd;
    for (unsigned i = 0; !plan->result && i < plan->what.stdio_count; i++)
        if (plan->ours[i] >= 0) plan->what.stdio[i].descriptor = plan->ours[i];
    env->realloc(env->ctx, plan, 0);
    return result;
}

/* ---- Its end ---------------------------------------------------------------------------------- */

int pri_os_child_reap(intptr_t fd, intptr_t group, int64_t *status)
{
    (void)group;
    siginfo_t info = {.si_pid = 0};
    int       result;
    do result = waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG);
    while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;
    if (info.si_pid == 0) return -EAGAIN;
    *status = info.si_code == CLD_EXITED ? info.si_status : PRO_SIGNALED + info.si_status;
    return 0;
}

int pri_os_child_signal(const pro_env *env, intptr_t fd, int32_t pid, intptr_t group, int number)
{
    int fault = pri_os_fault(env, "kill");
    if (fault) return fault;
    (void)pid;
    int result = group ? kill(-(pid_t)group, number) /* not yet reaped, so it is still its own */
                       : (int)syscall(SYS_pidfd_send_signal, (int)fd, number, NULL, 0u);
    return result < 0 ? -errno : 0;
}
