/* Checked builds; see checked.h.
 *
 * What is the library's is written down in the books (checked_book.h): each operation in flight with
 * its buffers, each open handle, each scope in which something lives.  They are asked
 *
 *     when an operation begins   right thread and loop, its memory not in the books already?
 *     after every handler        did it change anything that is in them?
 *     when an operation ends     is it as it was, and what it sent?
 *     when a stack ends          does anything of it stand there?
 *
 * and under AddressSanitizer also
 *
 *     at every free              does anything lie in that block?
 *     when it finds an error     whose memory is that?
 *
 * There the buffers of receives are poisoned, so that touching one is reported where it happens.
 * Nobody but the kernel may write to them: an engine that makes the calls itself makes them past the
 * C library (os/posix/transfer.c); one with a network of its own (the simulator) copies by itself, and
 * its buffers are not poisoned.
 *
 * Posts are in no book: they are made in signal handlers, where there is neither memory nor a lock. */
#include "core/checked.h"

#include <stdio.h>
#include <string.h>

#include "core/checked_book.h"
#include "core/list.h"
#include "core/op.h"

/* Reads what may be gone: only to say so. */
#define BLIND __attribute__((no_sanitize("address", "undefined"), noinline))

enum {
    SWEEP_MAX = 32,             /* things looked at after one handler, each time others */
    SWEEP_BYTES_MAX = 4096,     /* sends up to this size are looked at then, too */
    CHECKSUM_ALL_MAX = 1 << 16, /* pieces up to this size are summed whole */
    CHECKSUM_ENDS = 1 << 14,    /* of a longer one these ends, and 8 of each 64 bytes between */
    CHECKSUM_STEP = 64
};

/* The handler that runs, and the place that pri_checked_caller was told. */
static _Thread_local struct {
    const char  *site; /* NULL: no handler */
    unsigned     kind;
    pro_handler *handler;
    pro_loop    *loop;
    const void  *caller;
} here;

/* ---- Sanitizers ----------------------------------------------------------------------------- */

#ifdef PRI_ASAN
void  *__asan_region_is_poisoned(void *addr, size_t size);
void  *__asan_get_report_address(void);
int    __sanitizer_get_ownership(const volatile void *p);
size_t __sanitizer_get_allocated_size(const volatile void *p);
void   __sanitizer_symbolize_pc(void *pc, const char *format, char *out, size_t size);
void   __sanitizer_print_stack_trace(void);
int    __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void *, size_t),
                                                 void (*freed)(const volatile void *));

static const char *first_bad_byte(const void *begin, size_t size)
{
    return __asan_region_is_poisoned((void *)(uintptr_t)begin, size);
}

/* address: to which a call returns. */
static void symbol(const void *address, const char *format, char *text, size_t size)
{
    __sanitizer_symbolize_pc((void *)(uintptr_t)address, format, text, size);
}

static void print_stack(void) { __sanitizer_print_stack_trace(); }
#else
static const char *first_bad_byte(const void *begin, size_t size)
{
    (void)begin, (void)size;
    return NULL;
}

static void symbol(const void *address, const char *format, char *text, size_t size)
{
    (void)address, (void)format, (void)size;
    *text = '\0';
}

static void print_stack(void) {}
#endif

/* ---- Saying it ------------------------------------------------------------------------------ */

typedef struct text {
    char at[640];
} text;

static const char *name_of(unsigned kind)
{
    pro_op op = {.pri_kernel_step = {.op_kind = (uint8_t)kind}};
    return pro_op_name(&op);
}

/* "a recv in flight, initiated at a.c:1" and the like. */
static text describe(const pri_region *r)
{
    const pri_thing *t = r->thing;
    text             says;
    const char      *kind = t->kind == PRI_THING_HANDLE ? pri_handle_name(&t->was.handle) : "";
    if (t->kind == PRI_THING_OP && r != &t->own)
        snprintf(says.at, sizeof says.at, "a buffer (%zu bytes) of %s, initiated at %s", r->size,
                 pro_op_name(&t->was.op), t->was.op.pri_site);
    else if (t->kind == PRI_THING_OP)
        snprintf(says.at, sizeof says.at, "an operation in flight: %s, initiated at %s",
                 pro_op_name(&t->was.op), t->was.op.pri_site);
    else if (t->kind == PRI_THING_HANDLE && t->used_at)
        snprintf(says.at, sizeof says.at, "a %s that is open, last used by %s at %s", kind,
                 name_of(t->used_by), t->used_at);
    else if (t->kind == PRI_THING_HANDLE)
        snprintf(says.at, sizeof says.at, "a %s that is open, and was not used as yet", kind);
    else
        snprintf(says.at, sizeof says.at, "a scope in which %u live", t->count);
    if (t->kind != PRI_THING_SCOPE) return says;

    /* One of them, for a start. */
    const pri_link *things = pri_book_of(t->was.scope.pri_loop);
    for (const pri_link *l = things->next; l != things; l = l->next) {
        const pri_thing *other = pro_container_of((pri_link *)(uintptr_t)l, pri_thing, of_loop);
        if (other->kind != PRI_THING_OP || other->scope != (const void *)t->own.begin) continue;
        size_t len = strlen(says.at);
        snprintf(says.at + len, sizeof says.at - len, ", %s initiated at %s among them",
                 pro_op_name(&other->was.op), other->was.op.pri_site);
        break;
    }
    return says;
}

/* "a.c:12: " of the caller, if that can be known. */
static text caller(void)
{
    text says = {""};
    if (here.caller) symbol(here.caller, "%s:%l: ", says.at, sizeof says.at);
    return says;
}

/* When it was noticed: during, or after which handler. */
static text noticed(const char *when)
{
    text says, handler = {""};
    if (when || !here.site) {
        snprintf(says.at, sizeof says.at, "%s", when ? when : "outside of any handler");
        return says;
    }
    symbol((const char *)(uintptr_t)here.handler + 1, " (%f, %s:%l)", handler.at,
           sizeof handler.at);
    snprintf(says.at, sizeof says.at, "after the handler of %s, initiated at %s%.300s",
             name_of(here.kind), here.site, handler.at);
    return says;
}

/* ---- Is it as it was? ------------------------------------------------------------------------ */

/* What of it changed; NULL: nothing. */
BLIND static const char *change_of_op(const pro_op *op, const pro_op *was)
{
    const pri_step *step = &op->pri_kernel_step, *step_was = &was->pri_kernel_step;
    unsigned        state = step->op_state & 0x0fu; /* its PRI_STEP_ bits lie above */
    if (state == PRI_IDLE && !op->pri_loop) return "its memory was cleared";
    if (state < PRI_QUEUED || state > PRI_READY || step->op_kind != step_was->op_kind ||
        step->generation != step_was->generation || op->pri_loop != was->pri_loop ||
        op->pri_site != was->pri_site)
        return "its memory was written over";
    if (op->scope != was->scope) return "its scope was set";
    bool is_ours = step->op_kind == PRI_OP_EXIT; /* the wait for a child, which pauses by it */
    if (op->deadline_ns != was->deadline_ns && !is_ours) return "its deadline was set";
    return NULL;
}

BLIND static const char *change_of_handle(const pro_handle *handle, const pro_handle *was)
{
    if (!handle->pri_loop) return "its memory was cleared";
    if (handle->pri_loop == was->pri_loop && handle->pri_scope == was->pri_scope &&
        handle->pri_kind == was->pri_kind &&
        (handle->pri_state == PRI_HANDLE_OPEN || handle->pri_state == PRI_HANDLE_CLOSING))
        return NULL;
    return "its memory was written over";
}

BLIND static const char *change_of_scope(const pro_scope *scope, const pro_scope *was)
{
    if (!scope->pri_loop) return "its memory was cleared";
    if (scope->pri_loop == was->pri_loop && scope->pri_parent == was->pri_parent &&
        scope->pri_state < PRI_SCOPE_ENDED)
        return NULL;
    return "its memory was written over";
}

BLIND static uint64_t sum_bytes(uint64_t sum, const char *begin, size_t size, size_t step)
{
    typedef uint64_t __attribute__((may_alias, aligned(1))) word;
    for (; size >= 8; begin += step, size -= step < size ? step : size)
        sum = (sum ^ *(const word *)(const void *)begin) * UINT64_C(0x9e3779b97f4a7c15) ^ sum >> 29;
    for (; size > 0 && step == 8; begin++, size--)
        sum = (sum ^ (unsigned char)*begin) * UINT64_C(0x100000001b3);
    return sum;
}

static uint64_t sum_of(const pri_thing *t)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < t->buffer_count; i++) {
        const char *begin = t->buffers[i].begin;
        size_t      size = t->buffers[i].size;
        if (size <= CHECKSUM_ALL_MAX) {
            sum = sum_bytes(sum, begin, size, 8);
            continue;
        }
        sum = sum_bytes(sum, begin, CHECKSUM_ENDS, 8);
        sum = sum_bytes(sum, begin, size, CHECKSUM_STEP);
        sum = sum_bytes(sum, begin + size - CHECKSUM_ENDS, CHECKSUM_ENDS, 8);
    }
    return sum;
}

/* It must be as it was.  when: how it was noticed; NULL: after the handler that runs. */
static void verify(const pri_thing *t, const char *when, size_t bytes_max)
{
    const void *now = t->own.begin;
    const char *change = t->kind == PRI_THING_OP       ? change_of_op(now, &t->was.op)
                         : t->kind == PRI_THING_HANDLE ? change_of_handle(now, &t->was.handle)
                                                       : change_of_scope(now, &t->was.scope);
    if (first_bad_byte(now, t->own.size)) change = "its memory was freed, or its frame was left,";
    if (change)
        pri_abort("%s while it was the library's: %s; noticed %s", change, describe(&t->own).at,
                  noticed(when).at);
    if (t->is_summed && t->bytes <= bytes_max && sum_of(t) != t->sum)
        pri_abort("what is being sent was changed: %s; noticed %s", describe(&t->buffers[0]).at,
                  noticed(when).at);
}

/* Look at some of a loop's things, each time at others. */
static void sweep(const pro_loop *loop, const char *when)
{
    pri_link *things = pri_book_of(loop);
    if (!things) return;
    const pri_link *last = things->prev;
    for (int i = 0; i < SWEEP_MAX; i++) {
        pri_link *link = things->next;
        verify(pro_container_of(link, pri_thing, of_loop), when, SWEEP_BYTES_MAX);
        pri_list_unlink(link);
        pri_list_append(things, link);
        if (link == last) break;
    }
}

/* ---- Memory that goes away ------------------------------------------------------------------- */

#ifdef PRI_ASAN
static void allocated(const volatile void *ptr, size_t size) { (void)ptr, (void)size; }

static void freed(const volatile void *ptr)
{
    if (pri_book_is_inside() || pri_book_is_empty()) return;
    if (!__sanitizer_get_ownership(ptr)) return;
    const char *low = (const char *)(uintptr_t)ptr;
    size_t      size = __sanitizer_get_allocated_size(ptr);
    pri_book_enter();
    const pri_region *r = pri_book_find_in(low, low + size);
    if (r) {
        fprintf(stderr, "proactor: free(), called here:\n");
        print_stack();
        pri_abort("%zu bytes are freed, and in them is %s", size, describe(r).at);
    }
    pri_book_leave();
}

/* AddressSanitizer is about to report an error. */
__attribute__((weak, visibility("default"))) void __asan_on_error(void);
void                                              __asan_on_error(void)
{
    if (pri_book_is_inside()) return;
    pri_book_enter();
    const pri_region *r = pri_book_find_around(__asan_get_report_address());
    if (r)
        fprintf(stderr, "proactor: the memory of the following report belongs to %s\n",
                describe(r).at);
    pri_book_leave();
}

static void watch_frees(void)
{
    static bool done;
    if (!done) __sanitizer_install_malloc_and_free_hooks(allocated, freed);
    done = true;
}
#else
static void watch_frees(void) {}
#endif

void pri_checked_stack_ends(const void *low, const void *high, const char *name, const char *site)
{
    pri_book_enter();
    const pri_region *r = low < high ? pri_book_find_in(low, high) : NULL;
    if (r)
        pri_abort("%s%s%s has returned, and in its frames is %s", name ? name : "a coroutine",
                  site ? ", started at " : "", site ? site : "", describe(r).at);
    /* AddressSanitizer keeps frames elsewhere, but knows that one was left. */
    char when[256];
    snprintf(when, sizeof when, "as %s%s%s returned", name ? name : "a coroutine",
             site ? ", started at " : "", site ? site : "");
    if (here.loop) sweep(here.loop, when);
    pri_book_leave();
}

/* ---- Operations ------------------------------------------------------------------------------ */

static bool is_foreign(const pro_loop *loop) { return loop->thread != pri_os_thread_self(); }

void pri_checked_may_begin(pro_op *op, pro_loop *loop, const pro_handle *handle, const char *site,
                           unsigned kind)
{
    pri_book_enter();
    watch_frees();
    pri_thing *of_handle = handle ? pri_book_find(handle, PRI_THING_HANDLE) : NULL;
    if (handle && !of_handle && handle->pri_state != PRI_HANDLE_CLOSED)
        pri_abort(
            "%s: %s on memory that is no socket or listener of the library's: a copy of one, or "
            "written over",
            site, name_of(kind));
    if (of_handle) verify(of_handle, "now", 0);
    if (is_foreign(loop))
        pri_abort("%s: %s on another thread than the one its loop belongs to", site, name_of(kind));

    const pri_thing *in_flight = pri_book_find(op, PRI_THING_OP);
    pri_op_state     state = pri_op_state_of(op);
    if (in_flight && state == PRI_IDLE)
        pri_abort("%s: %s with memory that was cleared or written over while it was %s", site,
                  name_of(kind), describe(&in_flight->own).at);
    if (!in_flight && state != PRI_IDLE && state != PRI_POSTED)
        pri_abort("%s: %s with an operation that was never zeroed, or is a copy of one in flight",
                  site, name_of(kind));
    if (of_handle) {
        of_handle->used_at = site;
        of_handle->used_by = kind;
    }
    pri_book_leave();
}

static void check_scope(const pro_scope *scope, const pro_loop *loop, const char *site,
                        const char *name)
{
    if (!scope->pri_loop) pri_abort("%s%s in a scope that was never initialised", site, name);
    if (scope->pri_loop != loop)
        pri_abort("%s%s in a scope of another loop than its own", site, name);
    if (scope->pri_state == PRI_SCOPE_ENDED && scope->pri_parent)
        pri_abort("%s%s in a scope that has ended: its on_drained has begun", site, name);
}

void pri_checked_may_transfer(pro_op *op, const pro_handle *handle, const char *site, unsigned kind)
{
    pri_handle_must_be_made(handle, site);
    pri_checked_may_begin(op, handle->pri_loop, handle, site, kind);
}

void pri_checked_begun(const pro_op *op, pro_scope *scope)
{
    char site[256];
    snprintf(site, sizeof site, "%s: ", op->pri_site);
    check_scope(scope, op->pri_loop, site, pro_op_name(op));
    pri_book_enter();
    pri_thing *t = pri_book_add(op->pri_loop, PRI_THING_OP, op, sizeof *op);
    t->scope = scope;
    pri_book_count(scope);
    pri_book_leave();
}

/* Is all of it the program's to give?  Kernels write where no sanitizer sees it.  Operations of one
 * socket may share a buffer: they run one after the other, for who does not care what is in it. */
static void check_buffer(const pro_op *op, const pro_vec *vec)
{
    const char *bad = first_bad_byte(vec->base, vec->len);
    if (!bad) return;
    const pri_region *r = pri_book_find_around(bad);
    if (r && r->thing->was.op.pri_kernel_step.handle == op->pri_kernel_step.handle) return;
    if (r)
        pri_abort("%s: %s with memory that is %s", op->pri_site, pro_op_name(op), describe(r).at);
    print_stack();
    pri_abort("%s: %s with a buffer of %zu bytes, of which byte %zu is no memory of the program",
              op->pri_site, pro_op_name(op), vec->len, (size_t)(bad - (const char *)vec->base));
}

static size_t buffers_of_batch(const pri_step *step, pro_vec *vecs)
{
    const pro_message *messages = step->data;
    size_t             count = 0;
    for (size_t i = 0; i < step->len; i++)
        if (messages[i].len > 0) vecs[count++] = (pro_vec){messages[i].buf, messages[i].len};
    return count;
}

void pri_checked_buffers(const pro_op *op)
{
    const pri_step *step = &op->pri_kernel_step;
    const pro_vec   whole = {step->data, step->len};
    const pri_side *side = step->flags & PRI_STEP_VECTORS ? step->data : NULL;
    const pro_vec  *vecs = side ? side->vecs : &whole;
    size_t          count = side ? side->count : 1;
    pro_vec         of_batch[PRO_BATCH_MAX];
    pri_op_kind     op_kind = pri_op_kind_of(op);
    if (op_kind == PRI_OP_RECV_BATCH || op_kind == PRI_OP_SEND_BATCH) {
        vecs = of_batch;
        count = buffers_of_batch(step, of_batch);
    }
    if (count == 0) return; /* empty datagrams */
    pri_op_kind kind = pri_op_kind_of(op);
    bool        is_send =
        pri_op_is_write(kind) || kind == PRI_OP_FILE_WRITE || kind == PRI_OP_PATH_REPLACE;
    pri_book_enter();
    pri_thing *t = pri_book_find(op, PRI_THING_OP);
    for (size_t i = 0; i < count; i++) check_buffer(op, &vecs[i]);
    pri_book_add_buffers(t, vecs, count, !is_send && op->pri_loop->engine->net == &pri_os_net);
    t->is_summed = is_send;
    if (is_send) t->sum = sum_of(t);
    pri_book_leave();
}

void pri_checked_recorded(const pro_op *op)
{
    pri_book_enter();
    const pri_thing *t = pri_book_find(op, PRI_THING_OP);
    if (!t)
        pri_abort("a completion for memory that is no operation in flight: was it moved or freed?");
    verify(t, "as it completed", 0);
    pri_book_leave();
}

void pri_checked_delivered(const pro_op *op)
{
    pri_book_enter();
    pri_thing *t = pri_book_find(op, PRI_THING_OP);
    if (!t) pri_abort("a result for memory that is no operation in flight: was it moved or freed?");
    verify(t, "as it completed", SIZE_MAX);
    pri_book_remove(t);
    pri_book_leave();
}

void pri_checked_left(pro_scope *scope)
{
    pri_book_enter();
    pri_book_uncount(scope);
    pri_book_leave();
}

void pri_checked_abandoned(const pro_op *op)
{
    pri_book_enter();
    pri_thing *t = pri_book_find(op, PRI_THING_OP);
    if (t) {
        pro_scope *scope = t->scope;
        pri_book_remove(t);
        pri_book_uncount(scope);
    }
    pri_book_leave();
}

void pri_checked_runs(const pro_op *op)
{
    here.site = op->pri_site;
    here.kind = pri_op_kind_of(op);
    here.handler = op->pri_done;
    here.loop = op->pri_loop;
}

void pri_checked_ran(const pro_loop *loop)
{
    pri_book_enter();
    sweep(loop, NULL);
    here.site = NULL;
    here.loop = NULL;
    pri_book_leave();
}

void pri_checked_entered(const pro_loop *loop)
{
    pri_book_enter();
    here.site = NULL;
    here.loop = NULL;
    sweep(loop, NULL);
    pri_book_leave();
}

void pri_checked_canceled(const pro_op *op)
{
    pri_book_enter();
    const pri_thing *t = pri_book_find(op, PRI_THING_OP);
    pri_op_state     state = pri_op_state_of(op);
    if (t && is_foreign(t->was.op.pri_loop))
        pri_abort("%scanceled on another thread than its loop's: %s", caller().at,
                  describe(&t->own).at);
    if (t) verify(t, "as it was canceled", 0);
    if (!t && state != PRI_IDLE && state != PRI_POSTED)
        pri_abort(
            "%scanceled is memory that was never zeroed, or is a copy of an operation in flight",
            caller().at);
    pri_book_leave();
}

/* ---- Handles --------------------------------------------------------------------------------- */

void pri_checked_caller(const void *address) { here.caller = address; }

void pri_checked_handle_new(const pro_handle *handle, const pro_loop *loop, const pro_scope *scope)
{
    pri_book_enter();
    const pri_thing *t = pri_book_find(handle, PRI_THING_HANDLE);
    if (t) pri_abort("%smade again is %s", caller().at, describe(&t->own).at);
    if (is_foreign(loop))
        pri_abort("%sa socket or listener is made on another thread than its loop's", caller().at);
    if (scope) check_scope(scope, loop, caller().at, "a socket or listener is made");
    pri_book_leave();
}

void pri_checked_handle_open(const pro_handle *handle)
{
    pri_book_enter();
    watch_frees();
    pri_book_add(handle->pri_loop, PRI_THING_HANDLE, handle, sizeof *handle);
    pri_book_count(handle->pri_scope);
    pri_book_leave();
}

void pri_checked_handle_ended(const pro_handle *handle)
{
    pri_book_enter();
    pri_thing *t = pri_book_find(handle, PRI_THING_HANDLE);
    if (t) {
        pri_book_remove(t);
        pri_book_uncount(t->was.handle.pri_scope);
    }
    pri_book_leave();
}
