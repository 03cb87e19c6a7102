//! The answer: what a handler holds, and whether that covers what a statement does.

use super::file::{ReadGrant, Rights};
use super::validate::Column;
use super::{Circumstances, Denied, Disclosure, Permit, Policy};
use crate::plan::{Access, ColumnName, Declaration, Use};
use std::collections::HashMap;
use std::sync::Arc;

/// The rule that a denial names where no grant covers an access.
const DEFAULT_DENY: &str = "default-deny";

/// A handler as the policy knows him, resolved once at log-in and again after a reload. Cheap to clone; looking a column up allocates nothing.
#[derive(Clone, Debug)]
pub struct HandlerProfile {
    /// Handler name in the policy; the login role's name for an undeclared handler (who has no rights on protected columns).
    pub handler: Arc<str>,
    /// staff, contractor, service, admin; `unknown` for an undeclared one.
    pub kind: Arc<str>,
    /// The login role.
    pub login_role: Arc<str>,
    /// The purpose that the session works for; `None` also where it asked for one that the policy doesn't know, because what
    /// a client makes up does not belong in records.
    pub purpose: Option<Arc<str>>,
    standing: Standing,
    database: Arc<str>,
    /// The purpose that the session asked for, to resolve the profile anew after a reload.
    asked: Option<Arc<str>>,
    rights: Arc<HashMap<ColumnName, Held>>,
    generation: u64,
}

/// Why a handler may have no rights, for the denial's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Has what his grants give.
    Good,
    /// The login role belongs to no handler.
    Undeclared,
    /// Neither he nor his session states a purpose.
    NoPurpose,
    /// The session asked for a purpose that no grant gives him.
    PurposeNotHis,
}

/// What a handler holds on a column: the grant behind each use. One grant is enough; of several that allow reading, the one that shows most.
#[derive(Clone, Debug, Default)]
struct Held {
    read: Option<(Disclosure, Arc<str>)>,
    search: Option<Arc<str>>,
    write: Option<Arc<str>>,
}

impl Policy {
    /// The handler who logged in with this role at this database. `purpose` takes the place of his default purpose where a grant of his groups
    /// names it; any other leaves him without rights, rather than with those of another purpose.
    pub fn handler(&self, database: &str, login_role: &str, purpose: Option<&str>) -> HandlerProfile {
        let login_role: Arc<str> = Arc::from(login_role);
        let mut profile = HandlerProfile {
            handler: login_role.clone(),
            kind: Arc::from("unknown"),
            login_role,
            purpose: None,
            standing: Standing::Undeclared,
            database: Arc::from(database),
            asked: purpose.map(Arc::from),
            rights: Arc::default(),
            generation: self.generation,
        };
        let asked = purpose.and_then(|purpose| self.resolved.purposes.get(purpose));
        let Some(handler) = self.resolved.handlers.get(&profile.login_role) else {
            profile.purpose = asked.cloned();
            return profile;
        };
        profile.handler = handler.name.clone();
        profile.kind = handler.kind.clone();
        profile.purpose = match purpose {
            Some(_) => asked.cloned(),
            None => handler.purpose.clone(),
        };
        let Some(working_for) = &profile.purpose else {
            profile.standing = match purpose {
                Some(_) => Standing::PurposeNotHis,
                None => Standing::NoPurpose,
            };
            return profile;
        };
        let mut his = self
            .resolved
            .grants
            .iter()
            .filter(|grant| grant.purpose == *working_for && handler.groups.contains(&grant.group))
            .peekable();
        profile.standing = match his.peek() {
            None if purpose.is_some() => Standing::PurposeNotHis,
            _ => Standing::Good,
        };
        let mut rights = HashMap::<ColumnName, Held>::new();
        for grant in his {
            for column in self
                .columns(database)
                .iter()
                .filter(|column| grant.covers(&column.declared))
            {
                rights
                    .entry(column.declared.name.clone())
                    .or_default()
                    .add(grant, column);
            }
        }
        profile.rights = Arc::new(rights);
        profile
    }

    /// Whether a profile is of this very policy. After a reload it isn't, and is to be resolved again with [`Self::renew`].
    pub fn knows(&self, who: &HandlerProfile) -> bool {
        who.generation == self.generation
    }

    /// The same handler, database and purpose under this policy.
    pub fn renew(&self, who: &HandlerProfile) -> HandlerProfile {
        self.handler(&who.database, &who.login_role, who.asked.as_deref())
    }

    /// Decides on all accesses of a statement: all permits, in the order asked, or the first denial.
    pub fn decide(
        &self,
        who: &HandlerProfile,
        circumstances: &Circumstances,
        accesses: &[Access],
    ) -> Result<Vec<Permit>, Denied> {
        let mut permits = Vec::with_capacity(accesses.len());
        self.decide_into(who, circumstances, accesses, &mut permits)?;
        Ok(permits)
    }

    /// [`decide`](Self::decide) into a reused vector (cleared first; empty after a denial): allocates nothing when all is allowed.
    ///
    /// A profile of another policy is resolved anew, so that a session that missed a reload gets the rights of the moment all the same.
    pub fn decide_into(
        &self,
        who: &HandlerProfile,
        _circumstances: &Circumstances,
        accesses: &[Access],
        permits: &mut Vec<Permit>,
    ) -> Result<(), Denied> {
        permits.clear();
        let renewed;
        let who = if self.knows(who) {
            who
        } else {
            renewed = self.renew(who);
            &renewed
        };
        for (index, access) in accesses.iter().enumerate() {
            match who.permit(access) {
                Ok(permit) => permits.push(permit),
                Err(masked_only) => {
                    permits.clear();
                    return Err(who.denied(index, access, masked_only));
                }
            }
        }
        Ok(())
    }

    /// What the handler may do with a declared column, for `pgward check` and the golden matrix.
    pub fn rights(&self, who: &HandlerProfile, column: &Declaration) -> Rights {
        self.rights_by_name(who, &column.name)
    }

    /// [`rights`](Self::rights) by the column's name.
    pub fn rights_by_name(&self, who: &HandlerProfile, column: &ColumnName) -> Rights {
        let renewed;
        let who = if self.knows(who) {
            who
        } else {
            renewed = self.renew(who);
            &renewed
        };
        who.rights.get(column).map_or_else(Rights::default, |held| Rights {
            read: held.read.as_ref().map(|(disclosure, _)| match disclosure {
                Disclosure::Clear => ReadGrant::Clear,
                Disclosure::Masked(_) => ReadGrant::Masked,
            }),
            search: held.search.is_some(),
            write: held.write.is_some(),
        })
    }
}

impl Held {
    /// The strongest of several grants wins; of equals the first in the file, so that records name the same rule every time.
    fn add(&mut self, grant: &super::validate::Grant, column: &Column) {
        match (grant.read, &self.read) {
            (Some(ReadGrant::Clear), None | Some((Disclosure::Masked(_), _))) => {
                self.read = Some((Disclosure::Clear, grant.rule.clone()));
            }
            (Some(ReadGrant::Masked), None) => {
                self.read = Some((Disclosure::Masked(column.mask), grant.rule.clone()));
            }
            _ => {}
        }
        if grant.search {
            self.search.get_or_insert_with(|| grant.rule.clone());
        }
        if grant.write {
            self.write.get_or_insert_with(|| grant.rule.clone());
        }
    }
}

impl HandlerProfile {
    /// The permit for one access; an error says whether he could read it masked.
    fn permit(&self, access: &Access) -> Result<Permit, bool> {
        let held = self.rights.get(&access.column.name).ok_or(false)?;
        let (disclosure, rule) = match access.usage {
            Use::Read => match &held.read {
                Some((Disclosure::Masked(_), _)) if access.derived => return Err(true),
                Some((disclosure, rule)) => (*disclosure, rule),
                None => return Err(false),
            },
            Use::Search => (Disclosure::Clear, held.search.as_ref().ok_or(false)?),
            Use::Write => (Disclosure::Clear, held.write.as_ref().ok_or(false)?),
        };
        Ok(Permit {
            column: access.column.id,
            usage: access.usage,
            disclosure,
            rule: rule.clone(),
        })
    }

    fn denied(&self, index: usize, access: &Access, masked_only: bool) -> Denied {
        let column = &access.column.name;
        let verb = verb(access.usage);
        let purpose = match &self.purpose {
            Some(purpose) => format!("for purpose \"{purpose}\""),
            None => "without a purpose".to_owned(),
        };
        let handler = &self.handler;
        let message = if masked_only {
            format!("handler \"{handler}\" may read {column} {purpose} only masked, and the statement computes with it")
        } else {
            match self.standing {
                Standing::Good => format!("handler \"{handler}\" may not {verb} {column} {purpose}"),
                Standing::Undeclared => {
                    format!(
                        "log-in role \"{}\" is no handler of the policy and may not {verb} {column}",
                        self.login_role
                    )
                }
                Standing::NoPurpose => {
                    format!("handler \"{handler}\" may not {verb} {column}: the session states no purpose")
                }
                Standing::PurposeNotHis => {
                    format!(
                        "handler \"{handler}\" may not {verb} {column}: the purpose that the session asked for is not open to him"
                    )
                }
            }
        };
        let hint = if masked_only {
            format!(
                "Select the column by itself, or ask the keepers of the policy for a grant of read = \"clear\" on {column}."
            )
        } else {
            match self.standing {
                Standing::Good => format!(
                    "Ask the keepers of the policy for a grant of {} on {column} (category \"{}\") {purpose} to one of the handler's groups.",
                    right(access.usage),
                    access.column.category,
                ),
                Standing::Undeclared => "Ask the keepers of the policy to declare the role as a handler's.".to_owned(),
                Standing::NoPurpose => {
                    "State one at log-in, in the connection's options: -c pgward.purpose=…; or ask the keepers of the policy for a default purpose.".to_owned()
                }
                Standing::PurposeNotHis => {
                    "Check the spelling of pgward.purpose in the connection's options, or ask the keepers of the policy for a grant for that purpose.".to_owned()
                }
            }
        };
        Denied {
            access: index,
            message,
            hint,
            rule: Arc::from(DEFAULT_DENY),
            masked_only,
        }
    }
}

fn verb(usage: Use) -> &'static str {
    match usage {
        Use::Read => "read",
        Use::Search => "search by",
        Use::Write => "write",
    }
}

fn right(usage: Use) -> &'static str {
    match usage {
        Use::Read => "read = \"clear\" or read = \"masked\"",
        Use::Search => "search = true",
        Use::Write => "write = true",
    }
}
