/* The name of the function that an address lies in: from the table of symbols of its file, which has the
 * static functions too; where that was stripped, from the dynamic one. */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/os.h"

typedef struct elf_file {
    const char *bytes;
    size_t      size;
} elf_file;

/* len bytes at that offset, or NULL. */
static const void *piece(const elf_file *file, uint64_t offset, uint64_t len)
{
    return offset <= file->size && len <= file->size - offset ? file->bytes + offset : NULL;
}

static const char *find_in(const elf_file *file, const ElfW(Shdr) * sections, size_t count,
                           const ElfW(Shdr) * table, uintptr_t at)
{
    const ElfW(Sym) *symbols = piece(file, table->sh_offset, table->sh_size);
    if (!symbols || table->sh_link >= count) return NULL;
    const ElfW(Shdr) *text = &sections[table->sh_link];
    const char *names = piece(file, text->sh_offset, text->sh_size);
    if (!names || text->sh_size == 0 || names[text->sh_size - 1] != '\0') return NULL;
    for (size_t i = 0; i < table->sh_size / sizeof *symbols; i++) {
        const ElfW(Sym) *s = &symbols[i];
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || at < s->st_value) continue;
        if (at - s->st_value < s->st_size && s->st_name < text->sh_size) return names + s->st_name;
    }
    return NULL;
}

static const char *find(const elf_file *file, uintptr_t address, uintptr_t base)
{
    const ElfW(Ehdr) *head = piece(file, 0, sizeof *head);
    if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) return NULL;
    const ElfW(Shdr) *sections =
        piece(file, head->e_shoff, (uint64_t)head->e_shnum * sizeof *sections);
    if (!sections || head->e_shentsize != sizeof *sections) return NULL;
    uintptr_t at = head->e_type == ET_EXEC ? address : address - base;
    for (size_t i = 0; i < head->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB) continue;
        const char *name = find_in(file, sections, head->e_shnum, &sections[i], at);
        if (name) return name;
    }
    return NULL;
}

void pri_os_symbol(const void *address, char *buf, size_t size)
{
    Dl_info     info = {0};
    struct stat status;
    elf_file    file = {0};
    /* A return address may be the first byte behind its function. */
    uintptr_t at = (uintptr_t)address - 1;
    snprintf(buf, size, "%p", address);
    if (dladdr((const void *)at, &info) == 0 || !info.dli_fname) return;
    int fd = open(info.dli_fname, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* it was called by another name */
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0) {
        void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map != MAP_FAILED) file = (elf_file){map, (size_t)status.st_size};
    }
    if (fd >= 0) close(fd);
    const char *name = file.bytes ? find(&file, at, (uintptr_t)info.dli_fbase) : NULL;
    if (!name) name = info.dli_sname;
    const char *program = strrchr(info.dli_fname, '/');
    snprintf(buf, size, "%s (%s+0x%llx)", name ? name : "a function without a name",
             program ? program + 1 : info.dli_fname,
             (unsigned long long)(at - (uintptr_t)info.dli_fbase));
    if (file.bytes) munmap((void *)(uintptr_t)file.bytes, file.size);
}
