/*-------------------------------------------------------------------------
 *
 * transport.c
 *	  Functions common to all transports.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/net/transport.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"

void
transport_own(Transport *transport, const TransportEvents *events, void *owner)
{
	transport->events = events;
	transport->owner = owner;
}

void
transport_abandon(Transport *transport)
{
	transport->owner = NULL;
	transport->functions->drop(transport);
}

bool
transport_send(Transport *transport, TransportRest *rest, const uint8_t *data, size_t len)
{
	size_t taken;

	if (!transport->functions->write(transport, data, len, &taken))
		return false;
	if (taken == len)
		return true;
	rest->len = len - taken;
	rest->done = 0;
	rest->data = memory_new(rest->len);
	memcpy(rest->data, data + taken, rest->len);
	transport->functions->wake(transport);
	return true;
}

bool
transport_flush(Transport *transport, TransportRest *rest)
{
	size_t taken;

	if (rest->data == NULL)
		return true;
	if (!transport->functions->write(transport, rest->data + rest->done, rest->len - rest->done,
									 &taken))
		return false;
	rest->done += taken;
	if (rest->done < rest->len)
		transport->functions->wake(transport);
	else
		transport_rest_free(rest);
	return true;
}

void
transport_rest_free(TransportRest *rest)
{
	free(rest->data);
	rest->data = NULL;
}
