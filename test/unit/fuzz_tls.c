/*
 * Fuzz target for handshakes of TLS, before OpenSSL reads them.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "gateway/tls/tls_records.h"

/* Take records in pieces; whole ones are consumed at once. Sets *whole to their bytes. */
static bool
fuzz_take(const uint8_t *data, size_t size, size_t piece, size_t *whole)
{
	TlsRecords records = {0};
	bool good = true;

	*whole = 0;
	for (size_t len = 0; len < size && good;)
	{
		size_t taken = 0;
		uint8_t *copy;

		len += size - len < piece ? size - len : piece;
		copy = malloc(len - *whole);
		memcpy(copy, data + *whole, len - *whole);
		good = tls_records_take(&records, copy, len - *whole, &taken);
		assert(taken <= len - *whole && records.hello_left <= TLS_HELLO_MAX + (good ? 0 : 1 << 24));
		free(copy);
		*whole += taken;
	}
	return good;
}

int
fuzz_tls(const uint8_t *data, size_t size)
{
	size_t whole;
	size_t pieces;

	if (size < 2)
		return 0;
	assert(fuzz_take(data + 1, size - 1, size, &whole) ==
		   fuzz_take(data + 1, size - 1, 1 + data[0], &pieces));
	assert(pieces == whole);
	return 0;
}
