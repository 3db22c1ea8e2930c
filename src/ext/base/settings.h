/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  The settings pg_notifyd.*, see doc/settings.md.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SETTINGS_H
#define PG_NOTIFYD_SETTINGS_H

extern char *notifyd_listen_addresses;
extern int notifyd_port;
extern int notifyd_unix_socket_permissions; /* a mode */
extern char *notifyd_default_database;
extern char *notifyd_anonymous_role;
extern char *notifyd_authenticator_role; /* empty: tokens cannot choose a role */
extern char *notifyd_databases;          /* a list of names, or "*" */
extern int notifyd_idle_timeout;         /* ms; 0: feeds and workers never end */
extern char *notifyd_allowed_origins;
extern int notifyd_gateways;
extern int notifyd_max_clients;
extern int notifyd_max_clients_per_address; /* 0: no limit */
extern int notifyd_max_handshakes_per_address;
extern int notifyd_max_failed_tokens_per_address;
extern char *notifyd_trusted_proxies;
extern char *notifyd_metrics_addresses;
extern char *notifyd_endpoints;
extern char *notifyd_realms;
extern bool notifyd_page;
extern bool notifyd_compression;
extern bool notifyd_ssl;
extern char *notifyd_ssl_cert_file;
extern char *notifyd_ssl_key_file;
extern char *notifyd_ssl_min_protocol_version;
extern int notifyd_max_message_size;     /* bytes, from a client */
extern int notifyd_max_event_size;       /* bytes, to a client */
extern int notifyd_client_buffer;        /* kB */
extern int notifyd_keepalive;            /* ms; 0: no pings */
extern int notifyd_sandbox;              /* WireSandboxMode */
extern double notifyd_retention;         /* s */
extern int notifyd_retention_size;       /* MB */
extern double notifyd_group_retention;   /* s */
extern int notifyd_group_retention_size; /* MB */
extern int notifyd_query_workers;        /* per database; 0: none */
extern int notifyd_statement_timeout;    /* ms */
extern int notifyd_snapshot_timeout;     /* ms */
extern int notifyd_snapshot_spool_size;  /* MB, of each worker */
extern int notifyd_max_response_size;    /* bytes */

/* Return true if pg_notifyd.databases contains this database, or "*". */
extern bool settings_serves_database(const char *name);

/*
 * Define the settings, and reserve the prefix. _PG_init() calls it once, after other files have
 * defined theirs.
 */
extern void settings_define(void);

#endif /* PG_NOTIFYD_SETTINGS_H */
