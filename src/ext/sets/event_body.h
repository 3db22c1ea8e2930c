/*-------------------------------------------------------------------------
 *
 * event_body.h
 *	  What a client gets of an event's JSON object: fewer columns, or another operation.
 *
 * An UPDATE can bring a row into the set that a client sees, or take it out. The client then gets
 * an INSERT without "old", or a DELETE without "new", with "cause":"UPDATE". A payload was made of
 * both rows, so the DELETE has none, and the INSERT only if the client may see the old row.
 *
 * This module depends only on libc and wire.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_EVENT_BODY_H
#define PG_NOTIFYD_EVENT_BODY_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/wire.h"

/* An event's object, taken apart. It refers to the text. */
typedef struct Body
{
	const char *text;
	size_t len;
	/* Values of members; data is NULL if there is no such member. */
	WireBytes op;
	WireBytes key;
	WireBytes new_row;
	WireBytes old_row;
	WireBytes payload;
	bool truncated; /* its rows were left out */
} Body;

/* Take an object apart. Returns false if it is not an object with a member "op". */
extern bool body_open(Body *body, const char *text, size_t len) __attribute__((warn_unused_result));

/* What happens to a client's set. */
typedef enum BodyChange
{
	BODY_UNCHANGED, /* what was executed */
	BODY_ENTERS,    /* an UPDATE brings the row in */
	BODY_LEAVES,    /* an UPDATE takes the row out */
} BodyChange;

/*
 * Names of columns as JSON strings, with quotes, in the order of body_compare(). names may be NULL
 * if there are none.
 */
typedef struct BodyColumns
{
	size_t n;
	const WireBytes *names;
} BodyColumns;

/* The order of names, for qsort(). */
extern int body_compare(const void *a, const void *b);

/*
 * Set *names to the names of the key's columns, in memory from allocate(), which the caller frees.
 * Returns false if the object has no key.
 */
extern bool body_key_names(const Body *body, void *(*allocate)(size_t size), BodyColumns *names)
	__attribute__((warn_unused_result));

/* Takes the next piece of the result. */
typedef void (*BodyPut)(void *arg, const char *data, size_t len);

/*
 * Write an object for clients. The rows contain only these columns (NULL: all), besides the old key
 * if the key has changed. With bare set, there is no payload. With reduced set, payload and rows are
 * left out except for such a key, and "truncated":true is added. Returns false if the key of a leaving row is not known, because the
 * rows had been left out before; what was put is incomplete then.
 */
extern bool body_write(const Body *body, BodyChange change, const BodyColumns *columns, bool bare,
					   bool reduced, BodyPut put, void *arg) __attribute__((warn_unused_result));

#endif /* PG_NOTIFYD_EVENT_BODY_H */
