/*-------------------------------------------------------------------------
 *
 * sandbox.h
 *	  What the gateway gives up before its first client.
 *
 * A client may find a defect in the gateway and run code of its own in it. That code has what the
 * kernel gives this process, which belongs to the user who owns the data directory. So the process
 * keeps only what serving takes: the descriptors that it has, connections that it accepts, memory,
 * time and random numbers. Two parts of the kernel enforce this. Each refuses most of the attempts
 * alone, so one is a help where the other is not there:
 *
 *	  seccomp	lists the system calls that are allowed (sandbox_calls.c)
 *	  Landlock	refuses files, TCP, signals and abstract sockets, whatever the call
 *				(sandbox_landlock.c)
 *
 * Besides, the process can gain no privileges, is not dumpable, and has limits (sandbox.c).
 * test/unit/test_sandbox.c shows what holds with which part.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_SANDBOX_H
#define GATEWAY_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/wire.h"

/*
 * The sanitizers' run-time library opens files, and its leak checker clones and traces this process.
 * Landlock would refuse that. So a program that is built with them has seccomp alone, with more
 * calls, and counts Landlock among what is missing.
 */
#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

/*
 * Give up everything that the sandbox refuses, for good. Returns the parts that the system does not
 * offer, as WIRE_SANDBOX_ bits. All files that are ever needed have to be open by now, and there
 * must be no other thread.
 */
extern uint8_t sandbox_enter(void);

/* The same with some of the parts, for the test that shows what each refuses. */
extern uint8_t sandbox_enter_parts(uint8_t parts);

/*
 * The part that keeps secrets: there are no core dumps, and other processes of the user cannot read
 * our memory or descriptors (prctl(2)).
 */
extern void sandbox_hide(void);

/* The parts, for sandbox.c. False if the system does not offer it. */
extern bool sandbox_filter_calls(void) __attribute__((warn_unused_result));
extern bool sandbox_restrict(void) __attribute__((warn_unused_result));

#endif /* GATEWAY_SANDBOX_H */
