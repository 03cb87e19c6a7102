use super::filter::{Filter, Moment};
use super::output::{harmless, write_csv};
use super::*;
use jiff::Timestamp;

fn csv(cells: &[&str]) -> String {
    let mut out = Vec::new();
    write_csv(&mut out, cells.iter().map(|cell| (*cell).to_owned())).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn csv_is_quoted_and_runs_no_formula() {
    assert_eq!(csv(&["a", "b c", ""]), "a,b c,\r\n");
    assert_eq!(csv(&["say \"x\", y"]), "\"say \"\"x\"\", y\"\r\n");
    assert_eq!(csv(&["two\nlines"]), "\"two\nlines\"\r\n");
    for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
        assert_eq!(csv(&[formula]), format!("\"'{formula}\"\r\n"));
    }
}

#[test]
fn a_terminal_gets_no_escape_sequence() {
    assert_eq!(
        harmless("a\u{1b}[2Jb\u{9b}c\u{202e}d\r"),
        "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}"
    );
    assert_eq!(harmless("김 민지\nx"), "김 민지\nx");
}

#[test]
fn moments_are_read_as_people_write_them() {
    let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let read = |text: &str| Moment::parse(text, now).map(|moment| moment.0.to_string());
    assert_eq!(read("2h").unwrap(), "2026-03-01T10:00:00Z");
    assert_eq!(read("30m").unwrap(), "2026-03-01T11:30:00Z");
    assert_eq!(read("7d").unwrap(), "2026-02-22T12:00:00Z");
    assert_eq!(read("2026-02-28").unwrap(), "2026-02-28T00:00:00Z");
    assert_eq!(read("2026-02-28T09:00:00+09:00").unwrap(), "2026-02-28T00:00:00Z");
    assert!(read("yesterday").is_err());
    assert!(read("").is_err());
}

#[test]
fn the_directory_comes_from_the_policy_file() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("pgward.toml");
    std::fs::write(
        &config,
        "version = 3\nmore = true\n[journal]\ndirectory = \"/var/lib/pgward/journal\"\nnode = \"a\"\n",
    )
    .unwrap();
    assert_eq!(directory_in(&config).unwrap(), PathBuf::from("/var/lib/pgward/journal"));
    std::fs::write(&config, "version = 3\n").unwrap();
    assert!(directory_in(&config).unwrap_err().to_string().contains("journal"));
    assert!(
        directory_in(&directory.path().join("none.toml"))
            .unwrap_err()
            .to_string()
            .contains("--config")
    );
}

fn entry(edit: impl Fn(&mut crate::audit::Entry)) -> crate::audit::Entry {
    let text = r#"{"index":1,"prev":"","log":"00000000-0000-0000-0000-000000000001","schema_version":1,"node":"n","event_id":"00000000-0000-0000-0000-000000000002",
        "part":0,"ts_start":"2026-03-01T12:00:00.000000Z","ts_end":"2026-03-01T12:00:01.000000Z","action":"read","decision":"masked","handler":"kim",
        "handler_kind":"staff","login_role":"kim","auth_method":"trust","session_id":null,"client_addr":"10.0.0.9","client_port":5,"client_cert_fp":null,
        "application_name":"","database":"shop","purpose":null,"objects":[
        {"schema":"public","table":"customers","column":"email","category":"e-mail","how":"masked"},
        {"schema":"crm","table":"notes","column":"body","category":"service-use","how":"clear"}],
        "subjects":["aa"],"subject_count":1,"aggregate":false,"rows":1,"bytes":2,"rule":"","policy_version":"1","sqlstate":"","refusal":"",
        "statement_fingerprint":"","statement_text":"","note":null,"retention_class":"access-2y","expires_at":"2028-03-01T12:00:01.000000Z","hash":""}"#;
    let mut entry = serde_json::from_str(text).unwrap();
    edit(&mut entry);
    entry
}

#[test]
fn filters_are_all_to_hold() {
    let parse = |args: &[&str]| {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            filter: Filter,
        }
        <Cli as clap::Parser>::try_parse_from(std::iter::once(&"x").chain(args)).map(|cli| cli.filter)
    };
    let shown = |args: &[&str]| parse(args).unwrap().matches(&entry(|_| {}));
    assert!(shown(&[]));
    assert!(shown(&["--handler", "lee", "--handler", "kim"]));
    assert!(!shown(&["--handler", "lee"]));
    assert!(shown(&["--table", "customers"]));
    assert!(shown(&["--table", "public.customers", "--column", "email"]));
    assert!(!shown(&["--table", "crm.customers"]));
    // The column must be one of that table.
    assert!(!shown(&["--table", "customers", "--column", "body"]));
    assert!(shown(&["--column", "body"]));
    assert!(shown(&["--subject", "aa"]));
    assert!(!shown(&["--subject", "bb"]));
    assert!(shown(&["--action", "read", "--decision", "masked"]));
    assert!(!shown(&["--decision", "refused"]));
    assert!(parse(&["--decision", "Refused"]).is_err());
    assert!(shown(&[
        "--since",
        "2026-03-01T12:00:00Z",
        "--until",
        "2026-03-01T12:00:00.1Z"
    ]));
    assert!(!shown(&["--until", "2026-03-01T12:00:00Z"]));
    assert!(!shown(&["--since", "2026-03-01T12:00:02Z"]));
    let event = entry(|entry| entry.objects.clear());
    assert!(!parse(&["--table", "customers"]).unwrap().matches(&event));
}
