/*-------------------------------------------------------------------------
 *
 * wait_first.c
 *	  What a commit would wait for, done before its transaction delays others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/async.h"
#include "commands/tablecmds.h"
#include "storage/lmgr.h"

#include "ext/log/log.h"
#include "ext/transaction/output.h"
#include "ext/transaction/wait_first.h"

/*
 * Return true if the transaction has executed NOTIFY, LISTEN or UNLISTEN. Only async.c knows.
 * AtPrepare_Notify() does nothing except raise an error in this case (PostgreSQL 14 to 18). There
 * is nothing to clean up after that error, so no subtransaction is needed to catch it.
 */
static bool
wait_transaction_notifies(void)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool notifies = false;

	PG_TRY();
	{
		AtPrepare_Notify();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		notifies = true;
	}
	PG_END_TRY();
	return notifies;
}

/*
 * Do everything that the commit would wait for after our callback, before this transaction delays
 * others.
 *
 * ON COMMIT actions of temporary tables take locks on them, which other sessions may hold. The
 * commit does not repeat them: it skips dropped tables, and truncates none if the flag for access
 * to temporary tables is not set (PreCommit_on_commit_actions() in commands/tablecmds.c).
 *
 * A commit with notifications waits for earlier transactions with notifications to end.
 * PreCommit_Notify() in commands/async.c takes the same lock, and finds that this transaction holds
 * it. It is taken last, as in PreCommit_Notify(), because a transaction with this lock should wait
 * for nothing else.
 *
 * After that the session does not wait for its own client either.
 */
void
wait_first(NotifydDatabase *database, bool notifies)
{
	if (MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE)
	{
		PreCommit_on_commit_actions();
		MyXactFlags &= ~XACT_FLAGS_ACCESSEDTEMPNAMESPACE;
	}
	output_begin_buffering();
	if (notifies || wait_transaction_notifies())
	{
		log_lock(database);
		LockSharedObject(DatabaseRelationId, InvalidOid, 0, AccessExclusiveLock);
	}
}
