"""The tokens of clients: who issues them, and what has revoked them.

Times without another name are those of time.monotonic(). A token has times of the server's wall clock, which a nemesis
sets; cluster.Clock converts them.
"""

import base64
import collections
import hashlib
import hmac
import json
import time

import psycopg2

SECRET = "a secret of the fault checker, 48 bytes long ...."
ROLE = "customer"
SKEW = 30           # for so many s after its expiry a new connection may present a token

# claims, before: as for notify_disconnect(), the time in s since 1970. asked, committed: when it was called and when it had
# returned; None: nobody knows whether it was committed.
Revocation = collections.namedtuple("Revocation", "claims before asked committed")

# The role of tokens was not granted to the authenticator, from (revoked) the end of REVOKE to (granted) the beginning of
# GRANT for sure, and from asked to done perhaps.
Expulsion = collections.namedtuple("Expulsion", "asked revoked granted done")


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(claims):
    """A JSON Web Token with these claims."""
    text = "%s.%s" % (encode(b'{"alg":"HS256"}'), encode(json.dumps(claims).encode()))
    return "%s.%s" % (text, encode(hmac.digest(SECRET.encode(), text.encode(), hashlib.sha256)))


def contains(claims, part):
    return part.items() <= claims.items()


def revoked_at(revocations, claims):
    """From when on this token was revoked for sure, or None."""
    times = [each.committed for each in revocations
             if each.committed is not None and claims["iat"] < each.before - 0.01 and contains(claims, each.claims)]
    return min(times, default=None)


class Issuer:
    """Issues tokens and revokes them. Clients' loop and nemesis' thread use it at the same time; what is in its lists is
    never changed, only replaced."""

    def __init__(self, server):
        self.server = server
        self.clock = server.wall
        self.revocations = []
        self.expulsions = []
        self.claims = {}        # client -> claims of its latest token
        self.generations = {}   # client -> number in its subject
        self.count = 0

    # ---------------- tokens ----------------

    def claims_of(self, client):
        generation = self.generations.get(client, 0)
        self.count += 1
        return {"role": ROLE, "sub": "%s/%d" % (client, generation), "session_id": "session %d" % self.count,
                "team": "team %d/%d" % (len(client) % 2, generation)}

    def issue(self, client, life, late=False):
        """
        Claims of a token that is valid for so many seconds from now on; late: because it has expired within the skew. A
        client of which tokens that are issued now may be refused becomes another subject.
        """
        while True:
            claims = self.claims_of(client)
            now = self.clock.now()
            claims["iat"] = round(now - (SKEW + 10 if late else 0), 3)
            claims["exp"] = round(now + life - (SKEW if late else 0), 3)
            if not self.may_be_revoked(claims):
                self.claims[client] = claims
                return claims
            late = False
            self.generations[client] = self.generations.get(client, 0) + 1

    def may_be_revoked(self, claims):
        return any(claims["iat"] < each.before + 0.01 and contains(claims, each.claims)
                   for each in list(self.revocations))

    def may_be_expelled(self, begin, end):
        """Whether tokens might not choose their role at some time between begin and end, or shortly before."""
        return any(each.asked <= end and begin <= each.done + 3 for each in list(self.expulsions))

    # ---------------- revocation ----------------

    def revoke(self, rng):
        """Disconnect a session, a subject or a team. Returns whether this was committed, as far as is known."""
        if not self.claims:
            return False
        claims = self.claims[rng.choice(sorted(self.claims))]
        name = rng.choices(("session_id", "sub", "team"), (5, 4, 1))[0]
        part = {name: claims[name]}
        forever = name == "session_id" and rng.random() < 0.5
        asked = time.monotonic()
        place = len(self.revocations)
        self.revocations.append(Revocation(part, float("inf"), asked, None))
        before = self.disconnect(part, forever)
        if before is None:
            self.revocations[place] = Revocation(part, self.clock.now() + 1, asked, None)
            return False
        self.revocations[place] = Revocation(part, before, asked, time.monotonic())
        return True

    def disconnect(self, claims, forever):
        """Call notify_disconnect(). Returns its second argument, or None after an error."""
        connection = None
        try:
            connection = self.server.connect(options="-c lock_timeout=300 -c statement_timeout=10000")
            cursor = connection.cursor()
            cursor.execute("SELECT extract(epoch FROM b)::float8, notify_disconnect(%s, b) FROM"
                           " (VALUES (" + ("timestamptz 'infinity'" if forever else "now()") + ")) AS v (b)",
                           (json.dumps(claims),))
            return cursor.fetchone()[0]
        except psycopg2.Error:
            return None
        finally:
            if connection is not None:
                connection.close()

    def expel(self, attempt, pause, grant):
        """
        Revoke the membership that lets tokens choose their role, pause() and grant it again. attempt(sql) returns whether
        that worked, grant(sql) does it for sure. Returns whether the role was revoked.
        """
        place = len(self.expulsions)
        asked = time.monotonic()
        self.expulsions.append(Expulsion(asked, float("inf"), float("inf"), float("inf")))
        worked = attempt("REVOKE %s FROM authenticator" % ROLE)
        revoked = time.monotonic()
        if worked:
            pause()
        granted = time.monotonic()
        grant("GRANT %s TO authenticator" % ROLE)
        self.expulsions[place] = Expulsion(asked, revoked if worked else float("inf"), granted, time.monotonic())
        return worked
