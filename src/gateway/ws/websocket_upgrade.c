/*-------------------------------------------------------------------------
 *
 * websocket_upgrade.c
 *	  The handshake that turns an HTTP request into a WebSocket.
 *
 * This file uses only SHA-1 and base64 of libwebsockets.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/ws/websocket_upgrade.h"

#include <stdio.h>
#include <string.h>

#include <libwebsockets.h>

#include "gateway/base/text.h"

/* RFC 6455, 1.3 and 4.2 */
#define WEBSOCKET_GUID        "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define WEBSOCKET_KEY_LENGTH  24 /* base64 of 16 bytes */
#define WEBSOCKET_SHA1_LENGTH 20

static bool
websocket_upgrade_key_valid(HttpSlice key)
{
	/* 16 bytes are 21 full characters, one character with two bits, and the padding. */
	if (key.data == NULL || key.len != WEBSOCKET_KEY_LENGTH || memcmp(key.data + 22, "==", 2) != 0)
		return false;
	for (size_t i = 0; i < 22; i++)
	{
		char c = key.data[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
			c != '+' && c != '/')
			return false;
	}
	return strchr("AQgw", key.data[21]) != NULL;
}

/* Always returns false, for use in a return statement. */
static bool
websocket_upgrade_bad(HttpResponse *response, const char *reason)
{
	http_response_text(response, 400, "%s", reason);
	return false;
}

static bool
websocket_upgrade_required(HttpResponse *response, const char *reason)
{
	http_response_text(response, 426, "%s", reason);
	(void) http_response_header(response, "Upgrade", "websocket");
	(void) http_response_header(response, "Sec-WebSocket-Version", "13");
	return false;
}

bool
websocket_upgrade_check(const HttpRequest *request, HttpResponse *response)
{
	HttpSlice upgrade = http_request_header(request, "upgrade");

	if (!request->http11)
		return websocket_upgrade_bad(response, "a WebSocket needs HTTP/1.1");
	if (upgrade.data == NULL)
		return websocket_upgrade_required(response, "this is a WebSocket endpoint");
	if (!text_equal_nocase(upgrade.data, upgrade.len, "websocket"))
		return websocket_upgrade_bad(response, "only an upgrade to websocket is supported");
	if (!http_request_header_has(request, "connection", "upgrade", true))
		return websocket_upgrade_bad(response, "the header \"Connection: Upgrade\" is missing");
	if (!http_slice_is(http_request_header(request, "sec-websocket-version"), "13"))
		return websocket_upgrade_required(response, "only version 13 of WebSocket is supported");
	if (!websocket_upgrade_key_valid(http_request_header(request, "sec-websocket-key")))
		return websocket_upgrade_bad(response, "Sec-WebSocket-Key must be 16 bytes in base64");
	return true;
}

const char *
websocket_upgrade_subprotocol(const HttpRequest *request)
{
	static const char *const known[] = {WEBSOCKET_SUBPROTOCOL, WEBSOCKET_SUBPROTOCOL_JSON,
										WEBSOCKET_SUBPROTOCOL_CBOR, WEBSOCKET_SUBPROTOCOL_MSGPACK,
										NULL};

	return http_request_header_first(request, "sec-websocket-protocol", known);
}

size_t
websocket_upgrade_answer(const HttpRequest *request, const char *extension, char *buf)
{
	char key[WEBSOCKET_KEY_LENGTH + sizeof(WEBSOCKET_GUID)];
	unsigned char hash[WEBSOCKET_SHA1_LENGTH];
	char accept[2 * WEBSOCKET_SHA1_LENGTH];
	const char *subprotocol = websocket_upgrade_subprotocol(request);
	int len = snprintf(key, sizeof(key), "%.*s" WEBSOCKET_GUID, WEBSOCKET_KEY_LENGTH,
					   http_request_header(request, "sec-websocket-key").data);

	(void) lws_SHA1((unsigned char *) key, (size_t) len, hash);
	(void) lws_b64_encode_string((char *) hash, sizeof(hash), accept, sizeof(accept));
	return (size_t) snprintf(buf, WEBSOCKET_ANSWER,
							 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
							 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s%s%s%s%s%s\r\n",
							 accept, extension != NULL ? "Sec-WebSocket-Extensions: " : "",
							 extension != NULL ? extension : "", extension != NULL ? "\r\n" : "",
							 subprotocol != NULL ? "Sec-WebSocket-Protocol: " : "",
							 subprotocol != NULL ? subprotocol : "",
							 subprotocol != NULL ? "\r\n" : "");
}
