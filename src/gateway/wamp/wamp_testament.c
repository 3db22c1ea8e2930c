/*-------------------------------------------------------------------------
 *
 * wamp_testament.c
 *	  Testaments: messages that are published when a session has ended. See wamp_testament.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_testament.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_build.h"
#include "wire/uri.h"

struct WampTestament
{
	TAILQ_ENTRY(WampTestament) in_session;
	bool detached; /* the scope; otherwise "destroyed" */
	char *topic;
	char *payload;   /* JSON, */
	char *publisher; /* and the member "publisher" of the event */
	size_t size;
};

/* What the client gives to a procedure. */
typedef struct TestamentArguments
{
	json_t *args;  /* an array */
	json_t *named; /* an object */
	bool detached;
} TestamentArguments;

/* Options of PUBLISH that messages in the log cannot have. */
static const char *const testament_audience[] = {
	"exclude",          "eligible",        "exclude_authid",
	"exclude_authrole", "eligible_authid", "eligible_authrole",
};

/* ---------------- arguments ---------------- */

/* An array or object of the message. Returns NULL if it cannot be read: for example, a number is too large. */
static json_t *
testament_read(WireBytes text, json_t *empty)
{
	json_t *json;

	if (text.len == 0)
		return empty;
	json = json_loadb(text.data, text.len, 0, NULL);
	json_decref(empty);
	return json;
}

/* Read what both procedures have. Returns NULL, or what is wrong. The caller frees args and named. */
static const char *
testament_arguments(const WampMessage *message, TestamentArguments *arguments)
{
	const json_t *scope;

	arguments->args = testament_read(message->args, json_array());
	arguments->named = testament_read(message->kwargs, json_object());
	if (arguments->args == NULL || arguments->named == NULL)
		return "the arguments cannot be read";
	scope = json_object_get(arguments->named, "scope");
	if (scope == NULL)
		return NULL;
	arguments->detached =
		json_is_string(scope) && strcmp(json_string_value(scope), "detached") == 0;
	if (!arguments->detached &&
		(!json_is_string(scope) || strcmp(json_string_value(scope), "destroyed") != 0))
		return "scope must be \"destroyed\" or \"detached\"";
	return NULL;
}

/* ---------------- adding ---------------- */

/* Keyword arguments alone are the payload; otherwise it has both. *args: it has. */
static char *
testament_payload(const json_t *args, json_t *kwargs, bool *has_args)
{
	json_t *both;
	char *text;

	*has_args = json_array_size(args) > 0 || json_object_size(kwargs) == 0;
	if (!*has_args)
		return notification_dump(kwargs);
	both = json_object();
	json_object_set(both, "args", json_is_array(args) ? (json_t *) args : NULL);
	if (json_object_get(both, "args") == NULL)
		json_object_set_new(both, "args", json_array());
	if (json_object_size(kwargs) > 0)
		json_object_set(both, "kwargs", kwargs);
	text = notification_dump(both);
	json_decref(both);
	return text;
}

static char *
testament_publisher(const WampSession *session, bool disclose, bool args)
{
	json_t *publisher = json_object();
	char *text;

	if (disclose)
	{
		json_object_set_new(publisher, "session", json_integer((json_int_t) session->id));
		json_object_set_new(publisher, "authid", json_string(session->authid));
		json_object_set_new(publisher, "authrole", json_string(wamp_role(session)));
	}
	if (args)
		json_object_set_new(publisher, "args", json_true());
	text = notification_dump(publisher);
	json_decref(publisher);
	return text;
}

static void
testament_free(WampSession *session, WampTestament *testament)
{
	TAILQ_REMOVE(&session->testaments, testament, in_session);
	session->ntestaments--;
	session->testament_bytes -= testament->size;
	free(testament->topic);
	free(testament->payload);
	free(testament->publisher);
	free(testament);
}

/* Returns the URI of an error and sets *problem, or NULL. */
static const char *
testament_check(const TestamentArguments *arguments, const char **problem)
{
	const json_t *topic = json_array_get(arguments->args, 0);
	const json_t *args = json_array_get(arguments->args, 1);
	const json_t *kwargs = json_array_get(arguments->args, 2);
	const json_t *options = json_object_get(arguments->named, "publish_options");

	*problem = "the arguments are a topic, a list and an object";
	if (!json_is_string(topic) || json_array_size(arguments->args) > 3 ||
		(args != NULL && !json_is_array(args) && !json_is_null(args)) ||
		(kwargs != NULL && !json_is_object(kwargs) && !json_is_null(kwargs)) ||
		(options != NULL && !json_is_object(options) && !json_is_null(options)))
		return "wamp.error.invalid_argument";
	*problem = "the topic is no valid URI of at most 63 bytes";
	if (!uri_is_valid(URI_EXACT, json_string_value(topic), json_string_length(topic)) ||
		json_string_length(topic) > PROTOCOL_MAX_CHANNEL)
		return "wamp.error.invalid_uri";
	*problem = "the topic is reserved";
	if (uri_is_reserved(json_string_value(topic), json_string_length(topic)))
		return "wamp.error.invalid_uri";
	*problem = "a testament is for all subscribers of its topic";
	for (size_t i = 0; i < sizeof(testament_audience) / sizeof(testament_audience[0]); i++)
	{
		if (json_object_get(options, testament_audience[i]) != NULL)
			return "wamp.error.option_not_allowed";
	}
	return NULL;
}

static const char *
testament_add(WampSession *session, const TestamentArguments *arguments, const char **problem)
{
	const char *error = testament_check(arguments, problem);
	const json_t *options = json_object_get(arguments->named, "publish_options");
	WampTestament *testament;
	bool args;

	if (error != NULL)
		return error;
	testament = memory_zeroed(sizeof(WampTestament));
	testament->detached = arguments->detached;
	testament->topic = memory_string(json_string_value(json_array_get(arguments->args, 0)),
									 json_string_length(json_array_get(arguments->args, 0)));
	testament->payload = testament_payload(json_array_get(arguments->args, 1),
										   json_array_get(arguments->args, 2), &args);
	testament->publisher =
		testament_publisher(session, json_is_true(json_object_get(options, "disclose_me")), args);
	testament->size =
		strlen(testament->topic) + strlen(testament->payload) + strlen(testament->publisher);
	TAILQ_INSERT_TAIL(&session->testaments, testament, in_session);
	session->ntestaments++;
	session->testament_bytes += testament->size;
	if (session->ntestaments <= TESTAMENT_MAX_COUNT &&
		session->testament_bytes <= TESTAMENT_MAX_BYTES)
		return NULL;
	testament_free(session, testament);
	*problem = "a session has at most 16 testaments with 64 kB";
	return "wamp.error.unavailable";
}

/* Remove those of a scope. Returns how many there were. */
static json_int_t
testament_flush(WampSession *session, bool detached)
{
	WampTestament *testament = TAILQ_FIRST(&session->testaments);
	json_int_t n = 0;

	while (testament != NULL)
	{
		WampTestament *next = TAILQ_NEXT(testament, in_session);

		if (testament->detached == detached)
		{
			testament_free(session, testament);
			n++;
		}
		testament = next;
	}
	return n;
}

/* ---------------- the procedures ---------------- */

static bool
testament_is(const WampMessage *message, const char *procedure)
{
	return message->uri_len == strlen(procedure) &&
		   memcmp(message->uri, procedure, message->uri_len) == 0;
}

bool
wamp_testament_call(WampSession *session, const WampMessage *message)
{
	bool add = testament_is(message, "wamp.session.add_testament");
	TestamentArguments arguments = {.detached = false};
	const char *problem;
	const char *error = NULL;

	if (!add && !testament_is(message, "wamp.session.flush_testaments"))
		return false;
	problem = testament_arguments(message, &arguments);
	if (problem != NULL)
		error = "wamp.error.invalid_argument";
	else if (add)
		error = testament_add(session, &arguments, &problem);
	if (error != NULL)
		wamp_refuse(session->client, WAMP_CALL, message->request, error, problem);
	else if (add)
		wamp_send(session->client,
				  wamp_result(message->request, (WireBytes){.len = 0}, &WAMP_NO_PAYLOAD));
	else
	{
		json_t *n = json_integer(testament_flush(session, arguments.detached));
		char *text = notification_dump(n);

		wamp_send(session->client,
				  wamp_result_value(message->request, notification_bytes(text), false, false));
		json_decref(n);
		free(text);
	}
	json_decref(arguments.args);
	json_decref(arguments.named);
	return true;
}

void
wamp_testament_left(WampSession *session)
{
	WampTestament *testament;

	while ((testament = TAILQ_FIRST(&session->testaments)) != NULL)
	{
		hub_send_testament(session->client, notification_bytes(testament->topic),
						   testament->payload, testament->publisher);
		testament_free(session, testament);
	}
}
