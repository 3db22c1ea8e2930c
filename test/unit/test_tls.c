/* TLS over a transport that the test controls. */
#include "serve.h"
#include "tls_client.h"

#include <openssl/err.h>

#include "gateway/tls/tls_context.h"

static void
test_both_ways(void **state)
{
	Client client;
	TransportRest rest = {0};
	char text[64];

	(void) state;
	client_open(&client, &owner_events);
	assert_string_equal(SSL_get_version(client.ssl), "TLSv1.3");
	client_write(&client, "hello");
	client_carry(&client);
	assert_string_equal(owned, "hello");
	assert_true(transport_send(client.transport, &rest, (const uint8_t *) "good day", 8));
	assert_null(rest.data);
	client_take(&client);
	assert_int_equal(SSL_read(client.ssl, text, sizeof(text)), 8);
	assert_memory_equal(text, "good day", 8);
	client_end(&client);
	assert_int_equal(owned_closed, 1);
	assert_int_equal(tls_refused, 0);
}

static const unsigned char h2[] = "\x02h2";
static const unsigned char both[] = "\x02h2\x08http/1.1";

static void
test_alpn(void **state)
{
	Client client;
	const unsigned char *protocol;
	unsigned len;

	(void) state;
	client_begin(&client, &owner_events);
	assert_int_equal(SSL_set_alpn_protos(client.ssl, both, sizeof(both) - 1), 0);
	client_carry(&client);
	SSL_get0_alpn_selected(client.ssl, &protocol, &len);
	assert_int_equal(len, 8);
	assert_memory_equal(protocol, "http/1.1", 8);
	client_end(&client);

	client_begin(&client, &owner_events);
	assert_int_equal(SSL_set_alpn_protos(client.ssl, h2, sizeof(h2) - 1), 0);
	ERR_clear_error();
	client_carry(&client);
	assert_false(SSL_is_init_finished(client.ssl));
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
	assert_true(client.fake.dropped);
	assert_int_equal(tls_refused, 1);
	client_end(&client);
}

/* What is older, weaker or optional is not there. */
static void
test_not_offered(void **state)
{
	Client client;

	(void) state;
	client_begin(&client, &owner_events);
	SSL_set_security_level(client.ssl, 0);
	SSL_set_min_proto_version(client.ssl, TLS1_VERSION);
	SSL_set_max_proto_version(client.ssl, TLS1_1_VERSION);
	client_carry(&client);
	assert_false(SSL_is_init_finished(client.ssl));
	client_end(&client);

	client_begin(&client, &owner_events);
	SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
	assert_true(SSL_set_cipher_list(client.ssl, "AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA256"));
	client_carry(&client);
	assert_false(SSL_is_init_finished(client.ssl));
	client_end(&client);

	client_begin(&client, &owner_events);
	SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
	client_carry(&client);
	assert_string_equal(SSL_get_version(client.ssl), "TLSv1.2");
	assert_false(SSL_SESSION_has_ticket(SSL_get_session(client.ssl)));
	assert_null(SSL_get_current_compression(client.ssl));
	client_end(&client);

	client_open(&client, &owner_events);
	assert_false(SSL_SESSION_is_resumable(SSL_get_session(client.ssl)));
	assert_int_equal(SSL_SESSION_get_max_early_data(SSL_get_session(client.ssl)), 0);
	client_end(&client);
}

/* The connection of a client that asks for new keys again and again ends, or costs no memory. */
static void
test_renegotiation(void **state)
{
	Client client;
	char data[16384];

	(void) state;
	client_begin(&client, &owner_events);
	SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
	client_carry(&client);
	assert_true(SSL_is_init_finished(client.ssl));
	assert_int_equal(SSL_renegotiate(client.ssl), 1);
	(void) SSL_do_handshake(client.ssl);
	client_carry(&client);
	assert_int_equal(SSL_num_renegotiations(client.ssl), 1);
	assert_false(SSL_is_init_finished(client.ssl));
	client_end(&client);

	/* It does not read the answers. */
	client_open(&client, &owner_events);
	client.fake.room = 0;
	for (int i = 0; i < 1000 && !client.fake.dropped; i++)
	{
		int n;

		assert_int_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		client_write(&client, ".");
		while ((n = BIO_read(client.to_server, data, sizeof(data))) > 0)
			fake_receive(&client.fake, data, (size_t) n);
	}
	assert_int_equal(client.fake.sent_len, 0);
	client_end(&client);
}

/* Large data through a narrow transport arrives unchanged, whatever is accepted at a time. */
static void
test_narrow(void **state)
{
	static uint8_t data[LARGE];
	static uint8_t got[LARGE];
	static const size_t rooms[] = {1, 4, 5, 100, 16383, 3000, 0, 16000};
	Client client;
	TransportRest rest = {0};
	size_t got_len = 0;
	int n;

	(void) state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t) (i * 31 + i / 977);
	client_open(&client, &owner_events);
	client.fake.room = 10;
	assert_true(transport_send(client.transport, &rest, data, 1000));
	assert_non_null(rest.data);
	assert_true(transport_send(client.transport, &rest, data + 1000, sizeof(data) - 1000));
	for (size_t i = 0; rest.data != NULL; i++)
	{
		assert_between(i, 0, 10000);
		assert_true(client.fake.woken);
		client_take(&client);
		owned_writable = 0;
		fake_take(&client.fake, rooms[i % UNIT_COUNT(rooms)]);
		assert_int_equal(owned_writable, 1);
		assert_true(transport_flush(client.transport, &rest));
		client_take(&client);
		while ((n = SSL_read(client.ssl, got + got_len, (int) (sizeof(got) - got_len))) > 0)
			got_len += (size_t) n;
	}
	assert_int_equal(got_len, sizeof(data));
	assert_memory_equal(got, data, sizeof(data));
	client_end(&client);
}

/* While a record waits to be sent, a client asks for new keys, and then goes on to read. */
static void
test_new_keys_while_blocked(void **state)
{
	static uint8_t data[50000];
	static uint8_t got[sizeof(data)];
	Client client;
	TransportRest rest = {0};
	size_t got_len = 0;
	int n;

	(void) state;
	memset(data, 'x', sizeof(data));
	client_open(&client, &owner_events);
	client.fake.room = 10;
	assert_true(transport_send(client.transport, &rest, data, sizeof(data)));
	assert_int_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
	client_write(&client, "hello");
	n = BIO_read(client.to_server, got, sizeof(got));
	fake_receive(&client.fake, (char *) got, (size_t) n);
	for (int i = 0; rest.data != NULL && !client.fake.dropped; i++)
	{
		assert_between(i, 0, 1000);
		client_take(&client);
		fake_take(&client.fake, 16000);
		assert_true(transport_flush(client.transport, &rest));
		client_take(&client);
		while ((n = SSL_read(client.ssl, got + got_len, (int) (sizeof(got) - got_len))) > 0)
			got_len += (size_t) n;
	}
	assert_false(client.fake.dropped);
	assert_int_equal(got_len, sizeof(data));
	assert_string_equal(owned, "hello");
	client_end(&client);
}

/* A client that asks for new keys again and again, and reads nothing, is not read any more. */
static void
test_new_keys_flood(void **state)
{
	static char data[65536];
	static uint8_t got[16384];
	Client client;
	int n;

	(void) state;
	client_open(&client, &owner_events);
	client.fake.room = 100;
	for (int i = 0; i < 1000; i++)
	{
		assert_int_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(client.ssl), 1);
	}
	client_write(&client, "hello");
	n = BIO_read(client.to_server, data, sizeof(data));
	fake_receive(&client.fake, data, (size_t) n);
	assert_true(client.fake.paused);
	/* The owner's wish comes after that. */
	client.transport->functions->pause(client.transport, true);
	client.transport->functions->pause(client.transport, false);
	assert_true(client.fake.paused);

	for (int i = 0; client.fake.paused && !client.fake.dropped; i++)
	{
		assert_between(i, 0, 1000);
		client_take(&client);
		fake_take(&client.fake, 16000);
	}
	assert_false(client.fake.dropped);
	assert_string_equal(owned, "hello");
	client_take(&client);
	assert_int_equal(SSL_read(client.ssl, got, sizeof(got)), -1);
	client_end(&client);
}

static void
test_pause(void **state)
{
	static char data[40000];
	Client client;
	int n;

	(void) state;
	client_open(&client, &owner_events);
	client_write(&client, "one");
	client_write(&client, "two");
	owned_pause = client.transport;
	n = BIO_read(client.to_server, data, sizeof(data));
	fake_receive(&client.fake, data, (size_t) n);
	assert_string_equal(owned, "one");
	assert_true(client.fake.paused);
	/* More comes in spite of the pause. */
	client_write(&client, "three");
	n = BIO_read(client.to_server, data, sizeof(data));
	fake_receive(&client.fake, data, (size_t) n);
	assert_string_equal(owned, "one");
	client.fake.woken = false;
	client.transport->functions->pause(client.transport, false);
	assert_false(client.fake.paused);
	assert_true(client.fake.woken);
	assert_string_equal(owned, "one");
	fake_take(&client.fake, 16000);
	assert_string_equal(owned, "onetwothree");
	assert_int_equal(owned_writable, 0);
	client_end(&client);
}

static void
test_ends(void **state)
{
	Client client;
	TransportRest rest = {0};
	char text[64];

	(void) state;
	/* The client's end of TLS; then it still reads. */
	client_open(&client, &owner_events);
	client_write(&client, "bye");
	(void) SSL_shutdown(client.ssl);
	client_carry(&client);
	assert_string_equal(owned, "bye");
	assert_int_equal(owned_ended, 1);
	fake_end(&client.fake);
	assert_int_equal(owned_ended, 1);
	assert_true(transport_send(client.transport, &rest, (const uint8_t *) "good day", 8));
	client.transport->functions->finish(client.transport);
	assert_true(client.fake.finished);
	client_take(&client);
	assert_int_equal(SSL_read(client.ssl, text, sizeof(text)), 8);
	assert_int_equal(SSL_read(client.ssl, text, sizeof(text)), 0);
	assert_int_equal(SSL_get_error(client.ssl, 0), SSL_ERROR_ZERO_RETURN);
	assert_false(client.fake.dropped);
	client_end(&client);

	/* The end of the connection below. An owner may have no use for that. */
	client_open(&client, &owner_without_end);
	fake_end(&client.fake);
	assert_true(client.fake.dropped);
	client_end(&client);

	/* Our end waits for what is below. */
	client_open(&client, &owner_events);
	client.fake.room = 3;
	client.transport->functions->finish(client.transport);
	assert_false(client.fake.finished);
	fake_take(&client.fake, 1000);
	assert_true(client.fake.finished);
	client_end(&client);

	/* In the middle of the handshake */
	client_begin(&client, &owner_events);
	fake_receive(&client.fake, "\x16\x03\x01", 3);
	fake_end(&client.fake);
	assert_true(client.fake.dropped);
	client_end(&client);
}

/* What follows the end of TLS costs no memory, while the connection stays for the answer. */
static void
test_after_end(void **state)
{
	static char data[16384];
	Client client;
	size_t before;

	(void) state;
	client_open(&client, &owner_events);
	(void) SSL_shutdown(client.ssl);
	client_carry(&client);
	assert_int_equal(owned_ended, 1);
	before = used_memory();
	for (int i = 0; i < 100; i++)
		fake_receive(&client.fake, data, sizeof(data));
	assert_between(used_memory(), 0, before + 20000);
	assert_int_equal(owned_len, 0);
	assert_false(client.fake.dropped);
	client_end(&client);
}

static void
test_not_tls(void **state)
{
	Client client;
	TransportRest rest = {0};
	size_t taken;

	(void) state;
	client_begin(&client, &owner_events);
	fake_receive(&client.fake, "GET / HTTP/1.1\r\n\r\n", 18);
	assert_memory_equal(client.fake.sent, "HTTP/1.1 400 ", 13);
	assert_non_null(strstr(client.fake.sent, "https://"));
	assert_true(client.fake.finished);
	assert_int_equal(owned_len, 0);
	fake_receive(&client.fake, "more", 4);
	/* Its owner cannot write. */
	assert_false(
		client.transport->functions->write(client.transport, (const uint8_t *) "", 1, &taken));
	fake_end(&client.fake);
	assert_int_equal(owned_ended, 1);
	assert_int_equal(tls_refused, 1);
	client_end(&client);

	/* Garbage as the first bytes, and after the handshake */
	client_begin(&client, &owner_events);
	fake_receive(&client.fake, "garbage", 7);
	tls_work(&tls_server);
	assert_true(client.fake.dropped);
	assert_int_equal(tls_refused, 2);
	client_end(&client);

	client_open(&client, &owner_events);
	fake_receive(&client.fake, "garbage", 7);
	assert_true(client.fake.dropped);
	assert_int_equal(owned_len, 0);
	assert_false(transport_send(client.transport, &rest, (const uint8_t *) "x", 1));
	client_end(&client);
}

/* A transport that is kept goes on; one that cannot be kept is freed without an event. */
static void
test_keep(void **state)
{
	Client client;

	(void) state;
	client_open(&client, &owner_events);
	assert_ptr_equal(client.transport->functions->keep(client.transport), client.transport);
	assert_null(client.transport->owner);
	transport_own(client.transport, &owner_without_end, &client);
	client_write(&client, "kept");
	client_carry(&client);
	assert_string_equal(owned, "kept");
	client_end(&client);
	assert_int_equal(owned_closed, 1);

	client_open(&client, &owner_events);
	client.fake.broken = true;
	assert_null(client.transport->functions->keep(client.transport));
	assert_int_equal(owned_closed, 1);
	SSL_free(client.ssl);
}

/* Handshakes take turns, at least one in each round; those that end meanwhile are left out. */
static void
test_turns(void **state)
{
	static Client clients[4];
	char data[16384];
	int n;

	(void) state;
	tls_step = TLS_WORK_NS;
	for (size_t i = 0; i < UNIT_COUNT(clients); i++)
	{
		client_begin(&clients[i], &owner_events);
		(void) SSL_do_handshake(clients[i].ssl);
		n = BIO_read(clients[i].to_server, data, sizeof(data));
		fake_receive(&clients[i].fake, data, (size_t) n);
		assert_true(clients[i].fake.paused);
		assert_int_equal(clients[i].fake.sent_len, 0);
	}
	tls_work(&tls_server);
	assert_true(clients[0].fake.sent_len > 0);
	assert_false(clients[0].fake.paused);
	assert_int_equal(clients[1].fake.sent_len, 0);
	transport_abandon(clients[1].transport);
	fake_lose(&clients[1].fake);
	tls_work(&tls_server);
	assert_true(clients[2].fake.sent_len > 0);
	assert_true(tls_waits(&tls_server));
	tls_step = 0;
	tls_work(&tls_server);
	assert_true(clients[3].fake.sent_len > 0);
	assert_false(tls_waits(&tls_server));
	for (size_t i = 0; i < UNIT_COUNT(clients); i++)
		client_end(&clients[i]);
}

static void
test_certificates(void **state)
{
	SSL_CTX *first = tls_server.context;

	(void) state;
	assert_null(make_context(chain, 10));
	assert_null(make_context("nothing", key_len));
	make_certificate();
	tls_server_use(&tls_server, make_context(chain, key_len));
	assert_non_null(tls_server.context);
	assert_ptr_not_equal(tls_server.context, first);
}

/* The HTTP server over TLS: a request that arrives with the end of the handshake is answered. */
static void
test_http(void **state)
{
	static const char request[] = "GET /text HTTP/1.1\r\nHost: localhost\r\n\r\n";
	Client client = {.ssl = SSL_new(client_context)};
	char text[4096];
	int n;

	(void) serve_setup(state);
	client.from_server = BIO_new(BIO_s_mem());
	client.to_server = BIO_new(BIO_s_mem());
	SSL_set_bio(client.ssl, client.from_server, client.to_server);
	SSL_set_connect_state(client.ssl);
	fake_init(&client.fake, 1);
	client.transport = transport_tls_new(&tls_server, &client.fake.base);
	http_server_accept(&serve_server, client.transport);
	client_carry(&client);
	client_write(&client, request);
	client_carry(&client);
	n = SSL_read(client.ssl, text, sizeof(text) - 1);
	assert_true(n > 0);
	assert_memory_equal(text, "HTTP/1.1 200 ", 13);
	client_end(&client);

	/* A handshake that takes too long is closed by the server's time limit. */
	fake_init(&client.fake, 1);
	client.transport = transport_tls_new(&tls_server, &client.fake.base);
	http_server_accept(&serve_server, client.transport);
	fake_receive(&client.fake, "\x16\x03\x01", 3);
	tls_work(&tls_server);
	assert_false(client.fake.dropped);
	serve_now += HTTP_READ_MS;
	http_server_tick(&serve_server);
	assert_true(client.fake.dropped);
	fake_lose(&client.fake);
	(void) serve_teardown(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TLS_TEST(test_both_ways),      TLS_TEST(test_alpn),
		TLS_TEST(test_not_offered),    TLS_TEST(test_renegotiation),
		TLS_TEST(test_narrow),         TLS_TEST(test_new_keys_while_blocked),
		TLS_TEST(test_new_keys_flood), TLS_TEST(test_pause),
		TLS_TEST(test_ends),           TLS_TEST(test_after_end),
		TLS_TEST(test_not_tls),        TLS_TEST(test_keep),
		TLS_TEST(test_turns),          TLS_TEST(test_certificates),
		TLS_TEST(test_http),
	};

	make_certificate();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
