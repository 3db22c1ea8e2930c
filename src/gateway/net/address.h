/*-------------------------------------------------------------------------
 *
 * address.h
 *	  Counts clients and pending connections by address.
 *
 * An IPv4 address counts as one. Of an IPv6 address only the first 64 bits count: that is the
 * smallest network, and its user has all of its addresses.
 *
 * A pending connection is not a client: it sends a request, or its last one was answered and it is
 * kept alive for the next. If there are too many, the address with most of them loses the one that
 * has begun no request for longest, so idle ones go first. A client that opens thousands therefore
 * keeps out only others with the same address.
 *
 * This module has no socket, loop or clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ADDRESS_H
#define GATEWAY_ADDRESS_H

#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <uv/tree.h>

#define ADDRESS_SIZE 16
#define ADDRESS_MANY                                                                               \
	4096 /* addresses with at least this many pending connections are treated alike */

struct Pending;

typedef struct Address
{
	RB_ENTRY(Address) in_all;
	TAILQ_ENTRY(Address) in_level;
	TAILQ_HEAD(, Pending) pending; /* in the order of their last requests */
	uint8_t key[ADDRESS_SIZE];
	uint32_t npending;
	uint32_t nclients;
	size_t memory; /* bytes that the HTTP server holds for its connections */
} Address;

/* The part of a pending connection that is used here. */
typedef struct Pending
{
	TAILQ_ENTRY(Pending) in_address;
	Address *address;
} Pending;

RB_HEAD(AddressTree, Address);

/* All addresses with clients or pending connections. */
typedef struct Addresses
{
	struct AddressTree all;
	TAILQ_HEAD(, Address)
	levels[ADDRESS_MANY + 1]; /* by npending, in the order of arrival */
	uint32_t highest;         /* highest level in use */
} Addresses;

/*
 * Get the part of an address that is compared: ADDRESS_SIZE bytes. A multicast address, which no
 * client has, stands for Unix sockets and unknown addresses.
 */
extern void address_key(const struct sockaddr_storage *from, uint8_t *key);

extern void addresses_init(Addresses *addresses);

/* Add a pending connection from this address. */
extern void
address_add_pending(Addresses *addresses, Pending *pending, const struct sockaddr_storage *from);

/* The same for a connection of an address that has clients or pending connections. */
extern void address_pend(Addresses *addresses, Pending *pending, Address *address);

/* The connection turns out to be one from this address. The former one may be freed. */
extern void
address_change_pending(Addresses *addresses, Pending *pending, const struct sockaddr_storage *from);

/* The pending connection begins another request, as if it had just been added. */
extern void address_renew_pending(Pending *pending);

/* The connection is not pending any more. */
extern void address_remove_pending(Addresses *addresses, Pending *pending);

/*
 * Return the first pending connection of the address with most of them; among several, of the one
 * that has had that many for longest. Returns NULL if there are none.
 */
extern Pending *address_first_to_lose(const Addresses *addresses);

/*
 * Add or remove a client of this address. The Address lives as long as it has clients or pending
 * connections.
 */
extern void address_add_client(Address *address);
extern void address_remove_client(Addresses *addresses, Address *address);

#endif /* GATEWAY_ADDRESS_H */
