/*-------------------------------------------------------------------------
 *
 * refusal.c
 *	  Log lines that say which setting has caused a refusal.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/refusal.h"

#include "gateway/base/log.h"
#include "gateway/net/address.h"
#include "wire/network.h"

/* Bytes of a header's value that are logged. */
#define REFUSAL_VALUE 200

/* Why a client was refused: a text, the value of a header between quotation marks, and more text. */
static const struct
{
	const char *before;
	const char *header; /* NULL: none */
	const char *after;
} refusal_reasons[WIRE_REFUSALS] = {
	[WIRE_REFUSED_HOST] = {"the host name \"", "host",
						   "\" is neither in pg_notifyd.listen_addresses nor of an origin in "
						   "pg_notifyd.allowed_origins"},
	[WIRE_REFUSED_ORIGIN] = {"the page's origin \"", "origin",
							 "\" is not in pg_notifyd.allowed_origins"},
	[WIRE_REFUSED_CLIENTS] = {"pg_notifyd.max_clients is reached", NULL, ""},
	[WIRE_REFUSED_CLIENTS_PER_ADDRESS] = {"its address has reached "
										  "pg_notifyd.max_clients_per_address",
										  NULL, ""},
	[WIRE_REFUSED_HANDSHAKES_PER_ADDRESS] = {"its address has reached "
											 "pg_notifyd.max_handshakes_per_address",
											 NULL, ""},
	[WIRE_REFUSED_FAILED_TOKENS_PER_ADDRESS] = {"its address has reached "
												"pg_notifyd.max_failed_tokens_per_address",
												NULL, ""},
	[WIRE_REFUSED_PROXY] = {"its header of the PROXY protocol is malformed", NULL, ""},
};

void
refusal_log(LogThrottle *throttles, WireRefusal refusal, const HttpRequest *request,
			const struct sockaddr_storage *client, uint64_t now)
{
	const char *header = refusal_reasons[refusal].header;
	HttpSlice value = {.data = "", .len = 0};
	char address[NETWORK_TEXT];
	char others[LOG_THROTTLE_OTHERS];
	uint8_t key[ADDRESS_SIZE];
	uint64_t left_out;

	if (refusal_reasons[refusal].before == NULL)
		return;
	if (header != NULL && (value = http_request_header(request, header)).data == NULL)
		return;
	address_key(client, key);
	if (!log_throttle_allows(&throttles[refusal], header != NULL ? value.data : (char *) key,
							 header != NULL ? value.len : sizeof(key), now, &left_out))
		return;
	network_text(client, address);
	log_throttle_others(others, left_out, " refusals");
	log_write(WIRE_LOG_INFO, "refused client %s: %s%.*s%s%s", address,
			  refusal_reasons[refusal].before,
			  (int) (value.len < REFUSAL_VALUE ? value.len : REFUSAL_VALUE), value.data,
			  refusal_reasons[refusal].after, others);
}
