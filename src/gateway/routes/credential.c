/*-------------------------------------------------------------------------
 *
 * credential.c
 *	  The token that a request presents.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/credential.h"

#include <string.h>
#include <strings.h>

#include "gateway/base/text.h"
#include "wire/wire.h"

#define CREDENTIAL_SCHEME "bearer"

/* Take one more token, which must be the same as any other. Returns what is wrong with it. */
static const char *
credential_take(HttpSlice *token, const char *data, size_t len)
{
	if (len == 0)
		return "the token is empty";
	if (len > WIRE_MAX_TOKEN)
		return "the token is longer than 8192 bytes";
	for (size_t i = 0; i < len; i++)
	{
		if (data[i] <= ' ' || data[i] > '~')
			return "the token has characters that no token has";
	}
	if (token->data != NULL && (token->len != len || memcmp(token->data, data, len) != 0))
		return "the request has several tokens that differ";
	*token = (HttpSlice){.data = data, .len = len};
	return NULL;
}

/* RFC 6750, 2.1: "Bearer", a space, the token. */
static const char *
credential_header(HttpSlice value, HttpSlice *token)
{
	size_t scheme = strlen(CREDENTIAL_SCHEME);

	if (value.len < scheme || strncasecmp(value.data, CREDENTIAL_SCHEME, scheme) != 0 ||
		(value.len > scheme && value.data[scheme] != ' '))
		return "the header Authorization must be \"Bearer\" and a token";
	while (scheme < value.len && value.data[scheme] == ' ')
		scheme++;
	return credential_take(token, value.data + scheme, value.len - scheme);
}

static const char *
credential_parameters(const HttpRequest *request, HttpSlice *token)
{
	const char *wrong = NULL;

	/* Such a client would be anonymous without knowing it. */
	if (http_request_parameter(request, "token", NULL) != NULL)
		return "unknown parameter \"token\"; the parameter is \"access_token\"";
	for (const HttpParameter *p = NULL;
		 wrong == NULL && (p = http_request_parameter(request, "access_token", p)) != NULL;)
		wrong = p->malformed ? "malformed parameter \"access_token\""
							 : credential_take(token, p->value.data, p->value.len);
	return wrong;
}

/* A subprotocol may be a token. "eyJ" is how every token begins: it is base64url of "{\"". */
static const char *
credential_subprotocol(const char *data, size_t len, HttpSlice *token)
{
	const size_t prefix = strlen(CREDENTIAL_SUBPROTOCOL);

	if (len >= prefix && strncasecmp(data, CREDENTIAL_SUBPROTOCOL, prefix) == 0)
		return credential_take(token, data + prefix, len - prefix);
	if (len >= 3 && memcmp(data, "eyJ", 3) == 0)
		return "a token is no subprotocol by itself; write \"bearer.<token>\"";
	return NULL;
}

/* The tokens in a list of subprotocols, which is separated by commas. */
static const char *
credential_subprotocols(HttpSlice list, HttpSlice *token)
{
	const char *end = list.data + list.len;
	const char *wrong = NULL;

	for (const char *p = list.data; wrong == NULL && p < end;)
	{
		const char *comma = memchr(p, ',', (size_t) (end - p));
		const char *stop = comma != NULL ? comma : end;
		const char *last = stop;

		while (p < last && (*p == ' ' || *p == '\t'))
			p++;
		while (last > p && (last[-1] == ' ' || last[-1] == '\t'))
			last--;
		wrong = credential_subprotocol(p, (size_t) (last - p), token);
		p = stop + 1;
	}
	return wrong;
}

const char *
credential_find(const HttpRequest *request, HttpSlice *token)
{
	const char *wrong;

	*token = (HttpSlice){0};
	wrong = credential_parameters(request, token);
	for (size_t i = 0; wrong == NULL && i < request->nheaders; i++)
	{
		const HttpHeader *header = &request->headers[i];

		if (text_equal_nocase(header->name.data, header->name.len, "authorization"))
			wrong = credential_header(header->value, token);
		else if (text_equal_nocase(header->name.data, header->name.len, "sec-websocket-protocol"))
			wrong = credential_subprotocols(header->value, token);
	}
	return wrong;
}
