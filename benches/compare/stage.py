"""What is compared: a throw-away PostgreSQL, PgBouncer, and one or more pgwards, each a child process that ends with this one."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "bench"
USER = "postgres"
# More than the largest number of clients: no client of any cell waits for a server.
POOL = 48
PEOPLE = 10_000


class Missing(Exception):
    """Something that the comparison needs isn't on this machine: exit status 2."""


class Failed(Exception):
    """Something didn't do what it must: exit status 1."""


def as_server_user():
    """Arguments that make setpriv change to the OS user of the servers: PostgreSQL and PgBouncer refuse to run as root."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        raise Missing("run as root, the servers need the OS user postgres, which doesn't exist (Debian package postgresql)") from None
    return ["--reuid=postgres", "--regid=postgres", "--init-groups"]


def postgres_programs():
    """Where each program is: in PG_BINDIR, or in the newest of Debian's packages that has it."""
    given = os.environ.get("PG_BINDIR")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    programs = {}
    # The server's programs belong together; another version's clients do as well.
    for names, where in (("initdb", "postgres"), [Path(given)] if given else places), (("psql", "pgbench", "pg_isready"), [Path(given), *places] if given else places):
        for name in names:
            programs[name] = next((place / name for place in where if (place / name).exists()), None)
            if programs[name] is None:
                raise Missing(f"no {name}: install Debian package postgresql, or set PG_BINDIR to the directory that has it")
    return programs


def pgbouncer_program():
    given = os.environ.get("PGBOUNCER")
    found = given or shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not found or not os.access(found, os.X_OK):
        raise Missing("no PgBouncer: install Debian package pgbouncer, set PGBOUNCER to its path, or leave it out with TARGETS='direct pgward'")
    return found


def pgward_programs():
    """[(label, path)], from PGWARD: one path, or several as label=path; built if it isn't set."""
    given = os.environ.get("PGWARD", "").split()
    if not given:
        print("Building pgward (cargo build --release)", file=sys.stderr)
        built = subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "pgward"], cwd=ROOT)
        if built.returncode != 0:
            raise Failed("cargo build --release failed")
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        return [("pgward", target / "release" / "pgward")]
    programs = []
    for word in given:
        label, path = word.split("=", 1) if "=" in word else ("pgward", word)
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", label) or label in ("direct", "pgbouncer") or label in dict(programs):
            raise Failed(f"PGWARD: {label!r} can't name a target: letters, digits, '_', '.', '-', each name once, not direct, not pgbouncer")
        if not os.access(path, os.X_OK):
            raise Missing(f"PGWARD: no program at {path}")
        programs.append((label, Path(path).resolve()))
    return programs


def version_of(program):
    out = subprocess.run([program, "--version"], capture_output=True, text=True)
    return (out.stdout or out.stderr).splitlines()[0].strip() if (out.stdout or out.stderr) else "version unknown"


class Target:
    """A place to connect to, and the process whose CPU time counts (None: nothing in between)."""

    def __init__(self, name, port, process=None):
        self.name, self.port, self.process = name, port, process

    def cpu_seconds(self):
        """CPU time of all threads since start, ended ones included, in nanoseconds' resolution: clock_getcpuclockid(3) of the process."""
        return time.clock_gettime((~self.process.pid << 3) | 2) if self.process else 0.0

    def sleeps(self):
        """How often its threads went to sleep until something happened (voluntary context switches)."""
        if not self.process:
            return 0
        total = 0
        for status in Path(f"/proc/{self.process.pid}/task").glob("*/status"):
            try:
                total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.MULTILINE)[1])
            except OSError:  # the thread has ended
                pass
        return total


class Stage:
    """Everything that was started. A context: leaving it ends all of it."""

    def __init__(self, settings):
        self.settings = settings
        self.programs = postgres_programs()
        self.children = []  # (name, process, log, the signal that ends it gracefully)
        self.targets = {}
        self.versions = {"PostgreSQL": version_of(self.programs["postgres"])}
        self.directory = Path(tempfile.mkdtemp(prefix="pgward-compare-"))
        self.directory.chmod(0o755)

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _traceback):
        for name, process, _log, graceful in reversed(self.children):
            self._end(name, process, graceful)
        if kind is not None and kind is not KeyboardInterrupt:
            kept = Path(self.settings.out) / "logs"
            kept.mkdir(parents=True, exist_ok=True)
            for log in self.directory.glob("*.log"):
                shutil.copyfile(log, kept / log.name)
            print(f"The logs are in {kept}", file=sys.stderr)
        shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    def _end(name, process, graceful):
        for number, patience in ((graceful, 10), (signal.SIGQUIT, 5), (signal.SIGKILL, 10)):
            if process.poll() is not None:
                return
            process.send_signal(number)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                print(f"{name} doesn't end by {signal.Signals(number).name}", file=sys.stderr)

    def build(self):
        """Starts what the chosen targets need. Sets self.targets, in the order in which they were asked for."""
        wanted = self.settings.targets
        # What may be missing is looked for before anything is started.
        bouncer = pgbouncer_program() if "pgbouncer" in wanted else None
        wards = pgward_programs() if "pgward" in wanted else []
        self._start_server()
        self._fill()
        if "direct" in wanted:
            self.targets["direct"] = Target("direct", self.server_port)
        if bouncer:
            self._start_pgbouncer(bouncer)
        for number, (label, program) in enumerate(wards):
            self._start_pgward(label, program, first=number == 0)
        if wards:
            self._fill_protected()

    def alive(self):
        """Fails if a process has ended."""
        for name, process, log, _ in self.children:
            if process.poll() is not None:
                raise Failed(f"{name} ended unexpectedly, status {process.returncode}:\n{tail(log)}")

    def renew(self, target):
        """Every measurement begins with new server processes, whatever the target: one that has served before has the table's pages mapped already."""
        if target.name == "pgbouncer":
            self.sql(target.port, "RECONNECT", "pgbouncer")

    def server_processes(self):
        """The server's processes: the postmaster and its children."""
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        return [self.server.pid, *map(int, children)]

    # -- pieces

    def _spawn(self, name, arguments, graceful, drop=False):
        """Starts a process that the kernel ends if this one dies, its output in a log."""
        log = self.directory / f"{name}.log"
        privileges = as_server_user() if drop else []
        with open(log, "wb") as out:
            process = subprocess.Popen(
                ["setpriv", *privileges, "--pdeathsig", "QUIT" if name == "postgresql" else "KILL", "--", *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", env={**os.environ, "RUST_BACKTRACE": "1"}, process_group=0,
            )
        self.children.append((name, process, log, graceful))
        return process

    def _await(self, name, port):
        """Waits until something accepts connections there."""
        process, log = next((p, l) for n, p, l, _ in self.children if n == name)
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise Failed(f"{name} did not start:\n{tail(log)}") from None
                time.sleep(0.05)

    def _run(self, what, arguments, drop=False, **options):
        if drop:
            arguments = ["setpriv", *as_server_user(), "--", *arguments]
        done = subprocess.run(list(map(str, arguments)), stdin=options.pop("stdin", subprocess.DEVNULL), capture_output=True, text=True, cwd="/", **options)
        if done.returncode != 0:
            raise Failed(f"{what} failed:\n{done.stdout}{done.stderr}".rstrip())
        return done.stdout

    def sql(self, port, text, database=DATABASE):
        return self._run("psql", [self.programs["psql"], "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", port, "-U", USER, "-d", database, "-c", text])

    def _start_server(self):
        data = self.directory / "data"
        data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(data, "postgres", "postgres")
            # Unix sockets of the server go there too.
        data.chmod(0o700)
        self._run("initdb", [self.programs["initdb"], "-D", data, "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"], drop=True)
        self.sockets = self.directory / "sockets"
        self.sockets.mkdir()
        self.sockets.chmod(0o1777)
        self.server_port = free_port()
        # Durability, vacuum and checkpoints would add noise, parallel plans would fight for the CPUs; none of them is what is compared.
        settings = {
            "port": self.server_port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.sockets, "max_connections": 400,
            "shared_buffers": "768MB", "fsync": "off", "autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "8GB",
            "max_parallel_workers_per_gather": 0, "log_checkpoints": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.server = self._spawn("postgresql", [self.programs["postgres"], "-D", data, *options], signal.SIGINT, drop=True)
        end = time.monotonic() + 60
        while subprocess.run([self.programs["pg_isready"], "-q", "-h", "127.0.0.1", "-p", str(self.server_port)]).returncode != 0:
            if self.server.poll() is not None or time.monotonic() > end:
                raise Failed(f"PostgreSQL did not start:\n{tail(self.directory / 'postgresql.log')}")
            time.sleep(0.05)

    @property
    def upstream_host(self):
        return str(self.sockets) if self.settings.upstream == "unix" else "127.0.0.1"

    def _fill(self):
        scale, port = self.settings.scale, self.server_port
        print(f"Filling a database: pgbench at scale {scale}, {self.settings.narrow} narrow and {self.settings.wide} wide rows", file=sys.stderr)
        self.sql(port, f"CREATE DATABASE {DATABASE}", "postgres")
        self._run("pgbench -i", [self.programs["pgbench"], "-i", "-q", "-s", scale, "-h", "127.0.0.1", "-p", port, "-U", USER, DATABASE])
        # Wide: a kilobyte, stored inline. The sink takes what COPY FROM STDIN brings.
        self.sql(port, f"""
            CREATE UNLOGGED TABLE narrow AS SELECT g::int AS id, (g::bigint * 7919 % 1000003)::int AS n FROM generate_series(1, {self.settings.narrow}) g;
            CREATE UNLOGGED TABLE wide AS SELECT g::int AS id, repeat(md5(g::text), 32) AS body FROM generate_series(1, {self.settings.wide}) g;
            CREATE UNLOGGED TABLE sink (id int, body text);
            CREATE TABLE plain_people (id int PRIMARY KEY, code text, name text);
            INSERT INTO plain_people SELECT g, g::text, 'Person number ' || g FROM generate_series(1, {PEOPLE}) g;
            CREATE INDEX ON plain_people (code);""")
        self.sql(port, "VACUUM (FREEZE, ANALYZE)")
        self.sql(port, "CHECKPOINT")

    def _start_pgbouncer(self, program):
        self.versions["PgBouncer"] = version_of(program)
        port = free_port()
        users = self.directory / "users.txt"
        users.write_text(f'"{USER}" ""\n')
        config = self.directory / "pgbouncer.ini"
        config.write_text(f"""[databases]
{DATABASE} = host={self.upstream_host} port={self.server_port} dbname={DATABASE}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
admin_users = {USER}
pool_mode = session
max_client_conn = 400
default_pool_size = {POOL}
server_idle_timeout = 0
server_lifetime = 86400
""")
        process = self._spawn("pgbouncer", [program, config], signal.SIGINT, drop=True)
        self._await("pgbouncer", port)
        self.targets["pgbouncer"] = Target("pgbouncer", port, process)
        self._probe("pgbouncer")

    def _start_pgward(self, label, program, first):
        self.versions[label] = version_of(program)
        port, home = free_port(), self.directory / f"home-{label}"
        home.mkdir()
        config = home / "pgward.toml"
        config.write_text(POLICY.format(
            port=port, admin=free_port(), upstream=self.upstream_host, server=self.server_port, database=DATABASE, user=USER, label=label, home=home, key=self.directory / "root.key",
        ))
        if first:
            self.sql(self.server_port, "CREATE ROLE pgward LOGIN CREATEDB", "postgres")
            self.sql(self.server_port, f"GRANT CREATE ON DATABASE {DATABASE} TO pgward", "postgres")
            self._run(f"{label}: pgward init", [program, "init", "--config", config])
        process = self._spawn(label, [program, "serve", "--config", config, "--log", os.environ.get("PGWARD_LOG", "info")], signal.SIGTERM)
        self._await(label, port)
        self.targets[label] = Target(label, port, process)
        self._probe(label)

    def _probe(self, name):
        if self.sql(self.targets[name].port, "SELECT 1").strip() != "1":
            raise Failed(f"{name} doesn't answer SELECT 1")

    def _fill_protected(self):
        """The protected table, made and filled through the first pgward; and a look at whether it is protected at all."""
        through = next(t.port for t in self.targets.values() if t.name not in ("direct", "pgbouncer"))
        self.sql(through, "CREATE TABLE people (id int PRIMARY KEY, code text, name text)")
        rows = [f"({n}, '{n}', 'Person number {n}')" for n in range(1, PEOPLE + 1)]
        for start in range(0, PEOPLE, 500):
            self.sql(through, "INSERT INTO people VALUES " + ", ".join(rows[start:start + 500]))
        self.sql(through, "CREATE INDEX ON people (code)")
        self.sql(self.server_port, "VACUUM (FREEZE, ANALYZE) people")
        if "Person number 7" in self.sql(self.server_port, "SELECT * FROM people WHERE id = 7"):
            raise Failed("the protected table holds plaintext: pgward doesn't protect here")
        for target in self.targets.values():
            if target.name in ("direct", "pgbouncer"):
                continue
            end = time.monotonic() + 30
            while self.sql(target.port, "SELECT name FROM people WHERE code = '7'").strip() != "Person number 7":
                if time.monotonic() > end:
                    raise Failed(f"{target.name} doesn't find a person in the protected table")
                time.sleep(0.5)


POLICY = """version = "compare"
[listen]
addresses = ["127.0.0.1:{port}"]
[upstream]
host = "{upstream}"
port = {server}
database = "{database}"
tls = "disable"
[control]
user = "pgward"
[keys]
provider = "file"
path = "{key}"
[journal]
directory = "{home}/journal"
node = "{label}"
[admin]
address = "127.0.0.1:{admin}"
[purposes.compare]
description = "Comparison with PgBouncer"
[groups.all]
[handlers.{user}]
kind = "service"
groups = ["all"]
purpose = "compare"
[[table]]
name = "public.people"
subject = "id"
[table.columns]
code = {{ category = "account", mode = "eq" }}
name = {{ category = "name" }}
[[grant]]
group = "all"
purpose = "compare"
columns = ["public.people.*"]
read = "clear"
search = true
write = true
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tail(log, lines=20):
    return "\n".join(Path(log).read_text(errors="replace").splitlines()[-lines:])
