/* The context switch for x86-64, Windows ABI.
 *
 * The same idea as switch_x86_64.S.  What differs: a call also preserves rdi, rsi and xmm6 to xmm15;
 * arguments come in rcx, rdx, r8, r9 and then on the stack, above 32 bytes that belong to the callee;
 * and the system keeps the bounds of the stack in the thread's block (TIB, at gs).  It believes them:
 * the handler of a frame outside of them is not called, and __chkstk compares with them.  So they travel
 * with the stack, and so does the list of handlers, which Wine uses, and Windows not any more: Wine
 * would take those on the thread's own stack for handlers of ours.  From high to low a context that does not run has:
 *
 *     at + 264   where to go on       what the call of pri_context_switch pushed
 *     at + 256   rbp
 *     at + 248   rbx
 *     at + 240   rdi
 *     at + 232   rsi
 *     at + 224   r12
 *     at + 216   r13
 *     at + 208   r14
 *     at + 200   r15
 *     at + 184   ExceptionList
 *     at + 176   StackBase
 *     at + 168   StackLimit
 *     at + 160   DeallocationStack
 *     at +   0   xmm6 to xmm15, from low to high; at is a multiple of 16
 *
 * The .seh directives describe the frame before and after rsp changed in the same words, since both
 * stacks look the same there.  The way on is a return, as the unwinder wants to see it at the end of a
 * function; the jump of the other file is not faster here.  Neither is for a process with shadow stacks,
 * which a linker has to be asked for (/CETCOMPAT). */
#if defined(__x86_64__) && defined(_WIN32)

#define EXCEPTION_LIST %gs:0x0
#define STACK_BASE %gs:0x8
#define STACK_LIMIT %gs:0x10
#define DEALLOCATION_STACK %gs:0x1478

        .text

        .globl  pri_context_switch
        .def    pri_context_switch; .scl 2; .type 32; .endef
        .p2align 4
        .seh_proc pri_context_switch
pri_context_switch: /* rcx = from, rdx = to */
        pushq   %rbp
        .seh_pushreg %rbp
        pushq   %rbx
        .seh_pushreg %rbx
        pushq   %rdi
        .seh_pushreg %rdi
        pushq   %rsi
        .seh_pushreg %rsi
        pushq   %r12
        .seh_pushreg %r12
        pushq   %r13
        .seh_pushreg %r13
        pushq   %r14
        .seh_pushreg %r14
        pushq   %r15
        .seh_pushreg %r15
        subq    $200, %rsp
        .seh_stackalloc 200
        movaps  %xmm6, 0(%rsp)
        .seh_savexmm %xmm6, 0
        movaps  %xmm7, 16(%rsp)
        .seh_savexmm %xmm7, 16
        movaps  %xmm8, 32(%rsp)
        .seh_savexmm %xmm8, 32
        movaps  %xmm9, 48(%rsp)
        .seh_savexmm %xmm9, 48
        movaps  %xmm10, 64(%rsp)
        .seh_savexmm %xmm10, 64
        movaps  %xmm11, 80(%rsp)
        .seh_savexmm %xmm11, 80
        movaps  %xmm12, 96(%rsp)
        .seh_savexmm %xmm12, 96
        movaps  %xmm13, 112(%rsp)
        .seh_savexmm %xmm13, 112
        movaps  %xmm14, 128(%rsp)
        .seh_savexmm %xmm14, 128
        movaps  %xmm15, 144(%rsp)
        .seh_savexmm %xmm15, 144
        .seh_endprologue
        movq    EXCEPTION_LIST, %r10
        movq    STACK_BASE, %rax
        movq    STACK_LIMIT, %r8
        movq    DEALLOCATION_STACK, %r9
        movq    %r10, 184(%rsp)
        movq    %rax, 176(%rsp)
        movq    %r8, 168(%rsp)
        movq    %r9, 160(%rsp)
        movq    %rsp, (%rcx)
        movq    (%rdx), %rsp
        movq    184(%rsp), %r10
        movq    176(%rsp), %rax
        movq    168(%rsp), %r8
        movq    160(%rsp), %r9
        movq    %r10, EXCEPTION_LIST
        movq    %rax, STACK_BASE
        movq    %r8, STACK_LIMIT
        movq    %r9, DEALLOCATION_STACK
        movaps  0(%rsp), %xmm6
        movaps  16(%rsp), %xmm7
        movaps  32(%rsp), %xmm8
        movaps  48(%rsp), %xmm9
        movaps  64(%rsp), %xmm10
        movaps  80(%rsp), %xmm11
        movaps  96(%rsp), %xmm12
        movaps  112(%rsp), %xmm13
        movaps  128(%rsp), %xmm14
        movaps  144(%rsp), %xmm15
        addq    $200, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rsi
        popq    %rdi
        popq    %rbx
        popq    %rbp
        retq
        .seh_endproc

/* Where a new context goes on first, with entry in rbx and arg in r12 (pri_context_make put them
 * there), and rsp aligned to 16 with the callee's 32 bytes above it; above those stands 0 as the return
 * address, where unwinders end. */
        .globl  pri_context_begin
        .def    pri_context_begin; .scl 2; .type 32; .endef
        .p2align 4
        .seh_proc pri_context_begin
pri_context_begin:
        .seh_stackalloc 32
        .seh_endprologue
        xorl    %ebp, %ebp
        movq    %r12, %rcx
        callq   *%rbx
        ud2     /* entry returned */
        .seh_endproc

/* void pri_context_make(context = rcx, low = rdx, size = r8, entry = r9, arg = 40(%rsp)) */
        .globl  pri_context_make
        .def    pri_context_make; .scl 2; .type 32; .endef
        .p2align 4
pri_context_make:
        addq    %rdx, %r8             /* high */
        leaq    -320(%r8), %rax       /* 272 bytes as above, the callee's 32, 0, and 8 to align */
        movq    %rdx, 160(%rax)
        movq    %rdx, 168(%rax)
        movq    %r8, 176(%rax)
        movq    $-1, 184(%rax)        /* the end of the list */
        movq    40(%rsp), %r10
        leaq    pri_context_begin(%rip), %r11
        xorl    %edx, %edx
        movq    %rdx, 200(%rax)       /* r15 */
        movq    %rdx, 208(%rax)       /* r14 */
        movq    %rdx, 216(%rax)       /* r13 */
        movq    %r10, 224(%rax)       /* r12 = arg */
        movq    %rdx, 232(%rax)       /* rsi */
        movq    %rdx, 240(%rax)       /* rdi */
        movq    %r9, 248(%rax)        /* rbx = entry */
        movq    %rdx, 256(%rax)       /* rbp: the end of the chain */
        movq    %r11, 264(%rax)
        movq    %rdx, 304(%rax)
        movq    %rax, (%rcx)
        retq

#endif

#ifdef __ELF__
/* Also where there is nothing above: an object that does not say so gets an executable stack. */
    .section .note.GNU-stack, "", @progbits
#endif
