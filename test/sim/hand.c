/* The smaller means of proactor/test.h, each tried once: a handler as a function, a clock moved by
 * hand, scripted faults on one socket; and what is sent to all machines of a world. */
#include "scenario.h"

static struct {
    pro_sim  *world;
    pro_loop *loop;
    int       called, error;
    int64_t   value;
} h;

#define WANT(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) pro_sim_fail(h.world, "hand: %s", #condition);                           \
    } while (0)

static void on_any(pro_op *op)
{
    h.called++;
    h.error = op->error;
    h.value = op->value;
}

static pro_socket accepted;

static void on_accepted(pro_op *op)
{
    h.called++;
    pro_accept_take(op, &accepted, NULL);
}

static void as_a_function(void)
{
    pro_op op = {0};
    pro_test_complete(&op, on_any, 3, PRO_ECONNRESET);
    WANT(h.called == 1 && h.value == 3 && h.error == PRO_ECONNRESET);
    WANT(!pro_op_in_flight(&op));
}

static void an_hour(void)
{
    pro_test_clock   clock;
    pro_loop_options options = {.version = PRO_VERSION, .engine = PRO_ENGINE_SIM};
    pro_loop        *loop;
    pro_op           op = {0};
    pro_test_clock_init(&clock);
    options.env = pro_test_clock_env(&clock);
    h.called = 0;
    if (pro_loop_new(&loop, &options) != PRO_OK) abort();
    pro_sleep(&op, loop, 3600 * PRO_SEC, on_any);
    pro_test_clock_advance(&clock, 3600 * PRO_SEC - 1);
    pro_loop_poll(loop);
    WANT(h.called == 0);
    pro_test_clock_advance(&clock, 1);
    pro_loop_poll(loop);
    WANT(h.called == 1 && h.error == PRO_OK);
    WANT(pro_loop_free(loop) == PRO_OK);
}

/* The program runs its own loop here: nobody else does. */
static void three_bytes_then_a_reset(void)
{
    pro_loop    *loop = sim_loop_new();
    pro_address  to = pro_address_loopback(PRO_IPV4, 99);
    pro_listener listener = {0};
    pro_socket   sock = {0};
    pro_op       accept = {0}, op = {0}, send = {0};
    char         buf[8] = "";
    memset(&accepted, 0, sizeof accepted);
    WANT(pro_listen(&listener, loop, NULL, &to, NULL) == PRO_OK);
    pro_accept(&accept, &listener, on_accepted);
    pro_socket_init(&sock, loop, NULL);
    pro_connect(&op, &sock, &to, on_any);
    pro_loop_run(loop);
    WANT(h.error == PRO_OK);
    WANT(pro_sim_next_recv(&accepted, 3, PRO_OK) == PRO_OK);
    WANT(pro_sim_next_recv(&accepted, 0, PRO_ECONNRESET) == PRO_OK);
    pro_send_all(&send, &sock, "12345678", 8, on_any);
    pro_recv(&op, &accepted, buf, sizeof buf, on_any);
    while (pro_op_in_flight(&op)) pro_loop_run_once(loop);
    WANT(op.error == PRO_OK && op.value == 3 && memcmp(buf, "123", 3) == 0);
    pro_recv(&op, &accepted, buf, sizeof buf, on_any);
    while (pro_op_in_flight(&op)) pro_loop_run_once(loop);
    WANT(op.error == PRO_ECONNRESET && op.value == 0);
    pro_scope_close(pro_loop_scope(loop));
    pro_loop_run(loop);
    WANT(pro_loop_free(loop) == PRO_OK);
}

/* A machine hears what is sent to all of them, and loses what finds its buffer full or its link cut. */
static struct {
    pro_loop    *loop;
    pro_datagram sock;
    pro_op       op;
    char         in[1000];
    int          heard;
} ears[3];

static void on_heard(pro_op *op)
{
    int i = (int)(intptr_t)op->user;
    if (op->error != PRO_OK) return;
    ears[i].heard++;
    pro_recv_from(op, &ears[i].sock, ears[i].in, sizeof ears[i].in, NULL, on_heard);
}

static void listen_for(int i)
{
    ears[i].op.user = (void *)(intptr_t)i;
    pro_recv_from(&ears[i].op, &ears[i].sock, ears[i].in, sizeof ears[i].in, NULL, on_heard);
}

static void ear_main(pro_sim_node *node, void *arg)
{
    int         i = (int)(intptr_t)arg;
    pro_address any = pro_address_any(PRO_IPV4, 77);
    (void)node;
    ears[i].loop = sim_loop_new();
    if (pro_datagram_open(&ears[i].sock, ears[i].loop, NULL, PRO_IPV4) != PRO_OK) abort();
    WANT(pro_datagram_bind(&ears[i].sock, &any) == PRO_OK);
    WANT(pro_datagram_set(&ears[i].sock, PRO_OPT_RECV_BUFFER, 4096) == PRO_OK);
    WANT(pro_datagram_set(&ears[i].sock, PRO_OPT_BROADCAST, 1) == PRO_OK);
}

static void send_from(int i, const char *text, int count)
{
    static char   out[1000];
    static pro_op ops[8];
    pro_address   to;
    if (pro_address_parse(&to, text) != PRO_OK) abort();
    for (int k = 0; k < count; k++)
        pro_send_to(&ops[k], &ears[i].sock, out, sizeof out, &to, on_any);
    pro_sim_run_for(h.world, PRO_SEC);
    for (int k = 0; k < count; k++) WANT(ops[k].error == PRO_OK && ops[k].value == sizeof out);
}

static void to_all_machines(void)
{
    static const char *const addresses[] = {"10.0.7.1", "10.0.7.2", "10.0.7.3"};
    pro_sim_node            *nodes[3];
    memset(ears, 0, sizeof ears);
    for (intptr_t i = 0; i < 3; i++)
        nodes[i] = pro_sim_node_new(h.world, "ear", addresses[i], ear_main, (void *)i);
    pro_sim_run_for(h.world, PRO_SEC);
    listen_for(1);
    send_from(0, "255.255.255.255:77", 1);
    WANT(ears[1].heard == 1 && ears[0].heard == 0);
    listen_for(0); /* it was there, too */
    pro_sim_run_for(h.world, PRO_SEC);
    WANT(ears[0].heard == 1);

    send_from(0, "10.0.7.3:77",
              8); /* nobody receives: 4096 bytes stay, the one from before among them */
    listen_for(2);
    pro_sim_run_for(h.world, PRO_SEC);
    WANT(ears[2].heard == 4);

    pro_sim_partition(nodes[0], nodes[1]);
    send_from(0, "10.0.7.2:77", 1);
    pro_sim_unpartition(nodes[0], nodes[1]);
    pro_sim_run_for(h.world, 600 * PRO_SEC);
    WANT(ears[1].heard == 1);
    send_from(0, "10.0.7.2:77", 1);
    WANT(ears[1].heard == 2);
    for (int i = 0; i < 3; i++) pro_scope_close(pro_loop_scope(ears[i].loop));
    pro_sim_run_for(h.world, PRO_SEC);
}

void scenario_hand(pro_sim *world)
{
    memset(&h, 0, sizeof h);
    h.world = world;
    as_a_function();
    an_hour();
    three_bytes_then_a_reset();
    to_all_machines();
}

/* ---- The sweep ------------------------------------------------------------------------------ */

static void swept(pro_sim *world, void *arg)
{
    (void)arg;
    memset(&h, 0, sizeof h);
    h.world = world;
    pro_loop    *loop = sim_loop_new();
    pro_address  to = pro_address_loopback(PRO_IPV4, 99);
    pro_listener listener = {0};
    pro_socket   sock = {0};
    pro_op       accept = {0}, op = {0};
    memset(&accepted, 0, sizeof accepted);
    if (pro_listen(&listener, loop, NULL, &to, NULL) != PRO_OK) abort();
    pro_accept(&accept, &listener, on_accepted);
    pro_socket_init(&sock, loop, NULL);
    pro_connect(&op, &sock, &to, on_any);
    while (pro_op_in_flight(&op)) pro_loop_run_once(loop);
    if (op.error != PRO_OK)
        pro_sim_fail(world, "the bug of the scenario: a refusal is not foreseen");
    pro_scope_close(pro_loop_scope(loop));
    pro_loop_run(loop);
    pro_loop_free(loop);
}

static int runs, found;

static void told(void *arg, const char *site, const char *operation, int error, int failures)
{
    (void)arg, (void)site, (void)error;
    runs++;
    found += failures > 0 && strcmp(operation, "connect") == 0;
}

bool sweep_works(void)
{
    runs = found = 0;
    int failed = pro_test_sweep(swept, told, NULL);
    return failed == 6 && found == 6 && runs == 1 + 6 + 4; /* a connect's errors, an accept's */
}
