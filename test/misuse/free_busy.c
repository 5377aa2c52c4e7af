/* Freeing a loop in which something lives: nothing happens but the answer, and the dump says what.
 *
 * where: release debug asan
 * says: PRO_EBUSY
 * says: recv at {initiated}: started
 * says: timer at {timer}: 
 */
#include "misuse.h"

static pro_socket a, b;

static void print(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

int main(void)
{
    pro_loop *loop = make_loop();
    pro_op    recv = {0}, timer = {0};
    char      buf[64];
    make_pair(loop, &a, &b);
    pro_recv(&recv, &a, buf, sizeof buf, ignore);   /* initiated */
    pro_sleep(&timer, loop, PRO_SEC, ignore);       /* timer */
    int error = pro_loop_free(loop);                /* violated */
    fprintf(stderr, "%s\n", pro_error_name(error)); /* a program would mend it; this one is done */
    pro_loop_dump(loop, print, NULL);
    if (error != PRO_EBUSY) return 0;
    abort();
}
