/* The books of a checked build; see checked_book.h.
 *
 * They stand beside the program's memory, never in it: a table of regions by the page (of 256 bytes)
 * where each begins, and a list for each loop.  One lock for all of it: this is no build to measure with.
 *
 * Invariants:
 *   an operation is in the books  <==>  its state is QUEUED, STARTED or READY
 *   a handle is                   <==>  its state is OPEN or CLOSING
 *   a scope is                    <==>  its count > 0; roots are not, being part of their loops */
#include "core/checked_book.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/list.h"
#include "core/loop.h"

#ifdef PRI_ASAN
void __asan_poison_memory_region(const volatile void *addr, size_t size);
void __asan_unpoison_memory_region(const volatile void *addr, size_t size);

static void poison(const pri_region *r) { __asan_poison_memory_region(r->begin, r->size); }
static void unpoison(const pri_region *r) { __asan_unpoison_memory_region(r->begin, r->size); }
#else
static void poison(const pri_region *r) { (void)r; }
static void unpoison(const pri_region *r) { (void)r; }
#endif

enum { BUCKETS = 1 << 18, PAGE_BITS = 8 };

typedef struct book {
    const pro_loop *loop;
    pri_link        things;
} book;

static atomic_flag        lock = ATOMIC_FLAG_INIT;
static pri_region        *buckets[BUCKETS];
static atomic_uint        region_count;
static pri_thing         *unused; /* through of_loop.next */
static book             **books;
static size_t             book_count;
static _Thread_local bool is_inside;

void pri_book_enter(void)
{
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) {}
    is_inside = true;
}

void pri_book_leave(void)
{
    is_inside = false;
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

bool pri_book_is_inside(void) { return is_inside; }

bool pri_book_is_empty(void)
{
    return atomic_load_explicit(&region_count, memory_order_relaxed) == 0;
}

/* ---- Regions -------------------------------------------------------------------------------- */

static pri_region **bucket_of(uintptr_t page)
{
    return &buckets[(page * UINT64_C(0x9e3779b97f4a7c15) >> 32) % BUCKETS];
}

static uintptr_t page_of(const void *address) { return (uintptr_t)address >> PAGE_BITS; }

static void add_region(pri_region *r, pri_thing *t, const void *begin, size_t size)
{
    pri_region **bucket = bucket_of(page_of(begin));
    *r = (pri_region){.next = *bucket, .begin = begin, .size = size, .thing = t};
    *bucket = r;
    atomic_fetch_add(&region_count, 1);
}

static void remove_region(pri_region *r)
{
    pri_region **place = bucket_of(page_of(r->begin));
    while (*place != r) place = &(*place)->next;
    *place = r->next;
    atomic_fetch_sub(&region_count, 1);
}

pri_thing *pri_book_find(const void *begin, pri_thing_kind kind)
{
    for (const pri_region *r = *bucket_of(page_of(begin)); r; r = r->next)
        if (r->begin == begin && r == &r->thing->own && r->thing->kind == kind) return r->thing;
    return NULL;
}

/* What says more of two: an operation more than its buffers. */
static const pri_region *better(const pri_region *a, const pri_region *b)
{
    if (!a) return b;
    if (a->thing->kind != b->thing->kind) return a->thing->kind < b->thing->kind ? a : b;
    return a == &a->thing->own ? a : b;
}

const pri_region *pri_book_find_in(const char *low, const char *high)
{
    const pri_region *found = NULL;
    uintptr_t         first = page_of(low), pages = page_of(high - 1) - first + 1;
    for (uintptr_t i = 0; i < pages && i < BUCKETS; i++) {
        const pri_region *r = pages < BUCKETS ? *bucket_of(first + i) : buckets[i];
        for (; r; r = r->next)
            if (r->begin >= low && r->begin < high) found = better(found, r);
    }
    return found;
}

const pri_region *pri_book_find_around(const char *byte)
{
    const pri_region *found = NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const pri_region *r = buckets[i]; r; r = r->next)
            if (byte >= r->begin && byte < r->begin + r->size) found = better(found, r);
    return found;
}

/* ---- Things --------------------------------------------------------------------------------- */

static void *memory(void *ptr, size_t size)
{
    ptr = realloc(ptr, size);
    if (!ptr) pri_abort("checked build: out of memory");
    return ptr;
}

/* The book of a loop, NULL if it has none as yet; with create it is made. */
static book *book_of(const pro_loop *loop, bool create)
{
    book *empty = NULL;
    for (size_t i = 0; i < book_count; i++) {
        if (books[i]->loop == loop) return books[i];
        if (pri_list_empty(&books[i]->things)) empty = books[i];
    }
    if (!create) return NULL;
    if (!empty) {
        books = memory(books, (book_count + 1) * sizeof(book *));
        empty = books[book_count++] = memory(NULL, sizeof(book));
        pri_list_init(&empty->things);
    }
    empty->loop = loop;
    return empty;
}

pri_thing *pri_book_add(const pro_loop *loop, pri_thing_kind kind, const void *begin, size_t size)
{
    pri_thing *t = unused;
    if (t)
        unused = (pri_thing *)(void *)t->of_loop.next;
    else
        t = memory(NULL, sizeof *t);
    memset(t, 0, sizeof *t);
    t->kind = kind;
    memcpy(&t->was, begin, size);
    add_region(&t->own, t, begin, size);
    pri_list_append(&book_of(loop, true)->things, &t->of_loop);
    return t;
}

void pri_book_add_buffers(pri_thing *t, const pro_vec *vecs, size_t count, bool is_poisoned)
{
    t->buffers = count == 1 ? &t->one : memory(NULL, count * sizeof(pri_region));
    t->buffer_count = count;
    t->is_poisoned = is_poisoned;
    for (size_t i = 0; i < count; i++) {
        add_region(&t->buffers[i], t, vecs[i].base, vecs[i].len);
        t->bytes += vecs[i].len;
        if (is_poisoned) poison(&t->buffers[i]);
    }
}

void pri_book_remove(pri_thing *t)
{
    remove_region(&t->own);
    for (size_t i = 0; i < t->buffer_count; i++) {
        if (t->is_poisoned) unpoison(&t->buffers[i]);
        remove_region(&t->buffers[i]);
    }
    if (t->buffers != &t->one) free(t->buffers);
    pri_list_unlink(&t->of_loop);
    t->of_loop.next = (pri_link *)(void *)unused;
    unused = t;
}

pri_link *pri_book_of(const pro_loop *loop)
{
    book *its = book_of(loop, false);
    return its && !pri_list_empty(&its->things) ? &its->things : NULL;
}

void pri_book_count(pro_scope *scope)
{
    for (; scope && scope->pri_parent; scope = scope->pri_parent) {
        pri_thing *t = pri_book_find(scope, PRI_THING_SCOPE);
        bool       is_new = !t;
        if (is_new) t = pri_book_add(scope->pri_loop, PRI_THING_SCOPE, scope, sizeof *scope);
        t->count++;
        if (!is_new) return;
    }
}

void pri_book_uncount(const pro_scope *scope)
{
    pri_thing *t;
    while (scope && (t = pri_book_find(scope, PRI_THING_SCOPE)) && --t->count == 0) {
        scope = t->was.scope.pri_parent;
        pri_book_remove(t);
    }
}
