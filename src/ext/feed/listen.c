/*-------------------------------------------------------------------------
 *
 * listen.c
 *	  LISTEN inside the server.
 *
 * A background worker cannot run the statement LISTEN, but it can call the functions behind it.
 * Async_Listen() registers the process like any session, and ProcessNotifyInterrupt() delivers
 * notifications by writing NotificationResponse messages to the frontend (NotifyMyFrontEnd() in
 * commands/async.c). There is no frontend here, so this file replaces the message functions during
 * that call.
 *
 * A listener that does not read prevents the cleanup of the cluster's queue. So the feed reads it
 * on each wake-up, even if no gateway can take the notifications.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "commands/async.h"
#include "libpq/libpq.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"

#include "ext/feed/listen.h"

static ListenCallback listen_callback;
static void *listen_arg;
static bool listen_heard; /* this call has read a notification */

static void
listen_comm_reset(void)
{
}

static int
listen_flush(void)
{
	return 0;
}

static bool
listen_is_send_pending(void)
{
	return false;
}

/* A NotificationResponse is: int32 process id, channel, payload; both strings end with a NUL. */
static int
listen_putmessage(char type, const char *data, size_t length)
{
	const char *channel = data + sizeof(int32);
	const char *end = data + length;
	const char *payload;

	if (type != 'A' || length < sizeof(int32) + 2)
		return 0;
	payload = memchr(channel, '\0', end - channel);
	if (payload == NULL || memchr(payload + 1, '\0', end - payload - 1) == NULL)
		return 0;
	listen_heard = true;
	listen_callback(listen_arg, channel, payload + 1);
	return 0;
}

static void
listen_putmessage_noblock(char type, const char *data, size_t length)
{
	(void) listen_putmessage(type, data, length);
}

static const PQcommMethods listen_methods = {
	.comm_reset = listen_comm_reset,
	.flush = listen_flush,
	.flush_if_writable = listen_flush,
	.is_send_pending = listen_is_send_pending,
	.putmessage = listen_putmessage,
	.putmessage_noblock = listen_putmessage_noblock,
};

void
listen_init(ListenCallback callback, void *arg)
{
	listen_callback = callback;
	listen_arg = arg;
}

void
listen_add(const char *channel)
{
	Async_Listen(channel);
}

void
listen_remove(const char *channel)
{
	Async_Unlisten(channel);
}

/*
 * Flush the WAL, because the commits of notifications may not be flushed yet (synchronous_commit =
 * off), and a crash could undo them. A notification does not contain its commit's position in the
 * WAL, so everything is flushed.
 */
static void
listen_make_durable(void)
{
	XLogRecPtr lsn = GetXLogInsertRecPtr();

	/*
	 * This is where the next record will begin, after the header of its page: nothing is written
	 * there yet.
	 */
	if (XLogSegmentOffset(lsn, wal_segment_size) == SizeOfXLogLongPHD)
		lsn -= SizeOfXLogLongPHD;
	else if (lsn % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		lsn -= SizeOfXLogShortPHD;
	XLogFlush(lsn);
}

void
listen_drain(void)
{
	const PQcommMethods *methods = PqCommMethods;
	CommandDest dest = whereToSendOutput;

	if (!notifyInterruptPending)
		return;
	listen_heard = false;
	PG_TRY();
	{
		PqCommMethods = &listen_methods;
		whereToSendOutput = DestRemote;
		ProcessNotifyInterrupt(false);
	}
	PG_FINALLY();
	{
		PqCommMethods = methods;
		whereToSendOutput = dest;
	}
	PG_END_TRY();
	if (listen_heard)
		listen_make_durable();
}
