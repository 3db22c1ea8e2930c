/*-------------------------------------------------------------------------
 *
 * control_pipe.c
 *	  The frames on the control pipe to a gateway.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "ext/launcher/certificate.h"
#include "ext/launcher/control_pipe.h"
#include "ext/launcher/sockets.h"

void
control_pipe_send(FrameSocket *pipe, const WireMessage *message)
{
	frames_queue(pipe, message);
	control_pipe_flush(pipe);
}

void
control_pipe_flush(FrameSocket *pipe)
{
	/* If the pipe is broken, the next attempt to receive finds that out. */
	(void) !frames_flush(pipe);
}

/*
 * Note what feeds have to expect of gateways. A gateway applies a new setting earlier or later than
 * a feed, and keeps the clients that it has, so nothing is taken back.
 */
static void
control_pipe_note_config(const WireConfig *config)
{
	uint32 clients = pg_atomic_read_u32(&notifyd_shared->gateway_clients);

	pg_atomic_write_u32(&notifyd_shared->gateway_clients, Max(clients, config->max_clients));
	if (config->anonymous)
		pg_atomic_write_u32(&notifyd_shared->gateway_anonymous, 1);
}

/* A gateway's share of a limit, rounded up, so that every gateway accepts at least one. */
static uint32
control_pipe_share(int limit)
{
	return (uint32) ((limit + notifyd_gateways - 1) / notifyd_gateways);
}

void
control_pipe_send_config(FrameSocket *pipe, int gateway)
{
	int share = notifyd_max_clients / notifyd_gateways;
	WireMessage message = {.type = WIRE_CONFIG};
	WireConfig *config = &message.u.config;

	if (gateway < notifyd_max_clients % notifyd_gateways)
		share++;

	config->version = WIRE_VERSION;
	config->gateway = (uint16) gateway;
	config->listeners = (uint16) sockets_bound.set.n;
	config->port = (uint16) sockets_bound.port;
	config->anonymous = notifyd_anonymous_role[0] != '\0';
	config->max_clients = (uint32) share;
	config->max_per_address = control_pipe_share(notifyd_max_clients_per_address);
	config->max_handshakes = control_pipe_share(notifyd_max_handshakes_per_address);
	config->max_failed_tokens = control_pipe_share(notifyd_max_failed_tokens_per_address);
	config->max_message = (uint32) notifyd_max_message_size;
	config->client_buffer = (uint64) notifyd_client_buffer * 1024;
	config->keepalive_ms = (uint32) notifyd_keepalive;
	config->sandbox = (uint8) notifyd_sandbox;
	config->page = notifyd_page;
	config->compression = notifyd_compression;
	certificate_configure(config);
	config->database = frames_bytes(notifyd_default_database);
	config->origins = frames_bytes(notifyd_allowed_origins);
	config->listen_addresses = frames_bytes(sockets_bound.addresses);
	config->trusted_proxies = frames_bytes(notifyd_trusted_proxies);
	config->metrics_addresses = frames_bytes(notifyd_metrics_addresses);
	config->endpoints = frames_bytes(notifyd_endpoints);
	config->realms = frames_bytes(notifyd_realms);
	control_pipe_note_config(config);
	pipe->secret |= config->ssl_key.len > 0;
	control_pipe_send(pipe, &message);
}

void
control_pipe_send_stop(FrameSocket *pipe, uint16 code)
{
	WireMessage stop = {.type = WIRE_STOP, .u.stop.code = code};

	control_pipe_send(pipe, &stop);
}

void
control_pipe_log(int gateway, const WireLog *log)
{
	char text[1024];
	int length = (int) Min(log->message.len, sizeof(text) - 1);
	int level;

	for (int i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) log->message.data[i];

		text[i] = (char) ((c < 0x20 || c == 0x7f) ? '?' : c);
	}
	text[length] = '\0';

	if (log->level == WIRE_LOG_DEBUG)
		level = DEBUG1;
	else
		level = log->level == WIRE_LOG_WARNING ? WARNING : LOG;
	ereport(level, (errmsg("gateway %d: %s", gateway, text)));
}
