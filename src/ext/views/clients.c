/*-------------------------------------------------------------------------
 *
 * clients.c
 *	  The rows of the view notifyd.clients.
 *
 * Only the gateways know the connected clients. The backend that reads the view asks one gateway
 * after the other over the sockets that the feeds use: it sends a HELLO without a database, and
 * gets a frame for each client. Only processes of our operating system user can be at the socket,
 * but the frames are checked all the same.
 *
 * A gateway that does not answer within CLIENTS_TIMEOUT_MS causes a warning, and an invalid frame
 * an error.
 *
 * Only superusers and members of pg_read_all_stats see rows, because the names of channels and
 * their subscribers may be confidential.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "ext/base/compat.h"
#include "ext/base/utf8.h"
#include "ext/base/extension.h"
#include "ext/base/frames.h"
#include "fmgr.h"
#include "portability/instr_time.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "ext/views/clients.h"
#include "storage/fd.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "wire/wire.h"

PG_FUNCTION_INFO_V1(notifyd_client_rows);

/* For the whole answer of one gateway, in ms. */
#define CLIENTS_TIMEOUT_MS 5000

/* Much larger than any frame that a gateway sends to a backend. */
#define CLIENTS_MAX_FRAME (64 * 1024)

/* The columns of notifyd.client_rows(), in their order. */
typedef enum ClientsColumn
{
	CLIENTS_GATEWAY = 0,
	CLIENTS_ADDRESS,
	CLIENTS_PORT,
	CLIENTS_DATABASE,
	CLIENTS_ROLE,
	CLIENTS_CONNECTED_AT,
	CLIENTS_SUBPROTOCOL,
	CLIENTS_CHANNELS,
	CLIENTS_POSITION,
	CLIENTS_LAG,
	CLIENTS_QUEUED_BYTES,
	CLIENTS_MESSAGES,
	CLIENTS_BYTES_SENT,
	CLIENTS_SUBJECT, /* from here on not in version 1.0 */
	CLIENTS_EXPIRES_AT,
	CLIENTS_QUEUED_SINCE,
	CLIENTS_SESSION,
} ClientsColumn;
#define CLIENTS_NCOLUMNS     (CLIENTS_SESSION + 1)
#define CLIENTS_NCOLUMNS_1_0 (CLIENTS_BYTES_SENT + 1)

typedef struct ClientsRow
{
	Datum values[CLIENTS_NCOLUMNS];
	bool nulls[CLIENTS_NCOLUMNS];
} ClientsRow;

/* The connection to one gateway. */
typedef struct ClientsReader
{
	int gateway;
	FrameSocket socket;
	instr_time began;
	ClientsHandler handler;
	void *arg;
	MemoryContext client_context; /* reset after each client */
	bool greeted;
	bool ended;
} ClientsReader;

/* Convert UTF-8 from the gateway to the encoding of the database. */
static char *
clients_text(WireBytes bytes)
{
	StringInfoData text;

	initStringInfo(&text);
	utf8_append_server(&text, bytes.data, (int) bytes.len);
	return text.data;
}

static void
clients_set(ClientsRow *row, ClientsColumn column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

static void
clients_set_count(ClientsRow *row, ClientsColumn column, uint64 count)
{
	clients_set(row, column, Int64GetDatum((int64) count));
}

static void
clients_set_name(ClientsRow *row, ClientsColumn column, const char *name)
{
	/* namein() truncates at a character. */
	if (name[0] != '\0')
		clients_set(row, column, DirectFunctionCall1(namein, CStringGetDatum(name)));
}

static void
clients_set_address(ClientsRow *row, const WireClient *client)
{
	char *address = clients_text(client->address);

	if (address[0] == '\0')
		return;
	/* Remove the zone of a link-local address, which inet cannot store, like inet_client_addr(). */
	if (strchr(address, ':') != NULL)
		clean_ipv6_addr(AF_INET6, address);
	clients_set(row, CLIENTS_ADDRESS, DirectFunctionCall1(inet_in, CStringGetDatum(address)));
	if (client->port != 0)
		clients_set(row, CLIENTS_PORT, Int32GetDatum(client->port));
}

static int
clients_compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static void
clients_set_channels(ClientsRow *row, WireBytes list)
{
	/* Each string takes at least its length field. */
	size_t most = list.len / sizeof(uint32);
	char **names = palloc(sizeof(char *) * (most + 1));
	Datum *datums = palloc(sizeof(Datum) * (most + 1));
	int count = 0;
	WireBytes name;

	while (wire_list_next(&list, &name))
		names[count++] = clients_text(name);
	qsort(names, count, sizeof(char *), clients_compare_names);
	for (int i = 0; i < count; i++)
		datums[i] = CStringGetTextDatum(names[i]);
	clients_set(row, CLIENTS_CHANNELS,
				PointerGetDatum(construct_array(datums, count, TEXTOID, -1, false, TYPALIGN_INT)));
}

static void
clients_set_time(ClientsRow *row, ClientsColumn column, uint64 since_1970)
{
	TimestampTz time = (TimestampTz) since_1970 - NOTIFYD_UNIX_EPOCH;

	if (since_1970 > PG_INT64_MAX || !IS_VALID_TIMESTAMP(time))
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("a gateway sent a time out of range")));
	clients_set(row, column, TimestampTzGetDatum(time));
}

/* Set a time that lies this many microseconds back. */
static void
clients_set_ago(ClientsRow *row, ClientsColumn column, uint64 us)
{
	int64 back = (int64) Min(us, (uint64) PG_INT32_MAX * USECS_PER_SEC);

	clients_set(row, column, TimestampTzGetDatum(GetCurrentTimestamp() - back));
}

static void
clients_set_position(ClientsRow *row, const WireClient *client)
{
	char position[WIRE_POSITION_SIZE];

	(void) wire_position_format(client->position, position);
	clients_set(row, CLIENTS_POSITION, CStringGetTextDatum(position));
	clients_set_count(row, CLIENTS_LAG, client->lag);
}

static void
clients_add_row(void *arg, int gateway, const WireClient *client)
{
	ReturnSetInfo *result = arg;
	ClientsRow row;

	memset(row.nulls, true, sizeof(row.nulls));
	clients_set(&row, CLIENTS_GATEWAY, Int32GetDatum(gateway));
	clients_set_address(&row, client);
	/* A client of WAMP has none until it says HELLO. */
	if (client->database.len > 0)
		clients_set_name(&row, CLIENTS_DATABASE, clients_text(client->database));
	clients_set_name(&row, CLIENTS_ROLE,
					 client->role.len > 0 ? clients_text(client->role) : notifyd_anonymous_role);
	if (client->subprotocol.len > 0)
		clients_set(&row, CLIENTS_SUBPROTOCOL,
					CStringGetTextDatum(clients_text(client->subprotocol)));
	clients_set_channels(&row, client->channels);
	clients_set_time(&row, CLIENTS_CONNECTED_AT, client->connected_at);
	if (client->database.len > 0)
		clients_set_position(&row, client);
	clients_set_count(&row, CLIENTS_QUEUED_BYTES, client->queued);
	clients_set_count(&row, CLIENTS_MESSAGES, client->messages);
	clients_set_count(&row, CLIENTS_BYTES_SENT, client->bytes);
	if (client->subject.len > 0)
		clients_set(&row, CLIENTS_SUBJECT, CStringGetTextDatum(clients_text(client->subject)));
	if (client->expires_at != 0)
		clients_set_time(&row, CLIENTS_EXPIRES_AT, client->expires_at);
	if (client->number != 0)
		clients_set_count(&row, CLIENTS_SESSION, client->number);
	if (client->queued > 0)
		clients_set_ago(&row, CLIENTS_QUEUED_SINCE, client->queued_us);
	tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
}

static void
clients_handle_client(ClientsReader *reader, const WireClient *client)
{
	MemoryContext old_context = MemoryContextSwitchTo(reader->client_context);

	reader->handler(reader->arg, reader->gateway, client);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(reader->client_context);
}

static void
clients_handle(ClientsReader *reader, const WireMessage *message)
{
	bool hello = message->type == WIRE_HELLO;

	if (hello != !reader->greeted ||
		(!hello && message->type != WIRE_CLIENT && message->type != WIRE_CLIENTS_END))
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("unexpected frame of type %d from gateway %d", (int) message->type,
							   reader->gateway)));
	if (hello)
		reader->greeted = frames_version_ok(reader->gateway, message->u.hello.version, ERROR);
	else if (message->type == WIRE_CLIENT)
		clients_handle_client(reader, &message->u.client);
	else
		reader->ended = true;
}

/* Process the complete frames that have arrived. */
static void
clients_dispatch(ClientsReader *reader)
{
	WireMessage message;
	WireResult result = WIRE_MORE;

	while (!reader->ended && (result = frames_next(&reader->socket, &message)) == WIRE_OK)
		clients_handle(reader, &message);
	if (result == WIRE_BAD)
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("malformed frame from gateway %d", reader->gateway)));
}

/* Return how many milliseconds the gateway has left; 0 or less: none. */
static long
clients_time_left(const ClientsReader *reader)
{
	instr_time elapsed;

	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, reader->began);
	return CLIENTS_TIMEOUT_MS - (long) INSTR_TIME_GET_MILLISEC(elapsed);
}

static void
clients_wait(const ClientsReader *reader, long timeout)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		COMPAT_WAIT_EVENT(wait_event, "NotifydClients");
	(void) WaitLatchOrSocket(MyLatch,
							 WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 reader->socket.fd, timeout, wait_event);
	ResetLatch(MyLatch);
}

/* Connect and send the request. On failure returns false with errno set. */
static bool
clients_ask(ClientsReader *reader)
{
	WireMessage hello = {.type = WIRE_HELLO, .u.hello = {.version = WIRE_VERSION}};

	if (!frames_connect(&reader->socket, reader->gateway))
		return false;
	/* A new socket accepts such a small frame at once. */
	frames_queue(&reader->socket, &hello);
	return frames_flush(&reader->socket);
}

/* Read the whole answer of the gateway. Returns NULL, or the reason why it is incomplete. */
static const char *
clients_listen(ClientsReader *reader)
{
	while (!reader->ended)
	{
		long left = clients_time_left(reader);
		int got;

		CHECK_FOR_INTERRUPTS();
		if (left <= 0)
			return "It did not answer in time.";
		got = frames_receive(&reader->socket);
		if (got > 0)
			clients_dispatch(reader);
		else if (got == 0)
			clients_wait(reader, left);
		else if (errno == 0)
			return "It closed the connection.";
		else
			return psprintf("%s.", strerror(errno));
	}
	return NULL;
}

/* Read the clients of one gateway, which may have ended. */
static void
clients_read_gateway(ClientsReader *reader, int gateway)
{
	reader->gateway = gateway;
	reader->greeted = false;
	reader->ended = false;
	INSTR_TIME_SET_CURRENT(reader->began);
	/*
	 * Count the socket as an external file descriptor, so that the server does not run out of
	 * descriptors.
	 */
	if (!AcquireExternalFD())
		ereport(ERROR, (errcode_for_socket_access(),
						errmsg("could not create socket for gateway %d: %m", gateway)));
	if (!frames_open(&reader->socket))
	{
		ReleaseExternalFD();
		ereport(ERROR, (errcode_for_socket_access(),
						errmsg("could not create socket for gateway %d: %m", gateway)));
	}
	PG_TRY();
	{
		const char *problem =
			clients_ask(reader) ? clients_listen(reader) : psprintf("%s.", strerror(errno));

		if (problem != NULL)
			ereport(WARNING, (errmsg("could not get all clients of gateway %d", gateway),
							  errdetail_internal("%s", problem)));
	}
	PG_FINALLY();
	{
		frames_close(&reader->socket);
		ReleaseExternalFD();
	}
	PG_END_TRY();
}

static bool
clients_gateway_running(int gateway)
{
	bool running;

	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	running = notifyd_shared->gateways[gateway].pid != 0 && notifyd_shared->gateways[gateway].ready;
	LWLockRelease(&notifyd_shared->lock);
	return running;
}

void
clients_read(ClientsHandler handler, void *arg)
{
	ClientsReader *reader = palloc0(sizeof(ClientsReader));

	frames_init(&reader->socket, CLIENTS_MAX_FRAME);
	reader->handler = handler;
	reader->arg = arg;
	reader->client_context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd client", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (clients_gateway_running(i))
			clients_read_gateway(reader, i);
	}
	MemoryContextDelete(reader->client_context);
	pfree(reader);
}

/* Return the rows of notifyd.clients; none if the library is not preloaded. */
Datum
notifyd_client_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result;

	compat_materialized_srf(fcinfo);
	if (notifyd_shared == NULL || !has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS))
		return (Datum) 0;
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	/* Version 1.0 has the first columns only, and gets these. */
	if (result->setDesc->natts != CLIENTS_NCOLUMNS &&
		result->setDesc->natts != CLIENTS_NCOLUMNS_1_0)
		extension_require_version();
	if (result->setDesc->natts != CLIENTS_NCOLUMNS &&
		result->setDesc->natts != CLIENTS_NCOLUMNS_1_0)
		elog(ERROR, "unexpected number of columns: %d", result->setDesc->natts);
	clients_read(clients_add_row, result);
	return (Datum) 0;
}
