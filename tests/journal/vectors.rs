//! Published journals that other verifiers can be held against, and the format that they fix.

use super::*;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/journal")
}

fn fault_name(fault: &Fault) -> &'static str {
    match fault {
        Fault::Altered => "altered",
        Fault::Missing(..) => "missing",
        Fault::Inserted => "inserted",
        Fault::Reordered => "reordered",
        Fault::Replaced => "replaced",
        Fault::Foreign => "foreign",
        Fault::Truncated => "truncated",
        Fault::Renamed => "renamed",
        Fault::CutOff => "cut-off",
        Fault::OtherHead => "other-head",
        Fault::NoJournal => "no-journal",
        Fault::Unreadable => "unreadable",
    }
}

/// Whether two verdicts say the same where the expected one says something.
fn agrees(verdict: &serde_json::Value, expected: &serde_json::Value) -> bool {
    let said = expected
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, _)| *key != "expect_head");
    said.clone().all(|(key, value)| verdict.get(key) == Some(value))
}

/// Published journals, whole and broken in every way: pgward and a verifier that knows only docs/RECORDS.md must say the same.
#[test]
fn the_vectors_are_judged_alike_by_an_independent_verifier() {
    let python = Command::new("python3")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !python {
        eprintln!("python3 is missing: the vectors are held against pgward's own verifier only");
    }
    let mut seen = 0;
    for directory in fs::read_dir(vectors())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("expected.json").exists())
    {
        seen += 1;
        let expected: serde_json::Value =
            serde_json::from_slice(&fs::read(directory.join("expected.json")).unwrap()).unwrap();
        let noted = expected["expect_head"].as_str();
        let verdict = match verify_against(&directory, noted.map(|head| head.parse().unwrap())) {
            Ok(report) => {
                serde_json::json!({"whole": true, "records": report.records, "head": report.head.unwrap().to_string()})
            }
            Err(broken) => serde_json::json!({"whole": false, "fault": fault_name(&broken.fault), "good": broken.good}),
        };
        assert!(
            agrees(&verdict, &expected),
            "{}: {verdict}, expected {expected}",
            directory.display()
        );
        if python {
            let mut command = Command::new("python3");
            command.arg("-B").arg(vectors().join("verify.py")).arg(&directory);
            if let Some(head) = noted {
                command.args(["--expect-head", head]);
            }
            let output = command.output().unwrap();
            let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(
                agrees(&verdict, &expected),
                "verify.py {}: {verdict}, expected {expected}",
                directory.display()
            );
            assert_eq!(output.status.success(), expected["whole"].as_bool().unwrap());
        }
    }
    assert!(seen >= 15, "{seen} vectors");
}

/// The bytes of one record: the format is published, so a change of it must be a decision (and a new schema version).
#[test]
fn the_format_of_a_line_is_fixed() {
    let text = fs::read_to_string(vectors().join("whole").join(segment_name(0))).unwrap();
    let published = text.lines().nth(1).unwrap();
    let directory = fast_directory();
    let journal = Journal::open(&options(directory.path())).unwrap();
    append(&journal, 1).unwrap();
    drop(journal);
    let (_, bytes) = read_in(directory.path()).remove(0);
    let written = std::str::from_utf8(&bytes).unwrap().lines().nth(1).unwrap();
    // All but the log's random id and the hashes that follow from it.
    let constant = |line: &str| {
        let (index, rest) = line.split_once(",\"prev\":\"").unwrap();
        let (_, rest) = rest.split_once("\",\"schema_version\"").unwrap();
        format!("{index}…{}", rest.split_once(",\"hash\":\"").unwrap().0)
    };
    assert_eq!(constant(written), constant(published));
}

/// Writes the vector `whole` anew (then run tests/vectors/journal/make.py): `cargo test --test journal make_the -- --ignored`.
#[test]
#[ignore = "rewrites the published vector; only when the format changes"]
fn make_the_whole_vector() {
    let directory = fast_directory();
    let journal = Journal::open(&options(directory.path())).unwrap();
    (1..4).for_each(|n| append(&journal, n).unwrap());
    drop(journal);
    let journal = Journal::open(&options(directory.path())).unwrap();
    append(&journal, 4).unwrap();
    drop(journal);
    fs::create_dir_all(vectors().join("whole")).unwrap();
    for (name, bytes) in read_in(directory.path()) {
        fs::write(vectors().join("whole").join(name), bytes).unwrap();
    }
}
