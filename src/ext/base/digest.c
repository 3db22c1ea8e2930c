/*-------------------------------------------------------------------------
 *
 * digest.c
 *	  SHA-256 of short texts.
 *
 * OpenSSL 3 looks up an algorithm by its name in SHA256() and in EVP_sha256(), which takes longer than the hash of a short
 * text. So the algorithm is looked up once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "ext/base/digest.h"

static EVP_MD_CTX *digest_context; /* NULL: not used yet */

static void
digest_begin(void)
{
	EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool done = sha256 != NULL && context != NULL && EVP_DigestInit_ex(context, sha256, NULL) == 1;

	EVP_MD_free(sha256);
	if (!done)
	{
		EVP_MD_CTX_free(context);
		elog(ERROR, "OpenSSL has no SHA-256");
	}
	digest_context = context;
}

void
digest_sha256(const char *data, size_t length, uint8 *digest)
{
	if (digest_context == NULL)
		digest_begin();
	if (EVP_DigestInit_ex(digest_context, NULL, NULL) != 1 ||
		EVP_DigestUpdate(digest_context, data, length) != 1 ||
		EVP_DigestFinal_ex(digest_context, digest, NULL) != 1)
		elog(ERROR, "could not compute SHA-256");
}
