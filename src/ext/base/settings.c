/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  The settings pg_notifyd.*. A reload applies changes of all of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "ext/base/compat.h"
#include "ext/base/failpoint.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "utils/varlena.h"
#include "wire/wire.h"

char *notifyd_listen_addresses = NULL;
int notifyd_port = 7432;
char *notifyd_default_database = NULL;
char *notifyd_anonymous_role = NULL;
char *notifyd_authenticator_role = NULL;
char *notifyd_allowed_origins = NULL;
char *notifyd_databases = NULL;
int notifyd_idle_timeout = 60 * 1000;
int notifyd_gateways = 1;
int notifyd_max_clients = 10000;
int notifyd_max_clients_per_address = 0;
int notifyd_max_message_size = 64 * 1024;
int notifyd_max_event_size = 4 * 1024 * 1024;
int notifyd_client_buffer = 8 * 1024;
int notifyd_keepalive = 30 * 1000;
int notifyd_sandbox = WIRE_SANDBOX_ON;
double notifyd_retention = 60 * 60;
int notifyd_retention_size = 1024;
int notifyd_query_workers = 2;
int notifyd_statement_timeout = 10 * 1000;
int notifyd_snapshot_timeout = 60 * 1000;
int notifyd_snapshot_spool_size = 4096;
int notifyd_max_response_size = 8 * 1024 * 1024;

/* The shortest interval between pings, in ms. */
#define SETTINGS_MIN_KEEPALIVE 100

/* A year, in s. */
#define SETTINGS_MAX_RETENTION (365.0 * 24 * 60 * 60)

static const struct config_enum_entry settings_sandbox_options[] = {
	{"off", WIRE_SANDBOX_OFF, false},
	{"on", WIRE_SANDBOX_ON, false},
	{"require", WIRE_SANDBOX_REQUIRE, false},
	{NULL, 0, false},
};

/*
 * Call check for each element of a comma-separated list. If one fails, return false with errdetail
 * set.
 */
static bool
settings_check_list(const char *value, bool (*check)(const char *element))
{
	char *copy = pstrdup(value);
	List *elements = NIL;
	ListCell *cell;
	bool good = true;

	if (!SplitGUCList(copy, ',', &elements))
	{
		GUC_check_errdetail("List syntax is invalid.");
		good = false;
	}
	foreach (cell, elements)
	{
		if (good && !check((const char *) lfirst(cell)))
			good = false;
	}
	list_free(elements);
	pfree(copy);
	return good;
}

static bool
settings_is_address(const char *element)
{
	size_t length = strlen(element);

	const char *colon = strchr(element, ':');

	/* An element with one colon contains a port; an IPv6 address has more colons. */
	if (strcmp(element, "*") == 0)
		return true;
	if ((colon == NULL || strchr(colon + 1, ':') != NULL) && length > 0 && length <= 255 &&
		strspn(element, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%") ==
			length)
		return true;
	GUC_check_errdetail("\"%s\" is neither a host name nor an IP address.", element);
	GUC_check_errhint("Use names or addresses without a port, \"*\" for all addresses, or an empty "
					  "string for none.");
	return false;
}

static bool
settings_check_listen_addresses(char **newval, void **extra pg_attribute_unused(),
								GucSource source pg_attribute_unused())
{
	return settings_check_list(*newval, settings_is_address);
}

/* Return true if the part of an origin after the host is empty or a colon and a port. */
static bool
settings_is_port_suffix(const char *text)
{
	int port = 0;

	if (*text == '\0')
		return true;
	if (*text++ != ':' || *text == '\0' || strlen(text) > 5)
		return false;
	for (; *text != '\0'; text++)
	{
		if (*text < '0' || *text > '9')
			return false;
		port = port * 10 + (*text - '0');
	}
	return port >= 1 && port <= 65535;
}

/*
 * Return true for an origin as browsers send it (RFC 6454, section 6.1): scheme://host or
 * scheme://host:port.
 */
static bool
settings_is_origin(const char *element)
{
	static const char lower_digits[] = "abcdefghijklmnopqrstuvwxyz0123456789+.-";
	const char *host;
	size_t scheme = strspn(element, lower_digits);
	size_t length;

	if (scheme == 0 || !(element[0] >= 'a' && element[0] <= 'z') ||
		strncmp(element + scheme, "://", 3) != 0)
		return false;
	host = element + scheme + 3;
	if (*host == '[')
	{
		length = strspn(host + 1, "0123456789abcdefABCDEF:.");
		return length >= 2 && host[length + 1] == ']' && settings_is_port_suffix(host + length + 2);
	}
	length = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
	return length > 0 && settings_is_port_suffix(host + length);
}

static bool
settings_is_allowed_origin(const char *element)
{
	if (strcmp(element, "*") == 0 || settings_is_origin(element))
		return true;
	GUC_check_errdetail("\"%s\" is not an origin.", element);
	GUC_check_errhint("Write an origin as browsers send it, such as \"https://example.com\" or "
					  "\"http://localhost:3000\". \"*\" allows every page.");
	return false;
}

static bool
settings_check_allowed_origins(char **newval, void **extra pg_attribute_unused(),
							   GucSource source pg_attribute_unused())
{
	return settings_check_list(*newval, settings_is_allowed_origin);
}

static bool
settings_check_default_database(char **newval, void **extra pg_attribute_unused(),
								GucSource source pg_attribute_unused())
{
	if (strlen(*newval) < NAMEDATALEN)
		return true;
	GUC_check_errdetail("A database name must not be longer than %d bytes.", NAMEDATALEN - 1);
	return false;
}

static bool
settings_is_database(const char *element)
{
	if (element[0] != '\0' && strlen(element) < NAMEDATALEN)
		return true;
	GUC_check_errdetail("A database name must have from 1 to %d bytes.", NAMEDATALEN - 1);
	return false;
}

static bool
settings_check_databases(char **newval, void **extra pg_attribute_unused(),
						 GucSource source pg_attribute_unused())
{
	return settings_check_list(*newval, settings_is_database);
}

bool
settings_serves_database(const char *name)
{
	char *copy = pstrdup(notifyd_databases);
	List *elements = NIL;
	ListCell *cell;
	bool serves = false;

	(void) SplitGUCList(copy, ',', &elements); /* the check hook has checked it */
	foreach (cell, elements)
	{
		const char *element = lfirst(cell);

		serves |= strcmp(element, "*") == 0 || strcmp(element, name) == 0;
	}
	list_free(elements);
	pfree(copy);
	return serves;
}

/* Does not check that the role exists, because the catalogs may not be readable yet. */
static bool
settings_check_role(char **newval, void **extra pg_attribute_unused(),
					GucSource source pg_attribute_unused())
{
	if (strlen(*newval) < NAMEDATALEN)
		return true;
	GUC_check_errdetail("A role name must not be longer than %d bytes.", NAMEDATALEN - 1);
	return false;
}

static bool
settings_check_keepalive(int *newval, void **extra pg_attribute_unused(),
						 GucSource source pg_attribute_unused())
{
	if (*newval == 0 || *newval >= SETTINGS_MIN_KEEPALIVE)
		return true;
	GUC_check_errdetail("The value must be 0, which disables pings, or at least %d ms.",
						SETTINGS_MIN_KEEPALIVE);
	return false;
}

static void
settings_define_network(void)
{
	DefineCustomStringVariable("pg_notifyd.listen_addresses",
							   "Sets the host names or IP addresses to listen on for clients.",
							   "A comma-separated list, as in listen_addresses. \"*\" listens on "
							   "all addresses, an empty list on none.",
							   &notifyd_listen_addresses, "localhost", PGC_SIGHUP, GUC_LIST_INPUT,
							   settings_check_listen_addresses, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.port", "Sets the TCP port to listen on for clients.", NULL,
							&notifyd_port, 7432, 1, 65535, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("pg_notifyd.default_database",
							   "Sets the database of clients that do not name one.", NULL,
							   &notifyd_default_database, "postgres", PGC_SIGHUP, 0,
							   settings_check_default_database, NULL, NULL);
	DefineCustomStringVariable(
		"pg_notifyd.anonymous_role", "Sets the role of clients without a token.",
		"An empty string disables anonymous access.", &notifyd_anonymous_role, "", PGC_SIGHUP, 0,
		settings_check_role, NULL, NULL);
	DefineCustomStringVariable(
		"pg_notifyd.authenticator_role",
		"Sets the role whose memberships are the roles that tokens may choose.", NULL,
		&notifyd_authenticator_role, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, settings_check_role, NULL,
		NULL);
	DefineCustomStringVariable(
		"pg_notifyd.allowed_origins",
		"Sets the origins whose web pages may connect, in addition to localhost.",
		"A comma-separated list such as \"https://example.com\". \"*\" allows every page.",
		&notifyd_allowed_origins, "", PGC_SIGHUP, GUC_LIST_INPUT, settings_check_allowed_origins,
		NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.gateways", "Sets the number of gateway processes.", NULL,
							&notifyd_gateways, 1, 1, NOTIFYD_MAX_GATEWAYS, PGC_SIGHUP, 0, NULL,
							NULL, NULL);
	DefineCustomIntVariable(
		"pg_notifyd.keepalive", "Sets the time between pings to a client.",
		"A client that has not answered by the next ping is disconnected. 0 disables pings.",
		&notifyd_keepalive, 30 * 1000, 0, 60 * 60 * 1000, PGC_SIGHUP, GUC_UNIT_MS,
		settings_check_keepalive, NULL, NULL);
	DefineCustomEnumVariable("pg_notifyd.sandbox",
							 "Sets whether gateways give up access to files, processes and other "
							 "servers.",
							 "\"on\" uses the parts of the sandbox that the system offers. "
							 "\"require\" starts no gateway unless the system offers all of them.",
							 &notifyd_sandbox, WIRE_SANDBOX_ON, settings_sandbox_options,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
}

static void
settings_define_databases(void)
{
	DefineCustomStringVariable(
		"pg_notifyd.databases",
		"Sets the databases that pg_notifyd serves, if they have the extension.",
		"A comma-separated list of names. \"*\" serves all databases.", &notifyd_databases, "*",
		PGC_SIGHUP, GUC_LIST_INPUT, settings_check_databases, NULL, NULL);
	DefineCustomIntVariable(
		"pg_notifyd.idle_timeout",
		"Sets the time after which the feed and the workers of a database end when nobody needs "
		"them.",
		"The next subscription or query starts them again. 0 disables the timeout.",
		&notifyd_idle_timeout, 60 * 1000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

static void
settings_define_limits(void)
{
	DefineCustomIntVariable("pg_notifyd.max_clients",
							"Sets the maximum number of connected clients.",
							"The limit is divided among the gateways.", &notifyd_max_clients, 10000,
							1, 1000000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.max_clients_per_address",
							"Sets the maximum number of connected clients from one address.",
							"The limit is divided among the gateways. An IPv6 network of 64 bits "
							"counts as one address. "
							"0 disables the limit.",
							&notifyd_max_clients_per_address, 0, 0, 1000000, PGC_SIGHUP, 0, NULL,
							NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.max_message_size",
							"Sets the maximum size of a message from a client.", NULL,
							&notifyd_max_message_size, 64 * 1024, 1024, 16 * 1024 * 1024,
							PGC_SIGHUP, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"pg_notifyd.max_event_size", "Sets the maximum size of an event to a client.",
		"Clients receive a larger event with its key only.", &notifyd_max_event_size,
		4 * 1024 * 1024, 1024, 128 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"pg_notifyd.client_buffer", "Sets the maximum amount of data queued for one client.",
		"A client that reads more slowly receives the remaining events from the log.",
		&notifyd_client_buffer, 8 * 1024, 64, 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL,
		NULL);
	DefineCustomRealVariable("pg_notifyd.retention",
							 "Sets how long events are kept for clients that resume.", NULL,
							 &notifyd_retention, 60 * 60, 0.01, SETTINGS_MAX_RETENTION, PGC_SIGHUP,
							 GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"pg_notifyd.retention_size",
		"Sets the log size of a database above which the oldest events are removed early.", NULL,
		&notifyd_retention_size, 1024, 1, INT_MAX / 2, PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
}

static void
settings_define_queries(void)
{
	DefineCustomIntVariable(
		"pg_notifyd.query_workers",
		"Sets the maximum number of workers that run clients' queries, for each database.",
		"Workers are started on demand, and end after idle_timeout without queries. 0 disables "
		"snapshots, calls and everything else that needs a query.",
		&notifyd_query_workers, 2, 0, NOTIFYD_MAX_WORKERS, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.statement_timeout",
							"Sets the maximum duration of a client's query.", NULL,
							&notifyd_statement_timeout, 10 * 1000, 10, 60 * 60 * 1000, PGC_SIGHUP,
							GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.snapshot_timeout",
							"Sets the maximum duration of the transaction that reads a snapshot.",
							NULL, &notifyd_snapshot_timeout, 60 * 1000, 10, 60 * 60 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.snapshot_spool_size",
							"Sets the maximum size of the temporary files of a worker's snapshots.",
							"They contain the rows that clients have not taken yet.",
							&notifyd_snapshot_spool_size, 4096, 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.max_response_size",
							"Sets the maximum size of the result of a client's query.",
							"Snapshots have no limit.", &notifyd_max_response_size, 8 * 1024 * 1024,
							1024, 128 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_BYTE, NULL, NULL, NULL);
}

void
settings_define(void)
{
	settings_define_network();
	settings_define_databases();
	settings_define_limits();
	settings_define_queries();
	failpoint_define();
	COMPAT_RESERVE_PREFIX("pg_notifyd");
}
