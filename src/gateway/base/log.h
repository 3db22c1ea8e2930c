/*-------------------------------------------------------------------------
 *
 * log.h
 *	  What the gateway has to say, for the server's log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_LOG_H
#define GATEWAY_LOG_H

#include "wire/wire.h"

/* Log one line; on stderr until log_to() has said where to. */
extern void
log_write(WireLogLevel level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* From now on lines go to sink, which must not log itself. NULL: to stderr again. */
extern void log_to(void (*sink)(WireLogLevel level, WireBytes line));

#endif /* GATEWAY_LOG_H */
