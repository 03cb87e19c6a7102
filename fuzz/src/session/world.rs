//! What the fuzzed sessions live in: a policy with handlers of all kinds of rights, a catalog with protected columns of every mode, a keyring.

use arc_swap::ArcSwap;
use bytes::{BufMut, Bytes, BytesMut};
use pgward::audit::{Journal, JournalOptions};
use pgward::crypto::{DataKey, KeyState, Keyring, SecretKey};
use pgward::metrics::Metrics;
use pgward::plan::introspect::{Declarations, SnapshotBuilder};
use pgward::plan::{ColumnId, ColumnName, Declaration, KeyDomain, Mode, RelationName, Snapshot, Use};
use pgward::policy::{Disclosure, Policy, danger::unchecked_permit};
use pgward::session::{Database, Peer, PlanCache, Session, Shared};
use pgward::wire::startup::StartupMessage;
use std::sync::{Arc, LazyLock};

const POLICY: &str = r#"
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
[groups.writers]
[groups.nobody]
[handlers.app]
kind = "service"
groups = ["app"]
purpose = "work"
[handlers.mia]
kind = "staff"
groups = ["masked"]
purpose = "work"
[handlers.wil]
kind = "service"
groups = ["writers"]
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
phone = { category = "mobile-phone", mode = "deterministic" }
city = { category = "country", mode = "none" }
[[grant]]
group = "app"
purpose = "work"
columns = ["public.customers.email", "public.customers.name", "public.customers.phone", "public.customers.city"]
read = "clear"
search = true
write = true
[[grant]]
group = "masked"
purpose = "work"
columns = ["public.customers.email", "public.customers.name", "public.customers.phone", "public.customers.city"]
read = "masked"
search = true
[[grant]]
group = "writers"
purpose = "work"
columns = ["public.customers.email", "public.customers.name", "public.customers.phone", "public.customers.city"]
write = true
"#;

/// Limits as small as they may be: every bound is met by small inputs.
const SMALL: &str = "[limits]\nbuffer_bytes = 8192\nmax_statement_bytes = 1024\nmax_rewritten_message_bytes = 65536\n";

/// Who may log in. Only the first may see what is sealed in clear.
pub const ROLES: [&str; 5] = ["app", "mia", "wil", "ned", "stranger"];

/// OID of public.customers.
pub const CUSTOMERS: u32 = 16_400;
/// OID of the domain pgward.sealed.
pub const SEALED: u32 = 16_390;

/// What the catalog query answers; `~` stands for NULL.
pub const CATALOG: &str = "\
d|16390|~|~|~|~|~|~
r|16400|~|customers|public|r|~|~
c|16400|1|id|23|-1|n|~
c|16400|2|email|16390|-1||pgward: text
c|16400|3|name|16390|-1||pgward: text
c|16400|4|note|25|-1||~
c|16400|5|phone|16390|-1||pgward: text
c|16400|6|city|25|-1||~
r|16401|~|customers_pkey|public|i|~|~
k|16400|1|customers_pkey|1|~|c|~
r|16402|~|plain|public|r|~|~
c|16402|1|a|23|-1||~
c|16402|2|b|25|-1||~
r|16403|~|people|public|v|~|~
c|16403|1|email|16390|-1||~
v|16403|16400|~|~|~|~|~
f|~|~|count_customers|SELECT count(*) FROM customers|~|~|~";

/// Stands sealed in rows that the server sends. Nothing else ever holds it.
pub const STORED: &[u8] = b"Zq7Stored@secret.example";
/// Stands in literals and parameters for protected columns that the client sends.
pub const GIVEN: &[u8] = b"Zq8Given@secret.example";

/// Stands in clear in rows that the server sends: the column of mode `none`.
pub const CITY: &[u8] = b"Lisboa";

/// The protected columns: id, name, mode.
const COLUMNS: [(u32, &str, Mode, &str); 4] = [
    (1, "email", Mode::Eq, "email"),
    (2, "name", Mode::Sealed, "name"),
    (3, "phone", Mode::Deterministic, "mobile-phone"),
    (4, "city", Mode::None, "country"),
];

fn relation() -> RelationName {
    RelationName {
        schema: "public".into(),
        name: "customers".into(),
    }
}

fn declarations() -> Declarations {
    let declare = |(id, name, mode, category): (u32, &str, Mode, &str)| {
        Arc::new(Declaration {
            id: ColumnId(id),
            name: ColumnName {
                relation: relation(),
                column: name.into(),
            },
            mode,
            key_domain: KeyDomain(format!("public.customers.{name}").into()),
            category: category.into(),
        })
    };
    Declarations {
        columns: COLUMNS.map(declare).to_vec(),
        subjects: vec![(relation(), "id".into())],
    }
}

/// A row of [`CATALOG`] as values.
pub fn catalog_row(line: &str) -> Vec<Option<&[u8]>> {
    line.split('|')
        .map(|value| (value != "~").then_some(value.as_bytes()))
        .collect()
}

fn snapshot(declarations: &Declarations) -> Snapshot {
    let mut builder = SnapshotBuilder::new(Arc::new(declarations.clone()));
    for line in CATALOG.lines() {
        builder.row(&catalog_row(line)).expect("a catalog row");
    }
    let snapshot = builder.finish();
    let customers = &snapshot.relations[&relation()];
    assert!(customers.columns.iter().all(|c| c.unusable.is_none()), "{customers:?}");
    assert_eq!(customers.columns.iter().filter(|c| c.protected.is_some()).count(), 4);
    snapshot
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
    let keys = COLUMNS.iter().map(|(id, name, ..)| key(*id, name)).collect();
    let pseudonym = SecretKey::from_slice(&[9; 32]).expect("32 bytes");
    Keyring::new(&[7; 16], keys, &pseudonym).expect("a keyring")
}

/// Everything that sessions share.
struct World {
    roomy: Arc<Shared>,
    tight: Arc<Shared>,
    protected: Arc<Database>,
    unprotected: Arc<Database>,
    /// An envelope of [`STORED`] for each sealed column.
    envelopes: Vec<Vec<u8>>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    // Nothing is ever appended to it: the harness answers for it. So its directory need not outlive its opening.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let journal = Journal::open(&JournalOptions::new(directory.path().join("journal"))).expect("a journal");
    let metrics = Arc::new(Metrics::new());
    let shared = |limits: &str| {
        let policy = Policy::parse(&format!("{POLICY}\n{limits}")).unwrap_or_else(|faults| panic!("{faults}"));
        Arc::new(Shared {
            policy: ArcSwap::from_pointee(policy),
            metrics: metrics.clone(),
            journal: journal.clone(),
            clock: || 1_000_000,
        })
    };
    let database = |protected: bool| {
        let declarations = if protected {
            declarations()
        } else {
            Declarations::default()
        };
        let snapshot = if protected {
            snapshot(&declarations)
        } else {
            Snapshot::default()
        };
        Arc::new(Database {
            name: "shop".into(),
            catalog: ArcSwap::from_pointee(snapshot),
            declarations: ArcSwap::from_pointee(declarations),
            keyring: ArcSwap::from_pointee(protected.then(keyring)),
            plans: PlanCache::default(),
        })
    };
    let protected = database(true);
    let catalog = protected.catalog.load();
    let sealed = |(id, name, ..): &(u32, &str, Mode, &str)| {
        let column = catalog.relations[&relation()]
            .column(name)
            .and_then(|c| c.protected.clone());
        let column = column.expect("a protected column");
        let permit = unchecked_permit(ColumnId(*id), Use::Write, Disclosure::Clear);
        let mut envelope = BytesMut::new();
        keyring()
            .seal(&permit, &column, STORED, STORED, &mut envelope)
            .expect("sealed");
        envelope.to_vec()
    };
    let envelopes = COLUMNS[..3].iter().map(sealed).collect();
    World {
        roomy: shared(""),
        tight: shared(SMALL),
        protected: protected.clone(),
        unprotected: database(false),
        envelopes,
    }
});

/// What is stored for [`STORED`] in a column (0: email, 1: name, 2: phone).
pub fn envelope(column: usize) -> &'static [u8] {
    &WORLD.envelopes[column % 3]
}

/// How a session is made.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Index of [`ROLES`].
    pub role: usize,
    /// Whether the database has protected columns.
    pub protected: bool,
    /// Limits as small as they may be.
    pub tight: bool,
}

impl Setting {
    /// From one byte.
    pub fn read(byte: u8) -> Self {
        Self {
            role: usize::from(byte & 7) % ROLES.len(),
            protected: byte & 8 == 0,
            tight: byte & 16 != 0,
        }
    }
    /// Whether this handler may ever see what is sealed.
    pub fn may_see(self) -> bool {
        self.role == 0
    }
    /// Bytes after which reading from the other peer stops.
    pub fn buffer_bytes(self) -> usize {
        if self.tight { 8 << 10 } else { 256 << 10 }
    }
    /// A session that has its client's start-up.
    pub fn session(self) -> Session {
        let role = ROLES[self.role];
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
        let shared = if self.tight { &WORLD.tight } else { &WORLD.roomy };
        let database = if self.protected {
            &WORLD.protected
        } else {
            &WORLD.unprotected
        };
        Session::new(
            shared.clone(),
            database.clone(),
            startup,
            peer,
            Bytes::from_static(b"key!"),
        )
    }
}
