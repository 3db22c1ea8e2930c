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

#include "ext/launcher/bind.h"

/* The program's sockets are its descriptors from this one on. */
#define SPAWN_FIRST_SOCKET 3
#define SPAWN_MAX_SOCKETS  (2 + BIND_MAX) /* the control pipe, the link socket, the listeners */

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
 * standard input and output, our standard error, these sockets as descriptors 3, 4, ... in their
 * order, and no other; title as its argument 0 and no other; no environment; default signal
 * handling; and it is killed when we end. Returns its pid, which the caller has to wait for, or -1
 * and errno.
 */
extern pid_t spawn_program(const char *title, const int *sockets, int nsockets);

#endif /* PG_NOTIFYD_SPAWN_H */
