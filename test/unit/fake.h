/* A transport that accepts as many bytes as it has room for, and records the calls. */
#ifndef FAKE_H
#define FAKE_H

#include "unit.h"

#include "gateway/net/transport.h"

typedef struct Fake
{
	Transport base;
	char sent[16384]; /* a C string */
	size_t sent_len;
	size_t room;
	bool broken; /* writing and keep() fail */
	bool paused;
	bool woken;
	bool finished;
	bool dropped;
	uint8_t address; /* of the peer: the last byte of 127.0.0.0; its port is 7 */
	bool client_set; /* client is the peer instead */
	struct sockaddr_storage client;
} Fake;

/* Initialise it, with the maximum room. */
extern void fake_init(Fake *fake, uint8_t address);

/*
 * Deliver these bytes to the owner; let it write room more bytes; report that the peer sends nothing
 * more; report the end of the connection.
 */
extern void fake_receive(Fake *fake, const char *data, size_t len);
extern void fake_take(Fake *fake, size_t room);
extern void fake_end(Fake *fake);
extern void fake_lose(Fake *fake);

#endif /* FAKE_H */
