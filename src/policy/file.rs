//! `pgward.toml` as written: one file, reviewed and versioned. [`super::Policy`] is its validated form.

use crate::plan::{ColumnName, KeyDomain, Mode};
use crate::value::Mask;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Version of the policy, chosen by its authors; stands in every access record.
    pub version: String,
    /// Where clients connect.
    pub listen: Listen,
    /// The PostgreSQL server.
    pub upstream: Upstream,
    /// pgward's own log-in at the server: reads the catalogs, keeps the keyring.
    pub control: Control,
    /// Where the root key comes from.
    pub keys: Keys,
    /// The journal of access records.
    pub journal: Journal,
    /// Admin port.
    #[serde(default)]
    pub admin: Admin,
    /// Caps and time-outs.
    #[serde(default)]
    pub limits: Limits,
    /// Categories of personal data, by name.
    #[serde(default)]
    pub categories: BTreeMap<String, Category>,
    /// Purposes, by name.
    #[serde(default)]
    pub purposes: BTreeMap<String, Purpose>,
    /// Protected tables.
    #[serde(default, rename = "table")]
    pub tables: Vec<Table>,
    /// Groups of handlers, by name.
    #[serde(default)]
    pub groups: BTreeMap<String, Group>,
    /// Handlers, by name.
    #[serde(default)]
    pub handlers: BTreeMap<String, Handler>,
    /// Grants, in order.
    #[serde(default, rename = "grant")]
    pub grants: Vec<Grant>,
}

/// Client-side TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientTls {
    /// Answer `N` to SSLRequest.
    Off,
    /// Offer it.
    #[default]
    Allow,
    /// Refuse clients without it.
    Require,
}

/// Upstream TLS, as libpq's sslmode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamTls {
    /// Never.
    Disable,
    /// Where the server offers it, without checking its certificate.
    #[default]
    Prefer,
    /// Always, without checking its certificate.
    Require,
    /// Always, chain and host name checked.
    VerifyFull,
}

/// `[listen]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// TCP addresses.
    pub addresses: Vec<SocketAddr>,
    /// TLS towards clients; default `off` without a certificate, `allow` with one.
    pub tls: Option<ClientTls>,
    /// PEM certificate chain.
    pub tls_cert: Option<PathBuf>,
    /// PEM private key.
    pub tls_key: Option<PathBuf>,
    /// PEM: clients must show a certificate of this authority.
    pub client_ca: Option<PathBuf>,
}

/// `[upstream]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Host name, address, or (beginning with `/`) socket directory.
    pub host: String,
    /// Port; 5432 where left out.
    #[serde(default = "default_port")]
    pub port: u16,
    /// TLS mode.
    #[serde(default)]
    pub tls: UpstreamTls,
    /// PEM: authorities for verify-full; the system's where left out.
    pub ca: Option<PathBuf>,
    /// The application database whose tables are protected, where `[[table]]` does not say otherwise.
    pub database: String,
}

fn default_port() -> u16 {
    5432
}

/// `[control]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Role that pgward itself logs in with.
    pub user: String,
    /// File with its password; without it, trust, peer or a certificate must do.
    pub password_file: Option<PathBuf>,
    /// Database of the keyring.
    #[serde(default = "default_control_database")]
    pub database: String,
}

fn default_control_database() -> String {
    "pgward".into()
}

/// `[keys]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "provider", rename_all = "kebab-case")]
pub enum Keys {
    /// A key file with mode 0600.
    File {
        /// Its path.
        path: PathBuf,
    },
}

/// `[journal]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Directory, owned by pgward alone.
    pub directory: PathBuf,
    /// Name of this node in the records; the host name where left out.
    pub node: Option<String>,
    /// Retention class of access records: `access-2y` or `access-1y`.
    #[serde(default = "default_retention")]
    pub retention_class: String,
}

fn default_retention() -> String {
    "access-2y".into()
}

/// `[admin]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address of /metrics, /healthz, /readyz; none where left out.
    pub address: Option<SocketAddr>,
}

/// `[limits]`: caps and time-outs. A connection keeps those with which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Clients at once.
    pub max_clients: usize,
    /// Bytes of statement text that is planned; longer ones are refused where they may touch a protected relation.
    pub max_statement_bytes: usize,
    /// Bytes of one message that has to be buffered because it is rewritten.
    pub max_rewritten_message_bytes: usize,
    /// Bytes that a session keeps for prepared statements: their texts, the plans of those on protected columns, and a fixed amount for each.
    pub max_prepared_bytes: usize,
    /// Bytes buffered towards one peer before reading from the other stops.
    pub buffer_bytes: usize,
    /// Seconds for start-up and authentication.
    pub authentication_timeout_seconds: u64,
    /// Seconds between looks at the catalog for DDL that did not pass through. Fixed while pgward runs.
    pub catalog_poll_seconds: u64,
    /// Seconds that running statements get on a graceful stop.
    pub shutdown_grace_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_clients: 5_000,
            max_statement_bytes: 1 << 20,
            max_rewritten_message_bytes: 64 << 20,
            max_prepared_bytes: 32 << 20,
            buffer_bytes: 256 << 10,
            authentication_timeout_seconds: 60,
            catalog_poll_seconds: 5,
            shutdown_grace_seconds: 30,
        }
    }
}

/// `[categories.<name>]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// How it is shown to those who may read it masked.
    pub mask: Mask,
    /// What it is, for people.
    pub description: Option<String>,
}

/// `[purposes.<name>]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// What it is, for people.
    pub description: String,
}

/// `[[table]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// `schema.table`; `public.` where left out.
    pub name: String,
    /// Database; that of `[upstream]` where left out.
    pub database: Option<String>,
    /// Column that identifies the data subject.
    pub subject: Option<String>,
    /// Protected columns.
    pub columns: BTreeMap<String, TableColumn>,
}

/// `[table.columns.<name>]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableColumn {
    /// Category.
    pub category: String,
    /// Mode; `sealed` where left out.
    #[serde(default = "default_mode")]
    pub mode: Mode,
    /// Key domain; the column's own where left out.
    pub key_domain: Option<String>,
}

fn default_mode() -> Mode {
    Mode::Sealed
}

/// `[groups.<name>]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What it is, for people.
    pub description: Option<String>,
}

/// `[handlers.<name>]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handler {
    /// Log-in role; the handler's name where left out.
    pub role: Option<String>,
    /// staff, contractor, service, admin.
    pub kind: HandlerKind,
    /// Groups.
    pub groups: Vec<String>,
    /// Purpose of his sessions unless they say otherwise (start-up option `-c pgward.purpose=…`).
    pub purpose: Option<String>,
}

/// Kind of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandlerKind {
    /// Employee.
    Staff,
    /// Processor's or agency's person.
    Contractor,
    /// A program.
    Service,
    /// Security or database administrator.
    Admin,
}

/// How a grant lets values be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadGrant {
    /// As they are.
    Clear,
    /// Through the category's mask.
    Masked,
}

/// `[[grant]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Group that gets it.
    pub group: String,
    /// Purpose that it is for.
    pub purpose: String,
    /// Columns: `schema.table.column` or `schema.table.*`.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Categories.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Reading.
    pub read: Option<ReadGrant>,
    /// Searching.
    #[serde(default)]
    pub search: bool,
    /// Writing.
    #[serde(default)]
    pub write: bool,
}

/// A column that the policy declares protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredColumn {
    /// Name.
    pub name: ColumnName,
    /// Mode.
    pub mode: Mode,
    /// Key domain.
    pub key_domain: KeyDomain,
    /// Category.
    pub category: Arc<str>,
    /// The table's subject column.
    pub subject: Option<Arc<str>>,
}

/// What a handler may do with a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rights {
    /// Reading.
    pub read: Option<ReadGrant>,
    /// Searching.
    pub search: bool,
    /// Writing.
    pub write: bool,
}

impl Listen {
    /// TLS towards clients as it is in force: `off` without a certificate and `allow` with one, unless the file says otherwise.
    pub fn effective_tls(&self) -> ClientTls {
        match (self.tls, &self.tls_cert) {
            (Some(tls), _) => tls,
            (None, Some(_)) => ClientTls::Allow,
            (None, None) => ClientTls::Off,
        }
    }
}

impl HandlerKind {
    /// As it stands in the file and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            HandlerKind::Staff => "staff",
            HandlerKind::Contractor => "contractor",
            HandlerKind::Service => "service",
            HandlerKind::Admin => "admin",
        }
    }
}

/// A mode as it stands in the file.
pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Sealed => "sealed",
        Mode::Eq => "eq",
        Mode::Deterministic => "deterministic",
        Mode::None => "none",
    }
}

/// One thing that is wrong with a policy file. Holds no secret: none stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// Line in the file, from 1; `None` where the fault is that something is missing.
    pub line: Option<usize>,
    /// Path of the key, such as `handlers.kim.groups` or `grant[3].columns[1]` (counted from 1); empty for the file as a whole.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// What is wrong with a policy file: where, what, what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct PolicyError {
    /// Every fault found, one a line.
    pub message: String,
    /// The same, one by one; empty where the file could not even be read.
    pub faults: Vec<Fault>,
}

impl PolicyError {
    pub(super) fn from_faults(faults: Vec<Fault>) -> Self {
        let message = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n");
        Self { message, faults }
    }
}
