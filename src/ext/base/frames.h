/*-------------------------------------------------------------------------
 *
 * frames.h
 *	  A socket that does not block and carries the frames of wire.h.
 *
 * The owner waits until the socket can be read from, or written to while something is unsent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FRAMES_H
#define PG_NOTIFYD_FRAMES_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "wire/wire.h"

/* The most that frames_receive() reads at once, in bytes. */
#define FRAMES_READ_SIZE (16 * 1024)

typedef struct FrameSocket
{
	pgsocket fd;       /* PGINVALID_SOCKET: not connected */
	size_t max_frame;  /* a frame from the peer may have so many bytes */
	StringInfoData in; /* received, from in_used on not handled yet */
	int in_used;
	StringInfoData out; /* to be sent, from out_sent on */
	int out_sent;
	uint64 queued; /* bytes ever queued on this connection, */
	uint64 sent;   /* and taken by the socket */
} FrameSocket;

/* Make one that is not connected; its buffers are in the current context. */
extern void frames_init(FrameSocket *frames, size_t max_frame);

/* Get a Unix socket from the system. false: errno says why not. */
extern bool frames_open(FrameSocket *frames) __attribute__((warn_unused_result));

/* Connect it to a gateway, which may not be there yet. false: errno says why not. */
extern bool frames_connect(FrameSocket *frames, int gateway) __attribute__((warn_unused_result));

/* Or use this socket, which does not block and is connected. It is closed with the FrameSocket. */
extern void frames_adopt(FrameSocket *frames, pgsocket fd);

/* Close it and forget what is in its buffers. Does nothing where it is not open. */
extern void frames_close(FrameSocket *frames);

/* Queue a frame. Does nothing where it is not open. */
extern void frames_queue(FrameSocket *frames, const WireMessage *message);

/* How many bytes are queued that the socket has not taken. */
extern int frames_unsent(const FrameSocket *frames);

/* Send what can be sent without waiting. false: the connection is over, errno says why. */
extern bool frames_flush(FrameSocket *frames) __attribute__((warn_unused_result));

/*
 * Read what has come, once. Returns how many bytes these are; 0: nothing for now; -1: the connection
 * is over, errno says why, 0 at the end of file.
 */
extern int frames_receive(FrameSocket *frames) __attribute__((warn_unused_result));

/*
 * The next frame that was received, good until the next frames_receive(). WIRE_MORE: there is none
 * yet. WIRE_BAD: the peer sends no frames, or too large ones.
 */
extern WireResult
frames_next(FrameSocket *frames, WireMessage *message) __attribute__((warn_unused_result));

/*
 * Whether a gateway's HELLO is of our version. If not, reports ERRCODE_PROTOCOL_VIOLATION at this
 * level.
 */
extern bool frames_version_ok(int gateway, int version, int elevel);

/* Bytes of a NUL-terminated string. */
extern WireBytes frames_bytes(const char *string);

#endif /* PG_NOTIFYD_FRAMES_H */
