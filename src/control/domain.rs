//! The storage domain `pgward.sealed` in an application database: the type of every sealed column.
//!
//! Its CHECK makes a plain-text write fail that goes around pgward. It looks at the envelope's first two bytes and at its length (crypto::envelope
//! says which are valid); only built-in functions, no superuser: CREATE on the database is enough.

use super::ControlError;
use super::lock::{self, Lock};
use tokio_postgres::{Client, GenericClient};

/// Name of the domain's CHECK, which errors and tests know it by.
pub const CONSTRAINT: &str = "pgward_sealed_value";

/// Comment on the CHECK: which envelopes it knows.
const CHECK_VERSION: &str = "pgward envelope, version 1";

const CREATE: &str = r"
CREATE SCHEMA IF NOT EXISTS pgward;
GRANT USAGE ON SCHEMA pgward TO PUBLIC;
CREATE DOMAIN pgward.sealed AS bytea
    CONSTRAINT pgward_sealed_value CHECK (
        VALUE IS NULL OR CASE substring(VALUE FROM 1 FOR 2)
            WHEN '\xfa20'::bytea THEN octet_length(VALUE) >= 38
            WHEN '\xfa21'::bytea THEN octet_length(VALUE) >= 54
            WHEN '\xfa28'::bytea THEN octet_length(VALUE) >= 26
            ELSE false
        END);
COMMENT ON DOMAIN pgward.sealed IS 'a value sealed by pgward; connect through pgward to read or write it';
COMMENT ON CONSTRAINT pgward_sealed_value ON DOMAIN pgward.sealed IS 'pgward envelope, version 1';
";

/// Makes the storage domain in the database that `client` is connected to, where it is missing. True where it did something.
///
/// A schema `pgward` of a role that ours is no member of, or a domain of that name which is not this one, is refused.
pub async fn install_domain(client: &mut Client) -> Result<bool, ControlError> {
    check_schema_owner(client).await?;
    let transaction = client
        .transaction()
        .await
        .map_err(|error| ControlError::statement("begin a transaction", error))?;
    lock::for_transaction(&transaction, Lock::Domain).await?;
    let found = transaction
        .query_opt(
            "SELECT t.typtype = 'd' AND t.typbasetype = 'bytea'::regtype AND NOT t.typnotnull
                    AND coalesce(c.convalidated, false)
                    AND obj_description(c.oid, 'pg_constraint') IS NOT DISTINCT FROM $2
             FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
             LEFT JOIN pg_constraint AS c ON c.contypid = t.oid AND c.conname = $1
             WHERE n.nspname = 'pgward' AND t.typname = 'sealed'",
            &[&CONSTRAINT, &CHECK_VERSION],
        )
        .await
        .map_err(|error| ControlError::statement("look for the domain pgward.sealed", error))?;
    let fresh = match found {
        Some(row) => match row.try_get(0) {
            Ok(true) => false,
            _ => return Err(ControlError::ForeignDomain),
        },
        None => {
            transaction
                .batch_execute(CREATE)
                .await
                .map_err(|error| ControlError::statement("create the domain pgward.sealed", error))?;
            true
        }
    };
    transaction
        .commit()
        .await
        .map_err(|error| ControlError::statement("commit", error))?;
    Ok(fresh)
}

/// Refuses a schema `pgward` that somebody else made: what is in it would be his.
pub(super) async fn check_schema_owner(client: &impl GenericClient) -> Result<(), ControlError> {
    let foreign = client
        .query_opt(
            "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace
             WHERE nspname = 'pgward' AND NOT pg_has_role(current_user, nspowner, 'USAGE')",
            &[],
        )
        .await
        .map_err(|error| ControlError::statement("look for the schema pgward", error))?;
    match foreign {
        None => Ok(()),
        Some(row) => Err(ControlError::ForeignSchema {
            owner: row.try_get(0).unwrap_or_default(),
        }),
    }
}
