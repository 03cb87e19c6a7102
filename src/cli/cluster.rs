//! Finds the installed PostgreSQL and runs throw-away clusters: for the demo and the tests.
//!
//! Synchronous, so that any test can use it. Invariants: a cluster listens on loopback and on a Unix socket in its own directory only; when
//! its [`Cluster`] is dropped, or the process that made it ends in any way, the server stops and the directory disappears. PostgreSQL
//! refuses to run as root, so for root it runs under the account `postgres` or, without one, `nobody`.
//!
//! Deliberately absent: durability (`fsync = off`). Nothing that should last belongs into such a cluster.

mod ports;

pub use ports::free_port;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Attempts to start where another process took the free port first.
const PORT_ATTEMPTS: u32 = 5;

/// Runs the server, and ends it when standard input ends (so also when our process is killed). A line on standard input names the signal
/// for a stop that keeps the directory.
const KEEPER: &str = r#"
dir=$1; shift
"$@" &
server=$!
read -r signal
kill -s "${signal:-QUIT}" "$server" 2>/dev/null
wait "$server"
[ -n "$signal" ] || rm -rf -- "$dir"
"#;

/// How the server authenticates clients other than the superuser on the Unix socket (whom it always trusts).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Anyone.
    #[default]
    Trust,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// MD5 challenge.
    Md5,
    /// Password in clear.
    Password,
}

impl Auth {
    /// The method's name in `pg_hba.conf`.
    pub fn as_str(self) -> &'static str {
        match self {
            Auth::Trust => "trust",
            Auth::ScramSha256 => "scram-sha-256",
            Auth::Md5 => "md5",
            Auth::Password => "password",
        }
    }
}

/// What a cluster is to be like. The default trusts everyone on loopback and has no TLS.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Authentication.
    pub auth: Auth,
    /// Password of the superuser `postgres`; needed for him over TCP where [`Self::auth`] is not trust.
    pub superuser_password: Option<String>,
    /// PEM certificate chain and private key: the server offers TLS.
    pub tls: Option<(String, String)>,
    /// Further lines of `postgresql.conf`: name and value.
    pub settings: Vec<(String, String)>,
    /// Lines of `pg_hba.conf` that stand before those made from [`Self::auth`].
    pub hba: Vec<String>,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No server programs were found.
    #[error(
        "PostgreSQL is not installed here, or not where it is looked for (PGWARD_PG_BINDIR, pg_config, /usr/lib/postgresql, PATH); \
         install it with `apt-get install -y postgresql`, or set PGWARD_PG_BINDIR to the directory that holds initdb and postgres"
    )]
    NotInstalled,
    /// Running as root, without an account that the server could run under.
    #[error("PostgreSQL does not run as root, and there is neither an account `postgres` nor `nobody` to run it under")]
    NoAccount,
    /// A program of PostgreSQL failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Which.
        program: String,
        /// What it said.
        output: String,
    },
    /// The server did not come up.
    #[error("the server did not start: {log}")]
    NotStarted {
        /// The end of its log.
        log: String,
    },
    /// The operating system refused something.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> ClusterError {
    let what = what.into();
    move |source| ClusterError::Io { what, source }
}

/// The installed PostgreSQL.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Directory of its programs.
    pub bindir: PathBuf,
    /// As `postgres --version` says, without the words: `15.14 (Debian …)`.
    pub version: String,
}

impl Installation {
    /// Looks in `PGWARD_PG_BINDIR`, asks `pg_config`, then takes the newest under `/usr/lib/postgresql`, then searches `PATH`.
    pub fn find() -> Result<Self, ClusterError> {
        if let Some(dir) = std::env::var_os("PGWARD_PG_BINDIR") {
            return Self::at(PathBuf::from(dir)).ok_or(ClusterError::NotInstalled);
        }
        let asked = Command::new("pg_config")
            .arg("--bindir")
            .stderr(Stdio::null())
            .output()
            .ok()
            .map(|out| PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()));
        let mut packaged: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .collect();
        packaged.sort();
        let path = std::env::var_os("PATH").unwrap_or_default();
        asked
            .into_iter()
            .chain(packaged.into_iter().rev().map(|(_, dir)| dir))
            .chain(std::env::split_paths(&path))
            .find_map(Self::at)
            .ok_or(ClusterError::NotInstalled)
    }

    fn at(bindir: PathBuf) -> Option<Self> {
        if !bindir.join("initdb").is_file() {
            return None;
        }
        let out = Command::new(bindir.join("postgres")).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&out.stdout);
        let version = text.trim().strip_prefix("postgres (PostgreSQL) ")?.to_owned();
        Some(Self { bindir, version })
    }

    /// A command of this installation (or, where it lacks one, on the PATH), without the `PG…` variables of our own environment.
    pub fn command(&self, program: &str) -> Command {
        let own = self.bindir.join(program);
        let mut command = Command::new(if own.exists() { &own } else { Path::new(program) });
        forget_pg_variables(&mut command);
        command
    }
}

fn forget_pg_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
}

/// The account that the server runs under; `None` for our own.
#[derive(Clone, Copy, Debug)]
struct Account(Option<(u32, u32)>);

impl Account {
    fn find() -> Result<Self, ClusterError> {
        if id(&["-u"]) != Some(0) {
            return Ok(Self(None));
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)))
            .map(|ids| Self(Some(ids)))
            .ok_or(ClusterError::NoAccount)
    }
    fn uid(self) -> Option<u32> {
        self.0.map_or_else(|| id(&["-u"]), |(uid, _)| Some(uid))
    }
    fn run(self, command: &mut Command) -> &mut Command {
        // The account may not be allowed to enter our working directory.
        command.current_dir("/");
        match self.0 {
            Some((uid, gid)) => command.uid(uid).gid(gid),
            None => command,
        }
    }
    fn give(self, path: &Path) -> Result<(), ClusterError> {
        match self.0 {
            Some((uid, gid)) => std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(io_error(format!(
                "can't give {} to the server's account",
                path.display()
            ))),
            None => Ok(()),
        }
    }
    fn write(self, path: &Path, text: &str) -> Result<(), ClusterError> {
        let fault = || io_error(format!("can't write {}", path.display()));
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(fault())?;
        file.write_all(text.as_bytes()).map_err(fault())?;
        self.give(path)
    }
}

fn id(args: &[&str]) -> Option<u32> {
    let out = Command::new("id").args(args).stderr(Stdio::null()).output().ok()?;
    String::from_utf8_lossy(&out.stdout).trim().parse().ok()
}

/// A running throw-away cluster.
#[derive(Debug)]
pub struct Cluster {
    installation: Installation,
    account: Account,
    options: ClusterOptions,
    dir: PathBuf,
    port: u16,
    keeper: Option<(Child, ChildStdin)>,
}

impl Cluster {
    /// Makes and starts one. Takes about a second the first time, less when the template made then is still there.
    pub fn start(options: ClusterOptions) -> Result<Self, ClusterError> {
        let installation = Installation::find()?;
        let account = Account::find()?;
        let dir = make_directory(account)?;
        let mut cluster = Self {
            installation,
            account,
            options,
            dir,
            port: 0,
            keeper: None,
        };
        cluster.fill_data_directory()?;
        cluster.launch()?;
        if let Some(password) = cluster.options.superuser_password.clone() {
            cluster.sql(
                "postgres",
                &format!("ALTER ROLE postgres PASSWORD {}", literal(&password)),
            )?;
        }
        Ok(cluster)
    }

    fn fill_data_directory(&self) -> Result<(), ClusterError> {
        let template = self.template()?;
        let data = self.data_directory();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(&template).arg(&data);
        succeed("cp", self.account.run(&mut copy))?;
        if let Some((chain, key)) = &self.options.tls {
            self.account.write(&data.join("server.crt"), chain)?;
            self.account.write(&data.join("server.key"), key)?;
        }
        let method = self.options.auth.as_str();
        let mut hba = String::from("local all postgres trust\n");
        for line in &self.options.hba {
            hba.push_str(line);
            hba.push('\n');
        }
        hba.push_str(&format!(
            "local all all {method}\nhost all all 127.0.0.1/32 {method}\nhost all all ::1/128 {method}\nlocal replication all {method}\nhost replication all 127.0.0.1/32 {method}\n"
        ));
        self.account.write(&data.join("pg_hba.conf"), &hba)
    }

    /// A data directory fresh from initdb, kept between runs, as initdb takes longer than everything else. One that another account
    /// could have prepared is not trusted.
    fn template(&self) -> Result<PathBuf, ClusterError> {
        let uid = self.account.uid().unwrap_or_default();
        let version: String = self
            .installation
            .version
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let kept = temp_dir().join(format!("pgward-template-{uid}-{version}"));
        let trusted = |path: &Path| {
            fs::symlink_metadata(path)
                .is_ok_and(|m| m.is_dir() && m.uid() == uid && m.permissions().mode() & 0o077 == 0)
        };
        if trusted(&kept) {
            return Ok(kept);
        }
        let fresh = self.dir.join("template");
        let mut initdb = self.installation.command("initdb");
        initdb.args([
            "--no-sync",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "-D",
        ]);
        initdb.arg(&fresh);
        succeed("initdb", self.account.run(&mut initdb))?;
        // Another process may have been faster, or the name may be taken by something that we don't trust: then ours serves once.
        match fs::rename(&fresh, &kept) {
            Ok(()) => Ok(kept),
            Err(_) => Ok(fresh),
        }
    }

    fn launch(&mut self) -> Result<(), ClusterError> {
        let mut attempt = 1;
        loop {
            if self.port == 0 {
                self.port = free_port().map_err(io_error("can't find a free port"))?;
            }
            self.write_settings()?;
            self.spawn()?;
            match self.wait_until_ready() {
                Err(ClusterError::NotStarted { log }) if attempt < PORT_ATTEMPTS && log.contains("could not bind") => {
                    self.end_keeper("INT");
                    self.port = 0;
                    attempt += 1;
                }
                Err(error) => {
                    self.end_keeper("QUIT");
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    fn write_settings(&self) -> Result<(), ClusterError> {
        let mut text = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = {}\nfsync = off\nsynchronous_commit = off\n\
             full_page_writes = off\nshared_buffers = '64MB'\nmax_connections = 100\nmax_wal_size = '512MB'\nautovacuum_naptime = '10min'\n\
             timezone = 'UTC'\nlog_timezone = 'UTC'\ndatestyle = 'iso, mdy'\ndefault_text_search_config = 'pg_catalog.english'\n",
            self.port,
            literal(&self.dir.to_string_lossy()),
        );
        if self.options.auth == Auth::Md5 {
            text.push_str("password_encryption = 'md5'\n");
        }
        if self.options.tls.is_some() {
            text.push_str("ssl = on\n");
        }
        for (name, value) in &self.options.settings {
            text.push_str(&format!("{name} = {}\n", literal(value)));
        }
        self.account
            .write(&self.data_directory().join("postgresql.conf"), &text)
    }

    fn spawn(&mut self) -> Result<(), ClusterError> {
        let log = self.log_file();
        self.account.write(&log, "")?;
        let out = fs::OpenOptions::new()
            .append(true)
            .open(&log)
            .map_err(io_error("can't open the server's log"))?;
        let err = out.try_clone().map_err(io_error("can't open the server's log"))?;
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "pgward-cluster"]).arg(&self.dir);
        keeper
            .arg(self.installation.bindir.join("postgres"))
            .arg("-D")
            .arg(self.data_directory());
        forget_pg_variables(&mut keeper);
        // A group of its own: Ctrl-C in the terminal is for us; we then stop the server in order.
        keeper.stdin(Stdio::piped()).stdout(out).stderr(err).process_group(0);
        let mut child = self
            .account
            .run(&mut keeper)
            .spawn()
            .map_err(io_error("can't run sh"))?;
        let stdin = child.stdin.take().ok_or_else(|| ClusterError::NotStarted {
            log: "no pipe to its keeper".into(),
        })?;
        self.keeper = Some((child, stdin));
        Ok(())
    }

    fn wait_until_ready(&self) -> Result<(), ClusterError> {
        let end = Instant::now() + START_TIMEOUT;
        let pid_file = self.data_directory().join("postmaster.pid");
        loop {
            // Its eighth line is the state (PostgreSQL source, miscadmin.h, LOCK_FILE_LINE_PM_STATUS).
            let state = fs::read_to_string(&pid_file).unwrap_or_default();
            if state.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            let log = fs::read_to_string(self.log_file()).unwrap_or_default();
            if Instant::now() > end || log.contains("FATAL:") {
                return Err(ClusterError::NotStarted { log: tail(&log) });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end_keeper(&mut self, signal: &str) {
        if let Some((mut child, mut stdin)) = self.keeper.take() {
            let _ = writeln!(stdin, "{signal}");
            drop(stdin);
            let _ = child.wait();
        }
    }

    /// Stops it in order (data stays, until it is dropped); [`Self::restart`] starts it again, on the same port.
    pub fn stop(&mut self) {
        self.end_keeper("INT");
    }

    /// Stops and starts it.
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        self.stop();
        self.launch()
    }

    /// The installation that it runs.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }
    /// TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// TCP address.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
    /// Directory of the Unix socket.
    pub fn socket_directory(&self) -> &Path {
        &self.dir
    }
    /// Data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.dir.join("data")
    }
    /// The server's log.
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }
    /// Connection string (libpq's and tokio-postgres' keywords) over TCP.
    pub fn connection_string(&self, role: &str, database: &str) -> String {
        format!("host=127.0.0.1 port={} user={role} dbname={database}", self.port)
    }
    /// Connection string of the superuser over the Unix socket, where he is always trusted.
    pub fn superuser_connection_string(&self, database: &str) -> String {
        format!(
            "host={} port={} user=postgres dbname={database}",
            self.dir.display(),
            self.port
        )
    }
    /// psql as superuser on `database`, without anyone's psqlrc; stops at the first error.
    pub fn psql(&self, database: &str) -> Command {
        let mut command = self.installation.command("psql");
        command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname"]);
        command.arg(self.superuser_connection_string(database));
        command
    }
    /// Runs statements as superuser; what they print, unaligned and without headings.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String, ClusterError> {
        let out = succeed(
            "psql",
            self.psql(database)
                .args(["--no-align", "--tuples-only", "--command", statements]),
        )?;
        Ok(String::from_utf8_lossy(&out.stdout).trim_end().to_owned())
    }
    /// Creates a database.
    pub fn create_database(&self, name: &str) -> Result<(), ClusterError> {
        self.sql("postgres", &format!("CREATE DATABASE {}", identifier(name)))
            .map(drop)
    }
    /// Creates a log-in role; with a password where one is given.
    pub fn create_role(&self, name: &str, password: Option<&str>) -> Result<(), ClusterError> {
        let password = password
            .map(|p| format!(" PASSWORD {}", literal(p)))
            .unwrap_or_default();
        self.sql("postgres", &format!("CREATE ROLE {} LOGIN{password}", identifier(name)))
            .map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some((mut child, stdin)) = self.keeper.take() {
            drop(stdin);
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Where the server's account can reach it, and where the socket's path stays below the 107 bytes that it may have.
fn temp_dir() -> PathBuf {
    let dir = std::env::temp_dir();
    let open_to_all = fs::metadata(&dir).is_ok_and(|m| m.permissions().mode() & 0o007 == 0o007);
    if open_to_all && dir.as_os_str().len() < 60 {
        dir
    } else {
        PathBuf::from("/tmp")
    }
}

fn make_directory(account: Account) -> Result<PathBuf, ClusterError> {
    let base = temp_dir();
    for _ in 0..100 {
        let dir = base.join(format!("pgward-cluster-{:08x}", rand::random::<u32>()));
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => {
                account.give(&dir)?;
                return Ok(dir);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error(format!("can't make a directory in {}", base.display()))(error)),
        }
    }
    Err(ClusterError::Io {
        what: format!("can't make a directory in {}", base.display()),
        source: io::ErrorKind::AlreadyExists.into(),
    })
}

fn succeed(program: &str, command: &mut Command) -> Result<Output, ClusterError> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .map_err(io_error(format!("can't run {program}")))?;
    if out.status.success() {
        return Ok(out);
    }
    let mut output = String::from_utf8_lossy(&out.stderr).into_owned();
    if output.trim().is_empty() {
        output = String::from_utf8_lossy(&out.stdout).into_owned();
    }
    Err(ClusterError::Program {
        program: program.to_owned(),
        output: tail(&output),
    })
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(15)..)
        .unwrap_or_default()
        .join("\n")
}

/// An SQL string literal. For names and passwords that we choose ourselves.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A quoted SQL identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether a program of this name stands in `PATH`.
pub fn in_path(program: impl AsRef<OsStr>) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program.as_ref()).is_file())
}

#[cfg(test)]
mod tests;
