"""The loads: pgbench, and a client that moves bulk and does nothing else. Each measures one cell on one target."""

import fnmatch
import os
import re
import socket
import struct
import subprocess
import threading
import time

from stage import DATABASE, PEOPLE, USER, Failed

MODES = ("simple", "extended", "prepared")
PROGRESS = re.compile(r"progress: ([0-9.]+) s, ([0-9.]+) tps, lat ([0-9.]+) ms")

# How many seconds something may hang before that is a failure.
PATIENCE = 60
# The value is a text: in quotes where pgbench puts it into the statement (simple mode), a parameter elsewhere.
POINT = f"\\set n random(1, {PEOPLE})" + "\nSELECT id, name FROM {table} WHERE code = {value};\n"


class Cell:
    """One measurement: a name, what it runs, and what its numbers mean."""

    def __init__(self, name, kind, run, protected=False):
        self.name, self.kind, self.run, self.protected = name, kind, run, protected


def cells(wanted):
    """All cells of which the name contains or matches one of the words; all if there are none."""
    every = []
    for clients in (1, 8, 32):
        every += [Cell(f"pgbench-{mode}-{clients}", "queries", Pgbench(mode, clients)) for mode in MODES]
    every += [
        Cell("bulk-select-narrow", "bulk", Receive(b"SELECT id, n FROM narrow")),
        Cell("bulk-select-wide", "bulk", Receive(b"SELECT id, body FROM wide")),
        Cell("bulk-copy-out-narrow", "bulk", Receive(b"COPY narrow TO STDOUT")),
        Cell("bulk-copy-out-wide", "bulk", Receive(b"COPY wide TO STDOUT")),
        # Rows that the server parses and throws away: the least that it can do, so the most that is asked of a proxy.
        Cell("bulk-copy-in-wide", "bulk", Send(b"COPY sink FROM STDIN WHERE false")),
    ]
    every += [Cell(f"pinned-{mode}", "queries", Pinned(Pgbench(mode, 1))) for mode in MODES]
    every += [Cell(f"protected-{mode}-{clients}", "queries", Pgbench(mode, clients, point=True), protected=True) for mode in ("simple", "prepared") for clients in (1, 32)]
    words = wanted.split()
    chosen = [c for c in every if not words or any(w in c.name or fnmatch.fnmatchcase(c.name, w) for w in words)]
    if not chosen:
        raise Failed(f"CELLS={wanted!r} names none of: {' '.join(c.name for c in every)}")
    return chosen


class Pgbench:
    """pgbench -S, or a point select by a protected column, for a number of seconds after one second that doesn't count.

    The proxy's CPU time is read whenever pgbench reports its progress, so connecting and parting lie outside of what is measured.
    """

    def __init__(self, mode, clients, point=False):
        self.mode, self.clients, self.point = mode, clients, point

    def __call__(self, stage, target, pin=None):
        settings = stage.settings
        script = ["-S"]
        if self.point:
            table = "plain_people" if target.name == "direct" else "people"
            file = stage.directory / f"{table}-{self.mode}.sql"
            file.write_text(POINT.format(table=table, value="':n'" if self.mode == "simple" else ":n"))
            script = ["-f", str(file)]
        # It often ends before its last report; there must be two at least.
        duration = max(settings.seconds + 1, 3)
        command = [
            str(stage.programs["pgbench"]), "-n", *script, "-M", self.mode, "-c", str(self.clients), "-j", str(min(self.clients, settings.jobs)),
            "-T", str(duration), "-P", "1", "--progress-timestamp",
            "-h", "127.0.0.1", "-p", str(target.port), "-U", USER, DATABASE,
        ]
        if pin is not None:
            command = ["taskset", "-c", str(pin), *command]
        marks, said = [], []
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, bufsize=1, cwd="/")
        # A proxy that hangs must not hang this.
        watchdog = threading.Timer(duration + PATIENCE, process.kill)
        watchdog.start()
        try:
            for line in process.stderr:
                cpu, sleeps = target.cpu_seconds(), target.sleeps()
                if match := PROGRESS.match(line):
                    marks.append((float(match[1]), float(match[2]), float(match[3]), cpu, sleeps))
                else:
                    said.append(line)
            process.wait(PATIENCE)
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0 or len(marks) < 2:
            raise Failed(f"pgbench on {target.name} failed (status {process.returncode}, {len(marks)} reports):\n{''.join(said[-20:])}")
        return summarise(marks[:settings.seconds + 1])


def summarise(marks):
    """From reports (time, transactions a second since the one before, their mean latency in ms, the proxy's CPU seconds so far, its sleeps so far)."""
    queries = weighted = 0.0
    for (before, *_), (now, rate, latency, *_) in zip(marks, marks[1:]):
        done = rate * (now - before)
        queries += done
        weighted += latency * done
    if queries <= 0:
        raise Failed("pgbench ran, but no statement ended")
    elapsed = marks[-1][0] - marks[0][0]
    cpu, sleeps = (marks[-1][n] - marks[0][n] for n in (3, 4))
    return {"rate": queries / elapsed, "latency": weighted / queries * 1000, "cpu": cpu / queries * 1e6, "sleeps": sleeps / queries, "seconds": elapsed}


class Pinned:
    """The same with server, proxy and load on one CPU: no CPU sleeps and is woken, so the cost of a query is reproducible."""

    def __init__(self, load):
        self.load = load

    def __call__(self, stage, target):
        cpu = stage.settings.pin
        everywhere = os.sched_getaffinity(0)
        processes = stage.server_processes() + ([target.process.pid] if target.process else [])
        set_affinity(processes, {cpu})
        try:
            return self.load(stage, target, pin=cpu)
        finally:
            # A server process of a client that has just left may be gone.
            set_affinity(set(processes) | set(stage.server_processes()), everywhere)


def set_affinity(processes, cpus):
    for pid in processes:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), cpus)
        except (FileNotFoundError, ProcessLookupError):
            pass


class Bulk:
    """One statement over and over on one connection, once before it counts; sockets alone, as any real client costs more than a proxy."""

    def __call__(self, stage, target):
        try:
            with Connection(target) as connection:
                return self.measure(connection, target, stage.settings.seconds)
        except OSError as error:
            raise Failed(f"bulk transfer on {target.name}: {error or type(error).__name__}") from error

    def measure(self, connection, target, seconds):
        self.once(connection)
        moved, rounds, cpu, own, start = 0, 0, target.cpu_seconds(), time.process_time(), time.monotonic()
        while time.monotonic() - start < seconds:
            moved += self.once(connection)
            rounds += 1
        elapsed, cpu, own = time.monotonic() - start, target.cpu_seconds() - cpu, time.process_time() - own
        return {"rate": moved / elapsed / 1e6, "cpu": cpu / moved * 1e11, "bytes": moved // rounds, "seconds": elapsed, "client": own / elapsed}


class Receive(Bulk):
    """Bytes that come from the server: a SELECT or a COPY TO STDOUT."""

    def __init__(self, statement):
        self.statement = statement

    def once(self, connection):
        connection.send(message(b"Q", self.statement + b"\0"))
        return connection.until_ready()


class Send(Bulk):
    """Bytes that go to the server: a COPY FROM STDIN, in messages of eight kilobytes, as psql sends it."""

    def __init__(self, statement):
        self.statement, self.prepared = statement, None

    def once(self, connection):
        if self.prepared is None:
            rows = b"".join(b"%d\t%s\n" % (n, b"0123456789abcdef" * 64) for n in range(20_000))
            self.prepared = b"".join(message(b"d", rows[at:at + 8192]) for at in range(0, len(rows), 8192))
        connection.send(message(b"Q", self.statement + b"\0"))
        if connection.next_type() != b"G":
            raise Failed(f"{connection.target.name}: COPY FROM STDIN was not accepted")
        for _ in range(4):
            connection.send(self.prepared)
        connection.send(message(b"c", b""))
        connection.until_ready()
        return 4 * len(self.prepared)


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


class Connection:
    """A client of the protocol's version 3.0 that logs in without a password and looks at hardly a byte of what it receives."""

    def __init__(self, target):
        self.target = target
        self.buffer = bytearray(1 << 20)
        self.socket = socket.create_connection(("127.0.0.1", target.port), PATIENCE)
        self.socket.settimeout(PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = struct.pack("!I", 196608) + b"user\0%s\0database\0%s\0\0" % (USER.encode(), DATABASE.encode())
        self.send(struct.pack("!I", len(body) + 4) + body)
        self.until_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.send(message(b"X", b""))
        except OSError:
            pass
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def next_type(self):
        """The type of the next message, which is taken out with all of it."""
        head = self.exactly(5)
        self.exactly(struct.unpack("!I", head[1:])[0] - 4)
        return head[:1]

    def exactly(self, count):
        got = b""
        while len(got) < count:
            part = self.socket.recv(count - len(got))
            if not part:
                raise Failed(f"{self.target.name} ended the connection")
            got += part
        return got

    def until_ready(self):
        """Reads until what came last is ReadyForQuery; how many bytes came. No row of these tables ends like one. Errors end it."""
        view, total, end, first = memoryview(self.buffer), 0, b"", True
        while True:
            got = self.socket.recv_into(self.buffer)
            if not got:
                raise Failed(f"{self.target.name} ended the connection")
            if first and self.buffer[0] == ord("E"):
                raise Failed(f"{self.target.name} answered with an error: {bytes(view[5:min(got, 300)])!r}")
            first = False
            total += got
            end = (end + bytes(view[max(0, got - 6):got]))[-6:]
            if end in (b"Z\0\0\0\5I", b"Z\0\0\0\5T", b"Z\0\0\0\5E"):
                if end[5:] != b"I":
                    raise Failed(f"{self.target.name} is left in a transaction")
                return total
