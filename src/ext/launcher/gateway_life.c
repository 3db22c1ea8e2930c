/*-------------------------------------------------------------------------
 *
 * gateway_life.c
 *	  The states of a gateway's process. gateway_life.h has a diagram.
 *
 *-------------------------------------------------------------------------
 */
#include "ext/launcher/gateway_life.h"

#include "ext/base/backoff.h"

/* An event without a step in this table changes nothing. */
typedef struct GatewayStep
{
	bool taken;
	GatewayState next;
	GatewayAction action;
} GatewayStep;

#define TO(next)                                                                                   \
	{                                                                                              \
		true, GATEWAY_##next, GATEWAY_NO_ACTION                                                    \
	}
#define TO_AND(next, what)                                                                         \
	{                                                                                              \
		true, GATEWAY_##next, GATEWAY_##what                                                       \
	}

static const GatewayStep gateway_steps[GATEWAY_STATES][GATEWAY_EVENTS] = {
	[GATEWAY_ABSENT] =
		{
			[GATEWAY_WANTED] = TO_AND(ABSENT, START),
			[GATEWAY_STARTED] = TO(STARTING),
			[GATEWAY_START_FAILED] = TO(BACKING_OFF),
		},
	[GATEWAY_BACKING_OFF] =
		{
			[GATEWAY_TIME] = TO(ABSENT),
			[GATEWAY_RELOAD] = TO(ABSENT),
		},
	[GATEWAY_STARTING] =
		{
			[GATEWAY_UNWANTED] = TO_AND(STOPPING, STOP),
			[GATEWAY_SHUTDOWN] = TO_AND(STOPPING, STOP),
			[GATEWAY_SAID_READY] = TO_AND(READY, ANNOUNCE),
			[GATEWAY_PIPE_BROKEN] = TO(STOPPING),
			[GATEWAY_TIME] = TO_AND(KILLED, KILL),
			[GATEWAY_ABANDONED] = TO_AND(KILLED, KILL),
			[GATEWAY_EXITED] = TO(BACKING_OFF),
			[GATEWAY_LEFT] = TO_AND(BACKING_OFF, REPORT_VERSION),
		},
	[GATEWAY_READY] =
		{
			[GATEWAY_UNWANTED] = TO_AND(STOPPING, STOP),
			[GATEWAY_SHUTDOWN] = TO_AND(STOPPING, STOP),
			[GATEWAY_QUESTION] = TO_AND(READY, ASK),
			[GATEWAY_ANSWERED] = TO(READY),
			[GATEWAY_PIPE_BROKEN] = TO(STOPPING),
			[GATEWAY_ABANDONED] = TO_AND(KILLED, KILL),
			[GATEWAY_EXITED] = TO(BACKING_OFF),
		},
	[GATEWAY_STOPPING] =
		{
			[GATEWAY_TIME] = TO_AND(KILLED, KILL),
			[GATEWAY_ABANDONED] = TO_AND(KILLED, KILL),
			[GATEWAY_EXITED] = TO(BACKING_OFF),
			[GATEWAY_LEFT] = TO_AND(BACKING_OFF, REPORT_VERSION),
		},
	[GATEWAY_KILLED] =
		{
			[GATEWAY_EXITED] = TO(BACKING_OFF),
			[GATEWAY_LEFT] = TO_AND(BACKING_OFF, REPORT_VERSION),
		},
};

/* Return the step of an event, which may depend on more than the state. */
static GatewayStep
gateway_life_find_step(const GatewayLife *life, GatewayEvent event, int64_t now)
{
	if (event == GATEWAY_TIME && now < life->deadline)
		return (GatewayStep){.taken = false};
	if (event == GATEWAY_LEFT && (life->stopped || life->was_ready))
		event = GATEWAY_EXITED;
	if (event == GATEWAY_QUESTION && life->state == GATEWAY_READY &&
		life->unanswered >= GATEWAY_DEAD)
		return (GatewayStep) TO_AND(KILLED, KILL);
	return gateway_steps[life->state][event];
}

/* The process has ended: it is started again at once, unless it has failed several times. */
static void
gateway_life_end(GatewayLife *life, int64_t now)
{
	if (life->stopped || now - life->started >= GATEWAY_GOOD_TIME)
		life->failures = 0;
	if (!life->stopped)
		life->failures++;
	life->deadline = now + backoff_restart_delay(life->failures);
}

GatewayAction
gateway_life_step(GatewayLife *life, GatewayEvent event, int64_t now)
{
	GatewayStep step = gateway_life_find_step(life, event, now);

	if (event == GATEWAY_RELOAD)
		life->failures = 0;
	if (!step.taken)
		return GATEWAY_NO_ACTION;

	if (event == GATEWAY_STARTED)
		*life = (GatewayLife){
			.failures = life->failures, .started = now, .deadline = now + GATEWAY_READY_TIME};
	else if (event == GATEWAY_START_FAILED || step.action == GATEWAY_REPORT_VERSION)
		life->deadline = now + backoff_delay(++life->failures);
	else if (step.next == GATEWAY_BACKING_OFF)
		gateway_life_end(life, now);
	else if (step.next == GATEWAY_STOPPING)
		life->deadline =
			now + (event == GATEWAY_PIPE_BROKEN ? GATEWAY_BROKEN_TIME : GATEWAY_STOP_TIME);

	if (step.action == GATEWAY_STOP || event == GATEWAY_ABANDONED)
		life->stopped = true;
	if (step.action == GATEWAY_ANNOUNCE)
		life->was_ready = true;
	if (event == GATEWAY_ANSWERED)
		life->unanswered = 0;
	if (step.action == GATEWAY_ASK)
		life->unanswered++;
	life->state = step.next;
	return step.action;
}

int64_t
gateway_life_due(const GatewayLife *life)
{
	return gateway_steps[life->state][GATEWAY_TIME].taken ? life->deadline : INT64_MAX;
}

bool
gateway_life_is_silent(const GatewayLife *life)
{
	return life->state == GATEWAY_READY && life->unanswered >= GATEWAY_SILENT;
}
