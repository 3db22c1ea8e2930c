/*-------------------------------------------------------------------------
 *
 * utf8.c
 *	  Converts text of the database to UTF-8, which WebSocket clients get, and back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/json.h"

#include "ext/base/utf8.h"

#define UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/*
 * Append bytes of an unknown encoding, or of UTF-8. Valid UTF-8 is kept, all other bytes are
 * replaced one by one.
 */
static void
utf8_append_verified(StringInfo buf, const char *text, int length)
{
	while (length > 0)
	{
		int valid = pg_encoding_verifymbstr(PG_UTF8, text, length);

		appendBinaryStringInfo(buf, text, valid);
		text += valid;
		length -= valid;
		if (length > 0)
		{
			appendStringInfoString(buf, UTF8_REPLACEMENT);
			text++;
			length--;
		}
	}
}

/* Convert piece by piece, so that one invalid character loses only itself. */
static void
utf8_append_converted(StringInfo buf, Oid conversion, int from, int to, const char *text,
					  int length)
{
	while (length > 0)
	{
		int piece = pg_encoding_mbcliplen(from, text, length, 4096);
		int done;

		if (piece <= 0)
			piece = 1;
		enlargeStringInfo(buf, piece * MAX_CONVERSION_GROWTH + 1);
		done = pg_do_encoding_conversion_buf(
			conversion, from, to, unconstify(unsigned char *, (const unsigned char *) text), piece,
			(unsigned char *) buf->data + buf->len, piece * MAX_CONVERSION_GROWTH + 1, true);
		buf->len += strlen(buf->data + buf->len);
		if (done < piece)
		{
			int skip = Min(pg_encoding_mblen(from, text + done), length - done);

			appendStringInfoString(buf, to == PG_UTF8 ? UTF8_REPLACEMENT : "?");
			done += Max(skip, 1);
		}
		text += done;
		length -= done;
	}
}

void
utf8_append(StringInfo buf, const char *text, int length)
{
	int encoding = GetDatabaseEncoding();
	Oid conversion = InvalidOid;

	/*
	 * Check text of a UTF-8 database too, because a client must close the connection if it gets
	 * invalid text.
	 */
	if (encoding != PG_UTF8 && encoding != PG_SQL_ASCII)
		conversion = FindDefaultConversionProc(encoding, PG_UTF8);
	if (OidIsValid(conversion))
		utf8_append_converted(buf, conversion, encoding, PG_UTF8, text, length);
	else
		utf8_append_verified(buf, text, length);
}

void
utf8_make(StringInfo buf, int begin)
{
	int length = buf->len - begin;
	char *copy;

	if ((GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII) &&
		pg_encoding_verifymbstr(PG_UTF8, buf->data + begin, length) == length)
		return;
	copy = pnstrdup(buf->data + begin, length);
	buf->len = begin;
	buf->data[begin] = '\0';
	utf8_append(buf, copy, length);
	pfree(copy);
}

void
utf8_append_server(StringInfo buf, const char *text, int length)
{
	int encoding = GetDatabaseEncoding();
	Oid conversion;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
	{
		utf8_append_verified(buf, text, length);
		return;
	}
	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (OidIsValid(conversion))
	{
		utf8_append_converted(buf, conversion, PG_UTF8, encoding, text, length);
		return;
	}
	/* ASCII is the same in every server encoding. */
	for (int i = 0; i < length; i++)
		appendStringInfoChar(buf, text[i] == '\0' || IS_HIGHBIT_SET(text[i]) ? '?' : text[i]);
}

void
utf8_append_json_string(StringInfo buf, const char *text, int length)
{
	StringInfoData json;
	char *copy = pnstrdup(text, length);

	initStringInfo(&json);
	escape_json(&json, copy);
	utf8_append(buf, json.data, json.len);
	pfree(json.data);
	pfree(copy);
}
