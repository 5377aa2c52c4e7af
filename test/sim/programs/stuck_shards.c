/* The same with shards: nobody stops the runtime, and its threads have nothing to do. */
#include <proactor.h>

#include <stdio.h>

static pro_listener listeners[2];
static pro_op       accepting[2];

static void on_accepted(pro_op *op) { printf("accepted: %s\n", pro_error_name(op->error)); }

static int set_up(pro_loop *loop, unsigned shard, void *arg)
{
    pro_listen_options options = {.reuse_port = 1};
    int                error = pro_listen(&listeners[shard], loop, NULL, arg, &options);
    if (error == PRO_OK) pro_accept(&accepting[shard], &listeners[shard], on_accepted); /* accept */
    return error;
}

int main(void)
{
    pro_runtime        *runtime;
    pro_runtime_options options = {PRO_VERSION, .shards = 2, .name = "stuck"};
    pro_address         address = pro_address_loopback(PRO_IPV4, 9000);
    if (pro_runtime_new(&runtime, &options) != PRO_OK) return 2;
    if (pro_runtime_start(runtime, set_up, &address) != PRO_OK) return 2;
    pro_runtime_join(runtime);
    printf("over\n");
    return 0;
}
