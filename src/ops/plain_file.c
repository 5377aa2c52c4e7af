/* The initiating functions of file.h under their plain names, as in plain.c. */
#define PRO_NO_SITES
#include <proactor/file.h>

static const char no_site[] = "?";

void pro_file_open(pro_op *op, pro_file *f, pro_loop *loop, pro_scope *scope, const char *path,
                   uint32_t flags, uint32_t mode, pro_handler *done)
{
    pro_file_open_at(no_site, op, f, loop, scope, path, flags, mode, done);
}

void pro_file_open_temporary(pro_op *op, pro_file *f, pro_loop *loop, pro_scope *scope,
                             const char *directory, pro_handler *done)
{
    pro_file_open_temporary_at(no_site, op, f, loop, scope, directory, done);
}

void pro_file_close(pro_op *op, pro_file *f, pro_handler *done)
{
    pro_file_close_at(no_site, op, f, done);
}

void pro_file_read(pro_op *op, pro_file *f, void *buf, size_t len, uint64_t offset,
                   pro_handler *done)
{
    pro_file_read_at(no_site, op, f, buf, len, offset, done);
}

void pro_file_read_exactly(pro_op *op, pro_file *f, void *buf, size_t len, uint64_t offset,
                           pro_handler *done)
{
    pro_file_read_exactly_at(no_site, op, f, buf, len, offset, done);
}

void pro_file_write(pro_op *op, pro_file *f, const void *buf, size_t len, uint64_t offset,
                    pro_handler *done)
{
    pro_file_write_at(no_site, op, f, buf, len, offset, done);
}

void pro_file_readv(pro_op *op, pro_file *f, const pro_vec *vecs, size_t count, uint64_t offset,
                    pro_handler *done)
{
    pro_file_readv_at(no_site, op, f, vecs, count, offset, done);
}

void pro_file_readv_exactly(pro_op *op, pro_file *f, const pro_vec *vecs, size_t count,
                            uint64_t offset, pro_handler *done)
{
    pro_file_readv_exactly_at(no_site, op, f, vecs, count, offset, done);
}

void pro_file_writev(pro_op *op, pro_file *f, const pro_vec *vecs, size_t count, uint64_t offset,
                     pro_handler *done)
{
    pro_file_writev_at(no_site, op, f, vecs, count, offset, done);
}

void pro_file_sync(pro_op *op, pro_file *f, pro_handler *done)
{
    pro_file_sync_at(no_site, op, f, done);
}

void pro_file_datasync(pro_op *op, pro_file *f, pro_handler *done)
{
    pro_file_datasync_at(no_site, op, f, done);
}

void pro_file_allocate(pro_op *op, pro_file *f, uint64_t offset, uint64_t len, pro_handler *done)
{
    pro_file_allocate_at(no_site, op, f, offset, len, done);
}

void pro_file_truncate(pro_op *op, pro_file *f, uint64_t size, pro_handler *done)
{
    pro_file_truncate_at(no_site, op, f, size, done);
}

void pro_file_advise(pro_op *op, pro_file *f, uint64_t offset, uint64_t len, pro_advice advice,
                     pro_handler *done)
{
    pro_file_advise_at(no_site, op, f, offset, len, advice, done);
}

void pro_file_stat(pro_op *op, pro_file *f, pro_stat *stat, pro_handler *done)
{
    pro_file_stat_at(no_site, op, f, stat, done);
}

void pro_path_stat(pro_op *op, pro_loop *loop, const char *path, uint32_t flags, pro_stat *stat,
                   pro_handler *done)
{
    pro_path_stat_at(no_site, op, loop, path, flags, stat, done);
}

void pro_path_rename(pro_op *op, pro_loop *loop, const char *from, const char *to,
                     pro_handler *done)
{
    pro_path_rename_at(no_site, op, loop, from, to, done);
}

void pro_path_link(pro_op *op, pro_loop *loop, const char *from, const char *to, pro_handler *done)
{
    pro_path_link_at(no_site, op, loop, from, to, done);
}

void pro_path_symlink(pro_op *op, pro_loop *loop, const char *target, const char *path,
                      pro_handler *done)
{
    pro_path_symlink_at(no_site, op, loop, target, path, done);
}

void pro_path_unlink(pro_op *op, pro_loop *loop, const char *path, pro_handler *done)
{
    pro_path_unlink_at(no_site, op, loop, path, done);
}

void pro_path_mkdir(pro_op *op, pro_loop *loop, const char *path, uint32_t mode, pro_handler *done)
{
    pro_path_mkdir_at(no_site, op, loop, path, mode, done);
}

void pro_path_rmdir(pro_op *op, pro_loop *loop, const char *path, pro_handler *done)
{
    pro_path_rmdir_at(no_site, op, loop, path, done);
}

void pro_file_list(pro_op *op, pro_file *f, void *buf, size_t len, pro_handler *done)
{
    pro_file_list_at(no_site, op, f, buf, len, done);
}

void pro_path_read(pro_op *op, pro_loop *loop, const char *path, size_t size_max, pro_bytes *bytes,
                   pro_handler *done)
{
    pro_path_read_at(no_site, op, loop, path, size_max, bytes, done);
}

void pro_path_replace(pro_op *op, pro_loop *loop, const char *path, const void *buf, size_t len,
                      uint32_t mode, pro_handler *done)
{
    pro_path_replace_at(no_site, op, loop, path, buf, len, mode, done);
}
