/* A sink of metrics by UDP, as statsd has them: one operation receives all of them, each into a buffer that is
 * picked as it arrives.
 *
 *     statsd 127.0.0.1:8125            and in another terminal:
 *     echo -n "jobs:3|c" | socat - UDP:127.0.0.1:8125          add 3 to a counter
 *     echo -n "heat:21|g" | socat - UDP:127.0.0.1:8125         set a gauge
 *     echo -n "?" | socat -t1 - UDP:127.0.0.1:8125             and see all of them
 *
 * What to see here: most datagrams are read where they lie, and their buffer goes back as the handler
 * returns, so that a few are enough for any rate.  The question is answered in its own buffer, which is taken for that
 * (pro_lease_take) and given back when the answer is out.  When all are out the receive ends with PRO_ENOBUFS: we wait for
 * one, and go on; what came meanwhile waits in the socket, as long as it has room. */
#include <proactor.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFERS = 16, ROOM = 1472, METRICS = 256, NAME_MAX_LEN = 40 };

struct metric {
    char    name[NAME_MAX_LEN + 1];
    int64_t value;
};

/* An answer on its way: never more of them than buffers. */
struct answer {
    pro_op         op;
    pro_lease      lease;
    struct answer *next;
};

static pro_loop     *loop;
static pro_buffers  *buffers;
static pro_datagram  sock;
static pro_address   from; /* of the datagram whose handler runs */
static struct metric metrics[METRICS];
static size_t        metric_count;
static struct answer all_answers[BUFFERS], *free_answers;

static void give_answer(struct answer *answer)
{
    answer->next = free_answers;
    free_answers = answer;
}

/* ---- Metrics --------------------------------------------------------------------------------- */

static struct metric *metric_of(const char *name, size_t len)
{
    for (size_t i = 0; i < metric_count; i++)
        if (strncmp(metrics[i].name, name, len) == 0 && !metrics[i].name[len]) return &metrics[i];
    if (metric_count == METRICS) return NULL;
    memcpy(metrics[metric_count].name, name, len); /* the rest of it is zero */
    return &metrics[metric_count++];
}

/* "name:value|c" adds, "name:value|g" sets; what is neither is nobody's business. */
static void take_line(const char *line, size_t len)
{
    char        text[NAME_MAX_LEN + 32];
    const char *colon = memchr(line, ':', len);
    if (!colon || colon == line || colon - line > NAME_MAX_LEN || len >= sizeof text) return;
    memcpy(text, line, len);
    text[len] = '\0';
    char     *end;
    long long value = strtoll(text + (colon - line) + 1, &end, 10);
    if (strcmp(end, "|c") != 0 && strcmp(end, "|g") != 0) return;
    struct metric *metric = metric_of(line, (size_t)(colon - line));
    if (metric) metric->value = end[1] == 'c' ? metric->value + value : value;
}

static void take_lines(const char *at, size_t len)
{
    while (len > 0) {
        const char *feed = memchr(at, '\n', len);
        size_t      line = feed ? (size_t)(feed - at) : len, used = feed ? line + 1 : len;
        take_line(at, line);
        at += used;
        len -= used;
    }
}

/* All that fits into one datagram. */
static size_t tell(char *buf, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < metric_count; i++) {
        int n = snprintf(buf + len, size - len, "%s %lld\n", metrics[i].name,
                         (long long)metrics[i].value);
        if (n < 0 || (size_t)n >= size - len) break;
        len += (size_t)n;
    }
    return len;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static void on_datagram(pro_op *op);

static void on_buffer(pro_op *op)
{
    if (op->error == PRO_OK) pro_recv_from_multi(op, &sock, buffers, &from, on_datagram);
}

static void on_answered(pro_op *op)
{
    struct answer *answer = pro_container_of(op, struct answer, op);
    pro_lease_give(&answer->lease);
    give_answer(answer);
}

static void answer_all(pro_op *op)
{
    struct answer *answer = free_answers;
    free_answers = answer->next;
    pro_lease_take(op, &answer->lease);
    size_t len = tell(answer->lease.data, ROOM);
    pro_send_to(&answer->op, &sock, answer->lease.data, len, &from, on_answered);
}

/* One datagram, or the end. */
static void on_datagram(pro_op *op)
{
    if (op->error == PRO_OK) { /* with PRO_MORE: the operation goes on */
        const char *bytes = pro_lease_peek(op);
        if (op->value == 1 && *bytes == '?')
            answer_all(op);
        else if (!(op->flags & PRO_TRUNCATED)) /* half a number would be a wrong one */
            take_lines(bytes, (size_t)op->value);
    } else if (op->error == PRO_ENOBUFS) {
        pro_buffers_wait(op, buffers, on_buffer);
    } else {
        fprintf(stderr, "statsd: %s\n", pro_error_text(op->error));
    }
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "statsd: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:8125";
    pro_address address;
    if (argc > 2 || pro_address_parse(&address, where) != PRO_OK) {
        fprintf(stderr, "usage: statsd [ADDR:PORT]\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_buffers_new(&buffers, loop, BUFFERS, PRO_DATAGRAM_HEAD + ROOM);
    if (error != PRO_OK) return fail("cannot make a pool of buffers", error);
    for (int i = 0; i < BUFFERS; i++) give_answer(&all_answers[i]);
    error = pro_datagram_open(&sock, loop, NULL, (pro_family)address.family);
    if (error == PRO_OK) error = pro_datagram_bind(&sock, &address);
    if (error != PRO_OK) return fail(where, error);

    char text[PRO_ADDRESS_TEXT_MAX];
    pro_datagram_local(&sock, &address);
    pro_address_format(&address, text, sizeof text);
    printf("statsd: listening on %s\n", text);
    fflush(stdout);

    static pro_op receiving;
    pro_recv_from_multi(&receiving, &sock, buffers, &from, on_datagram);
    int64_t ran = pro_loop_run(loop); /* until a signal ends the process */
    return ran < 0 ? fail("the engine failed", (int)ran) : 0;
}
