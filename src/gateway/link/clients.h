/*-------------------------------------------------------------------------
 *
 * clients.h
 *	  Sends the connected clients to a backend, for the view notifyd.clients.
 *
 * This uses no memory while nobody reads the view. The list is sent in pieces, each after the
 * backend has taken the one before. So neither a long list nor a backend that does not read delays
 * others, and each list needs memory for one piece.
 *
 * This module has no socket and no clock. It sends frames through HubSend.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_CLIENTS_H
#define GATEWAY_CLIENTS_H

#include "gateway/hub/hub.h"
#include "gateway/session/session.h"

/*
 * Number of clients in a piece. A frame has at most about 8 kB (a hundred channels), usually 200
 * bytes.
 */
#define CLIENTS_PIECE 32

/* A list that is being sent. */
typedef struct Clients Clients;

/* Start a list of the present clients. Clients that leave before they are sent are left out. */
extern Clients *clients_begin(Sessions *sessions);

/* Send the next piece or the end of the list; after that do nothing. */
extern void clients_send(Clients *clients, HubSend send, void *link);

/* Free the list, even if it is incomplete. */
extern void clients_end(Clients *clients);

#endif /* GATEWAY_CLIENTS_H */
