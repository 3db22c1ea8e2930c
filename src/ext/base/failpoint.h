/*-------------------------------------------------------------------------
 *
 * failpoint.h
 *	  Points where tests can make a process fail, only in builds with FAIL_POINTS=1.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FAILPOINT_H
#define PG_NOTIFYD_FAILPOINT_H

/*
 * FAIL_POINT("name") performs the action that the setting pg_notifyd.fail_points has for that name.
 * The setting is a list of name=action[:probability], separated by commas, with the actions
 *
 *	  crash		the process kills itself with SIGKILL
 *	  error		raises an ERROR; not allowed after the transaction has committed
 *	  pause		waits as long as the setting is unchanged
 *
 * Only superusers can set it.
 */
#ifdef NOTIFYD_FAIL_POINTS
#define FAIL_POINT(name) failpoint_reach(name)
extern void failpoint_reach(const char *name);
extern void failpoint_define(void);

/* Numbers that wrap around have only 8 bits in these builds, so that they wrap around soon. */
#define FAIL_NUMBER(number) ((number) &0xff)
#else
#define FAIL_POINT(name)    ((void) 0)
#define failpoint_define()  ((void) 0)
#define FAIL_NUMBER(number) (number)
#endif

#endif /* PG_NOTIFYD_FAILPOINT_H */
