//! The planner against a fixed catalog: what becomes of a statement, as text.

mod golden;
mod limits;
mod literals;
mod messages;
mod names;
mod plain;
mod schema;
mod server;
mod sources;

use super::*;
use schema::snapshot;
use std::fmt::Write;

pub(super) fn scope() -> NameScope {
    NameScope {
        schemas: vec!["pg_catalog".into(), "public".into()],
        temp_schema: None,
    }
}

pub(super) fn planned(sql: &str, oids: &[u32]) -> Script {
    let snapshot = snapshot();
    plan(PlanInput {
        sql,
        snapshot: &snapshot,
        scope: &scope(),
        parameter_oids: oids,
        standard_conforming_strings: true,
        extended: !oids.is_empty(),
    })
}

/// The one statement of `sql`, as text: `forward`, `refuse reason column`, or the new text and, where they differ from the plain ones,
/// `| params`, `| outputs`, `| accesses`.
pub(super) fn shown(sql: &str) -> String {
    shown_with(sql, &[])
}

pub(super) fn shown_with(sql: &str, oids: &[u32]) -> String {
    let script = planned(sql, oids);
    let [statement] = script.statements.as_slice() else {
        return format!("{} statements", script.statements.len());
    };
    match &statement.action {
        Action::Forward => "forward".into(),
        Action::Refuse(refused) => match &refused.refusal.column {
            Some(column) => format!("refuse {} {}", refused.refusal.reason.anchor(), column.column),
            None => format!("refuse {}", refused.refusal.reason.anchor()),
        },
        Action::Protected(plan) => rewritten(sql, statement, plan),
    }
}

/// The text that the server gets, with `⟨seal column⟩` for values.
pub(super) fn rewritten(sql: &str, statement: &Statement, plan: &Plan) -> String {
    let mut show = |replacement: &Replacement, out: &mut Vec<u8>| {
        let (transform, array) = match replacement {
            Replacement::Literal { literal, transform } => {
                assert!(read_literal(sql, literal).is_some(), "{sql}");
                (transform, "")
            }
            Replacement::LiteralArray { transform, .. } => (transform, "[]"),
            Replacement::Text(_) => unreachable!("texts are written by rewrite"),
        };
        let kind = match transform {
            Transform::Seal(_) => "seal",
            Transform::Term(_) => "term",
        };
        out.extend_from_slice(format!("⟨{kind} {}{array}⟩", transform.column().name.column).as_bytes());
        Ok(())
    };
    let text = rewrite(sql, statement.span.clone(), &plan.splices, &mut show).expect("splices fit");
    String::from_utf8(text).expect("UTF-8")
}

pub(super) fn plan_of(sql: &str, oids: &[u32]) -> Arc<Plan> {
    match &planned(sql, oids).statements[0].action {
        Action::Protected(plan) => plan.clone(),
        other => panic!("{sql}: {other:?}"),
    }
}

/// `r email, s phone*` (a star: derived)
pub(super) fn accesses(plan: &Plan) -> String {
    let mut out = String::new();
    for access in &plan.accesses {
        if !out.is_empty() {
            out.push_str(", ");
        }
        let usage = match access.usage {
            Use::Read => "r",
            Use::Search => "s",
            Use::Write => "w",
        };
        let star = if access.derived { "*" } else { "" };
        write!(out, "{usage} {}{star}", access.column.name.column).expect("a String takes it");
    }
    out
}

/// `. email! name` (a dot: clear; an exclamation mark: direct)
pub(super) fn outputs(plan: &Plan) -> String {
    match &plan.outputs {
        None => "none".into(),
        Some(outputs) => outputs
            .iter()
            .map(|output| match output {
                Output::Clear => ".".to_owned(),
                Output::Column { column, direct, .. } => {
                    format!("{}{}", column.name.column, if *direct { "!" } else { "" })
                }
            })
            .collect::<Vec<_>>()
            .join(" "),
    }
}
