/* Files on Windows: each call of os/call.h, made here and now, on whatever thread.
 *
 * Handles are not overlapped: a call on one waits, and those of one file run one after the other.  They
 * share everything, as on POSIX: a file that is open may be written, renamed and removed by others; its
 * name goes with the last handle.
 *
 * Where Windows means something else than POSIX, it is translated here:
 *   a directory is opened with BACKUP_SEMANTICS, and never for writing (PRO_EISDIR);
 *   a flush of what was opened for reading is refused, and there is nothing to flush: PRO_OK;
 *   permissions are one bit, may it be written, and those of the owner; the others are not looked at;
 *   advice is taken and does nothing. */
#include "os/call.h"

#include <string.h>

#include "os/os.h"
#include "os/win/win.h"

enum {
    NAME_LEN = 255,       /* of a part of it */
    LIST_LEN = 32 * 1024, /* of what is asked of a directory at once */
};

static int64_t answer(BOOL done) { return done ? 0 : -(int64_t)GetLastError(); }

static HANDLE handle_of(const pri_call *call) { return (HANDLE)call->fd; }

/* No file system of Windows has longer names; what it says of one differs. */
static bool has_long_name(const wchar_t *path)
{
    int len = 0;
    for (; *path; path++) {
        len = *path == L'/' || *path == L'\\' ? 0 : len + 1;
        if (len > NAME_LEN) return true;
    }
    return false;
}

int64_t pri_win_path(const char *path, wchar_t out[PRI_WIN_PATH_LEN])
{
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, out, PRI_WIN_PATH_LEN))
        return has_long_name(out) ? -ERROR_FILENAME_EXCED_RANGE : 0;
    DWORD error = GetLastError();
    if (error == ERROR_INSUFFICIENT_BUFFER) return -ERROR_FILENAME_EXCED_RANGE;
    return error == ERROR_NO_UNICODE_TRANSLATION ? -ERROR_INVALID_NAME : -(int64_t)error;
}

static bool is_directory(HANDLE file)
{
    BY_HANDLE_FILE_INFORMATION info;
    return GetFileInformationByHandle(file, &info) &&
           (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY);
}

/* ---- Opening -------------------------------------------------------------------------------- */

enum { SHARE = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE };

static DWORD access_of(uint32_t flags)
{
    DWORD access = 0;
    if (flags & PRO_FILE_READ || !(flags & PRO_FILE_WRITE)) access |= GENERIC_READ;
    if (flags & PRO_FILE_WRITE) access |= GENERIC_WRITE;
    /* Without FILE_WRITE_DATA every write goes to the end; what else GENERIC_WRITE is stays. */
    if (flags & PRO_FILE_WRITE && flags & PRO_FILE_APPEND && !(flags & PRO_FILE_TRUNCATE))
        access = (access & ~(DWORD)GENERIC_WRITE) | (FILE_GENERIC_WRITE & ~(DWORD)FILE_WRITE_DATA);
    return access;
}

static DWORD disposition_of(uint32_t flags)
{
    if (flags & PRO_FILE_CREATE && flags & PRO_FILE_EXCLUSIVE) return CREATE_NEW;
    if (flags & PRO_FILE_CREATE) return flags & PRO_FILE_TRUNCATE ? CREATE_ALWAYS : OPEN_ALWAYS;
    return flags & PRO_FILE_TRUNCATE ? TRUNCATE_EXISTING : OPEN_EXISTING;
}

static DWORD attributes_of(const pri_call *call)
{
    DWORD flags = FILE_FLAG_BACKUP_SEMANTICS;
    if (!(call->mode & 0222) && call->flags & PRO_FILE_CREATE) flags |= FILE_ATTRIBUTE_READONLY;
    if (call->flags & PRO_FILE_DIRECT) flags |= FILE_FLAG_NO_BUFFERING;
    if (call->flags & (PRO_FILE_SYNC | PRO_FILE_DATASYNC)) flags |= FILE_FLAG_WRITE_THROUGH;
    if (call->flags & PRO_FILE_NO_FOLLOW) flags |= FILE_FLAG_OPEN_REPARSE_POINT;
    return flags;
}

/* Is what was opened what was asked for?  0, or a negated number. */
static int64_t check_opened(HANDLE file, uint32_t flags)
{
    BY_HANDLE_FILE_INFORMATION info;
    if (!GetFileInformationByHandle(file, &info)) return 0; /* no file, but a device */
    bool is_dir = info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY;
    bool is_link = info.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT;
    if (flags & PRO_FILE_NO_FOLLOW && is_link) return -ERROR_CANT_RESOLVE_FILENAME;
    if (flags & PRO_FILE_DIRECTORY && !is_dir) return -ERROR_DIRECTORY;
    return flags & PRO_FILE_WRITE && is_dir ? -ERROR_DIRECTORY_NOT_SUPPORTED : 0;
}

static bool has_attribute(const wchar_t *path, DWORD attribute)
{
    DWORD found = GetFileAttributesW(path);
    return found != INVALID_FILE_ATTRIBUTES && found & attribute;
}

/* Why it could not be opened, where the system has other words than POSIX.  Changes path. */
static int64_t why_not(wchar_t *path, uint32_t flags, int64_t error)
{
    if (error == -ERROR_PATH_NOT_FOUND) { /* a file where a directory should be? */
        wchar_t *end = path + wcslen(path);
        while (end > path && end[-1] != L'/' && end[-1] != L'\\') end--;
        if (end == path) return error;
        end[-1] = 0;
        DWORD above = GetFileAttributesW(path);
        bool  is_file = above != INVALID_FILE_ATTRIBUTES && !(above & FILE_ATTRIBUTE_DIRECTORY);
        return is_file ? -ERROR_DIRECTORY : error;
    }
    bool writes = flags & PRO_FILE_WRITE && !(flags & PRO_FILE_EXCLUSIVE);
    return writes && has_attribute(path, FILE_ATTRIBUTE_DIRECTORY) ? -ERROR_DIRECTORY_NOT_SUPPORTED
                                                                   : error;
}

static int64_t open_named(pri_call *call)
{
    wchar_t path[PRI_WIN_PATH_LEN];
    int64_t error = pri_win_path(call->path, path);
    if (error) return error;
    HANDLE file = CreateFileW(path, access_of(call->flags), SHARE, NULL,
                              disposition_of(call->flags), attributes_of(call), NULL);
    if (file == INVALID_HANDLE_VALUE) return why_not(path, call->flags, answer(FALSE));
    error = check_opened(file, call->flags);
    if (error) {
        CloseHandle(file);
        return error;
    }
    if (call->flags & PRO_FILE_DIRECT) call->align[0] = call->align[1] = 4096;
    return (intptr_t)file;
}

/* A name that goes with the handle. */
static int64_t open_temporary(const pri_call *call)
{
    wchar_t path[PRI_WIN_PATH_LEN + 32];
    int64_t error = pri_win_path(call->path, path);
    if (error) return error;
    size_t len = wcslen(path);
    DWORD  flags = FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE;
    for (uint64_t i = 0;; i++) {
        uint64_t number = call->offset + i * UINT64_C(0x9e3779b97f4a7c15);
        wcscpy(path + len, L"\\.pro-");
        for (int digit = 0; digit < 16; digit++)
            path[len + 6 + digit] = L"0123456789abcdef"[number >> (60 - 4 * digit) & 15];
        path[len + 22] = 0;
        HANDLE file = CreateFileW(path, GENERIC_READ | GENERIC_WRITE | DELETE, SHARE, NULL,
                                  CREATE_NEW, flags, NULL);
        if (file != INVALID_HANDLE_VALUE) return (intptr_t)file;
        if (GetLastError() != ERROR_FILE_EXISTS || i == 8) return answer(FALSE);
    }
}

/* ---- Transfers ------------------------------------------------------------------------------ */

/* One piece; the bytes, or a negated number. */
static int64_t transfer_piece(const pri_call *call, const pro_vec *vec, size_t skip, uint64_t at)
{
    OVERLAPPED  where = {.Offset = (DWORD)at, .OffsetHigh = (DWORD)(at >> 32)};
    size_t      left = vec->len - skip;
    DWORD       len = left < 1u << 30 ? (DWORD)left : 1u << 30, bytes = 0;
    char       *data = (char *)vec->base + skip;
    bool        writes = call->what == PRI_CALL_FILE_WRITE;
    OVERLAPPED *place = at < PRI_CALL_AT_POSITION ? &where : NULL;
    BOOL        done = writes ? WriteFile(handle_of(call), data, len, &bytes, place)
                              : ReadFile(handle_of(call), data, len, &bytes, place);
    if (done) return bytes;
    DWORD error = GetLastError();
    if (!writes && error == ERROR_HANDLE_EOF) return 0;
    if (!writes && is_directory(handle_of(call))) return -ERROR_DIRECTORY_NOT_SUPPORTED;
    /* It was not opened for that, which is no matter of permissions. */
    return error == ERROR_ACCESS_DENIED ? -ERROR_INVALID_HANDLE : -(int64_t)error;
}

static int64_t transfer(const pri_call *call, const pro_vec *vecs, size_t count)
{
    int64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t done = 0; done < vecs[i].len;) {
            bool     stays = call->offset == PRI_CALL_AT_POSITION;
            uint64_t place = stays ? call->offset : call->offset + (uint64_t)total;
            int64_t  n = transfer_piece(call, &vecs[i], done, place);
            if (n < 0) return total ? total : n; /* it comes again, by itself */
            total += n;
            done += (size_t)n;
            if (n == 0) return total;
        }
    }
    return total;
}

/* ---- Lengths -------------------------------------------------------------------------------- */

static int64_t sync_file(HANDLE file)
{
    int64_t error = answer(FlushFileBuffers(file));
    return error == -ERROR_ACCESS_DENIED ? 0 : error;
}

static int64_t truncate_file(HANDLE file, uint64_t size)
{
    FILE_END_OF_FILE_INFO end = {.EndOfFile.QuadPart = (LONGLONG)size};
    if (size > INT64_MAX) return -ERROR_INVALID_PARAMETER;
    return answer(SetFileInformationByHandle(file, FileEndOfFileInfo, &end, sizeof end));
}

static int64_t allocate_file(HANDLE file, uint64_t offset, uint64_t size)
{
    FILE_ALLOCATION_INFO room = {.AllocationSize.QuadPart = (LONGLONG)(offset + size)};
    LARGE_INTEGER        now;
    if (size == 0 || offset > INT64_MAX || size > INT64_MAX - offset)
        return -ERROR_INVALID_PARAMETER;
    if (!GetFileSizeEx(file, &now)) return answer(FALSE);
    if ((uint64_t)now.QuadPart >= offset + size) return 0; /* less would cut the file */
    if (!SetFileInformationByHandle(file, FileAllocationInfo, &room, sizeof room)) {
        DWORD error = GetLastError();
        return error == ERROR_CALL_NOT_IMPLEMENTED ? -ERROR_NOT_SUPPORTED : -(int64_t)error;
    }
    return truncate_file(file, offset + size);
}

/* ---- What is known -------------------------------------------------------------------------- */

/* From 100 ns since 1601. */
static int64_t ns_of(LARGE_INTEGER time)
{
    return (time.QuadPart - INT64_C(116444736000000000)) * 100;
}

static pro_file_type type_of(DWORD attributes)
{
    if (attributes & FILE_ATTRIBUTE_REPARSE_POINT) return PRO_TYPE_SYMLINK;
    return attributes & FILE_ATTRIBUTE_DIRECTORY ? PRO_TYPE_DIRECTORY : PRO_TYPE_REGULAR;
}

static int64_t stat_handle(HANDLE file, bool follows, pro_stat *out)
{
    BY_HANDLE_FILE_INFORMATION info;
    FILE_BASIC_INFO            basic;
    FILE_STANDARD_INFO         standard;
    if (!GetFileInformationByHandle(file, &info) ||
        !GetFileInformationByHandleEx(file, FileBasicInfo, &basic, sizeof basic) ||
        !GetFileInformationByHandleEx(file, FileStandardInfo, &standard, sizeof standard))
        return answer(FALSE);
    DWORD attributes = info.dwFileAttributes;
    if (follows) attributes &= ~(DWORD)FILE_ATTRIBUTE_REPARSE_POINT;
    bool is_dir = attributes & FILE_ATTRIBUTE_DIRECTORY;
    *out = (pro_stat){
        .size = (uint64_t)standard.EndOfFile.QuadPart,
        .allocated = (uint64_t)standard.AllocationSize.QuadPart,
        .inode = (uint64_t)info.nFileIndexHigh << 32 | info.nFileIndexLow,
        .device = info.dwVolumeSerialNumber,
        .links = info.nNumberOfLinks,
        .mode = (attributes & FILE_ATTRIBUTE_READONLY ? 0400 : 0600) | (is_dir ? 0100 : 0),
        .block_size = 4096,
        .type = type_of(attributes),
        .modified_ns = ns_of(basic.LastWriteTime),
        .accessed_ns = ns_of(basic.LastAccessTime),
        .changed_ns = ns_of(basic.ChangeTime),
        .created_ns = ns_of(basic.CreationTime),
    };
    return 0;
}

static int64_t stat_file(const pri_call *call)
{
    if (!call->path) return stat_handle(handle_of(call), true, call->out);
    wchar_t path[PRI_WIN_PATH_LEN];
    bool    follows = !(call->flags & PRO_FILE_NO_FOLLOW);
    DWORD   flags = FILE_FLAG_BACKUP_SEMANTICS | (follows ? 0 : FILE_FLAG_OPEN_REPARSE_POINT);
    int64_t error = pri_win_path(call->path, path);
    if (error) return error;
    HANDLE file = CreateFileW(path, FILE_READ_ATTRIBUTES, SHARE, NULL, OPEN_EXISTING, flags, NULL);
    if (file == INVALID_HANDLE_VALUE) return answer(FALSE);
    error = stat_handle(file, follows, call->out);
    CloseHandle(file);
    return error;
}

/* ---- Directories ---------------------------------------------------------------------------- */

/* An entry in our form (ops/path.c) behind len bytes; the bytes with it. */
static size_t put_entry(unsigned char *buf, size_t len, size_t size,
                        const FILE_ID_BOTH_DIR_INFO *from)
{
    int chars = (int)(from->FileNameLength / sizeof(wchar_t));
    if (from->FileName[0] == L'.' && (chars == 1 || (chars == 2 && from->FileName[1] == L'.')))
        return len;
    unsigned char *to = buf + len;
    int            name_len = WideCharToMultiByte(CP_UTF8, 0, from->FileName, chars, (char *)to + 3,
                                                  (int)(size - len) - 4, NULL, NULL);
    if (name_len <= 0) return len; /* never: there is room */
    size_t entry_len = 3 + (size_t)name_len + 1;
    to[0] = (unsigned char)(entry_len & 255);
    to[1] = (unsigned char)(entry_len >> 8);
    to[2] = (unsigned char)type_of(from->FileAttributes);
    to[entry_len - 1] = 0;
    return len + entry_len;
}

/* An entry of the system's has 104 bytes and two for each of at most 255 characters; ours 4 and at most
 * three for each: what fits three quarters of the room there fits the room here. */
static int64_t list(const pri_call *call)
{
    uint64_t entries[LIST_LEN / sizeof(uint64_t)];
    size_t   size = call->size / 4 * 3 < LIST_LEN ? (size_t)call->size / 4 * 3 : LIST_LEN;
    for (;;) {
        if (!GetFileInformationByHandleEx(handle_of(call), FileIdBothDirectoryInfo, entries,
                                          (DWORD)(size & ~(size_t)7))) {
            DWORD error = GetLastError();
            return error == ERROR_NO_MORE_FILES ? 0 : -(int64_t)error;
        }
        size_t                       len = 0;
        const FILE_ID_BOTH_DIR_INFO *entry = (const void *)entries;
        for (;;) {
            len = put_entry(call->out, len, (size_t)call->size, entry);
            if (entry->NextEntryOffset == 0) break;
            entry = (const void *)((const char *)entry + entry->NextEntryOffset);
        }
        if (len > 0) return (int64_t)len;
    }
}

/* ---- Names ---------------------------------------------------------------------------------- */

static int64_t make_link(const wchar_t *target, const wchar_t *path)
{
    enum { UNPRIVILEGED = 2, TO_DIRECTORY = 1 };
    bool is_dir = has_attribute(target, FILE_ATTRIBUTE_DIRECTORY); /* if it is not a relative one */
    return answer(CreateSymbolicLinkW(path, target, UNPRIVILEGED | (is_dir ? TO_DIRECTORY : 0)));
}

static int64_t unlink_name(const wchar_t *path)
{
    if (DeleteFileW(path)) return 0;
    int64_t error = answer(FALSE);
    DWORD   found = GetFileAttributesW(path);
    bool    is_dir = found != INVALID_FILE_ATTRIBUTES && found & FILE_ATTRIBUTE_DIRECTORY;
    if (is_dir && found & FILE_ATTRIBUTE_REPARSE_POINT) return answer(RemoveDirectoryW(path));
    return is_dir ? -ERROR_DIRECTORY_NOT_SUPPORTED : error;
}

static int64_t name_call(const pri_call *call)
{
    wchar_t path[PRI_WIN_PATH_LEN], to[PRI_WIN_PATH_LEN];
    int64_t error = pri_win_path(call->path, path);
    if (!error && call->to) error = pri_win_path(call->to, to);
    if (error) return error;
    switch ((pri_call_what)call->what) {
    case PRI_CALL_RENAME: return answer(MoveFileExW(path, to, MOVEFILE_REPLACE_EXISTING));
    case PRI_CALL_LINK: return answer(CreateHardLinkW(to, path, NULL));
    case PRI_CALL_SYMLINK: return make_link(path, to);
    case PRI_CALL_UNLINK: return unlink_name(path);
    case PRI_CALL_MKDIR: return answer(CreateDirectoryW(path, NULL));
    default: return answer(RemoveDirectoryW(path));
    }
}

int64_t pri_os_call(pri_call *call, const pro_vec *vecs, size_t count)
{
    switch ((pri_call_what)call->what) {
    case PRI_CALL_FILE_OPEN:
        return call->flags & PRI_FILE_TEMPORARY ? open_temporary(call) : open_named(call);
    case PRI_CALL_FILE_CLOSE: return answer(CloseHandle(handle_of(call)));
    case PRI_CALL_FILE_READ:
    case PRI_CALL_FILE_WRITE: return transfer(call, vecs, count);
    case PRI_CALL_FILE_SYNC:
    case PRI_CALL_FILE_DATASYNC: return sync_file(handle_of(call));
    case PRI_CALL_FILE_ALLOCATE: return allocate_file(handle_of(call), call->offset, call->size);
    case PRI_CALL_FILE_TRUNCATE: return truncate_file(handle_of(call), call->size);
    case PRI_CALL_FILE_ADVISE:
        return call->mode <= PRO_ADVICE_DONT_NEED ? 0 : -ERROR_INVALID_PARAMETER;
    case PRI_CALL_FILE_STAT: return stat_file(call);
    case PRI_CALL_FILE_LIST: return list(call);
    default: return name_call(call);
    }
}
