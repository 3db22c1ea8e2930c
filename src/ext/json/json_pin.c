/*-------------------------------------------------------------------------
 *
 * json_pin.c
 *	  Settings of the session that a value's text depends on.
 *
 * Output functions obey settings that are made for people. With them, the same row of two writers
 * could have two texts, and digits of a number could be lost for good. So these settings have fixed
 * values while such an output function runs, as in set_transmission_modes() of contrib/postgres_fdw.
 * Settings that have their fixed value already are left alone, which is usual for all but the time
 * zone, the search path and lc_monetary. Tables without such columns cost nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "ext/json/json.h"

/* ---------------- which settings ---------------- */

/* Of the types that are not built in, enumerations and those with text's output function depend on nothing. */
static int
json_pins_of_other(Oid type)
{
	Oid output;
	bool varlena;
	FmgrInfo function;

	if (type_is_enum(type))
		return 0;
	getTypeOutputInfo(type, &output, &varlena);
	fmgr_info(output, &function);
	return function.fn_addr == textout ? 0 : JSON_PIN_UNKNOWN;
}

int
json_pins_of(Oid type)
{
	switch (type)
	{
		case DATEOID:
		case TIMESTAMPOID:
			return JSON_PIN_DATE;
		case TIMESTAMPTZOID:
			return JSON_PIN_DATE | JSON_PIN_ZONE;
		case INTERVALOID:
			return JSON_PIN_INTERVAL;
		case FLOAT4OID:
		case FLOAT8OID:
		case POINTOID:
		case LSEGOID:
		case PATHOID:
		case BOXOID:
		case POLYGONOID:
		case LINEOID:
		case CIRCLEOID:
			return JSON_PIN_FLOAT;
		case BYTEAOID:
			return JSON_PIN_BYTEA;
		case MONEYOID:
			return JSON_PIN_MONEY;
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCOLLATIONOID:
			return JSON_PIN_SEARCH_PATH;
		default:
			return type < FirstNormalObjectId ? 0 : json_pins_of_other(type);
	}
}

/* ---------------- pinning ---------------- */

/* Those of the settings that have another value now. */
static int
json_unpinned(int pins)
{
	int unpinned = 0;

	if (DateStyle != USE_ISO_DATES)
		unpinned |= JSON_PIN_DATE;
	if (IntervalStyle != INTSTYLE_POSTGRES)
		unpinned |= JSON_PIN_INTERVAL;
	if (extra_float_digits < 1)
		unpinned |= JSON_PIN_FLOAT;
	if (bytea_output != BYTEA_OUTPUT_HEX)
		unpinned |= JSON_PIN_BYTEA;
	if ((pins & JSON_PIN_ZONE) && strcmp(pg_get_timezone_name(session_timezone), "UTC") != 0)
		unpinned |= JSON_PIN_ZONE;
	if ((pins & JSON_PIN_MONEY) && strcmp(GetConfigOption("lc_monetary", false, false), "C") != 0)
		unpinned |= JSON_PIN_MONEY;
	if (pins & JSON_PIN_SEARCH_PATH)
		unpinned |= JSON_PIN_SEARCH_PATH;
	return unpinned & pins;
}

static void
json_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

int
json_pin(int pins)
{
	int unpinned = json_unpinned(pins);
	int level;

	if (unpinned == 0)
		return 0;
	level = NewGUCNestLevel();
	if (unpinned & JSON_PIN_DATE)
		json_set("DateStyle", "ISO");
	if (unpinned & JSON_PIN_INTERVAL)
		json_set("IntervalStyle", "postgres");
	if (unpinned & JSON_PIN_FLOAT)
		json_set("extra_float_digits", "1");
	if (unpinned & JSON_PIN_BYTEA)
		json_set("bytea_output", "hex");
	if (unpinned & JSON_PIN_ZONE)
		json_set("TimeZone", "UTC");
	if (unpinned & JSON_PIN_MONEY)
		json_set("lc_monetary", "C");
	if (unpinned & JSON_PIN_SEARCH_PATH)
	{
		json_set("search_path", "pg_catalog, pg_temp");
		json_set("quote_all_identifiers", "off");
	}
	return level;
}

void
json_unpin(int pinned)
{
	if (pinned != 0)
		AtEOXact_GUC(true, pinned);
}
