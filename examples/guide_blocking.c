/* Work that takes long, beside the loop: primes are counted on a thread.
 *
 *     guide_blocking
 *
 * What to see here: the function runs on another thread, its handler on the loop's, and what the
 * function returns is the result: a value, or an error. */
#include <proactor.h>

#include <stdio.h>

static pro_loop *loop;

/* On a thread of the pool: it may compute or wait as long as it likes. */
static int64_t count_primes(void *arg)
{
    const int *below = arg;
    int64_t    count = 0;
    if (*below < 2) return PRO_EINVAL;
    for (int n = 2; n < *below; n++) {
        int divisor = 2;
        while (divisor * divisor <= n && n % divisor != 0) divisor++;
        count += divisor * divisor > n;
    }
    return count;
}

/* On the loop's thread, as ever. */
static void on_counted(pro_op *op)
{
    const int *below = op->user;
    if (op->error == PRO_OK)
        printf("%lld primes below %d\n", (long long)op->value, *below);
    else
        printf("below %d: %s\n", *below, pro_error_text(op->error));
}

int main(void)
{
    if (pro_loop_new(&loop, NULL) != PRO_OK) return 1;
    static int below[] = {1000, 0, 1000000};
    pro_op     ops[3] = {{.user = &below[0]}, {.user = &below[1]}, {.user = &below[2]}};
    for (int i = 0; i < 2; i++) {
        pro_run_blocking(&ops[i], loop, count_primes, &below[i], on_counted);
        pro_loop_run(loop);
    }
    pro_scope_close(pro_loop_scope(loop)); /* nothing new begins in a closing scope */
    pro_run_blocking(&ops[2], loop, count_primes, &below[2], on_counted);
    pro_loop_run(loop);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
