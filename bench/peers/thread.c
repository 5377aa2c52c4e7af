/* Thread per connection: the oldest model.  Calls block, the kernel schedules, and a connection's state
 * is a stack.  64 KiB of it, since the default of 8 MiB would reserve 40 GB of addresses for 5,000. */
#include "peer.h"

#include <limits.h>
#include <pthread.h>

static unsigned buffer;

static void *serve(void *arg)
{
    int   fd = (int)(intptr_t)arg;
    char *buf = malloc(buffer);
    for (ssize_t got; buf && (got = recv(fd, buf, buffer, 0)) > 0;) {
        peer_work(buf);
        for (ssize_t sent, at = 0; at < got; at += sent) {
            sent = send(fd, buf + at, (size_t)(got - at), MSG_NOSIGNAL);
            if (sent < 0) goto end;
        }
    }
end:
    free(buf);
    close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_attr_t attributes;
    peer_begin();
    buffer = peer_buffer(argc, argv);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 65536);
    int listener = peer_listen(0);
    peer_ready(peer_port_of(listener));
    for (;;) {
        pthread_t thread;
        int       fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        peer_nodelay(fd);
        if (pthread_create(&thread, &attributes, serve, (void *)(intptr_t)fd) != 0) close(fd);
    }
}
