/*-------------------------------------------------------------------------
 *
 * channel.c
 *	  The launcher's end of the channel to a gateway. See channel.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>
#include <unistd.h>

#include "ext/launcher/channel.h"

#define CHANNEL_READ_SIZE (64 * 1024)

void
channel_init(Channel *channel)
{
	channel->fd = PGINVALID_SOCKET;
	initStringInfo(&channel->in);
	initStringInfo(&channel->out);
}

void
channel_open(Channel *channel, pgsocket fd)
{
	Assert(channel->fd == PGINVALID_SOCKET);

	channel->fd = fd;
	resetStringInfo(&channel->in);
	resetStringInfo(&channel->out);
}

void
channel_close(Channel *channel)
{
	if (channel->fd == PGINVALID_SOCKET)
		return;
	close(channel->fd);
	channel->fd = PGINVALID_SOCKET;
}

/* Remove what has been used at the start of a buffer. */
static void
channel_consume(StringInfo buffer, int used)
{
	memmove(buffer->data, buffer->data + used, buffer->len - used);
	buffer->len -= used;
	buffer->data[buffer->len] = '\0';
}

bool
channel_flush(Channel *channel)
{
	while (channel->fd != PGINVALID_SOCKET && channel->out.len > 0)
	{
		ssize_t sent =
			send(channel->fd, channel->out.data, channel->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK;
		channel_consume(&channel->out, (int) sent);
	}
	return channel->fd != PGINVALID_SOCKET;
}

bool
channel_send(Channel *channel, const WireMessage *message)
{
	StringInfo out = &channel->out;
	size_t size = wire_encode(message, NULL, 0);

	enlargeStringInfo(out, (int) size);
	out->len += (int) wire_encode(message, out->data + out->len, size);
	return channel_flush(channel);
}

bool
channel_pending(const Channel *channel)
{
	return channel->fd != PGINVALID_SOCKET && channel->out.len > 0;
}

bool
channel_receive(Channel *channel)
{
	StringInfo in = &channel->in;
	ssize_t received;

	if (channel->fd == PGINVALID_SOCKET)
		return false;

	channel_consume(in, in->cursor);
	in->cursor = 0;
	enlargeStringInfo(in, CHANNEL_READ_SIZE);
	do
		received = recv(channel->fd, in->data + in->len, CHANNEL_READ_SIZE, MSG_DONTWAIT);
	while (received < 0 && errno == EINTR);

	if (received < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK;
	in->len += (int) received;
	return received > 0;
}

WireResult
channel_next(Channel *channel, WireMessage *message)
{
	StringInfo in = &channel->in;
	size_t used;
	WireResult result = wire_decode(in->data + in->cursor, in->len - in->cursor, message, &used);

	if (result == WIRE_MORE && used > CHANNEL_MAX_FRAME)
		return WIRE_BAD;
	if (result == WIRE_OK)
		in->cursor += (int) used;
	return result;
}
