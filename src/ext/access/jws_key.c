/*-------------------------------------------------------------------------
 *
 * jws_key.c
 *	  Keys that signed tokens are verified with, from secrets and from JWKs (RFC 7517, 7518, 8037).
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "ext/access/jws_internal.h"

/* The longest member of a key, in characters of base64url: the modulus of the largest RSA key. */
#define JWS_MAX_MEMBER ((JWS_MAX_RSA / 8 * 4 + 2) / 3)

JwsKeys *
jws_keys_new(void)
{
	return calloc(1, sizeof(JwsKeys));
}

void
jws_keys_free(JwsKeys *keys)
{
	if (keys == NULL)
		return;
	for (int i = 0; i < keys->n; i++)
	{
		EVP_PKEY_free(keys->keys[i].public_key);
		if (keys->keys[i].secret != NULL)
			OPENSSL_cleanse(keys->keys[i].secret, keys->keys[i].secret_length);
		free(keys->keys[i].secret);
	}
	free(keys);
}

int
jws_keys_count(const JwsKeys *keys)
{
	return keys->n;
}

/* Append a copy of key, which is given away. */
static bool
jws_keys_add(JwsKeys *keys, const JwsKey *key, JwsRefusal *refusal)
{
	if (keys->n == JWS_MAX_KEYS)
	{
		EVP_PKEY_free(key->public_key);
		free(key->secret);
		return jws_refuse(refusal, "there are more than %d keys", JWS_MAX_KEYS);
	}
	keys->keys[keys->n++] = *key;
	return true;
}

static bool
jws_key_set_secret(JwsKey *key, const void *secret, size_t length, JwsRefusal *refusal)
{
	if (length < JWS_MIN_SECRET)
		return jws_refuse(refusal, "a secret must have at least %d bytes", JWS_MIN_SECRET);
	key->kind = JWS_SECRET;
	key->secret = malloc(length);
	if (key->secret == NULL)
		return jws_refuse(refusal, "out of memory");
	memcpy(key->secret, secret, length);
	key->secret_length = length;
	return true;
}

bool
jws_keys_add_secret(JwsKeys *keys, const void *secret, size_t length, JwsRefusal *refusal)
{
	JwsKey key = {.algorithm = -1};

	return jws_key_set_secret(&key, secret, length, refusal) && jws_keys_add(keys, &key, refusal);
}

/* A member of a JWK that is base64url. Returns its bytes, up to JWS_MAX_RSA / 8, or -1. */
static int
jws_member_bytes(JsonSlice jwk, const char *name, unsigned char *to)
{
	char text[JWS_MAX_MEMBER + 1];
	JsonSlice value;
	int length = -1;

	if (slice_member(jwk, name, &value) == SLICE_FOUND && slice_string(value, text, sizeof(text)) &&
		text[0] != '\0')
		length = jws_decode(text, strlen(text), to);
	OPENSSL_cleanse(text, sizeof(text));
	return length;
}

/* A public key of OpenSSL from parameters; NULL if they make none. */
static EVP_PKEY *
jws_public_key(const char *type, OSSL_PARAM_BLD *builder)
{
	EVP_PKEY *key = NULL;
	OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

	if (parameters == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
		EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(parameters);
	return key;
}

/* The exponent is bounded, too: verification takes time in proportion to its bits. */
static bool
jws_key_set_rsa(JwsKey *key, JsonSlice jwk, JwsRefusal *refusal)
{
	unsigned char n[JWS_MAX_RSA / 8 + 1];
	unsigned char e[JWS_MAX_RSA / 8 + 1];
	int n_length = jws_member_bytes(jwk, "n", n);
	int e_length = jws_member_bytes(jwk, "e", e);
	BIGNUM *modulus = n_length > 0 ? BN_bin2bn(n, n_length, NULL) : NULL;
	BIGNUM *exponent = e_length > 0 ? BN_bin2bn(e, e_length, NULL) : NULL;
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	bool right = true;

	key->kind = JWS_RSA;
	if (modulus == NULL || exponent == NULL || BN_num_bits(exponent) > 64 || !BN_is_odd(exponent) ||
		BN_is_one(exponent))
		right = jws_refuse(
			refusal, "the members \"n\" and \"e\" make no RSA key of at most %d bits", JWS_MAX_RSA);
	else if (BN_num_bits(modulus) < JWS_MIN_RSA || BN_num_bits(modulus) > JWS_MAX_RSA)
		right = jws_refuse(refusal, "an RSA key must have from %d to %d bits, and this one has %d",
						   JWS_MIN_RSA, JWS_MAX_RSA, BN_num_bits(modulus));
	else
	{
		if (builder != NULL && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) &&
			OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent))
			key->public_key = jws_public_key("RSA", builder);
		if (key->public_key == NULL)
			right = jws_refuse(refusal, "OpenSSL does not accept the RSA key");
	}
	OSSL_PARAM_BLD_free(builder);
	BN_free(modulus);
	BN_free(exponent);
	return right;
}

/* OpenSSL refuses a point that is not on the curve. */
static bool
jws_key_set_ec(JwsKey *key, JsonSlice jwk, JwsKind kind, JwsRefusal *refusal)
{
	unsigned char point[1 + 2 * (JWS_MAX_RSA / 8 + 1)];
	int size = kind == JWS_P256 ? 32 : 48;
	const char *curve = kind == JWS_P256 ? "prime256v1" : "secp384r1";
	OSSL_PARAM_BLD *builder;

	key->kind = kind;
	point[0] = 4; /* uncompressed */
	if (jws_member_bytes(jwk, "x", point + 1) != size ||
		jws_member_bytes(jwk, "y", point + 1 + size) != size)
		return jws_refuse(refusal, "the members \"x\" and \"y\" must have %d bytes each", size);
	builder = OSSL_PARAM_BLD_new();
	if (builder != NULL &&
		OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0) &&
		OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * size))
		key->public_key = jws_public_key("EC", builder);
	OSSL_PARAM_BLD_free(builder);
	return key->public_key != NULL ||
		   jws_refuse(refusal, "the members \"x\" and \"y\" are no point of the curve");
}

static bool
jws_key_set_ed25519(JwsKey *key, JsonSlice jwk, JwsRefusal *refusal)
{
	unsigned char x[JWS_MAX_RSA / 8 + 1];
	int length = jws_member_bytes(jwk, "x", x);

	key->kind = JWS_ED25519;
	if (length == 32)
		key->public_key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, 32);
	return key->public_key != NULL ||
		   jws_refuse(refusal, "the member \"x\" must have the 32 bytes of an Ed25519 key");
}

static bool
jws_key_set_oct(JwsKey *key, JsonSlice jwk, JwsRefusal *refusal)
{
	unsigned char secret[JWS_MAX_RSA / 8 + 1];
	int length = jws_member_bytes(jwk, "k", secret);
	bool right = length < 0 ? jws_refuse(refusal, "the member \"k\" is not base64url")
							: jws_key_set_secret(key, secret, length, refusal);

	OPENSSL_cleanse(secret, sizeof(secret));
	return right;
}

/* Whether a JWK may verify signatures, by "use" and "key_ops" (RFC 7517 sections 4.2 and 4.3). */
static bool
jws_jwk_verifies(JsonSlice jwk, const char *use)
{
	JsonSlice operations;
	JsonSlice operation = {NULL, 0};
	char name[16];

	if (use[0] != '\0' && strcmp(use, "sig") != 0)
		return false;
	if (slice_member(jwk, "key_ops", &operations) == SLICE_ABSENT)
		return true;
	while (slice_next(operations, &operation))
	{
		if (slice_string(operation, name, sizeof(name)) && strcmp(name, "verify") == 0)
			return true;
	}
	return false;
}

/* Make a key of a JWK. *mine is false if it is for something else. */
static bool
jws_read_jwk(JsonSlice jwk, JwsKey *key, bool *mine, JwsRefusal *refusal)
{
	char type[16 + SLICE_MAX_NAME];
	char curve[sizeof(type)];
	char use[sizeof(type)];
	char algorithm[sizeof(type)];

	if (slice_kind(jwk) != '{')
		return jws_refuse(refusal, "it is not a JSON object");
	if (!jws_text(jwk, "kty", type, sizeof(type), refusal) ||
		!jws_text(jwk, "crv", curve, sizeof(curve), refusal) ||
		!jws_text(jwk, "use", use, sizeof(use), refusal) ||
		!jws_text(jwk, "alg", algorithm, sizeof(algorithm), refusal) ||
		!jws_text(jwk, "kid", key->kid, sizeof(key->kid), refusal))
		return false;
	if (type[0] == '\0')
		return jws_refuse(refusal, "it has no member \"kty\"");

	key->algorithm = algorithm[0] != '\0' ? jws_algorithm_number(algorithm) : -1;
	*mine = jws_jwk_verifies(jwk, use) && (algorithm[0] == '\0' || key->algorithm >= 0);
	if (*mine && strcmp(type, "oct") == 0)
		return jws_key_set_oct(key, jwk, refusal);
	if (*mine && strcmp(type, "RSA") == 0)
		return jws_key_set_rsa(key, jwk, refusal);
	if (*mine && strcmp(type, "EC") == 0 && strcmp(curve, "P-256") == 0)
		return jws_key_set_ec(key, jwk, JWS_P256, refusal);
	if (*mine && strcmp(type, "EC") == 0 && strcmp(curve, "P-384") == 0)
		return jws_key_set_ec(key, jwk, JWS_P384, refusal);
	if (*mine && strcmp(type, "OKP") == 0 && strcmp(curve, "Ed25519") == 0)
		return jws_key_set_ed25519(key, jwk, refusal);
	*mine = false;
	return true;
}

/* Add a JWK to the set, if it is for our algorithms. number: from 1 on, for the message. */
static bool
jws_add_jwk(JwsKeys *keys, JsonSlice jwk, int number, JwsRefusal *refusal)
{
	JwsKey key = {.algorithm = -1};
	JwsRefusal reason;
	bool mine = false;

	if (!jws_read_jwk(jwk, &key, &mine, &reason))
		return jws_refuse(refusal, "key %d: %s", number, reason.text);
	return !mine || jws_keys_add(keys, &key, refusal);
}

bool
jws_keys_add_set(JwsKeys *keys, const char *text, size_t length, JwsRefusal *refusal)
{
	JsonSlice document;
	JsonSlice list;
	JsonSlice jwk = {NULL, 0};
	int before = keys->n;
	bool right = true;

	if (length > JWS_MAX_SET_SIZE)
		return jws_refuse(refusal, "it is longer than %d bytes", JWS_MAX_SET_SIZE);
	if (!slice_parse(text, length, &document) || slice_kind(document) != '{')
		return jws_refuse(refusal, "it is not a JSON object");

	ERR_set_mark();
	if (slice_member(document, "keys", &list) == SLICE_ABSENT)
		right = jws_add_jwk(keys, document, 1, refusal);
	else if (slice_kind(list) != '[')
		right = jws_refuse(refusal, "its member \"keys\" is not an array");
	else
	{
		for (int i = 1; right && slice_next(list, &jwk); i++)
			right = jws_add_jwk(keys, jwk, i, refusal);
	}
	ERR_pop_to_mark();
	if (right && keys->n == before)
		right = jws_refuse(refusal, "it has no key for the supported algorithms");
	return right;
}
