/* Child processes: start one, wait for its end, send it signals, talk to it through pipes.
 *
 * A pro_process runs one child at a time, and after its end another.  Its life is the handle's: closing
 * it, or the scope it lives in, kills the child and completes when it is gone, so that neither a child
 * nor a zombie is left behind.  Draining a scope waits for the child, up to the deadline: a server's
 * on_stop sends SIGTERM, and what does not end in time is killed.
 *
 * The child is waited for by the library from its start, whether or not anybody waits here; the program
 * must not wait for it (wait, waitpid(-1)), nor ignore SIGCHLD.  A loop with a child has something to do:
 * pro_loop_run returns after the child's end.
 *
 * On Linux, by vfork and pidfd, on a thread of the loop's pool, since that takes as long as the program
 * file takes to be found and mapped.  PRO_ENOTSUP in the simulator.
 *
 * On Windows, by CreateProcess: descriptors are HANDLEs, all text is UTF-8, and
 *   the program     is looked for as it is called and with .exe; a batch file is PRO_EACCES: cmd.exe has quoting
 *                   rules of its own, so whoever wants one runs cmd.exe
 *   arguments       become a command line by the rules of CommandLineToArgvW; args[0] has no quotation mark
 *   environment     one that is given gets this process's SystemRoot, if it has none
 *   numbers         0, 1, 2 are the standard handles; from 3 on those of the child's C library
 *   a group         is a job, and the child the first of a console group; a session has no console either
 *   signals         SIGKILL (9) and SIGTERM (15) end the child, or its group, at once; SIGINT (2) goes to a
 *                   group as Ctrl-Break over the console in common, else PRO_ENOTSUP; all others PRO_EINVAL
 *   the exit code   has 32 bits, and is told as it is: what crashed has one like 0xC0000005 */
#ifndef PROACTOR_PROCESS_H
#define PROACTOR_PROCESS_H

#include <proactor/base.h>
#include <proactor/net.h>
#include <proactor/op.h>

PRO_BEGIN_DECLS

/* What the child has under one descriptor number. */
typedef enum pro_stdio_kind {
    PRO_STDIO_NULL,    /* /dev/null, NUL */
    PRO_STDIO_INHERIT, /* what this process has under that number */
    PRO_STDIO_GIVEN,   /* `descriptor`, which stays the caller's */
    PRO_STDIO_READ,    /* the child reads what we write: a pipe */
    PRO_STDIO_WRITE,   /* the child writes what we read: a pipe */
    PRO_STDIO_BOTH     /* both: a pair of connected stream sockets */
} pro_stdio_kind;

typedef struct pro_stdio {
    pro_stdio_kind kind;

    /* Of PRO_STDIO_GIVEN: what the child gets.  Of READ, WRITE and BOTH, when the spawn completes with
     * PRO_OK: our end, the caller's from then; close-on-exec and blocking, on Windows not inherited and
     * for overlapped calls.  Else untouched. */
    intptr_t descriptor;
} pro_stdio;

#define PRO_SPAWN_GROUP                                                                            \
    1u /* the child leads a process group of its own, and signals go to all of it */
#define PRO_SPAWN_SESSION 2u /* a session of its own, and so a group: no controlling terminal */

typedef struct pro_spawn_options {
    const char        *file;        /* without a slash it is looked for on this process's PATH */
    const char *const *args;        /* args[0] too, up to a NULL; NULL: file alone */
    const char *const *environment; /* "NAME=value" up to a NULL; NULL: this process's */
    /* Where it starts; NULL: where this process is.  A relative file is looked for from there, on Windows
     * from where this process is. */
    const char *directory;

    /* Number 0 of the child, 1, 2, ...: as many as there are, no other descriptor is open in it.
     * count 0: the standard three are inherited. */
    pro_stdio *stdio;
    unsigned   stdio_count;

    uint32_t flags; /* PRO_SPAWN_* */
} pro_spawn_options;

/* The most descriptors of a child that can be given. */
#define PRO_STDIO_MAX 64

typedef struct pro_process {
    pro_handle handle;

    /* Internal. */
    pro_op   pri_inner; /* the job that starts the child, then the wait for its end */
    pro_op  *pri_spawner;
    void    *pri_plan;
    int32_t  pri_pid;
    int32_t  pri_error; /* of the last child, or why there is none: PRO_OK, and */
    int64_t  pri_status;
    intptr_t pri_group; /* 0: the child leads none */
} pro_process;

/* Make p a process handle of the loop, in scope (NULL: the loop's root), without a child as yet.
 * Thread: the loop's. */
PRO_API void pro_process_init(pro_process *p, pro_loop *loop, pro_scope *scope);

/* Start a child.  Completes with PRO_OK and its id when the program runs in it, or with the reason why
 * not, and then there is no child, no zombie, and no descriptor of its pipes: PRO_ENOENT (no such program
 * or directory), PRO_EACCES, PRO_EBUSY (a child runs already, or its end is still to be told to those who
 * wait), PRO_EMFILE, PRO_ENOMEM, PRO_EINVAL, ...
 * In the child no signal is blocked, and none but those that kill or stop is ignored or caught.
 * Canceled or timed out before the work began: the cause; once it began, its result.
 * Ours until the handler: op, options, and all that it refers to.
 * Thread: the loop's.  Never completes inside. */
PRO_API void pro_spawn(pro_op *op, pro_process *p, const pro_spawn_options *options,
                       pro_handler *done);

/* Complete when the child has ended, or on the next turn if it has.  Value: its exit code, 0 to 255 (but on
 * Windows, see above), or PRO_SIGNALED + the signal that ended it.  Initiated behind a spawn it waits for that, and fails with
 * it.  Several may wait; canceling one leaves the child and the others alone.
 * Ours until the handler: op.  Errors: that of the spawn, if there is no child because it failed;
 * PRO_ENOENT (there was none yet, or the program waited for it by itself), PRO_ECANCELED, PRO_ETIMEDOUT, PRO_ECLOSED. */
#define PRO_SIGNALED 256
PRO_API void pro_process_wait(pro_op *op, pro_process *p, pro_handler *done);

/* Send a signal to the child, or to its group.  Never to another process, however late.
 * Returns PRO_OK; PRO_ENOENT if no child runs; PRO_EINVAL; PRO_EPERM.  Thread: the loop's. */
PRO_API int pro_process_kill(pro_process *p, int signal_number);

/* The id of the child that runs; 0 if none does. */
PRO_API int64_t pro_process_id(const pro_process *p);

/* Kill the child if there is one (SIGKILL, its group too), and complete when it is gone.  As pro_close. */
PRO_API void pro_process_close(pro_op *op, pro_process *p, pro_handler *done);

/* The same with the call site given: for macros and other languages. */
PRO_API void pro_spawn_at(const char *site, pro_op *op, pro_process *p,
                          const pro_spawn_options *options, pro_handler *done);
PRO_API void pro_process_wait_at(const char *site, pro_op *op, pro_process *p, pro_handler *done);
PRO_API void pro_process_close_at(const char *site, pro_op *op, pro_process *p, pro_handler *done);

#ifndef PRO_NO_SITES
#define pro_spawn(...) pro_spawn_at(PRO_SITE, __VA_ARGS__)
#define pro_process_wait(...) pro_process_wait_at(PRO_SITE, __VA_ARGS__)
#define pro_process_close(...) pro_process_close_at(PRO_SITE, __VA_ARGS__)
#endif

PRO_END_DECLS

#endif
