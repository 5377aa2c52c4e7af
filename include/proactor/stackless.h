/* Coroutines without a stack, for programs that count bytes: a handler that remembers where it was.
 *
 *     struct session {
 *         pro_scope  scope;
 *         pro_socket sock;
 *         pro_op     op;
 *         pro_place  place;                                     zeroed: the beginning
 *         char       buf[4096];
 *     };
 *
 *     static void echo(pro_op *op)                              the handler of all it awaits
 *     {
 *         struct session *s = op->user;
 *         PRO_BEGIN(&s->place);
 *         for (;;) {
 *             PRO_AWAIT(&s->place, pro_recv(op, &s->sock, s->buf, sizeof s->buf, echo));
 *             if (op->error != PRO_OK) break;
 *             PRO_AWAIT(&s->place, pro_send_all(op, &s->sock, s->buf, (size_t)op->value, echo));
 *             if (op->error != PRO_OK) break;
 *         }
 *         pro_scope_close(&s->scope);
 *         PRO_END(&s->place);
 *     }
 *     ...
 *     s->op.user = s;
 *     echo(&s->op);                                             runs up to the first await
 *
 * The function is an ordinary handler over ordinary operations, and everything said about those holds:
 * results are in the operation, cancel is pro_cancel and the scope, it ends by reaching PRO_END.  All
 * that the form costs is the four bytes of the place.
 *
 * What it cannot do: local variables do not live through an await (keep them beside the place; C++:
 * declare none with an initialiser before one), an await cannot stand inside a switch of one's own,
 * and two cannot share a line. */
#ifndef PROACTOR_STACKLESS_H
#define PROACTOR_STACKLESS_H

#include <proactor/base.h>

/* Where a function is; 0: at its beginning. */
typedef uint32_t pro_place;

/* The first statement: goes on where the place says.  place: a pro_place *, the same in all three;
 * it is evaluated several times. */
#define PRO_BEGIN(place)                                                                           \
    switch (*(place)) {                                                                            \
    case 0:

/* Initiate (the rest of the arguments, one call whose handler is this function), return, and go on
 * behind it when the handler is called.  Exactly one operation must be initiated with this function as
 * its handler: each completion goes on once. */
#define PRO_AWAIT(place, ...)                                                                      \
    do {                                                                                           \
        *(place) = (pro_place)__LINE__;                                                            \
        __VA_ARGS__;                                                                               \
        return;                                                                                    \
    case __LINE__:;                                                                                \
    } while (0)

/* The last statement: the place is at the beginning again, and the function returns. */
#define PRO_END(place)                                                                             \
    }                                                                                              \
    *(place) = 0

#endif
