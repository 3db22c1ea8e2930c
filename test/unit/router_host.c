#include "router_host.h"

#include <inttypes.h>

#include "wire/uri.h"

Router *router;
char sent[LOG_SIZE];
char published[LOG_SIZE];
int full_link;
const char *forbidden; /* no session of link 2 has a right on this name */
static uint64_t next_random;
static unsigned blocks;

/* ---------------- the host ---------------- */

static void *
host_allocate(void *arg, size_t size)
{
	(void) arg;
	blocks++;
	return malloc(size);
}

static void
host_release(void *arg, void *block)
{
	(void) arg;
	blocks--;
	free(block);
}

static uint64_t
host_random(void *arg)
{
	(void) arg;
	return next_random++;
}

static const char *
kind_name(uint8_t kind)
{
	switch (kind)
	{
		case ROUTE_REGISTERED:
			return "REGISTERED";
		case ROUTE_UNREGISTERED:
			return "UNREGISTERED";
		case ROUTE_INVOKE:
			return "INVOKE";
		case ROUTE_INTERRUPT:
			return "INTERRUPT";
		case ROUTE_RESULT:
			return "RESULT";
		case ROUTE_ERROR:
			return "ERROR";
		case ROUTE_KILL:
			return "KILL";
		case ROUTE_CALLED:
			return "CALLED";
		default:
			return "?";
	}
}

/* Ids of registrations are hashes, so the log has only whether there is one. */
static void
host_send(void *arg, int link, const WireRoute *route)
{
	size_t len = strlen(sent);

	(void) arg;
	snprintf(sent + len, sizeof(sent) - len, "%d.%u %s%s%s", link, route->session,
			 kind_name(route->kind), (route->flags & ROUTE_PROGRESS) != 0 ? "+" : "",
			 (route->flags & ROUTE_UNKNOWN) != 0 ? "?" : "");
	len = strlen(sent);
	if (route->request != 0)
		len += (size_t) snprintf(sent + len, sizeof(sent) - len, " %" PRIu64, route->request);
	if (route->kind == ROUTE_INVOKE || route->kind == ROUTE_INTERRUPT)
		len += (size_t) snprintf(sent + len, sizeof(sent) - len, " #%" PRIu64, route->id);
	if (route->name.len > 0)
		len += (size_t) snprintf(sent + len, sizeof(sent) - len, " %.*s", (int) route->name.len,
								 route->name.data);
	if (route->options.len > 0)
		len += (size_t) snprintf(sent + len, sizeof(sent) - len, " %.*s", (int) route->options.len,
								 route->options.data);
	if (route->payload.len > 0 && route->kind != ROUTE_ERROR)
		len += (size_t) snprintf(sent + len, sizeof(sent) - len, " %.*s", (int) route->payload.len,
								 route->payload.data);
	snprintf(sent + len, sizeof(sent) - len, "\n");
}

static bool
host_full(void *arg, int link)
{
	(void) arg;
	return link == full_link;
}

static bool
host_may(void *arg, int link, uint32_t session, RouterRight right, WireBytes name)
{
	(void) arg;
	(void) session;
	(void) right;
	return link != 2 || forbidden == NULL || strlen(forbidden) != name.len ||
		   memcmp(forbidden, name.data, name.len) != 0;
}

static bool
host_taken(void *arg, WireBytes name)
{
	(void) arg;
	return name.len == 7 && memcmp(name.data, "exposed", 7) == 0;
}

static bool
host_answer(void *arg, const RouterQuestion *question, RouterText *result, const char **error)
{
	(void) arg;
	if (question->name.len == 9 && memcmp(question->name.data, "wamp.fail", 9) == 0)
	{
		*error = "wamp.error.mine";
		return true;
	}
	if (question->name.len != 9 || memcmp(question->name.data, "wamp.mine", 9) != 0)
		return false;
	text_append_string(result, "[");
	text_append_number(result, question->session);
	text_append_string(result, "]");
	return true;
}

static void
host_publish(void *arg, const char *topic, WireBytes payload)
{
	size_t len = strlen(published);

	(void) arg;
	snprintf(published + len, sizeof(published) - len, "%s %.*s\n", topic, (int) payload.len,
			 payload.data);
}

int
router_begin(void **state)
{
	static const RouterHost host = {.allocate = host_allocate,
									.release = host_release,
									.random = host_random,
									.send = host_send,
									.full = host_full,
									.may = host_may,
									.taken = host_taken,
									.answer = host_answer,
									.publish = host_publish};

	(void) state;
	sent[0] = published[0] = '\0';
	full_link = -2;
	forbidden = NULL;
	next_random = 0;
	router = router_create(&host);
	router_set_time(router, 1000, 0);
	return 0;
}

int
router_end(void **state)
{
	(void) state;
	router_free(router);
	assert_int_equal(blocks, 0);
	return 0;
}

/* ---------------- what sessions do ---------------- */

WireBytes
bytes(const char *text)
{
	return (WireBytes){.data = text, .len = text != NULL ? (uint32_t) strlen(text) : 0};
}

/* A session with the id 1000 * link + number. */
void
join_with(int link, uint32_t number, uint8_t flags)
{
	char authid[16];

	snprintf(authid, sizeof(authid), "a%u", number);
	assert_true(router_join(
		router, &(RouterJoin){.link = link,
							  .session = number,
							  .id = (uint64_t) (1000 * link) + number,
							  .flags = flags,
							  .authid = bytes(authid),
							  .authrole = bytes(link == 1 ? "web" : "app"),
							  .details = bytes("{\"authmethod\":\"ticket\",\"other\":1}")}));
}

void
join(int link, uint32_t number)
{
	join_with(link, number, ROUTE_CANCELS);
}

void
receive(int link, WireRoute route)
{
	assert_true(router_receive(router, link, &route));
}

void
do_register(int link, uint32_t session, const char *name, const char *options)
{
	receive(link, (WireRoute){.kind = ROUTE_REGISTER,
							  .session = session,
							  .request = 1,
							  .name = bytes(name),
							  .options = bytes(options)});
}

void
call(int link, uint32_t session, uint64_t request, const char *name, const char *options,
	 const char *payload)
{
	receive(link, (WireRoute){.kind = ROUTE_CALL,
							  .session = session,
							  .request = request,
							  .name = bytes(name),
							  .options = bytes(options),
							  .payload = bytes(payload)});
}

void
yield(int link, uint32_t session, uint64_t id, uint8_t flags, const char *payload)
{
	receive(link, (WireRoute){.kind = ROUTE_YIELD,
							  .session = session,
							  .id = id,
							  .flags = flags,
							  .payload = bytes(payload)});
}

void
cancel(int link, uint32_t session, uint64_t request, const char *options)
{
	receive(link, (WireRoute){.kind = ROUTE_CANCEL,
							  .session = session,
							  .request = request,
							  .options = bytes(options)});
}

/* The messages since the last call. */
void
expect(const char *wanted)
{
	assert_string_equal(sent, wanted);
	sent[0] = '\0';
}

void
forget(void)
{
	sent[0] = published[0] = '\0';
}
