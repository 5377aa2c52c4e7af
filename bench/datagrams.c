/* bench/datagrams: what does a datagram cost that is received one at a time, in batches, and by one operation into
 * leased buffers?
 *
 * A burst of datagrams is sent by one call, by hand, then the loop runs until all of them were received with their
 * senders; the same thread does both.  A unit is a datagram.  User instructions are counted by callgrind, as in
 * bench/instr, the sender's part (one call a burst) included; CPU time is compared in interleaved rounds, with
 * an A/A control.
 *
 *   bench/datagrams [--engine uring|epoll] [--size 64] [--burst 32] [--bound N] [--rounds 40] [--json FILE]
 *                   --bound: undelivered_max of the loop
 *   bench/datagrams --variant NAME --count N ...     run this one, uncounted */
#include "lib/bench.h"
#include "lib/callgrind.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <proactor.h>

enum { BURST_MAX = 64, BUFFERS = 256, SHORT = 20000, LONG = 60000, LEN_MAX = 1400 };

enum way { ONE, BATCH, MULTI };

static const struct {
    const char *name;
    enum way    way;
} ways[] = {{"one", ONE}, {"one-again", ONE}, {"batch", BATCH}, {"multi", MULTI}};
enum { WAYS = sizeof ways / sizeof ways[0] };

struct options {
    pro_engine  engine;
    const char *engine_name, *variant, *json;
    unsigned    size, burst, bound, rounds, count;
};

struct lane {
    const struct options *o;
    enum way              way;
    int                   fd; /* of who sends */
    pro_loop             *loop;
    pro_datagram          sock;
    pro_buffers          *buffers;
    pro_op                op;
    pro_address           from;
    pro_message           messages[BURST_MAX];
    char                  bufs[BURST_MAX][LEN_MAX];
    struct mmsghdr        out[BURST_MAX];
    struct iovec          piece;
    uint64_t              received, wanted, sum;
};

/* ---- Receiving ------------------------------------------------------------------------------- */

static void receive(struct lane *l);

static void look_at(struct lane *l, const char *bytes, const pro_address *from)
{
    l->sum += (unsigned char)bytes[0] + from->port;
    if (++l->received == l->wanted) pro_loop_stop(l->loop);
}

static void on_received(pro_op *op)
{
    struct lane *l = op->user;
    if (op->error != PRO_OK) {
        if (op->error != PRO_ECANCELED) bench_die("receive: %s", pro_error_text(op->error));
        return;
    }
    if (l->way == BATCH)
        for (int64_t i = 0; i < op->value; i++)
            look_at(l, l->messages[i].buf, &l->messages[i].address);
    else
        look_at(l, l->way == ONE ? l->bufs[0] : pro_lease_peek(op), &l->from);
    if (l->way != MULTI) receive(l);
}

static void receive(struct lane *l)
{
    switch (l->way) {
    case ONE: pro_recv_from(&l->op, &l->sock, l->bufs[0], LEN_MAX, &l->from, on_received); break;
    case BATCH: pro_recv_batch(&l->op, &l->sock, l->messages, l->o->burst, on_received); break;
    default: pro_recv_from_multi(&l->op, &l->sock, l->buffers, &l->from, on_received);
    }
}

/* ---- Lanes ------------------------------------------------------------------------------------ */

static void begin(struct lane *l, const struct options *o, enum way way)
{
    static char      bytes[LEN_MAX];
    pro_loop_options options = {
        .version = PRO_VERSION, .engine = o->engine, .undelivered_max = o->bound};
    pro_address        at = pro_address_loopback(PRO_IPV4, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *l = (struct lane){.o = o, .way = way, .op.user = l, .piece = {bytes, o->size}};
    int error = pro_loop_new(&l->loop, &options);
    if (error == PRO_OK)
        error = pro_buffers_new(&l->buffers, l->loop, BUFFERS, PRO_DATAGRAM_HEAD + LEN_MAX);
    if (error == PRO_OK) error = pro_datagram_open(&l->sock, l->loop, NULL, PRO_IPV4);
    if (error == PRO_OK) error = pro_datagram_bind(&l->sock, &at);
    if (error == PRO_OK) error = pro_datagram_local(&l->sock, &at);
    if (error == PRO_OK) error = pro_datagram_set(&l->sock, PRO_OPT_RECV_BUFFER, 1 << 20);
    if (error != PRO_OK) bench_die("loop: %s", pro_error_text(error));
    to.sin_port = htons(at.port);
    l->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&to, sizeof to)) bench_die_errno("connect");
    for (unsigned i = 0; i < BURST_MAX; i++) {
        l->messages[i] = (pro_message){.buf = l->bufs[i], .len = LEN_MAX};
        l->out[i].msg_hdr = (struct msghdr){.msg_iov = &l->piece, .msg_iovlen = 1};
    }
    receive(l);
}

static void on_closed(pro_op *op) { (void)op; }

static void end(struct lane *l)
{
    pro_op closing = {0};
    pro_datagram_close(&closing, &l->sock, on_closed);
    pro_loop_run(l->loop);
    close(l->fd);
    if (pro_buffers_free(l->buffers) != PRO_OK || pro_loop_free(l->loop) != PRO_OK)
        bench_die("something is left in the loop");
}

static void burst(struct lane *l)
{
    l->received = 0;
    l->wanted = l->o->burst;
    if (sendmmsg(l->fd, l->out, l->o->burst, 0) != (int)l->o->burst) bench_die_errno("sendmmsg");
    pro_loop_run(l->loop);
}

static uint64_t go(void *state, uint64_t window_ns)
{
    struct lane *l = state;
    uint64_t     until = bench_now_ns() + window_ns, units = 0;
    do {
        burst(l);
        units += l->o->burst;
    } while (bench_now_ns() < until);
    return units;
}

static int run_variant(const struct options *o)
{
    static struct lane lane;
    uint64_t           units = 0;
    for (int i = 0; i < WAYS; i++) {
        if (strcmp(ways[i].name, o->variant) != 0) continue;
        begin(&lane, o, ways[i].way);
        for (; units < o->count; units += o->burst) burst(&lane);
        printf("%" PRIu64 "\n", units);
        fflush(stdout);
        end(&lane);
        return 0;
    }
    bench_die("no variant '%s'", o->variant);
}

/* ---- Measuring -------------------------------------------------------------------------------- */

static double instructions(const struct options *o, const char *name)
{
    struct callgrind_profile profile[2];
    uint64_t                 units[2];
    for (int i = 0; i < 2; i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments,
                 "--variant %s --count %u --engine %s --size %u --burst %u --bound %u", name,
                 i ? LONG : SHORT, o->engine_name, o->size, o->burst, o->bound);
        units[i] = callgrind_run(&profile[i], arguments, false);
    }
    callgrind_subtract(&profile[1], &profile[0]);
    double each = (double)profile[1].total / (double)(units[1] - units[0]);
    callgrind_fini(&profile[0]);
    callgrind_fini(&profile[1]);
    return each;
}

static void measure(const struct options *o)
{
    static struct lane states[WAYS];
    struct bench_lane  lanes[WAYS], *all[WAYS];
    struct bench_json  json = {0};
    struct bench_host  host;
    if (o->json && !(json.out = fopen(o->json, "a"))) bench_die_errno(o->json);
    bench_host_get(&host);
    printf("datagrams: %s, %u bytes, bursts of %u, %u rounds; Linux %s, %s\n", o->engine_name,
           o->size, o->burst, o->rounds, host.kernel, host.commit);
    printf("  %-10s %12s %12s  %s\n", "", "instructions", "ns CPU", "CPU / one");
    bench_pin(BENCH_CPU_LAST);
    for (int i = 0; i < WAYS; i++) {
        lanes[i] = (struct bench_lane){.state = &states[i], .run_for = go};
        bench_lane_init(&lanes[i], o->rounds);
        all[i] = &lanes[i];
        begin(&states[i], o, ways[i].way);
    }
    bench_rounds(all, WAYS, 10000000, 0, o->rounds);
    for (int i = 0; i < WAYS; i++) {
        struct bench_interval ratio = bench_ratio(&lanes[i], &lanes[0], BENCH_CPU, o->rounds);
        double                ns = bench_median(lanes[i].ns_per_unit[BENCH_CPU], o->rounds);
        double                each = instructions(o, ways[i].name);
        printf("  %-10s %12.1f %12.0f  %.3f [%.3f .. %.3f]\n", ways[i].name, each, ns, ratio.mid,
               ratio.lo, ratio.hi);
        bench_json_begin(&json, json.out, "datagrams", &host);
        bench_json_str(&json, "engine", o->engine_name);
        bench_json_str(&json, "way", ways[i].name);
        bench_json_int(&json, "bytes", o->size);
        bench_json_int(&json, "burst", o->burst);
        bench_json_num(&json, "instructions", each);
        bench_json_num(&json, "ns_cpu", ns);
        bench_json_interval(&json, "cpu_ratio", ratio);
        bench_json_end(&json);
    }
    if (!bench_aa_holds(bench_ratio(&lanes[1], &lanes[0], BENCH_CPU, o->rounds)))
        puts("  VOID: two equal lanes differ by more than 1.5%");
    for (int i = 0; i < WAYS; i++) {
        end(&states[i]);
        bench_lane_fini(&lanes[i]);
    }
    if (json.out) fclose(json.out);
}

int main(int argc, char **argv)
{
    struct options o = {
        .engine = PRO_ENGINE_URING, .engine_name = "uring", .size = 64, .burst = 32};
    o.rounds = 40;
    o.count = SHORT;
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = bench_option("--engine", argc, argv, &i)))
            o.engine_name = v;
        else if ((v = bench_option("--variant", argc, argv, &i)))
            o.variant = v;
        else if ((v = bench_option("--count", argc, argv, &i)))
            o.count = bench_number("--count", v, 1, 1000000000);
        else if ((v = bench_option("--size", argc, argv, &i)))
            o.size = bench_number("--size", v, 1, LEN_MAX);
        else if ((v = bench_option("--burst", argc, argv, &i)))
            o.burst = bench_number("--burst", v, 1, BURST_MAX);
        else if ((v = bench_option("--bound", argc, argv, &i)))
            o.bound = bench_number("--bound", v, 0, 1000000);
        else if ((v = bench_option("--rounds", argc, argv, &i)))
            o.rounds = bench_number("--rounds", v, 2, 10000);
        else if ((v = bench_option("--json", argc, argv, &i)))
            o.json = v;
        else
            bench_die("usage: bench/datagrams [--engine uring|epoll] [--size N] [--burst N] "
                      "[--bound N] [--rounds N] [--json FILE]");
    }
    if (strcmp(o.engine_name, "epoll") == 0) o.engine = PRO_ENGINE_EPOLL;
    if (o.variant) return run_variant(&o);
    measure(&o);
    return 0;
}
