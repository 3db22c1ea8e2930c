/*-------------------------------------------------------------------------
 *
 * spawn.h
 *	  Starts the gateway's program as a child process of the launcher.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SPAWN_H
#define PG_NOTIFYD_SPAWN_H

#include "postgres.h"

#include "ext/launcher/bind.h"

/* The program's sockets are the descriptors from this one on. */
#define SPAWN_FIRST_SOCKET 3
#define SPAWN_MAX_SOCKETS  (2 + BIND_MAX) /* the control pipe, the link socket, the listeners */

/* Exit code of a child that could not run the program, like a shell's. */
#define SPAWN_NOT_EXECUTABLE 126

/*
 * Open the program, unless it is open. On failure returns false with errno set. Called when the
 * server starts, so that the program stays the one that the loaded library was installed with.
 */
extern bool spawn_open_program(void);

/* Close the program, so that the next start opens it again. */
extern void spawn_close_program(void);

/* Return its path, beside the server's own program. */
extern const char *spawn_program_path(void);

/*
 * Run the open program in a new process and session. It has /dev/null as standard input and output,
 * our standard error, these sockets as descriptors 3, 4, ... in this order, and no others; title as
 * its argument 0 and no others; no environment; default signal handling; and it is killed when the
 * launcher ends. Returns its pid, which the caller must wait for, or -1 with errno set.
 */
extern pid_t spawn_program(const char *title, const int *sockets, int nsockets);

#endif /* PG_NOTIFYD_SPAWN_H */
