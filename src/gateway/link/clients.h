/*-------------------------------------------------------------------------
 *
 * clients.h
 *	  Tells a backend who is connected, for the view notifyd.clients.
 *
 * Nothing is kept for it while nobody asks. The list goes out in pieces, each when the
 * one before has been taken: so neither a long list nor a backend that does not read
 * holds anybody else up, and memory is one piece per list.
 *
 * This module has neither socket nor clock; frames go out through HubSend.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_CLIENTS_H
#define GATEWAY_CLIENTS_H

#include "gateway/hub/hub.h"
#include "gateway/session/session.h"

/*
 * Clients in one piece. A frame takes some 8 kB at most (a hundred channels), 200 bytes as a rule.
 */
#define CLIENTS_PIECE 32

/* A list that is being sent. */
typedef struct Clients Clients;

/* A list of those who are connected now. Who leaves before it is their turn is not in it. */
extern Clients *clients_begin(Sessions *sessions);

/* Send the next piece, or what ends the list; nothing after that. */
extern void clients_send(Clients *clients, HubSend send, void *link);

/* Free it, wherever it is. */
extern void clients_end(Clients *clients);

#endif /* GATEWAY_CLIENTS_H */
