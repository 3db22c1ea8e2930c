/*-------------------------------------------------------------------------
 *
 * gateway_process.h
 *	  One gateway: its process, its control pipe, and its entry in the shared memory.
 *
 * For the supervisor alone. Times are in ms of its clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GATEWAY_PROCESS_H
#define PG_NOTIFYD_GATEWAY_PROCESS_H

#include "postgres.h"

#include "ext/launcher/control_pipe.h"
#include "ext/launcher/gateway_life.h"

/*
 * The codes with which a gateway that stops closes its clients: RFC 6455, section 7.4.1, and the
 * IANA registry.
 */
#define GATEWAY_CODE_GOING_AWAY 1001
#define GATEWAY_CODE_RESTART    1012

/* What the launcher wants to hear of. */
typedef struct GatewayCallbacks
{
	/* A gateway has become ready, and knows of no database yet. */
	void (*ready)(void);
	/* A gateway needs the feed of the database of this name. */
	void (*database_needed)(const char *name, size_t length);
	/* Queries of a gateway wait for a worker of the database of this name. */
	void (*worker_wanted)(const char *name, size_t length);
	/* A gateway wants the metrics: return their text, in the current memory context. */
	WireBytes (*metrics)(void);
} GatewayCallbacks;

typedef struct GatewayProcess
{
	int number;
	const GatewayCallbacks *callbacks;
	GatewayLife life;
	pid_t pid;         /* 0: none */
	FrameSocket pipe;  /* the control pipe */
	bool asked;        /* it wants the metrics */
	bool pipe_changed; /* it was opened or closed; the supervisor resets this */
	uint32 generation; /* of the listening sockets that the process has */
	uint8 sandbox_missing;
	int sandbox; /* the settings that the process was started with */
	bool ssl;
	int wait_position; /* of the pipe in the supervisor's wait set */
	uint32 wait_events;
} GatewayProcess;

/* Set up one that has never been started; in a memory context that outlives it. */
extern void
gateway_process_init(GatewayProcess *gateway, int number, const GatewayCallbacks *callbacks);

/*
 * Notice the process's end, and start, stop or kill it, as is due at this time. wanted: whether the
 * settings ask for it. code: the WebSocket code with which clients are closed if it is stopped.
 * Returns when to call again at the latest; PG_INT64_MAX: no need.
 */
extern int64 gateway_process_tend(GatewayProcess *gateway, bool wanted, uint16 code, int64 now);

/* Receive and handle what the gateway has sent, and send what is queued for it. */
extern void gateway_process_communicate(GatewayProcess *gateway, int64 now);

/*
 * Send it the metrics if it wants them and has taken what was sent before: once in a round, however
 * often it asks.
 */
extern void gateway_process_answer(GatewayProcess *gateway);

/* Send it a frame, if it has a process. */
extern void gateway_process_send(GatewayProcess *gateway, const WireMessage *message);

/* Send it the settings, unless it is ending or is about to be replaced. */
extern void gateway_process_send_config(GatewayProcess *gateway);

/* The settings may have changed: send them, or start it at once. */
extern void gateway_process_reload(GatewayProcess *gateway, int64 now);

/* Send it this WIRE_HEALTH frame, which it has to answer; kill it if it has not for long. */
extern void gateway_process_ask(GatewayProcess *gateway, const WireMessage *health, int64 now);

/*
 * The launcher ends. Ask the gateway to stop, or kill it: at once if the postmaster is gone
 * (abandoned), else when its time is up. To be called until it returns false: it has ended then.
 */
extern bool gateway_process_end(GatewayProcess *gateway, bool abandoned, int64 now);

#endif /* PG_NOTIFYD_GATEWAY_PROCESS_H */
