/*-------------------------------------------------------------------------
 *
 * client.c
 *	  The load client: thousands of WebSocket connections that count the messages they receive.
 *
 *	  client -p PORT [-P PATH] [-u SUBPROTOCOL] [-g GREETING] [-T FILE] [-n CLIENTS] [-s MESSAGE]
 *			[-S N] [-t at|sent] [-e N] [-w WINDOW] [-d]
 *
 *	  -u	subprotocol to offer
 *	  -g	message that each client sends first, such as a HELLO of WAMP; the answer to it is not counted
 *	  -T	file of tokens, one a line. Client k, from 0, has the k-th one; after the last, the first is next
 *	  -s	message that each client sends after connecting; the first message received is the answer. Each #
 *			in it becomes the number of the message, counted over all clients from 0
 *	  -S	how many such messages each client sends, each after the answer to the one before
 *			The line about the connections has the time of the answers as "answers"
 *	  -t	the member with the time of an event: "at", the time of its commit, or "sent", nanoseconds
 *			since 1970 in its row. Only every N-th client (-e) reads it
 *	  -w	number of connections started at the same time
 *	  -d	deaf: read nothing after the answer
 *
 * When all clients are connected and answered, it prints a line of JSON about that. Then it reads
 * commands, one a line, and answers each with a line of JSON:
 *
 *	  mark				start counting
 *	  spin				the same, and do not sleep until the next report, so that the sender does not pay for
 *						waking this process, which it would not if this were another machine
 *	  report			the counts since then
 *	  wait N SECONDS	the same, after N messages have arrived or the time has passed
 *
 * It ends when its standard input is closed.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "clock.h"
#include "histogram.h"
#include "ws.h"

#define CLIENT_EVENTS  256
#define CLIENT_SECONDS 120 /* time limit to connect all clients */

typedef enum ClientStamp
{
	STAMP_NONE,
	STAMP_AT,
	STAMP_SENT,
} ClientStamp;

static struct
{
	/* command-line arguments */
	int port;
	const char *path;
	const char *subprotocol;
	const char *greeting;
	char **tokens;
	uint32_t ntokens;
	uint32_t clients;
	const char *subscribe;
	uint32_t messages_each; /* of them from each client */
	ClientStamp stamp;
	uint32_t every;
	uint32_t window;
	bool deaf;
	/* state of the connections */
	Ws *all;
	int epoll;
	uint32_t begun;
	uint32_t open;
	uint32_t answered;
	char answer[512]; /* the first message; empty if it is longer */
	Histogram answers;
	uint32_t closed;
	uint64_t begun_at;
	uint64_t open_at;
	/* counts since mark */
	uint64_t *base; /* messages of each client before mark */
	uint64_t pings; /* of all clients, before mark */
	uint64_t messages;
	uint64_t positions; /* bookmarks, which are not events */
	uint64_t bytes;
	uint64_t marked_at;
	uint64_t marked_cpu;
	uint64_t first_at;
	uint64_t last_at;
	Histogram latency;
	/* the command wait */
	uint64_t wait_for;
	uint64_t wait_until; /* 0: not waiting */
	bool spinning;
} client;

static void
client_fail(const char *what)
{
	fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---------------- latency ---------------- */

/*
 * Return the nanoseconds since 1970 of "2026-01-31T12:34:56.123456+00:00". The date is computed
 * once a day.
 */
static uint64_t
client_parse_at(const char *text)
{
	static char day[10];
	static uint64_t day_at;
	static const int digits[] = {11, 12, 14, 15, 17, 18, 20, 21, 22, 23, 24, 25};
	static const uint32_t weights[] = {36000, 3600, 600, 60, 10, 1};
	uint64_t micros = 0;
	uint64_t seconds = 0;

	if (memcmp(day, text, sizeof(day)) != 0)
	{
		struct tm tm = {0};

		if (sscanf(text, "%4d-%2d-%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday) != 3)
			return 0;
		tm.tm_year -= 1900;
		tm.tm_mon -= 1;
		day_at = (uint64_t) timegm(&tm);
		memcpy(day, text, sizeof(day));
	}
	for (int i = 0; i < 6; i++)
	{
		seconds += weights[i] * (uint64_t) (text[digits[i]] - '0');
		micros = micros * 10 + (uint64_t) (text[digits[i + 6]] - '0');
	}
	return (day_at + seconds) * 1000000000 + micros * 1000;
}

/*
 * Return the position of a member's value in the text, or NULL. It is usually where it was in the
 * last message.
 */
static const char *
client_find(const char *text, size_t len, const char *name, size_t name_len)
{
	static size_t before;
	const char *found;

	if (before + name_len <= len && memcmp(text + before, name, name_len) == 0)
		return text + before + name_len;
	found = memmem(text, len, name, name_len);
	if (found == NULL)
		return NULL;
	before = (size_t) (found - text);
	return found + name_len;
}

/* Return when the last read happened: all messages of one read arrive at the same time. */
static uint64_t
client_came_at(const Ws *ws)
{
	static const Ws *last;
	static uint64_t reads;
	static uint64_t at;

	if (ws != last || ws->reads != reads)
	{
		last = ws;
		reads = ws->reads;
		at = clock_wall();
	}
	return at;
}

static void
client_take_latency(const Ws *ws, const char *text, size_t len)
{
	static const char at[] = "\"at\":\"";
	static const char sent[] = "\"sent\":";
	uint64_t now = client_came_at(ws);
	uint64_t made = 0;
	const char *found;

	if (client.stamp == STAMP_AT && (found = client_find(text, len, at, sizeof(at) - 1)) != NULL &&
		len - (size_t) (found - text) >= 32)
		made = client_parse_at(found);
	else if (client.stamp == STAMP_SENT &&
			 (found = client_find(text, len, sent, sizeof(sent) - 1)) != NULL)
		made = strtoull(found, NULL, 10);
	if (made > 0)
		histogram_add(&client.latency, now > made ? now - made : 0);
}

/* ---------------- messages ---------------- */

/* Send a client's message with this number, of its own. */
static void
client_subscribe(Ws *ws, uint32_t number)
{
	char message[1024];
	size_t used = 0;
	unsigned long long n = (unsigned long long) ws->number * client.messages_each + number;

	for (const char *at = client.subscribe; *at != '\0' && used < sizeof(message) - 32; at++)
	{
		if (*at == '#')
			used += (size_t) snprintf(message + used, 32, "%llu", n);
		else
			message[used++] = *at;
	}
	message[used] = '\0';
	ws->asked_at = clock_monotonic();
	if (!ws_send(ws, message))
		client_fail("a subscription could not be sent");
}

/* End the program if the answer is an error: of JSON-RPC, or an ERROR or ABORT of WAMP. */
static void
client_check_answer(const char *text, size_t len)
{
	if (memmem(text, len, "\"error\"", 7) == NULL &&
		(len < 3 || (memcmp(text, "[8,", 3) != 0 && memcmp(text, "[3,", 3) != 0)))
		return;
	fprintf(stderr, "client: refused: %.*s\n", (int) len, text);
	exit(1);
}

static void
client_on_answer(Ws *ws, const char *text, size_t len)
{
	client_check_answer(text, len);
	histogram_add(&client.answers, clock_monotonic() - ws->asked_at);
	if (++ws->answers < client.messages_each)
	{
		client_subscribe(ws, ws->answers);
		return;
	}
	/* Count what comes after the answers, not the answers. */
	ws->messages = 0;
	ws->answered = true;
	if (client.answered++ == 0 && len < sizeof(client.answer))
		snprintf(client.answer, sizeof(client.answer), "%.*s", (int) len, text);
}

/* The client may begin. */
static void
client_greeted(Ws *ws)
{
	ws->greeted = true;
	client.open++;
	if (client.open == client.clients)
		client.open_at = clock_monotonic();
	if (client.subscribe == NULL)
		client.answered++;
	else
		client_subscribe(ws, 0);
}

static void
client_on_message(Ws *ws, const char *text, size_t len, void *arg)
{
	(void) arg;
	if (len < 128 && memmem(text, len, "\"method\":\"position\"", 19) != NULL)
	{
		client.positions++;
		ws->messages--;
		return;
	}
	if (client.greeting != NULL && !ws->greeted)
	{
		client_check_answer(text, len);
		client_greeted(ws);
		ws->messages--;
		return;
	}
	if (!ws->answered && client.subscribe != NULL)
	{
		client_on_answer(ws, text, len);
		return;
	}
	client.messages++;
	client.bytes += len;
	if (client.stamp != STAMP_NONE && ws->number % client.every == 0)
		client_take_latency(ws, text, len);
}

static void
client_lost(Ws *ws)
{
	if (ws->state != WS_OPEN)
		client_fail("a connection could not be made");
	client.closed++;
	ws_close(ws);
}

static void
client_on_open(Ws *ws)
{
	if (client.greeting == NULL)
		client_greeted(ws);
	else if (!ws_send(ws, client.greeting))
		client_fail("a greeting could not be sent");
}

/* Return the path of the client's handshake, with its token if there are any. */
static const char *
client_path(const Ws *ws)
{
	static char path[1024];

	if (client.ntokens == 0)
		return client.path;
	snprintf(path, sizeof(path), "%s?access_token=%s", client.path,
			 client.tokens[ws->number % client.ntokens]);
	return path;
}

static void
client_on_event(Ws *ws, uint32_t events)
{
	struct epoll_event readable = {.events = EPOLLIN, .data.ptr = ws};
	uint64_t before = client.messages;
	WsState state = ws->state;

	if (ws->state == WS_CONNECTING)
	{
		if ((events & EPOLLOUT) == 0 ||
			!ws_request(ws, client.port, client_path(ws), client.subprotocol))
			client_fail("connect");
		if (epoll_ctl(client.epoll, EPOLL_CTL_MOD, ws->fd, &readable) != 0)
			client_fail("epoll_ctl");
		return;
	}
	if (!ws_read(ws, client_on_message, NULL))
	{
		client_lost(ws);
		return;
	}
	if (state == WS_HANDSHAKE && ws->state == WS_OPEN)
		client_on_open(ws);
	if (client.deaf && ws->answered && epoll_ctl(client.epoll, EPOLL_CTL_DEL, ws->fd, NULL) != 0)
		client_fail("epoll_ctl");
	if (client.messages != before)
	{
		client.last_at = clock_monotonic();
		if (before == 0)
			client.first_at = client.last_at;
	}
}

/* ---------------- commands ---------------- */

static void
client_mark(void)
{
	client.pings = 0;
	for (uint32_t i = 0; i < client.clients; i++)
	{
		client.base[i] = client.all[i].messages;
		client.pings += client.all[i].pings;
	}
	client.messages = 0;
	client.positions = 0;
	client.bytes = 0;
	client.first_at = 0;
	client.last_at = 0;
	memset(&client.latency, 0, sizeof(client.latency));
	client.marked_cpu = clock_cpu();
	client.marked_at = clock_monotonic();
}

static double
client_seconds(uint64_t from, uint64_t to)
{
	return to > from ? (double) (to - from) / 1e9 : 0;
}

static void
client_report(void)
{
	uint64_t fewest = UINT64_MAX;
	uint64_t most = 0;
	uint64_t pings = 0;

	client.spinning = false;
	for (uint32_t i = 0; i < client.clients; i++)
	{
		uint64_t messages = client.all[i].messages - client.base[i];

		fewest = messages < fewest ? messages : fewest;
		most = messages > most ? messages : most;
		pings += client.all[i].pings;
	}
	pings -= client.pings;
	printf("{\"clients\":%u,\"closed\":%u,\"messages\":%llu,\"positions\":%llu,\"bytes\":%llu",
		   client.clients, client.closed, (unsigned long long) client.messages,
		   (unsigned long long) client.positions, (unsigned long long) client.bytes);
	printf(",\"fewest\":%llu,\"most\":%llu,\"pings\":%llu", (unsigned long long) fewest,
		   (unsigned long long) most, (unsigned long long) pings);
	printf(",\"seconds\":%.6f,\"first\":%.6f,\"last\":%.6f,\"cpu\":%.6f",
		   client_seconds(client.marked_at, clock_monotonic()),
		   client_seconds(client.marked_at, client.first_at),
		   client_seconds(client.marked_at, client.last_at),
		   client_seconds(client.marked_cpu, clock_cpu()));
	printf(",\"latency\":");
	histogram_print(&client.latency, stdout);
	printf("}\n");
}

static void
client_command(char *line)
{
	unsigned long long n;
	double seconds;

	if (strcmp(line, "mark") == 0 || strcmp(line, "spin") == 0)
	{
		client_mark();
		client.spinning = line[0] == 's';
		printf("{}\n");
	}
	else if (strcmp(line, "report") == 0)
		client_report();
	else if (sscanf(line, "wait %llu %lf", &n, &seconds) == 2)
	{
		client.wait_for = n;
		client.wait_until = clock_monotonic() + (uint64_t) (seconds * 1e9);
	}
	else
	{
		fprintf(stderr, "client: no such command: %s\n", line);
		exit(2);
	}
}

/* There is one command at a time, because each is answered. */
static void
client_on_input(void)
{
	char line[128];
	ssize_t got = read(STDIN_FILENO, line, sizeof(line) - 1);

	if (got <= 0)
		exit(0);
	line[got] = '\0';
	line[strcspn(line, "\n")] = '\0';
	client_command(line);
	fflush(stdout);
}

/* ---------------- the loop ---------------- */

/* Start connections, up to the window. */
static void
client_connect_some(void)
{
	while (client.begun < client.clients && client.begun - client.open < client.window)
	{
		Ws *ws = &client.all[client.begun];
		struct epoll_event writable = {.events = EPOLLOUT, .data.ptr = ws};

		ws->number = client.begun;
		if (!ws_connect(ws, client.port))
			client_fail("connect");
		if (epoll_ctl(client.epoll, EPOLL_CTL_ADD, ws->fd, &writable) != 0)
			client_fail("epoll_ctl");
		client.begun++;
	}
}

static void
client_poll(int timeout)
{
	struct epoll_event events[CLIENT_EVENTS];
	int n = epoll_wait(client.epoll, events, CLIENT_EVENTS, timeout);

	if (n < 0 && errno != EINTR)
		client_fail("epoll_wait");
	for (int i = 0; i < n; i++)
	{
		if (events[i].data.ptr == NULL)
			client_on_input();
		else
			client_on_event(events[i].data.ptr, events[i].events);
	}
}

static void
client_connect_all(void)
{
	client.begun_at = clock_monotonic();
	while (client.answered < client.clients)
	{
		client_connect_some();
		client_poll(1000);
		if (client_seconds(client.begun_at, clock_monotonic()) > CLIENT_SECONDS)
		{
			fprintf(stderr, "client: only %u of %u are connected, %u answered\n", client.open,
					client.clients, client.answered);
			exit(1);
		}
	}
	printf("{\"open\":%.6f,\"answered\":%.6f,\"answer\":%s,\"answers\":",
		   client_seconds(client.begun_at, client.open_at),
		   client_seconds(client.begun_at, clock_monotonic()),
		   client.answer[0] != '\0' ? client.answer : "null");
	histogram_print(&client.answers, stdout);
	printf("}\n");
	fflush(stdout);
}

/* Return the timeout of the loop in ms, limited by the command wait. */
static int
client_timeout(void)
{
	uint64_t now = clock_monotonic();

	if (client.wait_until == 0)
		return client.spinning ? 0 : -1;
	if (client.messages >= client.wait_for || now >= client.wait_until)
	{
		client.wait_until = 0;
		client_report();
		fflush(stdout);
		return -1;
	}
	return client.spinning ? 0 : (int) ((client.wait_until - now) / 1000000) + 1;
}

static void
client_read_tokens(const char *name)
{
	FILE *file = fopen(name, "r");
	char line[1024];

	if (file == NULL)
		client_fail(name);
	while (fgets(line, sizeof(line), file) != NULL)
	{
		line[strcspn(line, "\n")] = '\0';
		client.tokens = realloc(client.tokens, (client.ntokens + 1) * sizeof(char *));
		if (client.tokens == NULL || (client.tokens[client.ntokens++] = strdup(line)) == NULL)
			client_fail(name);
	}
	fclose(file);
}

static void
client_options(int argc, char **argv)
{
	int option;

	client.path = "/ws";
	client.clients = 1;
	client.messages_each = 1;
	client.every = 1;
	client.window = 512;
	while ((option = getopt(argc, argv, "p:P:u:g:T:n:s:S:t:e:w:d")) != -1)
	{
		switch (option)
		{
			case 'p':
				client.port = atoi(optarg);
				break;
			case 'P':
				client.path = optarg;
				break;
			case 'u':
				client.subprotocol = optarg;
				break;
			case 'g':
				client.greeting = optarg;
				break;
			case 'T':
				client_read_tokens(optarg);
				break;
			case 'n':
				client.clients = (uint32_t) atoi(optarg);
				break;
			case 's':
				client.subscribe = optarg;
				break;
			case 'S':
				client.messages_each = (uint32_t) atoi(optarg);
				break;
			case 't':
				client.stamp = strcmp(optarg, "at") == 0 ? STAMP_AT : STAMP_SENT;
				break;
			case 'e':
				client.every = (uint32_t) atoi(optarg);
				break;
			case 'w':
				client.window = (uint32_t) atoi(optarg);
				break;
			case 'd':
				client.deaf = true;
				break;
			default:
				exit(2);
		}
	}
	if (client.port <= 0 || client.clients == 0 || client.messages_each == 0 || client.every == 0 ||
		client.window == 0)
	{
		fprintf(
			stderr,
			"usage: client -p PORT [-P PATH] [-u SUBPROTOCOL] [-g GREETING] [-T FILE] [-n CLIENTS] "
			"[-s MESSAGE] [-S N] [-t at|sent] [-e N] [-w WINDOW] [-d]\n");
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};

	client_options(argc, argv);
	client.all = calloc(client.clients, sizeof(Ws));
	client.base = calloc(client.clients, sizeof(uint64_t));
	client.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (client.all == NULL || client.base == NULL || client.epoll < 0)
		client_fail("cannot begin");
	client_mark();
	client_connect_all();
	if (epoll_ctl(client.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0)
		client_fail("epoll_ctl");
	for (;;)
		client_poll(client_timeout());
}
