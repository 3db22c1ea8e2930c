/* A transport that takes as many bytes as it has room for, and notes what is asked of it. */
#ifndef FAKE_H
#define FAKE_H

#include "unit.h"

#include "gateway/net/transport.h"

typedef struct Fake
{
	Transport base;
	char sent[4096]; /* a C string */
	size_t sent_len;
	size_t room;
	bool broken; /* writing and keeping fail */
	bool paused;
	bool woken;
	bool finished;
	bool dropped;
	uint8_t address; /* of the other side, the last byte of 127.0.0.0; its port is 7 */
} Fake;

/* A new one, with room for all that fits. */
extern void fake_init(Fake *fake, uint8_t address);

/* The owner receives these bytes, or may write room bytes more, or learns of the end. */
extern void fake_receive(Fake *fake, const char *data, size_t len);
extern void fake_take(Fake *fake, size_t room);
extern void fake_lose(Fake *fake);

#endif /* FAKE_H */
