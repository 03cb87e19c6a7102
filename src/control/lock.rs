//! Advisory locks (PostgreSQL documentation, 13.3.5), by which nodes that start at once take turns. They are per database.

use super::ControlError;
use tokio_postgres::GenericClient;

/// What is locked. The keys are `pgward` in ASCII and a number.
#[derive(Clone, Copy)]
#[repr(i64)]
pub(super) enum Lock {
    /// `pgward init`, as a whole.
    Init = 0x7067_7761_7264_0001,
    /// The tables of the control database.
    Store = 0x7067_7761_7264_0002,
    /// The storage domain.
    Domain = 0x7067_7761_7264_0003,
}

/// Waits for the lock and holds it until the transaction ends.
pub(super) async fn for_transaction(client: &impl GenericClient, lock: Lock) -> Result<(), ControlError> {
    take(client, "SELECT pg_advisory_xact_lock($1)", lock).await
}

/// Waits for the lock and holds it until the connection ends.
pub(super) async fn for_connection(client: &impl GenericClient, lock: Lock) -> Result<(), ControlError> {
    take(client, "SELECT pg_advisory_lock($1)", lock).await
}

async fn take(client: &impl GenericClient, statement: &str, lock: Lock) -> Result<(), ControlError> {
    client
        .execute(statement, &[&(lock as i64)])
        .await
        .map(|_| ())
        .map_err(|error| ControlError::statement("wait for another pgward", error))
}
