/*-------------------------------------------------------------------------
 *
 * wire_types.h
 *	  What the fields of frames are made of.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WIRE_TYPES_H
#define PG_NOTIFYD_WIRE_TYPES_H

#include <stdint.h>

/* A reference to bytes that someone else owns. */
typedef struct WireBytes
{
	const char *data;
	uint32_t len;
} WireBytes;

/* A position in the order of events. */
typedef struct WirePosition
{
	uint32_t timeline;
	uint64_t id;
} WirePosition;

#endif /* PG_NOTIFYD_WIRE_TYPES_H */
