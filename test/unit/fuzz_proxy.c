/*
 * Fuzz target for what proxies send.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "gateway/http/http_forwarded.h"
#include "wire/network.h"
#include "gateway/net/proxy_header.h"

#define FUZZ_PROXIES "10.0.0.0/8, 2001:db8:f::/48"

static struct sockaddr_storage
fuzz_peer(void)
{
	struct sockaddr_storage peer;

	assert(network_parse_address("10.0.0.1", 8, &peer));
	return peer;
}

/* Read a header of the PROXY protocol in pieces; return how many bytes it has. */
static size_t
fuzz_read(const uint8_t *data, size_t size, size_t piece, ProxyHeaderResult *result,
		  struct sockaddr_storage *address)
{
	ProxyHeader header = {0};
	size_t done = 0;

	*result = PROXY_HEADER_MORE;
	*address = fuzz_peer();
	while (done < size && *result == PROXY_HEADER_MORE)
	{
		size_t len = size - done < piece ? size - done : piece;
		uint8_t *copy = malloc(len);
		size_t used;

		assert(copy != NULL);
		memcpy(copy, data + done, len);
		*result = proxy_header_read(&header, copy, len, &used, address);
		free(copy);
		assert(used > 0 && used <= len && (used == len || *result != PROXY_HEADER_MORE));
		done += used;
		assert(done <= PROXY_HEADER_MAX);
		assert(*result != PROXY_HEADER_NONE ||
			   (header.len == done && memcmp(header.bytes, data, done) == 0));
	}
	return done;
}

static void
fuzz_header(const uint8_t *data, size_t size, size_t piece)
{
	ProxyHeaderResult result[2];
	struct sockaddr_storage address[2];
	size_t len = fuzz_read(data, size, size, &result[0], &address[0]);

	assert(fuzz_read(data, size, piece, &result[1], &address[1]) == len);
	assert(result[0] == result[1]);
	assert(memcmp(&address[0], &address[1], sizeof(address[0])) == 0);
}

/* What a client sends before its proxy's entry never becomes its address. */
static void
fuzz_forwarded(const uint8_t *data, size_t size, const char *name, const char *entry, bool certain)
{
	static char buf[2 * HTTP_HEAD_MAX];
	struct sockaddr_storage address = fuzz_peer();
	char text[NETWORK_TEXT];
	HttpRequest request;
	int len;

	if (size > HTTP_HEAD_MAX / 2)
		return;
	len = snprintf(buf, HTTP_HEAD_MAX, "GET / HTTP/1.1\r\n%s: ", name);
	for (size_t i = 0; i < size; i++)
		buf[len++] = data[i] >= ' ' && data[i] != 0x7f ? (char) data[i] : ' ';
	len += sprintf(buf + len, ", %s\r\n\r\n", entry);
	assert(http_request_parse(buf, (size_t) len, &request) == NULL);
	if (http_forwarded(&request, FUZZ_PROXIES, &address) != NULL)
	{
		assert(!certain);
		return;
	}
	network_text(&address, text);
	assert(strcmp(text, "203.0.113.9:0") == 0);
}

static void
fuzz_networks(const uint8_t *data, size_t size)
{
	char *list = malloc(size + 1);
	struct sockaddr_storage address = fuzz_peer();
	const char *bad;
	size_t len;

	assert(list != NULL);
	memcpy(list, data, size);
	list[size] = '\0';
	(void) network_list_contains(list, &address);
	bad = network_list_first_bad(list, &len);
	assert(bad == NULL || (bad >= list && bad + len <= list + strlen(list)));
	free(list);
}

int
fuzz_proxy(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (*data == 'x')
		fuzz_forwarded(data + 1, size - 1, "X-Forwarded-For", "203.0.113.9", true);
	else if (*data == 'f')
		fuzz_forwarded(data + 1, size - 1, "Forwarded", "for=203.0.113.9", false);
	else if (*data == 'n')
		fuzz_networks(data + 1, size - 1);
	else
		fuzz_header(data + 1, size - 1, (size_t) *data + 1);
	return 0;
}
