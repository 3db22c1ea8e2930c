/* Fuzz target for tokens, key sets, paths, filters and HTTP. */
#ifndef FUZZ_JWS_H
#define FUZZ_JWS_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's interface: aborts if a contract of jws.h or json_slice.h does not hold. */
extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same for text that may be JSON. */
extern void fuzz_json(const char *text, size_t length);

/* The part for filters: aborts if a contract of filter_parse.h does not hold. */
extern void fuzz_filter(const char *text, size_t length);

/*
 * The part for HTTP: aborts if requests are answered differently in pieces, whose size the first
 * byte gives.
 */
extern void fuzz_http(const char *text, size_t length);

#endif /* FUZZ_JWS_H */
