use super::names::{columns, display_column, parts, quote, relation};
use super::*;
use crate::plan::{Access, ColumnName, KeyDomain, Mode, ProtectedColumn};
use crate::value::LogicalType;
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../../deploy/pgward.toml");

fn column(schema: &str, table: &str, column: &str) -> ColumnName {
    ColumnName {
        relation: RelationName {
            schema: schema.into(),
            name: table.into(),
        },
        column: column.into(),
    }
}

fn access(name: &str, usage: Use, derived: bool) -> Access {
    let (relation, column) = columns(name).unwrap();
    Access {
        column: Arc::new(ProtectedColumn {
            id: ColumnId(7),
            name: ColumnName {
                relation,
                column: column.unwrap(),
            },
            mode: Mode::Eq,
            key_domain: KeyDomain("d".into()),
            logical_type: LogicalType::Text,
            category: "email".into(),
        }),
        usage,
        derived,
    }
}

const NOW: Circumstances = Circumstances {
    client_addr: None,
    now: 0,
};

#[test]
fn names_are_read_as_the_catalog_has_them() {
    assert_eq!(relation("public.customers").unwrap().to_string(), "public.customers");
    assert_eq!(relation("customers").unwrap().to_string(), "public.customers");
    let odd = relation(r#""Sales"."Customer.""Data""""#).unwrap();
    assert_eq!((&*odd.schema, &*odd.name), ("Sales", "Customer.\"Data\""));
    assert_eq!(relation("고객.주문").unwrap().to_string(), "고객.주문");
    assert_eq!(columns("a.b.*").unwrap().1, None);
    assert_eq!(columns("b.\"*\"").unwrap().1.as_deref(), Some("*"));
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a.b.c",
        "Public.customers",
        "a b.c",
        "\"a",
        "\"a\"b",
        "\"\".a",
        "a.*",
        "1a.b",
        "a.b\n",
        "a.\"b\0\"",
    ] {
        assert!(relation(bad).is_err(), "{bad:?}");
    }
    for bad in ["a", "a.b.c.d", "*", "*.b.c", "a.*.c"] {
        assert!(columns(bad).is_err(), "{bad:?}");
    }
    let long = "x".repeat(63);
    assert!(relation(&long).is_ok());
    assert!(relation(&format!("{long}x")).is_err());
}

proptest! {
    #[test]
    fn any_name_that_is_written_out_is_read_back(schema in "[^\\p{Cc}]{1,15}", table in "[^\\p{Cc}]{1,15}", name in "[^\\p{Cc}]{1,15}") {
        let name = column(&schema, &table, &name);
        let (read, read_column) = columns(&display_column(&name)).unwrap();
        prop_assert_eq!(ColumnName { relation: read, column: read_column.unwrap() }, name);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,60}") {
        let _ = parts(&text);
        let _ = quote(&text);
        let _ = Policy::parse(&text);
    }

    #[test]
    fn no_damage_to_the_example_makes_it_panic(at in 0..EXAMPLE.len(), len in 0usize..200, with in "[\\[\\]{}\",=.a0\n#*]{0,8}") {
        let start = (0..=at).rev().find(|at| EXAMPLE.is_char_boundary(*at)).unwrap_or(0);
        let end = (start + len..=EXAMPLE.len()).find(|at| EXAMPLE.is_char_boundary(*at)).unwrap_or(EXAMPLE.len());
        let damaged = format!("{}{with}{}", &EXAMPLE[..start], &EXAMPLE[end..]);
        if let Err(error) = Policy::parse(&damaged) {
            prop_assert!(!error.faults.is_empty());
            prop_assert!(error.faults.iter().all(|fault| !fault.what.is_empty() && !fault.remedy.is_empty()));
        }
    }
}

#[test]
fn permits_say_what_they_are_for_in_the_order_asked() {
    let policy = Policy::parse(EXAMPLE).unwrap();
    let who = policy.handler("shop", "support_sora", None);
    let asked = [
        access("customers.email", Use::Search, false),
        access("customers.birth_date", Use::Read, false),
        access("customers.email", Use::Read, true),
        access("customers.mobile_phone", Use::Write, false),
    ];
    let permits = policy.decide(&who, &NOW, &asked).unwrap();
    let got = permits
        .iter()
        .map(|permit| (permit.usage(), permit.disclosure(), &**permit.rule()))
        .collect::<Vec<_>>();
    assert_eq!(
        got,
        [
            (Use::Search, Disclosure::Clear, "grant 2: support/customer-support"),
            (
                Use::Read,
                Disclosure::Masked(Mask::Date),
                "grant 4: support/customer-support"
            ),
            (Use::Read, Disclosure::Clear, "grant 2: support/customer-support"),
            (Use::Write, Disclosure::Clear, "grant 5: support/customer-support"),
        ]
    );
    assert!(permits.iter().all(|permit| permit.column() == ColumnId(7)));
    assert!(policy.decide(&who, &NOW, &[]).unwrap().is_empty());
}

#[test]
fn each_use_is_a_right_of_its_own_and_the_first_denial_is_named() {
    let policy = Policy::parse(EXAMPLE).unwrap();
    let who = policy.handler("shop", "support_sora", None);
    let mut permits = policy
        .decide(&who, &NOW, &[access("customers.email", Use::Read, false)])
        .unwrap();
    let denied = policy
        .decide_into(
            &who,
            &NOW,
            &[
                access("customers.email", Use::Read, false),
                access("customers.name", Use::Search, false),
                access("customers.name", Use::Write, false),
            ],
            &mut permits,
        )
        .unwrap_err();
    assert!(permits.is_empty(), "permits of a denied statement must not stay behind");
    assert_eq!(
        (denied.access, &*denied.rule, denied.masked_only),
        (1, "default-deny", false)
    );
    assert_eq!(
        denied.message,
        "handler \"sora\" may not search by public.customers.name for purpose \"customer-support\""
    );
    assert!(denied.hint.contains("search = true"), "{}", denied.hint);
}

#[test]
fn a_masked_value_may_not_go_into_an_expression() {
    let policy = Policy::parse(EXAMPLE).unwrap();
    let who = policy.handler("shop", "marketing_minjun", None);
    let plain = policy
        .decide(&who, &NOW, &[access("customers.email", Use::Read, false)])
        .unwrap();
    assert_eq!(plain[0].disclosure(), Disclosure::Masked(Mask::Email));
    let denied = policy
        .decide(&who, &NOW, &[access("customers.email", Use::Read, true)])
        .unwrap_err();
    assert!(denied.masked_only);
    assert!(denied.message.contains("only masked"), "{}", denied.message);
    let denied = policy
        .decide(&who, &NOW, &[access("customers.access_ip", Use::Read, true)])
        .unwrap_err();
    assert!(!denied.masked_only, "he may not read it masked either");
}

#[test]
fn the_grant_that_shows_most_wins_wherever_it_stands() {
    let base = EXAMPLE.replace("# Analysts have no grant: they are refused.", "");
    let more = |read: &str| {
        format!(
            "{base}\n[[grant]]\ngroup = \"analysts\"\npurpose = \"marketing\"\ncolumns = [\"public.customers.email\"]\nread = \"{read}\"\n"
        )
    };
    let read = access("customers.email", Use::Read, false);
    for (first, second) in [("masked", "clear"), ("clear", "masked")] {
        let text = format!("{}{}", more(first), more(second).strip_prefix(base.as_str()).unwrap());
        let policy = Policy::parse(&text).unwrap();
        let who = policy.handler("shop", "analyst", Some("marketing"));
        let permits = policy.decide(&who, &NOW, std::slice::from_ref(&read)).unwrap();
        assert_eq!(permits[0].disclosure(), Disclosure::Clear, "{first}, then {second}");
    }
}

#[test]
fn without_a_handler_or_a_purpose_of_his_there_is_no_right() {
    let policy = Policy::parse(EXAMPLE).unwrap();
    let read = [access("customers.email", Use::Read, false)];
    let ask = |role: &str, database: &str, purpose: Option<&str>| {
        let who = policy.handler(database, role, purpose);
        let answer = policy.decide(&who, &NOW, &read);
        (who, answer)
    };
    let (who, answer) = ask("postgres", "shop", None);
    assert_eq!((&*who.handler, &*who.kind, who.purpose), ("postgres", "unknown", None));
    assert!(answer.unwrap_err().message.contains("is no handler of the policy"));
    // The handler's name is not his log-in role.
    assert!(ask("sora", "shop", None).1.is_err());
    assert!(ask("support_sora", "shop", None).1.is_ok());
    // Another database's tables are others, whatever their names.
    assert!(ask("support_sora", "other", None).1.is_err());
    let (who, answer) = ask("analyst", "shop", None);
    assert_eq!((&*who.handler, &*who.kind), ("analyst", "contractor"));
    assert!(answer.unwrap_err().message.contains("states no purpose"));
    // A purpose of others does not fall back to his own.
    let (who, answer) = ask("support_sora", "shop", Some("marketing"));
    assert_eq!(who.purpose.as_deref(), Some("marketing"));
    assert!(answer.unwrap_err().message.contains("not open to him"));
    let (who, answer) = ask("support_sora", "shop", Some("'; made up"));
    assert_eq!(who.purpose, None, "what a client makes up is not for records");
    let denied = answer.unwrap_err();
    assert!(
        !denied.message.contains("made up") && !denied.hint.contains("made up"),
        "{denied:?}"
    );
    assert!(ask("support_sora", "shop", Some("customer-support")).1.is_ok());
}

#[test]
fn a_profile_of_an_earlier_policy_gets_the_rights_of_the_moment() {
    let before = Policy::parse(EXAMPLE).unwrap();
    let who = before.handler("shop", "support_sora", None);
    let after = Policy::parse(&EXAMPLE.replace("groups = [\"support\"]", "groups = []")).unwrap();
    let read = [access("customers.email", Use::Read, false)];
    assert!(before.knows(&who) && before.decide(&who, &NOW, &read).is_ok());
    assert!(!after.knows(&who) && after.decide(&who, &NOW, &read).is_err());
    assert_eq!(
        after.rights_by_name(&who, &read[0].column.name),
        file::Rights::default()
    );
    let renewed = after.renew(&who);
    assert!(after.knows(&renewed) && after.decide(&renewed, &NOW, &read).is_err());
    // Also from less to more, and with equal versions.
    assert!(before.decide(&renewed, &NOW, &read).is_ok());
}

#[test]
fn a_column_that_the_policy_no_longer_declares_is_denied() {
    let policy = Policy::parse(EXAMPLE).unwrap();
    let who = policy.handler("shop", "shop_app", None);
    assert!(
        policy
            .decide(&who, &NOW, &[access("customers.email", Use::Read, false)])
            .is_ok()
    );
    for gone in ["customers.fax", "archive.customers.email"] {
        assert!(
            policy.decide(&who, &NOW, &[access(gone, Use::Read, false)]).is_err(),
            "{gone}"
        );
    }
}

#[test]
fn well_known_categories_have_a_mask_and_can_be_changed() {
    let policy = Policy::parse(&EXAMPLE.replace(
        "[categories.loyalty-number]",
        "[categories.email]\nmask = \"general\"\n[categories.loyalty-number]",
    ))
    .unwrap();
    assert_eq!(policy.mask("email"), Some(Mask::General));
    assert_eq!(policy.mask("loyalty-number"), Some(Mask::Phone));
    assert_eq!(policy.mask("nonsense"), None);
    let example = Policy::parse(EXAMPLE).unwrap();
    for (name, mask, _) in WELL_KNOWN_CATEGORIES {
        assert_eq!(example.mask(name), Some(mask));
    }
    let who = policy.handler("shop", "marketing_minjun", None);
    let permits = policy
        .decide(&who, &NOW, &[access("customers.email", Use::Read, false)])
        .unwrap();
    assert_eq!(permits[0].disclosure(), Disclosure::Masked(Mask::General));
}
