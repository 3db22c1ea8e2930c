/*-------------------------------------------------------------------------
 *
 * channel_name.h
 *	  Which names a channel can have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CHANNEL_NAME_H
#define PG_NOTIFYD_CHANNEL_NAME_H

#include "postgres.h"

/*
 * Raise ERRCODE_INVALID_NAME, with the hint unless it is NULL, if the name cannot be a channel's: it
 * must have 1 to 63 bytes in UTF-8 and no control characters.
 */
extern void channel_check_name(const char *channel, const char *hint);

#endif /* PG_NOTIFYD_CHANNEL_NAME_H */
