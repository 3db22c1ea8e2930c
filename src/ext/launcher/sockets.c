/*-------------------------------------------------------------------------
 *
 * sockets.c
 *	  The listening sockets over time. See sockets.h.
 *
 * When the settings change, the launcher binds the new sockets first, and closes the old ones only
 * when it has new ones. Until then the gateways use the old ones. This is not possible if a new
 * address overlaps with one that is bound, as "*" does with "localhost" on the same port. Then the
 * gateways are stopped and the old sockets are closed ("releasing") before the new ones are bound.
 *
 * An address that cannot be bound is tried again with a back-off, without end: it may appear later,
 * or the port may become free.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/backoff.h"
#include "ext/base/settings.h"
#include "ext/launcher/sockets.h"
#include "utils/memutils.h"

SocketsBound sockets_bound = {.addresses = NULL};

static const BindSet sockets_none = {.n = 0};

static int64 sockets_retry = 0; /* 0: all sockets are bound */
static int sockets_failures = 0;
static char sockets_problem[sizeof(((BindProblem *) 0)->text)] = ""; /* as logged */

/* Log a problem, unless it is the same as before. Schedules the next attempt. */
static void
sockets_failed(const BindProblem *problem, int64 now)
{
	sockets_failures++;
	sockets_retry = now + backoff_delay(sockets_failures);
	if (strcmp(sockets_problem, problem->text) == 0)
		return;
	strlcpy(sockets_problem, problem->text, sizeof(sockets_problem));
	ereport(LOG,
			(errmsg("pg_notifyd %s", problem->text),
			 problem->in_use
				 ? errhint("Another program uses the port or the socket, possibly pg_notifyd of "
						   "another server. Stop it, or change pg_notifyd.port or "
						   "pg_notifyd.listen_addresses. pg_notifyd will retry.")
				 : errhint("pg_notifyd will retry.")));
}

/* Return true if the sockets are those for the present settings, as far as they could be bound. */
static bool
sockets_as_set(void)
{
	return sockets_bound.addresses != NULL &&
		   strcmp(sockets_bound.addresses, notifyd_listen_addresses) == 0 &&
		   sockets_bound.port == notifyd_port;
}

/* Use this set from now on. Returns false if it is already in use for the same settings. */
static bool
sockets_adopt(const BindSet *set)
{
	bool was_empty = sockets_bound.addresses != NULL && sockets_bound.set.n == 0;
	char name[BIND_DESCRIPTION];

	if (sockets_as_set() && bind_equal(set, &sockets_bound.set))
		return false;
	if (!bind_equal(set, &sockets_bound.set))
	{
		for (int i = 0; i < set->n; i++)
		{
			if (bind_contains(&sockets_bound.set, set->sockets[i].fd))
				continue;
			bind_describe(&set->sockets[i].address, name, sizeof(name));
			ereport(LOG, (errmsg("pg_notifyd is listening on %s", name)));
		}
		bind_close(&sockets_bound.set, set);
		sockets_bound.set = *set;
		sockets_bound.generation++;
	}
	if (set->n == 0 && !was_empty)
		ereport(
			LOG,
			(errmsg("pg_notifyd is not listening, because pg_notifyd.listen_addresses is empty")));

	if (sockets_bound.addresses != NULL)
		pfree(sockets_bound.addresses);
	sockets_bound.addresses = MemoryContextStrdup(TopMemoryContext, notifyd_listen_addresses);
	sockets_bound.port = notifyd_port;
	return true;
}

bool
sockets_tend(int64 now)
{
	BindSet set;
	BindProblem problem;

	if (sockets_retry == 0 || now < sockets_retry || sockets_bound.releasing)
		return false;

	bind_open(notifyd_listen_addresses, notifyd_port, &sockets_bound.set, &set, &problem);
	if (problem.held)
	{
		bind_close(&set, &sockets_bound.set);
		sockets_bound.releasing = true;
		sockets_retry = 0;
		return false;
	}

	if (problem.text[0] != '\0')
		sockets_failed(&problem, now);
	else
	{
		sockets_retry = 0;
		sockets_failures = 0;
		sockets_problem[0] = '\0';
	}

	/* Keep the open sockets, in case a name cannot be resolved for a while. */
	for (int i = 0; sockets_as_set() && i < sockets_bound.set.n && set.n < BIND_MAX; i++)
	{
		if (!bind_contains(&set, sockets_bound.set.sockets[i].fd))
			set.sockets[set.n++] = sockets_bound.set.sockets[i];
	}

	/* Do not close working sockets for only part of the new ones. */
	if (problem.text[0] != '\0' &&
		(set.n == 0 || (problem.in_use && sockets_bound.set.n > 0 && !sockets_as_set())))
	{
		bind_close(&set, &sockets_bound.set);
		return false;
	}
	return sockets_adopt(&set);
}

int64
sockets_due(void)
{
	return sockets_retry == 0 || sockets_bound.releasing ? PG_INT64_MAX : sockets_retry;
}

void
sockets_start(int64 now)
{
	sockets_retry = now;
}

void
sockets_reload(int64 now)
{
	bind_set_modes(&sockets_bound.set);
	if (sockets_as_set() && sockets_retry == 0)
		return;
	sockets_failures = 0;
	sockets_retry = now;
}

void
sockets_close(void)
{
	bind_close(&sockets_bound.set, &sockets_none);
}

void
sockets_release(int64 now)
{
	sockets_close();
	if (sockets_bound.addresses != NULL)
		pfree(sockets_bound.addresses);
	sockets_bound.addresses = NULL;
	sockets_bound.releasing = false;
	sockets_retry = now;
}
