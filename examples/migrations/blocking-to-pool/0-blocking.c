/* Migration to the pool, step 0: a program that waits.
 *
 *     0-blocking PORT DATABASE         and in another terminal:  socat - TCP:127.0.0.1:PORT
 *
 * A small store: lines "put KEY VALUE" and "get KEY", kept by SQLite.  One connection after the other:
 * whoever is second waits for the first to leave, and all wait for the disk. */
#include <arpa/inet.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- The store: what waits ---------------------------------------------- */

static sqlite3 *db;

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

static void serve(int fd)
{
    FILE *in = fdopen(fd, "r");
    char  line[256], out[192];
    while (in && fgets(line, sizeof line, in)) {
        answer(line, out, sizeof out);
        if (write(fd, out, strlen(out)) < 0) break;
    }
    if (in) fclose(in);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof address;
    if (argc != 3 || open_store(argv[2]) != SQLITE_OK) {
        fprintf(stderr, "usage: 0-blocking PORT DATABASE\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) != 0 ||
        listen(listener, 16) != 0) {
        perror("0-blocking");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &len);
    printf("0-blocking: listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) serve(fd);
    }
}
