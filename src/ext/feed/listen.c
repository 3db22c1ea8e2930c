/*-------------------------------------------------------------------------
 *
 * listen.c
 *	  LISTEN inside the server.
 *
 * The statement LISTEN is refused in a background worker, but its machinery is not: Async_Listen()
 * registers the process like any session, and ProcessNotifyInterrupt() hands over what has come by
 * writing NotificationResponse messages to the frontend (commands/async.c, NotifyMyFrontEnd). There
 * is no frontend here, so for that moment the message functions are ours.
 *
 * A listener that does not read holds back the clean-up of the whole cluster's queue: the feed
 * drains it on each wake, whether or not anybody can take what comes.
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
static bool listen_heard; /* something has come in this drain */

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

/* A NotificationResponse is: int32 process id, channel, payload, the latter two NUL-terminated. */
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
 * What notifications tell of may not be flushed yet (synchronous_commit = off), and a crash could
 * undo it. They do not say where their commit is in WAL, so all of it that is there is flushed.
 */
static void
listen_make_durable(void)
{
	XLogRecPtr lsn = GetXLogInsertRecPtr();

	/*
	 * Where the next record will begin, behind the header of its page: nothing is written there
	 * yet.
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
