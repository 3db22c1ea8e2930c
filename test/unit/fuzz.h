/*
 * Fuzz targets: functions that abort if a parser of input from the network breaks its contract.
 *
 * A target NAME is the function fuzz_NAME() in fuzz_NAME.c. Its seeds are the files in
 * test/fixtures/fuzz/NAME, and test/fixtures/fuzz/NAME.dict has words for the fuzzer. `make fuzz
 * TARGET=NAME SECONDS=N` runs it with libFuzzer. test_fuzz.c runs all targets with their seeds and a
 * few random changes of them.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* As libFuzzer calls it. Always returns 0. */
typedef int (*FuzzTarget)(const uint8_t *data, size_t size);

/*
 * Compressed messages: the result is that of a decompressor which gets it byte by byte, and what the
 * gateway compresses becomes the same text again.
 */
extern int fuzz_deflate(const uint8_t *data, size_t size);

/*
 * Filters of subscriptions: the contract of filter_parse.h.
 */
extern int fuzz_filter(const uint8_t *data, size_t size);

/*
 * Frames from a WebSocket client: a second decoder gets the same from them, and pieces of any size
 * and pauses make no difference. The first byte gives the size of the pieces and whether compression
 * was negotiated, the second the pauses.
 */
extern int fuzz_frames(const uint8_t *data, size_t size);

/*
 * HTTP: the same input in pieces of any size gets the same responses, and nothing of a connection
 * is left at its end. The first byte gives the size of the pieces.
 */
extern int fuzz_http(const uint8_t *data, size_t size);

/*
 * JSON-RPC requests: each is answered with JSON and its id, and means the same when it is written
 * differently.
 */
extern int fuzz_jsonrpc(const uint8_t *data, size_t size);

/*
 * What raw clients get of an event: its member "payload", or all of it. The first byte is 'n' for
 * the text of a notification.
 */
extern int fuzz_payload(const uint8_t *data, size_t size);

/*
 * What proxies send. The first byte chooses: 'x' X-Forwarded-For and 'f' Forwarded, whose beginning,
 * from a client, does not change the address that the proxy adds; 'n' lists of networks; else a
 * header of the PROXY protocol, whose pieces of any size make no difference.
 */
extern int fuzz_proxy(const uint8_t *data, size_t size);

/*
 * WAMP in CBOR and MessagePack: what is accepted is JSON, which becomes the same again. The first byte
 * chooses the format, and the direction.
 */
extern int fuzz_serializer(const uint8_t *data, size_t size);

/*
 * The parameters of GET /events, and after a line end the header Last-Event-ID: what is accepted are
 * requests for different channels, and an id that is made of their places has these places.
 */
extern int fuzz_sse(const uint8_t *data, size_t size);

/*
 * Handshakes of TLS: pieces of any size make no difference. The first byte gives the size of the pieces.
 */
extern int fuzz_tls(const uint8_t *data, size_t size);

/*
 * Tokens, and the JSON in them: the contracts of jws.h and json_slice.h. The first byte chooses the
 * kind: 'k' a key set, 'j' JSON, 'p' a path of JSON and a document, else a token.
 */
extern int fuzz_token(const uint8_t *data, size_t size);

/*
 * Messages of WAMP: those are accepted that the specification allows for clients, with the values
 * that another reader of JSON finds, and their arguments go on byte by byte.
 */
extern int fuzz_wamp(const uint8_t *data, size_t size);

#endif /* FUZZ_H */
