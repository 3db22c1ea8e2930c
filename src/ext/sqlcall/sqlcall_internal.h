/*-------------------------------------------------------------------------
 *
 * sqlcall_internal.h
 *	  notify_call(), for its own files.
 *
 *	  sqlcall.c			the function: arguments, waiting
 *	  sqlcall_slot.c	the slots
 *	  sqlcall_answer.c	results and errors
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SQLCALL_INTERNAL_H
#define PG_NOTIFYD_SQLCALL_INTERNAL_H

#include "ext/base/compat.h"
#include "ext/sqlcall/sqlcall.h"

/*
 * Offer this backend's call to the feed of the database, and take it back. sqlcall_withdraw() does nothing
 * without a call, and never raises an error.
 */
extern void sqlcall_offer(NotifydDatabase *database, dsm_handle segment);
extern void sqlcall_withdraw(void);

/* The process that answers this backend's call; 0: none yet. */
extern pid_t sqlcall_taker(void);

/*
 * Return the result of an answer as a json value. Raises the error that it is, or that it is not valid. procedure
 * is its name, in the server's encoding.
 */
extern Datum sqlcall_result(const char *procedure, const SqlCallAnswer *answer, Size length);

/* Raise the error that nobody has registered the procedure. */
COMPAT_NORETURN extern void sqlcall_raise_unknown(const char *procedure);

#endif /* PG_NOTIFYD_SQLCALL_INTERNAL_H */
