/* Intrusive circular lists.  A head is a pri_link that points to itself when empty; an element that
 * points to itself is in no list, and removing it does nothing.  A queue is such a list without a head. */
#ifndef PRI_LIST_H
#define PRI_LIST_H

#include <proactor/base.h>

#include <stdbool.h>

static inline void pri_list_init(pri_link *head) { head->next = head->prev = head; }

static inline bool pri_list_empty(const pri_link *head) { return head->next == head; }

static inline void pri_list_append(pri_link *head, pri_link *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Leave the list; the element itself keeps stale links and may only be appended again. */
static inline void pri_list_unlink(pri_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

static inline void pri_list_remove(pri_link *link)
{
    pri_list_unlink(link);
    pri_list_init(link);
}

static inline pri_link *pri_list_pop(pri_link *head)
{
    pri_link *link = head->next;
    pri_list_remove(link);
    return link;
}

/* All of from goes to the end of head; from is empty then. */
static inline void pri_list_splice(pri_link *head, pri_link *from)
{
    if (pri_list_empty(from)) return;
    from->next->prev = head->prev;
    head->prev->next = from->next;
    from->prev->next = head;
    head->prev = from->prev;
    pri_list_init(from);
}

/* A queue is a list without a head: a pointer to its first element, or NULL. */
static inline void pri_queue_append(pri_link **queue, pri_link *link)
{
    pri_list_init(link);
    if (*queue)
        pri_list_append(*queue, link); /* before the first one: they stand in a circle */
    else
        *queue = link;
}

/* The one behind it, or NULL. */
static inline pri_link *pri_queue_next(pri_link *const *queue, const pri_link *link)
{
    return link->next == *queue ? NULL : link->next;
}

/* Leave it; of one that points to itself, or is in another list, leave that. */
static inline void pri_queue_remove(pri_link **queue, pri_link *link)
{
    if (*queue == link) *queue = pri_queue_next(queue, link);
    pri_list_unlink(link);
}

#endif
