/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Counts clients and pending connections by address.
 *
 * Addresses are listed by their number of pending connections, so the one with most is found at
 * once. One pending connection more or less moves an address by one level, and the highest level by
 * at most one.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/net/address.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "wire/network.h"

#define ADDRESS_NETWORK 8 /* bytes of an IPv6 address that are compared */

static int
address_compare(const Address *a, const Address *b)
{
	return memcmp(a->key, b->key, ADDRESS_SIZE);
}

RB_GENERATE_STATIC(AddressTree, Address, in_all, address_compare)

void
addresses_init(Addresses *addresses)
{
	RB_INIT(&addresses->all);
	for (int i = 0; i <= ADDRESS_MANY; i++)
		TAILQ_INIT(&addresses->levels[i]);
	addresses->highest = 0;
}

void
address_key(const struct sockaddr_storage *from, uint8_t *key)
{
	struct in6_addr in6 = {.s6_addr = {0xff}};

	(void) network_in6(from, &in6);
	if (!IN6_IS_ADDR_V4MAPPED(&in6))
		memset(in6.s6_addr + ADDRESS_NETWORK, 0, sizeof(in6.s6_addr) - ADDRESS_NETWORK);
	memcpy(key, in6.s6_addr, ADDRESS_SIZE);
}

static uint32_t
address_level(const Address *address)
{
	return address->npending < ADDRESS_MANY ? address->npending : ADDRESS_MANY;
}

/* Change the number of pending connections by 1 or -1. */
static void
address_move(Addresses *addresses, Address *address, int change)
{
	TAILQ_REMOVE(&addresses->levels[address_level(address)], address, in_level);
	address->npending += (uint32_t) change;
	TAILQ_INSERT_TAIL(&addresses->levels[address_level(address)], address, in_level);
	if (address_level(address) > addresses->highest)
		addresses->highest = address_level(address);
	else if (addresses->highest > 0 && TAILQ_EMPTY(&addresses->levels[addresses->highest]))
		addresses->highest--;
}

static void
address_release(Addresses *addresses, Address *address)
{
	if (address->npending + address->nclients > 0)
		return;
	TAILQ_REMOVE(&addresses->levels[0], address, in_level);
	RB_REMOVE(AddressTree, &addresses->all, address);
	free(address);
}

static Address *
address_find_or_create(Addresses *addresses, const struct sockaddr_storage *from)
{
	Address key;
	Address *address;

	address_key(from, key.key);
	address = RB_FIND(AddressTree, &addresses->all, &key);
	if (address != NULL)
		return address;
	address = memory_zeroed(sizeof(Address));
	memcpy(address->key, key.key, ADDRESS_SIZE);
	TAILQ_INIT(&address->pending);
	RB_INSERT(AddressTree, &addresses->all, address);
	TAILQ_INSERT_TAIL(&addresses->levels[0], address, in_level);
	return address;
}

void
address_add_pending(Addresses *addresses, Pending *pending, const struct sockaddr_storage *from)
{
	address_pend(addresses, pending, address_find_or_create(addresses, from));
}

void
address_pend(Addresses *addresses, Pending *pending, Address *address)
{
	pending->address = address;
	TAILQ_INSERT_TAIL(&address->pending, pending, in_address);
	address_move(addresses, address, 1);
}

void
address_renew_pending(Pending *pending)
{
	TAILQ_REMOVE(&pending->address->pending, pending, in_address);
	TAILQ_INSERT_TAIL(&pending->address->pending, pending, in_address);
}

void
address_remove_pending(Addresses *addresses, Pending *pending)
{
	Address *address = pending->address;

	TAILQ_REMOVE(&address->pending, pending, in_address);
	address_move(addresses, address, -1);
	address_release(addresses, address);
}

void
address_change_pending(Addresses *addresses, Pending *pending, const struct sockaddr_storage *from)
{
	Address *address = address_find_or_create(addresses, from);

	if (address == pending->address)
		return;
	address_remove_pending(addresses, pending);
	address_pend(addresses, pending, address);
}

Pending *
address_first_to_lose(const Addresses *addresses)
{
	const Address *address = TAILQ_FIRST(&addresses->levels[addresses->highest]);

	return addresses->highest > 0 ? TAILQ_FIRST(&address->pending) : NULL;
}

void
address_add_client(Address *address)
{
	address->nclients++;
}

void
address_remove_client(Addresses *addresses, Address *address)
{
	address->nclients--;
	address_release(addresses, address);
}
