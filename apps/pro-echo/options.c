/* The command line: --name VALUE or --name=VALUE, in any order, the last one counts. */
#include "echo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: pro-echo [OPTIONS]\n"
    "A TCP echo server.  SIGINT or SIGTERM drains it, a second one ends it at once.\n"
    "\n"
    "  --listen ADDR:PORT     default 127.0.0.1:9000; [ADDR]:PORT for IPv6; port 0: a free one\n"
    "  --engine ENGINE        auto (default), uring, epoll, iocp or sim; auto obeys\n"
    "                         PROACTOR_ENGINE\n"
    "  --shards N             loops, each on a thread and a core of its own; default: one per core;\n"
    "                         1: a single loop, on no core of its own\n"
    "  --style STYLE          coroutine (default), stackless or callback: how connections are written\n"
    "  --idle-timeout SECONDS close a connection that moves nothing for so long; default: never\n"
    "  --max-connections N    serve no more at a time, over all shards, others wait; default: no limit\n"
    "  --slots N              fixed slots of each loop, where the engine has them: so many connections\n"
    "                         without a descriptor; default: 0\n"
    "  --explain              say which engine is used, and why, and where shards run, and exit\n"
    "  --help, --version\n";

static const char *const engines[] = {"auto", "uring", "epoll", "iocp",
                                      "sim"}; /* in the order of pro_engine */
#define ENGINES (sizeof engines / sizeof engines[0])

const char *options_engine_name(pro_engine engine)
{
    return (size_t)engine < ENGINES ? engines[engine] : "?";
}

/* Each reads one value; false if it is not one. */

static bool read_listen(struct options *options, const char *text)
{
    return pro_address_parse(&options->listen, text) == PRO_OK;
}

static bool read_engine(struct options *options, const char *text)
{
    for (size_t i = 0; i < ENGINES; i++) {
        if (strcmp(text, engines[i]) == 0) {
            options->engine = (pro_engine)i;
            return true;
        }
    }
    return false;
}

static bool read_number(const char *text, uint64_t max, uint64_t *number)
{
    if (text[0] == '\0' || strlen(text) > 9) return false;
    if (strspn(text, "0123456789") != strlen(text)) return false;
    *number = strtoul(text, NULL, 10);
    return *number <= max;
}

static bool read_shards(struct options *options, const char *text)
{
    uint64_t number;
    if (!read_number(text, SHARDS_MAX, &number) || number == 0) return false;
    options->shards = (unsigned)number;
    return true;
}

static bool read_style(struct options *options, const char *text)
{
    static const struct style *const styles[] = {&style_coroutine, &style_stackless,
                                                 &style_callback};
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++) {
        if (strcmp(text, styles[i]->name) == 0) {
            options->style = styles[i];
            return true;
        }
    }
    return false;
}

static bool read_idle_timeout(struct options *options, const char *text)
{
    if (strspn(text, "0123456789.") != strlen(text)) return false;
    char  *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || seconds > 1e9) return false;
    options->idle_timeout_ns = (uint64_t)(seconds * 1e9);
    return true;
}

static bool read_max_connections(struct options *options, const char *text)
{
    return read_number(text, UINT64_MAX, &options->connections_max);
}

static bool read_slots(struct options *options, const char *text)
{
    uint64_t number;
    if (!read_number(text, UINT32_MAX, &number)) return false;
    options->slots = (uint32_t)number;
    return true;
}

static const struct {
    const char *name;
    bool (*read)(struct options *options, const char *text);
} options_with_value[] = {
    {"--listen", read_listen},
    {"--engine", read_engine},
    {"--shards", read_shards},
    {"--style", read_style},
    {"--idle-timeout", read_idle_timeout},
    {"--max-connections", read_max_connections},
    {"--slots", read_slots},
};
#define OPTIONS_WITH_VALUE (sizeof options_with_value / sizeof options_with_value[0])

/* The option that arg begins with; *value is what stands behind a "=", or NULL. */
static size_t find(const char *arg, const char **value)
{
    size_t i;
    for (i = 0; i < OPTIONS_WITH_VALUE; i++) {
        size_t len = strlen(options_with_value[i].name);
        if (strncmp(arg, options_with_value[i].name, len) != 0) continue;
        if (arg[len] != '\0' && arg[len] != '=') continue;
        *value = arg[len] == '=' ? arg + len + 1 : NULL;
        break;
    }
    return i;
}

static int bad(const char *what, const char *arg)
{
    fprintf(stderr, "pro-echo: %s: %s (see --help)\n", what, arg);
    return 2;
}

int options_parse(struct options *options, int argc, char **argv)
{
    *options =
        (struct options){.listen = pro_address_loopback(PRO_IPV4, 9000), .style = &style_coroutine};
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (strcmp(arg, "--version") == 0) {
            uint32_t version = pro_version();
            printf("pro-echo %u.%u.%u\n", (unsigned)(version >> 16), (unsigned)(version >> 8 & 255),
                   (unsigned)(version & 255));
            return 0;
        }
        if (strcmp(arg, "--explain") == 0) {
            options->explain = true;
            continue;
        }
        const char *value = NULL;
        size_t      option = find(arg, &value);
        if (option == OPTIONS_WITH_VALUE) return bad("unknown option", arg);
        if (!value && ++i < argc) value = argv[i];
        if (!value) return bad("a value is missing", arg);
        if (!options_with_value[option].read(options, value)) {
            fprintf(stderr, "pro-echo: bad value for %s: '%s' (see --help)\n",
                    options_with_value[option].name, value);
            return 2;
        }
    }
    return -1;
}
