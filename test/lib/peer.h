/* The other side of a connection, blocking: TCP of the system without the library (peer_posix.c), and in
 * a simulated world a socket of another machine (peer_sim.c).  What fails unexpectedly here fails the
 * sentence. */
#ifndef TEST_LIB_PEER_H
#define TEST_LIB_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <proactor/net.h>

typedef intptr_t peer; /* a descriptor */

/* Listen on a free port, of 127.0.0.1 or the other machine; *address is where. */
peer peer_listen(pro_address *address);
peer peer_accept(peer listener);
peer peer_connect(const pro_address *address);

/* Two connected stream sockets, for pro_socket_adopt. */
void peer_pair(peer pair[2]);

/* The bytes that came, at most len and at least 1; 0: end of stream; -1: reset. */
int64_t peer_read(peer p, void *buf, size_t len);

/* As many as len, unless the stream ends before; -1: reset. */
int64_t peer_read_exactly(peer p, void *buf, size_t len);

/* All of it; false: the connection is broken. */
bool peer_write(peer p, const void *buf, size_t len);

void peer_shutdown(peer p); /* the sending side */
void peer_close(peer p);
void peer_reset(peer p); /* close, and the other side gets a reset */

/* How much the kernel may hold for it; before connecting for the full effect. */
void peer_buffers(peer p, int send, int recv);

/* An address at which a connect neither succeeds nor fails for now; false: not possible here. */
typedef struct peer_silence {
    pro_address address;
    peer        listener;
    peer        fillers[8];
} peer_silence;

bool peer_silence_begin(peer_silence *silence);
void peer_silence_end(peer_silence *silence);

/* An address of 127.0.0.1 on which nothing listens. */
pro_address peer_nobody(void);

#endif
