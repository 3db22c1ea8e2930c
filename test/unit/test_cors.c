/* What pages of other origins may do with the API. */
#include "unit.h"

#include "gateway/http/http_router.h"
#include "gateway/routes/cors.h"

#define ALLOWED "Access-Control-Allow-Origin: "
#define ALL     (HTTP_GET | HTTP_POST | HTTP_OPTIONS)

/* Return the headers of the response to a request with these. */
static const char *
headers(const char *method, const char *lines)
{
	static char text[HTTP_RESPONSE_HEADERS + 1];
	static char buffer[2 * HTTP_HEAD_MAX];
	size_t size =
		(size_t) snprintf(buffer, HTTP_HEAD_MAX, "%s /x HTTP/1.1\r\n%s\r\n", method, lines);
	HttpRequest request;
	HttpResponse response;

	assert_null(http_request_parse(buffer, size, &request));
	http_response_bytes(&response, 200, NULL, NULL, 0);
	cors_complete(&request, ALL, "https://app.example.com", &response);
	memcpy(text, response.headers, response.headers_len);
	text[response.headers_len] = '\0';
	return text;
}

static void
test_origins(void **state)
{
	(void) state;
	assert_string_equal(headers("GET", ""), "Vary: Origin\r\n");
	assert_string_equal(headers("GET", "Origin: https://evil.com\r\n"), "Vary: Origin\r\n");
	assert_string_equal(headers("GET", "Origin: null\r\n"), "Vary: Origin\r\n");
	assert_string_equal(headers("OPTIONS", "Origin: https://app.example.com.evil.com\r\n"
										   "Access-Control-Request-Method: GET\r\n"),
						"Vary: Origin\r\n");
	assert_non_null(strstr(headers("GET", "Origin: https://app.example.com\r\n"),
						   "Vary: Origin\r\n" ALLOWED "https://app.example.com\r\n"));
	assert_non_null(strstr(headers("GET", "Origin: http://localhost:3000\r\n"),
						   ALLOWED "http://localhost:3000\r\n"));
	assert_non_null(strstr(headers("GET", "Origin: http://localhost:3000\r\n"),
						   "\r\nAccess-Control-Expose-Headers: Location, ETag, Content-Range, "));
	assert_null(strstr(headers("GET", "Origin: http://localhost:3000\r\n"
									  "Access-Control-Request-Method: GET\r\n"),
					   "Access-Control-Allow-Methods"));
}

static void
test_preflight(void **state)
{
	static char large[2000];
	const char *answer =
		headers("OPTIONS", "Origin: http://localhost\r\nAccess-Control-Request-Method: DELETE\r\n"
						   "Access-Control-Request-Headers: authorization,content-type,x-own\r\n");

	(void) state;
	assert_non_null(strstr(answer, ALLOWED "http://localhost\r\n"));
	assert_non_null(strstr(answer, "\r\nAccess-Control-Allow-Methods: GET, POST, OPTIONS\r\n"));
	assert_non_null(
		strstr(answer, "\r\nAccess-Control-Allow-Headers: authorization,content-type,x-own\r\n"));
	assert_non_null(strstr(answer, "\r\nAccess-Control-Max-Age: 7200\r\n"));
	assert_null(strstr(answer, "Access-Control-Expose-Headers"));
	answer =
		headers("OPTIONS", "Origin: http://localhost\r\nAccess-Control-Request-Method: GET\r\n");
	assert_null(strstr(answer, "Access-Control-Allow-Headers"));
	assert_non_null(strstr(answer, "Access-Control-Allow-Methods"));
	/* No preflight, and one with more headers than any page has. */
	assert_null(strstr(headers("OPTIONS", "Origin: http://localhost\r\n"), "Allow-Methods"));
	snprintf(large, sizeof(large),
			 "Origin: http://localhost\r\nAccess-Control-Request-Method: GET\r\n"
			 "Access-Control-Request-Headers: %01500d\r\n",
			 1);
	assert_null(strstr(headers("OPTIONS", large), "Access-Control-Allow-Headers"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_origins),
		cmocka_unit_test(test_preflight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
