/*-------------------------------------------------------------------------
 *
 * frames.h
 *	  A non-blocking socket for the frames of wire.h.
 *
 * The owner waits until the socket is readable or, while there are unsent bytes, writable.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FRAMES_H
#define PG_NOTIFYD_FRAMES_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "wire/wire.h"

/* frames_receive() reads at most this many bytes. */
#define FRAMES_READ_SIZE (16 * 1024)

typedef struct FrameSocket
{
	pgsocket fd;       /* PGINVALID_SOCKET: not connected */
	size_t max_frame;  /* maximum size of a frame from the peer */
	StringInfoData in; /* received; bytes before in_used are processed */
	int in_used;
	StringInfoData out; /* to be sent; bytes before out_sent are sent */
	int out_sent;
	bool secret;   /* set by the owner before it queues a secret: out is cleared when all is sent */
	uint64 queued; /* total bytes queued on this connection, */
	uint64 sent;   /* and accepted by the socket */
} FrameSocket;

/* Initialise an unconnected socket, with buffers in the current memory context. */
extern void frames_init(FrameSocket *frames, size_t max_frame);

/* Create a Unix socket. On failure returns false with errno set. */
extern bool frames_open(FrameSocket *frames) __attribute__((warn_unused_result));

/* Connect to a gateway, which may not be running yet. On failure returns false with errno set. */
extern bool frames_connect(FrameSocket *frames, int gateway) __attribute__((warn_unused_result));

/* Use this socket, which is non-blocking and connected. frames_close() closes it. */
extern void frames_adopt(FrameSocket *frames, pgsocket fd);

/* Close the socket and clear the buffers. Does nothing if it is not open. */
extern void frames_close(FrameSocket *frames);

/* Queue a frame. Does nothing if the socket is not open. */
extern void frames_queue(FrameSocket *frames, const WireMessage *message);

/* Return how many queued bytes the socket has not accepted yet. */
extern int frames_unsent(const FrameSocket *frames);

/*
 * Send as much as possible without waiting. Returns false if the connection is lost, with errno
 * set.
 */
extern bool frames_flush(FrameSocket *frames) __attribute__((warn_unused_result));

/*
 * Read once. Returns the number of bytes, 0 if there are none at present, or -1 if the connection
 * is lost, with errno set, or 0 at end-of-file.
 */
extern int frames_receive(FrameSocket *frames) __attribute__((warn_unused_result));

/*
 * Get the next received frame, which is valid until the next frames_receive(). WIRE_MORE: there is
 * no complete frame. WIRE_BAD: the peer has sent an invalid or too large frame.
 */
extern WireResult
frames_next(FrameSocket *frames, WireMessage *message) __attribute__((warn_unused_result));

/*
 * Return true if a gateway's HELLO has our version. Otherwise report ERRCODE_PROTOCOL_VIOLATION at
 * the given level.
 */
extern bool frames_version_ok(int gateway, int version, int elevel);

/* Return the bytes of a NUL-terminated string. */
extern WireBytes frames_bytes(const char *string);

#endif /* PG_NOTIFYD_FRAMES_H */
