/* Migration to the pool, step 3: what to do when the store is slower than its clients.
 *
 *     3-bounded PORT DATABASE
 *
 * What changed since step 2: the queue for the store is short, and what finds it full is told so at once
 * (PRO_EBUSY); what waits longer than two seconds is told that (PRO_ETIMEDOUT) and is never run.  A
 * request that runs is never cut: its client gets the answer, late.  That is the whole of overload: it
 * costs those who come too much, and neither memory nor the others' time. */
#include <proactor.h>

#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The store: as it was ---------------------------------------------- */

static pro_loop *loop;
static sqlite3  *db;

static int open_store(const char *path)
{
    if (sqlite3_open(path, &db) != SQLITE_OK) return -1;
    sqlite3_busy_timeout(db, 1000);
    return sqlite3_exec(db, "create table if not exists kv (k text primary key, v text)", NULL,
                        NULL, NULL);
}

/* "get KEY" or "put KEY VALUE"; the answer is one line. */
static void answer(const char *line, char *out, size_t size)
{
    char          verb[8] = "", key[64] = "", value[128] = "";
    sqlite3_stmt *statement = NULL;
    int           words = sscanf(line, "%7s %63s %127[^\r\n]", verb, key, value);
    bool          is_put = strcmp(verb, "put") == 0 && words == 3;
    snprintf(out, size, "what?\n");
    if (!is_put && (strcmp(verb, "get") != 0 || words != 2)) return;
    const char *sql =
        is_put ? "insert or replace into kv values (?1, ?2)" : "select v from kv where k = ?1";
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
        if (is_put) sqlite3_bind_text(statement, 2, value, -1, SQLITE_STATIC);
        int result = sqlite3_step(statement); /* here it reads, writes, waits for the disk */
        if (result == SQLITE_ROW)
            snprintf(out, size, "%s\n", (const char *)sqlite3_column_text(statement, 0));
        else if (result == SQLITE_DONE)
            snprintf(out, size, is_put ? "ok\n" : "none\n");
        else
            snprintf(out, size, "error: %s\n", sqlite3_errmsg(db));
    }
    sqlite3_finalize(statement);
}

/* ---- Connections ----------------------------------------------------------------------------------- */

typedef struct request {
    char line[256], out[192];
} request;

/* On the thread of the pool.  The request is ours alone until it returns. */
static int64_t answer_request(void *arg)
{
    request *r = arg;
    answer(r->line, r->out, sizeof r->out);
    return 0;
}

static const char *sorry(int64_t error)
{
    return error == PRO_EBUSY ? "busy\n" : error == PRO_ETIMEDOUT ? "too late\n" : NULL;
}

/* One line, its end included; how long it is, or an error. */
static int64_t read_line(pro_socket *sock, char *line, size_t size)
{
    for (size_t len = 0; len < size - 1;) {
        int64_t n = pro_await_recv(sock, line + len, 1); /* simple before quick */
        if (n < 0) return n;
        len++;
        line[len] = '\0';
        if (line[len - 1] == '\n') return (int64_t)len;
    }
    return PRO_EMSGSIZE;
}

static void serve(void *arg)
{
    pro_socket *sock = arg;
    request     r;
    while (read_line(sock, r.line, sizeof r.line) > 0) {
        uint64_t    until = pro_loop_now(loop) + 2 * PRO_SEC;
        int64_t     error = pro_await_run_blocking_by(answer_request, &r, until);
        const char *out = error < 0 ? sorry(error) : r.out;
        if (!out || pro_await_send_all(sock, out, strlen(out)) < 0) break;
    }
    pro_await_close(sock);
    free(sock);
}

static void accept_all(void *arg)
{
    pro_listener *listener = arg;
    for (;;) {
        pro_socket *sock = calloc(1, sizeof *sock);
        if (!sock || pro_await_accept(listener, sock, NULL) < 0) {
            free(sock);
            return;
        }
        if (pro_go(NULL, serve, sock, NULL) == PRO_OK) continue;
        pro_await_close(sock);
        free(sock);
    }
}

static void end_by_signal(void *arg)
{
    (void)arg;
    pro_await_signal_wait(SIGINT);
    pro_scope_close(pro_co_scope());
}

int main(int argc, char **argv)
{
    static pro_listener listener;
    pro_address         address;
    char                where[32], text[PRO_ADDRESS_TEXT_MAX];
    if (argc != 3 || open_store(argv[2]) != SQLITE_OK) {
        fprintf(stderr, "usage: 3-bounded PORT DATABASE\n");
        return 2;
    }
    snprintf(where, sizeof where, "127.0.0.1:%s", argv[1]);
    int              error = pro_address_parse(&address, where);
    pro_loop_options options;
    pro_loop_options_init(&options);
    options.pool_threads_max = 1; /* one connection of SQLite, one thread: statements never meet */
    options.pool_queue_max = 4;
    if (error == PRO_OK) error = pro_loop_new(&loop, &options);
    if (error == PRO_OK) error = pro_listen(&listener, loop, NULL, &address, NULL);
    if (error == PRO_OK) error = pro_go(pro_loop_scope(loop), accept_all, &listener, NULL);
    if (error == PRO_OK) error = pro_go(pro_loop_scope(loop), end_by_signal, NULL, NULL);
    if (error != PRO_OK) {
        fprintf(stderr, "3-bounded: %s\n", pro_error_text(error));
        return 1;
    }
    pro_listener_local(&listener, &address);
    pro_address_format(&address, text, sizeof text);
    printf("3-bounded: listening on %s\n", text);
    fflush(stdout);
    pro_loop_run(loop);
    sqlite3_close(db);
    return pro_loop_free(loop) == PRO_OK ? 0 : 1;
}
