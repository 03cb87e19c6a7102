//! A whole world for a test: a throw-away PostgreSQL, keys, a policy, and the built `pgward` in front of it.
#![allow(dead_code)] // each test binary uses a part of it

pub mod http;
pub mod pair;
pub mod raw;
pub mod story;

use pgward::cli::cluster::{Auth, Cluster, ClusterOptions, free_port};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Password of every role in [`World`]s that ask for one.
pub const PASSWORD: &str = "correct horse 'battery' staple";

/// A policy with one protected column, in the database `app`; `plain` has none.
pub const PEOPLE: &str = r#"
[purposes.support]
description = "answers customers"

[groups.support]

[handlers.app]
kind = "service"
groups = ["support"]
purpose = "support"

[[table]]
name = "people"
[table.columns.email]
category = "email"
mode = "eq"

[[grant]]
group = "support"
purpose = "support"
columns = ["public.people.email"]
read = "clear"
search = true
write = true
"#;

/// What a world is to be like.
#[derive(Clone)]
pub struct Options {
    /// How the server authenticates.
    pub auth: Auth,
    /// The policy from its categories on; listeners, upstream, keys and journal are put before it.
    pub policy: String,
    /// Log-in roles; the first owns the database `app`.
    pub roles: Vec<&'static str>,
    /// Further lines for `[listen]`.
    pub listen: String,
    /// `tls = …` and further lines for `[upstream]`.
    pub upstream: String,
    /// The server's TLS certificate and key, PEM.
    pub server_tls: Option<(String, String)>,
    /// Statements that the superuser runs in `app` before pgward is initialised.
    pub before_init: String,
    /// Further settings of the server.
    pub settings: Vec<(String, String)>,
    /// pgward's log filter; where there is none, `RUST_LOG`, else `info`.
    pub log: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auth: Auth::Trust,
            policy: String::new(),
            roles: vec!["app"],
            listen: String::new(),
            upstream: "tls = \"disable\"\n".into(),
            server_tls: None,
            before_init: String::new(),
            settings: Vec::new(),
            log: None,
        }
    }
}

/// See the module.
pub struct World {
    /// The server.
    pub cluster: Cluster,
    /// Where pgward listens.
    pub port: u16,
    /// Its admin port.
    pub admin_port: u16,
    dir: tempfile::TempDir,
    options: Options,
    serve: Option<Child>,
}

impl World {
    /// Starts everything; panics with what the failing part said.
    pub fn start(options: Options) -> Self {
        let mut world = Self::prepare(options);
        world.serve();
        world
    }

    /// Everything but `pgward serve`.
    pub fn prepare(options: Options) -> Self {
        let world = Self::without_keys(options);
        let init = world.pgward(&["init"]);
        assert!(init.status.success(), "pgward init failed:\n{}", text(&init));
        world
    }

    /// Server, roles, database and policy file; no keys.
    pub fn without_keys(options: Options) -> Self {
        let cluster = Cluster::start(ClusterOptions {
            auth: options.auth,
            tls: options.server_tls.clone(),
            settings: options.settings.clone(),
            ..Default::default()
        })
        .expect("a cluster");
        let password = (options.auth != Auth::Trust).then_some(PASSWORD);
        cluster.create_role("pgward", password).expect("pgward's role");
        for role in &options.roles {
            cluster.create_role(role, password).expect("a role");
        }
        let owner = options.roles.first().expect("at least one role");
        let sql = |database: &str, statement: &str| {
            cluster.sql(database, statement).expect("set-up");
        };
        sql("postgres", "ALTER ROLE pgward CREATEDB");
        for database in ["app", "plain"] {
            sql("postgres", &format!("CREATE DATABASE {database} OWNER {owner}"));
            sql(database, &format!("ALTER SCHEMA public OWNER TO {owner}"));
        }
        sql("app", "GRANT CREATE ON DATABASE app TO pgward");
        if !options.before_init.is_empty() {
            sql("app", &options.before_init);
        }
        let world = Self {
            cluster,
            port: free_port().expect("a port"),
            admin_port: free_port().expect("a port"),
            dir: tempfile::tempdir().expect("a directory"),
            options,
            serve: None,
        };
        if password.is_some() {
            let path = world.dir.path().join("control-password");
            fs::write(&path, format!("{PASSWORD}\n")).expect("password file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("password file");
        }
        world.write_policy(&world.options.policy);
        world
    }

    /// Replaces the policy file (from its categories on); takes effect with [`Self::signal`] HUP or at the next start.
    pub fn write_policy(&self, policy: &str) {
        fs::write(self.config(), self.policy_text(policy)).expect("policy file");
    }

    fn policy_text(&self, policy: &str) -> String {
        let dir = self.dir.path().display();
        let password_file = match self.options.auth {
            Auth::Trust => String::new(),
            _ => format!("password_file = \"{dir}/control-password\"\n"),
        };
        let version = if policy.contains("version = ") {
            ""
        } else {
            "version = \"test-1\"\n"
        };
        // `version` must stand before the first section: policies that set it begin with it.
        let (head, policy) = match policy.strip_prefix("version = ") {
            Some(rest) => {
                let (line, rest) = rest.split_once('\n').unwrap_or((rest, ""));
                (format!("version = {line}\n"), rest)
            }
            None => (version.to_owned(), policy),
        };
        format!(
            "{head}\n[listen]\naddresses = [\"127.0.0.1:{}\"]\n{}\n[upstream]\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"app\"\n{}\n\
             [control]\nuser = \"pgward\"\n{password_file}\n[keys]\nprovider = \"file\"\npath = \"{dir}/root.key\"\n\n\
             [journal]\ndirectory = \"{dir}/journal\"\nnode = \"test\"\n\n[admin]\naddress = \"127.0.0.1:{}\"\n\n\
             [limits]\ncatalog_poll_seconds = 1\n\n{policy}",
            self.port,
            self.options.listen,
            self.cluster.port(),
            self.options.upstream,
            self.admin_port,
        )
    }

    /// Starts `pgward serve` and waits until it accepts connections.
    pub fn serve(&mut self) {
        let log = fs::File::create(self.log_file()).expect("log file");
        let filter = self.options.log.map(String::from);
        let filter = filter.unwrap_or_else(|| std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into()));
        let child = Command::new(env!("CARGO_BIN_EXE_pgward"))
            .arg("serve")
            .arg("--config")
            .arg(self.config())
            .env("RUST_LOG", filter)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log file"))
            .stderr(log)
            .spawn()
            .expect("pgward serve");
        self.serve = Some(child);
        let end = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let over = self.serve.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(
                over.is_none() && Instant::now() < end,
                "pgward serve did not come up:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Process id of `pgward serve`.
    pub fn pid(&self) -> u32 {
        self.serve.as_ref().expect("pgward runs").id()
    }

    /// Sends pgward a signal by name (`TERM`, `HUP`).
    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill");
        assert!(sent.success());
    }

    /// SIGTERM, then waits; its exit status.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        self.signal("TERM");
        self.wait_for_end()
    }

    /// Waits until pgward has ended; its exit status.
    pub fn wait_for_end(&mut self) -> std::process::ExitStatus {
        self.serve
            .take()
            .expect("pgward runs")
            .wait()
            .expect("pgward's exit status")
    }

    /// Runs another command of pgward with this world's policy.
    pub fn pgward(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_pgward"))
            .args(args)
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .output()
            .expect("pgward")
    }

    /// The same, and it must succeed: what it printed.
    pub fn pgward_ok(&self, args: &[&str]) -> String {
        let out = self.pgward(args);
        assert!(out.status.success(), "pgward {args:?} failed:\n{}", text(&out));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// The access records so far, one JSON object each.
    pub fn records(&self) -> Vec<serde_json::Value> {
        self.pgward_ok(&["audit", "show", "--format", "json"])
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON line"))
            .collect()
    }

    /// Policy file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("pgward.toml")
    }
    /// Directory of keys, journal and policy.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }
    /// Directory of the journal.
    pub fn journal_directory(&self) -> PathBuf {
        self.dir.path().join("journal")
    }
    /// Key file.
    pub fn key_file(&self) -> PathBuf {
        self.dir.path().join("root.key")
    }
    fn log_file(&self) -> PathBuf {
        self.dir.path().join("pgward.log")
    }
    /// What `pgward serve` logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }
    /// Connection string through pgward, for libpq and tokio-postgres.
    pub fn through(&self, role: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user={role} dbname=app sslmode=disable{}",
            self.port,
            self.password()
        )
    }
    /// Connection string to the same database around pgward.
    pub fn around(&self, role: &str) -> String {
        format!(
            "{} sslmode=disable{}",
            self.cluster.connection_string(role, "app"),
            self.password()
        )
    }
    /// Connection string to the database `plain`, which pgward does not know.
    pub fn plain(&self, role: &str) -> String {
        format!(
            "{} sslmode=disable{}",
            self.cluster.connection_string(role, "plain"),
            self.password()
        )
    }
    fn password(&self) -> String {
        match self.options.auth {
            Auth::Trust => String::new(),
            _ => format!(" password='{}'", PASSWORD.replace('\'', "\\'")),
        }
    }
    /// psql with a connection string: unaligned, no headings, no psqlrc, going on after errors; messages with SQLSTATE.
    pub fn psql(&self, connection: &str, args: &[&str]) -> Output {
        self.cluster
            .installation()
            .command("psql")
            .args([
                "--no-psqlrc",
                "--no-align",
                "--tuples-only",
                "--no-password",
                "--set=VERBOSITY=verbose",
            ])
            .arg("--dbname")
            .arg(connection)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("psql")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.serve.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(40);
            eprintln!(
                "--- the end of pgward's log ---\n{}",
                lines.get(from..).unwrap_or_default().join("\n")
            );
        }
    }
}

/// Both outputs of a program, for a failure's message.
pub fn text(out: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}
