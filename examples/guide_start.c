/* Start here: a loop, an operation, a handler.
 *
 *     guide_start
 *
 * What to see here: pro_sleep returns at once, its handler runs later, from pro_loop_run; and when
 * nothing is in flight any more, pro_loop_run returns. */
#include <proactor.h>

#include <stdio.h>

static pro_loop *loop;

static void on_second(pro_op *op) { printf("3: the second time, %s\n", pro_error_name(op->error)); }

static void on_first(pro_op *op)
{
    printf("2: the first time, %s\n", pro_error_name(op->error));
    pro_sleep(op, loop, 10 * PRO_MSEC, on_second); /* ours again, so: used again */
}

int main(void)
{
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) {
        fprintf(stderr, "guide_start: cannot make a loop: %s\n", pro_error_text(error));
        return 1;
    }
    pro_op op = {0}; /* zeroed once */
    pro_sleep(&op, loop, 10 * PRO_MSEC, on_first);
    printf("1: nothing has waited\n");

    pro_loop_run(loop);
    printf("4: nothing is in flight\n");
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
