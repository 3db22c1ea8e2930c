/*-------------------------------------------------------------------------
 *
 * output.c
 *	  Output to the session's client while others wait for its commit.
 *
 * PostgreSQL sends messages to the client in the middle of a commit: DEBUG messages if the session
 * asks for them, warnings of other libraries, and an error, which it reports before it aborts the
 * transaction. send_message_to_frontend() (utils/error/elog.c) flushes each of them, and the flush
 * waits until the client reads. A client that does not read would delay the events of the whole
 * database, and every NOTIFY in the cluster.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/libpq.h"

#include "ext/transaction/output.h"

static const PQcommMethods *output_methods =
	NULL; /* PostgreSQL's own, while buffering; otherwise NULL */
static PQcommMethods output_buffering;

/*
 * PostgreSQL's putmessage_noblock() enlarges the buffer for the message and then calls
 * putmessage().
 */
static int
output_putmessage(char msgtype, const char *s, size_t len)
{
	PqCommMethods = output_methods;
	output_methods->putmessage_noblock(msgtype, s, len);
	PqCommMethods = &output_buffering;
	return 0;
}

void
output_begin_buffering(void)
{
	if (output_methods != NULL)
		return;
	output_buffering = *PqCommMethods;
	output_buffering.flush = PqCommMethods->flush_if_writable;
	output_buffering.putmessage = output_putmessage;
	output_methods = PqCommMethods;
	PqCommMethods = &output_buffering;
}

void
output_end_buffering(void)
{
	if (output_methods == NULL)
		return;
	PqCommMethods = output_methods;
	output_methods = NULL;
}
