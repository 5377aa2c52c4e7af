/* For programs that are wrong on purpose: a loop, and two connected sockets.
 *
 * Each file is one mistake, and begins with what must come of it, which run.py reads:
 *
 *     where: asan debug release         builds that must catch it; release: every build
 *     says: REGEX                       what standard error must have in it; several: all of them
 *     asan says: REGEX                  the same, in an AddressSanitizer build only
 *
 * {name} in a REGEX is the place of the line that has the comment for it, initiated or violated and so
 * on, as "test/misuse/FILE.c:LINE".  A mistake that is not caught ends with exit status 0; one that
 * cannot be made here with SKIP. */
#ifndef TEST_MISUSE_H
#define TEST_MISUSE_H

#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SKIP = 77 };

static inline void must(int error, const char *what)
{
    if (error == PRO_OK) return;
    fprintf(stderr, "%s: %s\n", what, pro_error_name(error));
    exit(error == PRO_ENOTSUP || error == PRO_EPERM ? SKIP : 1);
}

static inline pro_loop *make_loop(void)
{
    pro_loop *loop;
    must(pro_loop_new(&loop, NULL), "pro_loop_new");
    return loop;
}

/* Connected to each other, on the loop, in the root scope. */
static inline void make_pair(pro_loop *loop, pro_socket *a, pro_socket *b)
{
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0) exit(1);
    must(pro_socket_adopt(a, loop, NULL, fd[0]), "pro_socket_adopt");
    must(pro_socket_adopt(b, loop, NULL, fd[1]), "pro_socket_adopt");
}

static inline void ignore(pro_op *op) { (void)op; }

#endif
