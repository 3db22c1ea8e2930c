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

/*
 * Replace bytes that are not UTF-8, and characters that control terminals: text from clients and
 * system messages may have them.
 */
static void
log_clean(char *line, size_t len)
{
	size_t good = 0;

	while ((good += text_utf8_cut(line + good, len - good, len - good)) < len)
		line[good] = '?';
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) line[i];

		if (c < ' ' || c == 0x7f)
			line[i] = '?';
		else if (c == 0xc2 && (unsigned char) line[i + 1] < 0xa0) /* U+0080 to U+009F */
			line[i] = line[i + 1] = '?';
	}
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
	log_clean(line, (size_t) len);
	if (log_sink != NULL)
		log_sink(level, (WireBytes){.data = line, .len = (uint32_t) len});
	else
		fprintf(stderr, "pg_notifyd-gateway: %.*s\n", len, line);
}
