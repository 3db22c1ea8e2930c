/*-------------------------------------------------------------------------
 *
 * bind.c
 *	  Binds the listening sockets. See bind.h.
 *
 * The launcher owns the sockets: it binds them and passes them to the gateways. This follows the
 * rules of StreamServerPort() in PostgreSQL's pqcomm.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ext/base/shared.h"
#include "ext/launcher/bind.h"
#include "utils/varlena.h"

#define BIND_BACKLOG      4096 /* the kernel caps it with net.core.somaxconn */
#define BIND_LINK_BACKLOG 128

void
bind_describe(const SockAddr *address, char *buf, int size)
{
	if (pg_getnameinfo_all(&address->addr, address->salen, buf, size, NULL, 0, NI_NUMERICHOST) != 0)
		strlcpy(buf, "?", size);
}

static bool
bind_same_address(const SockAddr *a, const SockAddr *b)
{
	return a->salen == b->salen && memcmp(&a->addr, &b->addr, a->salen) == 0;
}

/* The port, and whether the address is the wildcard of its family. */
static bool
bind_is_wildcard(const SockAddr *address, in_port_t *port)
{
	if (address->addr.ss_family == AF_INET)
	{
		const struct sockaddr_in *in = (const struct sockaddr_in *) &address->addr;

		*port = in->sin_port;
		return in->sin_addr.s_addr == htonl(INADDR_ANY);
	}
	else
	{
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) &address->addr;

		*port = in6->sin6_port;
		return IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
	}
}

/* Return true if two different addresses exclude each other. */
static bool
bind_overlap(const SockAddr *a, const SockAddr *b)
{
	in_port_t a_port;
	in_port_t b_port;
	bool a_wildcard = bind_is_wildcard(a, &a_port);
	bool b_wildcard = bind_is_wildcard(b, &b_port);

	return a->addr.ss_family == b->addr.ss_family && a_port == b_port && (a_wildcard || b_wildcard);
}

static const BindSocket *
bind_find(const BindSet *set, const SockAddr *address)
{
	for (int i = 0; i < set->n; i++)
	{
		if (bind_same_address(&set->sockets[i].address, address))
			return &set->sockets[i];
	}
	return NULL;
}

/* Return a listening socket, or PGINVALID_SOCKET with errno set. */
static pgsocket
bind_listen(const SockAddr *address)
{
	int on = 1;
	int saved;
	pgsocket fd = socket(address->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == PGINVALID_SOCKET)
		return PGINVALID_SOCKET;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		(address->addr.ss_family != AF_INET6 ||
		 setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
		bind(fd, (const struct sockaddr *) &address->addr, address->salen) == 0 &&
		listen(fd, BIND_BACKLOG) == 0)
		return fd;

	saved = errno;
	close(fd);
	errno = saved;
	return PGINVALID_SOCKET;
}

/* Record why an address cannot be bound (errno), unless a problem was recorded before. */
static void
bind_note(BindProblem *problem, const SockAddr *address, int port, const BindSet *held)
{
	char name[NI_MAXHOST];
	int error = errno;

	if (error == EADDRINUSE)
	{
		problem->in_use = true;
		for (int i = 0; i < held->n; i++)
		{
			if (bind_overlap(&held->sockets[i].address, address))
				problem->held = true;
		}
	}
	if (problem->text[0] != '\0')
		return;

	bind_describe(address, name, sizeof(name));
	errno = error;
	snprintf(problem->text, sizeof(problem->text), "could not listen on %s, port %d: %m", name,
			 port);
}

/* Add the sockets for one name of the list. */
static void
bind_name(const char *name, int port, const BindSet *held, BindSet *set, BindProblem *problem)
{
	struct addrinfo hint = {
		.ai_flags = AI_PASSIVE, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *addresses = NULL;
	BindProblem first = {.text = ""};
	bool served = false;
	char service[8];
	int status;

	snprintf(service, sizeof(service), "%d", port);
	status = pg_getaddrinfo_all(strcmp(name, "*") == 0 ? NULL : name, service, &hint, &addresses);
	if (status != 0 || addresses == NULL)
	{
		if (problem->text[0] == '\0')
			snprintf(problem->text, sizeof(problem->text),
					 "could not resolve \"%s\" to listen on it: %s", name, gai_strerror(status));
		return;
	}

	for (struct addrinfo *ai = addresses; ai != NULL; ai = ai->ai_next)
	{
		BindSocket new = {.fd = PGINVALID_SOCKET};
		const BindSocket *old;

		if ((ai->ai_family != AF_INET && ai->ai_family != AF_INET6) || set->n >= BIND_MAX)
			continue;
		memcpy(&new.address.addr, ai->ai_addr, ai->ai_addrlen);
		new.address.salen = ai->ai_addrlen;

		old = bind_find(set, &new.address);
		if (old == NULL)
		{
			old = bind_find(held, &new.address);
			new.fd = old != NULL ? old->fd : bind_listen(&new.address);
			if (new.fd == PGINVALID_SOCKET)
			{
				bind_note(&first, &new.address, port, held);
				continue;
			}
			set->sockets[set->n++] = new;
		}
		served = true;
	}
	pg_freeaddrinfo_all(hint.ai_family, addresses);

	if (served && !first.in_use)
		return; /* such as ::1 on a host without IPv6 */
	problem->in_use |= first.in_use;
	problem->held |= first.held;
	if (problem->text[0] == '\0')
		strlcpy(problem->text, first.text, sizeof(problem->text));
}

void
bind_open(const char *addresses, int port, const BindSet *held, BindSet *set, BindProblem *problem)
{
	char *copy = pstrdup(addresses);
	List *names = NIL;
	ListCell *cell;

	set->n = 0;
	memset(problem, 0, sizeof(*problem));

	/* The check of the setting guarantees a valid list. */
	if (!SplitGUCList(copy, ',', &names))
		snprintf(problem->text, sizeof(problem->text), "invalid list of addresses to listen on");
	else
	{
		foreach (cell, names)
			bind_name(lfirst(cell), port, held, set, problem);
	}
	list_free(names);
	pfree(copy);
}

pgsocket
bind_link(int gateway)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	pgsocket fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	bool bound;
	int saved;

	if (fd == PGINVALID_SOCKET)
		return PGINVALID_SOCKET;
	shared_gateway_socket(gateway, address.sun_path, sizeof(address.sun_path));
	if (unlink(address.sun_path) == 0 || errno == ENOENT)
	{
		/* bind() creates the file with the mode that the umask leaves. */
		mask = umask(S_IXUSR | S_IRWXG | S_IRWXO);
		bound = bind(fd, (const struct sockaddr *) &address, sizeof(address)) == 0;
		umask(mask);
		if (bound && listen(fd, BIND_LINK_BACKLOG) == 0)
			return fd;
	}

	saved = errno;
	close(fd);
	errno = saved;
	return PGINVALID_SOCKET;
}

bool
bind_contains(const BindSet *set, pgsocket fd)
{
	for (int i = 0; i < set->n; i++)
	{
		if (set->sockets[i].fd == fd)
			return true;
	}
	return false;
}

bool
bind_equal(const BindSet *a, const BindSet *b)
{
	if (a->n != b->n)
		return false;
	for (int i = 0; i < a->n; i++)
	{
		if (!bind_contains(b, a->sockets[i].fd))
			return false;
	}
	return true;
}

void
bind_close(BindSet *set, const BindSet *except)
{
	for (int i = 0; i < set->n; i++)
	{
		if (!bind_contains(except, set->sockets[i].fd))
			close(set->sockets[i].fd);
	}
	set->n = 0;
}
