/* The peers of lib/peer.h in a simulated world. */
#ifndef TEST_LIB_PEER_SIM_H
#define TEST_LIB_PEER_SIM_H

#include "lib/peer.h"

peer        sim_listen(pro_address *address);
peer        sim_accept(peer listener);
peer        sim_connect(const pro_address *address);
void        sim_pair(peer pair[2]);
int64_t     sim_read(peer p, void *buf, size_t len);
int64_t     sim_read_exactly(peer p, void *buf, size_t len);
bool        sim_write(peer p, const void *buf, size_t len);
void        sim_shutdown(peer p);
void        sim_close(peer p, bool abortive);
bool        sim_silence_begin(peer_silence *silence);
void        sim_silence_end(peer_silence *silence);
pro_address sim_nobody(void);

#endif
