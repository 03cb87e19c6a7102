//! pgward's own log-in, the control database and the storage domain, against a real PostgreSQL.

use pgward::cli::cluster::{Auth, Cluster, ClusterOptions};
use pgward::control::{self, ControlError};
use pgward::crypto::root::{KeyFile, RootKey, RootKeyError};
use pgward::crypto::{KeyState, Keyring};
use pgward::plan::{ColumnId, ColumnName, Declaration, KeyDomain, Mode, ProtectedColumn, RelationName, Use};
use pgward::policy::Disclosure;
use pgward::policy::danger::unchecked_permit;
use pgward::policy::file::{DeclaredColumn, File};
use pgward::value::{LogicalType, Plaintext};
use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

#[path = "control/log_in.rs"]
mod log_in;

const PASSWORD: &str = "correct horse battery staple";

/// A server with a database `app`, pgward's role (no superuser), and a directory for keys.
struct Fixture {
    cluster: Cluster,
    directory: tempfile::TempDir,
}

impl Fixture {
    async fn new(options: ClusterOptions) -> Self {
        let cluster = Cluster::start(options).unwrap();
        let admin = superuser(&cluster, "postgres").await;
        for statement in [
            &format!("CREATE ROLE keeper LOGIN CREATEDB PASSWORD '{PASSWORD}'"),
            "CREATE ROLE application LOGIN",
            "CREATE ROLE powerless LOGIN",
            "CREATE DATABASE app",
            "GRANT CREATE ON DATABASE app TO keeper",
        ] {
            admin.batch_execute(statement).await.unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { cluster, directory }
    }

    async fn trusting() -> Self {
        Self::new(ClusterOptions::default()).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A policy with further lines in `[upstream]`.
    fn file(&self, upstream: &str) -> File {
        let text = format!(
            "version = \"1\"
             [listen]
             addresses = [\"127.0.0.1:0\"]
             [upstream]
             port = {}
             database = \"app\"
             {upstream}
             [control]
             user = \"keeper\"
             password_file = \"{}\"
             [keys]
             provider = \"file\"
             path = \"{}\"
             [journal]
             directory = \"/nonexistent\"",
            self.cluster.port(),
            self.path("password").display(),
            self.path("root.key").display(),
        );
        toml::from_str(&text).unwrap()
    }

    fn tcp(&self) -> File {
        self.file("host = \"127.0.0.1\"\ntls = \"disable\"")
    }

    async fn init(&self) -> Result<control::init::Report, ControlError> {
        control::init(&self.tcp(), &|_| declared()).await
    }
}

async fn superuser(cluster: &Cluster, database: &str) -> Client {
    connect(&cluster.superuser_connection_string(database)).await
}

async fn connect(settings: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(settings, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn declared_column(table: &str, column: &str, mode: Mode, domain: &str) -> DeclaredColumn {
    DeclaredColumn {
        name: ColumnName {
            relation: RelationName {
                schema: "public".into(),
                name: table.into(),
            },
            column: column.into(),
        },
        mode,
        key_domain: KeyDomain(domain.into()),
        category: "contact".into(),
        subject: None,
    }
}

fn declared() -> Vec<DeclaredColumn> {
    vec![
        declared_column("customers", "email", Mode::Eq, "addresses"),
        declared_column("orders", "email", Mode::Eq, "addresses"),
        declared_column("customers", "name", Mode::Sealed, "public.customers.name"),
        declared_column("customers", "id", Mode::Deterministic, "ids"),
        declared_column("customers", "country", Mode::None, "public.customers.country"),
    ]
}

fn protected(declaration: &Declaration) -> ProtectedColumn {
    ProtectedColumn {
        id: declaration.id,
        name: declaration.name.clone(),
        mode: declaration.mode,
        key_domain: declaration.key_domain.clone(),
        logical_type: LogicalType::Text,
        category: declaration.category.clone(),
    }
}

fn seal(keyring: &Keyring, column: &ProtectedColumn, value: &[u8]) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    let permit = unchecked_permit(column.id, Use::Write, Disclosure::Clear);
    keyring.seal(&permit, column, value, value, &mut out).unwrap();
    out.to_vec()
}

fn open(keyring: &Keyring, column: &ProtectedColumn, envelope: &[u8]) -> Vec<u8> {
    let mut out = Plaintext::default();
    let permit = unchecked_permit(column.id, Use::Read, Disclosure::Clear);
    keyring.open(&permit, column, envelope, &mut out).unwrap();
    out.to_vec()
}

fn load_root(path: &Path) -> KeyFile {
    KeyFile::load(path).unwrap()
}

/// The message with its causes, as the command line prints it.
fn explain(error: &ControlError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("; {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn init_makes_everything_once() {
    let fixture = Fixture::trusting().await;
    let file = fixture.tcp();
    assert!(matches!(
        control::connect_store(&file).await,
        Err(ControlError::NotInitialised)
    ));

    let first = fixture.init().await.unwrap();
    assert!(first.new_root_key && first.new_control_database && first.new_store);
    assert_eq!(first.databases.len(), 1);
    let made = &first.databases[0];
    // Keys: addresses, name, ids, pseudonyms; none for the column that is not sealed.
    assert_eq!(
        (made.new_domain, made.registered.new_columns, made.registered.new_keys),
        (true, 5, 4)
    );
    let key_file = std::fs::read(fixture.path("root.key")).unwrap();
    let ids: Vec<ColumnId> = made.registered.declarations.iter().map(|column| column.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5].map(ColumnId));

    let second = fixture.init().await.unwrap();
    assert!(!second.new_root_key && !second.new_control_database && !second.new_store);
    assert_eq!(second.fingerprint, first.fingerprint);
    let again = &second.databases[0];
    assert_eq!(
        (
            again.new_domain,
            again.registered.new_columns,
            again.registered.new_keys
        ),
        (false, 0, 0)
    );
    assert_eq!(again.registered.database, made.registered.database);
    assert_eq!(again.registered.declarations, made.registered.declarations);
    assert_eq!(std::fs::read(fixture.path("root.key")).unwrap(), key_file);

    // Nobody else gets into the control database.
    let settings = fixture.cluster.connection_string("application", "pgward");
    let refused = tokio_postgres::connect(&settings, tokio_postgres::NoTls)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
}

#[tokio::test]
async fn a_keyring_opens_after_a_restart_what_was_sealed_before() {
    let fixture = Fixture::trusting().await;
    fixture.init().await.unwrap();
    let root = load_root(&fixture.path("root.key"));
    let mut store = control::connect_store(&fixture.tcp()).await.unwrap();
    let registered = control::ensure_registered(&mut store, &root, "app", &declared())
        .await
        .unwrap();
    let before = control::load_keyring(&store, &root, "app").await.unwrap();
    let after = control::load_keyring(&store, &load_root(&fixture.path("root.key")), "app")
        .await
        .unwrap();
    for declaration in registered
        .declarations
        .iter()
        .filter(|declaration| declaration.mode.is_sealed())
    {
        let column = protected(declaration);
        assert_eq!(open(&after, &column, &seal(&before, &column, b"value")), b"value");
    }
    let table = &registered.declarations[0].name.relation;
    assert_eq!(before.pseudonym(table, b"42"), after.pseudonym(table, b"42"));

    let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    assert_eq!(after.keys().count(), 3);
    for key in after.keys() {
        assert_eq!(key.state, KeyState::Active);
        assert!(
            (now - 600..=now + 600).contains(&key.created_at),
            "created at {}",
            key.created_at
        );
    }
}

#[tokio::test]
async fn columns_declared_later_get_ids_that_were_never_used() {
    let fixture = Fixture::trusting().await;
    fixture.init().await.unwrap();
    let root = load_root(&fixture.path("root.key"));
    let mut store = control::connect_store(&fixture.tcp()).await.unwrap();
    let more = [
        declared_column("customers", "phone", Mode::Sealed, "phones"),
        declared_column("customers", "email", Mode::Eq, "addresses"),
    ];
    let registered = control::ensure_registered(&mut store, &root, "app", &more)
        .await
        .unwrap();
    assert_eq!((registered.new_columns, registered.new_keys), (1, 1));
    assert_eq!(registered.declarations[1].id, ColumnId(1));
    // Columns 1 to 5, key domains 6 to 8: one numbering.
    assert_eq!(registered.declarations[0].id, ColumnId(9));

    // The same columns of another database are other columns, with other keys.
    let other = control::ensure_registered(&mut store, &root, "other", &more)
        .await
        .unwrap();
    assert_ne!(other.database, registered.database);
    assert_eq!((other.new_columns, other.new_keys), (2, 3));
    assert!(matches!(
        control::load_keyring(&store, &root, "third").await.err(),
        Some(ControlError::UnknownDatabase(name)) if name == "third"
    ));
}

#[tokio::test]
async fn a_wrong_a_missing_and_a_damaged_root_key_are_told_apart() {
    let fixture = Fixture::trusting().await;
    fixture.init().await.unwrap();
    let path = fixture.path("root.key");
    let right = std::fs::read(&path).unwrap();

    std::fs::remove_file(&path).unwrap();
    let lost = fixture.init().await.unwrap_err();
    assert!(matches!(
        &lost,
        ControlError::RootKeyLost {
            source: RootKeyError::Missing(_),
            ..
        }
    ));
    assert!(explain(&lost).contains("restore the key"), "{}", explain(&lost));
    assert!(!path.exists(), "no new key in place of a lost one");

    KeyFile::create(&path).unwrap();
    let wrong = fixture.init().await.unwrap_err();
    assert!(matches!(&wrong, ControlError::WrongRootKey { stored, given } if stored != given));
    let store = control::connect_store(&fixture.tcp()).await.unwrap();
    let loaded = control::load_keyring(&store, &load_root(&path), "app")
        .await
        .err()
        .unwrap();
    assert!(matches!(loaded, ControlError::WrongRootKey { .. }));

    std::fs::write(&path, &right[..40]).unwrap();
    let damaged = fixture.init().await.unwrap_err();
    assert!(
        matches!(&damaged, ControlError::RootKey(RootKeyError::Damaged { .. })),
        "{damaged}"
    );

    std::fs::write(&path, &right).unwrap();
    fixture.init().await.unwrap();
}

#[tokio::test]
async fn a_damaged_keyring_is_told_as_such() {
    let fixture = Fixture::trusting().await;
    fixture.init().await.unwrap();
    let root = load_root(&fixture.path("root.key"));
    let store = control::connect_store(&fixture.tcp()).await.unwrap();
    let damage = async |statement: &str| {
        store.batch_execute("BEGIN").await.unwrap();
        store.batch_execute(statement).await.unwrap();
        let error = control::load_keyring(&store, &root, "app").await.err();
        store.batch_execute("ROLLBACK").await.unwrap();
        error.unwrap_or_else(|| panic!("loaded in spite of: {statement}"))
    };
    for (statement, key) in [
        (
            "UPDATE pgward.data_keys SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) WHERE id = 2",
            2,
        ),
        (
            "UPDATE pgward.data_keys SET wrapped = substring(wrapped FROM 1 FOR 60) WHERE id = 1",
            1,
        ),
        ("UPDATE pgward.data_keys SET wrapped = '' WHERE id = 1", 1),
        // A key in another's place.
        (
            "UPDATE pgward.data_keys SET wrapped = (SELECT wrapped FROM pgward.data_keys WHERE id = 1) WHERE id = 3",
            3,
        ),
        // The pseudonyms' key.
        (
            "UPDATE pgward.data_keys SET wrapped = set_byte(wrapped, 0, 7) WHERE key_domain IS NULL",
            4,
        ),
        // A database under another's id.
        (
            "ALTER TABLE pgward.data_keys DROP CONSTRAINT data_keys_database_fkey;
          UPDATE pgward.data_keys SET database = '00000000-0000-4000-8000-000000000000';
          ALTER TABLE pgward.columns DROP CONSTRAINT columns_database_fkey;
          ALTER TABLE pgward.key_domains DROP CONSTRAINT key_domains_database_fkey;
          UPDATE pgward.databases SET id = '00000000-0000-4000-8000-000000000000'",
            1,
        ),
        (
            "UPDATE pgward.key_domains SET name = 'renamed' WHERE name = 'addresses'",
            1,
        ),
    ] {
        let error = damage(statement).await;
        assert!(
            matches!(&error, ControlError::DamagedKey { key: found, .. } if *found == key),
            "{statement}: {error}"
        );
    }
    assert!(matches!(
        damage("DELETE FROM pgward.data_keys WHERE key_domain IS NULL").await,
        ControlError::Damaged { .. }
    ));
    assert!(matches!(
        damage("UPDATE pgward.meta SET schema_version = 99").await,
        ControlError::SchemaVersion { found: 99, .. }
    ));
    assert!(matches!(
        damage("DELETE FROM pgward.meta").await,
        ControlError::NotInitialised
    ));
    control::load_keyring(&store, &root, "app").await.unwrap();

    // A destroyed key is no damage.
    store
        .batch_execute(
            "UPDATE pgward.data_keys SET state = 'destroyed', wrapped = NULL, destroyed_at = now() WHERE id = 1",
        )
        .await
        .unwrap();
    let keyring = control::load_keyring(&store, &root, "app").await.unwrap();
    assert_eq!(keyring.keys().next().unwrap().state, KeyState::Destroyed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inits_at_the_same_time_agree() {
    let fixture = Fixture::trusting().await;
    let run = || {
        let file = fixture.tcp();
        tokio::spawn(async move { control::init(&file, &|_| declared()).await })
    };
    let mut reports = Vec::new();
    for task in [run(), run(), run(), run()] {
        reports.push(task.await.unwrap().unwrap());
    }
    assert_eq!(reports.iter().filter(|report| report.new_root_key).count(), 1);
    assert_eq!(reports.iter().filter(|report| report.new_store).count(), 1);
    assert_eq!(
        reports
            .iter()
            .map(|report| report.databases[0].registered.new_keys)
            .sum::<usize>(),
        4
    );
    for report in &reports {
        assert_eq!(report.fingerprint, reports[0].fingerprint);
        assert_eq!(
            report.databases[0].registered.declarations,
            reports[0].databases[0].registered.declarations
        );
    }

    // Nodes that start at once with a policy that declares more.
    let root = std::sync::Arc::new(load_root(&fixture.path("root.key")));
    let register = || {
        let (file, root) = (fixture.tcp(), root.clone());
        tokio::spawn(async move {
            let mut store = control::connect_store(&file).await.unwrap();
            let more: Vec<_> = (0..20)
                .map(|n| declared_column("t", &format!("c{n}"), Mode::Eq, &format!("d{n}")))
                .collect();
            control::ensure_registered(&mut store, root.as_ref(), "app", &more)
                .await
                .unwrap()
        })
    };
    let (mut found, mut new_keys) = (Vec::new(), 0);
    for task in [register(), register(), register()] {
        let registered = task.await.unwrap();
        new_keys += registered.new_keys;
        found.push(registered.declarations);
    }
    assert_eq!(new_keys, 20);
    assert!(found.iter().all(|declarations| *declarations == found[0]));
}

#[tokio::test]
async fn the_domain_takes_envelopes_and_nothing_else() {
    let fixture = Fixture::trusting().await;
    fixture.init().await.unwrap();
    let root = load_root(&fixture.path("root.key"));
    let mut store = control::connect_store(&fixture.tcp()).await.unwrap();
    let registered = control::ensure_registered(&mut store, &root, "app", &declared())
        .await
        .unwrap();
    let keyring = control::load_keyring(&store, &root, "app").await.unwrap();

    let admin = superuser(&fixture.cluster, "app").await;
    admin
        .batch_execute("GRANT ALL ON SCHEMA public TO application")
        .await
        .unwrap();
    // An ordinary role may use the domain.
    let client = connect(&fixture.cluster.connection_string("application", "app")).await;
    client
        .batch_execute("CREATE TABLE customers (n serial, email pgward.sealed, copy pgward.sealed[])")
        .await
        .unwrap();

    let mut stored = Vec::new();
    for declaration in registered
        .declarations
        .iter()
        .filter(|declaration| declaration.mode.is_sealed())
    {
        for value in [&b""[..], b"v", b"somebody@example.org", &[0xFF; 5000]] {
            let envelope = seal(&keyring, &protected(declaration), value);
            client
                .execute("INSERT INTO customers (email) VALUES ($1::bytea)", &[&envelope])
                .await
                .unwrap();
            stored.push(envelope);
        }
    }
    client
        .execute("INSERT INTO customers (email) VALUES (NULL)", &[])
        .await
        .unwrap();
    let rows = client
        .query(
            "SELECT email::bytea FROM customers WHERE email IS NOT NULL ORDER BY n",
            &[],
        )
        .await
        .unwrap();
    let read: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(read, stored);

    let by_tag = client
        .query_one(
            "SELECT count(*) FROM customers WHERE substring(email FROM 11 FOR 16) = substring($1::bytea FROM 11 FOR 16)",
            &[&stored[2]],
        )
        .await
        .unwrap();
    assert_eq!(
        by_tag.get::<_, i64>(0),
        1 + 1,
        "the two columns of one key domain, each with this value"
    );

    let long = "x".repeat(100);
    for value in [
        "'somebody@example.org'".to_owned(),
        format!("'{long}'"),
        "''".to_owned(),
        r"'\x'".to_owned(),
        r"'\xfa'".to_owned(),
        r"'\xfa20'".to_owned(),
        // One byte short, in each layout.
        format!(r"'\xfa20{}'", "00".repeat(35)),
        format!(r"'\xfa21{}'", "00".repeat(51)),
        format!(r"'\xfa28{}'", "00".repeat(23)),
        // Reserved flags, other versions, other magic.
        format!(r"'\xfa22{}'", "00".repeat(100)),
        format!(r"'\xfa24{}'", "00".repeat(100)),
        format!(r"'\xfa29{}'", "00".repeat(100)),
        format!(r"'\xfa40{}'", "00".repeat(100)),
        format!(r"'\xfb20{}'", "00".repeat(100)),
        "'somebody@example.org'::text::bytea".to_owned(),
        "convert_to('a text that is long enough to be an envelope of the shortest kind', 'UTF8')".to_owned(),
    ] {
        let error = client
            .batch_execute(&format!("INSERT INTO customers (email) VALUES ({value})"))
            .await
            .unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code(), &SqlState::CHECK_VIOLATION, "{value}");
        assert_eq!(error.constraint(), Some(control::domain::CONSTRAINT));
    }
    // The shortest of each layout.
    for value in [
        format!(r"'\xfa20{}'", "00".repeat(36)),
        format!(r"'\xfa21{}'", "00".repeat(52)),
        format!(r"'\xfa28{}'", "00".repeat(24)),
    ] {
        client
            .batch_execute(&format!("INSERT INTO customers (email) VALUES ({value})"))
            .await
            .unwrap();
    }
    // A value of type text does not even get to the CHECK.
    let typed = client
        .execute("INSERT INTO customers (email) SELECT 'x'::text", &[])
        .await
        .unwrap_err();
    assert_eq!(typed.code(), Some(&SqlState::DATATYPE_MISMATCH));
}

#[tokio::test]
async fn what_others_made_is_not_trusted() {
    let fixture = Fixture::trusting().await;
    let admin = superuser(&fixture.cluster, "app").await;
    admin
        .batch_execute("CREATE SCHEMA pgward AUTHORIZATION application")
        .await
        .unwrap();
    let error = fixture.init().await.unwrap_err();
    assert!(
        matches!(&error, ControlError::ForeignSchema { owner } if owner == "application"),
        "{error}"
    );
    admin
        .batch_execute(
            "DROP SCHEMA pgward; CREATE SCHEMA pgward AUTHORIZATION keeper; CREATE DOMAIN pgward.sealed AS bytea",
        )
        .await
        .unwrap();
    assert!(matches!(fixture.init().await.unwrap_err(), ControlError::ForeignDomain));
    admin.batch_execute("DROP DOMAIN pgward.sealed").await.unwrap();
    fixture.init().await.unwrap();
}

#[test]
fn fingerprints_are_the_same_every_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.key");
    let made = KeyFile::create(&path).unwrap();
    assert_eq!(made.fingerprint(), load_root(&path).fingerprint());
    assert!(made.fingerprint().starts_with("file:"));
}
