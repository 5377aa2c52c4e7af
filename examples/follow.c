/* Follow: print what is added to a file, as tail -F does, until SIGTERM or SIGINT.
 *
 *     follow FILE
 *
 * The file may not be there yet, may be cut short, and may be replaced by another one of its name, as
 * logs are.
 *
 * What to see here: to follow a name, its directory is watched, since a file itself would be followed
 * wherever it is moved.  A change says that something happened, not what is there now: so each one leads
 * to the same look at the file, and if changes were lost (PRO_CHANGE_OVERFLOW) nothing is missed. */
#include <proactor.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CHANGES_MAX 32

static struct {
    pro_loop   *loop;
    pro_scope   scope;
    pro_watcher watcher;
    pro_op      watch, term, interrupt;
    pro_change  changes[CHANGES_MAX];
    const char *path, *name; /* all of it, and its last part */
    FILE       *file;
    long        at; /* how much of it was printed */
} f;

/* Print what is new in the file that is open. */
static void print_rest(void)
{
    char   buf[4096];
    size_t n;
    if (fseek(f.file, 0, SEEK_END) == 0 && ftell(f.file) < f.at) f.at = 0; /* it was cut short */
    clearerr(f.file);
    if (fseek(f.file, f.at, SEEK_SET) != 0) return;
    while ((n = fread(buf, 1, sizeof buf, f.file)) > 0) {
        fwrite(buf, 1, n, stdout);
        f.at += (long)n;
    }
    fflush(stdout);
}

/* Is the open file still the one of that name? */
static int is_current(void)
{
    struct stat named, opened;
    return stat(f.path, &named) == 0 && fstat(fileno(f.file), &opened) == 0 &&
           named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

/* The example reads with stdio, which may wait for a disk. */
static void look(void)
{
    if (f.file) print_rest();
    if (f.file && is_current()) return;
    if (f.file) fclose(f.file);
    f.file = fopen(f.path, "rb"); /* NULL: it is not there, or not any more */
    f.at = 0;
    if (f.file) print_rest();
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
    if (f.file) fclose(f.file);
    return pro_loop_free(f.loop) == PRO_OK ? 0 : 1;
}
