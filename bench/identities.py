"""Tokens for clients, and the settings with which the server accepts them."""

import json
import os
import subprocess
import sys
import time

TOKENS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../test/lib/tokens.py")


def make_tokens(bench, requests):
    """Let the server accept tokens for the role "customer", and return a token for each (algorithm, subject)."""
    now = int(time.time())
    claims = {"iss": "https://shop.example/auth", "role": "customer", "aud": "shop", "iat": now, "exp": now + 86400,
              "session_id": "a1c3d2f8-53e1-4c0f-8c1d-0a6f1c2d3e4f"}
    lines = "".join(json.dumps({"alg": algorithm, "claims": dict(claims, sub=subject)}) + "\n"
                    for algorithm, subject in requests)
    made = subprocess.run([sys.executable, TOKENS, bench.work], input=lines, stdout=subprocess.PIPE, text=True, check=True)
    bench.cluster.sql("CREATE ROLE authenticator LOGIN NOINHERIT; CREATE ROLE customer; GRANT customer TO authenticator")
    bench.cluster.set(authenticator_role="authenticator", jwt_audience="shop", jwt_secret="@%s/secret" % bench.work,
                      jwt_keys="%s/keys.json" % bench.work)
    return made.stdout.split()
