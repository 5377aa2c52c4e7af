/* A directory for a sentence about files, and the long way around to what is in it. */
#ifndef TEST_LIB_FILES_H
#define TEST_LIB_FILES_H

#include "lib/net.h"

/* A fresh directory, and the path of something in it; they live as long as the sentence.  Skips the
 * sentence where the engine has no files. */
const char *t_dir(pro_loop *loop);
const char *t_in(const char *dir, const char *name);

/* Take it all away: it must be a directory of files. */
void t_dir_remove(pro_loop *loop, const char *dir);

/* By the C library, or straight to the disk of a simulated world: make a file of a pattern; the size, or -1 if there is none; is it that pattern? */
void    t_file_make(const char *path, size_t len, unsigned key);
int64_t t_file_size(const char *path);
void    t_file_check(const char *path, size_t len, unsigned key, uint64_t offset);

/* Open, close, and wait until it is so; the first must work. */
void t_file_open(pro_loop *loop, pro_file *f, const char *path, uint32_t flags);
void t_file_close(pro_loop *loop, pro_file *f);

/* How many names the directory has. */
int t_dir_count(pro_loop *loop, const char *dir);

#endif
