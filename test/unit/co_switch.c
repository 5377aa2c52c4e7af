/* The context switch by itself: what a call preserves is preserved, what is of the thread stays so. */
#include "unit.h"

#include <stdbool.h>

#include "co/sanitize.h"
#include "co/switch.h"

enum { STACK = 64 << 10 };

typedef struct side {
    pri_context here, there;
    pri_fiber   fiber_here, fiber_there;
    char       *memory;
    int         steps;
    void (*run)(struct side *s);
} side;

static void begin(void *arg)
{
    side *s = arg;
    pri_fiber_arrive(&s->fiber_there, &s->fiber_here);
    s->run(s);
    pri_fiber_end(&s->fiber_there, &s->fiber_here);
    pri_context_switch(&s->there, &s->here); /* for good */
    abort();
}

static void back(side *s)
{
    pri_fiber_leave(&s->fiber_there, &s->fiber_here);
    pri_context_switch(&s->there, &s->here);
    pri_fiber_arrive(&s->fiber_there, &s->fiber_here);
}

static void go(side *s)
{
    pri_fiber_here(&s->fiber_here);
    pri_fiber_leave(&s->fiber_here, &s->fiber_there);
    pri_context_switch(&s->here, &s->there);
    pri_fiber_arrive(&s->fiber_here, NULL);
}

static side set_up(void (*run)(side *s))
{
    side s = {.run = run, .memory = malloc(STACK)};
    CHECK(s.memory);
    s.memory[0] = 0;
    return s;
}

static void start(side *s)
{
#ifdef PRI_VALGRIND
    (void)VALGRIND_STACK_REGISTER(s->memory, s->memory + STACK - 1);
#endif
    pri_fiber_init(&s->fiber_there, s->memory, STACK);
    pri_context_make(&s->there, s->memory, STACK, begin, s);
}

static void tear_down(side *s) { free(s->memory); }

/* ---- Registers ------------------------------------------------------------------------------ */

#if defined(__x86_64__)

static bool is_held(side *s, void (*leave)(side *), uint64_t seed)
{
    uint64_t b = seed + 1, c = seed + 2, d = seed + 3, e = seed + 4, f = seed + 5;
    bool     same;
    /* rbp is the frame pointer here: that it lives is shown by the locals. */
    register uint64_t rb __asm__("rbx") = b;
    register uint64_t rc __asm__("r12") = c;
    register uint64_t rd __asm__("r13") = d;
    register uint64_t re __asm__("r14") = e;
    register uint64_t rf __asm__("r15") = f;
    __asm__ volatile("" : "+r"(rb), "+r"(rc), "+r"(rd), "+r"(re), "+r"(rf));
    leave(s);
    __asm__ volatile("" : "+r"(rb), "+r"(rc), "+r"(rd), "+r"(re), "+r"(rf));
    same = rb == b && rc == c && rd == d && re == e && rf == f;
    return same;
}

static bool all_held;

static void hold_there(side *s)
{
    for (uint64_t i = 0; i < 100; i++) all_held &= is_held(s, back, i << 32);
}

UNIT(registers_that_a_call_preserves_live_through_a_switch)
{
    side s = set_up(hold_there);
    start(&s);
    all_held = true;
    go(&s);
    for (uint64_t i = 1; i < 100; i++) all_held &= is_held(&s, go, ~(i << 32));
    go(&s);
    CHECK(all_held);
    tear_down(&s);
}

static uint32_t sse_get(void)
{
    uint32_t v;
    __asm__ volatile("stmxcsr %0" : "=m"(v));
    return v;
}

static void sse_set(uint32_t v) { __asm__ volatile("ldmxcsr %0" : : "m"(v)); }

static uint16_t x87_get(void)
{
    uint16_t v;
    __asm__ volatile("fnstcw %0" : "=m"(v));
    return v;
}

static void x87_set(uint16_t v) { __asm__ volatile("fldcw %0" : : "m"(v)); }

enum { SSE_UP = 2 << 13, X87_UP = 2 << 10 };
static uint32_t seen_sse[3];
static uint16_t seen_x87[3];

static void round_up_there(side *s)
{
    seen_sse[0] = sse_get();
    seen_x87[0] = x87_get();
    sse_set(sse_get() | SSE_UP);
    x87_set((uint16_t)(x87_get() | X87_UP));
    back(s);
    seen_sse[1] = sse_get();
    seen_x87[1] = x87_get();
}

UNIT(control_words_are_of_the_thread)
{
    uint32_t sse = sse_get();
    uint16_t x87 = x87_get();
    side     s = set_up(round_up_there);
    start(&s);
    go(&s);
    uint32_t sse_after = sse_get();
    uint16_t x87_after = x87_get();
    sse_set(sse);
    x87_set(x87);
    go(&s);
    CHECK_EQ(seen_sse[0] & SSE_UP, sse & SSE_UP);
    CHECK_EQ(seen_x87[0], x87);
    CHECK((sse_after & SSE_UP) != 0);
    CHECK((x87_after & X87_UP) != 0);
    CHECK_EQ(seen_sse[1] & SSE_UP, 0);
    CHECK_EQ(seen_x87[1], x87);
    tear_down(&s);
}

#endif

/* ---- The stack ------------------------------------------------------------------------------ */

static uintptr_t seen_at;
static bool      is_aligned;

/* A frame begins 16 bytes below an address that is a multiple of 16: return address, rbp. */
__attribute__((noinline)) static void look_at_alignment(side *s)
{
    char text[64];
    seen_at = (uintptr_t)__builtin_frame_address(0);
    snprintf(text, sizeof text, "%.3f %d", 1.5, s->steps); /* SSE spills fault when misaligned */
    is_aligned = seen_at % 16 == 0 && strcmp(text, "1.500 7") == 0;
}

UNIT(the_stack_is_aligned_and_the_one_given)
{
    side s = set_up(look_at_alignment);
    start(&s);
    s.steps = 7;
    go(&s);
    CHECK(is_aligned);
#if !defined(PRI_ASAN) /* its frames lie elsewhere */
    CHECK(seen_at >= (uintptr_t)s.memory && seen_at < (uintptr_t)s.memory + STACK);
#endif
    tear_down(&s);
}

static void count(side *s)
{
    for (;;) {
        s->steps++;
        if (s->steps % 1000 == 0) return;
        back(s);
    }
}

UNIT(ten_contexts_take_turns)
{
    side s[10];
    for (int i = 0; i < 10; i++) {
        s[i] = set_up(count);
        start(&s[i]);
    }
    for (int step = 0; step < 1000; step++)
        for (int i = 0; i < 10; i++) go(&s[i]);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(s[i].steps, 1000);
        tear_down(&s[i]);
    }
}

static void nest(side *s)
{
    side inner = set_up(count);
    start(&inner);
    for (int i = 0; i < 1000; i++) {
        go(&inner);
        back(s);
    }
    s->steps = inner.steps;
    tear_down(&inner);
}

UNIT(a_context_may_start_another)
{
    side s = set_up(nest);
    start(&s);
    for (int i = 0; i <= 1000; i++) go(&s);
    CHECK_EQ(s.steps, 1000);
    tear_down(&s);
}
