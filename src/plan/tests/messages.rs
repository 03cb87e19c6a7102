//! What refusals tell people to do.

use super::*;

fn refusal(sql: &str) -> (String, String) {
    match &planned(sql, &[]).statements[0].action {
        Action::Refuse(refused) => {
            assert_eq!(refused.refusal.reason, Reason::KeyDomain, "{sql}");
            let hint = refused.refusal.hint.clone().expect("a hint");
            (refused.refusal.message.clone(), hint)
        }
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn who_shares_a_key_domain_is_not_told_to_share_one() {
    // customers.email and contacts.email are of one domain.
    for (sql, advice) in [
        (
            "INSERT INTO customers (id, email) SELECT id, email FROM contacts",
            "write them back",
        ),
        (
            "UPDATE customers SET email = c.email FROM contacts c",
            "write them back",
        ),
        (
            "SELECT email FROM customers UNION ALL SELECT email FROM contacts",
            "statement of its own",
        ),
        ("SELECT 1 FROM customers JOIN contacts USING (email)", "Join with ON"),
        ("SELECT 1 FROM customers NATURAL JOIN contacts", "Join with ON"),
    ] {
        let (message, hint) = refusal(sql);
        assert!(message.contains("names its column"), "{sql}: {message}");
        for column in ["customers.email", "contacts.email"] {
            assert!(message.contains(column), "{sql}: {message}");
        }
        assert!(hint.contains(advice) && !hint.contains("Give both"), "{sql}: {hint}");
    }
    // What can't be told apart by key.
    for sql in [
        "SELECT 1 FROM customers WHERE email = phone",
        "SELECT 1 FROM customers a JOIN contacts b ON a.phone = b.email",
    ] {
        let (message, hint) = refusal(sql);
        assert!(message.contains("under another key"), "{sql}: {message}");
        assert!(hint.contains("the same key_domain"), "{sql}: {hint}");
    }
}
