/*-------------------------------------------------------------------------
 *
 * tls_records.c
 *	  What a client sends during a handshake, before OpenSSL reads it.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/tls/tls_records.h"

#define TLS_RECORD_HEADER  5
#define TLS_MESSAGE_HEADER 4

/* Types of records (RFC 8446, 5.1), and of a message (4). */
#define TLS_CHANGE_CIPHER_SPEC 20
#define TLS_HANDSHAKE_RECORD   22
#define TLS_APPLICATION_DATA   23
#define TLS_CLIENT_HELLO       1

/* The lengthening of a record by encryption: TLS 1.2 allows most (RFC 5246, 6.2.3). */
#define TLS_RECORD_GROWTH 2048

/* Take a whole record of the handshake. */
static bool
tls_records_take_message(TlsRecords *records, const uint8_t *message, size_t len)
{
	if (records->hello_over)
		return true;
	if (records->hello_left == 0)
	{
		/* No client divides these four bytes. */
		if (len < TLS_MESSAGE_HEADER)
			return false;
		records->hello_over = message[0] != TLS_CLIENT_HELLO;
		if (records->hello_over)
			return true;
		records->hello_left = TLS_MESSAGE_HEADER +
							  ((size_t) message[1] << 16 | (size_t) message[2] << 8 | message[3]);
		if (records->hello_left > TLS_HELLO_MAX)
			return false;
	}
	/* After a ClientHello it is the server's turn. */
	if (len > records->hello_left)
		return false;
	records->hello_left -= len;
	return true;
}

bool
tls_records_take(TlsRecords *records, const uint8_t *data, size_t len, size_t *whole)
{
	while (*whole < len)
	{
		const uint8_t *record = data + *whole;
		size_t left = len - *whole;
		size_t body = left < TLS_RECORD_HEADER ? 0 : (size_t) record[3] << 8 | record[4];

		if (record[0] < TLS_CHANGE_CIPHER_SPEC || record[0] > TLS_APPLICATION_DATA ||
			body > TLS_RECORD_MAX + TLS_RECORD_GROWTH)
			records->foreign = true;
		if (records->foreign)
		{
			*whole = len;
			return true;
		}
		if (left < TLS_RECORD_HEADER + body)
			return true;
		if (record[0] == TLS_HANDSHAKE_RECORD &&
			!tls_records_take_message(records, record + TLS_RECORD_HEADER, body))
			return false;
		*whole += TLS_RECORD_HEADER + body;
	}
	return true;
}
