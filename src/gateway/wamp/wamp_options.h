/*-------------------------------------------------------------------------
 *
 * wamp_options.h
 *	  The options of WAMP's messages that have a meaning here, or in the specification: their types.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_OPTIONS_H
#define GATEWAY_WAMP_OPTIONS_H

#include <stdbool.h>

#include <jansson.h>

#include "gateway/wamp/wamp_type.h"

/*
 * Check Options or Details of a message of this type, an object. Returns NULL, or the name of the
 * option with a wrong value; *expected is what the value must be, such as "true or false". Options
 * that are not known are ignored, as the specification demands.
 */
extern const char *wamp_options_wrong(WampType type, const json_t *options, const char **expected);

/*
 * Whether options, which have been checked, say that the payload is for its receiver alone, by payload
 * passthru. Copy these options to an object.
 */
extern bool wamp_options_opaque(const json_t *options);
extern void wamp_options_copy_opaque(json_t *to, const json_t *options);

#endif /* GATEWAY_WAMP_OPTIONS_H */
