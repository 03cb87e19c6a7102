//! A session without sockets: both peers are scripts, the journal answers when told to.
#![allow(clippy::wrong_self_convention)] // named after the directions, as in the session itself

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pgward::audit::{Journal, JournalError, JournalOptions};
use pgward::crypto::{DataKey, KeyState, Keyring, SecretKey};
use pgward::metrics::Metrics;
use pgward::plan::introspect::Declarations;
use pgward::plan::*;
use pgward::policy::Policy;
use pgward::session::*;
use pgward::value::LogicalType;
use pgward::wire::compose;
use pgward::wire::inbuf::InBuf;
use pgward::wire::startup::StartupMessage;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// See [`surroundings`].
pub const POLICY: &str = r#"
version = "test-1"
[listen]
addresses = ["127.0.0.1:0"]
[upstream]
host = "127.0.0.1"
database = "shop"
[control]
user = "pgward"
[keys]
provider = "file"
path = "/nowhere/root.key"
[journal]
directory = "/nowhere/journal"
[purposes.work]
description = "testing"
[groups.app]
[groups.masked]
[groups.nobody]
[handlers.app]
kind = "service"
groups = ["app"]
purpose = "work"
[handlers.mia]
kind = "staff"
groups = ["masked"]
purpose = "work"
[handlers.ned]
kind = "staff"
groups = ["nobody"]
purpose = "work"
[[table]]
name = "public.customers"
subject = "id"
[table.columns]
email = { category = "email", mode = "eq" }
name = { category = "name" }
[[grant]]
group = "app"
purpose = "work"
categories = ["email", "name"]
read = "clear"
search = true
write = true
[[grant]]
group = "masked"
purpose = "work"
categories = ["email", "name"]
read = "masked"
"#;

/// OID of public.customers.
pub const CUSTOMERS: u32 = 16_400;

fn relation_name() -> RelationName {
    RelationName {
        schema: "public".into(),
        name: "customers".into(),
    }
}

fn protected(id: u32, name: &str, mode: Mode, category: &str) -> ColumnRef {
    Arc::new(ProtectedColumn {
        id: ColumnId(id),
        name: ColumnName {
            relation: relation_name(),
            column: name.into(),
        },
        mode,
        key_domain: KeyDomain(format!("public.customers.{name}").into()),
        logical_type: LogicalType::Text,
        category: category.into(),
    })
}

/// `customers(id int4, email text eq, name text sealed, note text)`.
pub fn snapshot() -> Snapshot {
    let column = |name: &str, attnum, type_oid, protected: Option<ColumnRef>| schema::Column {
        name: name.into(),
        attnum,
        type_oid,
        typmod: -1,
        not_null: attnum == 1,
        has_default: false,
        stored_sealed: protected.is_some(),
        protected,
        unusable: None,
    };
    let email = protected(1, "email", Mode::Eq, "email");
    let name = protected(2, "name", Mode::Sealed, "name");
    let declare = |c: &ColumnRef| {
        let declaration = Declaration {
            id: c.id,
            name: c.name.clone(),
            mode: c.mode,
            key_domain: c.key_domain.clone(),
            category: c.category.clone(),
        };
        (c.name.clone(), Arc::new(declaration))
    };
    let declarations = HashMap::from([declare(&email), declare(&name)]);
    let relation = Arc::new(schema::Relation {
        oid: CUSTOMERS,
        name: relation_name(),
        kind: schema::RelationKind::Table,
        columns: vec![
            column("id", 1, 23, None),
            column("email", 2, 16_390, Some(email)),
            column("name", 3, 16_390, Some(name)),
            column("note", 4, 25, None),
        ],
        unique: vec![],
        protected: true,
        touches_protected: None,
        subject: Some("id".into()),
    });
    Snapshot {
        version: 1,
        fingerprint: 1,
        relations: HashMap::from([(relation_name(), relation.clone())]),
        protected_by_oid: BTreeMap::from([(CUSTOMERS, relation)]),
        declarations,
        subjects: HashMap::from([(relation_name(), "id".into())]),
        sensitive_names: ["customers".into()].into(),
        sensitive_functions: Default::default(),
        sealed_domain_oid: Some(16_390),
    }
}

fn keyring() -> Keyring {
    let key = |id: u32, name: &str| DataKey {
        id,
        domain: KeyDomain(format!("public.customers.{name}").into()),
        domain_id: ColumnId(id),
        state: KeyState::Active,
        created_at: 0,
        secret: SecretKey::from_slice(&[id as u8; 32]),
    };
    let pseudonym = SecretKey::from_slice(&[9; 32]).expect("32 bytes");
    match Keyring::new(&[7; 16], vec![key(1, "email"), key(2, "name")], &pseudonym) {
        Ok(keyring) => keyring,
        Err(error) => panic!("{error}"),
    }
}

/// Both peers and the journal of one session.
pub struct Scripted {
    pub session: Session,
    from_client: InBuf,
    from_server: InBuf,
    /// Records submitted, with the tickets that wait.
    pub records: Vec<(Ticket, Box<pgward::audit::AccessRecord>)>,
    _journal: Option<tempfile::TempDir>,
}

/// A frame: type and body.
pub type Frame = (u8, Vec<u8>);

fn frames(out: &mut impl Buf) -> Vec<Frame> {
    let mut bytes = out.copy_to_bytes(out.remaining());
    let mut frames = Vec::new();
    while bytes.has_remaining() {
        let tag = bytes.get_u8();
        let length = bytes.get_u32() as usize;
        frames.push((tag, bytes.split_to(length - 4).to_vec()));
    }
    frames
}

/// Only the types.
pub fn tags(frames: &[Frame]) -> String {
    frames.iter().map(|(tag, _)| char::from(*tag)).collect()
}

/// What a database and a process share, over the fixed catalog.
pub fn surroundings(protected: bool) -> (Arc<Shared>, Arc<Database>, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let journal = Journal::open(&JournalOptions::new(directory.path().join("journal"))).expect("a journal");
    let shared = Shared {
        policy: arc_swap::ArcSwap::from_pointee(Policy::parse(POLICY).expect("a policy")),
        metrics: Arc::new(Metrics::new()),
        journal,
        clock: || 1_000_000,
    };
    let snapshot = if protected { snapshot() } else { Snapshot::default() };
    let database = Database {
        name: "shop".into(),
        catalog: arc_swap::ArcSwap::from_pointee(snapshot),
        declarations: arc_swap::ArcSwap::from_pointee(Declarations::default()),
        keyring: arc_swap::ArcSwap::from_pointee(Some(keyring())),
        plans: PlanCache::default(),
    };
    (Arc::new(shared), Arc::new(database), directory)
}

impl Scripted {
    /// Logged in as `role`, in the state after the first ReadyForQuery.
    pub fn new(role: &str, protected: bool) -> Self {
        Self::with_policy(role, protected, "")
    }

    /// The same with more in the policy.
    pub fn with_policy(role: &str, protected: bool, more: &str) -> Self {
        let (shared, database, directory) = surroundings(protected);
        let policy = Policy::parse(&format!("{POLICY}{more}")).expect("a policy");
        shared.policy.store(Arc::new(policy));
        let mut scripted = Self::with(role, shared, database);
        scripted._journal = Some(directory);
        scripted
    }

    pub fn with(role: &str, shared: Arc<Shared>, database: Arc<Database>) -> Self {
        let mut raw = BytesMut::new();
        raw.put_u32(0);
        raw.put_u32(196_608);
        raw.put_slice(format!("user\0{role}\0database\0shop\0\0").as_bytes());
        let length = raw.len() as u32;
        raw[..4].copy_from_slice(&length.to_be_bytes());
        let startup = StartupMessage {
            raw: raw.freeze(),
            protocol: 196_608,
            parameters: vec![("user".into(), role.into()), ("database".into(), "shop".into())],
        };
        let peer = Peer {
            addr: None,
            tls: false,
            cert_fingerprint: None,
        };
        let session = Session::new(shared, database, startup, peer, Bytes::from_static(b"key!"));
        let mut scripted = Self {
            session,
            from_client: InBuf::default(),
            from_server: InBuf::default(),
            records: Vec::new(),
            _journal: None,
        };
        let out = scripted.session.to_server();
        out.advance(out.remaining());
        let mut login = BytesMut::new();
        message(&mut login, b'R', &[0, 0, 0, 0]);
        for (name, value) in [
            ("client_encoding", "UTF8"),
            ("server_encoding", "UTF8"),
            ("standard_conforming_strings", "on"),
            ("DateStyle", "ISO, MDY"),
            ("TimeZone", "UTC"),
        ] {
            message(&mut login, b'S', format!("{name}\0{value}\0").as_bytes());
        }
        message(&mut login, b'K', b"\0\0\0\x05beef");
        message(&mut login, b'Z', b"I");
        scripted.server(&login);
        assert_eq!(tags(&scripted.to_client()), "RSSSSSKZ");
        scripted.records.clear();
        scripted
    }

    fn effects(&mut self) {
        while let Some(effect) = self.session.next_effect() {
            if let Effect::Append(ticket, record) = effect {
                self.records.push((ticket, record));
            }
        }
    }

    /// The client sends bytes.
    pub fn client(&mut self, bytes: &[u8]) {
        self.from_client.extend_from_slice(bytes);
        self.session.from_client(&mut self.from_client);
        self.effects();
    }

    /// The server sends bytes. The client's left-over input is offered again.
    pub fn server(&mut self, bytes: &[u8]) {
        self.from_server.extend_from_slice(bytes);
        self.session.from_server(&mut self.from_server);
        self.session.from_client(&mut self.from_client);
        self.effects();
    }

    /// The journal answers everything that waits.
    pub fn journal(&mut self, durable: bool) -> Vec<pgward::audit::AccessRecord> {
        let mut answered = Vec::new();
        for (ticket, record) in std::mem::take(&mut self.records) {
            let result = if durable {
                Ok(())
            } else {
                Err(JournalError {
                    message: "no space".into(),
                })
            };
            self.session.appended(ticket, result);
            answered.push(*record);
        }
        self.session.from_client(&mut self.from_client);
        self.effects();
        answered
    }

    pub fn to_server(&mut self) -> Vec<Frame> {
        frames(self.session.to_server())
    }

    pub fn to_client(&mut self) -> Vec<Frame> {
        frames(self.session.to_client())
    }

    /// Answers pgward's own question about the scope, asked by a simple query or by extended messages.
    pub fn answer_scope(&mut self) {
        let asked = tags(&self.to_server());
        let mut answer = BytesMut::new();
        match asked.as_str() {
            "Q" => {
                row_description(
                    &mut answer,
                    &[
                        ("a", 0, 0, 25),
                        ("b", 0, 0, 25),
                        ("c", 0, 0, 25),
                        ("d", 0, 0, 25),
                        ("e", 0, 0, 25),
                        ("f", 0, 0, 25),
                        ("g", 0, 0, 25),
                        ("h", 0, 0, 25),
                        ("i", 0, 0, 25),
                    ],
                );
                scope_row(&mut answer);
                message(&mut answer, b'C', b"SELECT 1\0");
                message(&mut answer, b'Z', b"I");
            }
            "CPBECCH" | "CPBECCS" => {
                message(&mut answer, b'3', b"");
                message(&mut answer, b'1', b"");
                message(&mut answer, b'2', b"");
                scope_row(&mut answer);
                message(&mut answer, b'C', b"SELECT 1\0");
                message(&mut answer, b'3', b"");
                message(&mut answer, b'3', b"");
                if asked.ends_with('S') {
                    message(&mut answer, b'Z', b"I");
                }
            }
            other => panic!("not a question about the scope: {other}"),
        }
        self.server(&answer);
    }
}

/// The answer to the question about the scope.
pub fn scope_row(out: &mut BytesMut) {
    scope_row_in(out, "UTF8");
}

/// The same of a connection with this client encoding.
pub fn scope_row_in(out: &mut BytesMut, encoding: &str) {
    data_row(
        out,
        &[
            // ["pg_catalog","public"]
            Some(b"5b2270675f636174616c6f67222c227075626c6963225d"),
            None,
            Some(b"hex"),
            Some(b"1"),
            Some(b"false"),
            Some(b"ISO, MDY"),
            Some(b"UTC"),
            Some(encoding.as_bytes()),
            Some(b"on"),
        ],
    );
}

/// Appends a frame.
pub fn message(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    out.put_u32(body.len() as u32 + 4);
    out.put_slice(body);
}

pub fn query(sql: &str) -> BytesMut {
    let mut out = BytesMut::new();
    compose::query(&mut out, sql.as_bytes());
    out
}

/// Name, table, attnum, type of each column.
pub fn row_description(out: &mut BytesMut, columns: &[(&str, u32, i16, u32)]) {
    let fields = columns
        .iter()
        .map(|(name, table, attnum, type_oid)| pgward::wire::read::Field {
            name: name.as_bytes(),
            table: *table,
            attnum: *attnum,
            type_oid: *type_oid,
            typlen: -1,
            typmod: -1,
            format: 0,
        });
    compose::row_description(out, fields);
}

pub fn data_row(out: &mut BytesMut, values: &[Option<&[u8]>]) {
    let mut body = BytesMut::new();
    body.put_u16(values.len() as u16);
    for value in values {
        match value {
            None => body.put_i32(-1),
            Some(value) => {
                body.put_i32(value.len() as i32);
                body.put_slice(value);
            }
        }
    }
    message(out, b'D', &body);
}
