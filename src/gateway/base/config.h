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
	bool anonymous;
	uint32_t max_clients;
	uint32_t max_per_address; /* 0: no limit */
	uint32_t max_message;
	uint64_t client_buffer;
	uint32_t keepalive_ms;
	char *database;
	char *origins;
	char *listen_addresses;
} Config;

/*
 * Copy a CONFIG frame. The gateway's number, the listeners and the sandbox are taken only from the
 * first one.
 */
extern void config_set(Config *config, const WireConfig *from);

extern void config_free(Config *config);

#endif /* GATEWAY_CONFIG_H */
