/*-------------------------------------------------------------------------
 *
 * log.h
 *	  The gateway's messages to the server's log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_LOG_H
#define GATEWAY_LOG_H

#include "wire/wire.h"

/* Log one line, to stderr until log_to() is called. */
extern void
log_write(WireLogLevel level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Send lines to sink from now on, which must not log itself. NULL: to stderr again. */
extern void log_to(void (*sink)(WireLogLevel level, WireBytes line));

#endif /* GATEWAY_LOG_H */
