/*-------------------------------------------------------------------------
 *
 * memory.h
 *	  Memory allocation that does not fail.
 *
 * If there is no memory, the gateway reports that on stderr and exits. The launcher starts a new
 * one, and every client resumes where it was. So nothing is lost, and no failed allocation has to
 * be handled.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_MEMORY_H
#define GATEWAY_MEMORY_H

#include <stddef.h>

/* Called at start: make the allocator return free blocks to the system where possible. */
extern void memory_start(void);

/* Return free memory to the system. This takes time, so call it after much was freed. */
extern void memory_release(void);

/* Return the memory that a block takes, including the allocator's overhead. */
extern size_t memory_taken(void *block);

/* Allocate size bytes, all zero. */
extern void *
memory_zeroed(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));

/* The same, aligned to a cache line, for objects that are visited by the thousand. */
#define MEMORY_LINE 64
extern void *
memory_zeroed_lines(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));

/* Like malloc() and realloc(). */
extern void *memory_new(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
extern void *
memory_resize(void *block, size_t size) __attribute__((returns_nonnull, warn_unused_result));

/* Return a copy of len bytes followed by a NUL. */
extern char *memory_string(const char *text, size_t len)
	__attribute__((malloc, returns_nonnull, warn_unused_result));

#endif /* GATEWAY_MEMORY_H */
