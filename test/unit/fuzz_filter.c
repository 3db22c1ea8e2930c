/*
 * Fuzz target for filters of subscriptions.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ext/filter/filter_parse.h"
#include "fuzz.h"

#define FUZZ_MAX_PIECES 65536

static void *fuzz_pieces[FUZZ_MAX_PIECES];
static size_t fuzz_npieces;

static void *
fuzz_allocate(size_t size)
{
	void *piece = malloc(size);

	assert(piece != NULL && fuzz_npieces < FUZZ_MAX_PIECES);
	fuzz_pieces[fuzz_npieces++] = piece;
	return piece;
}

/* What a parsed filter promises. */
static void
fuzz_check(const FilterNode *node, int depth)
{
	assert(depth <= FILTER_MAX_DEPTH);
	if (node->kind != FILTER_CONDITION)
	{
		assert(node->first != NULL);
		for (const FilterNode *member = node->first; member != NULL; member = member->next)
			fuzz_check(member, depth + 1);
		return;
	}
	assert(node->column[0] != '\0');
	assert((node->op == FILTER_IN) == (node->value == NULL));
	for (const FilterStep *step = node->path; step != NULL; step = step->next)
		assert(step->is_index == (step->key == NULL));
	for (const FilterItem *item = node->items; item != NULL; item = item->next)
		assert(item->text != NULL);
}

int
fuzz_filter(const uint8_t *data, size_t size)
{
	const char *error;
	FilterNode *node = filter_parse((const char *) data, size, fuzz_allocate, &error);

	assert((node == NULL) == (error != NULL));
	if (node != NULL)
		fuzz_check(node, -1);
	while (fuzz_npieces > 0)
		free(fuzz_pieces[--fuzz_npieces]);
	return 0;
}
