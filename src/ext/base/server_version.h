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
 * Returns the release to update to if the server's release, as in server_version_num, lets VACUUM
 * remove the transaction status that LISTEN and NOTIFY still need; 0 if it does not. PostgreSQL
 * fixed this in commit 8eeb4a0f7c of 12 November 2025, after that month's releases were made, so
 * each supported branch has the fix since its next release. It needs nothing of PostgreSQL, so that
 * it can be tested alone.
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

/* Writes a warning to the server's log if the running server lacks the fix. */
extern void server_version_check(void);

#endif /* PG_NOTIFYD_SERVER_VERSION_H */
