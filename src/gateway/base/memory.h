/*-------------------------------------------------------------------------
 *
 * memory.h
 *	  Allocation that does not fail.
 *
 * Where memory is used up the gateway says so on stderr and ends: the launcher starts
 * another, and every client resumes where it was. Nothing is lost that way, which no
 * half-handled failure could promise.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_MEMORY_H
#define GATEWAY_MEMORY_H

#include <stddef.h>

/* At start: blocks that are given back go back to the system where they can. */
extern void memory_start(void);

/* Give the system back what has been freed. That takes a while: for when much has been. */
extern void memory_release(void);

/* Bytes that a block takes, with what the allocator needs for it. */
extern size_t memory_taken(void *block);

/* size bytes, all zero. */
extern void *
memory_zeroed(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));

/*
 * The same, from the beginning of a line of the processor's cache on: for what is gone through by
 * the thousand.
 */
#define MEMORY_LINE 64
extern void *
memory_zeroed_lines(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));

/* As malloc() and realloc(). */
extern void *memory_new(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
extern void *
memory_resize(void *block, size_t size) __attribute__((returns_nonnull, warn_unused_result));

/* A copy of len bytes with a NUL behind them. */
extern char *memory_string(const char *text, size_t len)
	__attribute__((malloc, returns_nonnull, warn_unused_result));

#endif /* GATEWAY_MEMORY_H */
