/*-------------------------------------------------------------------------
 *
 * failpoint.h
 *	  Places where tests make a process fail, in builds with FAIL_POINTS=1 only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FAILPOINT_H
#define PG_NOTIFYD_FAILPOINT_H

/*
 * FAIL_POINT("name") does what the setting pg_notifyd.fail_points says for that name: a list
 * of name=action[:probability], separated by commas, where action is
 *	  crash		the process kills itself by SIGKILL
 *	  error		an ERROR; not where a transaction has committed already
 *	  pause		waits as long as the setting says so
 * Only superusers can set it.
 */
#ifdef NOTIFYD_FAIL_POINTS
#define FAIL_POINT(name) failpoint_reach(name)
extern void failpoint_reach(const char *name);
extern void failpoint_define(void);

/* Numbers that come around do so soon in these builds: they have 8 bits. */
#define FAIL_NUMBER(number) ((number) &0xff)
#else
#define FAIL_POINT(name)    ((void) 0)
#define failpoint_define()  ((void) 0)
#define FAIL_NUMBER(number) (number)
#endif

#endif /* PG_NOTIFYD_FAILPOINT_H */
