"""Output of a test in Python, as NotifydTest::Node reads it, and waiting for conditions."""

import asyncio
import atexit
import os
import subprocess
import time

TIMEOUT = int(os.environ.get('PG_TEST_TIMEOUT_DEFAULT', 180))


def ok(good, name):
    print('ok' if good else 'not ok', '-', name, flush=True)
    return good


def same(got, expected, name):
    if not ok(got == expected, name):
        print(f'# got {got!r}, expected {expected!r}', flush=True)


def raises(kind, function, name):
    """Does function() raise this? Returns the exception."""
    try:
        function()
    except kind as problem:
        ok(True, name)
        return problem
    ok(False, name)


def wait_for(condition, what):
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f'timed out waiting for {what}')
        time.sleep(0.01)


async def await_for(condition, what):
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f'timed out waiting for {what}')
        await asyncio.sleep(0.01)


def spawn(command, **options):
    """A program that ends with this one at the latest."""
    process = subprocess.Popen(command, **options)
    atexit.register(lambda: (process.kill(), process.wait()))
    return process
