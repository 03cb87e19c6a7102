//! The policy file: what is read from it, and that each fault is found, with its line, key and remedy.

use pgward::plan::{Mode, Reason, RelationName};
use pgward::policy::file::{ClientTls, Fault, Keys, UpstreamTls};
use pgward::policy::{Policy, WELL_KNOWN_CATEGORIES};
use std::os::unix::fs::PermissionsExt;

const EXAMPLE: &str = include_str!("../deploy/pgward.toml");

/// The example with `old` (which must stand in it, once) replaced.
fn with(old: &str, new: &str) -> String {
    assert_eq!(
        EXAMPLE.matches(old).count(),
        1,
        "{old:?} must stand once in the example"
    );
    EXAMPLE.replace(old, new)
}

fn faults(text: &str) -> Vec<Fault> {
    match Policy::parse(text) {
        Ok(_) => panic!("was accepted:\n{text}"),
        Err(error) => {
            assert_eq!(error.message.lines().count(), error.faults.len(), "{}", error.message);
            error.faults
        }
    }
}

/// Exactly one fault: at this key, on the line that holds `on`, its text with `says`.
#[track_caller]
fn one(text: &str, key: &str, on: &str, says: &str) {
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    let fault = &faults[0];
    assert_eq!(fault.key, key, "{fault}");
    assert!(fault.to_string().contains(says), "{fault}");
    let line = fault.line.unwrap_or_else(|| panic!("no line: {fault}"));
    let found = text.lines().nth(line - 1).unwrap();
    assert!(
        found.contains(on),
        "line {line} is {found:?}, not the one with {on:?}: {fault}"
    );
}

#[test]
fn the_example_is_valid_and_says_what_it_says() {
    let policy = Policy::parse(EXAMPLE).unwrap();
    assert_eq!(&**policy.version(), "2026-11-22.1");
    let file = policy.file();
    assert_eq!(file.listen.effective_tls(), ClientTls::Off);
    assert_eq!((file.upstream.port, file.upstream.tls), (5432, UpstreamTls::Prefer));
    assert_eq!(file.limits.max_clients, 5000);
    let Keys::File { path } = &file.keys;
    assert_eq!(path.to_str(), Some("/var/lib/pgward/root.key"));
    assert_eq!(policy.databases().map(|name| &**name).collect::<Vec<_>>(), ["shop"]);
    let declared = policy.declared("shop");
    assert_eq!(declared.len(), 10);
    let email = declared
        .iter()
        .find(|column| column.name.to_string() == "public.customers.email")
        .unwrap();
    assert_eq!((email.mode, &*email.category), (Mode::Eq, "email"));
    assert_eq!(&*email.key_domain.0, "public.customers.email");
    assert_eq!(email.subject.as_deref(), Some("id"));
    let orders = RelationName {
        schema: "public".into(),
        name: "orders".into(),
    };
    assert!(policy.subjects("shop").contains(&(orders, "customer_id".into())));
    assert!(policy.declared("other").is_empty() && policy.subjects("other").is_empty());
}

#[test]
fn defaults_of_limits_are_those_of_the_example() {
    let start = EXAMPLE.find("[limits]").unwrap();
    let end = start + EXAMPLE[start..].find("\n# ──").unwrap();
    let without = format!("{}{}", &EXAMPLE[..start], &EXAMPLE[end..]);
    let (full, short) = (Policy::parse(EXAMPLE).unwrap(), Policy::parse(&without).unwrap());
    assert_eq!(
        format!("{:?}", full.file().limits),
        format!("{:?}", short.file().limits)
    );
}

#[test]
fn every_entry_is_read_by_itself_so_that_all_faults_show_at_once() {
    let text = EXAMPLE
        .replace("version = \"2026-11-22.1\"", "version = \" \"")
        .replace("port = 5432", "prot = 5432")
        .replace("retention_class = \"access-2y\"", "retention_class = \"access-6m\"")
        .replace("kind = \"contractor\"", "kind = \"intern\"")
        .replace("mode = \"deterministic\"", "mode = \"eq+text\"")
        .replace("groups = [\"support\"]", "groups = [\"suport\"]")
        .replace(
            "\"birth-date\"]\nread = \"masked\"",
            "\"birth-date\"]\nread = \"maksed\"",
        );
    let faults = faults(&text);
    let keys = faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>();
    assert_eq!(
        keys,
        [
            "version",
            "upstream",
            "journal.retention_class",
            "table[2]",
            "handlers.sora.groups",
            "handlers.analyst",
            "grant[6]",
        ],
        "{faults:#?}"
    );
    let on = [
        "version =",
        "prot",
        "access-6m",
        "eq+text",
        "suport",
        "intern",
        "maksed",
    ];
    for (fault, on) in faults.iter().zip(on) {
        let line = text.lines().nth(fault.line.unwrap() - 1).unwrap();
        assert!(line.contains(on), "{line:?} does not hold {on:?}: {fault}");
    }
}

#[test]
fn broken_toml_gives_a_line() {
    let found = faults(&with("[listen]", "[listen"));
    let line = 1 + EXAMPLE.lines().position(|line| line == "[listen]").unwrap();
    assert_eq!(found[0].line, Some(line), "{found:#?}");
    let twice = format!("{EXAMPLE}\n[groups.support]\n");
    one(&twice, "", "[groups.support]", "duplicate key");
    assert!(!faults("\0").is_empty());
}

#[test]
fn missing_sections_are_named() {
    let faults = faults("version = \"1\"");
    let keys = faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>();
    assert_eq!(keys, ["listen", "upstream", "control", "keys", "journal"]);
    assert!(faults.iter().all(|fault| fault.remedy.starts_with("add [")));
}

#[test]
fn unknown_keys_are_refused_everywhere() {
    one(
        &with("[listen]", "[listne]\n[listen]"),
        "listne",
        "[listne]",
        "unknown key",
    );
    for (old, new, key, on) in [
        ("port = 5432", "prot = 5432", "upstream", "prot"),
        ("# node = \"pgward-1\"", "nodes = \"a\"", "journal", "nodes"),
        (
            "provider = \"file\"",
            "provider = \"file\"\npasword = 1",
            "keys",
            "keys",
        ),
        (
            "{ category = \"name\" }",
            "{ category = \"name\", mod = \"eq\" }",
            "table[1]",
            "mod",
        ),
        (
            "kind = \"contractor\"",
            "kind = \"contractor\"\nrol = \"x\"",
            "handlers.analyst",
            "rol",
        ),
        (
            "columns = [\"public.customers.mobile_phone\"]",
            "column = []",
            "grant[5]",
            "column = []",
        ),
    ] {
        one(&with(old, new), key, on, "unknown field");
    }
}

#[test]
fn unknown_names_are_refused_with_those_that_exist() {
    one(
        &with("{ category = \"name\" }", "{ category = \"nmae\" }"),
        "table[1].columns.name.category",
        "nmae",
        "declare [categories.nmae], or use one of: access-ip,",
    );
    one(
        &with("groups = [\"analysts\"]", "groups = [\"analyst\"]"),
        "handlers.analyst.groups",
        "[\"analyst\"]",
        "use one of: analysts, application, marketing, support",
    );
    one(
        &with(
            "purpose = \"customer-support\"\n\n[handlers.minjun]",
            "purpose = \"suport\"\n\n[handlers.minjun]",
        ),
        "handlers.sora.purpose",
        "suport",
        "unknown purpose \"suport\"; declare [purposes.suport]",
    );
    one(
        &with("categories = [\"country\"]", "categories = [\"county\"]"),
        "grant[7].categories[1]",
        "county",
        "unknown category",
    );
    for (new, says) in [
        ("public.customers.id", "not declared as protected"),
        ("public.customer.*", "not declared as protected"),
        ("customers", "must have the form"),
    ] {
        let text = with(
            "columns = [\"public.customers.mobile_phone\"]",
            &format!("columns = [\"{new}\"]"),
        );
        one(&text, "grant[5].columns[1]", new, says);
    }
}

#[test]
fn duplicates_are_refused() {
    one(
        &with("role = \"marketing_minjun\"", "role = \"support_sora\""),
        "handlers.sora.role",
        "support_sora",
        "belongs to handler \"minjun\" already",
    );
    // The name is the role where none is given.
    one(
        &with("role = \"marketing_minjun\"", "role = \"analyst\""),
        "handlers.minjun.role",
        "role = \"analyst\"",
        "belongs to handler \"analyst\" already",
    );
    // As the file stands, orders would have two more columns than grants name: only the table is at fault.
    let table = with("name = \"public.orders\"", "name = \"customers\"")
        .replace(", \"public.orders.*\"", "")
        .replace(", \"public.orders.contact_email\"", "");
    one(
        &table,
        "table[2].name",
        "name = \"customers\"",
        "declared twice (first as table[1])",
    );
    one(
        &with("groups = [\"analysts\"]", "groups = [\"analysts\", \"analysts\"]"),
        "handlers.analyst.groups",
        "analysts",
        "twice",
    );
    one(
        &with("categories = [\"country\"]", "categories = [\"country\", \"country\"]"),
        "grant[7].categories[2]",
        "country",
        "twice",
    );
    one(
        &with(
            "addresses = [\"127.0.0.1:6432\"]",
            "addresses = [\"127.0.0.1:6432\", \"127.0.0.1:6432\"]",
        ),
        "listen.addresses[2]",
        "addresses",
        "twice",
    );
    one(
        &with("address = \"127.0.0.1:9187\"", "address = \"127.0.0.1:6432\""),
        "admin.address",
        "address",
        "client address too",
    );
    let grant = &EXAMPLE[EXAMPLE.rfind("[[grant]]").unwrap()..];
    one(
        &format!("{EXAMPLE}{grant}"),
        "grant[8]",
        "[[grant]]",
        "says the same as grant[7]",
    );
}

#[test]
fn grants_must_give_something_on_something() {
    let one_grant = |body: &str| {
        with(
            "# Analysts have no grant: they are refused.",
            &format!("[[grant]]\ngroup = \"analysts\"\npurpose = \"marketing\"\n{body}\n"),
        )
    };
    one(
        &one_grant("columns = [\"customers.email\"]"),
        "grant[8]",
        "[[grant]]",
        "grants nothing",
    );
    one(
        &one_grant("search = true"),
        "grant[8]",
        "[[grant]]",
        "neither columns nor categories",
    );
    assert!(Policy::parse(&one_grant("search = true\ncolumns = [\"customers.email\"]")).is_ok());
}

#[test]
fn tls_settings_must_fit_each_other() {
    let tls = |lines: &str| with("# tls = \"require\"", lines);
    one(&tls("tls = \"require\""), "listen.tls", "tls", "needs a certificate");
    one(&tls("tls = \"allow\""), "listen.tls", "tls", "needs a certificate");
    one(
        &tls("tls_cert = \"/c\""),
        "listen.tls_cert",
        "tls_cert",
        "has no tls_key",
    );
    one(&tls("tls_key = \"/k\""), "listen.tls_key", "tls_key", "has no tls_cert");
    one(
        &tls("tls_cert = \"/c\"\ntls_key = \"/k\"\nclient_ca = \"/a\""),
        "listen.client_ca",
        "client_ca",
        "set tls = \"require\"",
    );
    let good = tls("tls = \"require\"\ntls_cert = \"/c\"\ntls_key = \"/k\"\nclient_ca = \"/a\"");
    assert_eq!(
        Policy::parse(&good).unwrap().file().listen.effective_tls(),
        ClientTls::Require
    );
    let offered = tls("tls_cert = \"/c\"\ntls_key = \"/k\"");
    assert_eq!(
        Policy::parse(&offered).unwrap().file().listen.effective_tls(),
        ClientTls::Allow
    );
    // An authority that is not looked at would look like a checked server.
    one(
        &with("tls = \"prefer\"", "tls = \"require\"\nca = \"/ca\""),
        "upstream.ca",
        "ca",
        "verify-full",
    );
    let socket = EXAMPLE
        .replace("host = \"127.0.0.1\"", "host = \"/run/postgresql\"")
        .replace("tls = \"prefer\"", "tls = \"verify-full\"");
    one(&socket, "upstream.tls", "verify-full", "Unix socket has no TLS");
}

#[test]
fn access_records_are_kept_for_a_year_at_least() {
    let class = |class: &str| {
        with(
            "\nretention_class = \"access-2y\"",
            &format!("\nretention_class = \"{class}\""),
        )
    };
    for short in ["access-0y", "access-11m", "access-364d", "access-51w"] {
        one(&class(short), "journal.retention_class", short, "less than the year");
    }
    for other in [
        "rights-3y",
        "",
        "access-",
        "access-1",
        "access-99999999999y",
        "access-é",
    ] {
        one(
            &class(other),
            "journal.retention_class",
            "retention_class",
            "is not a retention class",
        );
    }
    assert!(Policy::parse(&class("access-1y")).is_ok());
    let default = Policy::parse(&with("\nretention_class = \"access-2y\"", "")).unwrap();
    assert_eq!(default.file().journal.retention_class, "access-2y");
}

#[test]
fn modes_must_fit_what_they_are_for() {
    one(
        &with("mode = \"none\" }", "mode = \"none\", key_domain = \"x\" }"),
        "table[1].columns.country.key_domain",
        "country",
        "mode none has no key",
    );
    one(
        &with("subject = \"id\"", "subject = \"email\""),
        "table[1].subject",
        "subject",
        "is sealed itself",
    );
    assert!(Policy::parse(&with("subject = \"id\"", "subject = \"country\"")).is_ok());
    // One key domain over two categories is allowed, with one mode.
    let shared = |mode: &str| {
        EXAMPLE
            .replace(
                "mobile_phone = { category = \"mobile-phone\", mode = \"eq\" }",
                "mobile_phone = { category = \"mobile-phone\", mode = \"eq\", key_domain = \"contact\" }",
            )
            .replace(
                "contact_email = { category = \"email\", mode = \"eq\" }",
                &format!("contact_email = {{ category = \"email\", mode = \"{mode}\", key_domain = \"contact\" }}"),
            )
    };
    assert!(Policy::parse(&shared("eq")).is_ok());
    for other in ["deterministic", "sealed"] {
        one(
            &shared(other),
            "table[2].columns.contact_email.key_domain",
            "contact_email",
            "could not be compared",
        );
    }
}

#[test]
fn names_must_be_possible_in_the_database() {
    let orders = |name: &str| {
        with("name = \"public.orders\"", &format!("name = '{name}'"))
            .replace(", \"public.orders.*\"", "")
            .replace(", \"public.orders.contact_email\"", "")
    };
    one(&orders("public.Orders"), "table[2].name", "Orders", "double quotes");
    one(&orders("a.b.orders"), "table[2].name", "a.b.orders", "schema.table");
    one(
        &orders("pg_catalog.pg_authid"),
        "table[2].name",
        "pg_authid",
        "can't be protected",
    );
    let odd = with("name = \"public.orders\"", "name = '\"Sales\".\"Or.ders\"'")
        .replace("\"public.orders.*\"", "'\"Sales\".\"Or.ders\".*'")
        .replace(
            "\"public.orders.contact_email\"",
            "'\"Sales\".\"Or.ders\".contact_email'",
        );
    let declared = Policy::parse(&odd).unwrap().declared("shop");
    let contact = declared
        .iter()
        .find(|column| &*column.name.relation.schema == "Sales" && &*column.name.column == "contact_email")
        .unwrap();
    assert_eq!(&*contact.name.relation.name, "Or.ders");
    assert_eq!(&*contact.key_domain.0, "\"Sales\".\"Or.ders\".contact_email");
}

#[test]
fn limits_must_leave_room_to_work() {
    for (key, value) in [
        ("max_clients", "5000"),
        ("max_statement_bytes", "1048576"),
        ("max_rewritten_message_bytes", "67108864"),
        ("max_prepared_bytes", "33554432"),
        ("buffer_bytes", "262144"),
        ("authentication_timeout_seconds", "60"),
        ("catalog_poll_seconds", "5"),
    ] {
        let text = with(&format!("\n{key} = {value}"), &format!("\n{key} = 0"));
        let found = faults(&text);
        assert!(
            found
                .iter()
                .any(|fault| fault.key == format!("limits.{key}") && fault.what.contains("too small")),
            "{found:#?}"
        );
    }
    one(
        &with("\nmax_statement_bytes = 1048576", "\nmax_statement_bytes = -1"),
        "limits",
        "-1",
        "invalid value",
    );
}

#[test]
fn only_a_file_that_others_cannot_write_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgward.toml");
    std::fs::write(&path, EXAMPLE).unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    assert!(Policy::load(&path).is_ok());
    mode(0o646);
    let error = Policy::load(&path).unwrap_err().to_string();
    assert!(
        error.contains(path.to_str().unwrap()) && error.contains("chmod o-w"),
        "{error}"
    );
    mode(0o600);
    std::fs::write(&path, with("port = 5432", "prot = 5432")).unwrap();
    let error = Policy::load(&path).unwrap_err();
    assert!(
        error.message.starts_with(&format!("{}:\nline ", path.display())),
        "{error}"
    );
    assert_eq!(error.faults.len(), 1);
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(Policy::load(&path).is_err());
    assert!(Policy::load(directory.path()).is_err());
    let missing = Policy::load(&directory.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("No such file"), "{missing}");
}

/// Clients are sent to these anchors: each must be there, say the three things, and none may lead nowhere.
#[test]
fn every_refusal_has_its_section_in_errors_md() {
    let page = include_str!("../docs/ERRORS.md");
    let sections: Vec<(&str, &str)> = page
        .split("\n## ")
        .skip(1)
        .map(|section| section.split_once('\n').expect("a section has a text"))
        .collect();
    let titles: Vec<&str> = sections.iter().map(|(title, _)| *title).collect();
    assert_eq!(
        titles,
        Reason::ALL.map(Reason::anchor),
        "left: docs/ERRORS.md; right: the reasons"
    );
    for (title, text) in sections {
        for part in ["**What happened.** ", "**Why.** ", "**What to do.** ", "SQLSTATE"] {
            assert!(text.contains(part), "{title}: {part}");
        }
    }
}

/// The page that policy authors read names every well-known category, in the row of its mask.
#[test]
fn well_known_categories_stand_in_policy_md_with_their_masks() {
    let page = include_str!("../docs/POLICY.md");
    let mut rows = std::collections::BTreeSet::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, categories, mask, _, _] = cells.as_slice()
            && let Some(mask) = mask.strip_prefix('`').and_then(|mask| mask.strip_suffix('`'))
        {
            rows.extend(
                categories
                    .split(", ")
                    .map(|category| (category.to_owned(), mask.to_owned())),
            );
        }
    }
    let known = WELL_KNOWN_CATEGORIES
        .iter()
        .map(|(category, mask, _)| {
            let mask = serde_json::to_value(mask).unwrap();
            ((*category).to_owned(), mask.as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(rows, known, "left: docs/POLICY.md; right: the policy");
}
