/* lib/peer.h: in a simulated world or outside of one. */
#include "lib/peer_sim.h"
#include "lib/raw.h"
#include "lib/sim.h"

peer peer_listen(pro_address *address)
{
    return t_world_here() ? sim_listen(address) : raw_listen(address);
}

peer peer_accept(peer listener)
{
    return t_world_here() ? sim_accept(listener) : raw_accept(listener);
}

peer peer_connect(const pro_address *address)
{
    return t_world_here() ? sim_connect(address) : raw_connect(address);
}

void peer_pair(peer pair[2]) { t_world_here() ? sim_pair(pair) : raw_pair(pair); }

int64_t peer_read(peer p, void *buf, size_t len)
{
    return t_world_here() ? sim_read(p, buf, len) : raw_read(p, buf, len);
}

int64_t peer_read_exactly(peer p, void *buf, size_t len)
{
    return t_world_here() ? sim_read_exactly(p, buf, len) : raw_read_exactly(p, buf, len);
}

bool peer_write(peer p, const void *buf, size_t len)
{
    return t_world_here() ? sim_write(p, buf, len) : raw_write(p, buf, len);
}

void peer_shutdown(peer p) { t_world_here() ? sim_shutdown(p) : raw_shutdown(p); }
void peer_close(peer p) { t_world_here() ? sim_close(p, false) : raw_close(p); }
void peer_reset(peer p) { t_world_here() ? sim_close(p, true) : raw_reset(p); }

void peer_buffers(peer p, int send, int recv)
{
    if (!t_world_here()) raw_buffers(p, send, recv);
}

bool peer_silence_begin(peer_silence *silence)
{
    return t_world_here() ? sim_silence_begin(silence) : raw_silence_begin(silence);
}

void peer_silence_end(peer_silence *silence)
{
    t_world_here() ? sim_silence_end(silence) : raw_silence_end(silence);
}

pro_address peer_nobody(void) { return t_world_here() ? sim_nobody() : raw_nobody(); }
