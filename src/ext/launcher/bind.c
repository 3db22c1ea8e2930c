/*-------------------------------------------------------------------------
 *
 * bind.c
 *	  Binds the listening sockets. See bind.h.
 *
 * The launcher owns the sockets: it binds them and passes them to the gateways. This follows the
 * rules of StreamServerPort() in PostgreSQL's pqcomm.c.
 *
 * A Unix socket's file stays when its server crashes, and bind() refuses to replace it. So the file
 * is removed before, if nobody listens on it. Two servers that start at the same time could remove
 * each other's; a lock on a file beside it prevents this. The kernel releases the lock when the
 * launcher ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "ext/launcher/bind.h"
#include "utils/varlena.h"
#include "wire/listen_address.h"

#define BIND_BACKLOG      4096 /* the kernel caps it with net.core.somaxconn */
#define BIND_LINK_BACKLOG 128

static const char *
bind_path(const SockAddr *address)
{
	return ((const struct sockaddr_un *) &address->addr)->sun_path;
}

/* The file that is locked. */
static void
bind_lock_path(const SockAddr *address, char *path)
{
	snprintf(path, MAXPGPATH, "%s.lock", bind_path(address));
}

void
bind_describe(const SockAddr *address, char *buf, int size)
{
	char name[NI_MAXHOST] = "?";
	char port[NI_MAXSERV] = "?";

	if (address->addr.ss_family == AF_UNIX)
	{
		snprintf(buf, size, "Unix socket \"%s\"", bind_path(address));
		return;
	}
	(void) pg_getnameinfo_all(&address->addr, address->salen, name, sizeof(name), port,
							  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(buf, size, "%s, port %s", name, port);
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
	bool a_wildcard;
	bool b_wildcard;

	if (a->addr.ss_family != b->addr.ss_family || a->addr.ss_family == AF_UNIX)
		return false;
	a_wildcard = bind_is_wildcard(a, &a_port);
	b_wildcard = bind_is_wildcard(b, &b_port);
	return a_port == b_port && (a_wildcard || b_wildcard);
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

/*
 * Lock the file beside a Unix socket. Returns its descriptor, or -1 with errno set, EADDRINUSE if
 * another server has it.
 */
static int
bind_lock(const SockAddr *address)
{
	char path[MAXPGPATH];
	struct stat opened;
	struct stat present;

	bind_lock_path(address, path);
	for (;;)
	{
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);

		if (fd < 0)
			return -1;
		if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		{
			close(fd);
			errno = EADDRINUSE;
			return -1;
		}
		/* Its last owner may have removed it meanwhile. */
		if (fstat(fd, &opened) == 0 && lstat(path, &present) == 0 &&
			opened.st_ino == present.st_ino && opened.st_dev == present.st_dev)
			return fd;
		close(fd);
	}
}

/* Release the lock, and remove its file unless another program has written into it. */
static void
bind_unlock(const SockAddr *address, int lock)
{
	char path[MAXPGPATH];
	struct stat file;

	bind_lock_path(address, path);
	if (fstat(lock, &file) == 0 && file.st_size == 0)
		(void) unlink(path);
	close(lock);
}

/*
 * Remove the file of a socket on which nobody listens. Returns false with errno set if it is
 * something else, EADDRINUSE if somebody listens.
 */
static bool
bind_remove_stale(const SockAddr *address, pgsocket fd)
{
	struct stat file;

	if (lstat(bind_path(address), &file) != 0)
		return errno == ENOENT;
	if (!S_ISSOCK(file.st_mode))
		errno = EEXIST;
	/* EAGAIN: its queue is full. */
	else if (connect(fd, (const struct sockaddr *) &address->addr, address->salen) == 0 ||
			 errno == EAGAIN)
		errno = EADDRINUSE;
	else if (errno == ECONNREFUSED)
		return unlink(bind_path(address)) == 0;
	return false;
}

static bool
bind_set_mode(const SockAddr *address)
{
	return chmod(bind_path(address), (mode_t) notifyd_unix_socket_permissions) == 0;
}

/* Returns true if a listening Unix socket is in *new, and false with errno set if not. */
static bool
bind_listen_unix(BindSocket *new)
{
	const struct sockaddr *address = (const struct sockaddr *) &new->address.addr;
	pgsocket probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool bound = false;
	bool listening = false;
	mode_t mask;
	int saved;

	new->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	new->lock = -1;
	if (probe != PGINVALID_SOCKET && new->fd != PGINVALID_SOCKET &&
		(new->lock = bind_lock(&new->address)) >= 0 && bind_remove_stale(&new->address, probe))
	{
		/* Nobody can connect before its mode is right. */
		mask = umask(S_IRWXU | S_IRWXG | S_IRWXO);
		bound = bind(new->fd, address, new->address.salen) == 0;
		umask(mask);
		listening = bound && bind_set_mode(&new->address) && listen(new->fd, BIND_BACKLOG) == 0;
	}
	saved = errno;
	if (probe != PGINVALID_SOCKET)
		close(probe);
	if (!listening && bound)
		(void) unlink(bind_path(&new->address));
	if (!listening && new->lock >= 0)
		bind_unlock(&new->address, new->lock);
	if (!listening && new->fd != PGINVALID_SOCKET)
		close(new->fd);
	errno = saved;
	return listening;
}

/* Record why an address cannot be bound (errno), unless a problem was recorded before. */
static void
bind_note(BindProblem *problem, const SockAddr *address, const BindSet *held)
{
	char name[BIND_DESCRIPTION];
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
	snprintf(problem->text, sizeof(problem->text), "could not listen on %s: %m", name);
}

/* Add the socket for a path of the list. */
static void
bind_file(const char *path, const BindSet *held, BindSet *set, BindProblem *problem)
{
	BindSocket new = {.fd = PGINVALID_SOCKET};
	struct sockaddr_un *address = (struct sockaddr_un *) &new.address.addr;
	const BindSocket *old;

	/* The check of the setting guarantees that it fits. */
	address->sun_family = AF_UNIX;
	strlcpy(address->sun_path, path, sizeof(address->sun_path));
	new.address.salen = sizeof(*address);
	if (set->n >= BIND_MAX || bind_find(set, &new.address) != NULL)
		return;
	old = bind_find(held, &new.address);
	if (old != NULL)
		set->sockets[set->n++] = *old;
	else if (bind_listen_unix(&new))
		set->sockets[set->n++] = new;
	else
		bind_note(problem, &new.address, held);
}

/* Add the sockets for one entry of the list that is no path. port is that of entries without one. */
static void
bind_name(const ListenAddress *entry, int port, const BindSet *held, BindSet *set,
		  BindProblem *problem)
{
	struct addrinfo hint = {
		.ai_flags = AI_PASSIVE, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *addresses = NULL;
	BindProblem first = {.text = ""};
	bool served = false;
	char name[LISTEN_ADDRESS_MAX_HOST + 1];
	char service[8];
	int status;

	memcpy(name, entry->host, entry->host_len);
	name[entry->host_len] = '\0';
	snprintf(service, sizeof(service), "%d", entry->port != 0 ? entry->port : port);
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
				bind_note(&first, &new.address, held);
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

	if (!SplitGUCList(copy, ',', &names))
		snprintf(problem->text, sizeof(problem->text), "invalid list of addresses to listen on");
	else
	{
		foreach (cell, names)
		{
			const char *text = lfirst(cell);
			ListenAddress entry;

			/* The check of the setting guarantees valid entries. */
			if (!listen_address_parse(text, strlen(text), &entry))
				continue;
			if (entry.host == NULL)
				bind_file(text, held, set, problem);
			else
				bind_name(&entry, port, held, set, problem);
		}
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

/* Close a socket, and remove the files of a Unix socket. The lock is released last. */
static void
bind_close_socket(const BindSocket *socket)
{
	close(socket->fd);
	if (socket->address.addr.ss_family != AF_UNIX)
		return;
	(void) unlink(bind_path(&socket->address));
	bind_unlock(&socket->address, socket->lock);
}

void
bind_close(BindSet *set, const BindSet *except)
{
	for (int i = 0; i < set->n; i++)
	{
		if (!bind_contains(except, set->sockets[i].fd))
			bind_close_socket(&set->sockets[i]);
	}
	set->n = 0;
}

void
bind_set_modes(const BindSet *set)
{
	for (int i = 0; i < set->n; i++)
	{
		const SockAddr *address = &set->sockets[i].address;
		bool removed;

		if (address->addr.ss_family != AF_UNIX || bind_set_mode(address))
			continue;
		removed = errno == ENOENT;
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not set permissions of file \"%s\": %m", bind_path(address)),
				 removed
					 ? errhint("Nobody can connect to this Unix socket. To create its file again, "
							   "take it out of pg_notifyd.listen_addresses, reload the "
							   "configuration, and add it again.")
					 : 0));
	}
}
