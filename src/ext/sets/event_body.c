/*-------------------------------------------------------------------------
 *
 * event_body.c
 *	  What a client gets of an event's JSON object. See event_body.h.
 *
 * The text is valid JSON, but values of the type json may contain white space, also around them.
 *
 *-------------------------------------------------------------------------
 */
#include "ext/sets/event_body.h"

#include <stdlib.h>
#include <string.h>

#define BODY_PUT(put, arg, literal) (put)((arg), literal, sizeof(literal) - 1)

/* ---------------- reading ---------------- */

/* The rest of an object that is being read. */
typedef struct BodyReader
{
	const char *at;
	const char *end;
} BodyReader;

static void
body_skip_space(BodyReader *reader)
{
	while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
										*reader->at == '\n' || *reader->at == '\r'))
		reader->at++;
}

/* Move behind a string. Returns false if it does not end. */
static bool
body_skip_string(BodyReader *reader)
{
	for (reader->at++; reader->at < reader->end; reader->at++)
	{
		if (*reader->at == '"')
		{
			reader->at++;
			return true;
		}
		if (*reader->at == '\\')
			reader->at++;
	}
	return false;
}

/* Move behind a value: to the comma or bracket after it. */
static bool
body_skip_value(BodyReader *reader)
{
	int depth = 0;

	while (reader->at < reader->end)
	{
		char c = *reader->at;

		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return true;
		if (c == '"')
		{
			if (!body_skip_string(reader))
				return false;
			continue;
		}
		if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		reader->at++;
	}
	return false;
}

/* Begin to read an object. Returns false if the text is none. */
static bool
body_begin(BodyReader *reader, WireBytes text)
{
	reader->at = text.data;
	reader->end = text.data + text.len;
	body_skip_space(reader);
	return reader->at < reader->end && *reader->at == '{';
}

/*
 * Read the next member of an object: its name with quotes, and its value. Returns false at the end,
 * and if the text is not an object.
 */
static bool
body_next(BodyReader *reader, WireBytes *name, WireBytes *value)
{
	if (reader->at >= reader->end || (*reader->at != '{' && *reader->at != ','))
		return false;
	reader->at++;
	body_skip_space(reader);
	if (reader->at >= reader->end || *reader->at != '"')
		return false;
	name->data = reader->at;
	if (!body_skip_string(reader))
		return false;
	name->len = (uint32_t) (reader->at - name->data);
	body_skip_space(reader);
	if (reader->at >= reader->end || *reader->at != ':')
		return false;
	value->data = ++reader->at;
	if (!body_skip_value(reader))
		return false;
	value->len = (uint32_t) (reader->at - value->data);
	return true;
}

static bool
body_is(WireBytes name, const char *expected)
{
	return name.len == strlen(expected) && memcmp(name.data, expected, name.len) == 0;
}

bool
body_open(Body *body, const char *text, size_t len)
{
	BodyReader reader;
	WireBytes name;
	WireBytes value;

	*body = (Body){.text = text, .len = len};
	if (!body_begin(&reader, (WireBytes){.data = text, .len = (uint32_t) len}))
		return false;
	while (body_next(&reader, &name, &value))
	{
		if (body_is(name, "\"op\""))
			body->op = value;
		else if (body_is(name, "\"key\""))
			body->key = value;
		else if (body_is(name, "\"new\""))
			body->new_row = value;
		else if (body_is(name, "\"old\""))
			body->old_row = value;
		else if (body_is(name, "\"payload\""))
			body->payload = value;
		else if (body_is(name, "\"truncated\""))
			body->truncated = true;
	}
	return body->op.data != NULL;
}

/* Return the value of a member of an object, or NULL. The object's data may be NULL. */
static WireBytes
body_member(WireBytes object, WireBytes wanted)
{
	BodyReader reader;
	WireBytes name;
	WireBytes value;

	if (object.data != NULL && body_begin(&reader, object))
	{
		while (body_next(&reader, &name, &value))
		{
			if (name.len == wanted.len && memcmp(name.data, wanted.data, name.len) == 0)
				return value;
		}
	}
	return (WireBytes){.data = NULL};
}

/* ---------------- columns ---------------- */

int
body_compare(const void *a, const void *b)
{
	const WireBytes *x = a;
	const WireBytes *y = b;
	int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static bool
body_wanted(const BodyColumns *columns, WireBytes name)
{
	return columns == NULL || (columns->n > 0 && bsearch(&name, columns->names, columns->n,
														 sizeof(WireBytes), body_compare) != NULL);
}

bool
body_key_names(const Body *body, void *(*allocate)(size_t size), BodyColumns *names)
{
	BodyReader reader;
	WireBytes name;
	WireBytes value;
	WireBytes *found;
	size_t n = 0;

	if (body->key.data == NULL || !body_begin(&reader, body->key))
		return false;
	while (body_next(&reader, &name, &value))
		n++;
	found = allocate((n + 1) * sizeof(WireBytes));
	*names = (BodyColumns){.names = found};
	(void) body_begin(&reader, body->key);
	while (body_next(&reader, &name, &value))
		found[names->n++] = name;
	qsort(found, names->n, sizeof(WireBytes), body_compare);
	return true;
}

/* Return true if the event's key is not that of the old row. */
static bool
body_key_changed(const Body *body)
{
	BodyReader reader;
	WireBytes name;
	WireBytes value;

	if (body->key.data == NULL || !body_begin(&reader, body->key))
		return false;
	while (body_next(&reader, &name, &value))
	{
		WireBytes old = body_member(body->old_row, name);

		if (old.data != NULL &&
			(old.len != value.len || memcmp(old.data, value.data, old.len) != 0))
			return true;
	}
	return false;
}

/* ---------------- writing ---------------- */

/* The result so far. */
typedef struct BodyWriter
{
	BodyPut put;
	void *arg;
	bool any; /* the object that is being written has a member */
} BodyWriter;

static void
body_put_member(BodyWriter *writer, WireBytes name, WireBytes value)
{
	writer->put(writer->arg, writer->any ? "," : "{", 1);
	/* The name, the colon and the value stand together in the text. */
	if (value.data == name.data + name.len + 1)
		writer->put(writer->arg, name.data, (size_t) name.len + 1 + value.len);
	else
	{
		writer->put(writer->arg, name.data, name.len);
		BODY_PUT(writer->put, writer->arg, ":");
		writer->put(writer->arg, value.data, value.len);
	}
	writer->any = true;
}

/* Write a row with the columns that are wanted. A row without any is left out. */
static void
body_put_row(BodyWriter *writer, const char *label, WireBytes row, const BodyColumns *columns,
			 WireBytes key)
{
	BodyReader reader;
	WireBytes name;
	WireBytes value;
	bool any = false;

	if (!body_begin(&reader, row))
		return;
	while (body_next(&reader, &name, &value))
	{
		if (!body_wanted(columns, name) && body_member(key, name).data == NULL)
			continue;
		if (!any)
		{
			writer->put(writer->arg, writer->any ? "," : "{", 1);
			writer->put(writer->arg, label, strlen(label));
		}
		writer->any = any;
		body_put_member(writer, name, value);
		any = true;
	}
	writer->any = true;
	if (any)
		BODY_PUT(writer->put, writer->arg, "}");
}

/* Write the key that a leaving row had. */
static void
body_put_old_key(BodyWriter *writer, const Body *body)
{
	BodyReader reader;
	WireBytes name;
	WireBytes value;
	bool any = false;

	BODY_PUT(writer->put, writer->arg, ",\"key\":");
	if (body_begin(&reader, body->key))
	{
		while (body_next(&reader, &name, &value))
		{
			WireBytes old = body_member(body->old_row, name);

			writer->any = any;
			body_put_member(writer, name, old.data != NULL ? old : value);
			any = true;
		}
	}
	writer->any = true;
	if (any)
		BODY_PUT(writer->put, writer->arg, "}");
	else
		BODY_PUT(writer->put, writer->arg, "{}");
}

static void
body_put_op(BodyWriter *writer, BodyChange change, WireBytes name, WireBytes op)
{
	static const char insert[] = "\"INSERT\"";
	static const char delete[] = "\"DELETE\"";

	if (change == BODY_UNCHANGED)
	{
		body_put_member(writer, name, op);
		return;
	}
	body_put_member(
		writer, name,
		(WireBytes){.data = change == BODY_ENTERS ? insert : delete, .len = sizeof(insert) - 1});
	BODY_PUT(writer->put, writer->arg, ",\"cause\":");
	writer->put(writer->arg, op.data, op.len);
}

bool
body_write(const Body *body, BodyChange change, const BodyColumns *columns, bool bare, bool reduced,
		   BodyPut put, void *arg)
{
	BodyWriter writer = {.put = put, .arg = arg};
	WireBytes no_key = {.data = NULL};
	BodyColumns no_columns = {.n = 0};
	BodyReader reader;
	WireBytes name;
	WireBytes value;

	if (change == BODY_LEAVES && body->truncated)
		return false;
	(void) body_begin(&reader, (WireBytes){.data = body->text, .len = (uint32_t) body->len});
	while (body_next(&reader, &name, &value))
	{
		if (value.data == body->op.data)
			body_put_op(&writer, change, name, value);
		else if (value.data == body->key.data && change == BODY_LEAVES)
			body_put_old_key(&writer, body);
		else if (value.data == body->new_row.data)
		{
			if (!reduced && change != BODY_LEAVES)
				body_put_row(&writer, "\"new\":", value, columns, no_key);
		}
		else if (value.data == body->old_row.data)
		{
			if (change != BODY_ENTERS)
				body_put_row(&writer, "\"old\":", value, reduced ? &no_columns : columns,
							 change == BODY_UNCHANGED && body_key_changed(body) ? body->key
																				: no_key);
		}
		else if (value.data != body->payload.data || (!bare && !reduced && change != BODY_LEAVES))
			body_put_member(&writer, name, value);
	}
	if (reduced && !body->truncated)
		BODY_PUT(put, arg, ",\"truncated\":true");
	BODY_PUT(put, arg, "}");
	return true;
}
