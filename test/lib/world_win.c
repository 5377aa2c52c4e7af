/* lib/world.h where there is no such world as yet: the sentences that need it have rows (rows.c). */
#include "lib/world.h"

#include "lib/test.h"

#define NOT_HERE() FAIL("%s: not on this system", __func__)

const char *t_path(const char *name)
{
    (void)name;
    NOT_HERE();
}

const char *t_path_in(const char *directory, const char *name)
{
    (void)directory, (void)name;
    NOT_HERE();
}

void t_make_directory(const char *path)
{
    (void)path;
    NOT_HERE();
}

void t_remove_directory(const char *path)
{
    (void)path;
    NOT_HERE();
}

void t_write_file(const char *path, const char *text)
{
    (void)path, (void)text;
    NOT_HERE();
}

void t_rename(const char *from, const char *to)
{
    (void)from, (void)to;
    NOT_HERE();
}

void t_remove(const char *path)
{
    (void)path;
    NOT_HERE();
}

void t_touch(const char *path)
{
    (void)path;
    NOT_HERE();
}

size_t t_read_all(intptr_t fd, char *buf, size_t size)
{
    (void)fd, (void)buf, (void)size;
    NOT_HERE();
}

void t_write_fd(intptr_t fd, const char *text)
{
    (void)fd, (void)text;
    NOT_HERE();
}

void t_close_fd(intptr_t fd)
{
    (void)fd;
    NOT_HERE();
}

bool t_has_children(void) { NOT_HERE(); }

bool t_has_pidfds(void) { NOT_HERE(); }

void t_steal_child(int64_t pid)
{
    (void)pid;
    NOT_HERE();
}

bool t_is_alive(int64_t pid)
{
    (void)pid;
    NOT_HERE();
}

void t_name_of_fd(intptr_t fd, char *buf, size_t size)
{
    (void)fd, (void)buf, (void)size;
    NOT_HERE();
}

void t_leak_fd(intptr_t fd, int number)
{
    (void)fd, (void)number;
    NOT_HERE();
}

void t_odd_signals(bool odd)
{
    (void)odd;
    NOT_HERE();
}

intptr_t t_open(const char *path)
{
    (void)path;
    NOT_HERE();
}

intptr_t t_pattern_file(const char *path, size_t len, unsigned key)
{
    (void)path, (void)len, (void)key;
    NOT_HERE();
}
