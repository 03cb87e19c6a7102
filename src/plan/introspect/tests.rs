use super::expressions::tagged_columns;
use super::*;
use crate::plan::schema::{Column, ColumnId, ColumnName, KeyDomain, Mode, Relation, Snapshot};

fn name(relation: &str) -> RelationName {
    RelationName {
        schema: "public".into(),
        name: relation.into(),
    }
}

fn declare(relation: &str, column: &str, mode: Mode) -> Arc<Declaration> {
    let name = ColumnName {
        relation: name(relation),
        column: column.into(),
    };
    Arc::new(Declaration {
        id: ColumnId(7),
        key_domain: KeyDomain(name.to_string().into()),
        name,
        mode,
        category: "contact".into(),
    })
}

fn declarations(columns: Vec<Arc<Declaration>>) -> Arc<Declarations> {
    Arc::new(Declarations {
        columns,
        subjects: vec![(name("customers"), "id".into())],
    })
}

/// Rows as a server gives them; `~` stands for NULL.
const ROWS: &str = "\
d|99|~|~|~|~|~|~
r|1|~|customers|public|r|~|~
c|1|1|id|23|-1|nd|~
c|1|2|email|99|-1|n|pgward: character varying(320)
c|1|4|name|25|-1||~
r|2|~|customers_email_key|public|i|~|~
k|1|1|customers_email_key|0|({FUNCEXPR :funcid 2012 :args ({VAR :varno 1 :varattno 2 :varlevelsup 0} {CONST :consttype 23 :constvalue 4 [ 11 0 0 0 0 0 0 0 ]} {CONST :consttype 23 :constvalue 4 [ 16 0 0 0 0 0 0 0 ]})})|~|~
k|1|1|customers_pkey|1|~|c|~
k|1|1|customers_lower|0|({FUNCEXPR :funcid 870 :args ({VAR :varno 1 :varattno 4 :varlevelsup 0})})|~|~
r|3|~|customers_2020|public|r|~|~
i|3|1|~|~|~|~|~
r|4|~|people|public|v|~|~
c|4|1|email|99|-1||~
v|4|1|~|~|~|~|~
r|5|~|people_too|public|v|~|~
v|5|4|~|~|~|~|~
r|6|~|orders|public|r|~|~
f|~|~|Count_Customers|SELECT count(*) FROM \"Customers\"|~|~|~
f|~|~|calls|select count_customers()|~|~|~
f|~|~|harmless|select customers_old|~|~|~
f|~|~|long|~|~|~|~
g|~|4|atomic|~|~|~|~";

fn build_from(rows: &str, declarations: Arc<Declarations>) -> Snapshot {
    let mut builder = SnapshotBuilder::new(declarations);
    for line in rows.lines() {
        let values: Vec<&str> = line.split('|').collect();
        let row: Vec<Option<&[u8]>> = values
            .iter()
            .map(|value| (*value != "~").then_some(value.as_bytes()))
            .collect();
        builder.row(&row).expect("a good row");
    }
    builder.finish()
}

fn relation<'a>(snapshot: &'a Snapshot, table: &str) -> &'a Relation {
    snapshot.relations.get(&name(table)).expect("relation")
}

fn column<'a>(snapshot: &'a Snapshot, table: &str, column: &str) -> &'a Column {
    relation(snapshot, table).column(column).expect("column")
}

#[test]
fn a_sealed_column_is_what_its_marker_says() {
    let snapshot = build_from(ROWS, declarations(vec![declare("customers", "email", Mode::Eq)]));
    let customers = relation(&snapshot, "customers");
    assert!(customers.protected && customers.touches_protected.is_none());
    assert_eq!(customers.subject.as_deref(), Some("id"));
    let email = column(&snapshot, "customers", "email");
    assert!(email.stored_sealed && email.not_null && !email.has_default && email.unusable.is_none());
    let protected = email.protected.as_ref().expect("protected");
    assert_eq!(protected.logical_type, LogicalType::Varchar(Some(320)));
    assert_eq!((protected.id, protected.mode), (ColumnId(7), Mode::Eq));
    assert!(column(&snapshot, "customers", "id").has_default);
    assert_eq!(snapshot.sealed_domain_oid, Some(99));
    assert!(Arc::ptr_eq(
        &snapshot.protected_by_oid[&1],
        &snapshot.relations[&name("customers")]
    ));
}

#[test]
fn unique_keys_know_the_tag_of_a_column_and_leave_out_other_expressions() {
    let snapshot = build_from(ROWS, declarations(vec![declare("customers", "email", Mode::Eq)]));
    let keys: Vec<(String, Vec<String>, bool)> = relation(&snapshot, "customers")
        .unique
        .iter()
        .map(|key| {
            (
                key.name.to_string(),
                key.columns.iter().map(|c| c.to_string()).collect(),
                key.constraint,
            )
        })
        .collect();
    assert_eq!(
        keys,
        [
            ("customers_email_key".into(), vec!["email".into()], false),
            ("customers_pkey".into(), vec!["id".into()], true)
        ]
    );
}

#[test]
fn partitions_views_and_functions_touch_what_they_are_made_from() {
    let snapshot = build_from(ROWS, declarations(vec![declare("customers", "email", Mode::Eq)]));
    for (table, mark) in [
        ("customers_2020", "it is a partition or child of \"public.customers\""),
        ("people", "it is a view of, or has a rule over, \"public.customers\""),
        ("people_too", "it is a view of, or has a rule over, \"public.people\""),
    ] {
        assert_eq!(relation(&snapshot, table).touches_protected.as_deref(), Some(mark));
        assert!(!relation(&snapshot, table).protected);
        assert!(snapshot.sensitive_names.contains(table));
    }
    assert_eq!(relation(&snapshot, "orders").touches_protected, None);
    assert!(!snapshot.sensitive_names.contains("orders"));
    let mut functions: Vec<&str> = snapshot.sensitive_functions.iter().map(|name| &**name).collect();
    functions.sort_unstable();
    assert_eq!(functions, ["atomic", "calls", "count_customers", "long"]);
}

#[test]
fn a_column_whose_storage_does_not_fit_is_unusable_with_a_reason() {
    for (rows, mode, column_name, reason) in [
        (ROWS, Mode::Eq, "name", "not sealed yet"),
        (ROWS, Mode::None, "email", "mode none, but it is stored sealed"),
        (
            "d|99|~|~|~|~|~|~\nr|1|~|customers|public|r|~|~\nc|1|2|email|99|-1|n|~",
            Mode::Eq,
            "email",
            "type marker",
        ),
        (
            "d|99|~|~|~|~|~|~\nr|1|~|customers|public|r|~|~\nc|1|2|email|99|-1|n|pgward: nonsense()",
            Mode::Eq,
            "email",
            "type marker",
        ),
        (
            "r|1|~|customers|public|r|~|~\nc|1|2|email|600|-1|n|~",
            Mode::None,
            "email",
            "does not support its type",
        ),
        (
            "r|1|~|customers|public|v|~|~\nc|1|2|email|25|-1|n|~",
            Mode::None,
            "email",
            "only columns of tables",
        ),
    ] {
        let snapshot = build_from(rows, declarations(vec![declare("customers", column_name, mode)]));
        let found = column(&snapshot, "customers", column_name);
        let why = found.unusable.as_deref().expect("unusable");
        assert!(why.contains(reason), "{why}");
        assert!(found.protected.is_none() && relation(&snapshot, "customers").protected);
    }
    // Stored sealed and not declared at all.
    let snapshot = build_from(ROWS, declarations(vec![]));
    let why = column(&snapshot, "customers", "email")
        .unusable
        .clone()
        .expect("unusable");
    assert!(why.contains("does not declare it"));
    assert!(snapshot.protects_anything());
}

#[test]
fn modes_that_a_type_cannot_have_make_it_unusable() {
    for (marker, mode) in [
        ("pgward:_json", Mode::Eq),
        ("pgward:_boolean", Mode::Eq),
        ("pgward:_double_precision", Mode::Deterministic),
    ] {
        let marker = marker.replace('_', " ");
        let mut builder = SnapshotBuilder::new(declarations(vec![declare("customers", "email", mode)]));
        let some = |value: &'static str| Some(value.as_bytes());
        builder
            .row(&[some("d"), some("99"), None, None, None, None, None, None])
            .unwrap();
        builder
            .row(&[
                some("r"),
                some("1"),
                None,
                some("customers"),
                some("public"),
                some("r"),
                None,
                None,
            ])
            .unwrap();
        builder
            .row(&[
                some("c"),
                some("1"),
                some("2"),
                some("email"),
                some("99"),
                some("-1"),
                some(""),
                Some(marker.as_bytes()),
            ])
            .unwrap();
        let snapshot = builder.finish();
        assert!(column(&snapshot, "customers", "email").unusable.is_some(), "{marker}");
    }
}

#[test]
fn mode_none_takes_the_type_from_the_table() {
    let snapshot = build_from(
        ROWS,
        declarations(vec![
            declare("customers", "name", Mode::None),
            declare("customers", "email", Mode::Eq),
        ]),
    );
    let protected = column(&snapshot, "customers", "name")
        .protected
        .clone()
        .expect("protected");
    assert_eq!(protected.logical_type, LogicalType::Text);
}

#[test]
fn declared_tables_that_do_not_exist_yet_are_sensitive() {
    let snapshot = build_from("", declarations(vec![declare("Patients", "email", Mode::Eq)]));
    assert!(snapshot.sensitive_names.contains("patients"));
    assert!(snapshot.protects_anything());
}

#[test]
fn the_fingerprint_depends_on_content_and_not_on_order() {
    let declared = declarations(vec![declare("customers", "email", Mode::Eq)]);
    let forward = build_from(ROWS, declared.clone());
    let mut lines: Vec<&str> = ROWS.lines().collect();
    lines.reverse();
    let backward = build_from(&lines.join("\n"), declared.clone());
    assert_eq!(forward.fingerprint, backward.fingerprint);
    assert_eq!(forward.relations, backward.relations);
    assert!(forward.version < backward.version);
    let changed = build_from(&ROWS.replace("orders", "bills"), declared);
    assert_ne!(forward.fingerprint, changed.fingerprint);
    let redeclared = build_from(ROWS, declarations(vec![declare("customers", "email", Mode::Sealed)]));
    assert_ne!(forward.fingerprint, redeclared.fingerprint);
}

#[test]
fn rows_in_ascii_say_the_same() {
    let declared = declarations(vec![declare("customers", "email", Mode::Eq)]);
    let rows = ROWS.replace("orders", "수업 \"%\"");
    let mut builder = SnapshotBuilder::new(declared.clone());
    for line in rows.lines() {
        let values: Vec<Option<&str>> = line.split('|').map(|value| (value != "~").then_some(value)).collect();
        let row = hex::encode(serde_json::to_vec(&values).unwrap());
        assert!(builder.row_in_ascii(&[Some(&row.as_bytes()[..row.len() - 2])]).is_err());
        builder.row_in_ascii(&[Some(row.as_bytes())]).expect("a good row");
    }
    assert!(builder.row_in_ascii(&[None]).is_err());
    assert!(builder.row_in_ascii(&[]).is_err());
    let (ascii, usual) = (builder.finish(), build_from(&rows, declared));
    assert_eq!(ascii.relations, usual.relations);
    assert_eq!(ascii.fingerprint, usual.fingerprint);
}

#[test]
fn rows_that_do_not_fit_are_errors() {
    let good: [Option<&[u8]>; 8] = [
        Some(b"r"),
        Some(b"1"),
        None,
        Some(b"t"),
        Some(b"public"),
        Some(b"r"),
        None,
        None,
    ];
    let mut builder = SnapshotBuilder::new(Arc::default());
    assert!(builder.row(&good).is_ok());
    assert!(builder.row(&good[..7]).is_err());
    for (at, value) in [
        (0, None),
        (0, Some(&b"z"[..])),
        (1, Some(&b"x"[..])),
        (3, None),
        (3, Some(&b"\xff"[..])),
        (4, None),
    ] {
        let mut bad = good;
        bad[at] = value;
        assert!(builder.row(&bad).is_err(), "{at}");
    }
}

/// `substring(…)` of an expression, as `pg_index.indexprs` holds it.
fn substring(function: &str, of: &str, from: &str, length: &str) -> String {
    let constant = |value: &str| {
        format!(
            "{{CONST :consttype 23 :consttypmod -1 :constcollid 0 :constlen 4 :constbyval true :constisnull false :location 50 :constvalue 4 [ {value} ]}}"
        )
    };
    format!(
        "{{FUNCEXPR :funcid {function} :funcresulttype 17 :funcretset false :funcvariadic false :funcformat 3 :funccollid 0 :inputcollid 0 \
         :args ({of} {} {}) :location 29}}",
        constant(from),
        constant(length)
    )
}

#[test]
fn expressions_over_a_tag_are_told_from_all_others() {
    const ELEVEN: &str = "11 0 0 0 0 0 0 0";
    const SIXTEEN: &str = "16 0 0 0 0 0 0 0";
    let email = "{VAR :varno 1 :varattno 2 :vartype 81099 :vartypmod -1 :varcollid 0 :varlevelsup 0 :varnosyn 1 :varattnosyn 2 :location 39}";
    // As PostgreSQL 15 and 18 write them.
    let sealed = format!("{{RELABELTYPE :arg {email} :resulttype 17 :resulttypmod -1 :relabelformat 2 :location -1}}");
    let newer = "{VAR :varno 1 :varattno 12 :vartype 16386 :vartypmod -1 :varcollid 0 :varnullingrels (b) :varlevelsup 0 :varreturningtype 0 \
                 :varnosyn 1 :varattnosyn 12 :location -1}";
    let tag = substring("2012", &sealed, ELEVEN, SIXTEEN);
    for (expressions, expected) in [
        (format!("({tag})"), vec![Some(2)]),
        (
            format!("({})", substring("2012", email, ELEVEN, SIXTEEN)),
            vec![Some(2)],
        ),
        (
            format!("({})", substring("2012", newer, ELEVEN, SIXTEEN)),
            vec![Some(12)],
        ),
        // The other byte order.
        (
            format!("({})", substring("2012", email, "0 0 0 11", "0 0 0 16")),
            vec![Some(2)],
        ),
        // Other functions, other places, other relations, an expression inside.
        (format!("({})", substring("2085", &sealed, ELEVEN, SIXTEEN)), vec![None]),
        (format!("({})", substring("2012", &sealed, ELEVEN, ELEVEN)), vec![None]),
        (
            format!("({})", substring("2012", &sealed, "1 0 0 0 0 0 0 0", SIXTEEN)),
            vec![None],
        ),
        (
            format!("({})", substring("2012", &sealed, "11 1 0 0 0 0 0 0", SIXTEEN)),
            vec![None],
        ),
        (
            format!(
                "({})",
                substring("2012", &sealed.replace(":varno 1", ":varno 2"), ELEVEN, SIXTEEN)
            ),
            vec![None],
        ),
        (
            format!(
                "({})",
                substring(
                    "2012",
                    &sealed.replace(":resulttype 17", ":resulttype 25"),
                    ELEVEN,
                    SIXTEEN
                )
            ),
            vec![None],
        ),
        (format!("({})", substring("2012", &tag, ELEVEN, SIXTEEN)), vec![None]),
        (email.to_owned(), vec![]),
        // Each at its place; names may hold anything behind a backslash.
        (
            format!(
                "({{XMLEXPR :op 1 :name \\}}\\)a\\\\ :arg_names (\"a\\ b\" \"\\(\")}} {tag} {{OPEXPR :args ({sealed})}} {tag})"
            ),
            vec![None, Some(2), None, Some(2)],
        ),
        (format!("({})", "{A :a ".repeat(40)), vec![]),
        ("(".repeat(100_000), vec![]),
        (String::new(), vec![]),
    ] {
        assert_eq!(tagged_columns(&expressions), expected, "{expressions}");
    }
    for end in 0..tag.len() {
        assert_eq!(tagged_columns(&format!("({}", &tag[..end])), [], "{end}");
    }
}

#[test]
fn markers_round_trip_and_keep_the_application_s_comment() {
    for ty in [
        LogicalType::Text,
        LogicalType::Varchar(Some(320)),
        LogicalType::Numeric(Some((12, 2))),
        LogicalType::Timestamptz(Some(3)),
    ] {
        assert_eq!(read_marker(&marker(ty, None)), Some((ty, None)));
        assert_eq!(read_marker(&marker(ty, Some("a\nb"))), Some((ty, Some("a\nb"))));
    }
    assert_eq!(read_marker("pgward: text\r\nx"), Some((LogicalType::Text, Some("x"))));
    for other in [
        "",
        "text",
        "pgward: ",
        "pgward: nonsense",
        " pgward: text",
        "the e-mail\npgward: text",
    ] {
        assert_eq!(read_marker(other), None, "{other}");
    }
}

#[test]
fn the_scope_row_is_read_whole_or_not_at_all() {
    let schemas = hex::encode(r#"["pg_temp_3","pg_catalog","My \"Schémä\""]"#);
    let row: [Option<&[u8]>; SCOPE_COLUMNS] = [
        Some(schemas.as_bytes()),
        Some(b"pg_temp_3"),
        Some(b"escape"),
        Some(b"-3"),
        Some(b"true"),
        Some(b"SQL, DMY"),
        Some(b"Asia/Seoul"),
        Some(b"LATIN1"),
        Some(b"off"),
    ];
    let probe = ScopeProbe::parse(&row).expect("good");
    assert_eq!(
        probe.scope.schemas.iter().map(|s| &**s).collect::<Vec<_>>(),
        ["pg_temp_3", "pg_catalog", "My \"Schémä\""]
    );
    assert_eq!(probe.scope.temp_schema.as_deref(), Some("pg_temp_3"));
    assert!(!probe.bytea_hex && probe.temp_relations && probe.extra_float_digits == -3);
    assert_eq!((&*probe.date_style, &*probe.time_zone), ("SQL, DMY", "Asia/Seoul"));
    assert!(probe.client_encoding == "LATIN1" && !probe.standard_conforming_strings);
    assert!(ScopeProbe::parse(&row[..8]).is_err());
    for (at, value) in [
        (0, Some(&b"{a}"[..])),
        (0, Some(&b"5b225d"[..])),
        (0, Some(&b"5b5"[..])),
        (0, None),
        (2, Some(&b"base64"[..])),
        (3, Some(&b"x"[..])),
        (4, None),
        (5, None),
        (6, None),
        (7, None),
        (8, Some(&b"true"[..])),
    ] {
        let mut bad = row;
        bad[at] = value;
        assert!(ScopeProbe::parse(&bad).is_err(), "{at}");
    }
}
