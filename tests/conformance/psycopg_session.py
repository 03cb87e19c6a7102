"""What psycopg 3 shows of a server, step by step: psycopg_session.py <port> <database>. Run twice, the lines must be the same.

It stands in where psycopg 3's own tests can't be had, and goes where they don't: every client encoding, and libpq's own trace of messages.
"""

import asyncio
import datetime
import decimal
import re
import sys
import tempfile
import threading
import time
import uuid

import psycopg
from psycopg import pq
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.json import Jsonb
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

PORT, DATABASE = sys.argv[1:3]
DSN = f"host=127.0.0.1 port={PORT} user=postgres dbname={DATABASE}"
ENCODINGS = "utf8 unicode latin1 latin9 koi8r euc_kr euc_jp win1252 big5 sjis gbk uhc johab gb18030 sql_ascii".split()


def connect(**settings):
    return psycopg.connect(DSN, **settings)


def plain(value):
    """As text, without what differs from run to run."""
    return re.sub(r"\bport(=| )\d+|0x[0-9a-f]+|pg_temp_\d+", "#", str(value))


def fields(error):
    return [getattr(error.diag, name) for name in dir(error.diag) if isinstance(getattr(error.diag, name), (str, int))]


def attempt(call):
    """What it returns, or how it fails."""
    try:
        return call()
    except psycopg.Error as error:
        return type(error).__name__, plain(error), fields(error)
    except UnicodeError as error:
        return type(error).__name__


def settings():
    with connect() as c:
        names = "server_version server_encoding client_encoding application_name is_superuser session_authorization DateStyle IntervalStyle TimeZone"
        names += " integer_datetimes standard_conforming_strings default_transaction_read_only in_hot_standby search_path scram_iterations"
        yield [c.info.parameter_status(name) for name in names.split()]
        yield c.info.backend_pid == c.execute("SELECT pg_backend_pid()").fetchone()[0]
        yield c.pgconn.protocol_version, pq.version() >= 180000 and c.pgconn.full_protocol_version


def encodings():
    texts = ["é\\", "가\\나", "ソ表", 'я\\"', "€", "a'b", "people"]
    for encoding in ENCODINGS:
        with connect(client_encoding=encoding, autocommit=True) as c:
            yield encoding, c.info.encoding, c.info.parameter_status("client_encoding")
            for text in texts:
                yield attempt(lambda: c.execute("SELECT %s::text, length(%s)", [text, text]).fetchone())
                yield attempt(lambda: psycopg.ClientCursor(c).execute("SELECT %s AS x, 'é'", [text]).fetchone())
        with connect(autocommit=True) as c:
            c.execute(f"SET client_encoding TO {encoding}")
            yield attempt(lambda: c.execute("SELECT %s::text", ["é"]).fetchone())

            def out():
                with c.cursor().copy("COPY (VALUES ('é\\x'), ('y')) TO STDOUT") as copy:
                    return [bytes(row) for row in copy]

            yield attempt(out)


def pipelines():
    with connect(autocommit=True) as c:
        with c.pipeline() as pipeline:
            cursors = [c.execute("SELECT %s + %s", [i, 1]) for i in range(300)]
            pipeline.sync()
            yield sum(cursor.fetchone()[0] for cursor in cursors)

        def fail():
            with c.pipeline():
                c.execute("SELECT 1")
                c.execute("SELECT 1 / %s", [0])
                c.execute("SELECT 2")

        yield attempt(fail)
        yield c.execute("SELECT 5").fetchone()
        with c.pipeline() as pipeline, c.transaction():
            c.execute("CREATE TEMP TABLE t (x int)")
            c.execute("INSERT INTO t VALUES (1)")
            with c.transaction():
                c.execute("INSERT INTO t VALUES (2)")
                pipeline.sync()
                raise psycopg.Rollback()
        yield c.execute("SELECT * FROM t").fetchall()
        cursor = c.cursor()
        cursor.executemany("INSERT INTO t VALUES (%s) RETURNING x", [(i,) for i in range(50)], returning=True)
        total = cursor.fetchone()[0]
        while cursor.nextset():
            total += cursor.fetchone()[0]
        yield total
        cursor.executemany("INSERT INTO t VALUES (%s)", [(i,) for i in range(5000)])
        yield cursor.rowcount


def cursors():
    with connect() as c:
        for options in {}, {"scrollable": True}, {"withhold": True}, {"scrollable": False}:
            for binary in False, True:
                with psycopg.ServerCursor(c, 'cür "x', **options) as cursor:
                    cursor.execute("SELECT g, g::text, now() IS NULL FROM generate_series(1, %s) g", [25], binary=binary)
                    cursor.itersize = 7
                    yield len(list(cursor)), [(column.name, column.type_code) for column in cursor.description]
                    if options.get("scrollable"):
                        cursor.scroll(0, "absolute")
                        yield cursor.fetchmany(3)
        c.execute("DECLARE named CURSOR FOR VALUES (1), (2)")
        yield c.cursor("named").fetchall()
        yield list(c.cursor().stream("SELECT g FROM generate_series(1, 5) g"))
        if pq.version() >= 170000:
            yield list(c.cursor().stream("SELECT g FROM generate_series(1, 50) g", size=20))


def copies():
    with connect() as c:
        c.execute("CREATE TEMP TABLE t (a int PRIMARY KEY, b text, d numeric, e date)")
        types = ["int4", "text", "numeric", "date"]
        cursor = c.cursor()
        with cursor.copy("COPY t FROM STDIN") as copy:
            for i in range(1000):
                copy.write_row((i, f"t\t\n\\{i}", decimal.Decimal(i) / 7, datetime.date(2020, 1, 1)))
        yield cursor.rowcount
        with cursor.copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(types)
            for i in range(1000, 2000):
                copy.write_row((i, "t" * 1000, decimal.Decimal(i), None))
        yield cursor.rowcount
        with cursor.copy("COPY t TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(types)
            rows = list(copy.rows())
            yield len(rows), rows[5]
        with cursor.copy("COPY (SELECT * FROM t WHERE a < %s) TO STDOUT", [3]) as copy:
            yield [bytes(row) for row in copy]

        def put(rows, options=""):
            with c.transaction(), cursor.copy(f"COPY t FROM STDIN {options}") as copy:
                for row in rows:
                    if row is None:
                        raise psycopg.DataError("the client's own")
                    copy.write(row)

        for rows in [b"1\tdup\t\\N\t\\N\n"], [b"x\tbad\t\\N\t\\N\n"] * 100000, [b"9999\tq\t1\t\\N\n", None], []:
            yield attempt(lambda: put(rows)), c.info.transaction_status.name
        yield attempt(lambda: put([b"garbage" * 100], "(FORMAT binary)")), c.info.transaction_status.name
        yield c.execute("SELECT count(*) FROM t").fetchone()
        long = "z" * (3 << 20)
        c.execute("CREATE TEMP TABLE long (x text)")
        with cursor.copy("COPY long FROM STDIN") as copy:
            for _ in range(5):
                copy.write(long)
                copy.write(long + "\n")
        yield c.execute("SELECT count(*), sum(length(x)) FROM long").fetchone()
        with cursor.copy("COPY long TO STDOUT") as copy:
            yield sum(len(row) for row in copy)


def notifications():
    with connect(autocommit=True) as a, connect(autocommit=True) as b:
        a.execute('LISTEN "Chän"')
        for i in range(5):
            b.execute("SELECT pg_notify(%s, %s)", ["Chän", f"{i}é"])
        for notify in a.notifies(timeout=5, stop_after=5):
            yield notify.channel, notify.payload, notify.pid == b.info.backend_pid
        notices = []
        a.add_notice_handler(lambda diag: notices.append((diag.severity, diag.message_primary, diag.sqlstate, diag.source_function)))
        a.execute("DO $$ BEGIN RAISE NOTICE 'nöte %', 1; RAISE WARNING USING MESSAGE = 'w', ERRCODE = '01234', DETAIL = 'd'; END $$")
        yield notices


def cancels():
    for way in "cancel", "cancel_safe":
        with connect() as c:
            timer = threading.Timer(0.5, getattr(c, way))
            timer.start()
            yield attempt(lambda: c.execute("SELECT pg_sleep(20)"))
            timer.join()
            c.rollback()
            yield c.execute("SELECT 1").fetchone()

    async def task():
        c = await psycopg.AsyncConnection.connect(DSN)
        sleep = asyncio.create_task(c.execute("SELECT pg_sleep(20)"))
        await asyncio.sleep(0.5)
        sleep.cancel()
        await asyncio.wait([sleep])
        state = c.info.transaction_status.name
        await c.close()
        return sleep.cancelled(), state

    yield asyncio.run(task())


def two_phases():
    c = connect()
    c.execute("CREATE TABLE phases (x int)")
    c.commit()
    xid = c.xid(1, "gtrid", "bqual")
    c.tpc_begin(xid)
    c.execute("INSERT INTO phases VALUES (1)")
    c.tpc_prepare()
    c.close()
    with connect() as c:
        yield [str(xid) for xid in c.tpc_recover()]
        c.rollback()
        c.tpc_commit(xid)
        yield c.execute("SELECT * FROM phases").fetchall()
        c.execute("DROP TABLE phases")


def prepared():
    with connect(prepare_threshold=0) as c:
        c.prepared_max = 3
        yield [c.execute(f"SELECT {i} + %s", [i]).fetchone() for i in range(10)]
        yield c.execute("SELECT name, statement FROM pg_prepared_statements ORDER BY 1").fetchall()
        # psycopg takes the statements back one by one where libpq has no message for it.
        if pq.version() >= 170000:
            c.execute("DEALLOCATE ALL")
        yield c.execute("SELECT 3 + %s", [1]).fetchone()
        c.execute("CREATE TEMP TABLE t (x int)")
        c.execute("SELECT * FROM t WHERE x = %s", [1])
        c.execute("ALTER TABLE t ADD y int")
        yield attempt(lambda: c.execute("SELECT * FROM t WHERE x = %s", [1]).fetchall())
        c.rollback()
        many = list(range(65535))
        yield c.execute(f"SELECT (array[{', '.join(['%s'] * len(many))}]::int[])[65535]", many).fetchone()


def types():
    with connect() as c:
        c.execute("CREATE TYPE mood AS ENUM ('a', 'é')")
        c.execute("CREATE TYPE pair AS (x int, y text, z mood[])")
        register_enum(EnumInfo.fetch(c, "mood"), c)
        register_composite(CompositeInfo.fetch(c, "pair"), c)
        day = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        values = [1, 2**40, 1.5, decimal.Decimal("NaN"), "é", b"\0\xff", True, None, day, day.date(), datetime.timedelta(5, 3)]
        values += [uuid.UUID(int=5), [[1], [2]], Jsonb({"a": [1]}), Range(1, 5), Multirange([Range(1, 2)])]
        for value in values:
            for placeholder in "%s", "%b", "%t":
                for binary in False, True:

                    def select():
                        with c.transaction():
                            cursor = c.execute(f"SELECT {placeholder}", [value], binary=binary)
                            return cursor.fetchone(), cursor.description[0].type_code

                    yield attempt(select)
        yield c.execute("SELECT row(1, 'x', array['é']::mood[])::pair").fetchone()
        c.rollback()


def errors():
    statements = ["SELECT * FROM nowhere", "SELEC 1", "SELECT 1/0", "SELECT 'x'::int", "", " ;; ", "SELECT $1", "SELECT 1 ☃ 2", "SELECT 1; SELECT 2; SELECT"]
    statements += ["CREATE TEMP TABLE t (x int CHECK (x > 0), y int UNIQUE)", "INSERT INTO t VALUES (0)", "INSERT INTO t VALUES (1, 1), (2, 1)"]
    statements += ["DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'P0042', MESSAGE = 'm', DETAIL = 'd', HINT = 'h', COLUMN = 'c', SCHEMA = 's'; END $$"]
    with connect(autocommit=True) as c:
        for statement in statements:

            def run():
                cursor = c.execute(statement)
                shown = [(cursor.statusmessage, cursor.pgresult.status)]
                while cursor.nextset():
                    shown.append((cursor.statusmessage, cursor.pgresult.status))
                return shown

            yield statement, attempt(run)


def beginnings_and_ends():
    with connect(autocommit=True) as a:
        c = connect()
        a.execute("SELECT pg_terminate_backend(%s)", [c.info.backend_pid])
        time.sleep(0.5)
        yield attempt(lambda: c.execute("SELECT 1")), c.closed, c.broken
    with connect(options="-c statement_timeout=200 -c search_path=pg_catalog,public", application_name="app é") as c:
        yield c.execute("SHOW search_path").fetchone(), c.execute("SHOW application_name").fetchone()
        yield attempt(lambda: c.execute("SELECT pg_sleep(20)"))
    for settings in {"dbname": "nowhere"}, {"user": "nobody"}, {"options": "-cfoo"}, {"options": "-c work_mem=zzz"}, {"sslmode": "require"}:
        yield settings, attempt(lambda: connect(**settings).close())
    for attributes in "any", "read-write", "read-only", "primary", "standby", "prefer-standby":
        yield attributes, attempt(lambda: connect(target_session_attrs=attributes).close())


def libpq():
    c = connect(autocommit=True).pgconn
    yield c.exec_params(b"SELECT $1::int", [b"5"], result_format=1).get_value(0, 0)
    c.prepare("é".encode(), b"SELECT $1::int8 AS q")
    described = c.describe_prepared("é".encode())
    yield described.nparams, described.param_type(0), described.fname(0), described.ftype(0)
    yield c.exec_prepared("é".encode(), [b"3"]).get_value(0, 0)
    yield c.describe_prepared(b"missing").error_message, c.describe_portal(b"missing").error_message
    yield c.exec_(b"BEGIN; DECLARE c CURSOR FOR SELECT 1 AS z").status, c.describe_portal(b"c").fname(0), c.exec_(b"ROLLBACK").status
    if pq.version() >= 170000:
        yield c.close_prepared("é".encode()).status, c.exec_prepared("é".encode(), [b"3"]).error_message
    c.finish()


def messages():
    """The protocol's messages, as libpq traces them."""
    with connect(autocommit=True) as c, tempfile.TemporaryFile() as file:
        c.pgconn.trace(file.fileno())
        c.pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS | pq.Trace.REGRESS_MODE)
        c.execute("SELECT 1 AS x, %s::text", ["a"])
        c.execute("SELECT 1", binary=True)
        c.execute("SET timezone TO utc")
        attempt(lambda: c.execute("SELECT * FROM nowhere"))
        with c.pipeline():
            c.execute("SELECT 1")
            c.execute("SELECT 2")
        c.pgconn.untrace()
        file.seek(0)
        # What is sent may be traced before or after what comes: only the order of each side is the server's.
        lines = file.read().decode().splitlines()
        # Whether psycopg asks for a pipeline's results (Flush) depends on whether they have come already.
        yield [line for line in lines if line.startswith("F") and not line.endswith("Flush")]
        yield [line for line in lines if line.startswith("B")]


print("libpq", pq.version(), pq.__impl__)
for step in (
    [settings, encodings, pipelines, cursors, copies, notifications, cancels, two_phases, prepared, types, errors]
    + [beginnings_and_ends, libpq, messages]
):
    for shown in step():
        print(step.__name__, plain(shown), flush=True)
