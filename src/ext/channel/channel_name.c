/*-------------------------------------------------------------------------
 *
 * channel_name.c
 *	  Checks the names of channels.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/string.h"
#include "mb/pg_wchar.h"

#include "ext/channel/channel_name.h"

/*
 * Return the length of a name in bytes, in UTF-8, which clients use, or in the database's encoding,
 * whichever is longer. A name in an encoding that cannot be converted counts as it is. Raises the
 * conversion's error for a character that UTF-8 does not have.
 */
static size_t
channel_length_in_utf8(const char *name)
{
	int length = (int) strlen(name);
	char *converted;
	size_t result = (size_t) length;

	if (GetDatabaseEncoding() == PG_UTF8 || pg_is_ascii(name))
		return result;
	converted = pg_server_to_any(name, length, PG_UTF8);
	if (converted != name)
	{
		result = strlen(converted);
		pfree(converted);
	}
	return Max(result, (size_t) length);
}

void
channel_check_name(const char *channel, const char *hint)
{
	size_t length = strlen(channel);
	size_t clients_length = channel_length_in_utf8(channel);
	const char *detail = NULL;

	if (length == 0)
		detail = "A channel's name must not be empty.";
	else if (clients_length >= NAMEDATALEN)
		detail = psprintf(
			"A channel's name must not be longer than %d bytes in UTF-8, and this one has %zu.",
			NAMEDATALEN - 1, clients_length);
	for (size_t i = 0; i < length; i++)
	{
		if ((unsigned char) channel[i] < ' ' || channel[i] == 0x7f)
			detail = "A channel's name must not contain control characters.";
	}
	if (detail != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME), errmsg("invalid channel name \"%s\"", channel),
				 errdetail("%s", detail), hint ? errhint("%s", hint) : 0));
}
