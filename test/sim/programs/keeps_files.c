/* Under PROACTOR_ENGINE=sim: what one loop writes the next one reads, though there is another world in between;
 * and none of it is on the real disk. */
#include <proactor.h>

#include <stdio.h>
#include <string.h>

static int       error;
static pro_bytes bytes;

static void on_done(pro_op *op) { error = op->error; }

int main(void)
{
    static pro_op op;
    pro_loop     *loop;
    if (pro_loop_new(&loop, NULL) != PRO_OK) return 2;
    pro_path_replace(&op, loop, "/tmp/proactor-keeps-files", "kept", 4, 0644, on_done);
    pro_loop_run(loop);
    printf("%s\n", pro_error_name(error));
    pro_loop_free(loop);

    if (pro_loop_new(&loop, NULL) != PRO_OK) return 2;
    pro_path_read(&op, loop, "/tmp/proactor-keeps-files", 100, &bytes, on_done);
    pro_loop_run(loop);
    printf("%s %s\n", pro_error_name(error), bytes.data ? (char *)bytes.data : "nothing");
    pro_bytes_free(loop, &bytes);
    pro_loop_free(loop);

    FILE *real = fopen("/tmp/proactor-keeps-files", "r");
    printf("%s\n", real ? "on the real disk" : "not on the real disk");
    if (real) fclose(real);
    return 0;
}
