/*-------------------------------------------------------------------------
 *
 * config.h
 *	  The gateway's settings, as the launcher last sent them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include "wire/wire.h"

/* WireConfig with strings of its own. */
typedef struct Config
{
	uint16_t gateway;
	uint16_t listeners; /* 0: no CONFIG frame has come */
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
 * Take over a CONFIG frame. The gateway's number and the listeners are taken from the
 * first one only.
 */
extern void config_set(Config *config, const WireConfig *from);

extern void config_free(Config *config);

#endif /* GATEWAY_CONFIG_H */
