/* Disks whose power is cut, by hand: programs that sync nothing, or not all, and what must be there all the
 * same; and what is gone takes no room.  Each program has a node of its own, runs to its end, and loses its power. */
#include "scenario.h"

#define WANT(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) pro_sim_fail(d.world, "disk: %s", #condition);                           \
    } while (0)

enum { PAGE = 4096, ROOM = 64 * PAGE };

static struct {
    pro_sim      *world;
    pro_sim_node *node;
    pro_loop     *loop;
    pro_op        op;
    int           error;
    bool          is_over;
    void (*program)(void);
    char bytes[40 * PAGE];
} d;

/* ---- A program, one call after the other ------------------------------------------------------ */

static void on_done(pro_op *op) { d.error = op->error; }

/* What was begun; its error. */
static int end(void)
{
    pro_loop_run(d.loop);
    return d.error;
}

static int make(const char *path)
{
    pro_path_mkdir(&d.op, d.loop, path, 0755, on_done);
    return end();
}

static int move(const char *from, const char *to)
{
    pro_path_rename(&d.op, d.loop, from, to, on_done);
    return end();
}

static int take_away(const char *path, bool is_directory)
{
    if (is_directory)
        pro_path_rmdir(&d.op, d.loop, path, on_done);
    else
        pro_path_unlink(&d.op, d.loop, path, on_done);
    return end();
}

/* Write so much, or nothing, and sync the file (the directory). */
static int with(const char *path, uint32_t flags, size_t len)
{
    static pro_file file;
    pro_file_open(&d.op, &file, d.loop, NULL, path, flags, 0644, on_done);
    int error = end();
    if (error) return error;
    if (len > 0) {
        pro_file_write(&d.op, &file, d.bytes, len, 0, on_done);
        error = end();
    }
    if (!error) {
        pro_file_sync(&d.op, &file, on_done);
        error = end();
    }
    pro_file_close(&d.op, &file, on_done);
    end();
    return error;
}

static int write_file(const char *path, size_t len)
{
    return with(path, PRO_FILE_WRITE | PRO_FILE_CREATE, len);
}

/* Nobody syncs that. */
static int cut_off(const char *path)
{
    static pro_file file;
    pro_file_open(&d.op, &file, d.loop, NULL, path, PRO_FILE_WRITE | PRO_FILE_TRUNCATE, 0, on_done);
    int error = end();
    pro_file_close(&d.op, &file, on_done);
    end();
    return error;
}

static int sync_directory(const char *path) { return with(path, PRO_FILE_DIRECTORY, 0); }

/* ---- What is there ---------------------------------------------------------------------------- */

static int64_t size_of(const char *path)
{
    char byte;
    return pro_sim_file_get(d.node, path, &byte, 1);
}

static bool is_there(const char *path) { return size_of(path) >= 0; }

static void put(const char *path) { WANT(pro_sim_file_put(d.node, path, "x", 1) == PRO_OK); }

/* ---- Names ------------------------------------------------------------------------------------ */

/* The place that the file left goes after it. */
static void leaves_what_goes(void)
{
    WANT(move("/old/file", "/new/file") == PRO_OK);
    WANT(take_away("/old", true) == PRO_OK);
}

/* A whole directory left it. */
static void leaves_with_all(void)
{
    WANT(move("/old", "/new/old") == PRO_OK);
    WANT(make("/old") == PRO_OK);
    WANT(move("/new/old/file", "/old/file") == PRO_OK);
    WANT(take_away("/new/old", true) == PRO_OK);
}

/* The way to where it went is new. */
static void goes_far(void)
{
    WANT(make("/new/a") == PRO_OK);
    WANT(make("/new/a/b") == PRO_OK);
    WANT(move("/old/file", "/new/a/b/file") == PRO_OK);
}

/* The same, and one of the two directories is synced. */
static void goes_far_for_good(void)
{
    goes_far();
    WANT(sync_directory("/new/a/b") == PRO_OK);
}

/* Of that way one end is on the disk already. */
static void goes_by_half(void)
{
    WANT(make("/new/a") == PRO_OK);
    WANT(make("/new/a/b") == PRO_OK);
    WANT(sync_directory("/new/a") == PRO_OK);
    WANT(move("/old/file", "/new/a/b/file") == PRO_OK);
}

/* And that way is another, later. */
static void goes_on(void)
{
    goes_far();
    WANT(move("/new/a/b", "/new/b") == PRO_OK);
    WANT(take_away("/new/a", true) == PRO_OK);
}

/* A directory leaves another, which then goes into it: they are never in each other. */
static void turns_inside_out(void)
{
    WANT(make("/old/in") == PRO_OK);
    WANT(move("/old/file", "/old/in/file") == PRO_OK);
    WANT(sync_directory("/old/in") == PRO_OK);
    WANT(move("/old/in", "/in") == PRO_OK);
    WANT(move("/old", "/in/old") == PRO_OK);
}

enum { FILES = 4, MOVES = 40, PATH = 4 * MOVES };

/* One of the directories that there may be: up to three names deep. */
static void any_directory(char path[8])
{
    size_t len = 0, depth = pro_sim_choose(d.world, "disk", 4);
    for (; depth > 0; depth--) {
        path[len++] = '/';
        path[len++] = (char)('a' + pro_sim_choose(d.world, "disk", 2));
    }
    path[len] = '\0';
}

/* In how many places below path it is; the last of them. */
static size_t places_of(char *path, const char *name, char *last)
{
    size_t len = strlen(path), found = 0;
    char   byte;
    strcpy(path + len, name);
    if (is_there(path)) {
        found++;
        strcpy(last, path);
    }
    for (const char *const *in = (const char *const[]){"/a", "/b", NULL}; *in; in++) {
        strcpy(path + len, *in);
        if (pro_sim_file_get(d.node, path, &byte, 1) == PRO_EISDIR)
            found += places_of(path, name, last);
    }
    path[len] = '\0';
    return found;
}

/* Directories come, go and move, files move, some of it is synced; no file is ever taken away. */
static void moves_at_random(void)
{
    char from[PATH], to[PATH];
    for (int i = 0; i < MOVES; i++) {
        any_directory(from);
        any_directory(to);
        switch (pro_sim_choose(d.world, "disk", 8)) {
        case 0:
        case 1: make(to); break;
        case 2:
            if (*from) take_away(from, true);
            break;
        case 3:
            if (*from && *to) move(from, to);
            break;
        case 4: sync_directory(*to ? to : "/"); break;
        default: {
            char path[PATH] = "",
                 name[] = {'/', (char)('0' + pro_sim_choose(d.world, "disk", FILES)), '\0'};
            if (places_of(path, name, from) == 1) move(from, strcat(to, name));
        }
        }
    }
}

/* ---- Room ------------------------------------------------------------------------------------- */

/* What is taken away has no room any more, though no sync has said so. */
static void writes_in_turn(void)
{
    for (int i = 0; i < 4; i++) {
        WANT(write_file("/log", sizeof d.bytes) == PRO_OK);
        WANT(take_away("/log", false) == PRO_OK);
    }
}

/* A directory that nobody synced, with a file in it: gone is it as a whole, or not at all. */
static void fills_a_directory(void)
{
    take_away("/d/file", false);
    take_away("/d", true);
    WANT(sync_directory("/") == PRO_OK);
    WANT(make("/d") == PRO_OK);
    WANT(write_file("/d/file", sizeof d.bytes) == PRO_OK);
}

/* What was cut off may come back: another file has its room only when it cannot any more. */
static void cuts_and_writes(void)
{
    WANT(write_file("/cut", sizeof d.bytes) == PRO_OK);
    WANT(sync_directory("/") == PRO_OK);
    WANT(cut_off("/cut") == PRO_OK);
    WANT(write_file("/other", sizeof d.bytes) == PRO_OK);
    WANT(sync_directory("/") == PRO_OK);
}

/* ---- Read-only -------------------------------------------------------------------------------- */

/* A disk that may not be written to any more, though a file is open for that. */
static void becomes_read_only(void)
{
    static pro_file file;
    pro_file_open(&d.op, &file, d.loop, NULL, "/old/file", PRO_FILE_WRITE, 0, on_done);
    WANT(end() == PRO_OK);
    pro_sim_disk_set(d.node, &(pro_sim_disk){.is_read_only = 1});
    pro_file_write(&d.op, &file, "y", 1, 0, on_done);
    WANT(end() == PRO_EROFS);
    pro_file_truncate(&d.op, &file, 0, on_done);
    WANT(end() == PRO_EROFS);
    pro_file_allocate(&d.op, &file, 0, PAGE, on_done);
    WANT(end() == PRO_EROFS);
    pro_file_close(&d.op, &file, on_done);
    WANT(end() == PRO_OK);
    WANT(with("/old/file", PRO_FILE_TRUNCATE, 0) == PRO_EROFS);
    WANT(move("/old/file", "/new/file") == PRO_EROFS);
}

/* ---- All of it -------------------------------------------------------------------------------- */

static void run_program(pro_sim_node *node, void *arg)
{
    (void)node, (void)arg;
    d.loop = sim_loop_new();
    d.program();
    WANT(pro_loop_free(d.loop) == PRO_OK);
    d.is_over = true;
}

static int is_over(void *arg)
{
    (void)arg;
    return d.is_over;
}

/* It runs to its end, then the power goes. */
static void run_and_cut(void)
{
    d.is_over = false;
    WANT(pro_sim_run(d.world, is_over, NULL, 60 * PRO_SEC));
    pro_sim_power_cut(d.node);
}

static void on_a_new_node(void (*program)(void))
{
    d.program = program;
    d.node = pro_sim_node_new(d.world, "disk", NULL, run_program, NULL);
    pro_sim_disk_set(d.node, &(pro_sim_disk){.size = ROOM});
    put("/old/file");
    put("/new/other");
    for (int i = 0; i < FILES; i++) put((char[]){'/', (char)('0' + i), '\0'});
    run_and_cut();
}

static void again(void)
{
    pro_sim_restart(d.node);
    run_and_cut();
}

void scenario_disk(pro_sim *world)
{
    static const char *const places[] = {"/old/file",     "/new/file",   "/new/old/file",
                                         "/new/a/b/file", "/new/b/file", "/old/in/file",
                                         "/in/file"};
    static void (*const movers[])(void) = {leaves_what_goes,  leaves_with_all, goes_far,
                                           goes_far_for_good, goes_by_half,    goes_on,
                                           turns_inside_out};
    d.world = world;
    for (size_t i = 0; i < sizeof movers / sizeof movers[0]; i++) {
        size_t found = 0;
        on_a_new_node(movers[i]);
        for (size_t k = 0; k < sizeof places / sizeof places[0]; k++) found += is_there(places[k]);
        if (found != 1)
            pro_sim_fail(world, "disk: what was moved by program %zu is in %zu places", i, found);
    }
    on_a_new_node(moves_at_random);
    for (int i = 0; i < FILES; i++) {
        char   path[PATH] = "", last[PATH], name[] = {'/', (char)('0' + i), '\0'};
        size_t found = places_of(path, name, last);
        if (found != 1) pro_sim_fail(world, "disk: file %d is in %zu places", i, found);
    }
    on_a_new_node(writes_in_turn);
    on_a_new_node(cuts_and_writes);
    WANT(size_of("/other") == sizeof d.bytes);
    WANT(size_of("/cut") + size_of("/other") <= ROOM);
    on_a_new_node(becomes_read_only);
    on_a_new_node(fills_a_directory);
    for (int i = 0; i < 8; i++) again();
}
