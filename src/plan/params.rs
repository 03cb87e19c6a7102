//! Parameters: what the client sees, what the server gets.
//!
//! A client's parameter that is used in one way keeps its number. One that is used in several ways (stored in one column, compared with another,
//! used in clear) becomes several; the further ones are numbered behind the client's last.

use super::PlanInput;
use super::planner::{Outcome, mismatch};
use super::refusal::{Reason, Refusal};
use super::schema::ColumnRef;
use super::script::{Carry, ClientParam, Replacement, ServerParam, Splice, Transform};
use super::source::{Place, Source};
use crate::value::LogicalType;
use crate::wire::sqlstate::SqlState;
use std::ops::Range;

const UNKNOWN_OID: u32 = 705;
const BYTEA_OID: u32 = 17;
const BYTEA_ARRAY_OID: u32 = 1001;

/// One use of a parameter for a protected column.
#[derive(Clone, Debug)]
pub(super) struct ParamUse {
    /// The parameter's token, where it stands.
    pub(super) token: Range<usize>,
    /// Type that a cast in the text gives it; the cast itself is dropped.
    pub(super) cast: Option<LogicalType>,
    /// What becomes of it.
    pub(super) transform: Transform,
    /// An array of values (`= ANY($1)`).
    pub(super) array: bool,
    /// One of several in an IN list: PostgreSQL gives them all the column's type, where `=` gives that of the operator.
    pub(super) listed: bool,
}

/// All uses of parameters for protected columns in a statement.
#[derive(Debug, Default)]
pub(super) struct Params {
    pub(super) uses: Vec<ParamUse>,
}

impl Params {
    /// Settles types and numbers; adds the splices of those that get another number.
    pub(super) fn assign(
        &self,
        source: &Source<'_>,
        place: &Place,
        input: &PlanInput<'_>,
        splices: &mut Vec<Splice>,
    ) -> Outcome<(Vec<ClientParam>, Vec<ServerParam>)> {
        let mut tokens: Vec<(u32, Range<usize>)> = source
            .tokens(&place.span)
            .iter()
            .filter_map(|t| match t.kind {
                super::lexer::LexemeKind::Param(number) => Some((number, t.span.clone())),
                _ => None,
            })
            .collect();
        tokens.sort_by_key(|(number, span)| (*number, span.start));
        let count = tokens
            .iter()
            .map(|(number, _)| *number as usize)
            .max()
            .unwrap_or(0)
            .max(input.parameter_oids.len());
        let mut client = vec![ClientParam { type_oid: None }; count];
        let mut server: Vec<ServerParam> = (0..count)
            .map(|from| ServerParam {
                from,
                type_oid: input.parameter_oids.get(from).copied().unwrap_or(0),
                carry: Carry::Unchanged,
            })
            .collect();
        let mut first: Vec<bool> = vec![true; count];
        let mut extra: Vec<ServerParam> = Vec::new();
        for (number, span) in &tokens {
            let Some(from) = (*number as usize).checked_sub(1) else {
                continue;
            };
            let declared = input.parameter_oids.get(from).copied().unwrap_or(0);
            let wanted = match self.uses.iter().find(|u| u.token == *span) {
                Some(usage) => {
                    let (shown, carried) = carry(usage, from, declared)?;
                    if let Some(client) = client.get_mut(from) {
                        match client.type_oid {
                            None => client.type_oid = Some(shown),
                            // PostgreSQL takes the type from the first use and converts for the others; where the two are read as different
                            // types there is no telling that it would accept them both.
                            Some(known) if known != shown && !(is_text(known) && is_text(shown)) => {
                                return Err(conflicting(usage.transform.column()));
                            }
                            Some(_) => {}
                        }
                    }
                    carried
                }
                None => ServerParam {
                    from,
                    type_oid: declared,
                    carry: Carry::Unchanged,
                },
            };
            let Some(own) = server.get_mut(from) else { continue };
            if first.get(from) == Some(&true) {
                *own = wanted;
                first[from] = false;
            } else if *own != wanted {
                let position = match extra.iter().position(|p| *p == wanted) {
                    Some(position) => position,
                    None => {
                        extra.push(wanted);
                        extra.len() - 1
                    }
                };
                splices.push(Splice {
                    span: span.clone(),
                    with: Replacement::Text(format!("${}", count + position + 1)),
                });
            }
        }
        // A parameter that is used in clear too keeps there the type that PostgreSQL would have given it.
        for param in server.iter_mut().chain(extra.iter_mut()) {
            if param.carry == Carry::Unchanged
                && param.type_oid == 0
                && let Some(shown) = client.get(param.from).and_then(|c| c.type_oid)
            {
                param.type_oid = shown;
            }
        }
        server.append(&mut extra);
        if server.len() > 65_535 {
            return Err(Box::new(
                Refusal::unsupported(Reason::Limit, "too many parameters")
                    .sqlstate(SqlState::PROGRAM_LIMIT_EXCEEDED)
                    .hint("Use fewer parameters in one statement."),
            ));
        }
        Ok((client, server))
    }
}

fn is_text(oid: u32) -> bool {
    matches!(oid, 25 | 1043)
}

fn conflicting(column: &ColumnRef) -> Box<Refusal> {
    Box::new(
        Refusal::unsupported(
            Reason::ParameterType,
            format!(
                "a parameter for column {} is used for a value of another type as well",
                column.name
            ),
        )
        .sqlstate(SqlState::DATATYPE_MISMATCH)
        .column(&column.name)
        .hint("Use a parameter of its own for each."),
    )
}

/// Type to show to the client, and the server's parameter.
fn carry(usage: &ParamUse, from: usize, declared: u32) -> Outcome<(u32, ServerParam)> {
    let column = usage.transform.column();
    let own = inferred(column.logical_type, usage);
    let bad = || mismatch(column, "a parameter of the declared type");
    // A cast in the text decides; without one the declared type; else what PostgreSQL would infer.
    let element_oid = match (usage.cast, declared) {
        (Some(cast), 0 | UNKNOWN_OID) => Some(cast.oid()),
        (Some(cast), declared) => {
            let expected = if usage.array { array_oid(cast) } else { cast.oid() };
            if declared != expected && !(is_text(declared) && is_text(expected)) {
                return Err(bad());
            }
            Some(cast.oid())
        }
        (None, 0 | UNKNOWN_OID) => None,
        (None, declared) if usage.array => Some(element_of(declared).ok_or_else(bad)?),
        (None, declared) => Some(declared),
    };
    let read_as = match element_oid {
        None => own,
        Some(oid) => {
            // A text parameter compared with char(n) makes blanks count, which the tag of a char(n) does not know.
            if matches!(column.logical_type, LogicalType::Char(_))
                && matches!(usage.transform, Transform::Term(_))
                && oid != 1042
            {
                return Err(bad());
            }
            column.logical_type.accepts_parameter(oid).ok_or_else(bad)?
        }
    };
    let shown_element = element_oid.unwrap_or(own.oid());
    let param = if usage.array {
        ServerParam {
            from,
            type_oid: BYTEA_ARRAY_OID,
            carry: Carry::Array {
                read_as,
                transform: usage.transform.clone(),
            },
        }
    } else if column.mode.is_sealed() {
        ServerParam {
            from,
            type_oid: BYTEA_OID,
            carry: Carry::Value {
                read_as,
                transform: usage.transform.clone(),
            },
        }
    } else {
        ServerParam {
            from,
            type_oid: declared,
            carry: Carry::Unchanged,
        }
    };
    let shown = if usage.array {
        array_of(shown_element).unwrap_or_else(|| array_oid(own))
    } else {
        shown_element
    };
    Ok((shown, param))
}

/// What PostgreSQL infers for a parameter without a declared type: an assignment gives the column's type, a comparison the type of
/// the operator (`varchar` has none of its own and is compared as text).
fn inferred(ty: LogicalType, usage: &ParamUse) -> LogicalType {
    match (ty, &usage.transform) {
        (LogicalType::Varchar(_), Transform::Term(_)) if usage.listed => LogicalType::Varchar(None),
        (LogicalType::Varchar(_), Transform::Term(_)) => LogicalType::Text,
        _ => ty,
    }
}

/// `pg_type.typarray` of the logical type.
fn array_oid(ty: LogicalType) -> u32 {
    array_of(ty.oid()).unwrap_or(0)
}

/// Element and array types (`pg_type.dat`).
const ARRAYS: [(u32, u32); 16] = [
    (25, 1009),
    (1043, 1015),
    (1042, 1014),
    (21, 1005),
    (23, 1007),
    (20, 1016),
    (1700, 1231),
    (701, 1022),
    (16, 1000),
    (1082, 1182),
    (1114, 1115),
    (1184, 1185),
    (2950, 2951),
    (17, 1001),
    (114, 199),
    (3802, 3807),
];

fn array_of(element: u32) -> Option<u32> {
    ARRAYS.iter().find(|(e, _)| *e == element).map(|(_, a)| *a)
}

fn element_of(array: u32) -> Option<u32> {
    ARRAYS.iter().find(|(_, a)| *a == array).map(|(e, _)| *e)
}
