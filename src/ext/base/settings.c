/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  The settings pg_notifyd.*. A reload applies changes of all of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <sys/un.h>

#include "ext/base/compat.h"
#include "ext/base/failpoint.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "utils/varlena.h"
#include "wire/endpoint.h"
#include "wire/listen_address.h"
#include "wire/network.h"
#include "wire/realm.h"
#include "wire/wire.h"

char *notifyd_listen_addresses = NULL;
int notifyd_port = 7432;
int notifyd_unix_socket_permissions = 0777;
char *notifyd_default_database = NULL;
char *notifyd_anonymous_role = NULL;
char *notifyd_authenticator_role = NULL;
char *notifyd_allowed_origins = NULL;
char *notifyd_databases = NULL;
int notifyd_idle_timeout = 60 * 1000;
int notifyd_gateways = 1;
int notifyd_max_clients = 10000;
int notifyd_max_clients_per_address = 0;
int notifyd_max_handshakes_per_address = 0;
int notifyd_max_failed_tokens_per_address = 0;
char *notifyd_trusted_proxies = NULL;
char *notifyd_metrics_addresses = NULL;
char *notifyd_endpoints = NULL;
char *notifyd_realms = NULL;
bool notifyd_page = true;
bool notifyd_compression = false;
bool notifyd_ssl = false;
char *notifyd_ssl_cert_file = NULL;
char *notifyd_ssl_key_file = NULL;
char *notifyd_ssl_min_protocol_version = NULL;
int notifyd_max_message_size = 64 * 1024;
int notifyd_max_event_size = 4 * 1024 * 1024;
int notifyd_client_buffer = 8 * 1024;
int notifyd_keepalive = 30 * 1000;
int notifyd_sandbox = WIRE_SANDBOX_ON;
double notifyd_retention = 60 * 60;
int notifyd_retention_size = 1024;
double notifyd_group_retention;
int notifyd_group_retention_size;
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
	ListenAddress address;
	bool valid = listen_address_parse(element, length, &address);

	if (valid && (address.host != NULL || length < sizeof(((struct sockaddr_un *) 0)->sun_path)))
		return true;
	if (valid)
	{
		GUC_check_errdetail("Unix-domain socket path \"%s\" is too long (maximum %d bytes).",
							element, (int) sizeof(((struct sockaddr_un *) 0)->sun_path) - 1);
		return false;
	}
	GUC_check_errdetail("\"%s\" is neither a host name, nor an IP address, nor an absolute path.",
						element);
	GUC_check_errhint(
		"Use names or addresses such as \"localhost\", \"127.0.0.1:8000\" or \"[::1]:8000\", \"*\" "
		"for all addresses, paths of Unix sockets, or an empty string for none.");
	return false;
}

static bool
settings_check_listen_addresses(char **newval, void **extra pg_attribute_unused(),
								GucSource source pg_attribute_unused())
{
	return settings_check_list(*newval, settings_is_address);
}

/* A list of networks, see wire/network.h. */
static bool
settings_check_networks(char **newval, void **extra pg_attribute_unused(),
						GucSource source pg_attribute_unused())
{
	size_t length;
	const char *bad = network_list_first_bad(*newval, &length);

	if (bad == NULL)
		return true;
	GUC_check_errdetail("\"%.*s\" is neither an IP address nor a network.", (int) length, bad);
	GUC_check_errhint("Write addresses and networks such as \"127.0.0.1, ::1, 10.0.0.0/8\", "
					  "\"unix\" for Unix sockets, or \"*\" for everybody.");
	return false;
}

static bool
settings_check_endpoints(char **newval, void **extra pg_attribute_unused(),
						 GucSource source pg_attribute_unused())
{
	SettingItem bad;
	const char *problem = endpoint_first_bad(*newval, &bad);
	StringInfoData formats;

	if (problem == NULL)
		return true;
	initStringInfo(&formats);
	for (int i = 0; i < ENDPOINT_FORMATS; i++)
		appendStringInfo(&formats, "%s\"%s\"", i > 0 ? ", " : "", endpoint_formats[i]);
	GUC_check_errdetail("Entry \"%.*s\" %s.", (int) bad.len, bad.data, problem);
	GUC_check_errhint("Write entries such as \"/order_events=payload\". The formats are: %s.",
					  formats.data);
	return false;
}

static bool
settings_check_realms(char **newval, void **extra pg_attribute_unused(),
					  GucSource source pg_attribute_unused())
{
	SettingItem bad;
	const char *problem = realm_first_bad(*newval, &bad);

	if (problem == NULL)
		return true;
	GUC_check_errdetail("Entry \"%.*s\" %s.", (int) bad.len, bad.data, problem);
	GUC_check_errhint("Write entries such as \"realm1=shop\".");
	return false;
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
	if (strcmp(element, "*") == 0 || strcmp(element, "null") == 0 || settings_is_origin(element))
		return true;
	GUC_check_errdetail("\"%s\" is not an origin.", element);
	GUC_check_errhint("Write an origin as browsers send it, such as \"https://example.com\" or "
					  "\"http://localhost:3000\", or \"null\" for pages opened as files. \"*\" "
					  "allows every page.");
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
settings_check_ssl_version(char **newval, void **extra pg_attribute_unused(),
						   GucSource source pg_attribute_unused())
{
	static const char *const versions[] = {"", "TLSv1.2", "TLSv1.3"};

	for (size_t i = 0; i < lengthof(versions); i++)
	{
		if (pg_strcasecmp(*newval, versions[i]) == 0)
			return true;
	}
	GUC_check_errdetail("\"%s\" is not a version of TLS that pg_notifyd can require.", *newval);
	GUC_check_errhint("Use \"TLSv1.2\", \"TLSv1.3\", or an empty string for the server's "
					  "ssl_min_protocol_version. pg_notifyd never offers an earlier version.");
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

static const char *
settings_show_permissions(void)
{
	static char text[12];

	snprintf(text, sizeof(text), "%04o", notifyd_unix_socket_permissions);
	return text;
}

static void
settings_define_network(void)
{
	DefineCustomStringVariable(
		"pg_notifyd.listen_addresses",
		"Sets the host names or IP addresses to listen on for clients.",
		"A comma-separated list, as in listen_addresses. \"*\" listens on "
		"all addresses, an empty list on none. A port may follow a colon, and stands for "
		"pg_notifyd.port. An absolute path is that of a Unix socket.",
		&notifyd_listen_addresses, "localhost", PGC_SIGHUP, GUC_LIST_INPUT,
		settings_check_listen_addresses, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.port", "Sets the TCP port to listen on for clients.",
							"Entries of pg_notifyd.listen_addresses may have ports of their own.",
							&notifyd_port, 7432, 1, 65535, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.unix_socket_permissions",
							"Sets the access permissions of the Unix sockets for clients.",
							"The numeric mode as chmod takes it, such as 0770.",
							&notifyd_unix_socket_permissions, 0777, 0000, 0777, PGC_SIGHUP, 0, NULL,
							NULL, settings_show_permissions);
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
settings_define_groups(void)
{
	DefineCustomRealVariable(
		"pg_notifyd.group_retention",
		"Sets how long events are kept that a consumer group has not acknowledged.", NULL,
		&notifyd_group_retention, 7 * 24 * 60 * 60, 0.01, SETTINGS_MAX_RETENTION, PGC_SIGHUP,
		GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.group_retention_size",
							"Sets the log size of a database above which the oldest events are "
							"removed even if a consumer group has not acknowledged them.",
							NULL, &notifyd_group_retention_size, 10 * 1024, 1, INT_MAX / 2,
							PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
}

static void
settings_define_web(void)
{
	DefineCustomBoolVariable("pg_notifyd.page", "Serves the live page at /.", NULL, &notifyd_page,
							 true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("pg_notifyd.compression",
							 "Offers WebSocket clients to compress messages (permessage-deflate).",
							 NULL, &notifyd_compression, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"pg_notifyd.metrics_addresses", "Sets the addresses that may read the metrics.",
		"A comma-separated list of IP addresses and networks, and \"unix\" for Unix sockets. \"*\" "
		"stands for all addresses, an empty string for none.",
		&notifyd_metrics_addresses, "127.0.0.1, ::1, unix", PGC_SIGHUP, GUC_LIST_INPUT,
		settings_check_networks, NULL, NULL);
	DefineCustomStringVariable(
		"pg_notifyd.endpoints", "Sets further paths for WebSockets, and the formats of messages.",
		"A comma-separated list such as \"/order_events=payload\". The path \"/ws\" is always "
		"served with the format \"jsonrpc\".",
		&notifyd_endpoints, "", PGC_SIGHUP, GUC_LIST_INPUT, settings_check_endpoints, NULL, NULL);
	DefineCustomStringVariable(
		"pg_notifyd.realms", "Sets the databases of WAMP's realms.",
		"A comma-separated list such as \"realm1=shop\". Any other realm is the database of that "
		"name.",
		&notifyd_realms, "", PGC_SIGHUP, GUC_LIST_INPUT, settings_check_realms, NULL, NULL);
	DefineCustomStringVariable(
		"pg_notifyd.trusted_proxies",
		"Sets the proxies that are believed when they say from which address a client comes.",
		"A comma-separated list of IP addresses and networks, and \"unix\" for Unix sockets. \"*\" "
		"stands for all addresses.",
		&notifyd_trusted_proxies, "", PGC_SIGHUP, GUC_LIST_INPUT, settings_check_networks, NULL,
		NULL);
	DefineCustomIntVariable("pg_notifyd.max_handshakes_per_address",
							"Sets the maximum number of new clients per second from one address.",
							"The limit is divided among the gateways. 0 disables the limit.",
							&notifyd_max_handshakes_per_address, 0, 0, 1000000, PGC_SIGHUP, 0, NULL,
							NULL, NULL);
	DefineCustomIntVariable(
		"pg_notifyd.max_failed_tokens_per_address",
		"Sets the maximum number of refused tokens per minute from one address.",
		"The limit is divided among the gateways. 0 disables the limit.",
		&notifyd_max_failed_tokens_per_address, 0, 0, 1000000, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

static void
settings_define_ssl(void)
{
	DefineCustomBoolVariable("pg_notifyd.ssl", "Speaks TLS on the TCP ports.",
							 "Unix sockets do not use it.", &notifyd_ssl, false, PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomStringVariable("pg_notifyd.ssl_cert_file",
							   "Sets the file with the certificate for clients.",
							   "An empty string stands for the server's ssl_cert_file.",
							   &notifyd_ssl_cert_file, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("pg_notifyd.ssl_key_file",
							   "Sets the file with the private key of the certificate.",
							   "An empty string stands for the server's ssl_key_file.",
							   &notifyd_ssl_key_file, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("pg_notifyd.ssl_min_protocol_version",
							   "Sets the minimum version of TLS for clients.",
							   "An empty string stands for the server's ssl_min_protocol_version.",
							   &notifyd_ssl_min_protocol_version, "", PGC_SIGHUP, 0,
							   settings_check_ssl_version, NULL, NULL);
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
	settings_define_groups();
	settings_define_web();
	settings_define_ssl();
	settings_define_queries();
	failpoint_define();
	COMPAT_RESERVE_PREFIX("pg_notifyd");
}
