/*-------------------------------------------------------------------------
 *
 * admission.h
 *	  What becomes of an HTTP request: the one place where a handshake is let in or refused.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ADMISSION_H
#define GATEWAY_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "config.h"
#include "http_head.h"
#include "hub.h"
#include "session.h"

#define ADMISSION_UPGRADE 101 /* let in */

typedef struct Admission
{
	int status;          /* of HTTP; ADMISSION_UPGRADE: it becomes a WebSocket */
	const char *headers; /* that go with the status, each with its line end */
	char reason[256];    /* the answer's text */
	Database *database;  /* of a WebSocket */
	bool anonymous;      /* it came without a token */
} Admission;

/*
 * Decide on a request, from an address, whose head is well-formed. The order of the checks is what a
 * client that fails several is told: what it asks for, how, from where, who it is, and
 * only then what we can do at present.
 */
extern void admission_decide(const HttpHead *head, const Address *from, const Config *config, Hub *hub,
							 const Sessions *sessions, Admission *admission);

/* A refusal before that. */
extern void admission_refuse(Admission *admission, int status, const char *reason);

/*
 * The whole answer, for a status other than ADMISSION_UPGRADE; returns its length.
 */
extern size_t admission_answer(const Admission *admission, char *buf, size_t size);

#endif /* GATEWAY_ADMISSION_H */
