//! How pgward logs in: its rights, its password, TLS.

use super::*;

#[tokio::test]
async fn a_role_without_rights_is_told_what_it_lacks() {
    let fixture = Fixture::trusting().await;
    let mut file = fixture.tcp();
    file.control.user = "powerless".into();
    let error = control::init(&file, &|_| declared()).await.unwrap_err();
    assert!(matches!(error, ControlError::MayNotCreateDatabase { .. }));
    assert!(
        explain(&error).contains("CREATE DATABASE \"pgward\" OWNER \"powerless\""),
        "{}",
        explain(&error)
    );
    assert!(!fixture.path("root.key").exists());
}

#[tokio::test]
async fn the_log_in_follows_the_password_file() {
    let fixture = Fixture::new(ClusterOptions {
        auth: Auth::ScramSha256,
        superuser_password: Some("superuser".into()),
        ..Default::default()
    })
    .await;
    let file = fixture.tcp();
    let client = control::connect(&file, "app").await.unwrap();
    let row = client.query_one("SHOW search_path", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "pg_catalog");
    control::connect(
        &fixture.file(&format!(
            "host = \"{}\"\ntls = \"verify-full\"",
            fixture.cluster.socket_directory().display()
        )),
        "app",
    )
    .await
    .unwrap();

    let path = fixture.path("password");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        control::connect(&file, "app").await,
        Err(ControlError::PasswordFile { .. })
    ));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "wrong").unwrap();
    let error = control::connect(&file, "app").await.err().unwrap();
    assert_eq!(error.sqlstate(), Some(&SqlState::INVALID_PASSWORD));
    assert!(!format!("{error:?}").contains("wrong\""));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(
        control::connect(&file, "app").await,
        Err(ControlError::PasswordFile { .. })
    ));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        control::connect(&file, "app").await,
        Err(ControlError::PasswordFile { .. })
    ));
}

/// A self-signed authority and a certificate of it for `localhost`, PEM: (authority, chain, key).
fn certificates() -> (String, String, String) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    (authority_certificate.pem(), certificate.pem(), key.serialize_pem())
}

#[tokio::test]
async fn tls_towards_the_server_is_as_the_policy_says() {
    let (authority, chain, key) = certificates();
    let fixture = Fixture::new(ClusterOptions {
        auth: Auth::ScramSha256,
        superuser_password: Some("superuser".into()),
        tls: Some((chain, key)),
        ..Default::default()
    })
    .await;
    let ca = fixture.path("ca.pem");
    std::fs::write(&ca, authority).unwrap();
    let other_ca = fixture.path("other.pem");
    std::fs::write(&other_ca, certificates().0).unwrap();
    let empty_ca = fixture.path("empty.pem");
    std::fs::write(&empty_ca, "").unwrap();

    let encrypted = async |upstream: String| {
        let client = control::connect(&fixture.file(&upstream), "app").await?;
        let row = client
            .query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[])
            .await
            .unwrap();
        Ok::<bool, ControlError>(row.get(0))
    };
    let verify = |host: &str, ca: &Path| format!("host = \"{host}\"\ntls = \"verify-full\"\nca = \"{}\"", ca.display());
    for (tls, expected) in [("disable", false), ("prefer", true), ("require", true)] {
        let upstream = format!("host = \"127.0.0.1\"\ntls = \"{tls}\"");
        assert_eq!(encrypted(upstream).await.unwrap(), expected, "{tls}");
    }
    assert!(encrypted(verify("localhost", &ca)).await.unwrap());
    // Another name, another authority, none.
    assert!(matches!(
        encrypted(verify("127.0.0.1", &ca)).await,
        Err(ControlError::Connect { .. })
    ));
    assert!(matches!(
        encrypted(verify("localhost", &other_ca)).await,
        Err(ControlError::Connect { .. })
    ));
    assert!(matches!(
        encrypted("host = \"localhost\"\ntls = \"verify-full\"".to_owned()).await,
        Err(ControlError::Connect { .. } | ControlError::Tls(_))
    ));
    assert!(matches!(
        encrypted(verify("localhost", &empty_ca)).await,
        Err(ControlError::Tls(_))
    ));
    assert!(matches!(
        encrypted(verify("localhost", &fixture.path("none"))).await,
        Err(ControlError::Tls(_))
    ));

    // A server without TLS: only `prefer` goes on.
    let plain = Fixture::trusting().await;
    for (tls, works) in [("prefer", true), ("require", false)] {
        let upstream = format!("host = \"127.0.0.1\"\ntls = \"{tls}\"");
        assert_eq!(
            control::connect(&plain.file(&upstream), "app").await.is_ok(),
            works,
            "{tls}"
        );
    }
}
