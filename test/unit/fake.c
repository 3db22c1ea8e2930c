/* A transport that accepts as many bytes as it has room for, and records the calls. */
#include "fake.h"

#include <netinet/in.h>

static bool
fake_write(Transport *transport, const uint8_t *data, size_t len, size_t *taken)
{
	Fake *fake = (Fake *) transport;

	*taken = len < fake->room ? len : fake->room;
	assert_between(fake->sent_len + *taken, 0, sizeof(fake->sent) - 1);
	memcpy(fake->sent + fake->sent_len, data, *taken);
	fake->sent_len += *taken;
	fake->sent[fake->sent_len] = '\0';
	fake->room -= *taken;
	return !fake->broken;
}

static void
fake_wake(Transport *transport)
{
	((Fake *) transport)->woken = true;
}

static void
fake_pause(Transport *transport, bool pause)
{
	((Fake *) transport)->paused = pause;
}

static void
fake_finish(Transport *transport)
{
	((Fake *) transport)->finished = true;
}

static void
fake_drop(Transport *transport)
{
	((Fake *) transport)->dropped = true;
}

static bool
fake_peer(const Transport *transport, struct sockaddr_storage *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *) address;
	const Fake *fake = (const Fake *) transport;

	if (fake->client_set)
	{
		*address = fake->client;
		return true;
	}
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(0x7f000000u + fake->address);
	in->sin_port = htons(7);
	return true;
}

static void
fake_set_peer(Transport *transport, const struct sockaddr_storage *address)
{
	((Fake *) transport)->client = *address;
	((Fake *) transport)->client_set = true;
}

static Transport *
fake_keep(Transport *transport)
{
	transport->owner = NULL;
	return ((Fake *) transport)->broken ? NULL : transport;
}

static const TransportFunctions fake_functions = {
	.write = fake_write,
	.wake = fake_wake,
	.pause = fake_pause,
	.finish = fake_finish,
	.drop = fake_drop,
	.probe = fake_drop,
	.peer = fake_peer,
	.set_peer = fake_set_peer,
	.keep = fake_keep,
};

void
fake_init(Fake *fake, uint8_t address)
{
	*fake = (Fake){
		.base.functions = &fake_functions, .room = sizeof(fake->sent) - 1, .address = address};
}

void
fake_receive(Fake *fake, const char *data, size_t len)
{
	char *copy = malloc(len);

	assert_non_null(copy);
	assert_non_null(fake->base.owner);
	memcpy(copy, data, len);
	fake->base.events->received(fake->base.owner, copy, len);
	free(copy);
}

void
fake_take(Fake *fake, size_t room)
{
	fake->room = room;
	fake->base.events->writable(fake->base.owner);
}

void
fake_end(Fake *fake)
{
	fake->base.events->ended(fake->base.owner);
}

void
fake_lose(Fake *fake)
{
	void *owner = fake->base.owner;

	fake->base.owner = NULL;
	fake->base.events->closed(owner);
}
