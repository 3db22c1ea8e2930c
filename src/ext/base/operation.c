/*-------------------------------------------------------------------------
 *
 * operation.c
 *	  The operations of events.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/operation.h"

uint8
operation_bit(char op)
{
	switch (op)
	{
		case OPERATION_INSERT:
			return WIRE_OP_INSERT;
		case OPERATION_UPDATE:
			return WIRE_OP_UPDATE;
		case OPERATION_DELETE:
			return WIRE_OP_DELETE;
		case OPERATION_TRUNCATE:
			return WIRE_OP_TRUNCATE;
		case OPERATION_MESSAGE:
			return WIRE_OP_MESSAGE;
		default:
			return 0;
	}
}

const char *
operation_name(char op)
{
	return wire_op_name(operation_bit(op));
}
