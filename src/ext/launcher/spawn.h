/*-------------------------------------------------------------------------
 *
 * spawn.h
 *	  Starting the gateway's program as a child process of the launcher.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SPAWN_H
#define PG_NOTIFYD_SPAWN_H

#include "postgres.h"

/* Descriptors of the program, as wire.h says: standard ones, the control pipe, the listeners. */
#define SPAWN_CONTROL_PIPE   3
#define SPAWN_FIRST_LISTENER 4

/* Exit code of a child that could not become the program, as the shell's. */
#define SPAWN_NOT_EXECUTABLE 126

/*
 * Open the program, if it is not open. False, and errno, if that fails. Called when the server
 * starts, so that the program stays the one that the loaded library was installed with, whatever is
 * installed later.
 */
extern bool spawn_open_program(void);

/* Close it, so that it is opened anew. */
extern void spawn_close_program(void);

/* Where it is, beside the server's own program. */
extern const char *spawn_program_path(void);

/*
 * Run the program, which is open, in a process, and a session, of its own. It has /dev/null as
 * standard input and output, our standard error, pipe as descriptor 3, the listeners
 * from 4 on and no other; title as its argument 0 and no other; no environment; default
 * signal handling; and it is killed when we end. Returns its pid, which the caller has
 * to wait for, or -1 and errno.
 */
extern pid_t spawn_program(const char *title, int pipe, const int *listeners, int nlisteners);

#endif /* PG_NOTIFYD_SPAWN_H */
