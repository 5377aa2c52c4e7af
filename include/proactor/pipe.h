/* Pipes, pairs, standard streams: streams of bytes that are pro_sockets like a TCP connection.
 *
 * All of net.h that is about bytes holds for them: receive, send, exact, whole and vectored forms,
 * deadlines, cancel, close.  A pipe is one way: receives on its writing end and sends on its reading end
 * fail with PRO_EBADF.  What is no socket has no addresses and no options, and differs in its ends:
 *
 *   PRO_EOF      comes after all the data, when the last writing end is closed, in other processes too;
 *                of a terminal, when its user says so (Control-D), and it may go on after that
 *   PRO_EPIPE    nobody has the reading end any more; no SIGPIPE
 *   shutdown     of what can only be written to: closes it, behind what is queued; of other things that are
 *                no socket, PRO_ENOTSUP
 *   PRO_EIO      a terminal that is gone
 *   close_abort  as close: there is no reset; so it is of a pair, but on Windows
 *
 * pro_socket_adopt (net.h) makes such a stream of any descriptor that is one.  A file is one as well: read
 * and written from its position on, by the loop's pool of threads (blocking.h), since a disk never says that
 * it would wait.
 *
 * On Windows what is no socket is a HANDLE: a pipe of ours or any other that was opened for overlapped calls
 * is done by the completion port; of all others (what a shell or the C library made, consoles, devices)
 * each direction in use has a thread of the handle's own that makes the calls.  Such a call of a device that
 * hears of no cancel ends late. */
#ifndef PROACTOR_PIPE_H
#define PROACTOR_PIPE_H

#include <proactor/base.h>
#include <proactor/datagram.h>
#include <proactor/net.h>
#include <proactor/scope.h>

PRO_BEGIN_DECLS

/* Make a pipe: what is sent on writer is received on reader.  Both in scope (NULL: the loop's root).
 * Returns PRO_OK, and both are the library's until closed; or PRO_EMFILE, PRO_ENFILE, PRO_ENOTSUP,
 * PRO_ECANCELED for a closing scope, and both are still the caller's.  Thread: the loop's, as for all
 * functions here. */
PRO_API int pro_pipe_pair(pro_socket *reader, pro_socket *writer, pro_loop *loop, pro_scope *scope);

/* The same for two stream sockets connected with each other, both ways: Unix sockets without a name, on
 * Windows a TCP connection of the loopback interface. */
PRO_API int pro_socket_pair(pro_socket *a, pro_socket *b, pro_loop *loop, pro_scope *scope);

/* The same for two datagram sockets, each the peer of the other; on Windows UDP, which drops what finds no
 * room. */
PRO_API int pro_datagram_pair(pro_datagram *a, pro_datagram *b, pro_loop *loop, pro_scope *scope);

typedef enum pro_standard { PRO_STDIN, PRO_STDOUT, PRO_STDERR } pro_standard;

/* Make s one of the standard streams of the process, whatever that is: a terminal, a pipe, a file, a socket,
 * a device.  It is opened once more, or duplicated where that is not possible, so that the blocking mode
 * that other processes see never changes, and closing s closes the copy alone: who reads from our standard
 * output sees its end when the process ends.  What the C library has read ahead (stdin) or not yet written
 * (stdout) is not seen.
 * Returns PRO_OK, and s is the library's until closed; or an error, and it is still the caller's: PRO_EBADF
 * (the process has none), PRO_EMFILE, PRO_ENOTSUP, PRO_ECANCELED for a closing scope.
 * One case may hold up the loop: a terminal that could not be opened again, where another process takes
 * what was there to read between the kernel's word and our call. */
PRO_API int pro_socket_standard(pro_socket *s, pro_loop *loop, pro_scope *scope,
                                pro_standard which);

PRO_END_DECLS

#endif
