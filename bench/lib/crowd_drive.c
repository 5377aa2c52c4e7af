/* A crowd's run: its phases, one after the other, what they bring, and a line of progress on standard error.
 *
 *     start the server, then the clients; connect; read memory; echo; close; count; end
 *
 * Whatever fails ends it at once, with one line that says why.  SIGINT ends it early and in order: clients stop
 * what they do, all is closed and counted; a second one kills.  Processes that are left end with ours. */
#include "crowd.h"

#include "bench.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STALL_S = 60,    /* nothing moved for so long: it will not any more */
    KERNEL_S = 20,   /* the kernel has so long to free what has ended */
    NOISE = 32 << 20 /* bytes that other programs make of it meanwhile */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number) { interrupted = number; }

bool crowd_run_fail(struct crowd_run *run, const char *format, ...)
{
    if (run->why[0]) return false;
    va_list args;
    va_start(args, format);
    vsnprintf(run->why, sizeof run->why, format, args);
    va_end(args);
    return false;
}

/* ---- progress ---------------------------------------------------------------------------------- */

static void say(struct crowd_run *run, bool at_last)
{
    const struct crowd_board *board = run->plan.board;
    uint64_t                  now = bench_now_ns();
    bool                      is_terminal = isatty(2);
    if (!at_last && now - run->said_ns < (is_terminal ? 1 : 5) * PRO_SEC) return;
    unsigned connected = atomic_load(&board->connected), echoes = atomic_load(&board->echoed);
    unsigned held = crowd_live(board, run->plan.shards);
    unsigned rate = (unsigned)((echoes - run->said_echoes) / ((double)(now - run->said_ns) / 1e9));
    fprintf(stderr, "%smillion: %-10s %8u connected, %8u held, %8u echoes (%6u/s), %3.0f s%s",
            is_terminal ? "\r" : "", run->doing, connected, held, echoes, rate,
            (double)(now - run->began_ns) / 1e9, is_terminal && !at_last ? "\033[K" : "\n");
    run->said_ns = now;
    run->said_echoes = echoes;
}

/* Every second or oftener, while something is waited for. false: nothing moves any more. */
static bool look(struct crowd_run *run)
{
    const struct crowd_board *board = run->plan.board;
    uint64_t now = bench_now_ns(), moved = (uint64_t)atomic_load(&board->connected) +
                                           atomic_load(&board->echoed) -
                                           crowd_live(board, run->plan.shards);
    run->interrupted = interrupted;
    if (interrupted) atomic_store(&run->plan.board->stop, true);
    say(run, false);
    if (moved != run->moved) {
        run->moved = moved;
        run->moved_ns = now;
    }
    if (now - run->moved_ns < STALL_S * PRO_SEC) return true;
    for (unsigned i = 0; i < run->plan.shards; i++) {
        int error = atomic_load(&board->shards[i].error);
        if (error)
            return crowd_run_fail(run, "%s: the server cannot accept: %s", run->doing,
                                  pro_error_text(error));
    }
    return crowd_run_fail(run, "%s: nothing moved for %d s", run->doing, STALL_S);
}

/* ---- phases ------------------------------------------------------------------------------------ */

/* Every client does it, some at a time. false: one failed, or the server ended. */
static bool all_clients(struct crowd_run *run, enum crowd_command command, double *seconds)
{
    unsigned      told = 0, heard = 0;
    bool          is_busy[CROWD_CLIENTS_MAX] = {false};
    struct pollfd fds[CROWD_CLIENTS_MAX + 1];
    unsigned      numbers[CROWD_CLIENTS_MAX + 1];
    uint64_t      began = run->moved_ns = bench_now_ns();
    while (heard < run->clients_len) {
        while (told < run->clients_len && told - heard < run->parallel) {
            is_busy[told] = true;
            crowd_worker_tell(&run->clients[told++], command);
        }
        nfds_t len = 1;
        fds[0] = (struct pollfd){.fd = run->server.fd, .events = POLLIN};
        for (unsigned i = 0; i < told; i++) {
            if (!is_busy[i]) continue;
            numbers[len] = i;
            fds[len++] = (struct pollfd){.fd = run->clients[i].fd, .events = POLLIN};
        }
        if (poll(fds, len, 1000) < 0 && errno != EINTR) bench_die_errno("poll");
        struct crowd_answer answer;
        if (fds[0].revents && !crowd_worker_hear(&run->server, &answer))
            return crowd_run_fail(run, "the server: %s", answer.text);
        for (nfds_t i = 1; i < len; i++) {
            if (!fds[i].revents) continue;
            if (!crowd_worker_hear(&run->clients[numbers[i]], &answer))
                return crowd_run_fail(run, "a client: %s", answer.text);
            is_busy[numbers[i]] = false;
            heard++;
        }
        if (!look(run)) return false;
    }
    *seconds = (double)(bench_now_ns() - began) / 1e9;
    say(run, true);
    return true;
}

static bool server_does(struct crowd_run *run, enum crowd_command command)
{
    struct crowd_answer answer;
    crowd_worker_tell(&run->server, command);
    return crowd_worker_hear(&run->server, &answer) || crowd_run_fail(run, "%s", answer.text);
}

/* Until the server has seen all of them end. */
static bool wait_for_ends(struct crowd_run *run)
{
    run->moved_ns = bench_now_ns();
    while (crowd_live(run->plan.board, run->plan.shards) > 0) {
        poll(NULL, 0, 10);
        if (!look(run)) return false;
    }
    return true;
}

/* The kernel frees later what has ended, and rings in their own time; and it does not free for us alone. */
static void wait_for_kernel(struct crowd_run *run)
{
    uint64_t until = bench_now_ns() + KERNEL_S * PRO_SEC;
    uint64_t grown = run->held.slab > run->before.slab ? run->held.slab - run->before.slab : 0;
    do {
        crowd_kernel_get(&run->after);
        if (run->after.slab < run->before.slab + grown / 20 + NOISE) break;
    } while (bench_now_ns() < until && poll(NULL, 0, 100) == 0);
}

/* ---- the run ----------------------------------------------------------------------------------- */

static bool start_server(struct crowd_run *run)
{
    struct crowd_answer answer;
    crowd_worker_start(&run->server, run->plan.by_hand ? crowd_server_by_hand : crowd_server,
                       &run->plan);
    run->user_before = crowd_user_bytes(getpid()); /* it is a copy of us */
    if (!crowd_worker_hear(&run->server, &answer)) {
        run->lacks = answer.lacks;
        return crowd_run_fail(run, "%s%s", answer.lacks ? "this system lacks what it takes: " : "",
                              answer.text);
    }
    run->plan.port = (uint16_t)answer.value;
    snprintf(run->engine, sizeof run->engine, "%s", answer.text);
    run->user_ready = crowd_user_bytes(run->server.pid);
    return true;
}

static void start_clients(struct crowd_run *run)
{
    unsigned each = run->plan.connections / run->clients_len, first = 0;
    unsigned more = run->plan.connections % run->clients_len;
    for (unsigned i = 0; i < run->clients_len; i++) {
        run->parts[i].board = run->plan.board;
        run->parts[i].port = run->plan.port;
        run->parts[i].first = first;
        run->parts[i].count = each + (i < more);
        first += run->parts[i].count;
        crowd_worker_start(&run->clients[i], crowd_client, &run->parts[i]);
    }
}

static void measure(struct crowd_run *run)
{
    static struct crowd_cache before[CROWD_CACHES_MAX];
    static size_t             before_len;
    if (!before_len) {
        before_len = crowd_caches_get(before);
        crowd_kernel_get(&run->before);
        return;
    }
    crowd_kernel_get(&run->held);
    run->user_held = crowd_user_bytes(run->server.pid);
    run->allocated_held = atomic_load(&run->plan.board->allocated);
    run->live_held = crowd_live(run->plan.board, run->plan.shards);
    run->caches_len =
        crowd_caches_growth(run->caches, crowd_caches_get(run->caches), before, before_len);
}

static bool go(struct crowd_run *run)
{
    struct crowd_board *board = run->plan.board;
    run->began_ns = run->said_ns = bench_now_ns();
    measure(run);
    run->doing = "starting";
    if (!start_server(run)) return false;
    start_clients(run);
    run->doing = "connecting";
    if (!all_clients(run, CROWD_CONNECT, &run->connect_s)) return false;
    run->connected = atomic_load(&board->connected);
    measure(run);
    run->doing = "echoing";
    if (!all_clients(run, CROWD_ECHO, &run->echo_s)) return false;
    run->echoed = atomic_load(&board->echoed) - run->connected;
    run->live_after = crowd_live(board, run->plan.shards);
    run->doing = "closing";
    if (!all_clients(run, CROWD_CLOSE, &run->close_s)) return false;
    if (!wait_for_ends(run) || !server_does(run, CROWD_COUNT)) return false;
    for (unsigned i = 0; i < run->plan.shards; i++) {
        run->handles_after += atomic_load(&board->shards[i].handles) - 1; /* the listener */
        run->slots_after += atomic_load(&board->shards[i].slots);
        run->refused += atomic_load(&board->shards[i].refused);
        run->broken += atomic_load(&board->shards[i].broken);
        run->starved += atomic_load(&board->shards[i].starved);
    }
    if (!server_does(run, CROWD_QUIT)) return false;
    run->allocated_after = atomic_load(&board->allocated);
    return true;
}

bool crowd_drive(struct crowd_run *run)
{
    struct sigaction on_signal = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &on_signal, NULL);
    sigaction(SIGTERM, &on_signal, NULL);
    bool went = go(run);
    for (unsigned i = 0; i < run->clients_len; i++) crowd_worker_end(&run->clients[i]);
    crowd_worker_end(&run->server);
    if (went) wait_for_kernel(run);
    return went;
}
