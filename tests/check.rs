//! `pgward check` against a real server: what it sees there, what it says of it, and its exit status.

mod support;

use support::{Options, World, text};

const POLICY: &str = r#"
[purposes.work]
description = "Work"

[[table]]
name = "public.customers"
subject = "id"
[table.columns]
email = { category = "email", mode = "eq" }
country = { category = "country", mode = "none" }

[[table]]
name = "public.orders"
subject = "customer_id"
[table.columns]
note = { category = "service-use" }

[groups.all]
[handlers.app]
kind = "service"
groups = ["all"]
purpose = "work"

[[grant]]
group = "all"
purpose = "work"
categories = ["email"]
read = "clear"
"#;

fn world() -> World {
    World::prepare(Options {
        policy: POLICY.into(),
        roles: vec!["app", "stranger"],
        ..Options::default()
    })
}

fn json(world: &World) -> (bool, serde_json::Value) {
    let out = world.pgward(&["check", "--json"]);
    let json = serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", text(&out)));
    (out.status.success(), json)
}

fn state(json: &serde_json::Value, column: &str) -> serde_json::Value {
    let columns = json["columns"].as_array().unwrap();
    columns.iter().find(|found| found["column"] == column).unwrap()["state"].clone()
}

fn mentions(lines: &serde_json::Value, what: &str) -> bool {
    lines
        .as_array()
        .unwrap()
        .iter()
        .any(|line| line.as_str().unwrap().contains(what))
}

#[test]
fn the_database_is_compared_with_the_policy() {
    let world = world();
    let sql = |statements: &str| {
        world.cluster.sql("app", statements).unwrap();
    };

    // Nothing is there yet: said, and no fault.
    let (good, report) = json(&world);
    assert!(good, "{report:#}");
    assert_eq!(state(&report, "email"), "no-table");
    assert!(
        mentions(
            &report["warnings"],
            "no handlers, so that they may do nothing with protected columns:"
        ),
        "{report:#}"
    );
    assert!(mentions(&report["warnings"], "stranger"), "{report:#}");

    // As declared.
    sql("CREATE TABLE customers (id int PRIMARY KEY, email pgward.sealed, country text)");
    sql("COMMENT ON COLUMN customers.email IS 'pgward: character varying(320)'");
    let (good, report) = json(&world);
    assert!(good, "{report:#}");
    assert_eq!(
        (state(&report, "email"), state(&report, "country")),
        ("protected".into(), "protected".into())
    );
    assert_eq!(report["columns"][1]["logical_type"], "character varying(320)");
    let printed = world.pgward_ok(&["check"]);
    for part in [
        "in clear, as declared",
        "character varying(320)",
        "no such table yet",
        "The policy and database can be used.",
    ] {
        assert!(printed.contains(part), "{part:?} not in\n{printed}");
    }

    // In clear though declared sealed; the subject column is missing.
    sql("CREATE TABLE orders (id int PRIMARY KEY, note text)");
    let (good, report) = json(&world);
    assert!(!good, "{report:#}");
    assert!(
        mentions(&report["problems"], "public.orders.note: not sealed yet"),
        "{report:#}"
    );
    assert!(
        mentions(&report["problems"], "table public.orders has no column customer_id"),
        "{report:#}"
    );
    sql("DROP TABLE orders");

    // A type that the mode does not suit.
    sql("COMMENT ON COLUMN customers.email IS 'pgward: boolean'");
    let (good, report) = json(&world);
    assert!(
        !good && mentions(&report["problems"], "public.customers.email: a boolean has two values"),
        "{report:#}"
    );
    sql("COMMENT ON COLUMN customers.email IS 'pgward: text'");

    // Sealed, and forgotten in the policy.
    sql("ALTER TABLE customers ADD COLUMN name pgward.sealed");
    let (good, report) = json(&world);
    assert!(
        !good
            && mentions(
                &report["problems"],
                "public.customers.name is stored sealed, and the policy"
            ),
        "{report:#}"
    );
    sql("ALTER TABLE customers DROP COLUMN name");
    assert!(json(&world).0);
}

#[test]
fn what_cannot_be_reached_or_opened_is_a_fault_and_offline_looks_at_the_file_only() {
    let mut world = world();
    assert!(json(&world).0);

    let key = std::fs::read(world.key_file()).unwrap();
    std::fs::remove_file(world.key_file()).unwrap();
    let (good, report) = json(&world);
    assert!(!good && report["problems"].as_array().unwrap().len() == 1, "{report:#}");
    std::fs::write(world.key_file(), key).unwrap();
    std::fs::set_permissions(world.key_file(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(json(&world).0);

    world.write_policy(&POLICY.replace(
        "kind = \"service\"\ngroups = [\"all\"]",
        "kind = \"service\"\nrole = \"nobody_here\"\ngroups = [\"all\"]",
    ));
    let (good, report) = json(&world);
    assert!(
        good && mentions(&report["warnings"], "the server has no role nobody_here"),
        "{report:#}"
    );

    world.write_policy(&POLICY.replace("mode = \"none\"", "mode = \"nome\""));
    let out = world.pgward(&["check", "--offline"]);
    assert!(
        !out.status.success() && text(&out).contains("unknown variant `nome`"),
        "{}",
        text(&out)
    );

    world.write_policy(POLICY);
    world.cluster.stop();
    let (good, report) = json(&world);
    assert!(
        !good && mentions(&report["problems"], "can't log in at 127.0.0.1"),
        "{report:#}"
    );
    assert!(
        world
            .pgward_ok(&["check", "--offline"])
            .contains("The policy file can be used.")
    );
    world.cluster.restart().unwrap();
    assert!(json(&world).0);
}
