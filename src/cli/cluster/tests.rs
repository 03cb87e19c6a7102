use super::*;

#[test]
fn starts_keeps_data_over_a_restart_and_leaves_nothing_behind() {
    let mut cluster = Cluster::start(ClusterOptions::default()).expect("a cluster");
    cluster.create_database("app").expect("a database");
    cluster
        .sql("app", "CREATE TABLE t (a int); INSERT INTO t VALUES (42)")
        .expect("a table");
    let port = cluster.port();
    cluster.restart().expect("a restart");
    assert_eq!(cluster.port(), port);
    assert_eq!(cluster.sql("app", "SELECT a FROM t").expect("rows"), "42");
    let dir = cluster.socket_directory().to_owned();
    assert!(dir.exists());
    drop(cluster);
    assert!(!dir.exists());
    assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
}

#[test]
fn asks_for_the_password_that_it_was_given() {
    for auth in [Auth::ScramSha256, Auth::Md5, Auth::Password] {
        let cluster = Cluster::start(ClusterOptions {
            auth,
            ..Default::default()
        })
        .expect("a cluster");
        cluster.create_role("app", Some("o'right")).expect("a role");
        let log_in = |password: &str| {
            let mut psql = cluster.installation().command("psql");
            psql.arg("--no-psqlrc")
                .arg("--no-password")
                .arg(cluster.connection_string("app", "postgres"));
            psql.args(["-Atc", "SELECT current_user"])
                .env("PGPASSWORD", password)
                .output()
                .expect("psql")
        };
        assert_eq!(log_in("o'right").stdout, b"app\n", "{auth:?}");
        assert!(!log_in("wrong").status.success(), "{auth:?}");
    }
}

#[test]
fn says_what_a_bad_setting_is() {
    let options = ClusterOptions {
        settings: vec![("work_mem".into(), "much".into())],
        ..Default::default()
    };
    let error = Cluster::start(options).expect_err("no cluster");
    assert!(error.to_string().contains("work_mem"), "{error}");
}
