/* Freeing its parent's loop in a child of fork.
 *
 * where: release debug asan
 * says: a loop is freed in a child of fork, which has none of its parent's
 */
#include "misuse.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int       status;
    pro_loop *loop = make_loop();
    pro_loop_poll(loop);
    pid_t child = fork();
    if (child == 0) {
        pro_loop_free(loop);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child) return 1;
    pro_loop_free(loop);
    if (WIFSIGNALED(status)) raise(WTERMSIG(status));
    return 0;
}
