/* The context switch on Windows: the system knows the stack, and what only this ABI preserves is. */
#include "unit.h"

#include <stdbool.h>

#include <windows.h>

#include "co/switch.h"

enum { STACK = 64 << 10, MINE = 0xE1234567 };

typedef void WINAPI stack_limits(ULONG_PTR *low, ULONG_PTR *high);

static pri_context here, there;
static char        memory[STACK] __attribute__((aligned(64)));

static void back(void) { pri_context_switch(&there, &here); }

static void run(void (*function)(void *arg))
{
    pri_context_make(&there, memory, STACK, function, NULL);
    pri_context_switch(&here, &there);
}

static void limits(ULONG_PTR *low, ULONG_PTR *high)
{
    FARPROC found = GetProcAddress(GetModuleHandleW(L"kernel32"), "GetCurrentThreadStackLimits");
    ((stack_limits *)(void (*)(void))found)(low, high);
}

static ULONG_PTR low_there, high_there;

static void look(void *arg)
{
    (void)arg;
    limits(&low_there, &high_there);
    back();
}

UNIT(the_system_knows_the_stack_that_runs)
{
    ULONG_PTR low, high, low_after, high_after;
    limits(&low, &high);
    run(look);
    limits(&low_after, &high_after);
    CHECK_EQ(low_there, (ULONG_PTR)memory);
    CHECK_EQ(high_there, (ULONG_PTR)memory + STACK);
    CHECK(low_after == low && high_after == high);
}

static int raised, frames;

static LONG CALLBACK on_exception(EXCEPTION_POINTERS *what)
{
    if (what->ExceptionRecord->ExceptionCode != MINE) return EXCEPTION_CONTINUE_SEARCH;
    raised++;
    return EXCEPTION_CONTINUE_EXECUTION;
}

static void raise_some(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        RaiseException(MINE, 0, 0, NULL);
        back();
    }
    back();
}

UNIT(an_exception_on_it_is_handled)
{
    void *handler = AddVectoredExceptionHandler(1, on_exception);
    raised = 0;
    run(raise_some);
    for (int i = 1; i < 3; i++) pri_context_switch(&here, &there);
    RemoveVectoredExceptionHandler(handler);
    CHECK_EQ(raised, 3);
}

/* A function with a handler for its frame, as a __try of other compilers makes it. */
void raise_in_frame(void);
int  frame_handler(void *record, void *frame, void *context, void *dispatcher);
__asm__(".text\n.globl raise_in_frame\n.seh_proc raise_in_frame\n"
        ".seh_handler frame_handler, @except\n"
        "raise_in_frame:\n"
        "subq $40, %rsp\n.seh_stackalloc 40\n.seh_endprologue\n"
        "movl $0xE1234567, %ecx\nxorl %edx, %edx\nxorl %r8d, %r8d\nxorl %r9d, %r9d\n"
        "call RaiseException\nnop\naddq $40, %rsp\nret\n.seh_endproc\n");

int frame_handler(void *record, void *frame, void *context, void *dispatcher)
{
    (void)record, (void)frame, (void)context, (void)dispatcher;
    raised++;
    return 0; /* ExceptionContinueExecution */
}

static void raise_with_handler(void *arg)
{
    (void)arg;
    raise_in_frame();
    back();
    raise_in_frame();
    back();
}

UNIT(the_handler_of_a_frame_on_it_is_called)
{
    raised = 0;
    run(raise_with_handler);
    raise_in_frame();
    pri_context_switch(&here, &there);
    raise_in_frame();
    CHECK_EQ(raised, 4);
}

static void walk(void *arg)
{
    void *calls[32];
    (void)arg;
    frames = RtlCaptureStackBackTrace(0, 32, calls, NULL);
    back();
}

UNIT(a_walk_over_its_frames_ends)
{
    run(walk);
    CHECK(frames > 0 && frames <= 4); /* walk, pri_context_begin */
}

static volatile int depth;

/* Frames above a page are probed against the bounds that the system keeps. */
__attribute__((noinline)) static int deep(int levels)
{
    volatile char frame[6000];
    frame[0] = frame[sizeof frame - 1] = (char)levels;
    return levels ? deep(levels - 1) + (frame[0] == (char)levels) : 0;
}

static void go_deep(void *arg)
{
    (void)arg;
    depth = deep(8);
    back();
}

UNIT(large_frames_are_probed)
{
    run(go_deep);
    CHECK_EQ(depth, 8);
}

/* xmm6 to xmm15 hold a number each, over f. */
static bool xmm_are_held(void (*f)(void), double first)
{
    double in[10], out[10];
    for (int i = 0; i < 10; i++) in[i] = first + i, out[i] = 0;
    __asm__ volatile("movsd 0(%[in]), %%xmm6\n\tmovsd 8(%[in]), %%xmm7\n\t"
                     "movsd 16(%[in]), %%xmm8\n\tmovsd 24(%[in]), %%xmm9\n\t"
                     "movsd 32(%[in]), %%xmm10\n\tmovsd 40(%[in]), %%xmm11\n\t"
                     "movsd 48(%[in]), %%xmm12\n\tmovsd 56(%[in]), %%xmm13\n\t"
                     "movsd 64(%[in]), %%xmm14\n\tmovsd 72(%[in]), %%xmm15\n\t"
                     "movq %%rsp, %%r12\n\tandq $-16, %%rsp\n\tsubq $32, %%rsp\n\t"
                     "callq *%[f]\n\tmovq %%r12, %%rsp\n\t"
                     "movsd %%xmm6, 0(%[out])\n\tmovsd %%xmm7, 8(%[out])\n\t"
                     "movsd %%xmm8, 16(%[out])\n\tmovsd %%xmm9, 24(%[out])\n\t"
                     "movsd %%xmm10, 32(%[out])\n\tmovsd %%xmm11, 40(%[out])\n\t"
                     "movsd %%xmm12, 48(%[out])\n\tmovsd %%xmm13, 56(%[out])\n\t"
                     "movsd %%xmm14, 64(%[out])\n\tmovsd %%xmm15, 72(%[out])"
                     :
                     : [in] "b"(in), [out] "D"(out), [f] "S"(f)
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "xmm0", "xmm1", "xmm2",
                       "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15", "memory", "cc");
    return memcmp(in, out, sizeof in) == 0;
}

static bool held_there;

static void hold(void *arg)
{
    (void)arg;
    for (;;) held_there &= xmm_are_held(back, 1000);
}

static void forth(void) { pri_context_switch(&here, &there); }

UNIT(xmm_registers_live_through_a_switch)
{
    held_there = true;
    run(hold);
    for (int i = 0; i < 100; i++) CHECK(xmm_are_held(forth, 2000 + i));
    CHECK(held_there);
}
