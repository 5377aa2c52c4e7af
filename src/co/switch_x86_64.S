/* The context switch for x86-64, System V ABI.
 *
 * A call preserves rbx, rbp, r12 to r15 and rsp; they are pushed, and the context is the stack pointer
 * then.  (mxcsr and the x87 control word are of the thread: switch.h says why.)  From high to low a
 * context that does not run has:
 *
 *     at + 48   where to go on        what the call of pri_context_switch pushed
 *     at + 40   rbp                   first, so that a walk by frame pointers finds its way
 *     at + 32   rbx
 *     at + 24   r12
 *     at + 16   r13
 *     at +  8   r14
 *     at +  0   r15
 *
 * scripts/gdb/proactor_gdb.py knows this picture.
 *
 * The way on is an indirect jump and not a return: the address is never the one that the processor's
 * stack of return addresses holds, while the indirect predictor learns the place to go.
 *
 * The CFI describes the frame before and after rsp changed in the same words, since both stacks look
 * the same at that point: debuggers and unwinders can stop anywhere in here. */
#if defined(__x86_64__) && !defined(_WIN32) && !defined(PROACTOR_CO_UCONTEXT)

#if defined(__CET__)
#include <cet.h>
#else
#define _CET_ENDBR
#endif

        .text

        .globl  pri_context_switch
        .hidden pri_context_switch
        .type   pri_context_switch, @function
        .p2align 4
pri_context_switch: /* rdi = from, rsi = to */
        .cfi_startproc
        _CET_ENDBR
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        movq    %rsp, (%rdi)
        movq    (%rsi), %rsp
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        jmp     *%rcx
        .cfi_endproc
        .size   pri_context_switch, . - pri_context_switch

/* Where a new context goes on first, with entry in rbx and arg in r12 (pri_context_make put them
 * there), and rsp aligned to 16.  The outermost frame: nothing called it, and unwinders are told. */
        .globl  pri_context_begin
        .hidden pri_context_begin
        .type   pri_context_begin, @function
        .p2align 4
pri_context_begin:
        .cfi_startproc
        .cfi_undefined %rip
        _CET_ENDBR
        xorl    %ebp, %ebp
        movq    %r12, %rdi
        callq   *%rbx
        ud2     /* entry returned */
        .cfi_endproc
        .size   pri_context_begin, . - pri_context_begin

/* void pri_context_make(context = rdi, low = rsi, size = rdx, entry = rcx, arg = r8) */
        .globl  pri_context_make
        .hidden pri_context_make
        .type   pri_context_make, @function
        .p2align 4
pri_context_make:
        .cfi_startproc
        _CET_ENDBR
        leaq    -72(%rsi,%rdx), %rax /* 7 words as above, and two: a call finds rsp aligned */
        leaq    pri_context_begin(%rip), %rdx
        xorl    %esi, %esi
        movq    %rsi, 0(%rax)  /* r15 */
        movq    %rsi, 8(%rax)  /* r14 */
        movq    %rsi, 16(%rax) /* r13 */
        movq    %r8, 24(%rax)  /* r12 = arg */
        movq    %rcx, 32(%rax) /* rbx = entry */
        movq    %rsi, 40(%rax) /* rbp: the end of the chain */
        movq    %rdx, 48(%rax)
        movq    %rsi, 56(%rax)
        movq    %rsi, 64(%rax)
        movq    %rax, (%rdi)
        retq
        .cfi_endproc
        .size   pri_context_make, . - pri_context_make

#endif

#if defined(__ELF__)
        .section .note.GNU-stack, "", @progbits
#endif
