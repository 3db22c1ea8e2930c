/*-------------------------------------------------------------------------
 *
 * address.h
 *	  Who takes how much: clients and pending connections, counted by the address they come from.
 *
 * An IPv4 address counts as one. Of an IPv6 address the first 64 bits do: that is the
 * smallest network there is, and whoever has one has all of its addresses.
 *
 * A pending connection is one that is no client yet. Where too many are pending, the
 * address that has most of them loses its oldest: so whoever opens thousands keeps nobody
 * out but others of the same address.
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
#define ADDRESS_MANY 4096 /* with so many pending or more, all addresses count as alike */

struct Pending;

typedef struct Address
{
	RB_ENTRY(Address) in_all;
	TAILQ_ENTRY(Address) in_level;
	TAILQ_HEAD(, Pending) pending; /* oldest first */
	uint8_t key[ADDRESS_SIZE];
	uint32_t npending;
	uint32_t nclients;
} Address;

/* What a pending connection has in it. */
typedef struct Pending
{
	TAILQ_ENTRY(Pending) in_address;
	Address *address;
} Pending;

RB_HEAD(AddressTree, Address);

/* All addresses that have a client or a pending connection. */
typedef struct Addresses
{
	struct AddressTree all;
	TAILQ_HEAD(, Address)
	levels[ADDRESS_MANY + 1]; /* by npending; who has come there first is first */
	uint32_t highest;         /* no address has more pending */
} Addresses;

extern void addresses_init(Addresses *addresses);

/* A connection from this address (that of its other end) is pending. */
extern void
address_add_pending(Addresses *addresses, Pending *pending, const struct sockaddr_storage *from);

/* It is not any more. */
extern void address_remove_pending(Addresses *addresses, Pending *pending);

/*
 * The oldest pending connection of the address that has most of them; of those that have as many,
 * of the one that has had them for longest. NULL where nothing is pending.
 */
extern Pending *address_first_to_lose(const Addresses *addresses);

/* A client of this address has come, or has left. The Address lives as long as it has any. */
extern void address_add_client(Address *address);
extern void address_remove_client(Addresses *addresses, Address *address);

#endif /* GATEWAY_ADDRESS_H */
