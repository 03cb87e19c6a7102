//! Errors: the server's own, without what may hold values; and those that pgward makes of its answers.

use super::Session;
use super::names::Named;
use super::refuse::Refuse;
use super::state::{Expect, Name, Prepared, PreparedBody, Refused, Reply, Running};
use crate::plan::{Access, Mode, NameScope, Refusal, Use};
use crate::policy::Circumstances;
use crate::wire::compose::{self, Severity};
use crate::wire::frame::{self, HEADER, Malformed, Scan};
use crate::wire::read;
use std::collections::VecDeque;

/// Fields of an ErrorResponse that may hold stored or spliced values, or positions in a text that the client did not write.
const REVEALING: &[u8] = b"DWqpP";

/// In place of a message that may hold a value.
const WITHHELD: &[u8] =
    b"the server refused the statement; its message is withheld because it may hold a protected value";

/// Whether the message of an error of this kind may hold a value. Errors about the statement's text have a position in it; those of the
/// other classes named here hold names, sizes and states only.
fn may_show_values(fields: &[(u8, &[u8])], sqlstate: &str) -> bool {
    const SAFE: [&str; 8] = ["08", "23", "25", "40", "53", "54", "55", "57"];
    let in_text = fields.iter().any(|(code, _)| *code == b'P');
    let class = sqlstate.get(..2).unwrap_or_default();
    !(SAFE.contains(&class) || sqlstate == "42501" || in_text && matches!(class, "42" | "0A"))
}

impl Session {
    /// The client gets this error, and nothing more until ReadyForQuery; the server goes on.
    pub(super) fn fail(&mut self, refuse: Refuse<'_>) {
        if self.mute {
            return;
        }
        // Rows that wait for a record that is still to be made are not given out.
        if let Some(at) = self.client_gate.open_at() {
            self.to_client.cut(at);
            self.client_gate.set_open(None);
            self.hold_client();
        }
        let (refused, _) = self.note_refusal(refuse);
        Self::put_refusal(self.to_client.tail(), Severity::Error, &refused.refusal);
        self.mute = true;
    }

    /// The same for a statement under way, whose record names what it touched.
    pub(super) fn fail_running(&mut self, running: &mut Running, refusal: Refusal) {
        running.unrecorded_from = None;
        let plan = running.plan.clone();
        self.fail(Refuse::planned(&plan, running.kind, (refusal, None)));
    }

    /// The record of a read can't be made: what stands behind `at` in the output is taken back, up to the next ReadyForQuery.
    pub(super) fn unread(&mut self, at: u64) {
        let cut = self.to_client.cut(at);
        self.client_gate.cut(at);
        self.discard_rest();
        let refusal = Self::journal_refusal();
        self.shared.metrics.refusal(refusal.reason);
        Self::put_refusal(self.to_client.tail(), Severity::Error, &refusal);
        let mut rest = &cut[..];
        while let Ok(Scan::Frame { tag, size }) = frame::scan(rest) {
            let Some((frame, tail)) = rest.split_at_checked(size) else {
                break;
            };
            match tag {
                b'N' | b'A' | b'S' => self.to_client.put(frame),
                b'Z' => {
                    // Everything behind belongs to later messages. Rows of later statements had records of their own; those are
                    // forgotten with the cut, so nothing of them may leave: the session ends after this answer.
                    self.to_client.put(frame);
                    if !tail.is_empty() {
                        self.close();
                    }
                    return;
                }
                _ => {}
            }
            rest = tail;
        }
        self.mute = true;
    }

    pub(super) fn error(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        self.withheld = None;
        self.copy_in = false;
        let fields = read::error_fields(&frame[HEADER..])?;
        // The severity that is not translated: since PostgreSQL 9.6.
        self.said_goodbye |= fields
            .iter()
            .any(|(code, text)| *code == b'V' && matches!(*text, b"FATAL" | b"PANIC"));
        match self.replies.pop_front() {
            // Between statements: the server ends the connection (57P01, an idle time-out).
            None => self.emit(frame),
            Some(Reply::Query(mut expected)) => {
                match expected.pop_front() {
                    None | Some(Expect::Plain { untouched: true, .. }) => self.emit_unprotected(frame, &fields),
                    Some(Expect::Protected(mut running)) => self.protected_error(&fields, &mut running),
                    Some(Expect::Refused(refused)) => self.refused_error(&fields, &refused),
                    Some(Expect::Plain { .. } | Expect::Companion { .. }) => self.emit_sanitised(&fields),
                }
                self.replies.push_front(Reply::Query(VecDeque::new()));
            }
            Some(Reply::OwnQuery(question)) => {
                self.answered(question, false);
                self.own_error(frame, &fields);
                self.replies.push_front(Reply::OwnQuery(question));
            }
            Some(reply @ (Reply::Own(_) | Reply::OwnRows(_))) if self.ends_with_own_sync() => {
                self.own_error(frame, &fields);
                self.discard_until_sync(reply);
            }
            // ReadyForQuery follows. At Sync: the implicit transaction can't be committed.
            Some(reply @ (Reply::FunctionCall | Reply::Sync)) => {
                self.emit(frame);
                self.replies.push_front(reply);
            }
            Some(mut reply) => {
                match &mut reply {
                    Reply::Execute(Some(running)) => self.protected_error(&fields, running),
                    Reply::Refused(refused) => self.refused_error(&fields, refused),
                    reply if self.is_unprotected(reply) => self.emit_unprotected(frame, &fields),
                    // Among them pgward's own questions and companions: their error stands for the client's message, which the server now discards.
                    _ => self.emit_sanitised(&fields),
                }
                if self.ends_with_own_sync() {
                    self.question_lost();
                }
                self.discard_until_sync(reply);
            }
        }
        Ok(())
    }

    /// The server's error in one of pgward's own questions. Where it ends the connection the client has to hear of it now.
    fn own_error(&mut self, frame: &[u8], fields: &[(u8, &[u8])]) {
        if self.said_goodbye {
            self.emit(frame);
        } else {
            self.question_failed(fields);
        }
    }

    /// Whether the Sync up to which the server discards now is one of pgward's own.
    fn ends_with_own_sync(&self) -> bool {
        let mut syncs = self
            .replies
            .iter()
            .filter(|r| matches!(r, Reply::Sync | Reply::OwnSync));
        matches!(syncs.next(), Some(Reply::OwnSync))
    }

    pub(super) fn is_unprotected(&self, reply: &Reply) -> bool {
        let forward = |s: &Prepared| matches!(s.body, PreparedBody::Forward { .. });
        match reply {
            Reply::Parse { name, .. } => self.statements.get(name).is_none_or(|s| forward(s)),
            Reply::Bind { name, .. } => self.portals.get(name).is_none_or(|p| forward(&p.statement)),
            Reply::DescribeStatement { statement, own: false } => statement.as_deref().is_none_or(forward),
            Reply::DescribePortal { portal, .. } => portal.as_ref().is_none_or(|p| forward(&p.statement)),
            Reply::Execute(None) | Reply::Forgets(_) | Reply::CloseStatement { .. } | Reply::ClosePortal { .. } => true,
            _ => false,
        }
    }

    /// After an error in the extended protocol the server discards until Sync: what it owed before that does not come, and names
    /// mean again what they meant.
    pub(super) fn discard_until_sync(&mut self, failed: Reply) {
        let mut discarded = vec![failed];
        let ends = |reply: &Reply| matches!(reply, Reply::Sync | Reply::OwnSync);
        while let Some(reply) = self.replies.pop_front_if(|reply| !ends(reply)) {
            discarded.push(reply);
        }
        self.skipping = self.replies.is_empty();
        for reply in discarded.into_iter().rev() {
            match reply {
                Reply::Parse { name, replaced } => {
                    self.lost.note(&name);
                    restore(&mut self.statements, name, replaced);
                }
                Reply::CloseStatement { name, replaced } if replaced.is_some() => {
                    restore(&mut self.statements, name, replaced);
                }
                Reply::Bind { name, replaced } => restore(&mut self.portals, name, replaced),
                Reply::ClosePortal { name, replaced } if replaced.is_some() => {
                    restore(&mut self.portals, name, replaced);
                }
                Reply::OwnRows(question) => self.answered(question, false),
                _ => {}
            }
        }
        if !matches!(self.replies.front(), Some(Reply::OwnSync)) {
            self.unpark();
        }
    }

    pub(super) fn refused_error(&mut self, fields: &[(u8, &[u8])], refused: &Refused) {
        let message = fields
            .iter()
            .find(|(code, _)| *code == b'M')
            .map_or(&b""[..], |(_, text)| text);
        if self.mute {
            return;
        }
        // In a failed transaction the server says so instead (25P02), as it would have said to the client's own statement.
        if contains(message, refused.marker.as_bytes()) {
            Self::put_refusal(self.to_client.tail(), Severity::Error, &refused.refusal);
        } else {
            self.emit_sanitised(fields);
        }
    }

    /// An error of the server's in a protected statement: recorded, and shown without what may hold values.
    pub(super) fn protected_error(&mut self, fields: &[(u8, &[u8])], running: &mut Running) {
        let sqlstate = String::from_utf8_lossy(&sqlstate_of(fields)).into_owned();
        self.finish(running, &sqlstate);
        if may_show_values(fields, &sqlstate) && self.hides_values(running) {
            let kept: Vec<(u8, &[u8])> = fields
                .iter()
                .filter(|(code, _)| *code != b'H')
                .map(|(code, text)| (*code, if *code == b'M' { WITHHELD } else { text }))
                .collect();
            return self.emit_sanitised(&kept);
        }
        self.emit_sanitised(fields);
    }

    /// Whether the statement uses a column that is stored in clear and that the handler may not read in clear.
    pub(super) fn hides_values(&self, running: &Running) -> bool {
        let reads: Vec<Access> = running
            .plan
            .accesses
            .iter()
            .filter(|access| access.column.mode == Mode::None)
            .map(|access| Access {
                column: access.column.clone(),
                usage: Use::Read,
                derived: true,
            })
            .collect();
        let circumstances = Circumstances {
            client_addr: self.peer.addr.map(|a| a.ip()),
            now: self.now() / 1_000_000,
        };
        !reads.is_empty() && self.policy.decide(&self.profile, &circumstances, &reads).is_err()
    }

    /// The server's error in a statement in which nothing protected is used. A row that breaks a constraint is shown whole in the error's detail, with
    /// protected columns that the statement did not name.
    fn emit_unprotected(&mut self, frame: &[u8], fields: &[(u8, &[u8])]) {
        let field = |wanted: u8| {
            let found = fields.iter().find(|(code, _)| *code == wanted);
            found.and_then(|(_, text)| std::str::from_utf8(text).ok())
        };
        let snapshot = self.snapshot();
        let protected = match (field(b's'), field(b't')) {
            (Some(schema), Some(table)) => snapshot
                .resolve(&NameScope::default(), Some(schema), table)
                .is_some_and(|relation| relation.protected || relation.touches_protected.is_some()),
            // A view's check option names no table: it can be one of a protected table's only if there is such a view.
            _ => field(b'C') == Some("44000") && snapshot.relations.values().any(|r| r.touches_protected.is_some()),
        };
        if !protected {
            return self.emit(frame);
        }
        if !self.mute {
            let kept: Vec<(u8, &[u8])> = fields.iter().filter(|(code, _)| *code != b'D').copied().collect();
            compose::fields(self.to_client.tail(), b'E', &kept);
        }
    }

    pub(super) fn emit_sanitised(&mut self, fields: &[(u8, &[u8])]) {
        if self.mute {
            return;
        }
        compose::fields(self.to_client.tail(), b'E', &sanitised(fields));
    }
}

/// The fields of an error that hold no values, and no positions in a text of pgward's.
pub(super) fn sanitised<'a>(fields: &[(u8, &'a [u8])]) -> Vec<(u8, &'a [u8])> {
    let kept = fields.iter().filter(|(code, _)| !REVEALING.contains(code));
    kept.copied().collect()
}

/// The SQLSTATE of an error; zeros where it has none.
pub(super) fn sqlstate_of(fields: &[(u8, &[u8])]) -> [u8; 5] {
    let found = fields.iter().find(|(code, _)| *code == b'C');
    found.and_then(|(_, text)| (*text).try_into().ok()).unwrap_or(*b"00000")
}

fn restore<T>(map: &mut Named<T>, name: Name, replaced: Option<T>) {
    match replaced {
        Some(replaced) => map.insert(name, replaced),
        None => map.remove(&name),
    };
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len().max(1)).any(|window| window == needle)
}
