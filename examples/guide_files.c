/* Files, step by step: replace one in one step, read at an offset, read it whole.
 *
 *     guide_files
 *
 * What to see here: each operation names its offset, so none depends on another; a handler initiates
 * what has to come after. */
#include <proactor.h>

#include <stdio.h>

static pro_loop  *loop;
static pro_file   file;
static pro_bytes  whole;
static char       part[8];
static const char path[] = "guide_files.txt";

static void on_unlinked(pro_op *op) { printf("gone: %s\n", pro_error_name(op->error)); }

static void on_whole(pro_op *op)
{
    printf("all of it, %lld bytes: %s", (long long)op->value, (const char *)whole.data);
    pro_bytes_free(loop, &whole);
    pro_path_unlink(op, loop, path, on_unlinked);
}

static void on_closed(pro_op *op) { pro_path_read(op, loop, path, 1 << 20, &whole, on_whole); }

static void on_part(pro_op *op)
{
    printf("7 bytes at 5: %.*s\n", (int)op->value, part);
    pro_file_close(op, &file, on_closed);
}

static void on_opened(pro_op *op)
{
    if (op->error != PRO_OK) { /* nothing to close */
        fprintf(stderr, "guide_files: %s\n", pro_error_text(op->error));
        return;
    }
    pro_file_read_exactly(op, &file, part, 7, 5, on_part);
}

static void on_replaced(pro_op *op)
{
    printf("written and synced: %s, %lld\n", pro_error_name(op->error), (long long)op->value);
    pro_file_open(op, &file, loop, NULL, path, PRO_FILE_READ, 0, on_opened);
}

int main(void)
{
    static const char text[] = "this sentence is in a file\n";
    if (pro_loop_new(&loop, NULL) != PRO_OK) return 1;
    pro_op op = {0};
    pro_path_replace(&op, loop, path, text, sizeof text - 1, 0644, on_replaced);
    pro_loop_run(loop);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
