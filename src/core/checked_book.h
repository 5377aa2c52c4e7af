/* The books of a checked build: what is the library's just now, and where.  Only checked.c uses them;
 * all functions but pri_book_enter want the lock held. */
#ifndef PRI_CHECKED_BOOK_H
#define PRI_CHECKED_BOOK_H

#include <proactor/net.h>

#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__)
#define PRI_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PRI_ASAN 1
#endif
#endif

/* What says most comes first. */
typedef enum pri_thing_kind { PRI_THING_OP, PRI_THING_HANDLE, PRI_THING_SCOPE } pri_thing_kind;

typedef struct pri_thing pri_thing;

/* Memory that is not the program's now, in the bucket of the page where it begins. */
typedef struct pri_region {
    struct pri_region *next;
    const char        *begin;
    size_t             size;
    pri_thing         *thing;
} pri_region;

struct pri_thing {
    pri_link       of_loop;
    pri_region     own;
    pri_thing_kind kind;
    union {
        pro_op     op;
        pro_handle handle;
        pro_scope  scope;
    } was; /* as it went into the books */

    /* Of an operation. */
    pro_scope  *scope;
    pri_region *buffers; /* &one, or allocated */
    pri_region  one;
    size_t      buffer_count, bytes;
    bool        is_poisoned, is_summed;
    uint64_t    sum;

    /* Of a handle: its last operation. */
    const char *used_at;
    unsigned    used_by;

    /* Of a scope: operations (until their handlers returned) and handles that are in the books, and
     * scopes in which such are. */
    uint32_t count;
};

void pri_book_enter(void);
void pri_book_leave(void);

/* Does this thread hold the lock?  Is there anything at all in the books?  Any time. */
bool pri_book_is_inside(void);
bool pri_book_is_empty(void);

/* Write down what begins there, of a loop; its buffers: count of them, to be poisoned if so asked. */
pri_thing *pri_book_add(const pro_loop *loop, pri_thing_kind kind, const void *begin, size_t size);
void       pri_book_add_buffers(pri_thing *t, const pro_vec *vecs, size_t count, bool is_poisoned);
void       pri_book_remove(pri_thing *t);

/* One more, or one less, lives in a scope, and so in those above it. */
void pri_book_count(pro_scope *scope);
void pri_book_uncount(const pro_scope *scope);

/* What begins exactly there, what begins from low up to high, what has that byte in it; NULL: nothing. */
pri_thing        *pri_book_find(const void *begin, pri_thing_kind kind);
const pri_region *pri_book_find_in(const char *low, const char *high);
const pri_region *pri_book_find_around(const char *byte);

/* All of a loop, as a list by of_loop; NULL: there is nothing. */
pri_link *pri_book_of(const pro_loop *loop);

#endif
