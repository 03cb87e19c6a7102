//! DDL that names a protected relation.

use super::PlanInput;
use super::overlay::Overlay;
use super::refusal::{Reason, Refusal};
use super::script::{Action, Effects, RefusedPlan};
use super::source::Source;
use std::ops::Range;
use std::sync::Arc;

/// Plans one statement of DDL that names a protected or declared relation.
pub(super) fn plan_ddl(
    _statement: &sqlparser::ast::Statement,
    source: &Source<'_>,
    span: Range<usize>,
    _input: &PlanInput<'_>,
    _overlay: &mut Overlay,
) -> (Action, Effects) {
    let refusal = Refusal::unsupported(
        Reason::Ddl,
        "this definition of a protected relation can't be carried out",
    );
    let action = Action::Refuse(Arc::new(RefusedPlan {
        refusal,
        accesses: Vec::new(),
        redacted: source.redact(&span).into(),
    }));
    (
        action,
        Effects {
            catalog: true,
            scope: false,
        },
    )
}
