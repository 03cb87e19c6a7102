//! pgward's own questions, asked on the session's own connection, so that the answers hold for this session and transaction: how
//! names resolve (search_path, temporary tables) and, after DDL, the catalog itself.
//!
//! Asked only before a statement is planned that mentions a sensitive name. In the simple protocol as a Query of its own; between extended
//! messages without a Sync, which would commit the implicit transaction (WIRE 12), but with one where they are the first since the last: then nothing of the
//! client's is lost where they fail.
//!
//! A question that fails is asked again where no transaction was lost by it, a few times; see [`Fault`] for what then becomes of the client's message.

use super::encoding::ClientEncoding;
use super::errors::{sanitised, sqlstate_of};
use super::state::{Question, Reply};
use super::{Effect, Session};
use crate::plan::introspect::{
    CATALOG_QUERY, CATALOG_QUERY_ASCII, Declarations, SCOPE_QUERY, ScopeProbe, SnapshotBuilder,
};
use crate::plan::{NameScope, Snapshot};
use crate::wire::compose;
use crate::wire::frame::Malformed;
use crate::wire::read::DataRow;
use bytes::BytesMut;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

const NAME: &[u8] = b"pgward_probe";

/// How often a question is asked for one message. One that another session's DDL makes fail is answered the next time.
const TRIES: u8 = 3;

/// Why questions that end with a ReadyForQuery of their own were not answered.
enum Fault {
    /// The server's error, as the client may see it.
    Error { sqlstate: [u8; 5], frame: BytesMut },
    /// An earlier message of the client's failed, and it was told: the server discarded the questions up to their Sync, as it would have the client's next
    /// messages up to the client's.
    Told,
}

impl Fault {
    /// Whether asking again is of no use: the failed transaction, cancelled or timed out, no right, the server ends.
    fn lasts(sqlstate: &[u8; 5]) -> bool {
        sqlstate.starts_with(b"57") || matches!(sqlstate, b"25P02" | b"55P03" | b"42501")
    }
    /// Whether the client's own statement could have failed in this way just as well: rolled back, out of resources, not in time, cancelled.
    fn is_anyones(sqlstate: &[u8; 5]) -> bool {
        [b"40", b"53", b"55", b"57"]
            .iter()
            .any(|class| sqlstate.starts_with(&class[..]))
    }
}

/// What the session knows of names and catalog, and what it is finding out.
#[derive(Default)]
#[repr(C)] // What every message asks stands in front.
pub(super) struct Lookout {
    asking: Option<Question>,
    scope_known: bool,
    /// The last answer said that the session has temporary relations.
    temp_relations: bool,
    catalog_stale: bool,
    /// The catalog or the scope changed in the running transaction: its end changes them again.
    changed_in_transaction: bool,
    /// A statement that may end the transaction was sent, and its ReadyForQuery has not come.
    left_block: bool,
    failed: bool,
    /// How often the questions were asked for the message that waits.
    tries: u8,
    /// The catalog was loaded again for the very message that is planned next: once is enough.
    again: bool,
    /// A catalog loaded on this connection: it sees what the transaction has not committed, and temporary relations.
    private: Option<Private>,
    /// Hash of the scope.
    scope_hash: u64,
    scope: NameScope,
    builder: Option<SnapshotBuilder>,
    fault: Option<Fault>,
}

struct Private {
    snapshot: Arc<Snapshot>,
    /// Version of the shared snapshot at that time.
    shared: u64,
    /// What the policy declared at that time.
    declarations: Arc<Declarations>,
}

impl Lookout {
    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }
    /// Whether names and the look of values are known as they are now.
    pub(super) fn is_scope_known(&self) -> bool {
        self.scope_known
    }
    pub(super) fn scope_stale(&mut self) {
        self.scope_known = false;
    }
    pub(super) fn catalog_stale(&mut self) {
        self.catalog_stale = true;
        self.scope_known = false;
    }
    pub(super) fn changed(&mut self) {
        self.changed_in_transaction = true;
    }
    /// COMMIT, ROLLBACK or the like is sent: what the transaction changed means something else behind it.
    pub(super) fn leave_block(&mut self) {
        self.left_block = true;
        self.end_changes();
    }
    /// All that was sent is answered: in which transaction the session is is known.
    pub(super) fn settle(&mut self) {
        self.left_block = false;
    }
    /// Behind what is sent now the transaction may be over, and what was found out inside with it.
    fn end_changes(&mut self) {
        if self.changed_in_transaction {
            self.scope_known = false;
            self.catalog_stale |= self.private.is_some();
        }
    }
    pub(super) fn scope(&self) -> &NameScope {
        &self.scope
    }
    /// Equal for equal scopes.
    pub(super) fn scope_hash(&self) -> u64 {
        self.scope_hash
    }
    /// Whether the message that is planned now made the catalog be loaded already.
    pub(super) fn take_asked_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }
    pub(super) fn ask_once_more(&mut self) {
        self.again = true;
    }
    /// The next message may have the catalog loaded again.
    pub(super) fn asked_enough(&mut self) {
        self.again = false;
    }
    /// Whether the last question went unanswered.
    pub(super) fn take_failed(&mut self) -> bool {
        std::mem::take(&mut self.failed)
    }
}

impl Session {
    /// The catalog as this session sees it.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        match &self.lookout.private {
            Some(private) => private.snapshot.clone(),
            None => self.database.catalog.load_full(),
        }
    }

    /// The same without a share in it, for a quick look.
    pub(super) fn with_snapshot<T>(&self, look: impl FnOnce(&Snapshot) -> T) -> T {
        match &self.lookout.private {
            Some(private) => look(&private.snapshot),
            None => look(&self.database.catalog.load()),
        }
    }

    /// Whether names can be resolved now. A catalog loaded under an earlier policy can't be used.
    pub(super) fn is_current(&self) -> bool {
        let declared = |p: &Private| Arc::ptr_eq(&p.declarations, &self.database.declarations.load());
        self.lookout.scope_known && !self.lookout.catalog_stale && self.lookout.private.as_ref().is_none_or(declared)
    }

    /// Sync, Query and FunctionCall end a transaction that is not in a block. Messages behind it may come before the server says so.
    pub(super) fn transaction_may_end(&mut self) {
        if self.transaction != b'T' || self.lookout.left_block {
            self.lookout.end_changes();
        }
    }

    /// A transaction ended: what it changed is settled.
    pub(super) fn transaction_ended(&mut self) {
        if self.lookout.changed_in_transaction {
            // It may have been a message that is not answered yet.
            let own = |r: &Reply| {
                matches!(
                    r,
                    Reply::Own(_) | Reply::OwnRows(_) | Reply::OwnQuery(_) | Reply::OwnSync
                )
            };
            self.lookout.changed_in_transaction = !self.replies.iter().all(own);
            self.lookout.scope_known = false;
            if self.lookout.private.is_some() || self.lookout.catalog_stale {
                self.lookout.catalog_stale = true;
                self.effects.push_back(Effect::CatalogChanged);
            }
        } else if let Some(private) = &mut self.lookout.private {
            let shared = self.database.catalog.load();
            if self.lookout.temp_relations || private.shared == shared.version {
                return;
            }
            if private.snapshot.fingerprint == shared.fingerprint {
                self.lookout.private = None;
            } else {
                // It was loaded again, but may have been read before this session's last DDL was committed: this connection knows.
                private.shared = shared.version;
                self.lookout.catalog_stale = true;
            }
        }
    }

    /// Asks what has to be known before the next statement is planned. False: it can't be asked now (the transaction has failed).
    pub(super) fn ask(&mut self, extended: bool) -> bool {
        if self.transaction == b'E' && self.replies.is_empty() || self.lookout.tries >= TRIES {
            return false;
        }
        let declared = |p: &Private| Arc::ptr_eq(&p.declarations, &self.database.declarations.load());
        // One after the other: in which encoding the catalog comes is known with the scope.
        let (question, sql) = if !self.lookout.scope_known {
            (Question::Scope, SCOPE_QUERY)
        } else if !self.lookout.catalog_stale && self.lookout.private.as_ref().is_none_or(declared) {
            return false;
        } else if self.foreign().is_none() {
            (Question::Catalog, CATALOG_QUERY)
        } else {
            (Question::CatalogInAscii, CATALOG_QUERY_ASCII.as_str())
        };
        self.lookout.tries += 1;
        let out = self.to_server.tail();
        self.lookout.asking = Some(question);
        if !extended && !self.extended_open {
            compose::query(out, sql.as_bytes());
            self.replies.push_back(Reply::OwnQuery(question));
            return true;
        }
        // One whose Parse went well and whose Execute failed is still there: statements outlive a rolled-back transaction.
        compose::close(out, b'S', NAME);
        compose::parse(out, NAME, sql.as_bytes(), std::iter::empty());
        compose::bind_plain(out, NAME, NAME);
        compose::execute(out, NAME, 0);
        compose::close(out, b'P', NAME);
        compose::close(out, b'S', NAME);
        self.replies
            .extend([Reply::Own(b'3'), Reply::Own(b'1'), Reply::Own(b'2')]);
        self.replies
            .extend([Reply::OwnRows(question), Reply::Own(b'3'), Reply::Own(b'3')]);
        if self.extended_open {
            compose::bare(out, b'H');
        } else {
            compose::bare(out, b'S');
            self.replies.push_back(Reply::OwnSync);
        }
        true
    }

    /// A row of an answer.
    pub(super) fn answer_row(&mut self, question: Question, body: &[u8]) -> Result<(), Malformed> {
        let mut row = DataRow::read(body)?;
        let values = (0..row.count).map(|_| row.value()).collect::<Result<Vec<_>, _>>()?;
        row.done()?;
        let taken = match question {
            Question::Scope => ScopeProbe::parse(&values).map(|probe| {
                let mut hasher = DefaultHasher::new();
                probe.scope.hash(&mut hasher);
                self.lookout.scope_hash = hasher.finish();
                self.lookout.scope = probe.scope;
                self.lookout.scope_known = true;
                self.settings.style.bytea_hex = probe.bytea_hex;
                self.settings.style.extra_float_digits = probe.extra_float_digits;
                self.settings.style.date_style = probe.date_style;
                self.settings.style.time_zone = probe.time_zone;
                self.settings.client_encoding = ClientEncoding::of(probe.client_encoding.as_bytes());
                self.settings.standard_conforming_strings = probe.standard_conforming_strings;
                if probe.temp_relations != self.lookout.temp_relations
                    || probe.temp_relations && self.lookout.private.is_none()
                {
                    // Temporary relations shadow others and stand in no shared catalog.
                    self.lookout.catalog_stale = true;
                }
                self.lookout.temp_relations = probe.temp_relations;
            }),
            Question::Catalog | Question::CatalogInAscii => {
                let new = || SnapshotBuilder::new(self.database.declarations.load_full());
                let builder = self.lookout.builder.get_or_insert_with(new);
                match question {
                    Question::CatalogInAscii => builder.row_in_ascii(&values),
                    _ => builder.row(&values),
                }
            }
        };
        if let Err(fault) = taken {
            tracing::error!(session = %self.origin.session_id, "unexpected answer about the catalog: {fault}");
            self.lookout.failed = true;
        }
        Ok(())
    }

    /// An answer is complete (or failed: then what was asked stays unknown).
    pub(super) fn answered(&mut self, question: Question, complete: bool) {
        self.lookout.asking = None;
        if !complete {
            self.lookout.failed = true;
            self.lookout.builder = None;
        } else if question == Question::Scope {
            if self.lookout.scope_known {
                self.lookout.tries = 0;
            }
        } else if let Some(builder) = self.lookout.builder.take()
            && !self.lookout.failed
        {
            let shared = self.database.catalog.load();
            let loaded = builder.finish();
            // The same content: the shared one keeps its plans.
            self.lookout.private = (loaded.fingerprint != shared.fingerprint).then(|| Private {
                snapshot: Arc::new(loaded),
                shared: shared.version,
                declarations: self.database.declarations.load_full(),
            });
            self.lookout.catalog_stale = false;
            self.lookout.tries = 0;
        }
    }

    /// The server's error in a question that ends with a ReadyForQuery of its own.
    pub(super) fn question_failed(&mut self, fields: &[(u8, &[u8])]) {
        let sqlstate = sqlstate_of(fields);
        let shown = String::from_utf8_lossy(&sqlstate);
        tracing::warn!(session = %self.origin.session_id, sqlstate = %shown, "a question about names failed");
        let mut frame = BytesMut::new();
        compose::fields(&mut frame, b'E', &sanitised(fields));
        self.lookout.fault = Some(Fault::Error { sqlstate, frame });
    }

    /// An error of the client's own made the server discard the questions up to their Sync.
    pub(super) fn question_lost(&mut self) {
        self.lookout.fault = Some(Fault::Told);
    }

    /// ReadyForQuery behind the questions: the message that waited is offered again, or the questions are asked again, or the error is the message's own.
    pub(super) fn questions_over(&mut self, ready: &[u8]) {
        self.lookout.failed |= self.lookout.asking.take().is_some();
        let simple = self.parked.as_ref().is_some_and(|(tag, _)| *tag == b'Q');
        match self.lookout.fault.take() {
            None => {}
            Some(Fault::Error { sqlstate, .. })
                if self.transaction == b'I' && self.lookout.tries < TRIES && !Fault::lasts(&sqlstate) =>
            {
                self.lookout.failed = false;
                if self.ask(!simple) {
                    return;
                }
            }
            Some(Fault::Error { sqlstate, frame }) if Fault::is_anyones(&sqlstate) => {
                self.emit(&frame);
                if simple {
                    self.parked = None;
                    self.to_client.put(ready);
                } else {
                    self.refused = true;
                }
            }
            Some(Fault::Error { .. }) => {}
            Some(Fault::Told) => self.refused = true,
        }
        self.unpark();
    }

    /// Offers the message again that waited for the answers.
    pub(super) fn unpark(&mut self) {
        if self.lookout.is_asking() {
            return;
        }
        if let Some((tag, frame)) = self.parked.take() {
            self.client_frame(tag, &frame);
        }
        // It counts for the message that waited, which may have been discarded: the next one asks again.
        self.lookout.take_failed();
        if !self.lookout.is_asking() {
            self.lookout.asked_enough();
            self.lookout.tries = 0;
        }
    }

    /// Keeps a message until the answers are there.
    pub(super) fn park(&mut self, tag: u8, frame: &[u8]) {
        self.parked = Some((tag, frame.into()));
    }
}
