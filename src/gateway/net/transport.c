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

/* Keep data that the transport has not accepted. */
static void
transport_rest_add(TransportRest *rest, const uint8_t *data, size_t len)
{
	if (rest->data == NULL)
		rest->len = rest->done = 0;
	rest->data = memory_resize(rest->data, rest->len + len);
	memcpy(rest->data + rest->len, data, len);
	rest->len += len;
}

bool
transport_send(Transport *transport, TransportRest *rest, const uint8_t *data, size_t len)
{
	size_t taken = 0;

	if (rest->data == NULL && !transport->functions->write(transport, data, len, &taken))
		return false;
	if (taken == len)
		return true;
	if (rest->data == NULL)
		transport->functions->wake(transport);
	transport_rest_add(rest, data + taken, len - taken);
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
