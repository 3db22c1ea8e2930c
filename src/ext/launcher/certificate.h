/*-------------------------------------------------------------------------
 *
 * certificate.h
 *	  The certificate and private key that gateways use for TLS.
 *
 * The launcher reads the files, because gateways cannot open any, and passes the contents through
 * the control pipes. It keeps what it has read last and could use, for gateways that start later. The
 * key is kept in OpenSSL's secure memory: it is not part of core dumps, and locked if the system
 * allows that.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CERTIFICATE_H
#define PG_NOTIFYD_CERTIFICATE_H

#include "postgres.h"

#include "wire/wire.h"

/*
 * Called at start and at each reload: read the files if pg_notifyd.ssl is on, and forget what was
 * read if it is off. If they cannot be used, the log says why, and what was read before stays.
 */
extern void certificate_load(void);

/* Return true if gateways have what they need: pg_notifyd.ssl is off, or files were read. */
extern bool certificate_is_ready(void);

/*
 * Return when the certificate that gateways use expires, as a Unix time; 0: there is none. A file that
 * could not be used changes nothing.
 */
extern int64 certificate_expires(void);

/* Fill in the members for TLS. The frame refers to memory that is valid until certificate_load(). */
extern void certificate_configure(WireConfig *config);

#endif /* PG_NOTIFYD_CERTIFICATE_H */
