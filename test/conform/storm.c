/* Storms of cancels over ten thousand coroutines (contract 20), seeded.
 *
 * Coroutines live in a forest of scopes and await at random: data of sockets that belong to other scopes,
 * sleeps short and long, each other's end, two operations of their own at once, with deadlines, shielded
 * or not.  Over them, turn by turn, whatever ends them: cancels by task and by scope, closes, drains with
 * deadlines, detached tasks; scopes that are over are made again, and new coroutines start, in closing
 * scopes too.  Of each is checked: it ran once and to its end; an await begun when it was canceled gave
 * PRO_ECANCELED; a shield held; it saw only errors that can be; each byte that a send reported, and no
 * other, came out of the receives, in order. */
#include "lib/net.h"

#include <stdlib.h>

#define HOUR (3600 * PRO_SEC)

enum { SCOPES = 300, PAIRS = 40, PIECE = 512, SENT_MAX = 64 }; /* so that receives wait */

/* One direction of a pair: a coroutine at each end at most. */
struct lane {
    pro_socket *from, *to;
    uint64_t    sent, received;
    bool        sends, receives;
};

struct wind {
    pro_scope     scope;
    struct storm *storm;
    bool          alive, ending;
    long          drained;
};

struct victim {
    pro_task      task;
    struct storm *storm;
    uint64_t      dice;
    long          begun, ended;
    bool          in_root; /* only its task can cancel it */
};

static struct storm {
    pro_loop      *loop;
    struct lane    lanes[2 * PAIRS];
    struct wind    winds[SCOPES];
    struct victim *victims;
    int            count;
    long           begun, ended, awaits, canceled, shielded, bytes, scopes;
} storm;

static uint64_t throw_dice(uint64_t *dice)
{
    uint64_t z = *dice += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static unsigned below(uint64_t *dice, unsigned bound)
{
    return (unsigned)(throw_dice(dice) % bound);
}

/* ---- What a coroutine awaits ----------------------------------------------------------------- */

static int64_t receive(struct storm *x, struct victim *v)
{
    struct lane *lane = &x->lanes[below(&v->dice, 2 * PAIRS)];
    char         buf[PIECE];
    if (lane->receives) return pro_yield();
    lane->receives = true;
    int64_t result = pro_await_recv(lane->to, buf, 1 + below(&v->dice, sizeof buf));
    int64_t got = pro_co_value(); /* of an error too */
    CHECK_FILL(buf, got, (unsigned)(lane - x->lanes), lane->received);
    lane->received += (uint64_t)got;
    CHECK_LE(lane->received, lane->sent + (lane->sends ? SENT_MAX : 0));
    x->bytes += got;
    lane->receives = false;
    return result;
}

static int64_t send(struct storm *x, struct victim *v)
{
    struct lane *lane = &x->lanes[below(&v->dice, 2 * PAIRS)];
    char         buf[SENT_MAX];
    size_t       len = 1 + below(&v->dice, sizeof buf);
    if (lane->sends) return pro_yield();
    lane->sends = true;
    t_fill(buf, len, (unsigned)(lane - x->lanes), lane->sent);
    int64_t result = pro_await_send_all(lane->from, buf, len);
    lane->sent += (uint64_t)pro_co_value();
    lane->sends = false;
    return result;
}

static int64_t join(struct storm *x, struct victim *v)
{
    struct victim *other = &x->victims[below(&v->dice, (unsigned)x->count)];
    if (other == v || other->begun == 0) return pro_yield();
    long    begun = other->begun;
    int64_t result = pro_await_join(&other->task);
    if (result >= 0) CHECK_EQ(result, begun);
    return result;
}

/* Two of its own, on its stack; not by the macros of lib/form.h, which would await them elsewhere. */
static int64_t both(struct storm *x, struct victim *v)
{
    pro_op one = {0}, two = {0};
    pro_sleep_at(PRO_SITE, &one, x->loop, HOUR, pro_awake);
    pro_sleep_at(PRO_SITE, &two, x->loop, below(&v->dice, 100000), pro_awake);
    pro_await(&two);
    (pro_cancel)(&one);
    return pro_await(&one);
}

/* Canceled or not, it takes its time. */
static int64_t shielded(struct storm *x, struct victim *v)
{
    pro_co_shield();
    CHECK(!pro_co_canceled());
    int64_t result = pro_await_sleep(below(&v->dice, 50000));
    pro_co_unshield();
    CHECK_EQ(result, 0);
    x->shielded++;
    return result;
}

enum { RECEIVE, SEND, JOIN, SLEEP, LONG, LATE, YIELD, BOTH, SHIELDED, KINDS };

static int64_t await_one(struct storm *x, struct victim *v, int kind)
{
    switch (kind) {
    case RECEIVE: return receive(x, v);
    case SEND: return send(x, v);
    case JOIN: return join(x, v);
    case SLEEP: return pro_await_sleep(below(&v->dice, 200000));
    case LONG: return pro_await_sleep(HOUR);
    case LATE: return pro_await_sleep_by(HOUR, pro_loop_now(x->loop) + below(&v->dice, 200000));
    case BOTH: return both(x, v);
    case SHIELDED: return shielded(x, v);
    default: return pro_yield();
    }
}

static void suffer(void *arg)
{
    struct victim *v = arg;
    struct storm  *x = v->storm;
    int            last_words = (int)below(&v->dice, 4), left = 1 + (int)below(&v->dice, 40);
    CHECK_EQ(v->begun, v->ended + 1);
    while (left-- > 0 && last_words > 0) {
        int     kind = (int)below(&v->dice, KINDS);
        bool    canceled = pro_co_canceled();
        int64_t result = await_one(x, v, kind);
        x->awaits++;
        x->canceled += result == PRO_ECANCELED;
        if (canceled && kind != SHIELDED) CHECK_ERROR(result, PRO_ECANCELED);
        if (canceled) CHECK(pro_co_canceled()); /* for good */
        last_words -= canceled;
        if (result < 0 && result != PRO_ECANCELED && result != PRO_ETIMEDOUT)
            if (kind != SEND || result != PRO_EPIPE) /* behind a send cut short */
                FAIL("await %d gave %s", kind, pro_error_name((int)result));
    }
    pro_co_result(v->begun);
    v->ended++;
    x->ended++;
}

/* ---- What comes over them -------------------------------------------------------------------- */

static void on_drained(pro_scope *scope)
{
    struct wind *w = pro_container_of(scope, struct wind, scope);
    CHECK(w->alive && w->ending);
    w->alive = false;
    w->drained++;
}

static void make_scope(struct storm *x, struct wind *w, uint64_t *dice)
{
    struct wind *parent = &x->winds[below(dice, SCOPES)];
    bool         root = parent == w || !parent->alive || below(dice, 4) == 0;
    w->storm = x;
    w->alive = true;
    w->ending = !root && parent->ending;
    x->scopes++;
    pro_scope_init(&w->scope, x->loop, root ? NULL : &parent->scope, on_drained);
}

static void start(struct storm *x, struct victim *v, uint64_t *dice)
{
    struct wind   *w = &x->winds[below(dice, SCOPES)];
    pro_go_options options = {.name = "victim", .stack_size = 32 * 1024, .task = &v->task};
    if (v->begun != v->ended) return;
    v->storm = x;
    v->dice = throw_dice(dice);
    v->begun++;
    v->in_root = !w->alive;
    x->begun++;
    pro_scope *scope = w->alive ? &w->scope : pro_loop_scope(x->loop);
    CHECK_ERROR(pro_go(scope, suffer, v, &options), PRO_OK);
}

/* What is told of a scope is true of those below it. */
static void mark_ending(struct storm *x)
{
    for (int i = 0; i < SCOPES; i++)
        if (x->winds[i].alive) x->winds[i].ending = pro_scope_draining(&x->winds[i].scope);
}

static void blow(struct storm *x, uint64_t *dice)
{
    struct victim *v = &x->victims[below(dice, (unsigned)x->count)];
    struct wind   *w = &x->winds[below(dice, SCOPES)];
    switch (below(dice, 16)) {
    case 0:
        if (w->alive) pro_scope_close(&w->scope);
        break;
    case 1:
        if (w->alive) pro_scope_drain(&w->scope, pro_loop_now(x->loop) + below(dice, 500000));
        break;
    case 2:
    case 3:
        if (w->alive) pro_scope_cancel(&w->scope);
        break;
    case 4:
        if (!v->in_root) pro_task_detach(&v->task);
        break;
    case 5:
    case 6:
        if (!w->alive) make_scope(x, w, dice);
        break;
    case 7:
    case 8:
    case 9: pro_task_cancel(&v->task); break;
    default: start(x, v, dice); break;
    }
    mark_ending(x);
}

/* ---- The sentence ---------------------------------------------------------------------------- */

static int same_everywhere(struct storm *x)
{
    int cut = 0;
    for (int i = 0; i < 2 * PAIRS; i++) {
        CHECK(!x->lanes[i].sends && !x->lanes[i].receives);
        CHECK_LE(x->lanes[i].received, x->lanes[i].sent);
        cut += x->lanes[i].received < x->lanes[i].sent;
    }
    return cut;
}

CONFORM(a_storm_of_cancels_over_ten_thousand_coroutines)
{
    struct storm *x = &storm;
    uint64_t      dice = t_random();
    memset(x, 0, sizeof *x);
    x->loop = t_loop();
    x->count = t_count(t_rounds(10000)); /* a sanitizer makes fibers slowly */
    x->victims = t_array(struct victim, x->count);
    for (int i = 0; i < PAIRS; i++) {
        t_pair *pair = t_pair_new(x->loop);
        x->lanes[2 * i] = (struct lane){.from = &pair->a, .to = &pair->b};
        x->lanes[2 * i + 1] = (struct lane){.from = &pair->b, .to = &pair->a};
    }
    pro_co_stats before, stats;
    pro_co_stats_get(x->loop, &before);
    for (int i = 0; i < SCOPES; i++) make_scope(x, &x->winds[i], &dice);
    for (int i = 0; i < x->count; i++) start(x, &x->victims[i], &dice);
    pro_co_stats_get(x->loop, &stats);
    CHECK_EQ(stats.live, x->count); /* all at once */
    t_poll(x->loop);

    while (x->begun < 3L * x->count) {
        for (unsigned i = 0, n = 1 + below(&dice, 60); i < n; i++) blow(x, &dice);
        t_poll(x->loop);
    }
    /* The end of all, each by what is left to cancel it; the root, in which their sockets live, stays open. */
    for (int i = 0; i < SCOPES; i++)
        if (x->winds[i].alive) pro_scope_close(&x->winds[i].scope);
    mark_ending(x);
    for (int i = 0; i < x->count; i++)
        if (x->victims[i].in_root) pro_task_cancel(&x->victims[i].task);
    while (x->ended < x->begun) t_turn(x->loop);
    pro_scope_close(pro_loop_scope(x->loop));
    t_run(x->loop);

    CHECK_EQ(x->ended, x->begun);
    for (int i = 0; i < x->count; i++) {
        CHECK_EQ(x->victims[i].ended, x->victims[i].begun);
        CHECK(!pro_task_running(&x->victims[i].task));
    }
    long drained = 0;
    for (int i = 0; i < SCOPES; i++) {
        CHECK(!x->winds[i].alive);
        drained += x->winds[i].drained;
    }
    CHECK_EQ(drained, x->scopes);
    pro_co_stats_get(x->loop, &stats);
    CHECK_EQ(stats.live, 0);
    CHECK_EQ(stats.started - before.started, x->begun);
    CHECK_GT(x->canceled, x->count / 4);
    if (x->count >= 1000) CHECK_GT(x->bytes, 0);
    t_note(
        "  %ld coroutines, %ld awaits, %ld canceled, %ld shielded; %ld scopes; %ld bytes, %d lanes "
        "with some under way at the end\n",
        x->begun, x->awaits, x->canceled, x->shielded, x->scopes, x->bytes, same_everywhere(x));
}
