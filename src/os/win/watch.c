/* Watching by ReadDirectoryChangesW: of a directory what happens to its entries, and of anything what happens
 * to its own name in the directory around it.
 *
 *     watch    an event, and what is watched
 *     path     a file or directory, as the thing it was when it was added: a number, and places
 *     place    a directory that is read, for its entries or for one name in it: always one call is pending, or is
 *              over and not yet taken
 *
 * A call that is over sets the event, and so the watch is "readable"; between two calls the system keeps what
 * happens, as far as there is room.  The system names what is in a directory only.  So what is told of a watched
 * thing itself comes from the directory around it, by its name there, which is followed through renamings.
 *
 * One event serves all calls, and each call that begins resets it: so who began one looks at all of them
 * afterwards.  A call ends with the thread that made it (aborted; nothing is lost): then it is made again.
 *
 * Invariants, outside of the functions here:
 *   place->is_pending              ==>  its overlapped is the system's
 *   something can be told          ==>  the event is set
 *   path->is_over, or place->is_leaving  ==>  the system has ended its call */
#include "os/watch.h"

#include <stdalign.h>
#include <stdbool.h>
#include <string.h>

#include "os/win/win.h"

enum {
    SAID_LEN = 64 << 10, /* more the system cannot keep of a network's directory */
    NAME_LEN = 255,      /* of an entry, in UTF-16 */
    SHARE = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
    NAMES = FILE_NOTIFY_CHANGE_FILE_NAME | FILE_NOTIFY_CHANGE_DIR_NAME,
    CONTENTS = FILE_NOTIFY_CHANGE_SIZE | FILE_NOTIFY_CHANGE_LAST_WRITE,
    ATTRIBUTES = FILE_NOTIFY_CHANGE_ATTRIBUTES | FILE_NOTIFY_CHANGE_SECURITY,
};

#define NAMINGS                                                                                    \
    (PRO_CHANGE_CREATED | PRO_CHANGE_REMOVED | PRO_CHANGE_RENAMED_FROM | PRO_CHANGE_RENAMED_TO)

typedef struct place {
    struct place *next;
    HANDLE        directory;
    OVERLAPPED    overlapped;
    DWORD         filter;
    DWORD         first, len; /* of what it said: not yet told; from here to there */
    uint32_t      pair;       /* of the renaming of which one half was told; or 0 */
    bool          is_pending;
    bool          is_around;  /* for one name in it */
    bool          is_leaving; /* another has its place: what it has said already is told */
    alignas(8) char said[SAID_LEN];
} place;

typedef struct path {
    struct path               *next;
    int32_t                    id;
    uint32_t                   what;
    BY_HANDLE_FILE_INFORMATION thing;
    place                     *places;     /* its entries', then its name's */
    bool                       is_renamed; /* the first half was heard */
    bool                       is_over;
    int                        name_len;
    wchar_t                    name[NAME_LEN + 1]; /* in the directory around it */
} path;

typedef struct watch {
    HANDLE         event;
    const pro_env *env;
    path          *paths;
    int32_t        id_last;
    uint32_t       pair_last;
    wchar_t        asked[PRI_WIN_PATH_LEN], whole[PRI_WIN_PATH_LEN]; /* of the path at hand */
} watch;

/* What is told, in our form: this, and a name. */
typedef struct note {
    uint32_t what;
    int32_t  path;
    uint32_t pair;
    uint32_t name_len; /* with the zero at its end */
} note;

enum { NOTE_MAX = sizeof(note) + sizeof(((pro_change *)NULL)->name) };

/* Where notes go. */
typedef struct notes {
    watch *w;
    char  *at;
    size_t room;
    note  *last;
} notes;

static watch *watch_of(intptr_t fd) { return (watch *)fd; }

HANDLE pri_win_watch_event(intptr_t fd) { return watch_of(fd)->event; }

/* ---- Calls ------------------------------------------------------------------------------------ */

static bool is_done(const place *p) { return HasOverlappedIoCompleted(&p->overlapped); }

/* 0, or the system's number. */
static DWORD begin(const watch *w, place *p)
{
    memset(&p->overlapped, 0, sizeof p->overlapped);
    p->overlapped.hEvent = w->event;
    p->first = p->len = 0;
    p->is_pending = ReadDirectoryChangesW(p->directory, p->said, sizeof p->said, FALSE, p->filter,
                                          NULL, &p->overlapped, NULL);
    return p->is_pending ? 0 : GetLastError();
}

/* Let its call end; the system needs a moment to write that down. */
static void stop(place *p)
{
    if (!p->is_pending) return;
    CancelIoEx(p->directory, &p->overlapped);
    while (!is_done(p)) Sleep(0);
}

static void place_free(const watch *w, place *p)
{
    stop(p);
    CloseHandle(p->directory);
    w->env->realloc(w->env->ctx, p, 0);
}

static void places_free(const watch *w, place *p)
{
    for (place *next; p; p = next) {
        next = p->next;
        place_free(w, p);
    }
}

/* A directory that is read from now on, or NULL and a number.  One that is a link has no entries: what it leads to
 * is not watched. */
static place *place_new(const watch *w, const wchar_t *directory, DWORD filter, bool is_around,
                        DWORD *error)
{
    HANDLE file = CreateFileW(
        directory, FILE_LIST_DIRECTORY, SHARE, NULL, OPEN_EXISTING,
        FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_OVERLAPPED, NULL);
    if (file == INVALID_HANDLE_VALUE) {
        *error = GetLastError();
        return NULL;
    }
    place *p = w->env->realloc(w->env->ctx, NULL, sizeof *p);
    *error = ERROR_NOT_ENOUGH_MEMORY;
    if (!p) {
        CloseHandle(file);
        return NULL;
    }
    p->directory = file;
    p->filter = filter;
    p->next = NULL;
    p->pair = 0;
    p->is_pending = p->is_leaving = false;
    p->is_around = is_around;
    *error = begin(w, p);
    if (!*error) return p;
    place_free(w, p);
    return NULL;
}

/* ---- Telling ---------------------------------------------------------------------------------- */

static bool has_room(const notes *to) { return to->room >= NOTE_MAX; }

/* A name in UTF-8, cut where it is longer than there is room for; its length with the zero. */
static uint32_t name_out(const wchar_t *name, int len, char *out)
{
    enum { MAX = sizeof(((pro_change *)NULL)->name) };
    char whole[3 * NAME_LEN + 1];
    if (len > NAME_LEN) len = NAME_LEN;
    int n = len ? WideCharToMultiByte(CP_UTF8, 0, name, len, whole, sizeof whole, NULL, NULL) : 0;
    if (n > MAX - 1) {
        n = MAX - 1;
        while (n > 0 && (whole[n] & 0xc0) == 0x80) n--;
    }
    memcpy(out, whole, (size_t)n);
    out[n] = 0;
    return (uint32_t)n + 1;
}

/* There is room.  The same thing twice in a row is told once. */
static void tell(notes *to, const path *t, uint32_t what, uint32_t pair, const wchar_t *name,
                 int len)
{
    note *n = (note *)(void *)to->at, *last = to->last;
    if (!what) return;
    *n = (note){.what = what, .path = t ? t->id : -1, .pair = pair};
    n->name_len = name_out(name, len, (char *)(n + 1));
    size_t size = sizeof *n + n->name_len;
    if (last && last->name_len == n->name_len && memcmp(last, n, size) == 0) return;
    size = (size + 7) & ~(size_t)7;
    to->last = n;
    to->at += size;
    to->room -= size;
}

static bool is_same(const BY_HANDLE_FILE_INFORMATION *a, const BY_HANDLE_FILE_INFORMATION *b)
{
    return a->dwVolumeSerialNumber == b->dwVolumeSerialNumber &&
           a->nFileIndexHigh == b->nFileIndexHigh && a->nFileIndexLow == b->nFileIndexLow;
}

static bool is_directory(const path *t)
{
    return t->thing.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY;
}

/* Nothing of it is told any more but what was said, and its end. */
static void over(path *t)
{
    t->is_over = true;
    for (place *p = t->places; p; p = p->next) stop(p);
}

static void removed(notes *to, path *t)
{
    tell(to, t, t->what & PRO_CHANGE_REMOVED, 0, NULL, 0);
    over(t);
}

/* A look at what has the name now, and follows no link. */
static HANDLE look_at(const wchar_t *name, BY_HANDLE_FILE_INFORMATION *out, DWORD *error)
{
    HANDLE file = CreateFileW(name, FILE_READ_ATTRIBUTES, SHARE, NULL, OPEN_EXISTING,
                              FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    *error = 0;
    if (file != INVALID_HANDLE_VALUE && GetFileInformationByHandle(file, out)) return file;
    *error = GetLastError();
    if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
    return NULL;
}

/* Has the watched thing its name still, after it may have been given to another? */
static bool has_its_name(watch *w, const place *around, const path *t)
{
    BY_HANDLE_FILE_INFORMATION found;
    DWORD                      error, max = PRI_WIN_PATH_LEN - NAME_LEN - 2;
    DWORD                      len = GetFinalPathNameByHandleW(around->directory, w->whole, max, 0);
    if (len == 0 || len >= max) return true; /* who knows */
    if (w->whole[len - 1] != L'\\') w->whole[len++] = L'\\';
    memcpy(w->whole + len, t->name, (size_t)(t->name_len + 1) * sizeof *t->name);
    HANDLE file = look_at(w->whole, &found, &error);
    if (file) CloseHandle(file);
    if (!file) return error != ERROR_FILE_NOT_FOUND && error != ERROR_PATH_NOT_FOUND;
    return is_same(&found, &t->thing);
}

/* The system does not say whether it was one of these or the other. */
static uint32_t modified(const path *t)
{
    return t->what & (PRO_CHANGE_MODIFIED | PRO_CHANGE_ATTRIBUTES);
}

/* Something happened to an entry of a watched directory. */
static void tell_inside(notes *to, place *p, const path *t, const FILE_NOTIFY_INFORMATION *said)
{
    uint32_t what = 0, pair = 0;
    switch (said->Action) {
    case FILE_ACTION_ADDED: what = PRO_CHANGE_CREATED; break;
    case FILE_ACTION_REMOVED: what = PRO_CHANGE_REMOVED; break;
    case FILE_ACTION_MODIFIED: what = modified(t); break;
    case FILE_ACTION_RENAMED_OLD_NAME:
        what = PRO_CHANGE_RENAMED_FROM;
        pair = p->pair = ++to->w->pair_last;
        break;
    case FILE_ACTION_RENAMED_NEW_NAME:
        what = PRO_CHANGE_RENAMED_TO;
        pair = p->pair;
        p->pair = 0;
        break;
    }
    tell(to, t, what & t->what, pair, said->FileName,
         (int)(said->FileNameLength / sizeof(wchar_t)));
}

static bool is_named(const path *t, const FILE_NOTIFY_INFORMATION *said)
{
    int len = (int)(said->FileNameLength / sizeof(wchar_t));
    return CompareStringOrdinal(said->FileName, len, t->name, t->name_len, TRUE) == CSTR_EQUAL;
}

/* Something happened around a watched thing: to itself, or to its neighbours. */
static void tell_around(notes *to, const place *p, path *t, const FILE_NOTIFY_INFORMATION *said)
{
    size_t len = said->FileNameLength / sizeof(wchar_t);
    if (t->is_renamed) { /* the other half */
        t->is_renamed = false;
        if (said->Action == FILE_ACTION_RENAMED_NEW_NAME && len <= NAME_LEN) {
            memcpy(t->name, said->FileName, len * sizeof(wchar_t));
            t->name[t->name_len = (int)len] = 0;
        } else {
            over(t);
        }
        return;
    }
    if (!is_named(t, said)) return;
    switch (said->Action) {
    case FILE_ACTION_MODIFIED:
        tell(to, t, is_directory(t) ? t->what & PRO_CHANGE_ATTRIBUTES : modified(t), 0, NULL, 0);
        break;
    case FILE_ACTION_RENAMED_OLD_NAME:
        tell(to, t, t->what & PRO_CHANGE_RENAMED_FROM, 0, NULL, 0);
        t->is_renamed = true;
        break;
    case FILE_ACTION_REMOVED: removed(to, t); break;
    default: /* another has its name, or there was an old word on the way */
        if (!has_its_name(to->w, p, t)) removed(to, t);
    }
}

/* Changes were lost; perhaps its end among them, or the second half of a renaming: what is told next is that of no
 * other, and where its own name was in between nobody knows it. */
static void lost(notes *to, place *p, path *t)
{
    tell(to, NULL, PRO_CHANGE_OVERFLOW, 0, NULL, 0);
    p->pair = 0;
    if (p->is_around && (t->is_renamed || !has_its_name(to->w, p, t))) over(t);
}

/* A call is over: what it said is to be told. */
static void finish(notes *to, place *p, path *t)
{
    DWORD len = 0, error = 0;
    p->is_pending = false;
    if (!GetOverlappedResult(p->directory, &p->overlapped, &len, FALSE)) error = GetLastError();
    if (!error && len > 0)
        p->len = len;
    else if (t->is_over || p->is_leaving || error == ERROR_OPERATION_ABORTED)
        p->len = 0; /* over, or the thread that made it is */
    else if (!error || error == ERROR_NOTIFY_ENUM_DIR)
        lost(to, p, t);
    else
        removed(to, t); /* it is going to be, and waits for us to let it go */
}

/* false: there is no room for the rest. */
static bool tell_place(notes *to, place *p, path *t)
{
    while (has_room(to)) {
        if (p->first < p->len) {
            const FILE_NOTIFY_INFORMATION *said = (const void *)(p->said + p->first);
            p->first = said->NextEntryOffset ? p->first + said->NextEntryOffset : p->len;
            if (!p->is_around)
                tell_inside(to, p, t, said);
            else if (!t->is_over)
                tell_around(to, p, t, said);
        } else if (p->is_pending) {
            if (!is_done(p)) return true;
            finish(to, p, t);
        } else {
            if (t->is_over || p->is_leaving) return true;
            if (begin(to->w, p) != 0) removed(to, t);
        }
    }
    return false;
}

static bool tell_places(notes *to, path *t)
{
    for (place **at = &t->places; *at;) {
        place *p = *at;
        if (!tell_place(to, p, t)) return false;
        if (p->is_leaving) {
            *at = p->next;
            place_free(to->w, p);
        } else {
            at = &p->next;
        }
    }
    return true;
}

/* true: it was told to its end.  Once more if that came meanwhile, for what its entries said. */
static bool tell_path(notes *to, path *t)
{
    bool was_over = t->is_over;
    if (!tell_places(to, t) || !t->is_over) return false;
    if ((!was_over && !tell_places(to, t)) || !has_room(to)) return false;
    tell(to, t, PRO_CHANGE_ENDED, 0, NULL, 0);
    return true;
}

static bool has_news(const path *t)
{
    for (const place *p = t->places; p; p = p->next)
        if (p->first < p->len || (p->is_pending && is_done(p))) return true;
    return t->is_over;
}

/* Begun calls have reset the event: is there something to be told? */
static void look_again(const watch *w)
{
    for (const path *t = w->paths; t; t = t->next)
        if (has_news(t)) {
            SetEvent(w->event);
            return;
        }
}

static void path_free(const watch *w, path *t)
{
    places_free(w, t->places);
    w->env->realloc(w->env->ctx, t, 0);
}

/* Who had something to say goes behind the others, so that none of them waits for ever. */
int64_t pri_os_watch_read(const pro_env *env, intptr_t fd, void *said, size_t size)
{
    watch *w = watch_of(fd);
    notes  to = {.w = w, .at = said, .room = size};
    path  *told = NULL, **told_end = &told, **at = &w->paths;
    int    fault = pri_os_fault(env, "ReadDirectoryChangesW");
    if (fault) return fault;
    ResetEvent(w->event);
    while (*at) {
        path *t = *at;
        char *before = to.at;
        bool  is_end = tell_path(&to, t);
        if (to.at == before) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        t->next = NULL;
        if (is_end) {
            path_free(w, t);
        } else {
            *told_end = t;
            told_end = &t->next;
        }
    }
    *at = told;
    look_again(w);
    return to.at > (char *)said ? to.at - (char *)said : -WSAEWOULDBLOCK;
}

size_t pri_os_watch_take(const void *said, pro_change *change)
{
    const note *n = said;
    change->what = n->what;
    change->path = n->path;
    change->pair = n->pair;
    memcpy(change->name, n + 1, n->name_len);
    return (sizeof *n + n->name_len + 7) & ~(size_t)7;
}

/* ---- Paths ------------------------------------------------------------------------------------ */

static DWORD inside_filter(uint32_t what)
{
    DWORD filter = what & NAMINGS ? NAMES : 0;
    if (what & PRO_CHANGE_MODIFIED) filter |= CONTENTS;
    return what & PRO_CHANGE_ATTRIBUTES ? filter | ATTRIBUTES : filter;
}

/* Its end is told in any case. */
static DWORD around_filter(const path *t, uint32_t what)
{
    DWORD filter = is_directory(t) ? FILE_NOTIFY_CHANGE_DIR_NAME : FILE_NOTIFY_CHANGE_FILE_NAME;
    if (what & PRO_CHANGE_MODIFIED && !is_directory(t)) filter |= CONTENTS;
    return what & PRO_CHANGE_ATTRIBUTES ? filter | ATTRIBUTES : filter;
}

/* The thing at w->asked: what it is, and in w->whole the path of the directory around it, then (*name) its name
 * there; NULL: a root, around which there is nothing.  0, or a number. */
static DWORD find(watch *w, path *t, wchar_t **name)
{
    DWORD  error;
    HANDLE file = look_at(w->asked, &t->thing, &error);
    if (!file) return error;
    DWORD len = GetFinalPathNameByHandleW(file, w->whole, PRI_WIN_PATH_LEN, 0);
    error = len == 0 ? GetLastError() : len >= PRI_WIN_PATH_LEN ? ERROR_FILENAME_EXCED_RANGE : 0;
    CloseHandle(file);
    if (error) return error;
    *name = wcsrchr(w->whole, L'\\') + 1;
    size_t name_len = wcslen(*name);
    if (name_len == 0 || name_len > NAME_LEN) {
        *name = NULL;
        return 0;
    }
    memcpy(t->name, *name, (name_len + 1) * sizeof *t->name);
    t->name_len = (int)name_len;
    return 0;
}

/* Begin to read its places; 0, or a number.  A directory whose surroundings cannot be read is watched without them. */
static DWORD open_places(watch *w, path *t, uint32_t what, wchar_t *name)
{
    DWORD   error = 0;
    place **end = &t->places;
    if (is_directory(t)) {
        *end = place_new(w, w->whole, inside_filter(what), false, &error);
        if (error) return error;
        end = &(*end)->next;
    }
    if (!name) return 0;
    *name = 0;
    *end = place_new(w, w->whole, around_filter(t, what), true, &error);
    return is_directory(t) ? 0 : error;
}

static path *same_as(const watch *w, const path *seen)
{
    for (path *t = w->paths; t; t = t->next)
        if (!t->is_over && is_same(&t->thing, &seen->thing)) return t;
    return NULL;
}

/* It is watched for other things from now on, in these places: a handle stays with what it was asked first. */
static void change(path *t, uint32_t what, place *places)
{
    place **end = &t->places;
    for (; *end; end = &(*end)->next) {
        (*end)->is_leaving = true;
        stop(*end);
    }
    *end = places;
    t->what = what;
}

int pri_os_watch_add(const pro_env *env, intptr_t fd, const char *given, uint32_t what)
{
    watch   *w = watch_of(fd);
    wchar_t *name = NULL;
    path     seen;
    int      error = pri_os_fault(env, "ReadDirectoryChangesW");
    if (!error) error = (int)pri_win_path(given, w->asked);
    if (error) return error;
    what &= PRO_CHANGE_ALL & ~PRO_CHANGE_CLOSED; /* which this system does not tell */
    if (!what) return -WSAEOPNOTSUPP;
    memset(&seen, 0, sizeof seen);
    error = -(int)find(w, &seen, &name);
    if (error) return error;
    path *t = same_as(w, &seen), *made = NULL;
    if (t && t->what == what) return t->id;
    if (!t && !(made = w->env->realloc(w->env->ctx, NULL, sizeof *made)))
        return -ERROR_NOT_ENOUGH_MEMORY;
    error = -(int)open_places(w, &seen, what, name);
    if (error) {
        places_free(w, seen.places);
        if (made) w->env->realloc(w->env->ctx, made, 0);
    } else if (made) {
        *made = seen;
        made->id = ++w->id_last;
        made->what = what;
        made->next = w->paths;
        w->paths = made;
    } else {
        change(t, what, seen.places);
    }
    look_again(w);
    return error ? error : made ? made->id : t->id;
}

int pri_os_watch_remove(const pro_env *env, intptr_t fd, int id)
{
    watch *w = watch_of(fd);
    int    fault = pri_os_fault(env, "ReadDirectoryChangesW");
    if (fault) return fault;
    for (path *t = w->paths; t; t = t->next) {
        if (t->id != id || t->is_over) continue;
        over(t);
        SetEvent(w->event);
        return 0;
    }
    return -WSAEINVAL;
}

/* ---- Watches ---------------------------------------------------------------------------------- */

intptr_t pri_os_watch_open(const pro_env *env)
{
    int fault = pri_os_fault(env, "CreateEventW");
    if (fault) return fault;
    watch *w = env->realloc(env->ctx, NULL, sizeof *w);
    if (!w) return -ERROR_NOT_ENOUGH_MEMORY;
    *w = (watch){.env = env, .event = CreateEventW(NULL, TRUE, FALSE, NULL)};
    if (w->event) return (intptr_t)w;
    int error = -(int)GetLastError();
    env->realloc(env->ctx, w, 0);
    return error;
}

void pri_os_watch_close(const pro_env *env, intptr_t fd)
{
    watch *w = watch_of(fd);
    while (w->paths) {
        path *t = w->paths;
        w->paths = t->next;
        path_free(w, t);
    }
    CloseHandle(w->event);
    env->realloc(env->ctx, w, 0);
}
