/* Connections of proxies: to whom they are passed on, and when they are closed. */
#include "fake.h"

#include "gateway/base/log_throttle.h"
#include "wire/network.h"
#include "gateway/net/proxy_server.h"

#define LINE "PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n"

static ProxyServer server;
static uint64_t now;
static int refusals;
static char received[256];
static bool abandons; /* the next owner does not want the connection */

static uint64_t
clock_now(void)
{
	return now;
}

static void
refused(const struct sockaddr_storage *proxy)
{
	char text[NETWORK_TEXT];

	network_text(proxy, text);
	assert_string_equal(text, "127.0.0.9:7");
	refusals++;
}

static void
next_received(void *owner, char *data, size_t len)
{
	(void) owner;
	assert_between(strlen(received) + len, 0, sizeof(received) - 1);
	strncat(received, data, len);
}

static const TransportEvents next_events = {.received = next_received};

static void
next(Transport *transport)
{
	if (abandons)
		transport_abandon(transport);
	else
		transport_own(transport, &next_events, received);
}

static int
setup(void **state)
{
	(void) state;
	server = (ProxyServer){.now = clock_now, .refused = refused};
	proxy_server_init(&server);
	now = 1000;
	refusals = 0;
	received[0] = '\0';
	abandons = false;
	return 0;
}

static void
begin(Fake *fake)
{
	fake_init(fake, 9);
	proxy_server_accept(&server, &fake->base, next);
}

static void
receive(Fake *fake, const char *text)
{
	fake_receive(fake, text, strlen(text));
}

/* Whose connection the next owner sees. */
static const char *
peer(const Fake *fake)
{
	static char text[NETWORK_TEXT];
	struct sockaddr_storage address;

	assert_ptr_equal(fake->base.owner, received);
	assert_true(fake->base.functions->peer(&fake->base, &address));
	network_text(&address, text);
	return text;
}

static void
test_passed_on(void **state)
{
	static Fake fake;

	(void) state;
	begin(&fake);
	receive(&fake, LINE "GET /");
	assert_string_equal(received, "GET /");
	assert_string_equal(peer(&fake), "203.0.113.9:4711");
	receive(&fake, LINE);
	assert_string_equal(received, "GET /" LINE);

	setup(NULL);
	begin(&fake);
	for (const char *p = LINE; *p != '\0'; p++)
	{
		assert_true(proxy_server_waits(&server));
		fake_receive(&fake, p, 1);
	}
	assert_false(proxy_server_waits(&server));
	assert_string_equal(received, "");
	assert_string_equal(peer(&fake), "203.0.113.9:4711");
}

static void
test_without_header(void **state)
{
	static Fake fake;

	(void) state;
	begin(&fake);
	receive(&fake, "GET /");
	assert_string_equal(received, "GET /");
	assert_string_equal(peer(&fake), "127.0.0.9:7");

	setup(NULL);
	begin(&fake);
	receive(&fake, "P");
	receive(&fake, "RO");
	receive(&fake, "PFIND /");
	assert_string_equal(received, "PROPFIND /");
	assert_string_equal(peer(&fake), "127.0.0.9:7");
}

static void
test_closed(void **state)
{
	static Fake fake;

	(void) state;
	begin(&fake);
	receive(&fake, "PROXY TCP5\r\n");
	assert_true(fake.dropped);
	assert_null(fake.base.owner);
	assert_int_equal(refusals, 1);

	begin(&fake);
	receive(&fake, "PROXY ");
	fake_lose(&fake);
	assert_false(proxy_server_waits(&server));

	begin(&fake);
	abandons = true;
	receive(&fake, LINE "GET /");
	assert_true(fake.dropped);
	assert_string_equal(received, "");
	assert_int_equal(refusals, 1);
}

static void
test_limits(void **state)
{
	static Fake fakes[PROXY_MAX + 1];

	(void) state;
	for (int i = 0; i <= PROXY_MAX; i++)
		begin(&fakes[i]);
	assert_true(fakes[0].dropped);
	assert_false(fakes[1].dropped);
	assert_int_equal(server.count, PROXY_MAX);
	now += PROXY_READ_MS - 1;
	receive(&fakes[1], "PROXY ");
	proxy_server_tick(&server);
	assert_false(fakes[1].dropped);
	now++;
	proxy_server_tick(&server);
	assert_true(fakes[1].dropped && fakes[PROXY_MAX].dropped);
	assert_false(proxy_server_waits(&server));
	begin(&fakes[0]);
	proxy_server_stop(&server);
	assert_true(fakes[0].dropped);
	assert_int_equal(server.count, 0);
}

static void
test_throttle(void **state)
{
	LogThrottle throttle = {0};
	uint64_t left_out = 7;

	(void) state;
	assert_true(log_throttle_allows(&throttle, "a", 1, now, &left_out));
	assert_int_equal(left_out, 0);
	assert_false(log_throttle_allows(&throttle, "a", 1, now + LOG_THROTTLE_MS - 1, &left_out));
	assert_true(log_throttle_allows(&throttle, "b", 1, now, &left_out));
	assert_int_equal(left_out, 1);
	assert_true(log_throttle_allows(&throttle, "a", 1, now + LOG_THROTTLE_MS, &left_out));
	assert_int_equal(left_out, 0);
	/* Of others there are only so many. */
	now += LOG_THROTTLE_MS * 3;
	for (uint32_t i = 0; i < 1000; i++)
		assert_true(log_throttle_allows(&throttle, &i, sizeof(i), now, &left_out) ==
					(i < LOG_THROTTLE_KEYS));
	assert_true(log_throttle_allows(&throttle, "a", 1, now + LOG_THROTTLE_MS, &left_out));
	assert_int_equal(left_out, 1000 - LOG_THROTTLE_KEYS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_passed_on, setup),
		cmocka_unit_test_setup(test_without_header, setup),
		cmocka_unit_test_setup(test_closed, setup),
		cmocka_unit_test_setup(test_limits, setup),
		cmocka_unit_test_setup(test_throttle, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
