/* Bytes: the pages of a file, in the cache and on the medium.
 *
 * A file is an array of pages ordered by their numbers; what is between them is a hole.  The first write to a
 * page that is clean puts by what the medium has of it; a sync drops that again.  So both are there as long
 * as they may differ, and a crash can choose between them, sector by sector.
 *
 * What a truncation cuts off stays, not live, as long as the medium has it still: it may come back, and keeps its
 * room. */
#include <string.h>

#include "engine/sim/disk.h"

enum { SECTORS = PRI_SIM_PAGE / PRI_SIM_SECTOR };

/* ---- Pages ---------------------------------------------------------------------------------- */

/* The index of the first page that is not before this number. */
static size_t from(const sim_inode *inode, uint64_t number)
{
    size_t low = 0, high = inode->pages_count;
    if (high > 0 && inode->pages[high - 1].number < number) return high; /* it grows */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (inode->pages[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static sim_page *find(const sim_inode *inode, uint64_t number)
{
    size_t i = from(inode, number);
    return i < inode->pages_count && inode->pages[i].number == number ? &inode->pages[i] : NULL;
}

static sim_page *insert(sim_inode *inode, uint64_t number)
{
    size_t i = from(inode, number);
    if (inode->pages_count == inode->pages_room) {
        inode->pages_room = inode->pages_room ? inode->pages_room * 2 : 4;
        inode->pages = pri_sim_realloc(inode->pages, inode->pages_room * sizeof *inode->pages);
    }
    sim_page *pages = inode->pages;
    memmove(pages + i + 1, pages + i, (inode->pages_count++ - i) * sizeof *pages);
    pages[i] = (sim_page){.number = number};
    return &pages[i];
}

static void drop(unsigned char **bytes)
{
    if (*bytes) pri_sim_realloc(*bytes, 0);
    *bytes = NULL;
}

static unsigned char *new_bytes(const unsigned char *from)
{
    unsigned char *bytes = pri_sim_realloc(NULL, PRI_SIM_PAGE);
    if (from)
        memcpy(bytes, from, PRI_SIM_PAGE);
    else
        memset(bytes, 0, PRI_SIM_PAGE);
    return bytes;
}

static void give_room(sim_disk *d, sim_page *page)
{
    if (!page->has_room) d->pages++;
    page->has_room = true;
}

static void take_room(sim_disk *d, sim_page *page)
{
    if (page->has_room) d->pages--;
    page->has_room = false;
}

/* Those that are nothing any more. */
static void sweep(sim_disk *d, sim_inode *inode)
{
    size_t left = 0;
    for (size_t i = 0; i < inode->pages_count; i++) {
        sim_page *page = &inode->pages[i];
        if (page->is_live || page->dirty) {
            inode->pages[left++] = *page;
            continue;
        }
        take_room(d, page);
        drop(&page->bytes);
        drop(&page->medium);
    }
    inode->pages_count = left;
}

/* The medium hears of what was cut off, and of the sizes. */
static void write_back_cuts(sim_disk *d)
{
    for (sim_inode *inode = d->first; inode; inode = inode->next) {
        for (size_t i = 0; i < inode->pages_count; i++)
            if (!inode->pages[i].is_live) inode->pages[i].dirty = inode->pages[i].lost = 0;
        inode->medium_size = inode->size;
        sweep(d, inode);
    }
}

/* Is there room for so many more?  What was taken away, or cut off, has its room as long as that may be undone: where
 * there is none left, the changes of names are written back, then those of sizes, as a system does then. */
static bool has_room(sim_disk *d, uint64_t pages)
{
    uint64_t all = d->is.size / PRI_SIM_PAGE;
    if (d->pages + pages > all) pri_sim_changes_forget(d, false);
    if (d->pages + pages > all) write_back_cuts(d);
    return d->pages + pages <= all;
}

/* One that is in the file; NULL: there is no room. */
static sim_page *live_page(sim_disk *d, sim_inode *inode, uint64_t number)
{
    sim_page *page = find(inode, number);
    if (page && page->is_live) return page;
    if (!page || !page->has_room) {
        if (!has_room(d, 1)) return NULL;
        page = find(inode, number); /* if it is there still */
    }
    if (!page) page = insert(inode, number);
    give_room(d, page);
    page->is_live = true;
    inode->live++;
    return page;
}

/* What the medium has of it keeps its room. */
static void kill_page(sim_disk *d, sim_inode *inode, sim_page *page)
{
    if (!page->is_live) return;
    page->is_live = false;
    inode->live--;
    if (!page->is_on_medium) take_room(d, page);
}

/* These bytes of it are going to be written. */
static void make_dirty(sim_page *page, size_t at, size_t len)
{
    unsigned first = (unsigned)(at / PRI_SIM_SECTOR);
    unsigned last = (unsigned)((at + len - 1) / PRI_SIM_SECTOR);
    if (!page->dirty && page->is_on_medium && page->bytes) page->medium = new_bytes(page->bytes);
    for (unsigned i = first; i <= last; i++) {
        page->dirty |= (uint8_t)(1u << i);
        page->lost &= (uint8_t) ~(1u << i);
    }
    if (!page->bytes) page->bytes = new_bytes(NULL);
}

/* Zeroes from there to its end. */
static void cut_page(sim_page *page, size_t at)
{
    if (at == PRI_SIM_PAGE || (!page->bytes && !page->is_on_medium)) return;
    make_dirty(page, at, PRI_SIM_PAGE - at);
    memset(page->bytes + at, 0, PRI_SIM_PAGE - at);
}

void pri_sim_content_free(sim_disk *d, sim_inode *inode)
{
    for (size_t i = 0; i < inode->pages_count; i++) {
        take_room(d, &inode->pages[i]);
        drop(&inode->pages[i].bytes);
        drop(&inode->pages[i].medium);
    }
    if (inode->pages) pri_sim_realloc(inode->pages, 0);
    inode->pages = NULL;
    inode->pages_count = inode->pages_room = inode->live = 0;
}

/* ---- Reading, writing ----------------------------------------------------------------------- */

static void read_piece(const sim_inode *inode, uint64_t offset, unsigned char *to, size_t len)
{
    while (len > 0) {
        size_t          at = (size_t)(offset % PRI_SIM_PAGE), part = PRI_SIM_PAGE - at;
        const sim_page *page = find(inode, offset / PRI_SIM_PAGE);
        if (part > len) part = len;
        if (page && page->bytes)
            memcpy(to, page->bytes + at, part);
        else
            memset(to, 0, part);
        to += part;
        offset += part;
        len -= part;
    }
}

int64_t pri_sim_read(const sim_inode *inode, uint64_t offset, const pro_vec *vecs, size_t count,
                     uint64_t max)
{
    if (offset >= inode->size) return 0;
    if (max > inode->size - offset) max = inode->size - offset;
    uint64_t done = 0;
    for (size_t i = 0; i < count && done < max; i++) {
        size_t part = vecs[i].len < max - done ? vecs[i].len : (size_t)(max - done);
        read_piece(inode, offset + done, vecs[i].base, part);
        done += part;
    }
    return (int64_t)done;
}

/* How much of it found room. */
static size_t write_piece(sim_disk *d, sim_inode *inode, uint64_t offset,
                          const unsigned char *bytes, size_t len)
{
    size_t done = 0;
    while (done < len) {
        size_t    at = (size_t)(offset % PRI_SIM_PAGE), part = PRI_SIM_PAGE - at;
        sim_page *page = live_page(d, inode, offset / PRI_SIM_PAGE);
        if (!page) break;
        if (part > len - done) part = len - done;
        make_dirty(page, at, part);
        memcpy(page->bytes + at, bytes + done, part);
        done += part;
        offset += part;
    }
    return done;
}

int64_t pri_sim_write(sim_disk *d, sim_inode *inode, uint64_t offset, const pro_vec *vecs,
                      size_t count, uint64_t max)
{
    uint64_t done = 0, wanted = 0;
    for (size_t i = 0; i < count && wanted < max; i++) {
        size_t part = vecs[i].len < max - wanted ? vecs[i].len : (size_t)(max - wanted);
        wanted += part;
        done += write_piece(d, inode, offset + done, vecs[i].base, part);
        if (done < wanted) break;
    }
    if (done == 0 && wanted > 0) return PRO_ENOSPC;
    if (offset + done > inode->size) inode->size = offset + done;
    inode->modified_ns = inode->changed_ns = pri_sim_disk_time(d);
    return (int64_t)done;
}

void pri_sim_resize(sim_disk *d, sim_inode *inode, uint64_t size)
{
    size_t at = (size_t)(size % PRI_SIM_PAGE);
    for (size_t i = from(inode, size / PRI_SIM_PAGE); i < inode->pages_count; i++) {
        sim_page *page = &inode->pages[i];
        bool      is_part = at > 0 && page->number == size / PRI_SIM_PAGE;
        cut_page(page, is_part ? at : 0);
        if (!is_part) kill_page(d, inode, page);
    }
    inode->size = size;
    inode->modified_ns = inode->changed_ns = pri_sim_disk_time(d);
}

int pri_sim_allocate(sim_disk *d, sim_inode *inode, uint64_t offset, uint64_t len)
{
    uint64_t first = offset / PRI_SIM_PAGE, last = (offset + len - 1) / PRI_SIM_PAGE;
    uint64_t least = last - first + 1 > inode->live ? last - first + 1 - inode->live : 0;
    if (!has_room(d, least)) return PRO_ENOSPC;
    for (uint64_t i = first; i <= last; i++)
        if (!live_page(d, inode, i)) return PRO_ENOSPC;
    if (offset + len > inode->size) inode->size = offset + len;
    inode->modified_ns = inode->changed_ns = pri_sim_disk_time(d);
    return PRO_OK;
}

/* ---- The medium ----------------------------------------------------------------------------- */

static void copy_sector(unsigned char *to, const unsigned char *from, unsigned i)
{
    memcpy(to + i * PRI_SIM_SECTOR, from + i * PRI_SIM_SECTOR, PRI_SIM_SECTOR);
}

/* The medium gets these sectors. */
static void write_back(sim_page *page, uint8_t sectors)
{
    page->dirty &= (uint8_t)~sectors;
    page->is_on_medium = true;
    if (!page->dirty) {
        drop(&page->medium);
        return;
    }
    if (!page->medium) page->medium = new_bytes(NULL);
    for (unsigned i = 0; i < SECTORS; i++)
        if (sectors >> i & 1) copy_sector(page->medium, page->bytes, i);
}

void pri_sim_sync(sim_disk *d, sim_inode *inode, bool is_failing)
{
    for (size_t i = 0; i < inode->pages_count; i++) {
        sim_page *page = &inode->pages[i];
        uint8_t   sectors = page->dirty & (uint8_t)~page->lost;
        if (sectors && is_failing) {
            uint8_t lost = sectors & (uint8_t)pri_sim_choice(d->node->world, &d->stream, 256);
            page->lost |= lost;
            sectors &= (uint8_t)~lost;
        }
        if (sectors) write_back(page, sectors);
    }
    if (!is_failing) inode->medium_size = inode->size;
    sweep(d, inode);
}

/* A sector of which nobody knows: half of it is new, or it is nonsense. */
static void tear(sim_disk *d, sim_page *page, unsigned i)
{
    pro_sim       *w = d->node->world;
    unsigned char *sector = page->bytes + i * PRI_SIM_SECTOR;
    size_t         at = pri_sim_choice(w, &d->stream, PRI_SIM_SECTOR);
    if (pri_sim_choice(w, &d->stream, 4) == 0) {
        for (size_t k = 0; k < PRI_SIM_SECTOR; k += 8) {
            uint64_t bits = pri_sim_bits(w, &d->stream);
            memcpy(sector + k, &bits, 8);
        }
        return;
    }
    if (page->medium)
        memcpy(sector + at, page->medium + i * PRI_SIM_SECTOR + at, PRI_SIM_SECTOR - at);
    else
        memset(sector + at, 0, PRI_SIM_SECTOR - at);
}

static void lose_sector(sim_page *page, unsigned i)
{
    if (page->medium)
        copy_sector(page->bytes, page->medium, i);
    else
        memset(page->bytes + i * PRI_SIM_SECTOR, 0, PRI_SIM_SECTOR);
}

/* How many of its sectors are not what they were. */
static unsigned crash_page(sim_disk *d, sim_page *page, sim_fate fate)
{
    pro_sim *w = d->node->world;
    unsigned lost = 0;
    for (unsigned i = 0; i < SECTORS; i++) {
        if (!(page->dirty >> i & 1)) continue;
        bool is_off = page->lost >> i & 1;
        bool is_lost = is_off || fate == SIM_LOSE_ALL;
        if (!is_lost && fate == SIM_CHOOSE) is_lost = pri_sim_choice(w, &d->stream, 2);
        if (!is_off && fate == SIM_CHOOSE && pri_sim_strikes(w, &d->stream, PRO_SIM_TORN)) {
            tear(d, page, i);
            lost++;
        } else if (is_lost) {
            lose_sector(page, i);
            lost++;
        }
    }
    page->dirty = page->lost = 0;
    page->is_on_medium = true;
    drop(&page->medium);
    return lost;
}

/* One that was not written through is what the medium says, or what it was to be, or in between. */
static uint64_t crash_size(sim_disk *d, const sim_inode *inode, sim_fate fate)
{
    uint64_t before = inode->medium_size, after = inode->size;
    if (fate == SIM_KEEP_ALL || before == after) return after;
    if (fate == SIM_LOSE_ALL) return before;
    uint32_t dice = pri_sim_choice(d->node->world, &d->stream, 3);
    if (dice == 2 && after > before)
        return before + pri_sim_bits(d->node->world, &d->stream) % (after - before);
    return dice ? after : before;
}

uint64_t pri_sim_content_crash(sim_disk *d, sim_inode *inode, sim_fate fate)
{
    uint64_t lost = 0, size = crash_size(d, inode, fate);
    for (size_t i = 0; i < inode->pages_count; i++) {
        sim_page *page = &inode->pages[i];
        if (page->dirty) lost += crash_page(d, page, fate);
        if (page->has_room && !page->is_live) { /* it comes back */
            page->is_live = true;
            inode->live++;
        }
    }
    pri_sim_resize(d, inode, size);
    for (size_t i = 0; i < inode->pages_count; i++) { /* that is how the medium has it now */
        drop(&inode->pages[i].medium);
        inode->pages[i].dirty = inode->pages[i].lost = 0;
    }
    sweep(d, inode);
    inode->medium_size = size;
    return lost;
}
