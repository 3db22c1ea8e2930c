/*-------------------------------------------------------------------------
 *
 * config.h
 *	  The gateway's settings, from the launcher's last CONFIG.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include "wire/wire.h"

/* A WireConfig that owns its strings. */
typedef struct Config
{
	uint16_t gateway;
	uint16_t listeners; /* 0: no CONFIG has arrived yet */
	WireSandboxMode sandbox;
	bool ssl; /* certificate and key are not kept here */
	bool anonymous;
	bool page;
	bool compression;
	uint32_t max_clients;
	uint32_t max_per_address;   /* 0: no limit */
	uint32_t max_handshakes;    /* new clients a second from one address; 0: no limit */
	uint32_t max_failed_tokens; /* refused tokens a minute from one address; 0: no limit */
	uint32_t max_message;
	uint64_t client_buffer;
	uint32_t keepalive_ms;
	char *database;
	char *origins;
	char *listen_addresses;
	char *trusted_proxies;
	char *metrics_addresses;
	char *endpoints;
	char *realms;
} Config;

/*
 * Copy a CONFIG frame. The gateway's number, the listeners, the sandbox and ssl are taken only from
 * the first one.
 */
extern void config_set(Config *config, const WireConfig *from);

extern void config_free(Config *config);

#endif /* GATEWAY_CONFIG_H */
