/*-------------------------------------------------------------------------
 *
 * take.h
 *	  Limits of requests that take events from a consumer group by HTTP. The gateway enforces them,
 *	  and /openapi.json describes them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_TAKE_H
#define PG_NOTIFYD_TAKE_H

#define TAKE_MAX_COUNT 1000 /* events */
#define TAKE_MAX_WAIT  60   /* seconds */

#endif /* PG_NOTIFYD_TAKE_H */
