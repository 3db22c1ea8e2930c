/* An HTTP server with a few routes, whose transports and clock a test controls. */
#ifndef SERVE_H
#define SERVE_H

#include "fake.h"

#include "gateway/http/http_server.h"

/*
 *	GET /text			"ok"
 *	POST /send			the same; a body of at most 10 bytes
 *	GET, HEAD /keep		is kept, also if the client closes its side of the connection
 *	GET /stream			is kept until then
 *	GET /release		"ok", after an answer to serve_kept
 *	GET /ws				is taken over
 *	GET, POST, HEAD /api, /api/...	of the API: "ok"; a body of at most 100,000 bytes
 *	DELETE /api/...		of the API: is kept
 *	GET /large			1 MB
 *
 * Requests with the header "X: no" are not admitted. Responses of the API have the header "Api".
 */
extern HttpServer serve_server;
extern uint64_t serve_now;
extern uint64_t serve_refused[WIRE_REFUSALS];

/* The last requests of the handlers. */
extern HttpConnection *serve_kept;
extern HttpRequest *serve_request; /* of serve_kept */
extern HttpTaken serve_taken;
extern bool serve_took;
extern char serve_body[100001]; /* a C string */
extern size_t serve_body_len;
extern int serve_handled; /* number of requests that reached a handler */
extern int serve_writable;
extern int serve_closed;

/* For cmocka_unit_test_setup_teardown(). The teardown checks that nothing is left. */
extern int serve_setup(void **state);
extern int serve_teardown(void **state);

/* Accept a connection from the address 127.0.0.ADDRESS; receive a C string on it. */
extern void serve_begin(Fake *fake, uint8_t address);
extern void serve_receive(Fake *fake, const char *text);

/* Return what is sent to a request on a new connection. */
extern const char *serve_answer(const char *request);

/* Answer serve_kept with this line of text. */
extern void serve_respond(int status, const char *text);

/* Return how often the text is in what was sent. */
extern int serve_count(const Fake *fake, const char *text);

#define assert_status(request, status)                                                             \
	assert_memory_equal(serve_answer(request), "HTTP/1.1 " status " ", 13)

#define SERVE_TEST(test) cmocka_unit_test_setup_teardown(test, serve_setup, serve_teardown)

#endif /* SERVE_H */
