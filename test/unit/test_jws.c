/*
 * Signed tokens: the published examples, and the attacks of RFC 8725, section 2.
 */
#include "unit.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "ext/access/jws.h"

#define CLAIMS                                                                                     \
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnV"  \
	"lfQ"

/* RFC 7515, A.1; the same token is the example of RFC 7519, section 3.1. */
#define HS256_KEY                                                                                  \
	"{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4" \
	"hcgUuTwjAzZr1Z9CAow\"}"
#define HS256_TOKEN                                                                                \
	"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." CLAIMS                                             \
	".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

/* RFC 7515, A.2 */
#define RSA_N                                                                                      \
	"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4" \
	"d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re" \
	"xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX" \
	"FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
#define RS256_KEY "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\"}"
#define RS256_TOKEN                                                                                \
	"eyJhbGciOiJSUzI1NiJ9." CLAIMS                                                                 \
	".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2"   \
	"Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQB"  \
	"MHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2" \
	"w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

/* RFC 7515, A.3 */
#define EC_X        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define EC_Y        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define ES256_KEY   "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}"
#define ES256_INPUT "eyJhbGciOiJFUzI1NiJ9." CLAIMS
#define ES256_TOKEN                                                                                \
	ES256_INPUT                                                                                    \
	".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

/* RFC 8037, A.2 and A.4 */
#define ED25519_KEY                                                                                \
	"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"
#define ED25519_TOKEN                                                                              \
	"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."                                    \
	"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

#define SECRET "0123456789abcdef0123456789abcdef"

static JwsRefusal refusal;

/* "" if the keys, a JWK or JWKS, verify the token, otherwise the refusal. */
static const char *
verify(const char *set, const char *text)
{
	static JwsToken token;
	JwsKeys *keys = jws_keys_new();
	bool good;

	refusal.text[0] = '\0';
	good = jws_keys_add_set(keys, set, strlen(set), &refusal) &&
		   jws_parse(text, strlen(text), &token, &refusal) && jws_verify(&token, keys, &refusal);
	jws_keys_free(keys);
	assert_int_equal(good, refusal.text[0] == '\0');
	return refusal.text;
}

static void
encode(const void *data, size_t length, char *to)
{
	size_t n = EVP_EncodeBlock((unsigned char *) to, data, (int) length);

	for (size_t i = 0; i < n; i++)
		to[i] = to[i] == '+' ? '-' : to[i] == '/' ? '_' : to[i];
	to[strcspn(to, "=")] = '\0';
}

/* A token with this header and payload, signed by HMAC-SHA256 with a secret. */
static const char *
make_token(const char *header, const char *payload, const char *secret)
{
	static char token[12000];
	unsigned char signature[32];

	encode(header, strlen(header), token);
	strcat(token, ".");
	encode(payload, strlen(payload), token + strlen(token));
	HMAC(EVP_sha256(), secret, (int) strlen(secret), (unsigned char *) token, strlen(token),
		 signature, NULL);
	strcat(token, ".");
	encode(signature, sizeof(signature), token + strlen(token));
	return token;
}

/* The same, verified with SECRET. */
static const char *
verify_header(const char *header)
{
	static JwsToken token;
	const char *text = make_token(header, "{}", SECRET);
	JwsKeys *keys = jws_keys_new();

	refusal.text[0] = '\0';
	assert_true(jws_keys_add_secret(keys, SECRET, strlen(SECRET), &refusal));
	if (jws_parse(text, strlen(text), &token, &refusal))
		(void) jws_verify(&token, keys, &refusal);
	jws_keys_free(keys);
	return refusal.text;
}

static void
test_published_examples(void **state)
{
	(void) state;
	assert_string_equal(verify(HS256_KEY, HS256_TOKEN), "");
	assert_string_equal(verify(RS256_KEY, RS256_TOKEN), "");
	assert_string_equal(verify(ES256_KEY, ES256_TOKEN), "");
	assert_string_equal(verify(ED25519_KEY, ED25519_TOKEN), "");
}

static void
test_claims(void **state)
{
	static JwsToken token;
	JsonSlice claims;
	JsonSlice value;
	double exp;
	char issuer[4];

	(void) state;
	assert_true(jws_parse(HS256_TOKEN, strlen(HS256_TOKEN), &token, &refusal));
	assert_true(jws_claims(&token, &claims, &refusal));
	assert_int_equal(slice_member(claims, "exp", &value), SLICE_FOUND);
	assert_true(slice_number(value, &exp));
	assert_true(exp == 1300819380);
	assert_int_equal(slice_member(claims, "iss", &value), SLICE_FOUND);
	assert_true(slice_string(value, issuer, sizeof(issuer)));
	assert_string_equal(issuer, "joe");
	assert_false(slice_string(value, issuer, 3));

	/* RFC 8037's payload is text. */
	assert_true(jws_parse(ED25519_TOKEN, strlen(ED25519_TOKEN), &token, &refusal));
	assert_false(jws_claims(&token, &claims, &refusal));
	assert_string_equal(refusal.text, "JWT payload is not a JSON object");
}

/* Every single changed character makes a token invalid. */
static void
test_changed_tokens(void **state)
{
	static const char *const tokens[][2] = {
		{HS256_KEY, HS256_TOKEN},
		{RS256_KEY, RS256_TOKEN},
		{ES256_KEY, ES256_TOKEN},
		{ED25519_KEY, ED25519_TOKEN},
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(tokens); i++)
	{
		char token[1024];

		for (size_t at = 0; at < strlen(tokens[i][1]); at++)
		{
			strcpy(token, tokens[i][1]);
			token[at] = token[at] == 'A' ? 'B' : 'A';
			assert_string_not_equal(verify(tokens[i][0], token), "");
		}
		for (size_t length = 0; length < strlen(tokens[i][1]); length++)
		{
			snprintf(token, length + 1, "%s", tokens[i][1]);
			assert_string_not_equal(verify(tokens[i][0], token), "");
		}
		/* A signature with another byte behind it. */
		snprintf(token, sizeof(token), "%sA", tokens[i][1]);
		assert_string_equal(verify(tokens[i][0], token), "JWT signature does not match any key");
	}
}

/* RFC 8725, 2.1 and 3.1: no algorithm, unknown ones, and the examples of RFC 7519 and 7515. */
static void
test_algorithms(void **state)
{
	(void) state;
	assert_string_equal(verify(HS256_KEY, "eyJhbGciOiJub25lIn0." CLAIMS "."),
						"algorithm \"none\" is not accepted");
	assert_string_equal(verify_header("{\"alg\":\"nOnE\"}"), "algorithm \"nOnE\" is not accepted");
	assert_string_equal(verify_header("{\"alg\":\"ES512\"}"),
						"algorithm \"ES512\" is not accepted");
	assert_string_equal(verify_header("{\"alg\":\"PS256\"}"),
						"algorithm \"PS256\" is not accepted");
	assert_string_equal(verify_header("{\"alg\":\"hs256\"}"),
						"algorithm \"hs256\" is not accepted");
	assert_string_equal(verify_header("{\"alg\":\"HS256\"}"), "");
	assert_string_equal(verify_header("{}"), "JWT header names no algorithm (\"alg\")");
	assert_string_equal(verify_header("{\"alg\":\"HS256\",\"alg\":\"HS256\"}"),
						"JWT header: \"alg\" is there twice");
	assert_string_equal(verify_header("{\"alg\":[\"HS256\"]}"),
						"JWT header: \"alg\" is empty, too long, or not a string");
	assert_string_equal(verify_header("{\"alg\":\"\\\"\\n\xC3\xA9\"}"),
						"algorithm \"????\" is not accepted");
}

/* RFC 8725, 2.1: a public key is no secret, and a secret no public key. */
static void
test_mixed_up_keys(void **state)
{
	(void) state;
	assert_string_equal(verify(RS256_KEY, make_token("{\"alg\":\"HS256\"}", "{}", RSA_N)),
						"no key for algorithm \"HS256\" is configured");
	assert_string_equal(verify(ES256_KEY, make_token("{\"alg\":\"HS256\"}", "{}", EC_X)),
						"no key for algorithm \"HS256\" is configured");
	assert_string_equal(verify_header("{\"alg\":\"RS256\"}"),
						"no key for algorithm \"RS256\" is configured");
	assert_string_equal(verify_header("{\"alg\":\"EdDSA\"}"),
						"no key for algorithm \"EdDSA\" is configured");
	assert_string_equal(verify(ES256_KEY, RS256_TOKEN),
						"no key for algorithm \"RS256\" is configured");
	/* A curve has one algorithm, and a key with "alg" serves no other (RFC 7517, 4.4). */
	assert_string_equal(verify(ES256_KEY, "eyJhbGciOiJFUzM4NCJ9.e30.AAAA"),
						"no key for algorithm \"ES384\" is configured");
	assert_string_equal(verify("{\"kty\":\"RSA\",\"alg\":\"RS512\",\"n\":\"" RSA_N
							   "\",\"e\":\"AQAB\"}",
							   RS256_TOKEN),
						"no key for algorithm \"RS256\" is configured");
}

/* RFC 8725, 2.2 and 3.5: short secrets, also for the hash; RSA keys that are too short. */
static void
test_weak_keys(void **state)
{
	JwsKeys *keys = jws_keys_new();

	(void) state;
	assert_false(jws_keys_add_secret(keys, SECRET, 31, &refusal));
	assert_string_equal(refusal.text, "a secret must have at least 32 bytes");
	jws_keys_free(keys);
	assert_string_equal(verify("{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}", HS256_TOKEN),
						"key 1: a secret must have at least 32 bytes");
	assert_string_equal(verify_header("{\"alg\":\"HS512\"}"),
						"algorithm \"HS512\" needs a secret of at least 64 bytes, and the "
						"configured one is shorter");
	/* 512 bits */
	assert_string_equal(verify("{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4"
							   "p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzPw\"}",
							   RS256_TOKEN),
						"key 1: an RSA key must have from 2048 to 8192 bits, and this one has 512");
	assert_string_equal(verify("{\"kty\":\"RSA\",\"e\":\"AQ\",\"n\":\"" RSA_N "\"}", RS256_TOKEN),
						"key 1: the members \"n\" and \"e\" make no RSA key of at most 8192 bits");
}

/* RFC 8725, 2.4 and 3.4: a point that is not on the curve, coordinates of another length. */
static void
test_invalid_points(void **state)
{
	(void) state;
	assert_string_equal(verify("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_X
							   "\"}",
							   ES256_TOKEN),
						"key 1: the members \"x\" and \"y\" are no point of the curve");
	assert_string_equal(verify("{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y
							   "\"}",
							   ES256_TOKEN),
						"key 1: the members \"x\" and \"y\" must have 48 bytes each");
	assert_string_equal(
		verify("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}", ED25519_TOKEN),
		"key 1: the member \"x\" must have the 32 bytes of an Ed25519 key");
}

/* RFC 7518, 3.4: r and s with the curve's length each, neither zero nor DER. */
static void
test_ecdsa_signatures(void **state)
{
	unsigned char signature[72] = {0};
	char token[1024];
	static const size_t lengths[] = {0, 63, 64, 65, 72};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(lengths); i++)
	{
		strcpy(token, ES256_INPUT ".");
		encode(signature, lengths[i], token + strlen(token));
		assert_string_equal(verify(ES256_KEY, token), "JWT signature does not match any key");
	}
	/* DER of a valid signature, as OpenSSL writes it. */
	assert_string_equal(
		verify(
			ES256_KEY, ES256_INPUT
			".MEUCIA7RIVN5Y2xIPC9_FVgH1AKjsigDOvl8fheBmsMWnqZlAiEAxQoH04w8cOXY8S2vCEpUgKZlkMXyk1Ca"
			"jz9_ioOjVNU"),
		"JWT signature does not match any key");
}

/* RFC 8725, 2.3, 2.5: encrypted tokens, other forms, limits before any work. */
static void
test_forms(void **state)
{
	static const char *const shapes[] = {"", ".", "a", "a.b", "a.b.c.d", "a.b.c.d.e", "...."};
	static const char three_parts[] = "JWT does not consist of three parts with a dot between them";
	static const char encoding[] = "JWT is not encoded in base64url without padding";
	static JwsToken token;
	char *large = malloc(JWS_MAX_SIZE + 1);

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(shapes); i++)
		assert_string_equal(verify(HS256_KEY, shapes[i]), three_parts);
	memset(large, 'A', JWS_MAX_SIZE + 1);
	assert_false(jws_parse(large, JWS_MAX_SIZE + 1, &token, &refusal));
	assert_string_equal(refusal.text, "JWT is longer than 8192 bytes");
	assert_false(jws_parse(large, JWS_MAX_SIZE, &token, &refusal));
	assert_string_equal(refusal.text, three_parts);
	free(large);

	/* Padding, the other alphabet, spaces, impossible lengths, bits that no encoder sets. */
	assert_string_equal(verify(HS256_KEY, "eyJhbGciOiJIUzI1NiJ9.e30=.AAAA"), encoding);
	assert_string_equal(verify(HS256_KEY, "eyJhbGciOiJIUzI1NiJ9.e30.AA+/"), encoding);
	assert_string_equal(verify(HS256_KEY, "eyJhbGciOiJIUzI1NiJ9.e30.AA A"), encoding);
	assert_string_equal(verify(HS256_KEY, "eyJhbGciOiJIUzI1NiJ9.e30.AAAAA"), encoding);
	assert_string_equal(verify(HS256_KEY, "eyJhbGciOiJIUzI1NiJ9.e31.AAAA"), encoding);
	assert_string_equal(verify(HS256_KEY, " " HS256_TOKEN), encoding);
	assert_string_equal(verify(HS256_KEY, HS256_TOKEN "\n"), encoding);

	assert_string_equal(verify(HS256_KEY, "e30.e30.AAAA"),
						"JWT header names no algorithm (\"alg\")");
	assert_string_equal(verify(HS256_KEY, "W10.e30.AAAA"), "JWT header is not a JSON object");
	assert_string_equal(verify(HS256_KEY, ".e30.AAAA"), "JWT header is not a JSON object");
}

/* RFC 8725, 3.10 and RFC 7515, 4.1: the header gives no key, and demands nothing. */
static void
test_header_members(void **state)
{
	char header[1024];

	(void) state;
	assert_string_equal(verify_header("{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}"),
						"JWT header demands extensions (\"crit\"), which are not supported");
	assert_string_equal(verify_header("{\"alg\":\"HS256\",\"crit\":null}"),
						"JWT header demands extensions (\"crit\"), which are not supported");
	snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"jwk\":%s,\"jku\":\"https://x/\"}",
			 HS256_KEY);
	assert_string_equal(
		verify("{\"kty\":\"oct\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
			   make_token(header, "{}", SECRET)),
		"JWT signature does not match any key");
	assert_string_equal(verify_header("{\"alg\":\"HS256\",\"kid\":\"a\",\"kid\":\"b\"}"),
						"JWT header: \"kid\" is there twice");
	assert_string_equal(verify_header("{\"alg\":\"HS256\",\"kid\":7}"),
						"JWT header: \"kid\" is empty, too long, or not a string");
	/* SQL or a path in kid is only a name. */
	assert_string_equal(verify_header("{\"alg\":\"HS256\",\"kid\":\"../../etc/passwd\"}"), "");
}

/* kid picks a key; without one all are tried; keys for something else are left out. */
static void
test_key_sets(void **state)
{
	static const char set[] =
		"{\"keys\":["
		"{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AAAA\",\"y\":\"AAAA\"},"
		"{\"kty\":\"RSA\",\"use\":\"enc\",\"n\":\"AAAA\",\"e\":\"AAAA\"},"
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"key_ops\":[\"sign\"],\"x\":\"A\",\"y\":\"A\"},"
		"{\"kty\":\"oct\",\"kid\":\"b\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"},"
		"{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}]}";

	(void) state;
	assert_string_equal(verify(set, make_token("{\"alg\":\"HS256\"}", "{}", SECRET)), "");
	assert_string_equal(verify(set, make_token("{\"alg\":\"HS256\",\"kid\":\"a\"}", "{}", SECRET)),
						"");
	assert_string_equal(verify(set, make_token("{\"alg\":\"HS256\",\"kid\":\"b\"}", "{}", SECRET)),
						"JWT signature does not match any key");
	assert_string_equal(verify(set, make_token("{\"alg\":\"HS256\",\"kid\":\"c\"}", "{}", SECRET)),
						"no key for algorithm \"HS256\" has the kid \"c\"");
}

static void
test_wrong_key_sets(void **state)
{
	(void) state;
	assert_string_equal(verify("", ""), "it is not a JSON object");
	assert_string_equal(verify("{\"keys\":1}", ""), "its member \"keys\" is not an array");
	assert_string_equal(verify("{\"keys\":[]}", ""), "it has no key for the supported algorithms");
	assert_string_equal(verify("{\"keys\":[1]}", ""), "key 1: it is not a JSON object");
	assert_string_equal(verify("{\"keys\":[{}]}", ""), "key 1: it has no member \"kty\"");
	assert_string_equal(verify("{\"keys\":[" HS256_KEY ",{\"kty\":\"oct\"}]}", ""),
						"key 2: the member \"k\" is not base64url");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_examples),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_changed_tokens),
		cmocka_unit_test(test_algorithms),
		cmocka_unit_test(test_mixed_up_keys),
		cmocka_unit_test(test_weak_keys),
		cmocka_unit_test(test_invalid_points),
		cmocka_unit_test(test_ecdsa_signatures),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_header_members),
		cmocka_unit_test(test_key_sets),
		cmocka_unit_test(test_wrong_key_sets),
	};

	return cmocka_run_group_tests_name("jws", tests, NULL, NULL);
}
