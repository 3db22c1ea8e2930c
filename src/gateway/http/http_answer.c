/*-------------------------------------------------------------------------
 *
 * http_answer.c
 *	  What handlers call: answers, kept connections, responses in parts.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/http/http_server_internal.h"

/* Head and body up to this size are sent together. */
#define HTTP_TOGETHER 16384

void
http_forget_request(HttpConnection *connection)
{
	free(connection->head);
	free(connection->request);
	free(connection->body.data);
	connection->head = NULL;
	connection->request = NULL;
	connection->head_len = connection->scanned = 0;
	connection->body = (HttpBody){0};
	connection->match = (HttpMatch){0};
}

static bool
http_put(HttpConnection *connection, const char *data, size_t len)
{
	return transport_send(connection->transport, &connection->unsent, (const uint8_t *) data, len);
}

/* Return true if the connection can be used for another request. */
static bool
http_stays(const HttpConnection *connection)
{
	return connection->keep_alive && !connection->server->stopping &&
		   !(connection->ended && connection->in_len == 0);
}

/* Add what every response to this request has. */
static void
http_complete(HttpConnection *connection, HttpResponse *response)
{
	HttpServer *server = connection->server;

	if (response->status >= 400 &&
		(!connection->match.api || response->refusal != WIRE_REFUSED_REQUEST))
		server->refused[response->refusal]++;
	if (response->status >= 400 && response->refusal != WIRE_REFUSED_REQUEST &&
		server->refuse != NULL)
		server->refuse(connection, connection->request, response->refusal, server->arg);
	if (connection->match.api && response->status >= 400)
		http_response_message(response);
	if (connection->match.allowed != 0)
		server->complete(connection->request, &connection->match, server->arg, response);
	connection->chunked =
		response->stream && connection->request != NULL && connection->request->http11;
	connection->keep_alive = http_stays(connection) && (!response->stream || connection->chunked);
}

/*
 * Send the head of a response, and its body if it has one. Returns false if the connection is
 * broken, or if the client does not take it and there is no room for it.
 */
static bool
http_send(HttpConnection *connection, HttpResponse *response)
{
	char text[HTTP_TOGETHER];
	size_t head_len;
	size_t body_len;
	bool sent;

	http_complete(connection, response);
	head_len = http_response_head(response,
								  (HttpFraming){.head_only = connection->head_only,
												.keep_alive = connection->keep_alive,
												.chunked = connection->chunked},
								  text, &body_len);
	if (head_len + body_len <= sizeof(text))
	{
		if (body_len > 0)
			memcpy(text + head_len, response->body, body_len);
		sent = http_put(connection, text, head_len + body_len);
	}
	else
		sent =
			http_put(connection, text, head_len) && http_put(connection, response->body, body_len);
	http_response_release(response);
	return sent;
}

/* Wait for the next request. */
static void
http_idle(HttpConnection *connection)
{
	if (connection->kept)
		http_count_pending(connection);
	http_enter(connection, HTTP_IDLE);
	if (connection->in_len > 0 && !connection->running)
		connection->transport->functions->wake(connection->transport);
}

void
http_end(HttpConnection *connection)
{
	connection->events = NULL;
	http_forget_request(connection);
	if (!http_count_memory(connection) && connection->unsent.data != NULL)
		http_free(connection);
	else if (connection->unsent.data != NULL)
		http_enter(connection, HTTP_SENDING);
	else if (http_stays(connection))
		http_idle(connection);
	else
	{
		connection->transport->functions->finish(connection->transport);
		if (connection->ended)
			http_free(connection);
		else
		{
			http_drop_input(connection);
			http_enter(connection, HTTP_LINGERING);
		}
	}
}

void
http_respond(HttpConnection *connection, HttpResponse *response)
{
	if (http_send(connection, response))
		http_end(connection);
	else
		http_free(connection);
}

void
http_refuse(HttpConnection *connection, int status, const char *reason)
{
	HttpResponse response;

	http_response_text(&response, status, "%s", reason);
	http_respond(connection, &response);
}

void
http_refuse_method(HttpConnection *connection)
{
	HttpResponse response;
	char methods[HTTP_ROUTER_METHODS];

	http_router_methods(connection->match.allowed, methods);
	http_response_text(&response, 405, "only %s is supported", methods);
	(void) http_response_header(&response, "Allow", methods);
	http_respond(connection, &response);
}

void
http_tell_methods(HttpConnection *connection)
{
	HttpResponse response;
	char methods[HTTP_ROUTER_METHODS];

	http_router_methods(connection->match.allowed, methods);
	http_response_bytes(&response, 204, NULL, NULL, 0);
	(void) http_response_header(&response, "Allow", methods);
	http_respond(connection, &response);
}

bool
http_continue(HttpConnection *connection)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	return http_put(connection, text, sizeof(text) - 1);
}

bool
http_take_over(HttpConnection *connection, HttpTaken *taken)
{
	HttpServer *server = connection->server;

	*taken = (HttpTaken){.from = connection->from, .rest_len = connection->in_len};
	network_text(&connection->client, taken->address);
	/* First, so that the address outlives the connection. */
	address_add_client(taken->from);
	taken->transport = connection->transport->functions->keep(connection->transport);
	connection->transport = NULL;
	if (taken->transport != NULL && taken->rest_len > 0)
	{
		taken->rest = memory_new(taken->rest_len);
		memcpy(taken->rest, connection->in, taken->rest_len);
	}
	http_free(connection);
	if (taken->transport != NULL)
		return true;
	address_remove_client(&server->addresses, taken->from);
	server->refused[WIRE_REFUSED_RESOURCES]++;
	return false;
}

void
http_keep(HttpConnection *connection, const HttpOwner *events, void *owner)
{
	connection->events = events;
	connection->owner = owner;
	http_count_kept(connection);
	http_enter(connection, HTTP_KEPT);
	if (connection->ended && events->half_closed)
		http_kept_ended(connection);
	else if (connection->ended)
		http_broken(connection);
}

void
http_kept_ended(HttpConnection *connection)
{
	if (connection->request != NULL && connection->request->http11)
		http_enter(connection, HTTP_KEPT_ENDED);
	else if (connection->request == NULL && connection->events->ended != NULL)
		connection->events->ended(connection->owner);
}

void
http_broken(HttpConnection *connection)
{
	connection->transport->functions->drop(connection->transport);
}

void
http_begin(HttpConnection *connection, HttpResponse *response)
{
	bool sent = http_send(connection, response);

	http_forget_request(connection);
	if (connection->state != HTTP_KEPT)
		http_enter(connection, HTTP_KEPT);
	if (!http_count_memory(connection) || !sent)
		http_broken(connection);
}

bool
http_ready(void *connection)
{
	return ((HttpConnection *) connection)->unsent.data == NULL;
}

/* Send one chunk (RFC 9112, 7.1). An empty one would end the body. */
static bool
http_put_chunk(HttpConnection *connection, const uint8_t *data, size_t len)
{
	char small[4096];
	char *text = len + 32 <= sizeof(small) ? small : memory_new(len + 32);
	size_t size = (size_t) snprintf(text, 32, "%zx\r\n", len);
	bool sent;

	memcpy(text + size, data, len);
	memcpy(text + size + len, "\r\n", 2);
	sent = http_put(connection, text, size + len + 2);
	if (text != small)
		free(text);
	return sent;
}

bool
http_write(void *connection, const uint8_t *data, size_t len)
{
	HttpConnection *http = connection;
	bool sent;

	if (len == 0 || http->head_only)
		return true;
	sent = http->chunked ? http_put_chunk(http, data, len)
						 : transport_send(http->transport, &http->unsent, data, len);
	if (sent && (http->unsent.data == NULL || http_count_memory(http)))
		return true;
	http_broken(http);
	return false;
}

void
http_wake(void *connection)
{
	HttpConnection *http = connection;

	http->transport->functions->wake(http->transport);
}

void
http_abort(void *connection)
{
	http_broken(connection);
}

void
http_finish(HttpConnection *connection)
{
	static const char last[] = "0\r\n\r\n";

	if (connection->chunked && !connection->head_only &&
		!http_put(connection, last, sizeof(last) - 1))
		http_free(connection);
	else
		http_end(connection);
}

void
http_drop(HttpConnection *connection)
{
	http_free(connection);
}
