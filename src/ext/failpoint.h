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

/* Counters that may come around begin near their end in these builds. */
#define FAIL_COUNTER_START (PG_UINT32_MAX - 20)
#else
#define FAIL_POINT(name)   ((void) 0)
#define failpoint_define() ((void) 0)
#define FAIL_COUNTER_START 0
#endif

#endif /* PG_NOTIFYD_FAILPOINT_H */
