/*-------------------------------------------------------------------------
 *
 * protocols.c
 *	  The protocols of WebSocket clients.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/protocols.h"

#include "gateway/protocol/jsonrpc.h"
#include "gateway/protocol/payload.h"

const Protocol *
protocol_for(EndpointFormat format, bool bigint)
{
	static const Protocol *const protocols[ENDPOINT_FORMATS][2] = {
		[ENDPOINT_JSONRPC] = {&jsonrpc_protocol, &jsonrpc_bigint_protocol},
		[ENDPOINT_PAYLOAD] = {&payload_protocol, &payload_bigint_protocol},
	};

	return protocols[format][bigint];
}
