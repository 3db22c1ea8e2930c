#include "sink.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static bool
sink_write(Transport *transport, const uint8_t *data, size_t len, size_t *taken)
{
	Sink *sink = (Sink *) transport;

	assert(sink->sent_len + len <= SINK_MAX);
	memcpy(sink->sent + sink->sent_len, data, len);
	sink->sent_len += len;
	*taken = len;
	return true;
}

static void
sink_wake(Transport *transport)
{
	((Sink *) transport)->woken = true;
}

static void
sink_pause(Transport *transport, bool pause)
{
	((Sink *) transport)->paused = pause;
}

static void
sink_finish(Transport *transport)
{
	((Sink *) transport)->finished = true;
}

static void
sink_drop(Transport *transport)
{
	((Sink *) transport)->dropped = true;
}

static bool
sink_peer(const Transport *transport, struct sockaddr_storage *address)
{
	(void) transport;
	address->ss_family = AF_INET;
	return true;
}

static const TransportFunctions sink_functions = {
	.write = sink_write,
	.wake = sink_wake,
	.pause = sink_pause,
	.finish = sink_finish,
	.drop = sink_drop,
	.peer = sink_peer,
};

void
sink_init(Sink *sink)
{
	sink->base = (Transport){.functions = &sink_functions};
	sink->sent_len = 0;
	sink->paused = sink->woken = sink->finished = sink->dropped = false;
}

void
sink_receive(Sink *sink, const uint8_t *data, size_t len)
{
	char *copy = malloc(len);

	assert(copy != NULL && !sink->paused && !sink->dropped);
	memcpy(copy, data, len);
	sink->base.events->received(sink->base.owner, copy, len);
	free(copy);
}
