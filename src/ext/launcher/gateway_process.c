/*-------------------------------------------------------------------------
 *
 * gateway_process.c
 *	  One gateway: its process, its control pipe, and its entry in the shared memory.
 *
 * gateway_life.c decides what happens when, and this file does it. Every event of a gateway goes
 * through gateway_process_step().
 *
 * The program is opened when the server starts, and every gateway is run from that descriptor. So a
 * gateway that is started after new files were installed is still the one that the loaded library
 * was installed with. If the server was started with files of two versions, the gateway ends at
 * once. That is logged once, and then the file is opened again for each start, because the right
 * one may have been installed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ext/base/compat.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "ext/launcher/certificate.h"
#include "ext/launcher/gateway_process.h"
#include "ext/launcher/loads.h"
#include "ext/launcher/sockets.h"
#include "ext/launcher/spawn.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define GATEWAY_READS 4 /* of a control pipe in one round */

/* Why gateways cannot be started, as logged; empty if they can. */
static char gateway_start_problem[MAXPGPATH + 256] = "";

void
gateway_process_init(GatewayProcess *gateway, int number, const GatewayCallbacks *callbacks)
{
	*gateway = (GatewayProcess){.number = number, .callbacks = callbacks};
	frames_init(&gateway->pipe, CONTROL_PIPE_MAX_FRAME);
}

/*
 * The entry in the shared memory
 */

/* Update the entry to the gateway's state. started: the process was just started. */
static void
gateway_process_publish(const GatewayProcess *gateway, bool started)
{
	NotifydGateway *entry = &notifyd_shared->gateways[gateway->number];

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	if (started)
	{
		int restarts = entry->started_at == 0 ? 0 : entry->restarts + 1;

		memset(entry, 0, sizeof(*entry));
		entry->restarts = restarts;
		entry->started_at = GetCurrentTimestamp();
	}
	if (gateway->pid == 0)
	{
		entry->stats.clients = 0;
		entry->stats.subscriptions = 0;
		entry->stats.queued = 0;
		entry->stats.slow = 0;
		entry->stats.waiting = 0;
		entry->stats.busy_ms = 0;
	}
	entry->pid = gateway->pid;
	entry->sandbox_missing = gateway->sandbox_missing;
	entry->ready = gateway->life.state == GATEWAY_READY;
	entry->silent = gateway_life_is_silent(&gateway->life);
	LWLockRelease(&notifyd_shared->lock);
	if (gateway->pid == 0)
		loads_forget(gateway->number);
}

/* It has sent something. */
static void
gateway_process_publish_seen(const GatewayProcess *gateway)
{
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	notifyd_shared->gateways[gateway->number].seen_at = GetCurrentTimestamp();
	LWLockRelease(&notifyd_shared->lock);
}

static void
gateway_process_publish_stats(const GatewayProcess *gateway, const WireStats *stats)
{
	NotifydGateway *entry = &notifyd_shared->gateways[gateway->number];

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	entry->stats = *stats;
	LWLockRelease(&notifyd_shared->lock);
	loads_complete(gateway->number);
}

/*
 * What is sent through the control pipe
 */

void
gateway_process_send(GatewayProcess *gateway, const WireMessage *message)
{
	if (gateway->pid != 0)
		control_pipe_send(&gateway->pipe, message);
}

/* Has the process what it can get only at its start as the settings are now? */
static bool
gateway_process_is_current(const GatewayProcess *gateway)
{
	return gateway->generation == sockets_bound.generation && gateway->sandbox == notifyd_sandbox &&
		   gateway->ssl == notifyd_ssl && certificate_is_ready();
}

void
gateway_process_send_config(GatewayProcess *gateway)
{
	GatewayState state = gateway->life.state;

	if ((state == GATEWAY_STARTING || state == GATEWAY_READY) &&
		gateway_process_is_current(gateway))
		control_pipe_send_config(&gateway->pipe, gateway->number);
}

/*
 * Steps of its life
 */

static GatewayAction gateway_process_step(GatewayProcess *gateway, GatewayEvent event, int64 now);

/* Log why a gateway could not be started, unless the last problem was the same. */
static void
gateway_process_report(const char *problem, const char *hint)
{
	if (strcmp(gateway_start_problem, problem) == 0)
		return;
	strlcpy(gateway_start_problem, problem, sizeof(gateway_start_problem));
	ereport(LOG,
			(errmsg("could not start a gateway of pg_notifyd: %s", problem), errhint("%s", hint)));
}

static void
gateway_process_report_version(void)
{
	char problem[sizeof(gateway_start_problem)];

	snprintf(problem, sizeof(problem),
			 "\"%s\" is of another version than the loaded library, which is of version %s",
			 spawn_program_path(), NOTIFYD_VERSION);
	gateway_process_report(problem, "Install the files of one version and restart the server.");
	spawn_close_program();
}

/*
 * Check what a gateway needs before it can be started. On failure returns false and sets problem.
 */
static bool
gateway_process_prepare(char *problem, size_t size)
{
	if (mkdir(NOTIFYD_SOCKET_DIR, S_IRWXU) != 0 && errno != EEXIST)
		snprintf(problem, size, "could not create directory \"%s\": %m", NOTIFYD_SOCKET_DIR);
	else if (!spawn_open_program())
		snprintf(problem, size, "could not execute \"%s\": %m", spawn_program_path());
	else
		return true;
	return false;
}

/*
 * Start the process, and set *pipe to one end of the control pipe. On failure returns false and
 * sets problem.
 */
static bool
gateway_process_spawn(GatewayProcess *gateway, pgsocket *pipe, char *problem, size_t size)
{
	char title[NAMEDATALEN + 64];
	int sockets[SPAWN_MAX_SOCKETS];
	int nsockets = 0;
	int pair[2];
	pgsocket link;

	if (!gateway_process_prepare(problem, size))
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
	{
		snprintf(problem, size, "could not create a socket pair: %m");
		return false;
	}
	link = bind_link(gateway->number);
	if (link == PGINVALID_SOCKET)
	{
		snprintf(problem, size, "could not listen in directory \"%s\": %m", NOTIFYD_SOCKET_DIR);
		close(pair[0]);
		close(pair[1]);
		return false;
	}
	sockets[nsockets++] = pair[1];
	sockets[nsockets++] = link;
	for (int i = 0; i < sockets_bound.set.n; i++)
		sockets[nsockets++] = sockets_bound.set.sockets[i].fd;
	snprintf(title, sizeof(title), "pg_notifyd: %s%sgateway %d", cluster_name,
			 cluster_name[0] != '\0' ? ": " : "", gateway->number);

	gateway->pid = spawn_program(title, sockets, nsockets);
	if (gateway->pid < 0)
		snprintf(problem, size, "could not fork: %m");
	close(link);
	close(pair[1]);
	if (gateway->pid < 0)
	{
		gateway->pid = 0;
		close(pair[0]);
		return false;
	}
	(void) pg_set_noblock(pair[0]);
	*pipe = pair[0];
	return true;
}

static void
gateway_process_start(GatewayProcess *gateway, int64 now)
{
	char problem[sizeof(gateway_start_problem)];
	pgsocket pipe;

	if (!gateway_process_spawn(gateway, &pipe, problem, sizeof(problem)))
	{
		(void) gateway_process_step(gateway, GATEWAY_START_FAILED, now);
		gateway_process_report(problem, "pg_notifyd will retry.");
		return;
	}
	gateway->generation = sockets_bound.generation;
	gateway->sandbox = notifyd_sandbox;
	gateway->sandbox_missing = 0;
	gateway->asked = false;
	gateway->ssl = notifyd_ssl;
	frames_adopt(&gateway->pipe, pipe);
	gateway->pipe_changed = true;
	(void) gateway_process_step(gateway, GATEWAY_STARTED, now);
	gateway_process_send_config(gateway);
}

/* before: the state whose time limit has passed. */
static void
gateway_process_report_kill(const GatewayProcess *gateway, GatewayState before)
{
	const char *what = "end";

	if (before == GATEWAY_STARTING)
		what = "become ready";
	if (before == GATEWAY_READY)
		what = "respond";
	ereport(LOG, (errmsg("killing gateway %d (PID %d), because it did not %s in time",
						 gateway->number, (int) gateway->pid, what)));
}

static void
gateway_process_announce(const GatewayProcess *gateway)
{
	gateway_start_problem[0] = '\0';
	(void) pg_atomic_fetch_add_u32(&notifyd_shared->gateway_generation, 1);
	shared_wake_all_feeds();
	gateway->callbacks->ready();
	ereport(DEBUG1,
			(errmsg_internal("gateway %d (PID %d) is ready", gateway->number, (int) gateway->pid)));
}

/*
 * Process an event: update the shared memory to the new state, and perform the action. Returns the
 * action, because the caller has the frames for STOP and ASK.
 */
static GatewayAction
gateway_process_step(GatewayProcess *gateway, GatewayEvent event, int64 now)
{
	GatewayLife before = gateway->life;
	GatewayAction action = gateway_life_step(&gateway->life, event, now);

	if (gateway->life.state != before.state ||
		gateway_life_is_silent(&gateway->life) != gateway_life_is_silent(&before))
		gateway_process_publish(gateway, event == GATEWAY_STARTED);
	switch (action)
	{
		case GATEWAY_START:
			gateway_process_start(gateway, now);
			break;
		case GATEWAY_KILL:
			if (event != GATEWAY_ABANDONED)
				gateway_process_report_kill(gateway, before.state);
			kill(gateway->pid, SIGKILL);
			break;
		case GATEWAY_ANNOUNCE:
			gateway_process_announce(gateway);
			break;
		case GATEWAY_REPORT_VERSION:
			gateway_process_report_version();
			break;
		case GATEWAY_STOP:
		case GATEWAY_ASK:
		case GATEWAY_NO_ACTION:
			break;
	}
	return action;
}

/*
 * What is received through the control pipe
 */

/*
 * The system does not offer these parts of the sandbox (WIRE_SANDBOX_ bits). Logged once, and again
 * only when they are others or the setting is another one.
 */
static void
gateway_process_report_sandbox(uint8 missing)
{
	static uint8 reported = 0;
	static int reported_for = WIRE_SANDBOX_OFF;
	bool required = notifyd_sandbox == WIRE_SANDBOX_REQUIRE;
	bool calls = (missing & WIRE_SANDBOX_CALLS) != 0;
	bool landlock = (missing & WIRE_SANDBOX_LANDLOCK) != 0;

	if (missing == reported && notifyd_sandbox == reported_for)
		return;
	reported = missing;
	reported_for = notifyd_sandbox;
	ereport(
		LOG,
		(required ? errmsg("pg_notifyd starts no gateway, because its sandbox would be incomplete")
				  : errmsg("the sandbox of pg_notifyd's gateways is incomplete"),
		 errdetail("The kernel, or the container that the server runs in, does not offer %s%s%s.",
				   calls ? "filters of system calls (seccomp)" : "",
				   calls && landlock ? " and " : "", landlock ? "Landlock" : ""),
		 required ? errhint("Allow it, or set pg_notifyd.sandbox to \"on\". pg_notifyd will retry.")
		 : landlock ? errhint("Landlock needs Linux 5.13 or later, and containers may forbid it.")
					: errhint("Containers may forbid it.")));
}

/* Process one frame. Returns false if a gateway must not send it. */
static bool
gateway_process_frame(GatewayProcess *gateway, const WireMessage *message, int64 now)
{
	switch (message->type)
	{
		case WIRE_READY:
			(void) gateway_process_step(gateway, GATEWAY_SAID_READY, now);
			return true;
		case WIRE_LOG:
			control_pipe_log(gateway->number, &message->u.log);
			return true;
		case WIRE_STATS:
			gateway_process_publish_stats(gateway, &message->u.stats);
			return true;
		case WIRE_LOAD:
			loads_report(gateway->number, &message->u.load);
			return true;
		case WIRE_ALIVE:
			(void) gateway_process_step(gateway, GATEWAY_ANSWERED, now);
			return true;
		case WIRE_WAKE:
			gateway->callbacks->database_needed(message->u.wake.database.data,
												message->u.wake.database.len);
			return true;
		case WIRE_WANT_WORKER:
			gateway->callbacks->worker_wanted(message->u.want_worker.database.data,
											  message->u.want_worker.database.len);
			return true;
		case WIRE_SANDBOX:
			gateway_process_report_sandbox(message->u.sandbox.missing);
			gateway->sandbox_missing = message->u.sandbox.missing;
			return true;
		case WIRE_WANT_METRICS:
			gateway->asked = true;
			return true;
		default:
			return false;
	}
}

static void
gateway_process_close_pipe(GatewayProcess *gateway)
{
	frames_close(&gateway->pipe);
	gateway->pipe_changed = true;
}

/* Handle what has come. False if a frame is invalid. */
static bool
gateway_process_dispatch(GatewayProcess *gateway, int64 now)
{
	WireMessage message;
	WireResult result;

	while ((result = frames_next(&gateway->pipe, &message)) == WIRE_OK)
	{
		if (!gateway_process_frame(gateway, &message, now))
			return false;
	}
	return result == WIRE_MORE;
}

/* Receive what the gateway has sent. If the pipe is broken, close it: the gateway has to end. */
static void
gateway_process_receive(GatewayProcess *gateway, int64 now)
{
	int got = FRAMES_READ_SIZE;
	bool any = false;

	for (int reads = 0; reads < GATEWAY_READS && got == FRAMES_READ_SIZE; reads++)
	{
		got = frames_receive(&gateway->pipe);
		any |= got > 0;
		if (got > 0 && !gateway_process_dispatch(gateway, now))
		{
			ereport(LOG, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						  errmsg("gateway %d (PID %d) sent an invalid frame", gateway->number,
								 (int) gateway->pid)));
			got = -1;
		}
	}
	if (any)
		gateway_process_publish_seen(gateway);
	if (got >= 0)
		return;
	gateway_process_close_pipe(gateway);
	(void) gateway_process_step(gateway, GATEWAY_PIPE_BROKEN, now);
}

void
gateway_process_answer(GatewayProcess *gateway)
{
	WireMessage message = {.type = WIRE_METRICS};

	if (!gateway->asked || frames_unsent(&gateway->pipe) > 0)
		return;
	gateway->asked = false;
	message.u.metrics.text = gateway->callbacks->metrics();
	control_pipe_send(&gateway->pipe, &message);
}

void
gateway_process_communicate(GatewayProcess *gateway, int64 now)
{
	if (gateway->pipe.fd == PGINVALID_SOCKET)
		return;
	control_pipe_flush(&gateway->pipe);
	gateway_process_receive(gateway, now);
}

/*
 * What the supervisor asks for
 */

/* Notice the process's end. block: wait for it. */
static void
gateway_process_reap(GatewayProcess *gateway, bool block, int64 now)
{
	pid_t pid = gateway->pid;
	bool version;
	int status;

	if (pid == 0 || waitpid(pid, &status, block ? 0 : WNOHANG) != pid)
		return;
	gateway_process_communicate(gateway, now); /* it may have said why */
	gateway_process_close_pipe(gateway);
	gateway->pid = 0;
	version =
		WIFEXITED(status) && (WEXITSTATUS(status) == WIRE_EXIT_VERSION || WEXITSTATUS(status) == 0);
	if (gateway_process_step(gateway, version ? GATEWAY_LEFT : GATEWAY_EXITED, now) !=
		GATEWAY_REPORT_VERSION)
		ereport(gateway->life.stopped && status == 0 ? DEBUG1 : LOG,
				(errmsg("gateway %d (PID %d): %s", gateway->number, (int) pid,
						wait_result_to_str(status))));
}

int64
gateway_process_tend(GatewayProcess *gateway, bool wanted, uint16 code, int64 now)
{
	gateway_process_reap(gateway, false, now);
	(void) gateway_process_step(gateway, GATEWAY_TIME, now);
	if (gateway->pid != 0 && !gateway_process_is_current(gateway))
		wanted = false;
	if (gateway_process_step(gateway, wanted ? GATEWAY_WANTED : GATEWAY_UNWANTED, now) ==
		GATEWAY_STOP)
		control_pipe_send_stop(&gateway->pipe, code);
	return gateway_life_due(&gateway->life);
}

void
gateway_process_reload(GatewayProcess *gateway, int64 now)
{
	(void) gateway_process_step(gateway, GATEWAY_RELOAD, now);
	gateway_process_send_config(gateway);
}

void
gateway_process_ask(GatewayProcess *gateway, const WireMessage *health, int64 now)
{
	if (gateway_process_step(gateway, GATEWAY_QUESTION, now) == GATEWAY_ASK)
		gateway_process_send(gateway, health);
}

bool
gateway_process_end(GatewayProcess *gateway, bool abandoned, int64 now)
{
	GatewayEvent event = abandoned ? GATEWAY_ABANDONED : GATEWAY_SHUTDOWN;

	if (gateway_process_step(gateway, event, now) == GATEWAY_STOP)
		control_pipe_send_stop(&gateway->pipe, GATEWAY_CODE_GOING_AWAY);
	gateway_process_reap(gateway, abandoned, now);
	(void) gateway_process_step(gateway, GATEWAY_TIME, now);
	return gateway->pid != 0;
}
