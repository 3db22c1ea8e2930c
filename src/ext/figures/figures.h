/*-------------------------------------------------------------------------
 *
 * figures.h
 *	  What the shared memory says about databases, for the view notifyd.stats and for the metrics.
 *
 * The figures are computed when somebody asks, by the process that asks. So they are right while a
 * feed or the launcher is stopped: times go on growing. Nothing waits, except for short locks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FIGURES_H
#define PG_NOTIFYD_FIGURES_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "ext/base/shared.h"

/* A duration that is unknown, or that does not apply. */
#define FIGURES_NONE (-1)

/* The state of a database's feed, more exact than FeedState. */
typedef enum FigureState
{
	FIGURE_RUNNING = 0,
	FIGURE_STARTING,
	FIGURE_WAITING, /* it has to be started */
	FIGURE_HELD,    /* the same, and a backend needs the database without our processes */
	FIGURE_ASLEEP,
	FIGURE_ABSENT,
	FIGURE_EXCLUDED,
	FIGURE_LOCKED, /* it runs, and has waited for the lock on its tables for long */
	FIGURE_SILENT, /* it runs, and has not completed a round for long */
} FigureState;
#define FIGURE_STATES (FIGURE_SILENT + 1)

/* As notifyd.stats and the metrics name the states. */
extern const char *const figure_state_names[FIGURE_STATES];

/* The same for resets, and for the kinds and results of queries. */
extern const char *const figure_reset_names[NOTIFYD_RESETS];
extern const char *const figure_query_names[WIRE_QUERY_KINDS]; /* NULL at 0, which is no kind */
extern const char *const figure_answer_names[NOTIFYD_ANSWERS];

/*
 * The kinds of queries: X(kind, name, name of the metric). The only place that names them, so that
 * the views and the metrics have all of them.
 */
#define FIGURE_QUERIES(X)                                                                          \
	X(SNAPSHOT, "snapshot", "snapshots")                                                           \
	X(CALL, "call", "calls")                                                                       \
	X(SEND, "send", "sends")                                                                       \
	X(REST, "table", "table_requests")                                                             \
	X(OPENAPI, "openapi", "openapi_requests")                                                      \
	X(TAKE, "take", "takes")                                                                       \
	X(ACK, "ack", "acknowledgements")                                                              \
	X(NACK, "nack", "negative_acknowledgements")                                                   \
	X(RELEASE, "release", "releases")

/* Durations are in microseconds. */
typedef struct DatabaseFigures
{
	FigureState state;
	pid_t feed_pid; /* 0: no feed */
	TimestampTz started_at;
	int restarts; /* times that the feed has ended although it was needed */
	int64 unseen; /* since the running feed last completed a round */
	int64 locked; /* for how long the feed has waited for its lock; 0: it does not */
	int64 lag;    /* how long the oldest commit has waited that is not delivered; 0: none does */
	uint64 lag_events; /* ids that are not delivered; only if lag is known */
	uint64 newest;     /* the newest id; 0: not known yet */
	uint64 watermark;  /* ids up to this one are decided; 0: not known yet */
	int in_flight;     /* backends that commit events */
	int holder;        /* process id of the one that holds the watermark; 0: none */
	int64 held;        /* for how long; 0: nobody does */
	uint64 log_bytes;
	int64 oldest_age;  /* of the oldest event, at most; none if there are no events */
	int64 left;        /* until the oldest events go for their age; none if there are no events */
	uint64 left_bytes; /* that can be written before they go for the log's size */
	WireLoad load;     /* its clients */
} DatabaseFigures;

/* Fill in the figures of an entry in use. */
extern void figures_database(NotifydDatabase *database, DatabaseFigures *figures);

/* A consumer group that has been used since the server started. */
typedef struct GroupFigures
{
	Oid database;
	NameData name; /* UTF-8 */
	int pending;   /* events that wait for a consumer, of those that it has read */
	int taken;     /* that consumers have */
	int delayed;
	int waiting;   /* consumers that wait */
	uint64 behind; /* ids that it has not read */
	int64 untaken; /* for how long nobody has taken from it; 0: somebody waits */
	uint64 acknowledged;
	uint64 redelivered;
	uint64 lost;
	uint64 set_aside;
} GroupFigures;

/* Returns a List of GroupFigures. src/ext/group/ sets it. */
extern List *(*figures_groups)(void);

#endif /* PG_NOTIFYD_FIGURES_H */
