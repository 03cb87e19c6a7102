"""libpq 18 through pgward: direct TLS, protocol 3.2, cancelling over TLS, SCRAM with TLS on both sides. Fails by an exception."""

import os
import threading
import time

import psycopg

BASE = os.environ["PGWARD"]  # password, no sslmode
CA = os.environ["CA"]
CLEAR = os.environ["CLEAR"]  # to a pgward without TLS
MAJOR = int(os.environ["SERVER_MAJOR"])
NEGOTIATED = 30002 if MAJOR >= 18 else 30000

assert psycopg.pq.version() >= 180000, psycopg.pq.version()


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def story(dsn, tls, protocol):
    """Logs in, writes and reads a sealed value, pipelines, is cancelled, listens."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        expect(bool(conn.pgconn.ssl_in_use) == tls, "TLS")
        expect(conn.info.full_protocol_version == protocol, f"protocol {conn.info.full_protocol_version}")
        conn.execute("DROP TABLE IF EXISTS people")
        conn.execute("CREATE TABLE people (id int PRIMARY KEY, email text)")
        with conn.pipeline(), conn.cursor() as cur:
            for n in range(20):
                cur.execute("INSERT INTO people VALUES (%s, %s)", (n, f"p{n}@example.com"))
        row = conn.execute("SELECT id FROM people WHERE email = %s", ("p7@example.com",)).fetchone()
        expect(row == (7,), row)
        row = conn.execute("SELECT email FROM people WHERE id = %s", (3,), binary=True).fetchone()
        expect(row == ("p3@example.com",), row)

        begun = time.monotonic()
        timer = threading.Timer(0.3, lambda: conn.cancel_safe(timeout=10))
        timer.start()
        try:
            conn.execute("SELECT pg_sleep(20)")
            raise AssertionError("not cancelled")
        except psycopg.errors.QueryCanceled:
            pass
        timer.join()
        expect(time.monotonic() - begun < 10, "cancelled in time")
        expect(conn.execute("SELECT 1").fetchone() == (1,), "the session goes on")


def refused(dsn, *words):
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError as error:
        for word in words:
            expect(word in str(error), f"{word!r} is missing in: {error}")
    else:
        raise AssertionError(f"connected with {dsn}")


verify = f"sslmode=verify-full sslrootcert={CA} channel_binding=disable"
for protocol, agreed in [("", 30000), ("max_protocol_version=3.0", 30000), ("max_protocol_version=3.2", NEGOTIATED), ("max_protocol_version=latest", NEGOTIATED)]:
    for negotiation in ["sslnegotiation=direct", "sslnegotiation=postgres"]:
        story(f"{BASE} {verify} {negotiation} {protocol}", True, agreed)
    story(f"{CLEAR} sslmode=disable {protocol}", False, agreed)

# A client that insists on 3.2 gets it, or libpq's own error where the server is older.
insists = f"{BASE} {verify} sslnegotiation=direct min_protocol_version=3.2 max_protocol_version=3.2"
if MAJOR >= 18:
    story(insists, True, 30002)
else:
    refused(insists, "protocol version")

# TLS on both sides ends the binding of SCRAM: said clearly, whichever way TLS was agreed on.
for negotiation in ["direct", "postgres"]:
    plain = f"{BASE} sslmode=require sslnegotiation={negotiation}"
    refused(plain, "channel_binding=disable")
    refused(f"{plain} channel_binding=require", "channel binding")
    refused(f"{plain} channel_binding=disable require_auth=password", "SASL")
print("ok", psycopg.pq.version())
