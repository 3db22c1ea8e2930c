/*-------------------------------------------------------------------------
 *
 * supervisor.c
 *	  All gateways, and the sockets that they listen on.
 *
 * The launcher binds the listening sockets (sockets.c), and each gateway inherits all of them.
 * gateway_process.c handles one gateway, and gateway_life.h has the states of a gateway.
 *
 * Only supervisor_wait() and supervisor_exit() wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>

#include "ext/base/compat.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "ext/launcher/certificate.h"
#include "ext/launcher/sockets.h"
#include "ext/launcher/supervisor.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "utils/memutils.h"

/* In ms. */
#define SUPERVISOR_EXIT_WAIT    100 /* between checks for gateways that have ended, at exit */
#define SUPERVISOR_LONGEST_WAIT 3600000

static GatewayProcess supervisor_gateways[NOTIFYD_MAX_GATEWAYS];

static WaitEventSet *supervisor_wait_set = NULL;

int64
supervisor_clock(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

static void
supervisor_sigchld(SIGNAL_ARGS)
{
	int saved = errno;

	(void) postgres_signal_arg;
	SetLatch(MyLatch);
	errno = saved;
}

/*
 * This process exits, and no gateway may be left running. They are asked to stop while the
 * postmaster runs. If it has ended they are killed, because the next server needs the port.
 */
static void
supervisor_exit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	sockets_close();
	for (;;)
	{
		int64 now = supervisor_clock();
		bool abandoned = !PostmasterIsAlive();
		bool running = false;

		ResetLatch(MyLatch);
		for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
			running |= gateway_process_end(&supervisor_gateways[i], abandoned, now);
		if (!running)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_POSTMASTER_DEATH,
						 SUPERVISOR_EXIT_WAIT, PG_WAIT_EXTENSION);
	}
}

/* Remove the sockets of gateways that have ended. */
static void
supervisor_clean_directory(void)
{
	DIR *dir = AllocateDir(NOTIFYD_SOCKET_DIR);
	struct dirent *entry;
	char path[MAXPGPATH];

	if (dir == NULL && errno == ENOENT)
		return;
	while ((entry = ReadDirExtended(dir, NOTIFYD_SOCKET_DIR, LOG)) != NULL)
	{
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", NOTIFYD_SOCKET_DIR, entry->d_name);
		if (unlink(path) != 0)
			ereport(LOG,
					(errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", path)));
	}
	FreeDir(dir);
}

void
supervisor_start(const GatewayCallbacks *callbacks, int64 now)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(TopMemoryContext);

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
		gateway_process_init(&supervisor_gateways[i], i, callbacks);
	MemoryContextSwitchTo(oldcontext);

	pqsignal(SIGCHLD, supervisor_sigchld);
	before_shmem_exit(supervisor_exit, (Datum) 0);
	supervisor_clean_directory();
	certificate_load();
	sockets_start(now);
}

void
supervisor_send_all(const WireMessage *message)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
		gateway_process_send(&supervisor_gateways[i], message);
}

int
supervisor_count_silent(void)
{
	int silent = 0;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
		silent += gateway_life_is_silent(&supervisor_gateways[i].life);
	return silent;
}

void
supervisor_send_health(bool looking, const char *trouble, int64 now)
{
	WireMessage health = {.type = WIRE_HEALTH, .u.health.trouble = frames_bytes(trouble)};

	health.u.health.looking = looking;
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
		gateway_process_ask(&supervisor_gateways[i], &health, now);
}

void
supervisor_communicate(int64 now)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		gateway_process_communicate(&supervisor_gateways[i], now);
		gateway_process_answer(&supervisor_gateways[i]);
	}
}

static bool
supervisor_none_running(void)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (supervisor_gateways[i].pid != 0)
			return false;
	}
	return true;
}

long
supervisor_tend(int64 now)
{
	bool rebound = sockets_tend(now);
	bool listening = sockets_bound.set.n > 0 && !sockets_bound.releasing && certificate_is_ready();
	uint16 code = sockets_bound.set.n > 0 || sockets_bound.releasing ? GATEWAY_CODE_RESTART
																	 : GATEWAY_CODE_GOING_AWAY;
	int64 next = PG_INT64_MAX;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		GatewayProcess *gateway = &supervisor_gateways[i];

		if (rebound)
			gateway_process_send_config(gateway);
		next =
			Min(next, gateway_process_tend(gateway, listening && i < notifyd_gateways, code, now));
	}
	if (sockets_bound.releasing && supervisor_none_running())
		sockets_release(now);

	next = Min(next, sockets_due());
	return (long) Min(Max(next - now, 0), SUPERVISOR_LONGEST_WAIT);
}

void
supervisor_reload(int64 now)
{
	certificate_load();
	sockets_reload(now);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
		gateway_process_reload(&supervisor_gateways[i], now);
}

/*
 * Waiting
 */

/* The set must be built again after a control pipe was opened or closed. */
static bool
supervisor_wait_set_is_current(void)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (supervisor_gateways[i].pipe_changed)
			return false;
	}
	return supervisor_wait_set != NULL;
}

static void
supervisor_build_wait_set(void)
{
	if (supervisor_wait_set != NULL)
		FreeWaitEventSet(supervisor_wait_set);
	supervisor_wait_set = compat_create_wait_event_set(2 + NOTIFYD_MAX_GATEWAYS);
	AddWaitEventToSet(supervisor_wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(supervisor_wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		GatewayProcess *gateway = &supervisor_gateways[i];

		gateway->pipe_changed = false;
		if (gateway->pipe.fd == PGINVALID_SOCKET)
			continue;
		gateway->wait_events = WL_SOCKET_READABLE;
		gateway->wait_position = AddWaitEventToSet(supervisor_wait_set, gateway->wait_events,
												   gateway->pipe.fd, NULL, gateway);
	}
}

void
supervisor_wait(long timeout)
{
	static uint32 wait_event = 0;
	WaitEvent event;

	if (!supervisor_wait_set_is_current())
		supervisor_build_wait_set();
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		GatewayProcess *gateway = &supervisor_gateways[i];
		uint32 wanted = WL_SOCKET_READABLE;

		if (frames_unsent(&gateway->pipe) > 0)
			wanted |= WL_SOCKET_WRITEABLE;
		if (gateway->pipe.fd == PGINVALID_SOCKET || wanted == gateway->wait_events)
			continue;
		ModifyWaitEvent(supervisor_wait_set, gateway->wait_position, wanted, NULL);
		gateway->wait_events = wanted;
	}
	(void) WaitEventSetWait(supervisor_wait_set, timeout, &event, 1,
							COMPAT_WAIT_EVENT(wait_event, "PgNotifydLauncher"));
	ResetLatch(MyLatch);
}
