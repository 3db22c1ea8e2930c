/* Handshakes of TLS that are not complete, and what they cost. */
#include "tls_client.h"

#include <openssl/err.h>

#include "gateway/tls/tls_records.h"

#define MANY 4096 /* connections that a gateway may have pending */

/* Connections whose clients send the same bytes and then nothing. */
static Client many[MANY];

/* Let all of them send these bytes. Returns the memory that one takes, once those dropped are closed. */
static size_t
many_receive(const char *data, size_t len)
{
	size_t before = used_memory();

	for (size_t i = 0; i < MANY; i++)
	{
		client_begin(&many[i], &owner_events);
		SSL_free(many[i].ssl);
		many[i].ssl = NULL;
	}
	for (size_t i = 0; i < MANY; i++)
	{
		fake_receive(&many[i].fake, data, len);
		tls_work(&tls_server);
		/* Like the loop, which reports the end of a connection soon. */
		if (i >= TLS_MAX_BEGUN && many[i - TLS_MAX_BEGUN].fake.dropped)
			client_end(&many[i - TLS_MAX_BEGUN]);
	}
	return (used_memory() - before) / MANY;
}

/* Returns how many of them are still connected. */
static size_t
many_end(void)
{
	size_t n = 0;

	for (size_t i = 0; i < MANY; i++)
	{
		n += !many[i].fake.dropped && !many[i].fake.finished;
		client_end(&many[i]);
	}
	return n;
}

static const unsigned char known[] = "\x08http/1.1";

/* The ClientHello of a client that offers many protocols. Returns its length. */
static size_t
large_hello(char *hello, size_t size)
{
	static unsigned char protocols[60 * 256 + sizeof(known) - 1];
	Client client;
	int n;

	for (size_t i = 0; i < 60; i++)
	{
		protocols[i * 256] = 255;
		memset(protocols + i * 256 + 1, 'x', 255);
	}
	memcpy(protocols + 60 * 256, known, sizeof(known) - 1);
	client_begin(&client, &owner_events);
	/* The keys of other groups, which newer versions of OpenSSL send, need more room. */
	assert_int_equal(SSL_set1_groups_list(client.ssl, "X25519"), 1);
	assert_int_equal(SSL_set_alpn_protos(client.ssl, protocols, sizeof(protocols)), 0);
	(void) SSL_do_handshake(client.ssl);
	n = BIO_read(client.to_server, hello, (int) size);
	client_end(&client);
	assert_between(n, 15000, size);
	return (size_t) n;
}

/* Clients that begin handshakes and don't go on cost little memory, and others come in. */
static void
test_half_open(void **state)
{
	static char hello[20000] = "\x16\x03\x01\x40\x00\x01\x01\xff\x00";
	Client client;
	size_t len;
	size_t memory;

	(void) state;
	/* One that announces a message of 128 kB. It is refused in words that clients know. */
	client_begin(&client, &owner_events);
	fake_receive(&client.fake, hello, 5 + 16384);
	client_take(&client);
	ERR_clear_error();
	(void) SSL_do_handshake(client.ssl);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER);
	assert_true(client.fake.finished);
	assert_int_equal(tls_refused, 1);
	client_end(&client);
	memory = many_receive(hello, 5 + 16384);
	assert_between(memory, 0, 1000);
	client_open(&client, &owner_events);
	client_end(&client);
	assert_int_equal(many_end(), 0);

	/* A record that is not complete */
	memory = many_receive(hello, 16384);
	assert_between(memory, 0, 17500);
	client_open(&client, &owner_events);
	client_end(&client);
	assert_int_equal(many_end(), MANY);

	/* A ClientHello that is as large as allowed: the oldest handshakes are given up. */
	len = large_hello(hello, sizeof(hello));
	memory = many_receive(hello, len);
	assert_between(memory, 0, 100 * 1024 * TLS_MAX_BEGUN / MANY);
	assert_int_equal(tls_server.nbegun, TLS_MAX_BEGUN);
	client_open(&client, &owner_events);
	client_end(&client);
	assert_int_equal(tls_server.nbegun, TLS_MAX_BEGUN - 1);
	assert_true(many[MANY - TLS_MAX_BEGUN].fake.dropped);
	assert_int_equal(many_end(), TLS_MAX_BEGUN - 1);
	assert_int_equal(tls_server.nbegun, 0);
}

/* A ClientHello may be divided into records, and each record may arrive byte by byte. */
static void
test_divided_hello(void **state)
{
	Client client;
	char hello[16384];
	int n;

	(void) state;
	client_begin(&client, &owner_events);
	(void) SSL_do_handshake(client.ssl);
	n = BIO_read(client.to_server, hello, sizeof(hello));
	for (int i = 5; i < n; i += 50)
	{
		char record[55] = {0x16, 0x03, 0x01, 0, (char) (n - i < 50 ? n - i : 50)};

		memcpy(record + 5, hello + i, (size_t) record[4]);
		for (int k = 0; k < 5 + record[4]; k++)
		{
			assert_false(client.fake.paused);
			fake_receive(&client.fake, record + k, 1);
		}
		assert_true(client.fake.paused);
		tls_work(&tls_server);
	}
	client_carry(&client);
	assert_true(SSL_is_init_finished(client.ssl));
	client_end(&client);
}

#define HELLO(left)           "\x16\x03\x03\0\x06\x01\0\0" left "xx"
#define RECORD(type, message) type "\x03\x03\0\x05" message "xxxx"

/* What a client may send during a handshake, and how many bytes of that are whole records. */
static void
test_records(void **state)
{
	static const struct
	{
		const char *data;
		size_t len;
		bool good;
		size_t whole;
	} cases[] = {
#define CASE(data, good, whole) {data, sizeof(data) - 1, good, whole}
		CASE("\x16\x03\x03", true, 0),
		CASE(HELLO("\x02"), true, 11),
		/* it goes on in another record; not in another one before that */
		CASE(HELLO("\x07") RECORD("\x16", "x"), true, 21),
		CASE(HELLO("\x07") "\x16\x03\x03\0\x05xxx", true, 11),
		CASE(HELLO("\x06") RECORD("\x16", "x"), false, 11),
		/* a second one, after HelloRetryRequest */
		CASE(HELLO("\x02") RECORD("\x14", "\x01") HELLO("\x02"), true, 32),
		CASE(HELLO("\x02") "\x16\x03\x03\0\x06\x01\x01\0\0xx", false, 11),
		/* another message, and what is then encrypted */
		CASE(HELLO("\x02") RECORD("\x16", "\x10") "\x16\x03\x03\0\x06\x01\xff\0\0xx", true, 32),
		CASE("\x16\x03\x03\0\x03\x01\0\0", false, 0),
		/* no TLS, and too large for a record */
		CASE("garbage", true, 7),
		CASE(HELLO("\x02") "garbage\x16\x03\x03", true, 21),
		CASE("\x16\x03\x03\xff\xffx", true, 6),
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
	{
		TlsRecords records = {0};
		size_t whole = 0;

		assert_int_equal(
			tls_records_take(&records, (const uint8_t *) cases[i].data, cases[i].len, &whole),
			cases[i].good);
		assert_int_equal(whole, cases[i].whole);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TLS_TEST(test_half_open),
		TLS_TEST(test_divided_hello),
		cmocka_unit_test(test_records),
	};

	make_certificate();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
