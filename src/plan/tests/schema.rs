//! A catalog for the tests.

use super::super::schema::*;
use crate::value::LogicalType;
use std::sync::Arc;

/// The tables as SQL, with the stored types, for the tests that ask a server.
pub const TABLES: &str = "\
CREATE SCHEMA pgward;
CREATE DOMAIN pgward.sealed AS bytea CHECK (get_byte(VALUE, 0) = 250);
CREATE TABLE customers (id int PRIMARY KEY, email pgward.sealed, name pgward.sealed, phone pgward.sealed,
  org text, born pgward.sealed, vip pgward.sealed, ip text, note text);
CREATE UNIQUE INDEX customers_email ON customers ((substring(email from 11 for 16)));
CREATE TABLE contacts (id int PRIMARY KEY, email pgward.sealed, remark text);
CREATE TABLE accounts (ref pgward.sealed PRIMARY KEY, amount pgward.sealed, label text);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, ref pgward.sealed, item text, total numeric);
CREATE TABLE plain (id int PRIMARY KEY, email text, note text);
";

struct Table<'s> {
    snapshot: &'s mut Snapshot,
    relation: Relation,
}

impl<'s> Table<'s> {
    fn new(snapshot: &'s mut Snapshot, name: &str) -> Self {
        let oid = 16_400 + snapshot.relations.len() as u32;
        Self {
            snapshot,
            relation: Relation {
                oid,
                name: RelationName {
                    schema: "public".into(),
                    name: name.into(),
                },
                kind: RelationKind::Table,
                columns: Vec::new(),
                unique: Vec::new(),
                protected: false,
                touches_protected: None,
                subject: None,
            },
        }
    }

    fn column(mut self, name: &str, protected: Option<(Mode, &str, LogicalType)>) -> Self {
        let attnum = self.relation.columns.len() as i16 + 1;
        let full = ColumnName {
            relation: self.relation.name.clone(),
            column: name.into(),
        };
        let protected = protected.map(|(mode, domain, logical_type)| {
            Arc::new(ProtectedColumn {
                id: ColumnId(self.relation.oid * 100 + attnum as u32),
                name: full,
                mode,
                key_domain: KeyDomain(domain.into()),
                logical_type,
                category: "contact".into(),
            })
        });
        self.relation.protected |= protected.is_some();
        self.relation.columns.push(Column {
            name: name.into(),
            attnum,
            type_oid: 25,
            typmod: -1,
            not_null: false,
            has_default: false,
            stored_sealed: protected.as_ref().is_some_and(|p| p.mode.is_sealed()),
            protected,
            unusable: None,
        });
        self
    }

    fn clear(self, name: &str) -> Self {
        self.column(name, None)
    }

    fn subject(mut self, name: &str) -> Self {
        self.relation.subject = Some(name.into());
        self
    }

    fn unique(mut self, name: &str, column: &str) -> Self {
        self.relation.unique.push(UniqueKey {
            name: name.into(),
            columns: vec![column.into()],
            constraint: false,
        });
        self
    }

    fn touching(mut self, why: &str) -> Self {
        self.relation.touches_protected = Some(why.into());
        self.relation.kind = RelationKind::View;
        self
    }

    fn unusable(mut self, why: &str) -> Self {
        if let Some(column) = self.relation.columns.last_mut() {
            column.unusable = Some(why.into());
            self.relation.protected = true;
        }
        self
    }

    fn done(self) {
        let relation = Arc::new(self.relation);
        if relation.protected || relation.touches_protected.is_some() {
            self.snapshot.sensitive_names.insert(relation.name.name.clone());
        }
        if relation.protected {
            self.snapshot.protected_by_oid.insert(relation.oid, relation.clone());
        }
        self.snapshot.relations.insert(relation.name.clone(), relation);
    }
}

/// The catalog of [`TABLES`], and a view and a table that can't be used.
pub fn snapshot() -> Snapshot {
    use Mode::{Deterministic, Eq, None as Clear, Sealed};
    let mut snapshot = Snapshot {
        version: 1,
        sensitive_functions: [Arc::from("mail_of")].into(),
        ..Snapshot::default()
    };
    Table::new(&mut snapshot, "customers")
        .clear("id")
        .column("email", Some((Eq, "email", LogicalType::Varchar(Some(320)))))
        .column("name", Some((Sealed, "name", LogicalType::Text)))
        .column("phone", Some((Eq, "phone", LogicalType::Text)))
        .clear("org")
        .column("born", Some((Sealed, "born", LogicalType::Date)))
        .column("vip", Some((Sealed, "vip", LogicalType::Bool)))
        .column("ip", Some((Clear, "ip", LogicalType::Text)))
        .clear("note")
        .subject("id")
        .unique("customers_email", "email")
        .done();
    Table::new(&mut snapshot, "contacts")
        .clear("id")
        .column("email", Some((Eq, "email", LogicalType::Text)))
        .clear("remark")
        .done();
    Table::new(&mut snapshot, "accounts")
        .column("ref", Some((Deterministic, "ref", LogicalType::Uuid)))
        .column("amount", Some((Eq, "amount", LogicalType::Int8)))
        .clear("label")
        .done();
    Table::new(&mut snapshot, "orders")
        .clear("id")
        .clear("customer_id")
        .column("ref", Some((Deterministic, "ref", LogicalType::Uuid)))
        .clear("item")
        .clear("total")
        .done();
    Table::new(&mut snapshot, "plain")
        .clear("id")
        .clear("email")
        .clear("note")
        .done();
    Table::new(&mut snapshot, "everyone")
        .clear("email")
        .touching("it is a view over a protected table")
        .done();
    Table::new(&mut snapshot, "halfway")
        .clear("id")
        .clear("email")
        .unusable("it is declared sealed but stored in clear")
        .done();
    snapshot
}
