/* A transport that takes everything, for fuzz targets. */
#ifndef SINK_H
#define SINK_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/net/transport.h"

#define SINK_MAX (1024 * 1024)

typedef struct Sink
{
	Transport base;
	char sent[SINK_MAX];
	size_t sent_len;
	bool paused;
	bool woken;
	bool finished;
	bool dropped;
} Sink;

extern void sink_init(Sink *sink);

/* Deliver a copy of these bytes, of exactly this size, to the owner. */
extern void sink_receive(Sink *sink, const uint8_t *data, size_t len);

#endif /* SINK_H */
