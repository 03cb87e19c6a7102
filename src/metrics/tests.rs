use super::*;

#[test]
fn kinds_and_reasons_stand_at_the_place_of_their_discriminant() {
    for (n, kind) in KINDS.into_iter().enumerate() {
        assert_eq!(kind as usize, n, "{kind:?}");
    }
    for (n, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, n, "{reason:?}");
    }
    for (n, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, n, "{outcome:?}");
    }
}

#[test]
fn statements_and_refusals_are_counted_under_their_own_labels() {
    let metrics = Metrics::new();
    for (n, kind) in KINDS.into_iter().enumerate() {
        for (m, outcome) in Outcome::ALL.into_iter().enumerate() {
            for _ in 0..n * 4 + m + 1 {
                metrics.statement(kind, outcome);
            }
        }
    }
    for (n, reason) in Reason::ALL.into_iter().enumerate() {
        for _ in 0..=n {
            metrics.refusal(reason);
        }
    }
    let text = metrics.render();
    for (n, kind) in KINDS.into_iter().enumerate() {
        for (m, outcome) in Outcome::ALL.into_iter().enumerate() {
            let line = format!(
                "pgward_statements_total{{decision=\"{}\",kind=\"{}\"}} {}\n",
                outcome.label(),
                kind_label(kind),
                n * 4 + m + 1
            );
            assert!(text.contains(&line), "{line} not in\n{text}");
        }
    }
    for (n, reason) in Reason::ALL.into_iter().enumerate() {
        let line = format!("pgward_refusals_total{{reason=\"{}\"}} {}\n", reason.anchor(), n + 1);
        assert!(text.contains(&line), "{line} not in\n{text}");
    }
}

#[test]
fn names_follow_the_conventions_and_only_the_policy_in_force_is_shown() {
    let metrics = Metrics::new();
    metrics.policy_loaded("one");
    metrics.policy_loaded("two");
    metrics.policy_rejected();
    let text = metrics.render();
    assert!(text.contains("pgward_policy_info{version=\"two\"} 1\n"), "{text}");
    assert!(!text.contains("version=\"one\""), "{text}");
    assert!(
        text.contains("pgward_policy_reloads_total{result=\"loaded\"} 2\n"),
        "{text}"
    );
    assert!(
        text.contains("pgward_policy_reloads_total{result=\"rejected\"} 1\n"),
        "{text}"
    );
    for (name, kind) in types(&text) {
        assert!(name.starts_with("pgward_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        if kind == "histogram" {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[test]
fn ages_grow_and_vanish_with_their_key_domain() {
    let metrics = Metrics::new();
    assert_eq!(metrics.oldest_catalog(), None);
    let domain = |name: &str| KeyDomain(Arc::from(name));
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    metrics.active_keys([(domain("a"), hour_ago), (domain("b"), tomorrow)]);
    metrics.catalog_seen(&Arc::from("shop"));
    let text = metrics.render();
    let age = value(&text, "pgward_key_age_seconds{key_domain=\"a\"}").unwrap();
    assert!((3600.0..3660.0).contains(&age), "{age}");
    assert_eq!(value(&text, "pgward_key_age_seconds{key_domain=\"b\"}"), Some(0.0));
    assert!(value(&text, "pgward_catalog_age_seconds{database=\"shop\"}").unwrap() < 60.0);
    assert!(metrics.oldest_catalog().unwrap() < Duration::from_secs(60));
    metrics.active_keys([(domain("b"), hour_ago)]);
    let text = metrics.render();
    assert_eq!(value(&text, "pgward_key_age_seconds{key_domain=\"a\"}"), None);
    assert!(value(&text, "pgward_key_age_seconds{key_domain=\"b\"}").unwrap() >= 3600.0);
}

#[test]
fn a_histogram_covers_five_decades_with_readable_bounds() {
    let metrics = Metrics::new();
    Metrics::observe(&metrics.journal_seconds, Duration::from_micros(700));
    let text = metrics.render();
    for (bound, count) in [
        ("0.00005", 0.0),
        ("0.0005", 0.0),
        ("0.0016", 1.0),
        ("5", 1.0),
        ("+Inf", 1.0),
    ] {
        let line = format!("pgward_journal_duration_seconds_bucket{{le=\"{bound}\"}}");
        assert_eq!(value(&text, &line), Some(count), "{line} in\n{text}");
    }
}

#[test]
fn every_metric_is_documented_and_nothing_else() {
    let metrics = Metrics::new();
    metrics.policy_loaded("1");
    metrics.active_keys([(KeyDomain(Arc::from("a")), SystemTime::now())]);
    metrics.catalog_seen(&Arc::from("shop"));
    let text = metrics.render();
    let registered = types(&text)
        .map(|(name, _)| name.to_owned())
        .collect::<std::collections::BTreeSet<_>>();
    let documented = include_str!("../../docs/METRICS.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
        .map(str::to_owned)
        .collect::<std::collections::BTreeSet<_>>();
    assert_eq!(
        registered, documented,
        "left: registered in src/metrics.rs; right: tables of docs/METRICS.md"
    );
}

/// Name and type of each metric of an exposition.
fn types(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
