/*-------------------------------------------------------------------------
 *
 * channel_name.h
 *	  Checks the names of channels.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CHANNEL_NAME_H
#define PG_NOTIFYD_CHANNEL_NAME_H

#include "postgres.h"

/*
 * Check that a channel may have this name: 1 to 63 bytes in UTF-8, without control characters.
 * Raises ERRCODE_INVALID_NAME, with the hint unless it is NULL.
 */
extern void channel_check_name(const char *channel, const char *hint);

#endif /* PG_NOTIFYD_CHANNEL_NAME_H */
