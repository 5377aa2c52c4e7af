/* The disk of a node: a file system that knows what its medium has, and what only its cache has.
 *
 *   disk.c     made, told what it is like, looked at from outside; which calls fail, and what each takes
 *   files.c    calls as steps of the engine: when they are made, and canceled
 *   call.c     what each of them does
 *   tree.c     names: entries, paths, and what of them is not on the medium yet
 *   content.c  bytes: pages, and which of their sectors are not on the medium yet
 *   crash.c    what is left when the power goes
 *
 * All of them answer with a value >= 0 or one of our errors.  What programs see is the cache; a sync writes
 * it to the medium; at a crash of the machine the seed decides, of all that no sync has written, what the
 * medium got by itself.  Two things are written, each on its own:
 *
 *   content   sector by sector, in any order; and the size.  By a sync of the file
 *   names     a change at a time: an entry that comes, goes, or is another; two of them in a rename.  By a sync
 *             of a directory that they are in.  Changes of the same name are never out of order, nor are those
 *             that would leave what is moved nowhere
 *
 * Invariants:
 *   page.dirty has a sector  ==>  the medium has page.medium there (NULL: zeroes), else page.bytes
 *   page.lost is within page.dirty
 *   disk.pages = the pages that have room, and no crash makes more of them: no more than there is
 *   inode.links = the entries that it stands in, one more of the root
 *   an inode is there as long as links, opens or kept say so */
#ifndef PRI_SIM_DISK_H
#define PRI_SIM_DISK_H

#include "core/call.h"
#include "engine/sim/world.h"

enum { PRI_SIM_SECTOR = 512, PRI_SIM_PAGE = 4096, PRI_SIM_NAME_MAX = 255, PRI_SIM_PATH_MAX = 4096 };

#define PRI_SIM_FILES ((intptr_t)1 << 30) /* no socket has so large a descriptor */

/* A file that was made at this time would be of 2020. */
#define PRI_SIM_EPOCH_NS (INT64_C(1577836800) * INT64_C(1000000000))

typedef struct sim_page {
    uint64_t       number;
    unsigned char *bytes;  /* NULL: zeroes */
    unsigned char *medium; /* what it has of the dirty sectors; NULL: zeroes */
    uint8_t        dirty;  /* a bit for each sector */
    uint8_t
         lost; /* a sync failed, and forgot it: it stays off the medium until it is written again */
    bool is_on_medium; /* it was written once, so that the medium has bytes for it */
    bool is_live;      /* it is in the file; false: cut off, and that is not on the medium yet */
    bool has_room;     /* live, or on the medium still */
} sim_page;

typedef struct sim_inode sim_inode;

typedef struct sim_entry {
    uint64_t
        place; /* a hash of the name, and of the seed: the order in which a directory is listed */
    sim_inode *inode;
    char      *name;
} sim_entry;

struct sim_inode {
    sim_inode    *next, *before; /* of the disk, in the order in which they were made */
    uint64_t      number;
    pro_file_type type;
    uint32_t      mode;
    uint32_t      links, opens, kept; /* kept: by changes of names */
    bool          is_reached;         /* crash.c */
    int64_t       modified_ns, changed_ns, accessed_ns, created_ns;

    uint64_t  size, medium_size;
    sim_page *pages; /* by number */
    size_t    pages_count, pages_room, live;

    sim_inode *parent; /* of a directory */
    sim_entry *entries;
    size_t     entries_count, entries_room;

    char *target; /* of a symbolic link */
};

/* A change of names that is not on the medium yet. */
typedef struct sim_change {
    struct {
        sim_inode *dir, *before, *after;
        uint64_t   place;
        char      *name;
    } at[2];
    int  count;
    bool is_way; /* to where something was moved */
    bool is_marked;
} sim_change;

typedef struct sim_open {
    sim_inode *inode; /* NULL: free */
    uint32_t   flags;
    bool       is_begun; /* it was listed up to this place */
    uint64_t   place;
    uint64_t   position; /* of a stream */
} sim_open;

struct sim_disk {
    pro_sim_node *node;
    pro_sim_disk  is;
    sim_inode    *root, *first, *last;
    uint64_t      next_number, pages; /* that have room */
    sim_open     *opens;
    uint32_t      opens_room;
    sim_change   *changes; /* oldest first */
    size_t        changes_count, changes_room;
    uint64_t      stream, salt, free_at;
    char          text[PRI_SIM_PATH_MAX + 1]; /* of the path that is walked */
};

/* Where a path leads.  dir NULL: to inode itself, by no name of its own ("/", "a/.."). */
typedef struct sim_place {
    sim_inode *dir;
    sim_inode *inode;      /* NULL: the name is free */
    bool       is_slashed; /* a slash behind it: it has to be a directory */
    uint64_t   place;
    char       name[PRI_SIM_NAME_MAX + 1];
} sim_place;

/* ---- tree.c ---------------------------------------------------------------------------------- */

sim_inode *pri_sim_inode_new(sim_disk *d, pro_file_type type, uint32_t mode);
void       pri_sim_inode_let_go(sim_disk *d, sim_inode *inode); /* free it, if nothing keeps it */
int64_t    pri_sim_disk_time(const sim_disk *d);

/* follow: a symbolic link at the end too.  PRO_OK also where the last name is free. */
int pri_sim_walk(sim_disk *d, const char *path, bool follow, sim_place *where);

/* Entries change: log it, and do it.  inode NULL: the entry goes. */
void pri_sim_name(sim_disk *d, const sim_place *at, sim_inode *inode);
void pri_sim_rename(sim_disk *d, const sim_place *from, const sim_place *to);

/* Without the log: this is the entry now. */
void pri_sim_set_entry(sim_disk *d, sim_inode *dir, uint64_t place, const char *name,
                       sim_inode *inode);

/* The first entry that is not before this place; entries_count: there is none. */
size_t pri_sim_entry_from(const sim_inode *dir, uint64_t place);

/* The changes in a directory, and those that they build upon, are on the medium. */
void pri_sim_names_sync(sim_disk *d, const sim_inode *dir);

/* Does a change need an earlier one?  Then it is not on the medium without it. */
bool pri_sim_builds_upon(const sim_change *later, const sim_change *earlier);

/* They need not be kept any more: on the medium, or undone. */
void pri_sim_changes_forget(sim_disk *d, bool only_marked);

/* ---- content.c ------------------------------------------------------------------------------- */

/* Up to max bytes; how many. */
int64_t pri_sim_read(const sim_inode *inode, uint64_t offset, const pro_vec *vecs, size_t count,
                     uint64_t max);
int64_t pri_sim_write(sim_disk *d, sim_inode *inode, uint64_t offset, const pro_vec *vecs,
                      size_t count, uint64_t max); /* or PRO_ENOSPC */
void    pri_sim_resize(sim_disk *d, sim_inode *inode, uint64_t size);
int     pri_sim_allocate(sim_disk *d, sim_inode *inode, uint64_t offset, uint64_t len);

/* Write what is dirty to the medium; is_failing: some of it, and forget the rest. */
void pri_sim_sync(sim_disk *d, sim_inode *inode, bool is_failing);

/* The content as the medium has it, with those of the dirty sectors that it got; how many it did not get. */
typedef enum sim_fate { SIM_LOSE_ALL, SIM_KEEP_ALL, SIM_CHOOSE } sim_fate;
uint64_t pri_sim_content_crash(sim_disk *d, sim_inode *inode, sim_fate fate);
void     pri_sim_content_free(sim_disk *d, sim_inode *inode);

/* ---- call.c ---------------------------------------------------------------------------------- */

/* Do a call, now: a value, or one of our errors.  max: of a transfer, no more bytes than that. */
int64_t pri_sim_do_call(sim_disk *d, pri_call *call, const pro_vec *vecs, size_t count,
                        uint64_t max);
void    pri_sim_close_file(sim_disk *d, uint32_t i);

/* What is open under this descriptor, or NULL. */
sim_open *pri_sim_open_of(const sim_disk *d, intptr_t fd);

/* ---- disk.c ---------------------------------------------------------------------------------- */

sim_disk *pri_sim_disk_of(pro_sim_node *node);

/* How long this call takes; and it is made, in whatever weather there is. */
uint64_t pri_sim_call_takes(sim_disk *d, const pri_call *call, size_t len);
int64_t  pri_sim_call_in_weather(sim_disk *d, pri_call *call, const pro_vec *vecs, size_t count,
                                 size_t len);

/* engine.call. */
int64_t pri_sim_call(pri_call *call, const pro_vec *vecs, size_t count);

/* ---- crash.c --------------------------------------------------------------------------------- */

/* The descriptors are gone; and if it was the machine, what no sync has written, but for what the seed
 * leaves of it. */
void pri_sim_disk_crash(sim_disk *d, bool is_machine);

#endif
