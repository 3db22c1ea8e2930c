/*-------------------------------------------------------------------------
 *
 * memory.c
 *	  Memory allocation that does not fail.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/base/memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Blocks of at least this size have their own mappings, and are returned to the system when they
 * are freed.
 */
#define MEMORY_MAPPED (128 * 1024)

void
memory_start(void)
{
	/*
	 * By default the allocator raises this limit to the largest such block that was freed
	 * (mallopt(3)).
	 */
	(void) mallopt(M_MMAP_THRESHOLD, MEMORY_MAPPED);
}

void
memory_release(void)
{
	(void) malloc_trim(0);
}

size_t
memory_taken(void *block)
{
	return block == NULL ? 0 : malloc_usable_size(block) + sizeof(size_t);
}

static void
memory_exhausted(void)
{
	static const char message[] = "pg_notifyd-gateway: out of memory\n";
	ssize_t ignored = write(STDERR_FILENO, message, sizeof(message) - 1);

	(void) ignored;
	_exit(1);
}

void *
memory_zeroed(size_t size)
{
	void *block = calloc(1, size);

	if (block == NULL)
		memory_exhausted();
	return block;
}

void *
memory_zeroed_lines(size_t size)
{
	size_t rounded = (size + MEMORY_LINE - 1) / MEMORY_LINE * MEMORY_LINE;
	void *block = aligned_alloc(MEMORY_LINE, rounded);

	if (block == NULL)
		memory_exhausted();
	return memset(block, 0, rounded);
}

void *
memory_new(size_t size)
{
	void *block = malloc(size);

	if (block == NULL)
		memory_exhausted();
	return block;
}

void *
memory_resize(void *block, size_t size)
{
	void *moved = realloc(block, size);

	if (moved == NULL)
		memory_exhausted();
	return moved;
}

char *
memory_string(const char *text, size_t len)
{
	char *copy = memory_new(len + 1);

	if (len > 0)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}
