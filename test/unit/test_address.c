/* Clients and pending connections by address, and which connection is closed. */
#include "unit.h"

#include "gateway/net/address.h"
#include "wire/network.h"

static Addresses addresses;

static int
setup(void **state)
{
	(void) state;
	addresses_init(&addresses);
	return 0;
}

static struct sockaddr_storage
from(const char *text)
{
	struct sockaddr_storage storage = {.ss_family = AF_UNIX};

	if (strcmp(text, "unix") != 0)
		assert_true(network_parse_address(text, strlen(text), &storage));
	return storage;
}

static void
add(Pending *pending, const char *text)
{
	struct sockaddr_storage storage = from(text);

	address_add_pending(&addresses, pending, &storage);
}

static void
drop(Pending *pending)
{
	address_remove_pending(&addresses, pending);
}

static bool
same(const char *a, const char *b)
{
	Pending one;
	Pending other;
	bool is;

	add(&one, a);
	add(&other, b);
	is = one.address == other.address;
	drop(&one);
	drop(&other);
	return is;
}

static void
test_keys(void **state)
{
	(void) state;
	assert_true(same("10.0.0.1", "10.0.0.1"));
	assert_false(same("10.0.0.1", "10.0.0.2"));
	assert_true(same("::ffff:10.0.0.1", "10.0.0.1"));
	assert_false(same("::ffff:10.0.0.1", "::ffff:10.0.0.2"));
	assert_true(same("2001:db8::1", "2001:db8::ffff:0:0:1"));
	assert_false(same("2001:db8::1", "2001:db8:0:1::1"));
	assert_false(same("::1", "127.0.0.1"));
	assert_false(same("::1", "unix"));
	assert_true(same("unix", "unix"));
	assert_true(RB_EMPTY(&addresses.all));
}

static void
test_order(void **state)
{
	Pending pending[6];

	(void) state;
	assert_null(address_first_to_lose(&addresses));
	add(&pending[0], "10.0.0.1");
	add(&pending[1], "10.0.0.2");
	assert_ptr_equal(address_first_to_lose(&addresses), &pending[0]);
	add(&pending[2], "10.0.0.2");
	add(&pending[3], "10.0.0.3");
	assert_ptr_equal(address_first_to_lose(&addresses), &pending[1]);
	drop(&pending[1]);
	/* All have one: the first address. */
	assert_ptr_equal(address_first_to_lose(&addresses), &pending[0]);
	add(&pending[4], "10.0.0.3");
	add(&pending[5], "10.0.0.3");
	assert_ptr_equal(address_first_to_lose(&addresses), &pending[3]);
	/* Remove one from the middle. */
	drop(&pending[4]);
	assert_ptr_equal(address_first_to_lose(&addresses), &pending[3]);
	drop(&pending[3]);
	drop(&pending[5]);
	drop(&pending[0]);
	assert_ptr_equal(address_first_to_lose(&addresses), &pending[2]);
	drop(&pending[2]);
	assert_null(address_first_to_lose(&addresses));
	assert_true(RB_EMPTY(&addresses.all));
}

/* An address lives as long as it has clients or pending connections. */
static void
test_clients(void **state)
{
	Pending pending[2];
	Address *address;

	(void) state;
	add(&pending[0], "10.0.0.1");
	address = pending[0].address;
	address_add_client(address);
	drop(&pending[0]);
	add(&pending[1], "10.0.0.1");
	assert_ptr_equal(pending[1].address, address);
	assert_int_equal(address->nclients, 1);
	drop(&pending[1]);
	assert_null(address_first_to_lose(&addresses));
	address_remove_client(&addresses, address);
	assert_true(RB_EMPTY(&addresses.all));
}

/* More than are counted exactly, and back: none is lost. */
static void
test_many(void **state)
{
	enum
	{
		COUNT = 3 * ADDRESS_MANY
	};
	Pending *pending = calloc(COUNT, sizeof(Pending));
	Pending one;

	(void) state;
	assert_non_null(pending);
	add(&one, "10.0.0.2");
	for (int i = 0; i < COUNT; i++)
		add(&pending[i], "10.0.0.1");
	for (int i = 0; i < COUNT - 1; i++)
	{
		assert_ptr_equal(address_first_to_lose(&addresses), &pending[i]);
		drop(&pending[i]);
	}
	/* Each has one. */
	assert_ptr_equal(address_first_to_lose(&addresses), &one);
	drop(&one);
	assert_ptr_equal(address_first_to_lose(&addresses), &pending[COUNT - 1]);
	drop(&pending[COUNT - 1]);
	free(pending);
}

/* Random additions and removals: the connection to close is always of an address with most. */
static void
test_random(void **state)
{
	enum
	{
		COUNT = 200,
		HOSTS = 7
	};
	static Pending pending[COUNT];
	int host[COUNT];
	uint32_t counts[HOSTS] = {0};
	bool there[COUNT] = {false};

	(void) state;
	srand(1);
	for (int round = 0; round < 20000; round++)
	{
		int i = rand() % COUNT;
		uint32_t most = 0;
		Pending *first;

		if (there[i])
		{
			drop(&pending[i]);
			counts[host[i]]--;
		}
		else
		{
			char text[16];

			host[i] = rand() % (1 + rand() % HOSTS);
			snprintf(text, sizeof(text), "10.0.0.%d", host[i]);
			add(&pending[i], text);
			counts[host[i]]++;
		}
		there[i] = !there[i];
		for (int j = 0; j < HOSTS; j++)
			most = counts[j] > most ? counts[j] : most;
		first = address_first_to_lose(&addresses);
		assert_int_equal(first != NULL ? first->address->npending : 0, most);
		if (first != NULL)
			assert_int_equal(counts[host[first - pending]], most);
	}
	for (int i = 0; i < COUNT; i++)
		if (there[i])
			drop(&pending[i]);
	assert_true(RB_EMPTY(&addresses.all));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_keys, setup),    cmocka_unit_test_setup(test_order, setup),
		cmocka_unit_test_setup(test_clients, setup), cmocka_unit_test_setup(test_many, setup),
		cmocka_unit_test_setup(test_random, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
