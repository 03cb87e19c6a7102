//! What a session keeps: prepared statements, portals, and what the server still owes.

use super::Ticket;
use super::aside;
use super::records::Draft;
use super::rows::Shown;
use crate::plan::{ClientParam, Effects, Forgets, Plan, Refusal, RelationName, ServerParam, Splice, StatementKind};
use crate::value::Format;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use zeroize::Zeroizing;

/// A statement's or portal's name, in the client's bytes.
pub(super) type Name = Box<[u8]>;

/// A prepared statement, as far as pgward has to know it. What changes is atomic only because it moves between threads with its session.
#[repr(C)] // What each Bind and Execute asks stands together.
pub(super) struct Prepared {
    /// What it was last planned with: version, scope, and whether there is one.
    version: AtomicU64,
    scope: AtomicU64,
    has_scope: AtomicBool,
    /// Whether the server's description agreed with the plan.
    verified: AtomicU8,
    /// The text was too long to be looked at, and nothing was protected then: neither text nor types are kept.
    pub(super) unread: bool,
    /// It was looked at, and nothing in it is protected.
    is_forwarded: bool,
    /// Its kind, where it is forwarded and carrying it out changes nothing that pgward follows.
    plain: Option<StatementKind>,
    pub(super) body: PreparedBody,
    /// The text, to plan it again when the catalog, the policy or the scope changes: PostgreSQL too resolves its names again then.
    pub(super) sql: Zeroizing<Box<str>>,
    pub(super) oids: Arc<[u32]>,
    /// Its share of what the session keeps.
    kept: Kept,
}

/// Bytes that a session keeps for prepared statements, whether by name, for a portal or until an answer comes.
#[derive(Clone, Default)]
pub(super) struct Keeping(Arc<AtomicUsize>);

/// A share of it, given back when it is dropped.
pub(super) struct Kept {
    all: Keeping,
    bytes: usize,
}

/// An entry: behind its Arc's counts, with a place in a map that is half empty.
const _: () = assert!(size_of::<Prepared>() + 16 + 2 * (size_of::<(Name, Arc<Prepared>)>() + 1) <= Keeping::ENTRY);

impl Keeping {
    /// What an entry takes beside its text: the entry itself, its place in the map, what the allocator adds.
    const ENTRY: usize = 256;

    /// Bytes that a statement takes.
    pub(super) fn cost(name: &[u8], sql: usize, oids: &[u32]) -> usize {
        Self::ENTRY + 2 * name.len() + sql + size_of_val(oids)
    }
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
    pub(super) fn take(&self, bytes: usize) -> Kept {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Kept {
            all: self.clone(),
            bytes,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What names meant when a statement was planned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    /// Version of the snapshot.
    pub(super) version: u64,
    /// Hash of the scope; `None` where the words of the text can't touch anything protected, whatever the scope.
    pub(super) scope: Option<u64>,
}

pub(super) enum PreparedBody {
    /// Nothing protected in it.
    Forward {
        kind: StatementKind,
        effects: Effects,
        forgets: Option<Forgets>,
    },
    /// Carried out by a plan.
    Protected {
        plan: Arc<Plan>,
        kind: StatementKind,
        effects: Effects,
    },
}

impl PreparedBody {
    /// Bytes that it takes beside the text, about: a long list of values makes a plan that is larger than its text.
    pub(super) fn bytes(&self) -> usize {
        match self {
            PreparedBody::Forward { .. } => 0,
            PreparedBody::Protected { plan, .. } => {
                size_of::<Plan>()
                    + plan.redacted.len()
                    + plan.splices.len() * size_of::<Splice>()
                    + plan.server_params.len() * (size_of::<ServerParam>() + size_of::<ClientParam>())
            }
        }
    }
}

/// What is known of a protected statement's description.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verified {
    Open,
    Agrees,
    Differs,
}

impl Prepared {
    pub(super) fn new(
        body: PreparedBody,
        sql: Zeroizing<Box<str>>,
        oids: Arc<[u32]>,
        standing: Standing,
        kept: Kept,
    ) -> Self {
        let plain = match &body {
            PreparedBody::Forward {
                kind,
                effects,
                forgets: None,
            } if *effects == Effects::default() && !aside::may_name_statements(*kind) => Some(*kind),
            _ => None,
        };
        Self {
            version: AtomicU64::new(standing.version),
            scope: AtomicU64::new(standing.scope.unwrap_or_default()),
            has_scope: AtomicBool::new(standing.scope.is_some()),
            verified: AtomicU8::new(0),
            unread: false,
            is_forwarded: matches!(body, PreparedBody::Forward { .. }),
            plain,
            body,
            sql,
            oids,
            kept,
        }
    }
    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.kept.bytes
    }
    /// One that went to the server as it came, in a database where nothing is protected.
    pub(super) fn unread(kept: Kept) -> Self {
        let body = PreparedBody::Forward {
            kind: StatementKind::Other,
            effects: Effects::default(),
            forgets: None,
        };
        let standing = Standing {
            version: 0,
            scope: None,
        };
        let prepared = Self::new(body, Zeroizing::default(), Arc::default(), standing, kept);
        Self {
            unread: true,
            is_forwarded: false,
            plain: None,
            ..prepared
        }
    }
    pub(super) fn standing(&self) -> Standing {
        let scope = self.scope.load(Ordering::Relaxed);
        Standing {
            version: self.version.load(Ordering::Relaxed),
            scope: self.has_scope.load(Ordering::Relaxed).then_some(scope),
        }
    }
    pub(super) fn set_standing(&self, standing: Standing) {
        self.version.store(standing.version, Ordering::Relaxed);
        self.scope.store(standing.scope.unwrap_or_default(), Ordering::Relaxed);
        self.has_scope.store(standing.scope.is_some(), Ordering::Relaxed);
    }
    /// Whether it was found to be forwarded whatever its names mean, in this version of the catalog.
    pub(super) fn is_forwarded_whatever_the_scope(&self, version: u64) -> bool {
        self.is_forwarded && self.standing() == Standing { version, scope: None }
    }
    /// Its kind, where it is forwarded and carrying it out changes nothing that pgward follows.
    pub(super) fn plain(&self) -> Option<StatementKind> {
        self.plain
    }
    pub(super) fn verified(&self) -> Verified {
        match self.verified.load(Ordering::Relaxed) {
            0 => Verified::Open,
            1 => Verified::Agrees,
            _ => Verified::Differs,
        }
    }
    pub(super) fn set_verified(&self, agrees: bool) {
        self.verified.store(if agrees { 1 } else { 2 }, Ordering::Relaxed);
    }
}

/// A bound portal. Over a statement in which nothing is protected it takes no memory of its own: every Bind makes one.
#[derive(Clone)]
pub(super) struct Portal {
    pub(super) statement: Arc<Prepared>,
    /// `None`: nothing protected is in it.
    bound: Option<Arc<Bound>>,
}

/// What the Bind of a protected statement asked for.
pub(super) struct Bound {
    /// Result formats as the client asked: none, one for all, one each.
    pub(super) formats: Box<[u16]>,
    /// Subjects that the parameters or literals name.
    pub(super) subjects: Vec<[u8; 16]>,
}

impl Portal {
    /// Over a statement in which nothing is protected.
    pub(super) fn plain(statement: Arc<Prepared>) -> Self {
        Self { statement, bound: None }
    }
    /// Over a protected statement.
    pub(super) fn protected(statement: Arc<Prepared>, bound: Bound) -> Self {
        Self {
            statement,
            bound: Some(Arc::new(bound)),
        }
    }
    /// The client's format code of a result column.
    pub(super) fn format_code(&self, index: usize) -> u16 {
        match self.bound.as_deref().map(|bound| &*bound.formats) {
            None | Some([]) => 0,
            Some([one]) => *one,
            Some(many) => many.get(index).copied().unwrap_or(0),
        }
    }
    /// Subjects that the parameters or literals name.
    pub(super) fn subjects(&self) -> &[[u8; 16]] {
        self.bound.as_deref().map_or(&[], |bound| &bound.subjects)
    }
}

/// A wire format by its code; codes that the server would refuse count as text, and the server refuses them.
pub(super) fn format_of(code: u16) -> Format {
    if code == 1 { Format::Binary } else { Format::Text }
}

/// A protected statement under way.
pub(super) struct Running {
    pub(super) plan: Arc<Plan>,
    pub(super) kind: StatementKind,
    pub(super) shown: Arc<[Shown]>,
    /// The description must have agreed before a row is given out.
    pub(super) statement: Option<Arc<Prepared>>,
    pub(super) draft: Draft,
    /// Companion statements whose answers are still to come before the client hears of the end.
    pub(super) companions: usize,
    /// The record that has to be durable before it is forwarded, for a write.
    pub(super) write: Option<Ticket>,
    /// Where in the output to the client rows begin that no record covers yet.
    pub(super) unrecorded_from: Option<u64>,
    /// Where in its rows data subjects stand; found out at the first row.
    pub(super) subjects: Option<Box<[SubjectAt]>>,
}

/// A result column that names a data subject.
pub(super) struct SubjectAt {
    pub(super) index: usize,
    pub(super) format: Format,
    pub(super) type_oid: u32,
    pub(super) table: RelationName,
}

/// What one statement of a Query answers with.
pub(super) enum Expect {
    /// One that goes on as it is. `untouched`: in a message in which all do, so that the server's errors fit the client's text.
    Plain {
        untouched: bool,
        forgets: Option<Forgets>,
    },
    Protected(Box<Running>),
    Refused(Box<Refused>),
    /// pgward's own statement behind a protected one; `last`: the client hears of the end now.
    Companion {
        last: bool,
    },
}

/// A statement in whose place the server got one that fails.
pub(super) struct Refused {
    /// What the server's error must mention to be ours.
    pub(super) marker: String,
    pub(super) refusal: Refusal,
    /// The name that a refused Parse would have given it.
    pub(super) prepares: Option<Name>,
}

/// Which of pgward's own questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question {
    Scope,
    Catalog,
    /// For a connection whose encoding isn't UTF-8.
    CatalogInAscii,
}

/// What the server owes, in order.
pub(super) enum Reply {
    /// ParseComplete. `replaced`: what the name meant before (`None`: nothing).
    Parse {
        name: Name,
        replaced: Option<Arc<Prepared>>,
    },
    /// BindComplete
    Bind { name: Name, replaced: Option<Portal> },
    /// CloseComplete
    CloseStatement {
        name: Name,
        replaced: Option<Arc<Prepared>>,
    },
    /// CloseComplete
    ClosePortal { name: Name, replaced: Option<Portal> },
    /// ParameterDescription, then RowDescription or NoData. `own`: pgward asks for itself.
    DescribeStatement {
        statement: Option<Arc<Prepared>>,
        own: bool,
    },
    /// RowDescription or NoData. `own`: pgward asks for itself.
    DescribePortal { portal: Option<Portal>, own: bool },
    /// Rows, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute(Option<Box<Running>>),
    /// CommandComplete of a statement that takes prepared statements away.
    Forgets(Forgets),
    /// ErrorResponse in place of a refused Parse, Bind or Execute.
    Refused(Box<Refused>),
    /// One of these bare answers of pgward's own: `1`, `2`, `3`.
    Own(u8),
    /// The end of a companion's Execute; `last`: the client hears of the end now.
    OwnCompanion { last: bool },
    /// Rows of pgward's own question in the extended protocol.
    OwnRows(Question),
    /// The same as a simple query, with its ReadyForQuery.
    OwnQuery(Question),
    /// ReadyForQuery after the Sync behind pgward's own questions.
    OwnSync,
    /// ReadyForQuery after Sync.
    Sync,
    /// Everything that a Query answers, up to ReadyForQuery. Empty where nothing has to be followed.
    Query(VecDeque<Expect>),
    /// FunctionCallResponse, then ReadyForQuery.
    FunctionCall,
    /// Nothing: here the client sent CopyDone or CopyFail before it heard that the server is in COPY FROM STDIN. Never at the front.
    CopyEnd,
}

/// A statement with which the server answers an error that pgward replaces by the refusal's own text: transaction
/// state, discard-until-Sync and the order of answers stay the server's.
pub(super) fn poison(number: u64) -> (String, String) {
    let marker = format!("pgward refuses this statement ({number})");
    let sql = format!("SELECT \"{marker}\"");
    (marker, sql)
}
