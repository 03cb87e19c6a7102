//! What the demo plays on: a throw-away cluster, a policy, keys, and `pgward serve` as a process of its own, run by the same commands that
//! anyone would type.

use crate::cli::cluster::{Auth, Cluster, ClusterOptions, free_port};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// The application's database.
pub const DATABASE: &str = "shop";
/// The superuser's password: only for the connection string that is printed, as the cluster trusts him on its own socket.
pub const PASSWORD: &str = "demo";
/// Log-in roles; each has [`PASSWORD`].
pub const ROLES: [&str; 4] = ["shop", "support", "marketing", "analyst"];

const POLICY: &str = include_str!("policy.toml");
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A fault of the demo: what went wrong.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// See the module. What it started ends when it is dropped.
pub struct Stage {
    /// The server.
    pub cluster: Cluster,
    /// Where pgward listens.
    pub port: u16,
    /// pgward's admin port.
    pub admin_port: u16,
    dir: tempfile::TempDir,
    proxy: Option<Child>,
}

impl Stage {
    /// The cluster with its roles and an empty database.
    pub fn build() -> Result<Self, Fault> {
        let cluster = Cluster::start(ClusterOptions {
            auth: Auth::ScramSha256,
            superuser_password: Some(PASSWORD.into()),
            ..Default::default()
        })?;
        for role in ROLES.iter().chain(&["pgward"]) {
            cluster.create_role(role, Some(PASSWORD))?;
        }
        // No superuser: pgward makes its control database, and a schema with the storage domain in the application's.
        cluster.sql("postgres", "ALTER ROLE pgward CREATEDB")?;
        cluster.sql("postgres", &format!("CREATE DATABASE {DATABASE} OWNER shop"))?;
        cluster.sql("postgres", &format!("GRANT CREATE ON DATABASE {DATABASE} TO pgward"))?;
        let dir = tempfile::Builder::new().prefix("pgward-demo-").tempdir()?;
        let stage = Self {
            cluster,
            port: free_port()?,
            admin_port: free_port()?,
            dir,
            proxy: None,
        };
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(stage.path("control-password"))?;
        writeln!(file, "{PASSWORD}")?;
        stage.write_policy("pgward.toml", &stage.journal())?;
        Ok(stage)
    }

    /// Writes the policy, with the journal in this directory, to a file of this name.
    pub fn write_policy(&self, name: &str, journal: &Path) -> Result<PathBuf, Fault> {
        let text = POLICY
            .replace("@LISTEN@", &self.port.to_string())
            .replace("@UPSTREAM@", &self.cluster.port().to_string())
            .replace("@ADMIN@", &self.admin_port.to_string())
            .replace("@JOURNAL@", &journal.to_string_lossy())
            .replace("@DIRECTORY@", &self.dir.path().to_string_lossy());
        let path = self.path(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// A file in the demo's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    /// The policy file.
    pub fn config(&self) -> PathBuf {
        self.path("pgward.toml")
    }
    /// The journal's directory.
    pub fn journal(&self) -> PathBuf {
        self.path("journal")
    }

    /// Runs `pgward <args> --config <config>`.
    pub fn pgward(&self, args: &[&str], config: &Path) -> Result<Output, Fault> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(command
            .args(args)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .output()?)
    }

    /// The same with the demo's policy; it must succeed. What it printed.
    pub fn pgward_ok(&self, args: &[&str]) -> Result<String, Fault> {
        let out = self.pgward(args, &self.config())?;
        if !out.status.success() {
            return Err(format!(
                "pgward {} failed: {}",
                args.join(" "),
                String::from_utf8_lossy(&out.stderr)
            )
            .into());
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Starts `pgward serve` and waits until it accepts connections.
    pub fn serve(&mut self) -> Result<(), Fault> {
        let log_file = self.path("pgward.log");
        let log = std::fs::File::create(&log_file)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg("--config").arg(self.config());
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let child = self.proxy.insert(child);
        let end = Instant::now() + START_TIMEOUT;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if child.try_wait()?.is_some() || Instant::now() > end {
                let log = std::fs::read_to_string(&log_file).unwrap_or_default();
                return Err(format!("pgward serve did not come up:\n{log}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Connects through pgward.
    pub async fn through(&self, role: &str) -> Result<Client, Fault> {
        connect(&format!(
            "host=127.0.0.1 port={} user={role} dbname={DATABASE} password={PASSWORD}",
            self.port
        ))
        .await
    }
    /// Connects to the server itself.
    pub async fn around(&self, role: &str) -> Result<Client, Fault> {
        connect(&format!(
            "{} password={PASSWORD}",
            self.cluster.connection_string(role, DATABASE)
        ))
        .await
    }
    /// For psql, through pgward.
    pub fn url_through(&self, role: &str) -> String {
        format!("postgresql://{role}:{PASSWORD}@127.0.0.1:{}/{DATABASE}", self.port)
    }
    /// For psql, around pgward.
    pub fn url_around(&self, role: &str) -> String {
        format!(
            "postgresql://{role}:{PASSWORD}@127.0.0.1:{}/{DATABASE}",
            self.cluster.port()
        )
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut child) = self.proxy.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn connect(parameters: &str) -> Result<Client, Fault> {
    let (client, connection) = tokio_postgres::connect(parameters, NoTls).await?;
    // Its end is seen by the client's next statement.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}
