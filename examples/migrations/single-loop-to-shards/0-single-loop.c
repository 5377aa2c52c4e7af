/* tally: counts by name, for many clients.  A request is a line, an answer is a line:
 *
 *     add NAME N      adds N to the count of NAME; says what it is now
 *     get NAME        says what it is
 *     total           says the sum of all
 *
 *     tally 127.0.0.1:9000 [SHARDS]          ends when it gets SIGTERM, after what is under way
 *
 * One program in four steps: docs/guide/migrate-to-shards.md. */
#include <proactor.h>

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LEN = 31, LINE_MAX_LEN = 128, BUCKETS = 256 };

struct entry {
    struct entry *next;
    char          name[NAME_MAX_LEN + 1];
    int64_t       count;
};

static pro_loop     *loop;
static pro_listener  listener;
static struct entry *table[BUCKETS];
static int64_t       total;

static unsigned hash(const char *name)
{
    unsigned h = 2166136261u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

static struct entry *find(const char *name)
{
    struct entry **bucket = &table[hash(name) % BUCKETS], *e = *bucket;
    while (e && strcmp(e->name, name) != 0) e = e->next;
    if (!e && (e = calloc(1, sizeof *e)) != NULL) {
        snprintf(e->name, sizeof e->name, "%s", name);
        e->next = *bucket;
        *bucket = e;
    }
    return e;
}

/* ---- what is asked ---------------------------------------------------------------------------- */

static int64_t add(const char *name, int64_t n)
{
    struct entry *e = find(name);
    if (!e) return PRO_ENOMEM;
    total += n;
    return e->count += n;
}

static int64_t sum(void) { return total; }

/* The answer to a line; less than 0: none. */
static int64_t answer(const char *line)
{
    char name[NAME_MAX_LEN + 1];
    long n;
    if (sscanf(line, "add %31s %ld", name, &n) == 2 && n >= 0) return add(name, n);
    if (sscanf(line, "get %31s", name) == 1) return add(name, 0);
    return strcmp(line, "total") == 0 ? sum() : PRO_EINVAL;
}

/* ---- a connection ----------------------------------------------------------------------------- */

/* The next line is in line, and has got bytes behind it, which become its beginning; or an error. */
static int64_t read_line(pro_socket *sock, char *line, size_t *got)
{
    char *end;
    while ((end = memchr(line, '\n', *got)) == NULL) {
        if (*got == LINE_MAX_LEN) return PRO_EMSGSIZE;
        int64_t n = pro_await_recv(sock, line + *got, LINE_MAX_LEN - *got);
        if (n < 0) return n;
        *got += (size_t)n;
    }
    *end = 0;
    return end + 1 - line;
}

static void converse(void *arg)
{
    pro_socket *sock = arg;
    char        line[LINE_MAX_LEN], text[32];
    size_t      got = 0;
    int64_t     used;
    pro_socket_set(sock, PRO_OPT_NODELAY,
                   1); /* answers are short, and do not wait for each other */
    while ((used = read_line(sock, line, &got)) > 0) {
        int64_t value = answer(line);
        int     len = value < 0 ? snprintf(text, sizeof text, "error\n")
                                : snprintf(text, sizeof text, "%lld\n", (long long)value);
        if (pro_await_send_all(sock, text, (size_t)len) < 0) break;
        got -= (size_t)used;
        memmove(line, line + used, got);
    }
    pro_await_close(sock);
    free(sock);
}

/* ---- the server ------------------------------------------------------------------------------- */

static void serve(void *arg)
{
    (void)arg;
    for (;;) {
        pro_socket *sock = calloc(1, sizeof *sock);
        int64_t     error = sock ? pro_await_accept(&listener, sock, NULL) : PRO_ENOMEM;
        if (error == PRO_OK) {
            if (pro_go(NULL, converse, sock, NULL) == PRO_OK) continue;
            pro_await_close(sock);
        }
        free(sock);
        if (error == PRO_ECANCELED || error == PRO_ECLOSED) return;
        pro_await_sleep(100 * PRO_MSEC); /* no handles left, perhaps: rest, then go on */
    }
}

static void end_by_signal(void *arg)
{
    (void)arg;
    if (pro_await_signal_wait(SIGTERM) < 0) return;
    pro_scope_close(pro_co_scope());
}

static void free_table(void)
{
    for (int i = 0; i < BUCKETS; i++)
        for (struct entry *e = table[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "tally: %s: %s\n", what, pro_error_text(error));
    return 1;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "127.0.0.1:9000";
    pro_address address;
    if (argc > 3 || pro_address_parse(&address, where) != PRO_OK) {
        fprintf(stderr, "usage: tally [ADDR:PORT [SHARDS]]\n");
        return 2;
    }
    int error = pro_loop_new(&loop, NULL);
    if (error != PRO_OK) return fail("cannot make a loop", error);
    error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error == PRO_OK) error = pro_go(pro_loop_scope(loop), serve, NULL, NULL);
    if (error == PRO_OK) error = pro_go(pro_loop_scope(loop), end_by_signal, NULL, NULL);
    if (error != PRO_OK) return fail(where, error);

    char text[PRO_ADDRESS_TEXT_MAX];
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("tally: listening on %s\n", text);
    fflush(stdout);

    int64_t ran = pro_loop_run(loop);
    if (ran < 0) return fail("the engine failed", (int)ran);
    free_table();
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
