//! The control database: ids of databases, columns and key domains, the wrapped data keys, and which root key wraps them.
//!
//! Ids are given out once and never again: they stand in envelopes. Every change happens under one advisory lock, so several nodes may start
//! at once. What is read back is checked; nothing of it is trusted to be undamaged.

use super::ControlError;
use super::lock::{self, Lock};
use crate::crypto::root::{KeyContext, KeyPurpose, RootKey, RootKeyError};
use crate::crypto::{CryptoError, DataKey, KeyState, Keyring, SecretKey};
use crate::plan::{ColumnId, Declaration, KeyDomain};
use crate::policy::file::DeclaredColumn;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_postgres::{Client, GenericClient, Row, Transaction};
use uuid::Uuid;

/// Version of the tables below.
const SCHEMA_VERSION: i32 = 1;

/// The tables. Only their owner (the role of `[control] user`) has any right on them.
const SCHEMA: &str = r#"
CREATE SCHEMA IF NOT EXISTS pgward;

CREATE TABLE IF NOT EXISTS pgward.meta (
    one            boolean     PRIMARY KEY DEFAULT true CHECK (one),
    schema_version integer     NOT NULL,
    root_key       text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN pgward.meta.root_key IS 'fingerprint of the root key that wraps the data keys';

CREATE TABLE IF NOT EXISTS pgward.databases (
    name       text        PRIMARY KEY,
    id         uuid        NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN pgward.databases.id IS 'authenticated in every envelope; follow a renamed database by changing its name here, never the id';

-- Ids of columns and key domains: one numbering, as both stand at one place of the envelope.
CREATE SEQUENCE IF NOT EXISTS pgward.ids AS integer MINVALUE 1 NO CYCLE;

CREATE TABLE IF NOT EXISTS pgward.columns (
    id          integer     PRIMARY KEY,
    database    uuid        NOT NULL REFERENCES pgward.databases (id),
    schema_name text        NOT NULL,
    table_name  text        NOT NULL,
    column_name text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (database, schema_name, table_name, column_name)
);

CREATE TABLE IF NOT EXISTS pgward.key_domains (
    id         integer     PRIMARY KEY,
    database   uuid        NOT NULL REFERENCES pgward.databases (id),
    name       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (database, name)
);

CREATE SEQUENCE IF NOT EXISTS pgward.key_ids AS integer MINVALUE 1 NO CYCLE;

CREATE TABLE IF NOT EXISTS pgward.data_keys (
    id           integer     PRIMARY KEY,
    database     uuid        NOT NULL REFERENCES pgward.databases (id),
    key_domain   integer     REFERENCES pgward.key_domains (id),
    wrapped      bytea,
    state        text        NOT NULL CHECK (state IN ('active', 'opening', 'destroyed')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    retired_at   timestamptz,
    destroyed_at timestamptz,
    CHECK ((state = 'destroyed') = (wrapped IS NULL))
);
COMMENT ON COLUMN pgward.data_keys.key_domain IS 'null: the key of the data subjects'' pseudonyms';
CREATE UNIQUE INDEX IF NOT EXISTS data_keys_active ON pgward.data_keys (key_domain) WHERE state = 'active';
CREATE UNIQUE INDEX IF NOT EXISTS data_keys_pseudonym ON pgward.data_keys (database)
    WHERE key_domain IS NULL AND state = 'active';
"#;

/// The fingerprint of the root key that the keyring was made with; `None` where there is no keyring yet.
pub async fn stored_fingerprint(client: &impl GenericClient) -> Result<Option<String>, ControlError> {
    let exists = client
        .query_one("SELECT to_regclass('pgward.meta') IS NOT NULL", &[])
        .await
        .map_err(|error| ControlError::statement("look for the keyring", error))?;
    if !get::<bool>(&exists, 0)? {
        return Ok(None);
    }
    let meta = client
        .query_opt("SELECT schema_version, root_key FROM pgward.meta", &[])
        .await
        .map_err(|error| ControlError::statement("read pgward.meta", error))?;
    let Some(meta) = meta else {
        return Ok(None);
    };
    let found = get(&meta, 0)?;
    if found != SCHEMA_VERSION {
        return Err(ControlError::SchemaVersion {
            found,
            expected: SCHEMA_VERSION,
        });
    }
    get(&meta, 1).map(Some)
}

/// Makes the tables and notes the root key, where that has not happened yet. True where it did something.
pub async fn install(client: &mut Client, root: &dyn RootKey) -> Result<bool, ControlError> {
    super::domain::check_schema_owner(client).await?;
    let transaction = begin(client).await?;
    let fresh = match stored_fingerprint(&transaction).await? {
        Some(stored) => {
            compare(&stored, root)?;
            false
        }
        None => {
            transaction
                .batch_execute(SCHEMA)
                .await
                .map_err(|error| ControlError::statement("make the tables of the control database", error))?;
            transaction
                .execute(
                    "INSERT INTO pgward.meta (schema_version, root_key) VALUES ($1, $2)",
                    &[&SCHEMA_VERSION, &root.fingerprint()],
                )
                .await
                .map_err(|error| ControlError::statement("note the root key's fingerprint", error))?;
            true
        }
    };
    commit(transaction).await?;
    Ok(fresh)
}

/// What a database and its declared columns are known by.
#[derive(Clone, Debug)]
pub struct Registered {
    /// In every envelope's associated data.
    pub database: Uuid,
    /// The declared columns, with ids, in the order declared.
    pub declarations: Vec<Declaration>,
    /// How many of them got their id just now.
    pub new_columns: usize,
    /// How many data keys were made just now, that of the pseudonyms included.
    pub new_keys: usize,
}

/// Gives ids to a database and its newly declared columns, and data keys to new key domains and to the pseudonyms. Safe to run on
/// several nodes at once; what exists already stays as it is.
pub async fn ensure_registered(
    client: &mut Client,
    root: &dyn RootKey,
    database: &str,
    declared: &[DeclaredColumn],
) -> Result<Registered, ControlError> {
    let transaction = begin(client).await?;
    check_root_key(&transaction, root).await?;
    let fault = |action: &'static str| move |error| ControlError::statement(action, error);

    transaction
        .execute(
            "INSERT INTO pgward.databases (name, id) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            &[&database, &random_id()],
        )
        .await
        .map_err(fault("register the database"))?;
    let database = database_id(&transaction, database).await?;

    let mut declarations = Vec::with_capacity(declared.len());
    let mut new_columns = 0;
    let mut domains: BTreeMap<&KeyDomain, ()> = BTreeMap::new();
    for column in declared {
        let name = &column.name;
        let key: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [
            &database,
            &&*name.relation.schema,
            &&*name.relation.name,
            &&*name.column,
        ];
        new_columns += transaction
            .execute(
                "INSERT INTO pgward.columns (id, database, schema_name, table_name, column_name)
                 SELECT nextval('pgward.ids')::integer, $1, $2, $3, $4
                 WHERE NOT EXISTS (SELECT FROM pgward.columns
                                   WHERE (database, schema_name, table_name, column_name) = ($1, $2, $3, $4))",
                &key,
            )
            .await
            .map_err(fault("register a column"))?;
        let row = transaction
            .query_one(
                "SELECT id FROM pgward.columns
                 WHERE (database, schema_name, table_name, column_name) = ($1, $2, $3, $4)",
                &key,
            )
            .await
            .map_err(fault("read a column's id"))?;
        declarations.push(Declaration {
            id: ColumnId(id(&row, 0)?),
            name: name.clone(),
            mode: column.mode,
            key_domain: column.key_domain.clone(),
            category: column.category.clone(),
        });
        if column.mode.is_sealed() {
            domains.insert(&column.key_domain, ());
        }
    }

    let mut new_keys = 0;
    for domain in domains.into_keys() {
        new_keys += ensure_domain_key(&transaction, root, &database, domain).await?;
    }
    let pseudonym = transaction
        .query_opt(
            "SELECT FROM pgward.data_keys WHERE database = $1 AND key_domain IS NULL AND state = 'active'",
            &[&database],
        )
        .await
        .map_err(fault("look for the pseudonyms' key"))?;
    if pseudonym.is_none() {
        make_key(&transaction, root, &database, KeyPurpose::Pseudonyms).await?;
        new_keys += 1;
    }
    commit(transaction).await?;
    Ok(Registered {
        database,
        declarations,
        new_columns: usize::try_from(new_columns).unwrap_or(usize::MAX),
        new_keys,
    })
}

/// Makes sure that a key domain has an active data key; the number of keys made.
async fn ensure_domain_key(
    transaction: &Transaction<'_>,
    root: &dyn RootKey,
    database: &Uuid,
    domain: &KeyDomain,
) -> Result<usize, ControlError> {
    let name = &*domain.0;
    transaction
        .execute(
            "INSERT INTO pgward.key_domains (id, database, name)
             SELECT nextval('pgward.ids')::integer, $1, $2
             WHERE NOT EXISTS (SELECT FROM pgward.key_domains WHERE (database, name) = ($1, $2))",
            &[database, &name],
        )
        .await
        .map_err(|error| ControlError::statement("register a key domain", error))?;
    let row = transaction
        .query_one(
            "SELECT d.id, EXISTS (SELECT FROM pgward.data_keys AS k WHERE k.key_domain = d.id AND k.state = 'active')
             FROM pgward.key_domains AS d WHERE (d.database, d.name) = ($1, $2)",
            &[database, &name],
        )
        .await
        .map_err(|error| ControlError::statement("read a key domain", error))?;
    if get::<bool>(&row, 1)? {
        return Ok(0);
    }
    make_key(transaction, root, database, KeyPurpose::Values(domain, id(&row, 0)?)).await?;
    Ok(1)
}

/// Makes, wraps and stores a data key.
async fn make_key(
    transaction: &Transaction<'_>,
    root: &dyn RootKey,
    database: &Uuid,
    purpose: KeyPurpose<'_>,
) -> Result<(), ControlError> {
    let row = transaction
        .query_one("SELECT nextval('pgward.key_ids')::integer", &[])
        .await
        .map_err(|error| ControlError::statement("get a key id", error))?;
    let key_id: i32 = get(&row, 0)?;
    let context = KeyContext {
        database: database.as_bytes(),
        key: id(&row, 0)?,
        purpose,
    };
    let wrapped = root.wrap(&SecretKey::generate()?, &context)?;
    let domain = match purpose {
        KeyPurpose::Values(_, domain) => {
            Some(i32::try_from(domain).map_err(|_| ControlError::damaged("a key domain's id"))?)
        }
        KeyPurpose::Pseudonyms => None,
    };
    transaction
        .execute(
            "INSERT INTO pgward.data_keys (id, database, key_domain, wrapped, state) VALUES ($1, $2, $3, $4, 'active')",
            &[&key_id, database, &domain, &wrapped],
        )
        .await
        .map_err(|error| ControlError::statement("store a data key", error))?;
    Ok(())
}

/// Reads and unwraps the keyring of a database.
///
/// A wrong root key is [`ControlError::WrongRootKey`], a wrapped key that the right root key does not unwrap is
/// [`ControlError::DamagedKey`]: no keyring is better than half of one.
pub async fn load_keyring(
    client: &impl GenericClient,
    root: &dyn RootKey,
    database: &str,
) -> Result<Keyring, ControlError> {
    check_root_key(client, root).await?;
    let database_id = database_id(client, database).await?;
    let rows = client
        .query(
            "SELECT k.id, k.key_domain, d.name, k.wrapped, k.state, extract(epoch FROM k.created_at)::bigint
             FROM pgward.data_keys AS k LEFT JOIN pgward.key_domains AS d ON d.id = k.key_domain
             WHERE k.database = $1 AND (k.key_domain IS NOT NULL OR k.state = 'active')
             ORDER BY k.id",
            &[&database_id],
        )
        .await
        .map_err(|error| ControlError::statement("read the keyring", error))?;

    let mut keys = Vec::with_capacity(rows.len());
    let mut pseudonym = None;
    for row in &rows {
        let key = id(row, 0)?;
        let unwrap = |purpose| -> Result<Option<SecretKey>, ControlError> {
            let Some(wrapped) = get::<Option<Vec<u8>>>(row, 3)? else {
                return Ok(None);
            };
            let context = KeyContext {
                database: database_id.as_bytes(),
                key,
                purpose,
            };
            match root.unwrap(&wrapped, &context) {
                Ok(secret) => Ok(Some(secret)),
                Err(RootKeyError::Crypto(CryptoError::Authentication)) => Err(ControlError::DamagedKey {
                    key,
                    database: database.into(),
                }),
                Err(error) => Err(error.into()),
            }
        };
        match (get::<Option<i32>>(row, 1)?, get::<Option<String>>(row, 2)?) {
            (Some(_), Some(name)) => {
                let domain = KeyDomain(Arc::from(name));
                let domain_id = id(row, 1)?;
                let state = match get::<String>(row, 4)?.as_str() {
                    "active" => KeyState::Active,
                    "opening" => KeyState::Opening,
                    "destroyed" => KeyState::Destroyed,
                    _ => return Err(ControlError::damaged("a data key's state")),
                };
                keys.push(DataKey {
                    id: key,
                    secret: unwrap(KeyPurpose::Values(&domain, domain_id))?,
                    domain,
                    domain_id: ColumnId(domain_id),
                    state,
                    created_at: get(row, 5)?,
                });
            }
            _ => pseudonym = unwrap(KeyPurpose::Pseudonyms)?,
        }
    }
    let pseudonym = pseudonym.ok_or(ControlError::damaged("the pseudonyms' key"))?;
    Ok(Keyring::new(database_id.as_bytes(), keys, &pseudonym)?)
}

/// Tells a wrong root key before anything is unwrapped with it.
async fn check_root_key(client: &impl GenericClient, root: &dyn RootKey) -> Result<(), ControlError> {
    let stored = stored_fingerprint(client).await?.ok_or(ControlError::NotInitialised)?;
    compare(&stored, root)
}

fn compare(stored: &str, root: &dyn RootKey) -> Result<(), ControlError> {
    let given = root.fingerprint();
    match given == stored {
        true => Ok(()),
        false => Err(ControlError::WrongRootKey {
            stored: stored.into(),
            given,
        }),
    }
}

async fn database_id(client: &impl GenericClient, database: &str) -> Result<Uuid, ControlError> {
    let row = client
        .query_opt("SELECT id FROM pgward.databases WHERE name = $1", &[&database])
        .await
        .map_err(|error| ControlError::statement("read the database's id", error))?;
    get(&row.ok_or_else(|| ControlError::UnknownDatabase(database.into()))?, 0)
}

async fn begin(client: &mut Client) -> Result<Transaction<'_>, ControlError> {
    let transaction = client
        .transaction()
        .await
        .map_err(|error| ControlError::statement("begin a transaction", error))?;
    lock::for_transaction(&transaction, Lock::Store).await?;
    Ok(transaction)
}

async fn commit(transaction: Transaction<'_>) -> Result<(), ControlError> {
    transaction
        .commit()
        .await
        .map_err(|error| ControlError::statement("commit", error))
}

/// A random UUID (version 4).
fn random_id() -> Uuid {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// A value of a row that a damaged or foreign table may hold otherwise.
fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, ControlError> {
    row.try_get(index)
        .map_err(|error| ControlError::statement("read the control database", error))
}

/// An id, from 1.
fn id(row: &Row, index: usize) -> Result<u32, ControlError> {
    let id: i32 = get(row, index)?;
    u32::try_from(id)
        .ok()
        .filter(|id| *id > 0)
        .ok_or(ControlError::damaged("an id"))
}
