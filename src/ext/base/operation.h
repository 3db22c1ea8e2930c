/*-------------------------------------------------------------------------
 *
 * operation.h
 *	  The operations of events.
 *
 * The log stores a character for each operation. Subscriptions and watches have sets of operations,
 * as bits and with the names of wire.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_OPERATION_H
#define PG_NOTIFYD_OPERATION_H

#include "postgres.h"

#include "wire/wire.h"

#define OPERATION_INSERT   'I'
#define OPERATION_UPDATE   'U'
#define OPERATION_DELETE   'D'
#define OPERATION_TRUNCATE 'T'
#define OPERATION_MESSAGE  'M'
#define OPERATION_RESET    'R' /* not an event: subscribers must load their state again */

/* Rows for consumer groups, see src/ext/group/. They have no channel, so readers pass over them. */
#define OPERATION_ACKNOWLEDGE 'A' /* consumers have acknowledged events */
#define OPERATION_RETRY       'Y' /* an event that was set aside comes again, for one group */

/* Operations that change rows, and those that a watch can have. */
#define OPERATION_ROW_BITS   (WIRE_OP_INSERT | WIRE_OP_UPDATE | WIRE_OP_DELETE)
#define OPERATION_TABLE_BITS (OPERATION_ROW_BITS | WIRE_OP_TRUNCATE)

/*
 * Return the WIRE_OP_ bit of an operation, and its name in upper case; 0 and NULL if it has none.
 */
extern uint8 operation_bit(char op);
extern const char *operation_name(char op);

#endif /* PG_NOTIFYD_OPERATION_H */
