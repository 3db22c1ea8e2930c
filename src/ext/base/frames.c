/*-------------------------------------------------------------------------
 *
 * frames.c
 *	  A non-blocking socket for the frames of wire.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "utils/memutils.h"

#include "ext/base/frames.h"
#include "ext/base/shared.h"

/* Sent bytes are removed from the front of a buffer if there are more than this. */
#define FRAMES_COMPACT (512 * 1024)

/* An empty buffer that is larger than this is freed. */
#define FRAMES_RETAIN (4 * FRAMES_COMPACT)

WireBytes
frames_bytes(const char *string)
{
	return (WireBytes){.data = string, .len = (uint32_t) strlen(string)};
}

bool
frames_version_ok(int gateway, int version, int elevel)
{
	if (version == WIRE_VERSION)
		return true;
	ereport(
		elevel,
		(errcode(ERRCODE_PROTOCOL_VIOLATION),
		 errmsg("gateway %d uses version %d of the link protocol, but the library uses version %d",
				gateway, version, WIRE_VERSION),
		 errhint(
			 "Install the gateway and the library of the same release, and restart the server.")));
	return false;
}

void
frames_init(FrameSocket *frames, size_t max_frame)
{
	memset(frames, 0, sizeof(*frames));
	frames->fd = PGINVALID_SOCKET;
	frames->max_frame = max_frame;
	initStringInfo(&frames->in);
	initStringInfo(&frames->out);
}

bool
frames_open(FrameSocket *frames)
{
	Assert(frames->fd == PGINVALID_SOCKET);
	frames->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return frames->fd != PGINVALID_SOCKET;
}

bool
frames_connect(FrameSocket *frames, int gateway)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	shared_gateway_socket(gateway, address.sun_path, sizeof(address.sun_path));
	return connect(frames->fd, (struct sockaddr *) &address, sizeof(address)) == 0;
}

void
frames_adopt(FrameSocket *frames, pgsocket fd)
{
	Assert(frames->fd == PGINVALID_SOCKET);
	frames->fd = fd;
}

/* Set a buffer to empty. */
static void
frames_empty(StringInfo buffer)
{
	MemoryContext context;

	resetStringInfo(buffer);
	if (buffer->maxlen <= FRAMES_RETAIN)
		return;
	context = MemoryContextSwitchTo(GetMemoryChunkContext(buffer->data));
	pfree(buffer->data);
	initStringInfo(buffer);
	MemoryContextSwitchTo(context);
}

/* Set the buffer of what is sent to empty. */
static void
frames_empty_out(FrameSocket *frames)
{
	if (frames->secret)
		explicit_bzero(frames->out.data, (size_t) frames->out.maxlen);
	frames->secret = false;
	frames->out_sent = 0;
	frames_empty(&frames->out);
}

void
frames_close(FrameSocket *frames)
{
	if (frames->fd == PGINVALID_SOCKET)
		return;
	close(frames->fd);
	frames->fd = PGINVALID_SOCKET;
	frames->in_used = 0;
	frames->queued = 0;
	frames->sent = 0;
	frames_empty(&frames->in);
	frames_empty_out(frames);
}

/* ---------------- sending ---------------- */

/* Make room in the buffer of what is sent. No copy of a secret stays behind. */
static void
frames_enlarge(StringInfo out, size_t needed, bool secret)
{
	char *old = out->data;

	if (!secret)
	{
		enlargeStringInfo(out, (int) needed);
		return;
	}
	out->maxlen += (int) needed;
	out->data = MemoryContextAlloc(GetMemoryChunkContext(old), (Size) out->maxlen);
	memcpy(out->data, old, (size_t) out->len);
	explicit_bzero(old, (size_t) out->maxlen - needed);
	pfree(old);
}

void
frames_queue(FrameSocket *frames, const WireMessage *message)
{
	StringInfo out = &frames->out;
	size_t room;
	size_t size;

	if (frames->fd == PGINVALID_SOCKET)
		return;
	room = out->maxlen - out->len;
	size = wire_encode(message, out->data + out->len, room);
	if (size > room)
	{
		frames_enlarge(out, size, frames->secret);
		size = wire_encode(message, out->data + out->len, size);
	}
	out->len += (int) size;
	frames->queued += size;
}

int
frames_unsent(const FrameSocket *frames)
{
	return frames->out.len - frames->out_sent;
}

bool
frames_flush(FrameSocket *frames)
{
	StringInfo out = &frames->out;

	while (frames->fd != PGINVALID_SOCKET && frames_unsent(frames) > 0)
	{
		ssize_t sent =
			send(frames->fd, out->data + frames->out_sent, frames_unsent(frames), MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
			return false;
		if (sent < 0)
			break;
		frames->out_sent += (int) sent;
		frames->sent += (uint64) sent;
	}
	if (frames_unsent(frames) == 0)
		frames_empty_out(frames);
	else if (frames->out_sent > FRAMES_COMPACT)
	{
		memmove(out->data, out->data + frames->out_sent, frames_unsent(frames));
		out->len -= frames->out_sent;
		frames->out_sent = 0;
	}
	return true;
}

/* ---------------- receiving ---------------- */

int
frames_receive(FrameSocket *frames)
{
	StringInfo in = &frames->in;
	ssize_t got;

	/* While a large frame arrives, nothing is moved; and its buffer is not kept. */
	if (frames->in_used == in->len)
		frames_empty(in);
	else if (frames->in_used > 0)
		memmove(in->data, in->data + frames->in_used, in->len - frames->in_used);
	in->len -= Min(frames->in_used, in->len);
	frames->in_used = 0;
	enlargeStringInfo(in, FRAMES_READ_SIZE);
	do
		got = recv(frames->fd, in->data + in->len, FRAMES_READ_SIZE, 0);
	while (got < 0 && errno == EINTR);
	if (got > 0)
	{
		in->len += (int) got;
		return (int) got;
	}
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (got == 0)
		errno = 0;
	return -1;
}

WireResult
frames_next(FrameSocket *frames, WireMessage *message)
{
	size_t used;
	WireResult result = wire_decode(frames->in.data + frames->in_used,
									frames->in.len - frames->in_used, message, &used);

	if (result != WIRE_BAD && used > frames->max_frame)
		return WIRE_BAD;
	if (result == WIRE_OK)
		frames->in_used += (int) used;
	return result;
}
