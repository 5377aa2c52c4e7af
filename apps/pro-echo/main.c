/* pro-echo: a TCP echo server on the public API of proactor, in callbacks.
 *
 * Exit status: 0 after a drain; 1 if it cannot run here (port in use, no permission,
 * engine refused); 2 for a bad option.  Each failure is one line on standard error. */
#include "echo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void say_engine_refused(const struct options *options, int error)
{
    const char *variable = getenv("PROACTOR_ENGINE");
    const char *name = options_engine_name(options->engine);
    if (options->engine == PRO_ENGINE_AUTO && variable) {
        fprintf(stderr, "pro-echo: cannot use engine %s (PROACTOR_ENGINE=%s): %s (%s)\n", name,
                variable, pro_error_text(error), pro_error_name(error));
    } else {
        fprintf(stderr, "pro-echo: cannot use engine %s: %s (%s)\n", name, pro_error_text(error),
                pro_error_name(error));
    }
}

static int explain(const pro_loop *loop)
{
    size_t len = pro_loop_explain(loop, NULL, 0);
    char  *text = malloc(len + 1);
    if (!text) return 1;
    pro_loop_explain(loop, text, len + 1);
    printf("%s%s", text, len > 0 && text[len - 1] == '\n' ? "" : "\n");
    free(text);
    return 0;
}

static int serve(pro_loop *loop, const struct options *options)
{
    struct server server;
    char          address[PRO_ADDRESS_TEXT_MAX];
    int           error = server_start(&server, loop, options);
    if (error == PRO_OK) {
        pro_address local = options->listen;
        char        why[256];
        pro_listener_local(&server.listener, &local);
        pro_address_format(&local, address, sizeof address);
        pro_loop_explain_line(loop, why, sizeof why);
        printf("pro-echo: listening on %s, engine %s (%s)\n", address, pro_loop_engine(loop), why);
        fflush(stdout);
    } else {
        pro_address_format(&options->listen, address, sizeof address);
        fprintf(stderr, "pro-echo: cannot listen on %s: %s\n", address, pro_error_text(error));
    }

    int64_t ran = pro_loop_run(loop);
    if (ran < 0) {
        fprintf(stderr, "pro-echo: the engine failed: %s\n", pro_error_text((int)ran));
        exit(1); /* server is still in use */
    }
    if (error != PRO_OK) return 1;

    const struct totals *t = &server.totals;
    printf("pro-echo: %" PRIu64 " connections, %" PRIu64 " bytes in, %" PRIu64
           " bytes out, %" PRIu64 " discarded, %" PRIu64 " canceled, %" PRIu64 " errors\n",
           t->connections, t->bytes_in, t->bytes_out, t->discarded, t->canceled, t->errors);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options;
    int            status = options_parse(&options, argc, argv);
    if (status >= 0) return status;

    pro_loop_options loop_options;
    pro_loop_options_init(&loop_options);
    loop_options.engine = options.engine;
    pro_loop *loop;
    int       error = pro_loop_new(&loop, &loop_options);
    if (error != PRO_OK) {
        say_engine_refused(&options, error);
        return 1;
    }
    status = options.explain ? explain(loop) : serve(loop, &options);
    error = pro_loop_free(loop);
    if (error != PRO_OK) {
        fprintf(stderr, "pro-echo: the loop is not empty: %s\n", pro_error_text(error));
        status = 1;
    }
    return status;
}
