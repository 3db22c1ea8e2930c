/*-------------------------------------------------------------------------
 *
 * config.c
 *	  The gateway's settings, from the launcher's last CONFIG.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/base/config.h"

#include <stdlib.h>

#include "gateway/base/memory.h"

static void
config_string(char **to, WireBytes from)
{
	free(*to);
	*to = memory_string(from.data, from.len);
}

void
config_set(Config *config, const WireConfig *from)
{
	if (config->listeners == 0)
	{
		config->gateway = from->gateway;
		config->listeners = from->listeners;
		config->sandbox = (WireSandboxMode) from->sandbox;
		config->ssl = from->ssl != 0;
	}
	config->anonymous = from->anonymous != 0;
	config->max_clients = from->max_clients;
	config->page = from->page != 0;
	config->compression = from->compression != 0;
	config->max_per_address = from->max_per_address;
	config->max_handshakes = from->max_handshakes;
	config->max_failed_tokens = from->max_failed_tokens;
	config->max_message = from->max_message;
	config->client_buffer = from->client_buffer;
	config->keepalive_ms = from->keepalive_ms;
	config_string(&config->database, from->database);
	config_string(&config->origins, from->origins);
	config_string(&config->listen_addresses, from->listen_addresses);
	config_string(&config->trusted_proxies, from->trusted_proxies);
	config_string(&config->metrics_addresses, from->metrics_addresses);
	config_string(&config->endpoints, from->endpoints);
	config_string(&config->realms, from->realms);
}

void
config_free(Config *config)
{
	free(config->database);
	free(config->origins);
	free(config->listen_addresses);
	free(config->trusted_proxies);
	free(config->metrics_addresses);
	free(config->endpoints);
	free(config->realms);
	*config = (Config){0};
}
