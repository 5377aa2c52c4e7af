// Step 1 of docs/guide/migrate-to-coroutines.md: the handlers of a session are called by a coroutine.
//
//     spatch --sp-file mechanical.cocci 0-callbacks.c
//
// In your own program: put your name for `struct session` and its operation here, and the functions that
// you initiate with.  Only what is initiated with the session's operation changes.

// An initiating call no longer names who is called back, but leaves it for the coroutine: in a handler,
@@
typedef pro_op, pro_handler, pro_scope;
identifier initiate =~ "^pro_(connect|recv|recv_exactly|recvv|recvv_exactly|send|send_all|sendv|sendv_all|shutdown)$";
identifier handler, op, s, done;
expression list args;
@@
 handler(pro_op *op)
 {
     ...
     struct session *s = session_of(op);
     <...
-    initiate(op, args, done);
+    initiate(op, args, pro_awake);
+    s->next = done;
     ...>
 }

// and elsewhere.
@@
identifier initiate =~ "^pro_(connect|recv|recv_exactly|recvv|recvv_exactly|send|send_all|sendv|sendv_all|shutdown)$";
struct session *s;
identifier done != pro_awake;
expression list args;
@@
-initiate(&s->op, args, done);
+initiate(&s->op, args, pro_awake);
+s->next = done;

@@
@@
 struct session {
     ...
     pro_op op;
+    pro_handler *next; /* who looks at op when it has completed */
     ...
 };

// The coroutine: it awaits what was initiated, and then does what the loop did before.
@@
@@
+static void session_run(void *arg)
+{
+    struct session *s = arg;
+    next_frame(s);
+    while (s->next) {
+        pro_handler *next = s->next;
+        s->next = NULL;
+        pro_await(&s->op);
+        next(&s->op);
+    }
+}
+
 static void on_drained(pro_scope *scope) { ... }

// It is started where the first operation was.
@@
expression op;
struct session *s;
@@
-if (pro_accept_take(op, &s->sock, &s->scope) == PRO_OK)
-    next_frame(s);
-else
-    pro_scope_close(&s->scope);
+if (pro_accept_take(op, &s->sock, &s->scope) != PRO_OK || pro_go(&s->scope, session_run, s, NULL) != PRO_OK)
+    pro_scope_close(&s->scope);
