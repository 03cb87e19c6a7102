"""An application on psycopg 3 that knows nothing of pgward; any surprise is an exception and so an exit status."""
import datetime
import os

import psycopg
from psycopg import errors

ROWS = [
    (1, "kim@example.com", "김민준", datetime.date(1990, 5, 17), "KR-1"),
    (2, "zoë@example.net", "Zoë O'Neil \\ \"x\"", None, None),
    (3, "lee@example.com", "", datetime.date(1985, 11, 2), "KR-2"),
]

app = psycopg.connect(os.environ["APP"], autocommit=True)
app.execute("CREATE TABLE customers (id int PRIMARY KEY, email varchar(100) UNIQUE NOT NULL, name text, birth date, iban text)")
app.execute("GRANT SELECT ON customers TO marketing, analyst")

with app.cursor() as cur:
    cur.executemany("INSERT INTO customers VALUES (%s, %s, %s, %s, %s)", ROWS)
    assert cur.rowcount == 3, cur.rowcount

# Text and binary, prepared or not.
for binary in (False, True):
    for prepare in (False, True):
        cur = app.cursor(binary=binary)
        cur.execute("SELECT * FROM customers ORDER BY id", prepare=prepare)
        assert cur.fetchall() == ROWS, (binary, prepare)
        assert [column.type_code for column in cur.description] == [23, 1043, 25, 1082, 25]
        for row in ROWS:
            placeholder = "%b" if binary else "%t"
            cur.execute(f"SELECT id, name FROM customers WHERE email = {placeholder}", (row[1],), prepare=prepare)
            assert cur.fetchall() == [(row[0], row[2])], (binary, prepare, row)
        cur.execute("SELECT id FROM customers WHERE email = ANY(%s) ORDER BY id", (["kim@example.com", "lee@example.com"],), prepare=prepare)
        assert cur.fetchall() == [(1,), (3,)]

# Often enough that psycopg prepares by itself.
for _ in range(12):
    assert app.execute("SELECT name FROM customers WHERE iban = %s", ("KR-2",)).fetchone() == ("",)

# A transaction that fails and is rolled back, with a savepoint.
with app.transaction():
    app.execute("UPDATE customers SET name = %s WHERE id = 3", ("이서연",))
    try:
        with app.transaction():
            app.execute("INSERT INTO customers (id, email) VALUES (4, 'kim@example.com')")
        raise AssertionError("a duplicate went in")
    except errors.UniqueViolation:
        pass
assert app.execute("SELECT name FROM customers WHERE id = 3").fetchone() == ("이서연",)

# A pipeline: many statements under way at once, one of them refused.
with app.pipeline():
    cursors = [app.execute("SELECT email FROM customers WHERE id = %s", (row[0],)) for row in ROWS]
assert [cursor.fetchone() for cursor in cursors] == [(row[1],) for row in ROWS]
try:
    with app.pipeline():
        app.execute("SELECT 1")
        app.execute("SELECT id FROM customers WHERE birth > '1980-01-01'")
    raise AssertionError("a range was not refused")
except errors.FeatureNotSupported as error:
    assert "birth" in str(error), error
assert app.execute("SELECT 1").fetchone() == (1,)

# COPY of what is not protected.
app.execute("CREATE TABLE things (a int, b text)")
with app.cursor() as cur:
    with cur.copy("COPY things FROM STDIN") as copy:
        for n in range(1000):
            copy.write_row((n, f"thing {n}"))
    with cur.copy("COPY things TO STDOUT") as copy:
        assert sum(1 for _ in copy.rows()) == 1000
assert app.execute("SELECT count(*) FROM things").fetchone() == (1000,)

# Others see less.
marketing = psycopg.connect(os.environ["MARKETING"], autocommit=True)
assert marketing.execute("SELECT email, birth FROM customers WHERE id = 1").fetchone() == ("k***@example.com", datetime.date(1990, 1, 1))
analyst = psycopg.connect(os.environ["ANALYST"], autocommit=True)
try:
    analyst.execute("SELECT name FROM customers")
    raise AssertionError("the analyst was answered")
except errors.InsufficientPrivilege:
    pass

direct = psycopg.connect(os.environ["DIRECT"], autocommit=True)
for (stored,) in direct.execute("SELECT name FROM customers").fetchall():
    assert stored[:1] == b"\xfa", stored

# Server-side cursors are refused on protected columns; the transaction is then aborted, as after any error.
try:
    with app.transaction():
        app.cursor(name="c").execute("SELECT email FROM customers")
    raise AssertionError("DECLARE was not refused")
except errors.FeatureNotSupported:
    pass
assert app.execute("SELECT count(*) FROM customers").fetchone() == (3,)
