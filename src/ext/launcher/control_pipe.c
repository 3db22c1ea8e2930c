/*-------------------------------------------------------------------------
 *
 * control_pipe.c
 *	  The launcher's end of the control pipe to a gateway. See control_pipe.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>
#include <unistd.h>

#include "ext/launcher/control_pipe.h"

#define CONTROL_PIPE_READ_SIZE (64 * 1024)

void
control_pipe_init(ControlPipe *pipe)
{
	pipe->fd = PGINVALID_SOCKET;
	initStringInfo(&pipe->in);
	initStringInfo(&pipe->out);
}

void
control_pipe_open(ControlPipe *pipe, pgsocket fd)
{
	Assert(pipe->fd == PGINVALID_SOCKET);

	pipe->fd = fd;
	resetStringInfo(&pipe->in);
	resetStringInfo(&pipe->out);
}

void
control_pipe_close(ControlPipe *pipe)
{
	if (pipe->fd == PGINVALID_SOCKET)
		return;
	close(pipe->fd);
	pipe->fd = PGINVALID_SOCKET;
}

/* Remove what has been used at the start of a buffer. */
static void
control_pipe_consume(StringInfo buffer, int used)
{
	memmove(buffer->data, buffer->data + used, buffer->len - used);
	buffer->len -= used;
	buffer->data[buffer->len] = '\0';
}

bool
control_pipe_flush(ControlPipe *pipe)
{
	while (pipe->fd != PGINVALID_SOCKET && pipe->out.len > 0)
	{
		ssize_t sent = send(pipe->fd, pipe->out.data, pipe->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK;
		control_pipe_consume(&pipe->out, (int) sent);
	}
	return pipe->fd != PGINVALID_SOCKET;
}

bool
control_pipe_send(ControlPipe *pipe, const WireMessage *message)
{
	StringInfo out = &pipe->out;
	size_t size = wire_encode(message, NULL, 0);

	enlargeStringInfo(out, (int) size);
	out->len += (int) wire_encode(message, out->data + out->len, size);
	return control_pipe_flush(pipe);
}

bool
control_pipe_pending(const ControlPipe *pipe)
{
	return pipe->fd != PGINVALID_SOCKET && pipe->out.len > 0;
}

bool
control_pipe_receive(ControlPipe *pipe)
{
	StringInfo in = &pipe->in;
	ssize_t received;

	if (pipe->fd == PGINVALID_SOCKET)
		return false;

	control_pipe_consume(in, in->cursor);
	in->cursor = 0;
	enlargeStringInfo(in, CONTROL_PIPE_READ_SIZE);
	do
		received = recv(pipe->fd, in->data + in->len, CONTROL_PIPE_READ_SIZE, MSG_DONTWAIT);
	while (received < 0 && errno == EINTR);

	if (received < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK;
	in->len += (int) received;
	return received > 0;
}

WireResult
control_pipe_next(ControlPipe *pipe, WireMessage *message)
{
	StringInfo in = &pipe->in;
	size_t used;
	WireResult result = wire_decode(in->data + in->cursor, in->len - in->cursor, message, &used);

	if (result == WIRE_MORE && used > CONTROL_PIPE_MAX_FRAME)
		return WIRE_BAD;
	if (result == WIRE_OK)
		in->cursor += (int) used;
	return result;
}
