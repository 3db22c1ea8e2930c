/*-------------------------------------------------------------------------
 *
 * supervisor.c
 *	  The gateways: their processes and control pipes.
 *
 * The launcher binds the listening sockets (sockets.c), and each gateway inherits all of
 * them. A gateway's life:
 *
 *				 start				  READY frame
 *		 DOWN ----------> STARTING ---------------> RUNNING
 *		  ^					 |						   |
 *		  |					 | no READY in time		   | no longer wanted, other sockets,
 *		  |					 |						   | or its control pipe is broken
 *		  |					 v						   v
 *		  |	 <----------- KILLED <----------------- STOPPING (STOP frame sent)
 *		  |	   waitpid()		  not gone in time	   |
 *		  ----------------------------------------------
 *
 * waitpid() may say at any time that the process is gone; every state leads back to
 * DOWN then, and from there on again, at once or after a backoff.
 *
 * The program is opened when the server starts, and run from that descriptor: a gateway that is
 * started after other files were installed is still the one that the loaded library was installed
 * with. A server that was started with files of two versions cannot be helped so. Such a gateway
 * ends at once, which is told once, and then the file is opened anew each time, because the right
 * one may be there by now.
 *
 * Nothing here waits but supervisor_wait() and the end, supervisor_exit(). Times are in
 * ms of a clock that nobody sets.
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

#include "ext/launcher/control_pipe.h"
#include "ext/base/backoff.h"
#include "ext/base/compat.h"
#include "ext/launcher/launcher.h"
#include "portability/instr_time.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "ext/launcher/sockets.h"
#include "ext/launcher/spawn.h"
#include "storage/fd.h"
#include "storage/pmsignal.h"
#include "ext/launcher/supervisor.h"
#include "utils/timestamp.h"

/* In ms. */
#define SUPERVISOR_READY_TIME   10000 /* from start to READY */
#define SUPERVISOR_STOP_TIME    2000  /* from STOP to the end */
#define SUPERVISOR_BROKEN_TIME  1000  /* from the control pipe's end to the process's */
#define SUPERVISOR_GOOD_TIME    5000  /* one that ran this long has not failed at its start */
#define SUPERVISOR_LONGEST_WAIT 3600000

/* Questions in a row that a gateway has not answered: it is said not to respond, then killed. */
#define SUPERVISOR_SILENT 3
#define SUPERVISOR_DEAD   5

/* WebSocket close codes, RFC 6455 section 7.4.1 and the IANA registry. */
#define SUPERVISOR_GOING_AWAY 1001
#define SUPERVISOR_RESTART    1012

typedef enum GatewayState
{
	GATEWAY_DOWN = 0,
	GATEWAY_STARTING,
	GATEWAY_RUNNING,
	GATEWAY_STOPPING,
	GATEWAY_KILLED,
} GatewayState;

typedef struct Gateway
{
	int number;
	GatewayState state;
	pid_t pid; /* 0 in DOWN alone */
	ControlPipe pipe;
	bool asked;        /* we told it to end */
	int unanswered;    /* questions how it is, since its last answer */
	bool ready;        /* it was RUNNING */
	uint32 generation; /* of the sockets that it has */
	int64 started;
	int64 deadline;    /* STARTING, STOPPING: then it is killed */
	int64 retry;       /* DOWN: not started before */
	int failures;      /* ends soon after the start, in a row */
	int wait_position; /* of the control pipe in supervisor_wait_set */
	uint32 wait_events;
} Gateway;

static Gateway supervisor_gateways[NOTIFYD_MAX_GATEWAYS];

/* Why gateways cannot be started, as logged; empty if they can. */
static char supervisor_start_problem[MAXPGPATH + 256] = "";

static WaitEventSet *supervisor_wait_set = NULL;
static bool supervisor_wait_stale =
	true; /* it has to be built anew, because a control pipe was opened or closed */

static int64
supervisor_now(void)
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

/* Bring a gateway's entry in the shared memory up to its state. */
static void
supervisor_publish(const Gateway *gateway)
{
	NotifydGateway *entry = &notifyd_shared->gateways[gateway->number];
	bool ready = gateway->state == GATEWAY_RUNNING;

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	if (gateway->state == GATEWAY_STARTING)
	{
		int restarts = entry->started_at == 0 ? 0 : entry->restarts + 1;

		memset(entry, 0, sizeof(*entry));
		entry->restarts = restarts;
		entry->started_at = GetCurrentTimestamp();
	}
	if (gateway->state == GATEWAY_DOWN)
	{
		entry->silent = false;
		entry->clients = 0;
		entry->subscriptions = 0;
		entry->queued = 0;
	}
	entry->pid = gateway->pid;
	entry->ready = ready;
	LWLockRelease(&notifyd_shared->lock);

	if (ready)
	{
		(void) pg_atomic_fetch_add_u32(&notifyd_shared->gateway_generation, 1);
		shared_wake_all_feeds();
	}
}

/*
 * The end of a process: no gateway may be left behind. Orderly while the postmaster is
 * there; if it is not, whoever starts a new one needs the port.
 */
static void
supervisor_exit(int code, Datum arg)
{
	bool killed = !PostmasterIsAlive();
	int64 deadline = supervisor_now() + SUPERVISOR_STOP_TIME;
	WireMessage stop = {.type = WIRE_STOP, .u.stop.code = SUPERVISOR_GOING_AWAY};

	(void) code;
	(void) arg;
	sockets_close();
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Gateway *gateway = &supervisor_gateways[i];

		if (gateway->pid != 0 && (killed || !control_pipe_send(&gateway->pipe, &stop)))
			kill(gateway->pid, SIGKILL);
	}

	for (;;)
	{
		int64 now = supervisor_now();
		int running = 0;

		ResetLatch(MyLatch);
		if (!killed && (now >= deadline || !PostmasterIsAlive()))
			killed = true;
		for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
		{
			Gateway *gateway = &supervisor_gateways[i];

			if (gateway->pid == 0)
				continue;
			if (killed)
				kill(gateway->pid, SIGKILL);
			if (waitpid(gateway->pid, NULL, killed ? 0 : WNOHANG) != 0)
				gateway->pid = 0;
			else
				running++;
		}
		if (running == 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_POSTMASTER_DEATH,
						 (long) Max(deadline - now, 1), PG_WAIT_EXTENSION);
	}

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		notifyd_shared->gateways[i].pid = 0;
		notifyd_shared->gateways[i].ready = false;
	}
	LWLockRelease(&notifyd_shared->lock);
}

/* Remove the sockets of gateways that are no more. */
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
supervisor_start(void)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(TopMemoryContext);

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		supervisor_gateways[i].number = i;
		control_pipe_init(&supervisor_gateways[i].pipe);
	}
	MemoryContextSwitchTo(oldcontext);

	pqsignal(SIGCHLD, supervisor_sigchld);
	before_shmem_exit(supervisor_exit, (Datum) 0);
	supervisor_clean_directory();
	sockets_start(supervisor_now());
}

/*
 * What is said on the control pipe
 */

static WireBytes
supervisor_bytes(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32) strlen(text)};
}

static void
supervisor_send_config(Gateway *gateway)
{
	char path[NOTIFYD_SOCKET_SIZE];
	int share = notifyd_max_clients / notifyd_gateways;
	WireMessage message = {.type = WIRE_CONFIG};
	WireConfig *config = &message.u.config;

	if (gateway->number < notifyd_max_clients % notifyd_gateways)
		share++;
	shared_gateway_socket(gateway->number, path, sizeof(path));

	config->version = WIRE_VERSION;
	config->gateway = (uint16) gateway->number;
	config->listeners = (uint16) sockets_bound.set.n;
	config->port = (uint16) sockets_bound.port;
	config->anonymous = notifyd_anonymous_role[0] != '\0';
	config->max_clients = (uint32) share;
	/* Rounded up, so that there is no gateway that lets nobody in. */
	config->max_per_address =
		(uint32) ((notifyd_max_clients_per_address + notifyd_gateways - 1) / notifyd_gateways);
	config->max_message = (uint32) notifyd_max_message_size;
	config->client_buffer = (uint64) notifyd_client_buffer * 1024;
	config->keepalive_ms = (uint32) notifyd_keepalive;
	config->feed_socket = supervisor_bytes(path);
	config->database = supervisor_bytes(notifyd_default_database);
	config->origins = supervisor_bytes(notifyd_allowed_origins);
	config->listen_addresses = supervisor_bytes(sockets_bound.addresses);
	(void) control_pipe_send(&gateway->pipe,
							 &message); /* if it is broken, the next read shows it */
}

/* Tell every gateway that listens to us, and is not about to be replaced. */
static void
supervisor_send_configs(void)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Gateway *gateway = &supervisor_gateways[i];

		if ((gateway->state == GATEWAY_STARTING || gateway->state == GATEWAY_RUNNING) &&
			gateway->generation == sockets_bound.generation)
			supervisor_send_config(gateway);
	}
}

/*
 * What is heard on the control pipe
 */

/* A line for the log. It may quote what a client sent: control characters do not get through. */
static void
supervisor_log(const Gateway *gateway, const WireLog *log)
{
	char text[1024];
	int length = (int) Min(log->message.len, sizeof(text) - 1);
	int level;

	for (int i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) log->message.data[i];

		text[i] = (char) ((c < 0x20 || c == 0x7f) ? '?' : c);
	}
	text[length] = '\0';

	if (log->level == WIRE_LOG_DEBUG)
		level = DEBUG1;
	else
		level = log->level == WIRE_LOG_WARNING ? WARNING : LOG;
	ereport(level, (errmsg("gateway %d: %s", gateway->number, text)));
}

static void
supervisor_stats(const Gateway *gateway, const WireStats *stats)
{
	NotifydGateway *entry = &notifyd_shared->gateways[gateway->number];

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	entry->clients = stats->clients;
	entry->subscriptions = stats->subscriptions;
	entry->accepted = stats->accepted;
	entry->refused = stats->refused;
	entry->closed_slow = stats->closed_slow;
	entry->events = stats->events;
	entry->messages = stats->messages;
	entry->bytes = stats->bytes;
	entry->queued = stats->queued;
	LWLockRelease(&notifyd_shared->lock);
}

/* So many questions have not been answered. */
static void
supervisor_note_answer(Gateway *gateway, int unanswered)
{
	bool was_silent = gateway->unanswered >= SUPERVISOR_SILENT;
	bool silent = unanswered >= SUPERVISOR_SILENT;

	gateway->unanswered = unanswered;
	if (silent == was_silent)
		return;
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	notifyd_shared->gateways[gateway->number].silent = silent;
	LWLockRelease(&notifyd_shared->lock);
}

/* Handle one frame; false if a gateway must not send such a one. */
static bool
supervisor_frame(Gateway *gateway, const WireMessage *message)
{
	switch (message->type)
	{
		case WIRE_READY:
			if (gateway->state == GATEWAY_STARTING)
			{
				gateway->state = GATEWAY_RUNNING;
				gateway->ready = true;
				supervisor_start_problem[0] = '\0';
				supervisor_publish(gateway);
				launcher_gateway_ready();
				ereport(DEBUG1, (errmsg_internal("gateway %d (PID %d) is ready", gateway->number,
												 (int) gateway->pid)));
			}
			return true;
		case WIRE_LOG:
			supervisor_log(gateway, &message->u.log);
			return true;
		case WIRE_STATS:
			supervisor_stats(gateway, &message->u.stats);
			return true;
		case WIRE_ALIVE:
			supervisor_note_answer(gateway, 0);
			return true;
		case WIRE_WAKE:
			launcher_database_needed(message->u.wake.database.data, message->u.wake.database.len);
			return true;
		default:
			return false;
	}
}

/* Read what a gateway has to say. If the control pipe is broken, close it: the gateway is at its end. */
static void
supervisor_read(Gateway *gateway)
{
	bool open = control_pipe_receive(&gateway->pipe);
	bool valid = true;
	WireMessage message;
	WireResult result;

	while ((result = control_pipe_next(&gateway->pipe, &message)) == WIRE_OK && valid)
		valid = supervisor_frame(gateway, &message);
	if (result == WIRE_BAD || !valid)
	{
		valid = false;
		ereport(LOG, (errcode(ERRCODE_PROTOCOL_VIOLATION),
					  errmsg("gateway %d (PID %d) sent an invalid frame", gateway->number,
							 (int) gateway->pid)));
	}
	if (open && valid)
		return;

	control_pipe_close(&gateway->pipe);
	supervisor_wait_stale = true;
	if (gateway->state == GATEWAY_STARTING || gateway->state == GATEWAY_RUNNING)
	{
		gateway->state = GATEWAY_STOPPING;
		gateway->deadline = supervisor_now() + SUPERVISOR_BROKEN_TIME;
		supervisor_publish(gateway);
	}
}

/*
 * The life of a gateway
 */

/* A gateway could not be started. Logged once, and again only when it is for another reason. */
static void
supervisor_start_failed(Gateway *gateway, const char *problem, const char *hint)
{
	gateway->failures++;
	gateway->retry = supervisor_now() + backoff_delay(gateway->failures);
	if (strcmp(supervisor_start_problem, problem) == 0)
		return;
	strlcpy(supervisor_start_problem, problem, sizeof(supervisor_start_problem));
	ereport(LOG,
			(errmsg("could not start a gateway of pg_notifyd: %s", problem), errhint("%s", hint)));
}

/* What a gateway needs before it can be started. False, and problem, if it is not there. */
static bool
supervisor_prepare(char *problem, size_t size)
{
	if (mkdir(NOTIFYD_SOCKET_DIR, S_IRWXU) != 0 && errno != EEXIST)
		snprintf(problem, size, "could not create directory \"%s\": %m", NOTIFYD_SOCKET_DIR);
	else if (!spawn_open_program())
		snprintf(problem, size, "could not execute \"%s\": %m", spawn_program_path());
	else
		return true;
	return false;
}

/* Start the process, with one end of the control pipe in *pipe. False, and problem, if that fails. */
static bool
supervisor_spawn(Gateway *gateway, pgsocket *pipe, char *problem, size_t size)
{
	char title[NAMEDATALEN + 64];
	int listeners[BIND_MAX];
	int pair[2];

	if (!supervisor_prepare(problem, size))
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
	{
		snprintf(problem, size, "could not create a socket pair: %m");
		return false;
	}
	for (int i = 0; i < sockets_bound.set.n; i++)
		listeners[i] = sockets_bound.set.sockets[i].fd;
	snprintf(title, sizeof(title), "pg_notifyd: %s%sgateway %d", cluster_name,
			 cluster_name[0] != '\0' ? ": " : "", gateway->number);

	gateway->pid = spawn_program(title, pair[1], listeners, sockets_bound.set.n);
	close(pair[1]);
	if (gateway->pid < 0)
	{
		snprintf(problem, size, "could not fork: %m");
		gateway->pid = 0;
		close(pair[0]);
		return false;
	}
	*pipe = pair[0];
	return true;
}

static void
supervisor_start_gateway(Gateway *gateway)
{
	char problem[sizeof(supervisor_start_problem)];
	pgsocket pipe;

	if (!supervisor_spawn(gateway, &pipe, problem, sizeof(problem)))
	{
		supervisor_start_failed(gateway, problem, "pg_notifyd will retry.");
		return;
	}
	gateway->state = GATEWAY_STARTING;
	gateway->asked = false;
	gateway->unanswered = 0;
	gateway->ready = false;
	gateway->generation = sockets_bound.generation;
	gateway->started = supervisor_now();
	gateway->deadline = gateway->started + SUPERVISOR_READY_TIME;
	supervisor_publish(gateway);

	control_pipe_open(&gateway->pipe, pipe);
	supervisor_wait_stale = true;
	supervisor_send_config(gateway);
}

static void
supervisor_stop_gateway(Gateway *gateway, uint16 code)
{
	WireMessage stop = {.type = WIRE_STOP, .u.stop.code = code};

	(void) control_pipe_send(&gateway->pipe, &stop);
	gateway->asked = true;
	gateway->state = GATEWAY_STOPPING;
	gateway->deadline = supervisor_now() + SUPERVISOR_STOP_TIME;
	supervisor_publish(gateway);
}

void
supervisor_tell_all(const WireMessage *message)
{
	/* One that is gone itself is noticed when it is waited for. */
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (supervisor_gateways[i].pid != 0)
			(void) control_pipe_send(&supervisor_gateways[i].pipe, message);
	}
}

/* Time is up. */
static void
supervisor_kill_gateway(Gateway *gateway)
{
	const char *what = "end";

	if (gateway->state == GATEWAY_STARTING)
		what = "become ready";
	if (gateway->state == GATEWAY_RUNNING)
		what = "respond";
	ereport(LOG, (errmsg("killing gateway %d (PID %d), because it did not %s in time",
						 gateway->number, (int) gateway->pid, what)));
	kill(gateway->pid, SIGKILL);
	gateway->state = GATEWAY_KILLED;
	supervisor_publish(gateway);
}

int
supervisor_check_gateways(void)
{
	int silent = 0;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Gateway *gateway = &supervisor_gateways[i];

		if (gateway->state != GATEWAY_RUNNING || gateway->unanswered < SUPERVISOR_SILENT)
			continue;
		silent++;
		if (gateway->unanswered >= SUPERVISOR_DEAD)
			supervisor_kill_gateway(gateway);
	}
	return silent;
}

void
supervisor_tell_health(const char *trouble)
{
	WireMessage health = {.type = WIRE_HEALTH, .u.health.trouble = supervisor_bytes(trouble)};

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Gateway *gateway = &supervisor_gateways[i];

		if (gateway->state != GATEWAY_RUNNING)
			continue;
		(void) control_pipe_send(&gateway->pipe,
								 &health); /* if it is broken, the next read shows it */
		supervisor_note_answer(gateway, gateway->unanswered + 1);
	}
}

/* Whether a gateway's program is of another version than the library, see WIRE_EXIT_VERSION. */
static bool
supervisor_is_of_other_version(const Gateway *gateway, int status)
{
	return !gateway->asked && !gateway->ready && WIFEXITED(status) &&
		   (WEXITSTATUS(status) == WIRE_EXIT_VERSION || WEXITSTATUS(status) == 0);
}

static void
supervisor_other_version(Gateway *gateway)
{
	char problem[sizeof(supervisor_start_problem)];

	snprintf(problem, sizeof(problem),
			 "\"%s\" is of another version than the loaded library, which is of version %s",
			 spawn_program_path(), NOTIFYD_VERSION);
	supervisor_start_failed(gateway, problem,
							"Install the files of one version and restart the server.");
	spawn_close_program();
}

/* waitpid() has returned the process. */
static void
supervisor_gateway_ended(Gateway *gateway, int status)
{
	int64 now = supervisor_now();

	if (gateway->pipe.fd != PGINVALID_SOCKET)
		supervisor_read(gateway); /* its last words */
	control_pipe_close(&gateway->pipe);
	supervisor_wait_stale = true;

	if (supervisor_is_of_other_version(gateway, status))
		supervisor_other_version(gateway);
	else
	{
		ereport(gateway->asked && status == 0 ? DEBUG1 : LOG,
				(errmsg("gateway %d (PID %d): %s", gateway->number, (int) gateway->pid,
						wait_result_to_str(status))));
		if (gateway->asked || now - gateway->started >= SUPERVISOR_GOOD_TIME)
			gateway->failures = 0;
		if (!gateway->asked)
			gateway->failures++;
		gateway->retry = now + backoff_restart_delay(gateway->failures);
	}
	gateway->state = GATEWAY_DOWN;
	gateway->pid = 0;
	supervisor_publish(gateway);
}

/* Do what is due for one gateway. Returns when something is due again; PG_INT64_MAX: never. */
static int64
supervisor_tend_gateway(Gateway *gateway, int64 now)
{
	bool wanted =
		gateway->number < notifyd_gateways && sockets_bound.set.n > 0 && !sockets_bound.releasing;
	bool current = gateway->generation == sockets_bound.generation;
	int status;

	if (gateway->pid != 0 && waitpid(gateway->pid, &status, WNOHANG) == gateway->pid)
		supervisor_gateway_ended(gateway, status);

	switch (gateway->state)
	{
		case GATEWAY_DOWN:
			if (!wanted)
				return PG_INT64_MAX;
			if (now < gateway->retry)
				return gateway->retry;
			supervisor_start_gateway(gateway);
			return gateway->state == GATEWAY_DOWN ? gateway->retry : gateway->deadline;
		case GATEWAY_STARTING:
		case GATEWAY_RUNNING:
			if (!wanted || !current)
			{
				bool last = sockets_bound.set.n == 0 && !sockets_bound.releasing;

				supervisor_stop_gateway(gateway, last ? SUPERVISOR_GOING_AWAY : SUPERVISOR_RESTART);
				return gateway->deadline;
			}
			if (gateway->state == GATEWAY_RUNNING)
				return PG_INT64_MAX;
			break;
		case GATEWAY_STOPPING:
			break;
		case GATEWAY_KILLED:
			return PG_INT64_MAX;
	}
	if (now < gateway->deadline)
		return gateway->deadline;
	supervisor_kill_gateway(gateway);
	return PG_INT64_MAX;
}

static bool
supervisor_all_down(void)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (supervisor_gateways[i].state != GATEWAY_DOWN)
			return false;
	}
	return true;
}

long
supervisor_tend(void)
{
	int64 now = supervisor_now();
	int64 next = PG_INT64_MAX;

	if (sockets_tend(now))
		supervisor_send_configs();
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
		next = Min(next, supervisor_tend_gateway(&supervisor_gateways[i], now));
	if (sockets_bound.releasing && supervisor_all_down())
		sockets_release(now);

	next = Min(next, sockets_due());
	return (long) Min(Max(next - supervisor_now(), 0), SUPERVISOR_LONGEST_WAIT);
}

void
supervisor_reload(void)
{
	sockets_reload(supervisor_now());
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		supervisor_gateways[i].retry = 0;
		supervisor_gateways[i].failures = 0;
	}
	supervisor_send_configs();
}

/*
 * Waiting
 */

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
		Gateway *gateway = &supervisor_gateways[i];

		if (gateway->pipe.fd == PGINVALID_SOCKET)
			continue;
		gateway->wait_events = WL_SOCKET_READABLE;
		gateway->wait_position = AddWaitEventToSet(supervisor_wait_set, gateway->wait_events,
												   gateway->pipe.fd, NULL, gateway);
	}
	supervisor_wait_stale = false;
}

void
supervisor_wait(long timeout)
{
	static uint32 wait_event = 0;
	WaitEvent events[2 + NOTIFYD_MAX_GATEWAYS];
	int n;

	if (supervisor_wait_stale)
		supervisor_build_wait_set();
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Gateway *gateway = &supervisor_gateways[i];
		uint32 wanted = WL_SOCKET_READABLE;

		if (control_pipe_pending(&gateway->pipe))
			wanted |= WL_SOCKET_WRITEABLE;
		if (gateway->pipe.fd == PGINVALID_SOCKET || wanted == gateway->wait_events)
			continue;
		ModifyWaitEvent(supervisor_wait_set, gateway->wait_position, wanted, NULL);
		gateway->wait_events = wanted;
	}

	n = WaitEventSetWait(supervisor_wait_set, timeout, events, lengthof(events),
						 COMPAT_WAIT_EVENT(wait_event, "PgNotifydLauncher"));
	for (int i = 0; i < n; i++)
	{
		Gateway *gateway = events[i].user_data;

		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		if (gateway == NULL)
			continue;
		if (events[i].events & WL_SOCKET_WRITEABLE)
			(void) !control_pipe_flush(&gateway->pipe); /* if it is broken, the read shows it */
		if (events[i].events & WL_SOCKET_READABLE)
			supervisor_read(gateway);
	}
}
