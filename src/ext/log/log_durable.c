/*-------------------------------------------------------------------------
 *
 * log_durable.c
 *	  Whether what was read can still be lost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"

#include "ext/base/compat.h"
#include "ext/log/log.h"

bool
log_make_durable(XLogRecPtr lsn)
{
	XLogRecPtr confirmed;

	if (lsn > COMPAT_FLUSHED())
		XLogFlush(lsn);
	if (max_wal_senders == 0 || SyncRepStandbyNames == NULL || SyncRepStandbyNames[0] == '\0')
		return true;
	LWLockAcquire(SyncRepLock, LW_SHARED);
	confirmed = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH];
	LWLockRelease(SyncRepLock);
	return lsn <= confirmed;
}
