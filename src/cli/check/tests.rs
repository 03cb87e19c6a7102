use super::print::{cell, text};
use super::report::{Report, State};
use crate::policy::Policy;
use crate::policy::file::{ReadGrant, Rights};
use std::path::Path;

const EXAMPLE: &str = include_str!("../../../deploy/pgward.toml");

fn report(policy: &str) -> Report {
    Report::of_policy(Path::new("pgward.toml"), &Policy::parse(policy).unwrap())
}

#[track_caller]
fn warns(policy: &str, says: &str) {
    let report = report(policy);
    assert!(
        report.warnings.iter().any(|warning| warning.contains(says)),
        "{says:?} not in {:#?}",
        report.warnings
    );
}

#[test]
fn the_example_gives_rights_as_its_comments_say_and_one_warning() {
    let report = report(EXAMPLE);
    assert!(report.is_good());
    assert_eq!(
        report.warnings,
        ["no grant is for a group of handler analyst: he may do nothing with protected columns"]
    );
    let shown = report
        .handlers
        .iter()
        .map(|handler| {
            let (read, search, write) = handler.rights.iter().fold((0, 0, 0), |sum, rights| {
                (
                    sum.0 + i32::from(rights.read.is_some()),
                    sum.1 + i32::from(rights.search),
                    sum.2 + i32::from(rights.write),
                )
            });
            (
                handler.handler.as_str(),
                handler.purpose.as_deref(),
                handler.default,
                read,
                search,
                write,
            )
        })
        .collect::<Vec<_>>();
    assert_eq!(
        shown,
        [
            ("analyst", None, true, 0, 0, 0),
            ("minjun", Some("marketing"), true, 7, 1, 0),
            ("shop", Some("shop-operation"), true, 10, 10, 10),
            ("sora", Some("customer-support"), true, 10, 3, 1),
        ]
    );
    let email = report.columns.iter().find(|column| column.column == "email").unwrap();
    assert_eq!((email.mode, &email.state), ("eq", &State::Unknown));
    assert!(email.leaks.contains("which rows are equal"));
}

#[test]
fn people_see_columns_rights_and_faults() {
    let printed = text(&report(EXAMPLE));
    for part in [
        "policy version 2026-11-22.1",
        "public.customers.email",
        "clear, search, write",
        "masked",
        "support",
        "not looked at",
        "The policy file can be used.",
    ] {
        assert!(printed.contains(part), "{part:?} not in\n{printed}");
    }
    let error = Policy::parse(&EXAMPLE.replace("port = 5432", "prot = 5432")).unwrap_err();
    let faulty = Report::of_faulty_file(Path::new("x.toml"), error);
    assert!(!faulty.is_good());
    let printed = text(&faulty);
    assert!(
        printed.contains("unknown field `prot`") && printed.contains("1 thing is wrong."),
        "{printed}"
    );
    let unreadable = Report::of_faulty_file(Path::new("x"), Policy::load(Path::new("/no/such/file")).unwrap_err());
    assert!(!unreadable.is_good() && text(&unreadable).contains("No such file"));
}

#[test]
fn rights_are_written_out() {
    let rights = |read, search, write| cell(Some(&Rights { read, search, write }));
    assert_eq!(rights(None, false, false), "–");
    assert_eq!(rights(Some(ReadGrant::Masked), false, false), "masked");
    assert_eq!(rights(Some(ReadGrant::Clear), true, true), "clear, search, write");
    assert_eq!(rights(None, false, true), "write");
    assert_eq!(cell(None), "–");
}

#[test]
fn what_is_valid_and_probably_not_meant_is_said() {
    let with = |old: &str, new: &str| {
        assert_eq!(EXAMPLE.matches(old).count(), 1, "{old}");
        EXAMPLE.replace(old, new)
    };
    warns(
        &with("groups = [\"analysts\"]", "groups = []"),
        "handler analyst is in no group",
    );
    warns(
        &with("groups = [\"analysts\"]", "groups = []"),
        "group analysts has no handlers",
    );
    warns(
        &with("subject = \"id\"\n", ""),
        "table public.customers names no subject column",
    );
    warns(
        &with("purpose = \"marketing\"\n\n[handlers.analyst]", "\n[handlers.analyst]"),
        "handler minjun has no purpose",
    );
    warns(
        &with(
            "purpose = \"marketing\"\n\n[handlers.analyst]",
            "purpose = \"customer-support\"\n\n[handlers.analyst]",
        ),
        "handler minjun works for purpose customer-support, and no grant of his is for that",
    );
    warns(
        &with("categories = [\"country\"]", "categories = [\"country\", \"passport\"]"),
        "grant 7 is about category passport",
    );
    warns(
        &with(
            "[purposes.marketing]",
            "[purposes.idle]\ndescription = \"\"\n[purposes.marketing]",
        ),
        "purpose idle is in no grant",
    );
    warns(
        &with(
            "\"birth-date\"]\nread = \"masked\"",
            "\"birth-date\"]\nread = \"masked\"\nsearch = true",
        ),
        "handler minjun may search by public.customers.email for purpose marketing without reading it in clear",
    );
    warns(
        &with(
            "[categories.loyalty-number]",
            "[categories.idle]\nmask = \"general\"\n[categories.loyalty-number]",
        ),
        "category idle is declared, and no column is of it",
    );
    let shared = EXAMPLE
        .replace(
            "name = { category = \"name\" }",
            "name = { category = \"name\", key_domain = \"d\" }",
        )
        .replace(
            "organisation = { category = \"organisation\" }",
            "organisation = { category = \"organisation\", key_domain = \"d\" }",
        );
    warns(
        &shared,
        "key domain d holds columns of several categories (name, organisation)",
    );
}

#[test]
fn machines_get_the_same() {
    let json: serde_json::Value = serde_json::to_value(report(EXAMPLE)).unwrap();
    assert_eq!(json["version"], "2026-11-22.1");
    assert_eq!(json["columns"].as_array().unwrap().len(), 10);
    assert_eq!(json["columns"][0]["state"], "unknown");
    assert_eq!(json["handlers"][2]["rights"][0]["read"], "clear");
}
