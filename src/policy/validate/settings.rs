//! Version, listeners, upstream, control, keys, journal, limits.

use super::super::file::{self, ClientTls, UpstreamTls};
use super::super::parse::{Faults, Outline};
use super::{check_name, duplicates, not_empty};
use crate::plan;

/// Checks the sections that say how pgward runs, rather than who may do what.
pub(super) fn settings(outline: &Outline, faults: &mut Faults) {
    if let Some(version) = &outline.version {
        if version.trim().is_empty() {
            faults.add(
                "version",
                "is empty",
                "give the policy a version: it stands in every access record",
            );
        } else {
            check_name("version", version, faults);
        }
    }
    if let Some(listen) = &outline.listen {
        self::listen(listen, outline.admin.as_ref(), faults);
    }
    if let Some(upstream) = &outline.upstream {
        self::upstream(upstream, faults);
    }
    if let Some(control) = &outline.control {
        not_empty("control.user", &control.user, faults);
        not_empty("control.database", &control.database, faults);
    }
    if let Some(file::Keys::File { path }) = &outline.keys {
        not_empty("keys.path", &path.to_string_lossy(), faults);
    }
    if let Some(journal) = &outline.journal {
        not_empty("journal.directory", &journal.directory.to_string_lossy(), faults);
        if let Some(node) = &journal.node {
            not_empty("journal.node", node, faults);
            check_name("journal.node", node, faults);
        }
        retention(&journal.retention_class, faults);
    }
    if let Some(limits) = &outline.limits {
        self::limits(limits, faults);
    }
}

fn listen(listen: &file::Listen, admin: Option<&file::Admin>, faults: &mut Faults) {
    if listen.addresses.is_empty() {
        faults.add(
            "listen.addresses",
            "is empty",
            "add one, for example \"127.0.0.1:6432\"",
        );
    }
    for (n, address) in duplicates(listen.addresses.iter()) {
        faults.add(
            format!("listen.addresses[{}]", n + 1),
            format!("{address} stands there twice"),
            "remove one",
        );
    }
    if let Some(address) = admin.and_then(|admin| admin.address)
        && address.port() != 0
        && listen.addresses.contains(&address)
    {
        faults.add(
            "admin.address",
            format!("{address} is a client address too"),
            "give the admin port an address of its own",
        );
    }
    match (&listen.tls_cert, &listen.tls_key) {
        (Some(_), None) => faults.add(
            "listen.tls_cert",
            "has no tls_key",
            "add tls_key, the certificate's key",
        ),
        (None, Some(_)) => faults.add(
            "listen.tls_key",
            "has no tls_cert",
            "add tls_cert, the certificate's chain",
        ),
        (None, None) if matches!(listen.tls, Some(ClientTls::Require | ClientTls::Allow)) => faults.add(
            "listen.tls",
            "needs a certificate",
            "add tls_cert and tls_key, or set tls = \"off\"",
        ),
        _ => {}
    }
    if listen.client_ca.is_some() && listen.effective_tls() != ClientTls::Require {
        faults.add(
            "listen.client_ca",
            "clients without TLS show no certificate",
            "set tls = \"require\", or remove client_ca",
        );
    }
}

fn upstream(upstream: &file::Upstream, faults: &mut Faults) {
    not_empty("upstream.host", &upstream.host, faults);
    not_empty("upstream.database", &upstream.database, faults);
    if upstream.port == 0 {
        faults.add("upstream.port", "is 0", "give the server's port, usually 5432");
    }
    if upstream.ca.is_some() && upstream.tls != UpstreamTls::VerifyFull {
        faults.add(
            "upstream.ca",
            "is not looked at in this TLS mode",
            "set tls = \"verify-full\", or remove ca",
        );
    }
    if upstream.host.starts_with('/') && matches!(upstream.tls, UpstreamTls::Require | UpstreamTls::VerifyFull) {
        faults.add(
            "upstream.tls",
            "a Unix socket has no TLS",
            "set tls = \"disable\", or give a host name",
        );
    }
}

/// Standards of Measures to Ensure Safety, article 8(1): at least a year; two from 50,000 data subjects on.
fn retention(class: &str, faults: &mut Faults) {
    const KNOWN: &str = "use \"access-2y\" (the default) or \"access-1y\"";
    if matches!(class, "access-2y" | "access-1y") {
        return;
    }
    let under_a_year = class.strip_prefix("access-").is_some_and(|period| {
        let (count, unit) = period.split_at(period.find(|c: char| !c.is_ascii_digit()).unwrap_or(period.len()));
        count.parse::<u32>().is_ok_and(|count| match unit {
            "y" => count < 1,
            "m" => count < 12,
            "w" => count < 52,
            "d" => count < 365,
            _ => false,
        })
    });
    let what = if under_a_year {
        format!("{class:?} keeps access records for less than the year that the law asks for")
    } else {
        format!("{class:?} is not a retention class of access records")
    };
    faults.add("journal.retention_class", what, KNOWN);
}

fn limits(limits: &file::Limits, faults: &mut Faults) {
    let mut at_least = |key: &str, value: u64, least: u64| {
        if value < least {
            faults.add(
                format!("limits.{key}"),
                format!("{value} is too small to work with"),
                format!("set at least {least}, or remove the line for the default"),
            );
        }
    };
    at_least("max_clients", limits.max_clients as u64, 1);
    at_least("max_statement_bytes", limits.max_statement_bytes as u64, 1024);
    at_least(
        "max_rewritten_message_bytes",
        limits.max_rewritten_message_bytes as u64,
        64 << 10,
    );
    at_least("max_prepared_bytes", limits.max_prepared_bytes as u64, 64 << 10);
    at_least("buffer_bytes", limits.buffer_bytes as u64, 8 << 10);
    at_least(
        "authentication_timeout_seconds",
        limits.authentication_timeout_seconds,
        1,
    );
    at_least("catalog_poll_seconds", limits.catalog_poll_seconds, 1);
    if limits.max_statement_bytes > plan::MAX_STATEMENT {
        faults.add(
            "limits.max_statement_bytes",
            "is greater than what pgward plans",
            format!("set at most {}", plan::MAX_STATEMENT),
        );
    }
    if limits.max_statement_bytes > limits.max_rewritten_message_bytes {
        faults.add(
            "limits.max_statement_bytes",
            "is greater than max_rewritten_message_bytes",
            "a statement is part of a message: make it smaller, or the other greater",
        );
    }
}
