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

#endif /* UNIT_H */
