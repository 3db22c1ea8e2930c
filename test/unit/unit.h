/* What every unit test needs; cmocka.h wants the headers before it. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNIT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Bounds included. cmocka 2 has one name for it, older releases have another. */
#define assert_between(value, least, most) assert_true((value) >= (least) && (value) <= (most))

#endif /* UNIT_H */
