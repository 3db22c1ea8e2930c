/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The differences between PostgreSQL 14 and 18. No other file depends on the version.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_COMPAT_H
#define PG_NOTIFYD_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker.h"
#include "postmaster/bgworker_internals.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "storage/smgr.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM >= 150000
#include "access/xlogrecovery.h"
#endif

#if PG_VERSION_NUM < 140000
#error "pg_notifyd needs PostgreSQL 14 or later"
#endif

/* Goes before the declaration of a function that does not return. */
#if PG_VERSION_NUM >= 180000
#define COMPAT_NORETURN pg_noreturn
#else
#define COMPAT_NORETURN pg_attribute_noreturn()
#endif

/*
 * Reserve the prefix of our settings: an unknown pg_notifyd.x is an error, or a warning before 15.
 */
#if PG_VERSION_NUM >= 150000
#define COMPAT_RESERVE_PREFIX(prefix) MarkGUCPrefixReserved(prefix)
#else
#define COMPAT_RESERVE_PREFIX(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/*
 * Call hook when shared memory may be requested. Before 15 there is no shmem_request_hook, and the
 * call is immediate. *prev keeps the previous hook.
 */
#if PG_VERSION_NUM >= 150000
#define COMPAT_SHMEM_REQUEST(hook, prev) ((prev) = shmem_request_hook, shmem_request_hook = (hook))
#define COMPAT_SHMEM_REQUEST_CHAIN(prev)                                                           \
	do                                                                                             \
	{                                                                                              \
		if (prev)                                                                                  \
			(prev)();                                                                              \
	} while (0)
typedef shmem_request_hook_type compat_shmem_request_hook_type;
#else
#define COMPAT_SHMEM_REQUEST(hook, prev) ((prev) = NULL, (hook) ())
#define COMPAT_SHMEM_REQUEST_CHAIN(prev) ((void) (prev))
typedef void (*compat_shmem_request_hook_type)(void);
#endif

/*
 * Return the number of PGPROCs, which is more than any compat_proc_number(). May be called from the
 * shmem request hook on. Before 15 MaxBackends is not set then, so this adds up the same numbers as
 * InitializeMaxBackends() (postinit.c).
 */
static inline int
compat_proc_count(void)
{
#if PG_VERSION_NUM >= 150000
	int backends = MaxBackends;
#else
	int backends =
		MaxConnections + autovacuum_max_workers + 1 + max_worker_processes + max_wal_senders;
#endif

	return backends + NUM_AUXILIARY_PROCS + max_prepared_xacts;
}

/* Return the number of this process's PGPROC. */
static inline int
compat_proc_number(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyProc->pgprocno;
#endif
}

/*
 * Return a wait event of our own, with a name from 17 on. static_id is a static uint32 that starts
 * as 0.
 */
#if PG_VERSION_NUM >= 170000
#define COMPAT_WAIT_EVENT(static_id, name)                                                         \
	((static_id) != 0 ? (static_id) : ((static_id) = WaitEventExtensionNew(name)))
#else
#define COMPAT_WAIT_EVENT(static_id, name) ((static_id) = PG_WAIT_EXTENSION)
#endif

/* Send a message by a queue without waiting; the receiver is woken at once. */
#if PG_VERSION_NUM >= 150000
#define COMPAT_MQ_SEND(queue, length, data) shm_mq_send(queue, length, data, true, true)
#else
#define COMPAT_MQ_SEND(queue, length, data) shm_mq_send(queue, length, data, true)
#endif

/* Create a wait event set that lives until FreeWaitEventSet(). */
static inline WaitEventSet *
compat_create_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

/*
 * Return the process that has a virtual transaction, or 0 if it has ended or is a prepared
 * transaction.
 */
static inline int
compat_vxid_pid(VirtualTransactionId vxid)
{
#if PG_VERSION_NUM >= 170000
	PGPROC *proc =
		vxid.procNumber != INVALID_PROC_NUMBER ? ProcNumberGetProc(vxid.procNumber) : NULL;
#else
	PGPROC *proc = vxid.backendId != InvalidBackendId ? BackendIdGetProc(vxid.backendId) : NULL;
#endif

	return proc != NULL ? proc->pid : 0;
}

/*
 * Return true if the postmaster has accepted this static background worker.
 * RegisterBackgroundWorker() only logs a failure.
 */
static inline bool
compat_worker_registered(const char *name)
{
#if PG_VERSION_NUM >= 180000
	dlist_iter iter;

	dlist_foreach (iter, &BackgroundWorkerList)
	{
		if (strcmp(dlist_container(RegisteredBgWorker, rw_lnode, iter.cur)->rw_worker.bgw_name,
				   name) == 0)
			return true;
	}
#else
	slist_iter iter;

	slist_foreach (iter, &BackgroundWorkerList)
	{
		if (strcmp(slist_container(RegisteredBgWorker, rw_lnode, iter.cur)->rw_worker.bgw_name,
				   name) == 0)
			return true;
	}
#endif
	return false;
}

/* Return true if role owns the database. */
static inline bool
compat_database_ownercheck(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

/* Return the timeline that is written, or replayed during recovery. */
static inline TimeLineID
compat_timeline(void)
{
	if (RecoveryInProgress())
	{
		TimeLineID timeline;

		(void) GetXLogReplayRecPtr(&timeline);
		return timeline;
	}
#if PG_VERSION_NUM >= 150000
	return GetWALInsertionTimeLine();
#else
	/* In a backend that has not written WAL yet, RecoveryInProgress() has set it. */
	return ThisTimeLineID;
#endif
}

/*
 * Make fcinfo return a set in a tuplestore: sets rsinfo->setResult and ->setDesc from the declared
 * result of the function. Raises the usual errors if the caller does not accept a set.
 */
static inline void
compat_materialized_srf(FunctionCallInfo fcinfo)
{
#if PG_VERSION_NUM >= 150000
	InitMaterializedSRF(fcinfo, 0);
#else
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext oldcontext;
	TupleDesc tupdesc;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		(rsinfo->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("set-valued function called in context that cannot accept a set")));

	oldcontext = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setResult = tuplestore_begin_heap((rsinfo->allowedModes & SFRM_Materialize_Random) != 0,
											  false, work_mem);
	rsinfo->setDesc = tupdesc;
	MemoryContextSwitchTo(oldcontext);
#endif
}

/* USAGE on a schema and CONNECT on a database, with object_aclcheck() from 16 on. */
#if PG_VERSION_NUM >= 160000
#define COMPAT_DATABASE_CONNECTABLE(database, role)                                                \
	(object_aclcheck(DatabaseRelationId, database, role, ACL_CONNECT) == ACLCHECK_OK)
#define COMPAT_SCHEMA_USABLE(schema, role)                                                         \
	(object_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) == ACLCHECK_OK)
#else
#define COMPAT_DATABASE_CONNECTABLE(database, role)                                                \
	(pg_database_aclcheck(database, role, ACL_CONNECT) == ACLCHECK_OK)
#define COMPAT_SCHEMA_USABLE(schema, role)                                                         \
	(pg_namespace_aclcheck(schema, role, ACL_USAGE) == ACLCHECK_OK)
#endif

/* EXECUTE on a function, and USAGE on a type. */
#if PG_VERSION_NUM >= 160000
#define COMPAT_TYPE_USABLE(type, role)                                                             \
	(object_aclcheck(TypeRelationId, type, role, ACL_USAGE) == ACLCHECK_OK)
#define COMPAT_FUNCTION_EXECUTABLE(function, role)                                                 \
	(object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK)
#else
#define COMPAT_TYPE_USABLE(type, role) (pg_type_aclcheck(type, role, ACL_USAGE) == ACLCHECK_OK)
#define COMPAT_FUNCTION_EXECUTABLE(function, role)                                                 \
	(pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* Memory for what a check hook returns; NULL, after a log line from 16 on, if there is none. */
#if PG_VERSION_NUM >= 160000
#define COMPAT_GUC_MALLOC(size) guc_malloc(LOG, size)
#else
#define COMPAT_GUC_MALLOC(size) malloc(size)
#endif

/* Whether a role may SET ROLE to another one. */
static inline bool
compat_may_set_role(Oid member, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return member_can_set_role(member, role);
#else
	return is_member_of_role(member, role);
#endif
}

/* Read exactly size bytes, or raise an error. */
#if PG_VERSION_NUM >= 160000
#define compat_buffile_read(file, to, size) BufFileReadExact(file, to, size)
#else
#define compat_buffile_read(file, to, size)                                                        \
	do                                                                                             \
	{                                                                                              \
		if (BufFileRead(file, to, size) != (size))                                                 \
			ereport(ERROR, (errcode_for_file_access(),                                             \
							errmsg("could not read from temporary file: %m")));                    \
	} while (0)
#endif

/* Return the number of a table's file, which changes with TRUNCATE, VACUUM FULL and the like. */
#if PG_VERSION_NUM >= 160000
#define COMPAT_RELATION_FILE(relation) ((relation)->rd_locator.relNumber)
#else
#define COMPAT_RELATION_FILE(relation) ((relation)->rd_node.relNode)
#endif

/*
 * Give a relation a new, empty file; the old one is removed at commit. The caller holds the lock.
 */
static inline void
compat_set_new_file(Relation relation)
{
#if PG_VERSION_NUM >= 160000
	RelationSetNewRelfilenumber(relation, relation->rd_rel->relpersistence);
#else
	RelationSetNewRelfilenode(relation, relation->rd_rel->relpersistence);
#endif
}

/* Rebuild the indexes of a table and of its TOAST table. */
static inline void
compat_reindex_relation(Oid relation)
{
	ReindexParams params = {0};

#if PG_VERSION_NUM >= 170000
	reindex_relation(NULL, relation, REINDEX_REL_PROCESS_TOAST, &params);
#else
	reindex_relation(relation, REINDEX_REL_PROCESS_TOAST, &params);
#endif
}

/* Return the position up to which WAL is flushed. */
#if PG_VERSION_NUM >= 150000
#define COMPAT_FLUSHED() GetFlushRecPtr(NULL)
#else
#define COMPAT_FLUSHED() GetFlushRecPtr()
#endif

/* The length of a NOTIFY payload must be less (NOTIFY_PAYLOAD_MAX_LENGTH in commands/async.c). */
#define COMPAT_NOTIFY_PAYLOAD_MAX (BLCKSZ - NAMEDATALEN - 128)

/* Return true if role owns the relation. */
static inline bool
compat_relation_ownercheck(Oid relation, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relation, role);
#else
	return pg_class_ownercheck(relation, role);
#endif
}

/* Run a query that ExecutorStart() has prepared to its end. */
#if PG_VERSION_NUM >= 180000
#define COMPAT_EXECUTOR_RUN(query) ExecutorRun(query, ForwardScanDirection, 0)
#else
#define COMPAT_EXECUTOR_RUN(query) ExecutorRun(query, ForwardScanDirection, 0, true)
#endif

/* Return true if the values of a column are computed when they are read. */
#if PG_VERSION_NUM >= 180000
#define COMPAT_IS_VIRTUAL(attribute) ((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define COMPAT_IS_VIRTUAL(attribute) false
#endif

/* Analyze a statement without parameters. */
#if PG_VERSION_NUM >= 150000
#define COMPAT_PARSE_ANALYZE(statement) parse_analyze_fixedparams(statement, "", NULL, 0, NULL)
#else
#define COMPAT_PARSE_ANALYZE(statement) parse_analyze(statement, "", NULL, 0, NULL)
#endif

/* Scan an index forward, with nkeys keys. */
static inline IndexScanDesc
compat_index_beginscan(Relation table, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(table, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(table, index, snapshot, nkeys, 0);
#endif
}

/* Split "a.b.c" into a list of names (String nodes). Raises an error if the text is invalid. */
static inline List *
compat_parse_qualified_name(const char *text)
{
#if PG_VERSION_NUM >= 160000
	return stringToQualifiedNameList(text, NULL);
#else
	return stringToQualifiedNameList(text);
#endif
}

/*
 * CREATE OR REPLACE TRIGGER and ENABLE ALWAYS, as the current user. condition is the text of
 * stmt->whenClause. Before 15 existing partitions get the trigger enabled only for origin.
 */
static inline ObjectAddress
compat_create_trigger(CreateTrigStmt *stmt, const char *condition, Oid relation, Oid function)
{
#if PG_VERSION_NUM >= 150000
	return CreateTriggerFiringOn(stmt, condition, relation, InvalidOid, InvalidOid, InvalidOid,
								 function, InvalidOid, NULL, false, false, TRIGGER_FIRES_ALWAYS);
#else
	ObjectAddress trigger = CreateTrigger(stmt, condition, relation, InvalidOid, InvalidOid,
										  InvalidOid, function, InvalidOid, NULL, false, false);
	Relation rel = table_open(relation, ShareRowExclusiveLock);

	CommandCounterIncrement();
	EnableDisableTrigger(rel, stmt->trigname, TRIGGER_FIRES_ALWAYS, false, ShareRowExclusiveLock);
	table_close(rel, NoLock);
	return trigger;
#endif
}

#endif /* PG_NOTIFYD_COMPAT_H */
