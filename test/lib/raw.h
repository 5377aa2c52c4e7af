/* The peers of lib/peer.h as sockets of the system.  peer_posix.c has them for POSIX. */
#ifndef TEST_LIB_RAW_H
#define TEST_LIB_RAW_H

#include "lib/peer.h"

peer        raw_listen(pro_address *address);
peer        raw_accept(peer listener);
peer        raw_connect(const pro_address *address);
void        raw_pair(peer pair[2]);
int64_t     raw_read(peer p, void *buf, size_t len);
int64_t     raw_read_exactly(peer p, void *buf, size_t len);
bool        raw_write(peer p, const void *buf, size_t len);
void        raw_shutdown(peer p);
void        raw_close(peer p);
void        raw_reset(peer p);
void        raw_buffers(peer p, int send, int recv);
bool        raw_silence_begin(peer_silence *silence);
void        raw_silence_end(peer_silence *silence);
pro_address raw_nobody(void);

#endif
