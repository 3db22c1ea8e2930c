/*-------------------------------------------------------------------------
 *
 * rest_location.c
 *	  The path of a new row, for the header Location.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/lsyscache.h"

#include "ext/base/utf8.h"
#include "ext/rest/rest_internal.h"

/* A receiver that passes rows on, and notes the key of each. */
typedef struct RestLocation
{
	DestReceiver pub;
	DestReceiver *rows;
	const RestTable *table;
	int *places; /* of the key's columns in a row, from 1 on; NULL: it does not have all of them */
	StringInfo key;
} RestLocation;

static int
location_place(TupleDesc row, const char *column)
{
	for (int i = 0; i < row->natts; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(row, i)->attname), column) == 0)
			return i + 1;
	}
	return 0;
}

static void
location_startup(DestReceiver *self, int operation, TupleDesc row)
{
	RestLocation *location = (RestLocation *) self;
	const RestTable *table = location->table;
	int *places = palloc(sizeof(int) * (table->nkey + 1));
	bool complete = true;

	for (int i = 0; i < table->nkey; i++)
	{
		places[i] = location_place(row, table->columns[table->key[i]].name);
		complete &= places[i] > 0;
	}
	location->places = complete ? places : NULL;
	location->rows->rStartup(location->rows, operation, row);
}

/* Append text to a path: all but letters, digits and a few others is percent-encoded. */
static void
location_append(StringInfo path, const char *text)
{
	StringInfoData utf8;

	initStringInfo(&utf8);
	utf8_append(&utf8, text, (int) strlen(text));
	for (int i = 0; i < utf8.len; i++)
	{
		unsigned char byte = (unsigned char) utf8.data[i];

		if (byte < 0x80 && (isalnum(byte) || strchr("-._~:@", byte) != NULL))
			appendStringInfoChar(path, (char) byte);
		else
			appendStringInfo(path, "%%%02X", byte);
	}
}

static bool
location_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RestLocation *location = (RestLocation *) self;
	const RestTable *table = location->table;

	for (int i = 0; location->places != NULL && i < table->nkey; i++)
	{
		bool isnull;
		Datum value = slot_getattr(slot, location->places[i], &isnull);
		bool varlena;
		Oid output;

		getTypeOutputInfo(table->columns[table->key[i]].type, &output, &varlena);
		location_append(location->key, isnull ? "" : OidOutputFunctionCall(output, value));
		appendStringInfoChar(location->key, '/');
	}
	return location->rows->receiveSlot(slot, location->rows);
}

static void
location_shutdown(DestReceiver *self)
{
	DestReceiver *rows = ((RestLocation *) self)->rows;

	rows->rShutdown(rows);
}

static void
location_destroy(DestReceiver *self)
{
	DestReceiver *rows = ((RestLocation *) self)->rows;

	rows->rDestroy(rows);
	pfree(self);
}

DestReceiver *
rest_location(DestReceiver *rows, const RestTable *table, StringInfo key)
{
	RestLocation *location = palloc0(sizeof(RestLocation));

	location->pub.receiveSlot = location_receive;
	location->pub.rStartup = location_startup;
	location->pub.rShutdown = location_shutdown;
	location->pub.rDestroy = location_destroy;
	location->pub.mydest = DestNone;
	location->rows = rows;
	location->table = table;
	location->key = key;
	return &location->pub;
}
