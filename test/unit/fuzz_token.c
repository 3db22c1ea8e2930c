/*
 * Fuzz target for tokens, key sets, and the JSON in them.
 */
#include <assert.h>
#include <string.h>

#include "ext/access/jws.h"
#include "fuzz.h"

static const char fuzz_secret[] =
	"a secret with more than 64 bytes, so that it fits every algorithm";

static void
fuzz_json(const char *text, size_t length)
{
	static const char *const paths[] = {"role", "$.a.b[1]", ".\"x\".y", "[0][0]", "exp"};
	JsonSlice root;
	char buf[64];
	double number;

	if (!slice_parse(text, length, &root))
		return;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
	{
		JsonSlice value;

		if (slice_path(root, paths[i], &value) != SLICE_FOUND)
			continue;
		assert(value.text >= root.text && value.text + value.length <= root.text + root.length);
		(void) slice_string(value, buf, sizeof(buf));
		(void) slice_number(value, &number);
	}
}

static void
fuzz_jws(const char *text, size_t length)
{
	static JwsToken token;
	JwsRefusal refusal;
	JsonSlice claims;
	JwsKeys *keys;

	if (!jws_parse(text, length, &token, &refusal))
	{
		assert(memchr(refusal.text, '\0', sizeof(refusal.text)) != NULL);
		return;
	}
	assert(length <= JWS_MAX_SIZE && token.algorithm < JWS_ALGORITHMS);
	keys = jws_keys_new();
	if (keys != NULL && jws_keys_add_secret(keys, fuzz_secret, sizeof(fuzz_secret) - 1, &refusal) &&
		jws_verify(&token, keys, &refusal))
		assert(token.algorithm <= JWS_HS512);
	jws_keys_free(keys);
	if (jws_claims(&token, &claims, &refusal))
		fuzz_json(claims.text, claims.length);
}

static void
fuzz_keys(const char *text, size_t length)
{
	JwsRefusal refusal;
	JwsKeys *keys = jws_keys_new();

	if (keys != NULL)
		(void) jws_keys_add_set(keys, text, length, &refusal);
	jws_keys_free(keys);
}

/* A path as text, and then the document. */
static void
fuzz_path(const char *text, size_t length)
{
	char path[100];
	const char *colon = memchr(text, ':', length);
	JsonSlice root;
	JsonSlice value;
	size_t n = colon != NULL ? (size_t) (colon - text) : length;

	if (colon == NULL || n >= sizeof(path))
		return;
	memcpy(path, text, n);
	path[n] = '\0';
	if (slice_path_valid(path) && slice_parse(colon + 1, length - n - 1, &root))
		(void) slice_path(root, path, &value);
}

int
fuzz_token(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data + 1;

	if (size == 0)
		return 0;
	switch (data[0])
	{
		case 'k':
			fuzz_keys(text, size - 1);
			break;
		case 'j':
			fuzz_json(text, size - 1);
			break;
		case 'p':
			fuzz_path(text, size - 1);
			break;
		default:
			fuzz_jws(text, size - 1);
	}
	return 0;
}
