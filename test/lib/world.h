/* What tests of processes, files and names need of the system: world_posix.c, world_win.c. */
#ifndef TEST_LIB_WORLD_H
#define TEST_LIB_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A path in the step's own directory, new with every call; lives as long as the sentence. */
const char *t_path(const char *name);
const char *t_path_in(const char *directory, const char *name);

/* Synchronously, and what fails fails the sentence. */
void t_make_directory(const char *path);
void t_remove_directory(const char *path);
void t_write_file(const char *path, const char *text); /* made new, or added to */
void t_rename(const char *from, const char *to);
void t_remove(const char *path);
void t_touch(const char *path); /* change its mode, back and forth */

/* Open for reading; and one new file of len bytes of a pattern (t_fill), on the disk and out of the cache
 * where the system lets it go. */
intptr_t t_open(const char *path);
intptr_t t_pattern_file(const char *path, size_t len, unsigned key);

/* Read what there is until the end. */
size_t t_read_all(intptr_t fd, char *buf, size_t size);
void   t_write_fd(intptr_t fd, const char *text);
void   t_close_fd(intptr_t fd);

/* Are there signals between processes, numbers of descriptors, /proc? */
bool t_is_posix(void);

/* Two ends of a pipe as other programs make them: their calls wait.  false: in a simulated world, which has
 * none. */
bool t_pipe(intptr_t fds[2]);

/* A program that takes "sh", "-c", a script and its arguments: the shell, or what stands for it. */
const char *t_shell(void);

/* A signal that a program can hear; and it comes to this process, soon. */
int  t_signal(void);
void t_raise(void);

/* Has this process a child, alive or a zombie? */
bool t_has_children(void);

/* Can a descriptor name a process here (pidfd_open)? */
bool t_has_pidfds(void);

/* Wait for a child behind the library's back. */
void t_steal_child(int64_t pid);

/* Is there a process with this id, zombies included? */
bool t_is_alive(int64_t pid);

/* What a descriptor of this process is, as the system names it. */
void t_name_of_fd(intptr_t fd, char *buf, size_t size);

/* Copy a descriptor to this number, so that children would inherit it. */
void t_leak_fd(intptr_t fd, int number);

/* Block a signal in this thread and ignore another one, and back. */
void t_odd_signals(bool odd);

#endif
