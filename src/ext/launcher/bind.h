/*-------------------------------------------------------------------------
 *
 * bind.h
 *	  Binds the listening sockets for pg_notifyd.listen_addresses and pg_notifyd.port.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_BIND_H
#define PG_NOTIFYD_BIND_H

#include "postgres.h"

#include "common/ip.h"

#define BIND_MAX 64

typedef struct BindSocket
{
	pgsocket fd;
	int lock; /* descriptor of the locked file beside a Unix socket */
	SockAddr address;
} BindSocket;

typedef struct BindSet
{
	int n;
	BindSocket sockets[BIND_MAX];
} BindSet;

/* The first address that could not be bound. */
typedef struct BindProblem
{
	char text[512]; /* for the log; empty: none */
	bool in_use;    /* another socket has the address */
	bool held;      /* one of our own open sockets has it, at least in part */
} BindProblem;

/*
 * Fill *set with a nonblocking listening socket for each address of the comma-separated
 * list, whose entries wire/listen_address.h describes; port is that of entries without one. A name
 * with several addresses counts as served when one of them is, unless another program has one of the others.
 * held has the sockets that are open now. If one of them has an address, it is used again, so
 * the two sets may share sockets. *problem says which address is missing in *set; some or all may
 * be missing.
 *
 * Blocks while names are being resolved.
 */
extern void
bind_open(const char *addresses, int port, const BindSet *held, BindSet *set, BindProblem *problem);

/*
 * Return a nonblocking listening socket where feeds and backends connect to the gateway with this
 * number: a Unix socket that only the server's own user can connect to. Removes a file with its
 * name. Its directory must exist. On failure returns PGINVALID_SOCKET with errno set.
 */
extern pgsocket bind_link(int gateway);

/*
 * Close the sockets of a set, except those that are also in except, and empty the set. The files of
 * Unix sockets are removed.
 */
extern void bind_close(BindSet *set, const BindSet *except);

/* Return true if both sets consist of the same sockets. */
extern bool bind_equal(const BindSet *a, const BindSet *b);

/* Return true if the set contains this socket. */
extern bool bind_contains(const BindSet *set, pgsocket fd);

/* Give the Unix sockets the permissions of pg_notifyd.unix_socket_permissions. */
extern void bind_set_modes(const BindSet *set);

/* Write the numeric address and port, or the path, to buf, as the log has them. */
#define BIND_DESCRIPTION 256
extern void bind_describe(const SockAddr *address, char *buf, int size);

#endif /* PG_NOTIFYD_BIND_H */
