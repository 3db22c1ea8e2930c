/*-------------------------------------------------------------------------
 *
 * jws.c
 *	  Signed tokens: splitting, reading the header, verifying. See jws.h.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>

#include "ext/access/jws_internal.h"

const JwsAlgorithmRow jws_algorithms[JWS_ALGORITHMS] = {
	[JWS_HS256] = {"HS256", JWS_SECRET, EVP_sha256},
	[JWS_HS384] = {"HS384", JWS_SECRET, EVP_sha384},
	[JWS_HS512] = {"HS512", JWS_SECRET, EVP_sha512},
	[JWS_RS256] = {"RS256", JWS_RSA, EVP_sha256},
	[JWS_RS384] = {"RS384", JWS_RSA, EVP_sha384},
	[JWS_RS512] = {"RS512", JWS_RSA, EVP_sha512},
	[JWS_ES256] = {"ES256", JWS_P256, EVP_sha256},
	[JWS_ES384] = {"ES384", JWS_P384, EVP_sha384},
	[JWS_EDDSA] = {"EdDSA", JWS_ED25519, NULL},
};

bool
jws_refuse(JwsRefusal *refusal, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(refusal->text, sizeof(refusal->text), format, args);
	va_end(args);
	return false;
}

int
jws_algorithm_number(const char *name)
{
	for (int i = 0; i < JWS_ALGORITHMS; i++)
	{
		if (strcmp(jws_algorithms[i].name, name) == 0)
			return i;
	}
	return -1;
}

static int
jws_base64url_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int
jws_decode(const char *text, size_t length, unsigned char *to)
{
	unsigned char *start = to;
	uint32_t bits = 0;
	int nbits = 0;

	if (length % 4 == 1)
		return -1;
	for (size_t i = 0; i < length; i++)
	{
		int value = jws_base64url_value(text[i]);

		if (value < 0)
			return -1;
		bits = bits << 6 | (uint32_t) value;
		nbits += 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			*to++ = (unsigned char) (bits >> nbits);
			bits &= (1u << nbits) - 1;
		}
	}
	return bits == 0 ? (int) (to - start) : -1;
}

/* A name from outside, for a message: printable, and not long. */
static const char *
jws_printable(const char *text, char *buf, size_t size)
{
	size_t n = 0;

	for (; text[n] != '\0' && n < size - 1; n++)
		buf[n] = text[n] >= ' ' && text[n] <= '~' && text[n] != '"' ? text[n] : '?';
	buf[n] = '\0';
	return buf;
}

bool
jws_text(JsonSlice object, const char *name, char *buf, size_t size, JwsRefusal *refusal)
{
	JsonSlice value;

	buf[0] = '\0';
	switch (slice_member(object, name, &value))
	{
		case SLICE_ABSENT:
			return true;
		case SLICE_TWICE:
			return jws_refuse(refusal, "\"%s\" is there twice", name);
		case SLICE_FOUND:
			break;
	}
	if (slice_string(value, buf, size) && buf[0] != '\0')
		return true;
	return jws_refuse(refusal, "\"%s\" is empty, too long, or not a string", name);
}

/* The header: which algorithm and key (RFC 7515 section 4). */
static bool
jws_read_header(const unsigned char *text, size_t length, JwsToken *token, JwsRefusal *refusal)
{
	JsonSlice header;
	JsonSlice ignored;
	JwsRefusal reason;
	char name[SLICE_MAX_NAME + 1];
	char shown[40];
	int algorithm;

	if (!slice_parse((const char *) text, length, &header) || slice_kind(header) != '{')
		return jws_refuse(refusal, "JWT header is not a JSON object");
	if (!jws_text(header, "alg", name, sizeof(name), &reason) ||
		!jws_text(header, "kid", token->kid, sizeof(token->kid), &reason))
		return jws_refuse(refusal, "JWT header: %s", reason.text);
	if (name[0] == '\0')
		return jws_refuse(refusal, "JWT header names no algorithm (\"alg\")");
	algorithm = jws_algorithm_number(name);
	if (algorithm < 0)
		return jws_refuse(refusal, "algorithm \"%s\" is not accepted",
						  jws_printable(name, shown, sizeof(shown)));
	if (slice_member(header, "crit", &ignored) != SLICE_ABSENT)
		return jws_refuse(refusal, "JWT header demands extensions (\"crit\"), which are not "
								   "supported");
	token->algorithm = (JwsAlgorithm) algorithm;
	return true;
}

bool
jws_parse(const char *text, size_t length, JwsToken *token, JwsRefusal *refusal)
{
	const char *end = text + length;
	const char *payload;
	const char *signature;
	int header_length;
	int payload_length;
	int signature_length;

	if (length > JWS_MAX_SIZE)
		return jws_refuse(refusal, "JWT is longer than %d bytes", JWS_MAX_SIZE);
	payload = memchr(text, '.', length);
	signature = payload != NULL ? memchr(payload + 1, '.', end - payload - 1) : NULL;
	if (signature == NULL || memchr(signature + 1, '.', end - signature - 1) != NULL)
		return jws_refuse(refusal, "JWT does not consist of three parts with a dot between them");

	header_length = jws_decode(text, payload - text, token->decoded);
	payload_length = header_length < 0 ? -1
									   : jws_decode(payload + 1, signature - payload - 1,
													token->decoded + header_length);
	signature_length = payload_length < 0
						   ? -1
						   : jws_decode(signature + 1, end - signature - 1,
										token->decoded + header_length + payload_length);
	if (signature_length < 0)
		return jws_refuse(refusal, "JWT is not encoded in base64url without padding");

	if (!jws_read_header(token->decoded, header_length, token, refusal))
		return false;
	token->payload = token->decoded + header_length;
	token->payload_length = payload_length;
	token->signed_text = text;
	token->signed_length = signature - text;
	token->signature = token->payload + payload_length;
	token->signature_length = signature_length;
	return true;
}

bool
jws_claims(const JwsToken *token, JsonSlice *claims, JwsRefusal *refusal)
{
	return (slice_parse((const char *) token->payload, token->payload_length, claims) &&
			slice_kind(*claims) == '{') ||
		   jws_refuse(refusal, "JWT payload is not a JSON object");
}

static bool
jws_verify_hmac(const JwsToken *token, const JwsKey *key, const EVP_MD *hash)
{
	unsigned char expected[EVP_MAX_MD_SIZE];
	unsigned int length;

	return HMAC(hash, key->secret, (int) key->secret_length,
				(const unsigned char *) token->signed_text, token->signed_length, expected,
				&length) != NULL &&
		   token->signature_length == length &&
		   CRYPTO_memcmp(expected, token->signature, length) == 0;
}

/*
 * OpenSSL wants the DER form of a signature whose form in a JWS is r and s, each as long as the
 * curve's numbers (RFC 7518 section 3.4). Returns its length, 0 if there is none; the caller frees
 * *der.
 */
static int
jws_ecdsa_der(const JwsToken *token, int size, unsigned char **der)
{
	ECDSA_SIG *signature = NULL;
	BIGNUM *r = NULL;
	BIGNUM *s = NULL;
	int length = 0;

	if (token->signature_length == 2 * (size_t) size)
	{
		signature = ECDSA_SIG_new();
		r = BN_bin2bn(token->signature, size, NULL);
		s = BN_bin2bn(token->signature + size, size, NULL);
	}
	if (signature != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(signature, r, s) == 1)
		length = i2d_ECDSA_SIG(signature, der);
	else
	{
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(signature);
	return length > 0 ? length : 0;
}

static bool
jws_verify_public(const JwsToken *token, const JwsKey *key, const EVP_MD *hash)
{
	const unsigned char *signature = token->signature;
	size_t length = token->signature_length;
	unsigned char *der = NULL;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good;

	if (key->kind == JWS_P256 || key->kind == JWS_P384)
	{
		length = jws_ecdsa_der(token, key->kind == JWS_P256 ? 32 : 48, &der);
		signature = der;
	}
	good = context != NULL && length > 0 &&
		   EVP_DigestVerifyInit(context, NULL, hash, NULL, key->public_key) == 1 &&
		   EVP_DigestVerify(context, signature, length, (const unsigned char *) token->signed_text,
							token->signed_length) == 1;
	EVP_MD_CTX_free(context);
	OPENSSL_free(der);
	return good;
}

/* Whether a key is for the token's algorithm, the size of a secret aside. */
static bool
jws_key_fits(const JwsToken *token, const JwsKey *key)
{
	return key->kind == jws_algorithms[token->algorithm].kind &&
		   (key->algorithm < 0 || key->algorithm == (int) token->algorithm);
}

static bool
jws_key_is_named(const JwsToken *token, const JwsKey *key)
{
	return token->kid[0] == '\0' || key->kid[0] == '\0' || strcmp(token->kid, key->kid) == 0;
}

bool
jws_verify(const JwsToken *token, const JwsKeys *keys, JwsRefusal *refusal)
{
	const JwsAlgorithmRow *algorithm = &jws_algorithms[token->algorithm];
	const EVP_MD *hash = algorithm->hash != NULL ? algorithm->hash() : NULL;
	int fitting = 0;
	int named = 0;
	int tried = 0;
	bool good = false;
	char shown[40];

	/* What fails here must not be found in OpenSSL's queue of errors by its other users. */
	ERR_set_mark();
	for (int i = 0; !good && i < keys->n; i++)
	{
		const JwsKey *key = &keys->keys[i];

		if (!jws_key_fits(token, key))
			continue;
		fitting++;
		if (!jws_key_is_named(token, key))
			continue;
		named++;
		if (key->kind != JWS_SECRET)
			good = jws_verify_public(token, key, hash);
		else if (key->secret_length >= (size_t) EVP_MD_get_size(hash))
			good = jws_verify_hmac(token, key, hash);
		else
			continue;
		tried++;
	}
	ERR_pop_to_mark();
	if (good)
		return true;
	if (keys->n == 0)
		return jws_refuse(refusal, "no key to verify a JWT with is configured");
	if (fitting == 0)
		return jws_refuse(refusal, "no key for algorithm \"%s\" is configured", algorithm->name);
	if (named == 0)
		return jws_refuse(refusal, "no key for algorithm \"%s\" has the kid \"%s\"",
						  algorithm->name, jws_printable(token->kid, shown, sizeof(shown)));
	if (tried == 0)
		return jws_refuse(refusal,
						  "algorithm \"%s\" needs a secret of at least %d bytes, and the "
						  "configured one is shorter",
						  algorithm->name, EVP_MD_get_size(hash));
	return jws_refuse(refusal, "JWT signature does not match any key");
}
