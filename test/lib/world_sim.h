/* Files of a simulated world, for world.h: each of these does nothing and says false outside of one. */
#ifndef TEST_LIB_WORLD_SIM_H
#define TEST_LIB_WORLD_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool sim_path(const char *name, char *path, size_t size);
bool sim_make_directory(const char *path);
bool sim_remove_directory(const char *path);
bool sim_write_file(const char *path, const char *text);
bool sim_rename(const char *from, const char *to);
bool sim_remove(const char *path);
bool sim_open(const char *path, intptr_t *fd);
bool sim_pattern_file(const char *path, size_t len, unsigned key, intptr_t *fd);
bool sim_close_fd(intptr_t fd);
bool sim_is_here(void);

#endif
