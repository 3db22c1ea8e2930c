/*-------------------------------------------------------------------------
 *
 * log.c
 *	  The gateway's messages to the server's log.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "gateway/base/text.h"

#define LOG_LINE 1024

static void (*log_sink)(WireLogLevel level, WireBytes line);

void
log_to(void (*sink)(WireLogLevel level, WireBytes line))
{
	log_sink = sink;
}

void
log_write(WireLogLevel level, const char *format, ...)
{
	char line[LOG_LINE];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (len < 0)
		return;
	if ((size_t) len >= sizeof(line))
		len = sizeof(line) - 1;
	/*
	 * Replace what may not be valid in the encoding of the server's log: text from clients and
	 * system messages.
	 */
	for (int i = 0; i < len; i++)
		if ((unsigned char) line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	len = (int) text_utf8_cut(line, (size_t) len, (size_t) len);
	if (log_sink != NULL)
		log_sink(level, (WireBytes){.data = line, .len = (uint32_t) len});
	else
		fprintf(stderr, "pg_notifyd-gateway: %.*s\n", len, line);
}
