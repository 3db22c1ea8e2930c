/*-------------------------------------------------------------------------
 *
 * server_version.h
 *	  Minor releases of PostgreSQL that lack a fix which pg_notifyd needs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SERVER_VERSION_H
#define PG_NOTIFYD_SERVER_VERSION_H

/*
 * Return the release to update to, if VACUUM of the server's release (as in server_version_num) may
 * remove the transaction status that LISTEN and NOTIFY still need, or 0. PostgreSQL fixed this in
 * commit 8eeb4a0f7c of 12 November 2025, after that month's releases, so each supported branch has
 * the fix since its next release. Does not depend on PostgreSQL, so it can be tested alone.
 */
static inline int
server_version_fixed_in(int version_num)
{
	static const int fixed[] = {140021, 150016, 160012, 170008, 180002};

	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
	{
		if (version_num / 10000 == fixed[i] / 10000 && version_num < fixed[i])
			return fixed[i];
	}
	return 0;
}

/* Log a warning if the running server lacks the fix. */
extern void server_version_check(void);

#endif /* PG_NOTIFYD_SERVER_VERSION_H */
