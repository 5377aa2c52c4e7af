/* Follow: print what is added to a file, as tail -F does, until SIGTERM or SIGINT.
 *
 *     follow FILE
 *
 * The file may not be there yet, may be cut short, and may be replaced by another one of its name, as
 * logs are.
 *
 * What to see here: to follow a name, its directory is watched, since a file itself would be followed
 * wherever it is moved.  A change says that something happened, not what is there now: so each one leads
 * to the same look at the file, and if changes were lost (PRO_CHANGE_OVERFLOW) nothing is missed.
 *
 * A look is a chain of operations on files, one at a time: read what is new; is the file shorter than that?
 * is it still the one of that name?  A change that comes meanwhile asks for another look. */
#include <proactor.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CHANGES_MAX 32

static struct {
    pro_loop   *loop;
    pro_scope   scope;
    pro_watcher watcher;
    pro_op      watch, step, term, interrupt;
    pro_change  changes[CHANGES_MAX];
    const char *path, *name; /* all of it, and its last part */
    pro_file    file;
    uint64_t    at; /* how much of it was printed */
    pro_stat    opened, named;
    int         is_open, is_looking, once_more;
    char        buf[4096];
} f;

static void look(void);

/* The look is over; or all of it is, since its scope was closed. */
static void looked(void)
{
    f.is_looking = 0;
    if (!f.once_more || pro_scope_closing(&f.scope)) return;
    f.once_more = 0;
    look();
}

static void on_read(pro_op *op);

static void read_on(void) { pro_file_read(&f.step, &f.file, f.buf, sizeof f.buf, f.at, on_read); }

static void on_opened(pro_op *op)
{
    if (op->error != PRO_OK) { /* it is not there, or not any more */
        looked();
        return;
    }
    f.is_open = 1;
    f.at = 0;
    read_on();
}

static void on_closed(pro_op *op)
{
    f.is_open = 0;
    pro_file_open(op, &f.file, f.loop, &f.scope, f.path, PRO_FILE_READ, 0, on_opened);
}

static void on_named(pro_op *op)
{
    int is_gone =
        op->error != PRO_OK || f.named.device != f.opened.device || f.named.inode != f.opened.inode;
    if (is_gone && !pro_scope_closing(&f.scope))
        pro_file_close(op, &f.file, on_closed);
    else
        looked();
}

static void on_stat(pro_op *op)
{
    if (op->error != PRO_OK) {
        looked();
    } else if (f.opened.size < f.at) { /* it was cut short */
        f.at = 0;
        read_on();
    } else {
        pro_path_stat(op, f.loop, f.path, 0, &f.named, on_named);
    }
}

static void on_read(pro_op *op)
{
    if (op->error != PRO_OK) {
        pro_file_stat(op, &f.file, &f.opened, on_stat);
        return;
    }
    fwrite(f.buf, 1, (size_t)op->value, stdout);
    fflush(stdout);
    f.at += (uint64_t)op->value;
    read_on();
}

static void look(void)
{
    if (f.is_looking) {
        f.once_more = 1;
        return;
    }
    f.is_looking = 1;
    if (f.is_open)
        read_on();
    else
        pro_file_open(&f.step, &f.file, f.loop, &f.scope, f.path, PRO_FILE_READ, 0, on_opened);
}

static void on_changes(pro_op *op)
{
    int is_ours = 0;
    if (op->error != PRO_OK) return;
    for (int i = 0; i < op->value; i++) {
        const pro_change *change = &f.changes[i];
        is_ours |= change->what & PRO_CHANGE_OVERFLOW || strcmp(change->name, f.name) == 0;
    }
    if (is_ours) look();
    pro_watch(op, &f.watcher, f.changes, CHANGES_MAX, on_changes);
}

static void on_signal(pro_op *op)
{
    if (op->error == PRO_OK) pro_scope_close(&f.scope);
}

static void on_drained(pro_scope *scope)
{
    (void)scope;
    pro_cancel(&f.term);
    pro_cancel(&f.interrupt);
}

static int start(void)
{
    char        directory[1024] = ".";
    const char *slash = strrchr(f.path, '/');
    size_t      len = slash ? (size_t)(slash - f.path) : 0;
    f.name = slash ? slash + 1 : f.path;
    if (len >= sizeof directory) return PRO_EINVAL;
    if (slash) snprintf(directory, sizeof directory, "%.*s", len ? (int)len : 1, f.path);
    int error = pro_watcher_open(&f.watcher, f.loop, &f.scope);
    if (error != PRO_OK) return error;
    int path = pro_watcher_add(&f.watcher, directory,
                               PRO_CHANGE_ALL & ~(PRO_CHANGE_ATTRIBUTES | PRO_CHANGE_CLOSED));
    if (path < 0) return path;
    look(); /* after the watch: what comes between is seen twice, and looked at once */
    pro_watch(&f.watch, &f.watcher, f.changes, CHANGES_MAX, on_changes);
    pro_signal_wait(&f.term, f.loop, SIGTERM, on_signal);
    pro_signal_wait(&f.interrupt, f.loop, SIGINT, on_signal);
    return PRO_OK;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: follow FILE\n");
        return 2;
    }
    f.path = argv[1];
    int error = pro_loop_new(&f.loop, NULL);
    if (error == PRO_OK) {
        pro_scope_init(&f.scope, f.loop, NULL, on_drained);
        error = start();
    }
    if (error != PRO_OK) {
        fprintf(stderr, "follow: %s: %s\n", f.path, pro_error_text(error));
        return 1;
    }
    pro_loop_run(f.loop);
    return pro_loop_free(f.loop) == PRO_OK ? 0 : 1;
}
