/* Messages: what has a name beside its data, and descriptors; one at a time, and many in one call.
 *
 * As in transfer.c the calls never wait and EINTR is retried here. */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/os.h"

_Static_assert(sizeof(struct msghdr) <= sizeof(((pri_os_message *)NULL)->header),
               "a header has room");

/* Past AddressSanitizer: transfer.c. */
#if defined(PROACTOR_CHECKED) && defined(SYS_recvmmsg) && defined(SYS_recvmsg)
#define recvmsg(fd, message, flags) syscall(SYS_recvmsg, fd, message, flags)
#define recvmmsg(fd, messages, count, flags, timeout)                                              \
    (int)syscall(SYS_recvmmsg, fd, messages, count, flags, timeout)
#endif

static int64_t answer(int64_t result) { return result < 0 ? -errno : result; }

static struct msghdr *header_of(pri_os_message *m) { return (struct msghdr *)(void *)m->header; }

/* ---- One ------------------------------------------------------------------------------------ */

void pri_os_message_out(pri_os_message *m, const pro_vec *vecs, size_t count)
{
    *header_of(m) = (struct msghdr){
        .msg_name = m->name_len ? m->name : NULL,
        .msg_namelen = m->name_len,
        .msg_iov = (struct iovec *)(uintptr_t)vecs,
        .msg_iovlen = count,
        .msg_control = m->control_len ? m->control : NULL,
        .msg_controllen = m->control_len,
    };
}

void pri_os_message_in(pri_os_message *m, pro_address *from)
{
    const struct msghdr *header = header_of(m);
    m->name_len = header->msg_name ? header->msg_namelen : 0;
    m->control_len = (uint32_t)header->msg_controllen;
    *from = (pro_address){.family = PRO_FAMILY_NONE};
    if (m->name_len > 0) pri_os_address_in(from, m->name);
    m->is_truncated = (header->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
}

int64_t pri_os_recv_message(const pro_env *env, intptr_t fd, pri_os_message *m, const pro_vec *vecs,
                            size_t count)
{
    int64_t n;
    pri_os_message_out(m, vecs, count);
    do {
        int fault = pri_os_fault(env, "recvmsg");
        n = fault ? fault : answer(recvmsg((int)fd, header_of(m), MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
    } while (n == -EINTR);
    return n;
}

int64_t pri_os_send_message(const pro_env *env, intptr_t fd, pri_os_message *m, const pro_vec *vecs,
                            size_t count)
{
    int64_t n;
    pri_os_message_out(m, vecs, count);
    do {
        int fault = pri_os_fault(env, "sendmsg");
        n = fault ? fault : answer(sendmsg((int)fd, header_of(m), MSG_NOSIGNAL | MSG_DONTWAIT));
    } while (n == -EINTR);
    return n == -EAGAIN && m->never_waits ? -ENOBUFS : n;
}

/* ---- Into a leased buffer ------------------------------------------------------------------- */

_Static_assert(sizeof(pri_os_head) == PRO_DATAGRAM_HEAD, "the head is what the header says");
_Static_assert(sizeof(((pri_os_head *)NULL)->name) >= sizeof(struct sockaddr_un),
               "any name has room");

int64_t pri_os_recv_datagram(const pro_env *env, intptr_t fd, void *buffer, size_t size,
                             int *is_truncated)
{
    char         *head = buffer;
    struct iovec  piece = {head + PRO_DATAGRAM_HEAD, size - PRO_DATAGRAM_HEAD};
    struct msghdr header = {
        .msg_name = head + offsetof(pri_os_head, name), .msg_iov = &piece, .msg_iovlen = 1};
    int64_t n;
    do {
        header.msg_namelen = sizeof(((pri_os_head *)NULL)->name);
        int fault = pri_os_fault(env, "recvmsg");
        n = fault ? fault : answer(recvmsg((int)fd, &header, MSG_DONTWAIT));
    } while (n == -EINTR);
    if (n < 0) return n;
    uint32_t name_len = header.msg_namelen;
    memcpy(head, &name_len, sizeof name_len);
    *is_truncated = (header.msg_flags & MSG_TRUNC) != 0;
    return n;
}

/* ---- Many ----------------------------------------------------------------------------------- */

/* On the stack, and all that it points to. */
typedef struct batch {
    struct mmsghdr      headers[PRO_BATCH_MAX];
    struct iovec        pieces[PRO_BATCH_MAX];
    struct sockaddr_in6 names[PRO_BATCH_MAX]; /* or shorter ones */
    unsigned            count;
} batch;

static void fill(batch *b, pro_message *messages, size_t count)
{
    b->count = count < PRO_BATCH_MAX ? (unsigned)count : PRO_BATCH_MAX;
    for (unsigned i = 0; i < b->count; i++) {
        b->pieces[i] = (struct iovec){messages[i].buf, messages[i].len};
        b->headers[i] = (struct mmsghdr){.msg_hdr = {
                                             .msg_name = &b->names[i],
                                             .msg_namelen = sizeof b->names[i],
                                             .msg_iov = &b->pieces[i],
                                             .msg_iovlen = 1,
                                         }};
    }
}

int64_t pri_os_recv_batch(const pro_env *env, intptr_t fd, pro_message *messages, size_t count)
{
    batch   b;
    int64_t n;
    fill(&b, messages, count);
    do {
        int fault = pri_os_fault(env, "recvmmsg");
        n = fault ? fault : answer(recvmmsg((int)fd, b.headers, b.count, MSG_DONTWAIT, NULL));
    } while (n == -EINTR);
    for (int64_t i = 0; i < n; i++) {
        const struct msghdr *header = &b.headers[i].msg_hdr;
        messages[i].size = b.headers[i].msg_len;
        messages[i].flags = header->msg_flags & MSG_TRUNC ? PRO_TRUNCATED : 0;
        messages[i].address = (pro_address){.family = PRO_FAMILY_NONE};
        if (header->msg_namelen > 0) pri_os_address_in(&messages[i].address, &b.names[i]);
    }
    return n;
}

int64_t pri_os_send_batch(const pro_env *env, intptr_t fd, pro_message *messages, size_t count)
{
    batch   b;
    int64_t n;
    fill(&b, messages, count);
    for (unsigned i = 0; i < b.count; i++) {
        struct msghdr *header = &b.headers[i].msg_hdr;
        header->msg_namelen = (socklen_t)pri_os_address_out(&messages[i].address, &b.names[i]);
        if (header->msg_namelen == 0) header->msg_name = NULL;
    }
    do {
        int fault = pri_os_fault(env, "sendmmsg");
        int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
        n = fault ? fault : answer(sendmmsg((int)fd, b.headers, b.count, flags));
    } while (n == -EINTR);
    for (int64_t i = 0; i < n; i++) {
        messages[i].size = b.headers[i].msg_len;
        messages[i].flags = 0;
    }
    return n;
}
