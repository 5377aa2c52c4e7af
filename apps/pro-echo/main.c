/* pro-echo: a TCP echo server on the public API of proactor.
 *
 * One shard is a loop that main runs itself; several are a runtime, with a pinned thread for each.
 * What happens in a shard is the same.
 *
 * Exit status: 0 after a drain; 1 if it cannot run here (port in use, no permission,
 * engine refused); 2 for a bad option.  Each failure is one line on standard error. */
#include "echo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- What it says ---------------------------------------------------------------------------- */

static int say_refused(const struct options *options, int error)
{
    const char *variable = getenv("PROACTOR_ENGINE");
    const char *name = options_engine_name(options->engine);
    fprintf(stderr, "pro-echo: cannot use engine %s", name);
    if (options->engine == PRO_ENGINE_AUTO && variable)
        fprintf(stderr, " (PROACTOR_ENGINE=%s)", variable);
    fprintf(stderr, ": %s (%s)\n", pro_error_text(error), pro_error_name(error));
    return 1;
}

/* Why it did not start. */
static int say_not_started(const struct server *server, int error)
{
    if (server->listen_error == PRO_OK) return say_refused(server->options, error);
    char address[PRO_ADDRESS_TEXT_MAX], shards[48] = "";
    pro_address_format(&server->options->listen, address, sizeof address);
    if (error == PRO_ENOTSUP)
        snprintf(shards, sizeof shards, " by each of %u shards", server->count);
    fprintf(stderr, "pro-echo: cannot listen on %s%s: %s\n", address, shards,
            pro_error_text(error));
    return 1;
}

static void say_listening(const struct server *server)
{
    char            address[PRO_ADDRESS_TEXT_MAX], why[256];
    const pro_loop *loop = server->shards[0].loop;
    pro_address_format(&server->address, address, sizeof address);
    pro_loop_explain_line(loop, why, sizeof why);
    printf("pro-echo: listening on %s, engine %s (%s), %u shard%s, %s style\n", address,
           pro_loop_engine(loop), why, server->count, server->count == 1 ? "" : "s",
           server->options->style->name);
    fflush(stdout);
}

static int say_totals(const struct server *server)
{
    struct totals t = server_totals(server);
    printf("pro-echo: %" PRIu64 " connections, %" PRIu64 " bytes in, %" PRIu64
           " bytes out, %" PRIu64 " discarded, %" PRIu64 " canceled, %" PRIu64 " errors\n",
           t.connections, t.bytes_in, t.bytes_out, t.discarded, t.canceled, t.errors);
    return 0;
}

static int say_no_memory(void)
{
    fprintf(stderr, "pro-echo: %s\n", pro_error_text(PRO_ENOMEM));
    return 1;
}

static int say_failed(int error)
{
    fprintf(stderr, "pro-echo: the engine failed: %s\n", pro_error_text(error));
    return 1;
}

static int print_text(char *text, size_t len)
{
    printf("%s%s", text, len > 0 && text[len - 1] == '\n' ? "" : "\n");
    free(text);
    return 0;
}

static int explain_loop(const pro_loop *loop)
{
    size_t len = pro_loop_explain(loop, NULL, 0);
    char  *text = malloc(len + 1);
    if (!text) return say_no_memory();
    pro_loop_explain(loop, text, len + 1);
    return print_text(text, len);
}

static int explain_runtime(const pro_runtime *runtime)
{
    size_t len = pro_runtime_explain(runtime, NULL, 0);
    char  *text = malloc(len + 1);
    if (!text) return say_no_memory();
    pro_runtime_explain(runtime, text, len + 1);
    return print_text(text, len);
}

/* ---- One shard ------------------------------------------------------------------------------- */

static int run_loop(struct server *server, pro_loop *loop)
{
    int error = server_start_shard(loop, 0, server);
    if (error == PRO_OK)
        say_listening(server);
    else
        say_not_started(server, error);

    int64_t ran = pro_loop_run(loop);
    if (ran < 0) exit(say_failed((int)ran)); /* server is still in use */
    return error == PRO_OK ? say_totals(server) : 1;
}

static int serve_alone(const struct options *options)
{
    pro_loop_options loop_options;
    pro_loop_options_init(&loop_options);
    loop_options.engine = options->engine;
    loop_options.fixed_slots = options->slots;
    pro_loop *loop;
    int       error = pro_loop_new(&loop, &loop_options);
    if (error != PRO_OK) return say_refused(options, error);

    struct server server;
    int           status;
    if (options->explain) {
        status = explain_loop(loop);
    } else if (server_init(&server, options, 1) != PRO_OK) {
        status = say_no_memory();
    } else {
        status = run_loop(&server, loop);
        server_fini(&server);
    }
    error = pro_loop_free(loop);
    if (error == PRO_OK) return status;
    fprintf(stderr, "pro-echo: the loop is not empty: %s\n", pro_error_text(error));
    return 1;
}

/* ---- Several shards -------------------------------------------------------------------------- */

static int set_up_nothing(pro_loop *loop, unsigned shard, void *arg)
{
    (void)loop, (void)shard, (void)arg;
    return PRO_OK;
}

static int explain(const struct options *options, pro_runtime *runtime)
{
    int error = pro_runtime_start(runtime, set_up_nothing, NULL);
    int status = 1;
    if (error == PRO_OK) {
        status = explain_loop(pro_runtime_loop(runtime, 0));
        if (status == 0) status = explain_runtime(runtime);
        pro_runtime_stop(runtime, 0);
    }
    pro_runtime_join(runtime);
    return error == PRO_OK ? status : say_refused(options, error);
}

/* Returns the status to exit with, or -1: several listeners cannot share an address here. */
static int run_runtime(struct server *server)
{
    pro_runtime *runtime = server->runtime;
    int          error = pro_runtime_start(runtime, server_start_shard, server);
    if (error == PRO_OK) say_listening(server);
    int ended = pro_runtime_join(runtime);
    if (error == PRO_ENOTSUP && server->options->shards == 0) return -1;
    if (error != PRO_OK) return say_not_started(server, error);
    return ended == PRO_OK ? say_totals(server) : say_failed(ended);
}

static int serve(const struct options *options)
{
    pro_runtime_options runtime_options;
    pro_runtime_options_init(&runtime_options);
    runtime_options.shards = options->shards;
    runtime_options.name = "pro-echo";
    runtime_options.loop.engine = options->engine;
    runtime_options.loop.fixed_slots = options->slots;
    pro_runtime *runtime;
    int          error = pro_runtime_new(&runtime, &runtime_options);
    if (error != PRO_OK) return say_refused(options, error);

    struct server server;
    unsigned      shards = pro_runtime_shards(runtime);
    int           status = -1;
    if (options->explain && shards > 1) return explain(options, runtime);
    error = server_init(&server, options, shards);
    server.runtime = runtime;
    if (shards > 1 && error == PRO_OK)
        status = run_runtime(&server);
    else
        pro_runtime_join(runtime); /* never started: this frees it */
    if (error != PRO_OK) status = say_no_memory();
    server_fini(&server);
    return status < 0 ? serve_alone(options) : status;
}

int main(int argc, char **argv)
{
    struct options options;
    int            status = options_parse(&options, argc, argv);
    if (status >= 0) return status;
    return options.shards == 1 ? serve_alone(&options) : serve(&options);
}
