/* Memory for stacks: reserved in large pieces, guarded, given back; and who overflowed.
 *
 * Calls that can fail answer with 0 or a negated system error number, as in os.h; those made for a
 * loop ask env->fault before the system. */
#ifndef PRI_OS_STACK_H
#define PRI_OS_STACK_H

#include "os/os.h"

size_t pri_os_page_size(void);

/* Reserve size bytes, a multiple of the page: zero, not backed by memory until touched, never by
 * huge pages, and not counted as committed.  *base is where. */
int pri_os_stacks_map(const pro_env *env, size_t size, void **base);

/* Give it all back. */
void pri_os_stacks_unmap(void *base, size_t size);

/* Make whole pages of a mapping fatal to touch, for good.  Without splitting the mapping where the
 * system can do that, so that the number of guards has no limit; else until the system's limit of
 * mappings is reached: -ENOMEM. */
int pri_os_stack_guard(const pro_env *env, void *low, size_t size);

/* Give back the memory behind whole pages: they read as zero again.  They stay reserved. */
void pri_os_stack_discard(void *low, size_t size);

/* How much of whole pages was ever touched (since the last discard): from the lowest page that has
 * memory to the high end; 0: none. */
size_t pri_os_stack_touched(void *low, size_t size);

/* A thread that touches an address it must not asks describe for one line of text (with line feed);
 * its length, or 0: nothing to say.  The line goes to standard error, then whatever would have
 * happened without us happens: the handler that was there before, or the end of the process.  describe
 * runs in a signal handler, on a stack of its own.
 * watch: the calling thread from now on, counted; unwatch undoes one watch.  describe must be the
 * same in all calls.  Nothing where a sanitizer reports overflows itself. */
int  pri_os_stack_watch(size_t (*describe)(uintptr_t address, char *line, size_t size));
void pri_os_stack_unwatch(void);

#endif
