//! INSERT, UPDATE, DELETE, TRUNCATE: what is stored where.

use super::access::Use;
use super::operand::{Operand, Value as OperandValue, unclear_value};
use super::planner::{Goal, Outcome, Planner, name_parts, refuse_move};
use super::query::{Rows, strip};
use super::refusal::{Reason, Refusal};
use super::schema::{Column, ColumnName, ColumnRef, Mode, Relation};
use super::scope::{Item, Level, Lineage};
use super::script::{Replacement, SubjectSource, Transform};
use super::source::{byte_span, ident_name};
use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, Expr, FromTable, Insert, ObjectName, OnConflict,
    OnConflictAction, OnInsert, SetExpr, Statement, TableFactor, TableObject, Update, UpdateTableFromKind,
};
use std::sync::Arc;

impl<'a> Planner<'a> {
    /// INSERT, UPDATE or DELETE; what its RETURNING list gives.
    pub(super) fn write(&mut self, statement: &Statement) -> Outcome<Rows> {
        match statement {
            Statement::Insert(insert) => self.insert_statement(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            _ => Err(self.not_understood()),
        }
    }

    // ---- INSERT ----

    fn insert_statement(&mut self, insert: &Insert) -> Outcome<Rows> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(self.not_understood());
        };
        if insert.or.is_some()
            || insert.ignore
            || !insert.into
            || insert.overwrite
            || !insert.assignments.is_empty()
            || insert.partitioned.is_some()
            || !insert.after_columns.is_empty()
            || insert.has_table_keyword
            || insert.output.is_some()
            || insert.replace_into
            || insert.priority.is_some()
            || insert.insert_alias.is_some()
            || insert.settings.is_some()
            || insert.format_clause.is_some()
            || insert.multi_table_insert_type.is_some()
        {
            return Err(self.not_understood());
        }
        let relation = self.relation(name)?;
        let mut item = match &relation {
            Some(relation) => Item::relation(relation),
            None => Item::unknown(name_parts(name).and_then(|p| p.last().map(|i| Arc::from(&*ident_name(i))))),
        };
        if let Some(alias) = &insert.table_alias {
            self.see(&alias.alias);
            self.watch(&item);
            item.name = Some(Arc::from(&*ident_name(&alias.alias)));
            item.schema = None;
        }
        self.watch(&item);
        let columns = self.insert_columns(relation.as_deref(), &insert.columns)?;
        for column in columns.iter().flatten() {
            self.writes(relation.as_deref(), column)?;
        }
        if let Some(source) = &insert.source {
            match (
                &*source.body,
                source.order_by.is_none() && source.limit_clause.is_none(),
            ) {
                (SetExpr::Values(values), true) if source.with.is_none() => {
                    for row in &values.rows {
                        for (index, expr) in row.content.iter().enumerate() {
                            let column = columns.get(index).cloned().flatten();
                            self.assign(column.as_ref(), expr)?;
                            self.insert_subject(relation.as_deref(), column.as_ref(), expr)?;
                        }
                    }
                }
                _ => self.insert_query(source, &columns)?,
            }
        }
        self.levels.push(Level::default());
        let star = self.push_item(item.clone());
        if let Some(level) = self.levels.last_mut() {
            level.star = star;
        }
        match &insert.on {
            None => {}
            Some(OnInsert::OnConflict(conflict)) => self.on_conflict(conflict, relation.as_deref(), &item)?,
            Some(_) => return Err(self.not_understood()),
        }
        let rows = self.returning(insert.returning.as_ref());
        self.levels.pop();
        rows
    }

    /// The columns that values are for; `None` for one that the relation does not have or that isn't known.
    fn insert_columns(&mut self, relation: Option<&Relation>, names: &[ObjectName]) -> Outcome<Vec<Option<Column>>> {
        let Some(relation) = relation else {
            for name in names {
                self.see_name(name);
            }
            return Ok(Vec::new());
        };
        if names.is_empty() {
            return Ok(relation.columns.iter().cloned().map(Some).collect());
        }
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            columns.push(self.target_column(relation, name)?);
        }
        Ok(columns)
    }

    /// The column that a target names. A field or element of a protected column is refused.
    fn target_column(&mut self, relation: &Relation, name: &ObjectName) -> Outcome<Option<Column>> {
        self.see_name(name);
        let Some(parts) = name_parts(name) else {
            return Err(self.not_understood());
        };
        let Some(first) = parts.first() else {
            return Err(self.not_understood());
        };
        let column = relation.column(&ident_name(first)).cloned();
        if parts.len() > 1
            && column
                .as_ref()
                .is_some_and(|c| c.protected.is_some() || c.unusable.is_some())
        {
            return Err(self.not_understood());
        }
        Ok(column)
    }

    /// The column is written.
    fn writes(&mut self, relation: Option<&Relation>, column: &Column) -> Outcome<()> {
        if let (Some(why), Some(relation)) = (&column.unusable, relation) {
            let name = ColumnName {
                relation: relation.name.clone(),
                column: column.name.clone(),
            };
            return Err(super::planner::unusable(&name, why));
        }
        if let Some(column) = &column.protected {
            self.access(&column.clone(), Use::Write, false);
        }
        Ok(())
    }

    fn insert_subject(&mut self, relation: Option<&Relation>, column: Option<&Column>, expr: &Expr) -> Outcome<()> {
        let (Some(relation), Some(column)) = (relation, column) else {
            return Ok(());
        };
        if !relation.protected || relation.subject.as_ref() != Some(&column.name) {
            return Ok(());
        }
        let table = relation.name.clone();
        let source = match self.operand(expr)? {
            Operand::Value(OperandValue::Param { number, .. }) => SubjectSource::Param {
                index: number as usize - 1,
                table,
            },
            Operand::Value(OperandValue::Literal { literal, .. }) => SubjectSource::Literal { literal, table },
            _ => return Ok(()),
        };
        if !self.subjects.contains(&source) {
            self.subjects.push(source);
        }
        Ok(())
    }

    fn insert_query(&mut self, source: &sqlparser::ast::Query, columns: &[Option<Column>]) -> Outcome<()> {
        let targets: Vec<Option<ColumnRef>> = columns
            .iter()
            .map(|c| {
                c.as_ref()
                    .and_then(|c| c.protected.clone())
                    .filter(|c| c.mode.is_sealed())
            })
            .collect();
        let any = targets.iter().any(Option::is_some);
        self.seal_targets = any.then_some(targets);
        let rows = self.query(source, Goal::Output)?;
        self.seal_targets = None;
        if rows.opaque && any {
            return Err(self.not_understood());
        }
        for (index, field) in rows.fields.iter().enumerate() {
            let target = columns.get(index).and_then(Option::as_ref);
            self.store(target, &field.lineage)?;
        }
        Ok(())
    }

    /// A value that a query gives is stored in a column.
    fn store(&mut self, target: Option<&Column>, lineage: &Lineage) -> Outcome<()> {
        match target.and_then(|c| c.protected.as_ref()).filter(|c| c.mode.is_sealed()) {
            Some(column) => match lineage {
                Lineage::Null => Ok(()),
                Lineage::Stored { column: from, .. } if from.id == column.id => Ok(()),
                // Envelopes of this mode are the same in all columns of the key domain.
                Lineage::Stored { column: from, .. }
                    if from.mode == Mode::Deterministic
                        && column.mode == Mode::Deterministic
                        && from.key_domain == column.key_domain
                        && from.logical_type == column.logical_type =>
                {
                    let from = from.clone();
                    self.access(&from, Use::Read, true);
                    Ok(())
                }
                Lineage::Stored { column: from, .. } if from.mode.is_sealed() => {
                    let (from, column) = (from.clone(), column.clone());
                    self.access(&from, Use::Read, true);
                    let hint = "Read the values and write them back through pgward, as parameters. Only columns of mode \"deterministic\", one key_domain and one \
                                type can be copied into each other.";
                    Err(refuse_move(&column, &from, hint))
                }
                other => {
                    self.compute(&other.clone(), Goal::Output, Reason::Expression)?;
                    Err(unclear_value(column))
                }
            },
            None => self.compute(lineage, Goal::Output, Reason::Expression),
        }
    }

    /// An expression is stored in a column.
    fn assign(&mut self, target: Option<&Column>, expr: &Expr) -> Outcome<()> {
        if is_default(expr) {
            return Ok(());
        }
        let sealed = target.and_then(|c| c.protected.clone()).filter(|c| c.mode.is_sealed());
        if let Some(column) = &sealed {
            match self.operand(expr)? {
                Operand::Null => return Ok(()),
                Operand::Value(value) => return self.put(&value, Transform::Seal(column.clone())),
                Operand::Column(lineage, _) => return self.store(target, &lineage),
                Operand::Query(_) | Operand::Other => {}
            }
        }
        let lineage = self.expr(expr, Goal::Output)?;
        self.store(target, &lineage)
    }

    fn on_conflict(&mut self, conflict: &OnConflict, relation: Option<&Relation>, item: &Item) -> Outcome<()> {
        match &conflict.conflict_target {
            None => {}
            Some(ConflictTarget::Columns(names)) => {
                for name in names {
                    self.see(name);
                    let Some(span) = byte_span(name.span) else {
                        return Err(self.not_understood());
                    };
                    let column = self.conflict_column(relation, &ident_name(name))?;
                    if column.is_some_and(|c| c.mode == Mode::Eq) {
                        self.insert(span.start, "(substring(");
                        self.insert(span.end, " from 11 for 16))");
                    }
                }
            }
            Some(ConflictTarget::OnConstraint(name)) => self.on_constraint(name, relation)?,
        }
        match &conflict.action {
            OnConflictAction::DoNothing => Ok(()),
            OnConflictAction::DoUpdate(update) => {
                let mut excluded = item.clone();
                excluded.name = Some(Arc::from("excluded"));
                excluded.schema = None;
                excluded.qualified_only = true;
                for field in &mut excluded.fields {
                    field.lineage = field.lineage.indirect();
                    field.subject_of = None;
                }
                self.push_item(excluded);
                self.assignments(&update.assignments, relation)?;
                if let Some(selection) = &update.selection {
                    self.condition(selection, false)?;
                }
                if let Some(level) = self.levels.last_mut() {
                    level.items.pop();
                }
                Ok(())
            }
        }
    }

    /// A column whose values decide on a conflict.
    fn conflict_column(&mut self, relation: Option<&Relation>, name: &str) -> Outcome<Option<ColumnRef>> {
        let Some(column) = relation.and_then(|r| r.column(name)).cloned() else {
            return Ok(None);
        };
        self.writes(
            relation,
            &Column {
                protected: None,
                ..column.clone()
            },
        )?;
        match column.protected {
            Some(column) => {
                self.search_equal(&column)?;
                Ok(Some(column))
            }
            None => Ok(None),
        }
    }

    /// ON CONSTRAINT over the tag of a column: there is a unique index and no constraint, so its expressions are named instead.
    fn on_constraint(&mut self, name: &ObjectName, relation: Option<&Relation>) -> Outcome<()> {
        self.see_name(name);
        let parts = name_parts(name);
        let Some([ident]) = parts.as_deref() else {
            return Err(self.not_understood());
        };
        let Some(relation) = relation else { return Ok(()) };
        let Some(key) = relation.unique.iter().find(|k| *k.name == *ident_name(ident)).cloned() else {
            return Ok(());
        };
        let mut by_tag = false;
        let mut parts = Vec::with_capacity(key.columns.len());
        for name in &key.columns {
            let column = self.conflict_column(Some(relation), name)?;
            let quoted = super::source::quote_ident(name);
            if column.is_some_and(|c| c.mode == Mode::Eq) {
                by_tag = true;
                parts.push(format!("(substring({quoted} from 11 for 16))"));
            } else {
                parts.push(quoted);
            }
        }
        if by_tag {
            // ON CONSTRAINT name → (expressions)
            let span = byte_span(ident.span).ok_or_else(|| self.not_understood())?;
            let index = self.source.token_at(span.start).ok_or_else(|| self.not_understood())?;
            let keywords = (
                index.checked_sub(2).and_then(|i| self.source.token(i)),
                index.checked_sub(1).and_then(|i| self.source.token(i)),
            );
            let (Some(on), Some(constraint)) = keywords else {
                return Err(self.not_understood());
            };
            if !self.source.is_keyword(on, "ON") || !self.source.is_keyword(constraint, "CONSTRAINT") {
                return Err(self.not_understood());
            }
            let whole = on.span.start..span.end;
            self.splice(whole, Replacement::Text(format!("({})", parts.join(", "))));
        }
        Ok(())
    }

    // ---- UPDATE ----

    fn update(&mut self, update: &Update) -> Outcome<Rows> {
        if update.output.is_some() || update.or.is_some() || !update.order_by.is_empty() || update.limit.is_some() {
            return Err(self.not_understood());
        }
        self.levels.push(Level::default());
        let relation = self.target(&update.table.relation)?;
        if !update.table.joins.is_empty() {
            return Err(self.not_understood());
        }
        match &update.from {
            None => {}
            Some(UpdateTableFromKind::AfterSet(from)) => self.from(from)?,
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err(self.not_understood()),
        }
        self.assignments(&update.assignments, relation.as_deref())?;
        if let Some(selection) = &update.selection {
            self.condition(selection, self.levels.len() == 1)?;
        }
        let rows = self.returning(update.returning.as_ref());
        self.levels.pop();
        rows
    }

    /// The table that a statement changes; in view from now on.
    fn target(&mut self, factor: &TableFactor) -> Outcome<Option<Arc<Relation>>> {
        let TableFactor::Table {
            name,
            alias,
            args: None,
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_hints,
        } = factor
        else {
            return Err(self.not_understood());
        };
        if !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty() {
            return Err(self.not_understood());
        }
        let relation = self.relation(name)?;
        let item = match &relation {
            Some(relation) => Item::relation(relation),
            None => Item::unknown(name_parts(name).and_then(|p| p.last().map(|i| Arc::from(&*ident_name(i))))),
        };
        let item = self.rename(item, alias.as_ref())?;
        let star = self.push_item(item);
        if let Some(level) = self.levels.last_mut() {
            level.star.extend(star);
        }
        Ok(relation)
    }

    fn assignments(&mut self, assignments: &[Assignment], relation: Option<&Relation>) -> Outcome<()> {
        for assignment in assignments {
            match &assignment.target {
                AssignmentTarget::ColumnName(name) => {
                    let column = self.assigned_column(relation, name)?;
                    self.assign(column.as_ref(), &assignment.value)?;
                }
                AssignmentTarget::Tuple(names) => {
                    let mut columns = Vec::with_capacity(names.len());
                    for name in names {
                        columns.push(self.assigned_column(relation, name)?);
                    }
                    self.assign_row(&columns, &assignment.value)?;
                }
            }
        }
        Ok(())
    }

    fn assigned_column(&mut self, relation: Option<&Relation>, name: &ObjectName) -> Outcome<Option<Column>> {
        match relation {
            Some(relation) => {
                let column = self.target_column(relation, name)?;
                if let Some(column) = &column {
                    self.writes(Some(relation), column)?;
                }
                Ok(column)
            }
            None => {
                self.see_name(name);
                Ok(None)
            }
        }
    }

    /// `SET (a, b) = (…)`
    fn assign_row(&mut self, columns: &[Option<Column>], value: &Expr) -> Outcome<()> {
        match (value, columns) {
            (Expr::Tuple(values), _) if values.len() == columns.len() => {
                for (column, value) in columns.iter().zip(values) {
                    self.assign(column.as_ref(), value)?;
                }
                Ok(())
            }
            (Expr::Nested(value), [column]) => self.assign(column.as_ref(), value),
            (other, _) => {
                if let Expr::Subquery(query) = strip(other) {
                    let rows = self.query(query, Goal::Output)?;
                    if rows.opaque || rows.fields.len() != columns.len() {
                        return Err(self.not_understood());
                    }
                    for (column, field) in columns.iter().zip(&rows.fields) {
                        self.store(column.as_ref(), &field.lineage)?;
                    }
                    return Ok(());
                }
                let sealed = columns
                    .iter()
                    .flatten()
                    .find_map(|c| c.protected.as_ref().filter(|c| c.mode.is_sealed()));
                match sealed {
                    Some(column) => Err(unclear_value(column)),
                    None => self.computed(other, Goal::Output, Reason::Expression),
                }
            }
        }
    }

    // ---- DELETE, TRUNCATE ----

    fn delete(&mut self, delete: &Delete) -> Outcome<Rows> {
        if !delete.tables.is_empty() || delete.output.is_some() || !delete.order_by.is_empty() || delete.limit.is_some()
        {
            return Err(self.not_understood());
        }
        let FromTable::WithFromKeyword(from) = &delete.from else {
            return Err(self.not_understood());
        };
        let [table] = from.as_slice() else {
            return Err(self.not_understood());
        };
        if !table.joins.is_empty() {
            return Err(self.not_understood());
        }
        self.levels.push(Level::default());
        let relation = self.target(&table.relation)?;
        self.removes(relation.as_deref());
        if let Some(using) = &delete.using {
            self.from(using)?;
        }
        if let Some(selection) = &delete.selection {
            self.condition(selection, self.levels.len() == 1)?;
        }
        let rows = self.returning(delete.returning.as_ref());
        self.levels.pop();
        rows
    }

    /// Whole rows go: every protected column of the relation is written.
    pub(super) fn removes(&mut self, relation: Option<&Relation>) {
        for column in relation.iter().flat_map(|r| &r.columns) {
            if let Some(column) = &column.protected {
                self.access(&column.clone(), Use::Write, false);
            }
        }
    }

    /// A statement kind that is not carried out on protected tables.
    pub(super) fn refuse_kind(&self, what: &str, hint: &str) -> Box<Refusal> {
        Box::new(
            Refusal::unsupported(
                Reason::StatementKind,
                format!("{what} can't be carried out on a protected table"),
            )
            .hint(hint),
        )
    }
}

fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}
