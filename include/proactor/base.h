/* What every other header needs: visibility, versions, the call site, the container macro.
 * The only public header that looks at the platform. */
#ifndef PROACTOR_BASE_H
#define PROACTOR_BASE_H

#include <stddef.h>
#include <stdint.h>

#define PRO_VERSION_MAJOR 0
#define PRO_VERSION_MINOR 1
#define PRO_VERSION_PATCH 0
#define PRO_VERSION ((PRO_VERSION_MAJOR << 16) | (PRO_VERSION_MINOR << 8) | PRO_VERSION_PATCH)

#ifdef __cplusplus
#define PRO_BEGIN_DECLS extern "C" {
#define PRO_END_DECLS }
#else
#define PRO_BEGIN_DECLS
#define PRO_END_DECLS
#endif

#if defined(_WIN32)
#if defined(PROACTOR_BUILDING_DLL)
#define PRO_API __declspec(dllexport)
#elif defined(PROACTOR_USING_DLL)
#define PRO_API __declspec(dllimport)
#else
#define PRO_API
#endif
#elif defined(__GNUC__)
#define PRO_API __attribute__((visibility("default")))
#else
#define PRO_API
#endif

/* The place in the source where an operation is initiated, as one string literal: "file.c:12". */
#define PRO_STRINGIFY_(x) #x
#define PRO_STRINGIFY(x) PRO_STRINGIFY_(x)
#define PRO_SITE __FILE__ ":" PRO_STRINGIFY(__LINE__)

/* The structure of the given type that has ptr as its member. */
#define pro_container_of(ptr, type, member)                                                        \
    ((type *)(void *)(((char *)(ptr)) - offsetof(type, member)))

/* A deadline that never comes.  It is zero, so that a zeroed operation has none. */
#define PRO_NEVER UINT64_C(0)

#define PRO_USEC UINT64_C(1000)
#define PRO_MSEC UINT64_C(1000000)
#define PRO_SEC UINT64_C(1000000000)

PRO_BEGIN_DECLS

typedef struct pro_op     pro_op;
typedef struct pro_loop   pro_loop;
typedef struct pro_scope  pro_scope;
typedef struct pro_handle pro_handle;

/* Called by the loop when an operation completes; never inside an initiating call. */
typedef void pro_handler(pro_op *op);

/* Internal: an element of an intrusive, circular, doubly linked list. */
typedef struct pri_link {
    struct pri_link *next;
    struct pri_link *prev;
} pri_link;

/* The version of the library that is running, as PRO_VERSION.  Any thread. */
PRO_API uint32_t pro_version(void);

PRO_END_DECLS

#endif
