/*-------------------------------------------------------------------------
 *
 * json_numeric.c
 *	  The text of a numeric, straight from where it is stored.
 *
 * numeric_out() copies the value, and what it writes is copied again; that was a twentieth of all
 * that a watch makes a transaction touch. The format is that of NumericShort in
 * utils/adt/numeric.c, which databases that were upgraded in place have on disk since 9.1; values
 * that need the long one, NaN and the infinities are left to numeric_out(). It is private to
 * PostgreSQL all the same, so whether this server writes it is looked at once, with values made by
 * it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "ext/base/buffer.h"
#include "ext/json/json.h"

#define NUMERIC_KIND_MASK    0xC000
#define NUMERIC_KIND_SHORT   0x8000
#define NUMERIC_NEGATIVE     0x2000
#define NUMERIC_DSCALE_MASK  0x1F80
#define NUMERIC_DSCALE_SHIFT 7
#define NUMERIC_WEIGHT_SIGN  0x0040
#define NUMERIC_WEIGHT_MASK  0x003F
#define NUMERIC_GROUP        4 /* decimal digits in one of its own, which are to the base of 10,000 */
#define NUMERIC_GROUP_MOST                                                                         \
	5 /* but as many as this in what is no such digit, if a value is damaged */
#define NUMERIC_DIGITS_OFFSET sizeof(uint16)

/* Of the digits that are stored, from the one at this place on; there are none outside. */
static uint16
json_numeric_digit(const char *digits, int ndigits, int place)
{
	uint16 digit = 0;

	if (place >= 0 && place < ndigits)
		memcpy(&digit, digits + place * sizeof(digit), sizeof(digit));
	return digit;
}

/* Only what is stored in the short format; a short varlena is not aligned, and need not be. */
bool
json_append_numeric(StringInfo buf, Datum value)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	uint16 header;
	const char *digits;
	int ndigits;
	int weight;
	int dscale;
	int place = 0;
	char *at;

	if (VARATT_IS_EXTERNAL(stored) || VARATT_IS_COMPRESSED(stored) ||
		VARSIZE_ANY_EXHDR(stored) < NUMERIC_DIGITS_OFFSET)
		return false;
	memcpy(&header, VARDATA_ANY(stored), sizeof(header));
	if ((header & NUMERIC_KIND_MASK) != NUMERIC_KIND_SHORT)
		return false;
	digits = VARDATA_ANY(stored) + NUMERIC_DIGITS_OFFSET;
	ndigits = (int) ((VARSIZE_ANY_EXHDR(stored) - NUMERIC_DIGITS_OFFSET) / sizeof(uint16));
	dscale = (header & NUMERIC_DSCALE_MASK) >> NUMERIC_DSCALE_SHIFT;
	weight = header & NUMERIC_WEIGHT_MASK;
	if (header & NUMERIC_WEIGHT_SIGN)
		weight -= NUMERIC_WEIGHT_MASK + 1;

	/* A sign, a point, a zero before it, and what the last group has beyond the scale. */
	buffer_reserve(buf,
				   (Max(weight, 0) + 1) * NUMERIC_GROUP_MOST + dscale + NUMERIC_GROUP_MOST + 3);
	at = buf->data + buf->len;
	if (header & NUMERIC_NEGATIVE)
		*at++ = '-';
	if (weight < 0)
	{
		*at++ = '0';
		place = weight + 1;
	}
	else
	{
		at += pg_ultoa_n(json_numeric_digit(digits, ndigits, place++), at);
		while (place <= weight)
			at =
				pg_ultostr_zeropad(at, json_numeric_digit(digits, ndigits, place++), NUMERIC_GROUP);
	}
	if (dscale > 0)
	{
		char *end = at + 1 + dscale;

		*at++ = '.';
		while (at < end)
			at =
				pg_ultostr_zeropad(at, json_numeric_digit(digits, ndigits, place++), NUMERIC_GROUP);
		at = end;
	}
	buf->len = (int) (at - buf->data);
	return true;
}

/* Whether it is as numeric_out() writes it. */
static bool
json_numeric_agrees(const char *text)
{
	Datum value = DirectFunctionCall3(numeric_in, CStringGetDatum(text),
									  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	StringInfoData buf;
	bool agrees;

	initStringInfo(&buf);
	agrees = json_append_numeric(&buf, value) && buf.len == (int) strlen(text) &&
			 memcmp(buf.data, text, buf.len) == 0;
	pfree(buf.data);
	return agrees;
}

bool
json_knows_numeric(void)
{
	static int known = -1;

	if (known < 0)
		known = json_numeric_agrees("-10203040506.07080910") && json_numeric_agrees("0.00") &&
				json_numeric_agrees("0.0000000012345") && json_numeric_agrees("120000000000");
	return known > 0;
}
