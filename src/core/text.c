/* Text: errors by name, masks, the lines that say why, the dump of what is alive. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/op.h"

uint32_t pro_version(void) { return PRO_VERSION; }

bool pri_is_our_version(uint32_t version) { return version >> 8 == PRO_VERSION >> 8; }

bool pri_accept_version(uint32_t version)
{
    if (pri_is_our_version(version)) return true;
    fprintf(
        stderr,
        "proactor: the program was built with the headers of %u.%u.%u, the library is %d.%d.%d\n",
        version >> 16, (version >> 8) & 255, version & 255, PRO_VERSION_MAJOR, PRO_VERSION_MINOR,
        PRO_VERSION_PATCH);
    return false;
}

const char *pro_error_name(int error)
{
    switch (error) {
#define NAME(name, number, text)                                                                   \
    case name: return #name;
        PRO_ERRORS(NAME)
#undef NAME
    default: return "PRO_E?";
    }
}

const char *pro_error_text(int error)
{
    switch (error) {
#define TEXT(name, number, text)                                                                   \
    case name: return text;
        PRO_ERRORS(TEXT)
#undef TEXT
    default: return "unknown error";
    }
}

/* Does text, up to a comma or its end, equal the word of that length? */
static bool same_word(const char *text, const char *word, size_t len)
{
    return strncmp(text, word, len) == 0 && (text[len] == ',' || text[len] == '\0');
}

int pri_masked(const char *mask, const char *word)
{
    size_t len = strcspn(word, ",");
    while (mask && *mask) {
        if (same_word(mask, word, len)) return 1;
        mask = strchr(mask, ',');
        if (mask) mask++;
    }
    return 0;
}

void pri_why_add(pri_why *why, const char *format, ...)
{
    size_t  room = sizeof why->text - why->len;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(why->text + why->len, room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n + 2 > room) {
        why->text[why->len] = '\0'; /* what does not fit is left out as a whole line */
        return;
    }
    why->len += (size_t)n;
    why->text[why->len++] = '\n';
    why->text[why->len] = '\0';
}

void pri_why_line(pri_why *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->line, sizeof why->line, format, args);
    va_end(args);
}

static size_t copy_text(const char *text, char *buf, size_t size)
{
    size_t len = strlen(text);
    if (size > 0) {
        size_t part = len < size ? len : size - 1;
        memcpy(buf, text, part);
        buf[part] = '\0';
    }
    return len;
}

size_t pro_loop_explain(const pro_loop *loop, char *buf, size_t size)
{
    return copy_text(loop->why.text, buf, size);
}

size_t pro_loop_explain_line(const pro_loop *loop, char *buf, size_t size)
{
    return copy_text(loop->why.line, buf, size);
}

/* ---- The dump ------------------------------------------------------------------------------- */

typedef struct dump {
    void (*fn)(void *arg, const char *line);
    void  *arg;
    size_t lines;
} dump;

static void dump_line(dump *d, int depth, const char *text)
{
    char line[320];
    snprintf(line, sizeof line, "%*s%s", 2 * (depth < 20 ? depth : 20), "", text);
    d->fn(d->arg, line);
    d->lines++;
}

static void dump_handle(dump *d, int depth, const pro_handle *handle)
{
    char text[128];
    bool is_slot = handle->pri_kind != PRI_WATCHER && pri_is_slot(handle->pri_fd);
    snprintf(text, sizeof text, "%s, %s %lld%s", pri_handle_name(handle),
             is_slot ? "slot" : "descriptor",
             (long long)(is_slot ? handle->pri_fd & ~PRI_SLOT : handle->pri_fd),
             handle->pri_state == PRI_HANDLE_CLOSING ? ", closing" : "");
    dump_line(d, depth, text);
}

static void dump_op(dump *d, int depth, const pro_op *op)
{
    char text[256];
    if (!op) return;
    pri_op_describe(op, text, sizeof text);
    dump_line(d, depth, text);
}

static pro_handle *handle_of(const pri_link *link)
{
    return pro_container_of((pri_link *)(uintptr_t)link, pro_handle, pri_of_scope);
}

size_t pro_loop_dump(pro_loop *loop, void (*fn)(void *arg, const char *line), void *arg)
{
    static const char *const states[] = {"open", "draining", "closing", "ended"};
    dump                     d = {fn, arg, 0};
    int                      depth = 0;
    for (pro_scope *s = &loop->root; s;) {
        char text[256];
        bool is_root = s == &loop->root;
        if (!is_root || s->pri_holds > 0 || loop->holds > 0) {
            snprintf(text, sizeof text, "%s %s, %u alive, %u holds", is_root ? "loop" : "scope",
                     states[s->pri_state], pro_scope_live(s),
                     s->pri_holds + (is_root ? loop->holds : 0));
            dump_line(&d, depth, text);
        }
        for (const pri_link *l = s->pri_handles.next; l != &s->pri_handles; l = l->next)
            dump_handle(&d, depth + 1, handle_of(l));
        for (const pri_link *l = s->pri_ops.next; l != &s->pri_ops; l = l->next)
            dump_op(&d, depth + 1, pro_container_of((pri_link *)(uintptr_t)l, pro_op, pri_scope));
        for (const pri_link *l = s->pri_handles.next; l != &s->pri_handles; l = l->next) {
            dump_op(&d, depth + 1, pri_handle_plain_op(handle_of(l), PRI_READ));
            dump_op(&d, depth + 1, pri_handle_plain_op(handle_of(l), PRI_WRITE));
        }
        if (!pri_list_empty(&s->pri_children)) {
            s = pro_container_of(s->pri_children.next, pro_scope, pri_sibling);
            depth++;
            continue;
        }
        while (s && s->pri_parent && s->pri_sibling.next == &s->pri_parent->pri_children) {
            s = s->pri_parent;
            depth--;
        }
        s = s->pri_parent ? pro_container_of(s->pri_sibling.next, pro_scope, pri_sibling) : NULL;
    }
    return d.lines;
}
