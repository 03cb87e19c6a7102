//! A throw-away server that is asked what it makes of values, and the comparison with pgward's answers.

use crate::value_corpus::Random;
use bytes::BytesMut;
use pgward::cli::cluster::{Cluster, ClusterOptions};
use pgward::value::{self, Format, LogicalType, Plaintext, TextStyle};
use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use std::collections::BTreeMap;
use std::error::Error;
use tokio_postgres::{Client, NoTls, Row, Statement};

/// A parameter's bytes as they are.
#[derive(Debug)]
pub struct Raw<'a>(pub Format, pub &'a [u8]);

impl ToSql for Raw<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.1);
        Ok(IsNull::No)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    fn encode_format(&self, _: &Type) -> postgres_types::Format {
        match self.0 {
            Format::Text => postgres_types::Format::Text,
            Format::Binary => postgres_types::Format::Binary,
        }
    }
    to_sql_checked!();
}

/// A result's bytes as they are.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

pub fn bytes(row: &Row, column: usize) -> Vec<u8> {
    row.get::<_, Bytes<'_>>(column).0.to_vec()
}

/// A throw-away server and a connection to it.
pub struct Server {
    pub client: Client,
    /// Of its version.
    major: u16,
    pub style: TextStyle,
    probes: BTreeMap<String, Statement>,
    refused: BTreeMap<String, usize>,
    pub compared: usize,
    differences: Vec<String>,
    _cluster: Cluster,
}

/// What either side answers: canonical and text form, or SQLSTATE and message.
type Answer = Result<(Vec<u8>, String), (String, String)>;

impl Server {
    pub async fn start() -> Self {
        let cluster = Cluster::start(ClusterOptions::default()).expect("a throw-away cluster");
        let (client, connection) = tokio_postgres::connect(&cluster.superuser_connection_string("postgres"), NoTls)
            .await
            .expect("log-in");
        tokio::spawn(connection);
        let version: i32 = client
            .query_one("SELECT current_setting('server_version_num')::int", &[])
            .await
            .expect("a version")
            .get(0);
        let mut server = Self {
            client,
            major: u16::try_from(version / 10_000).expect("a version"),
            style: TextStyle::default(),
            probes: BTreeMap::new(),
            refused: BTreeMap::new(),
            compared: 0,
            differences: Vec::new(),
            _cluster: cluster,
        };
        server.set_style(TextStyle::default()).await;
        server
    }

    pub async fn set_style(&mut self, mut style: TextStyle) {
        style.server_major = self.major;
        let sql = format!(
            "SET DateStyle = '{}'; SET TimeZone = '{}'; SET bytea_output = {}; SET extra_float_digits = {}",
            style.date_style,
            style.time_zone,
            if style.bytea_hex { "hex" } else { "escape" },
            style.extra_float_digits
        );
        self.client.batch_execute(&sql).await.expect("settings");
        self.style = style;
    }

    async fn probe(&mut self, sql: &str) -> Statement {
        if let Some(statement) = self.probes.get(sql) {
            return statement.clone();
        }
        let statement = self.client.prepare(sql).await.expect(sql);
        self.probes.insert(sql.to_owned(), statement.clone());
        statement
    }

    /// What the server stores in a column of the type, and how it shows it.
    async fn stored(&mut self, ty: LogicalType, format: Format, input: &[u8]) -> Answer {
        let name = ty.to_sql();
        let table = format!(
            "probe_{:x}",
            name.bytes().fold(7u64, |h, b| h.wrapping_mul(31) ^ u64::from(b))
        );
        if !self
            .probes
            .contains_key(&format!("INSERT INTO {table} VALUES ($1) RETURNING v, format('%s', v)"))
        {
            self.client
                .batch_execute(&format!("CREATE TEMP TABLE {table} (v {name})"))
                .await
                .expect("a table");
        }
        let statement = self
            .probe(&format!("INSERT INTO {table} VALUES ($1) RETURNING v, format('%s', v)"))
            .await;
        match self.client.query_one(&statement, &[&Raw(format, input)]).await {
            Ok(row) => Ok((
                bytes(&row, 0),
                String::from_utf8(bytes(&row, 1)).expect("text is UTF-8"),
            )),
            Err(error) => {
                let error = error.as_db_error().expect("an error of the server's");
                Err((error.code().code().to_owned(), error.message().to_owned()))
            }
        }
    }

    /// Compares one input; where pgward neither agrees nor refuses, that is a difference.
    pub async fn compare(&mut self, ty: LogicalType, format: Format, input: &[u8]) -> Option<Vec<u8>> {
        let theirs = self.stored(ty, format, input).await;
        let mut canonical = Plaintext::default();
        let decoded = value::decode(ty, format, input, &self.style, &mut canonical);
        let ours = decoded.and_then(|()| {
            let (mut binary, mut text) = (BytesMut::new(), BytesMut::new());
            value::encode(ty, Format::Binary, &canonical, &self.style, &mut binary)?;
            value::encode(ty, Format::Text, &canonical, &self.style, &mut text)?;
            assert_eq!(binary, canonical[..]);
            Ok((
                binary.to_vec(),
                String::from_utf8(text.to_vec()).expect("text is UTF-8"),
            ))
        });
        self.compared += 1;
        let shown = String::from_utf8_lossy(input);
        match (ours, theirs) {
            (Err(refusal), _) if refusal.sqlstate.as_str() == "0A000" => {
                let example = format!("{}: {}", ty.to_sql(), refusal.message);
                *self.refused.entry(example).or_default() += 1;
                None
            }
            (Ok(ours), Ok(theirs)) if ours == theirs => Some(ours.0),
            (Err(ours), Err((code, message)))
                if ours.sqlstate.as_str() == code && ours.message == without_value(&message) =>
            {
                None
            }
            (ours, theirs) => {
                self.differences.push(format!(
                    "{} {format:?} {shown:?} {:?} {}:\n    ours   {ours:?}\n    theirs {theirs:?}",
                    ty.to_sql(),
                    self.style.date_style,
                    self.style.time_zone
                ));
                None
            }
        }
    }

    pub async fn compare_all<T: AsRef<[u8]>>(&mut self, ty: LogicalType, inputs: &[T]) -> Vec<Vec<u8>> {
        let mut values = Vec::new();
        for input in inputs {
            if let Some(canonical) = self.compare(ty, Format::Text, input.as_ref()).await {
                values.push(canonical);
            }
        }
        // What rounding brought just past the last timestamp is shown, but not taken back.
        let mut taken = Vec::new();
        for canonical in values {
            taken.extend(self.compare(ty, Format::Binary, &canonical).await);
        }
        taken
    }

    /// Damaged binary forms must be faulted alike.
    pub async fn compare_damaged(&mut self, ty: LogicalType, values: &[Vec<u8>], random: &mut Random) {
        for value in values {
            let mut damaged = value.clone();
            match random.below(3) {
                0 => damaged.truncate(random.below(value.len() + 1)),
                1 => damaged.push(random.byte()),
                _ if !damaged.is_empty() => {
                    let at = random.below(damaged.len());
                    damaged[at] = random.byte();
                }
                _ => {}
            }
            self.compare(ty, Format::Binary, &damaged).await;
        }
    }

    /// What the server says of `a::left = b::right`.
    async fn equal(&mut self, left: LogicalType, a: &[u8], right: LogicalType, b: &[u8]) -> bool {
        let base = |ty: LogicalType| match ty {
            LogicalType::Char(_) => "bpchar".to_owned(),
            ty => ty.to_sql().split('(').next().unwrap_or_default().to_owned() + zone_of(ty),
        };
        let statement = self
            .probe(&format!("SELECT $1::{} = $2::{}", base(left), base(right)))
            .await;
        let row = self
            .client
            .query_one(&statement, &[&Raw(Format::Binary, a), &Raw(Format::Binary, b)])
            .await
            .expect("a comparison");
        row.get(0)
    }

    /// Equal normal forms exactly where the server says `=`.
    pub async fn compare_equality(&mut self, types: [LogicalType; 2], values: [&[Vec<u8>]; 2], random: &mut Random) {
        let mut equal = 0;
        let rounds = 600;
        for _ in 0..rounds {
            let pick = |values: &[Vec<u8>], random: &mut Random| values[random.below(values.len())].clone();
            let (a, mut b) = (pick(values[0], random), pick(values[1], random));
            if random.below(4) == 0 && types[0] == types[1] {
                b.clone_from(&a);
            }
            let theirs = self.equal(types[0], &a, types[1], &b).await;
            let ours = normal(types[0], &a) == normal(types[1], &b);
            assert_eq!(ours, theirs, "{types:?} {a:?} = {b:?}");
            equal += usize::from(theirs);
        }
        assert!(
            equal > 0 && equal < rounds,
            "{types:?}: {equal} of {rounds} pairs were equal"
        );
    }

    pub fn report(&self, most_refused: usize) {
        // Forms that are read since 16 only, and refused there, are in the corpus as what 15 does not read.
        let newer = |why: &&String| why.contains("not all versions of PostgreSQL read alike");
        let newer: usize = self.refused.iter().filter(|(why, _)| newer(why)).map(|(_, n)| n).sum();
        assert!(newer == 0 || self.major >= 16, "{newer} refused on {}", self.major);
        let refused: usize = self.refused.values().sum::<usize>() - newer;
        println!("{} values compared, {refused} refused", self.compared);
        let shown = self.differences.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
        assert!(
            self.differences.is_empty(),
            "{} differences:\n{shown}",
            self.differences.len()
        );
        for (why, count) in &self.refused {
            println!("  {count:5} {why}");
        }
        assert!(
            refused <= most_refused,
            "{refused} values refused, {most_refused} allowed"
        );
    }
}

fn zone_of(ty: LogicalType) -> &'static str {
    match ty {
        LogicalType::Timestamptz(Some(_)) => " with time zone",
        _ => "",
    }
}

pub fn normal(ty: LogicalType, canonical: &[u8]) -> Vec<u8> {
    let mut out = Plaintext::default();
    value::normalise(ty, canonical, &mut out).expect("a canonical value");
    out.to_vec()
}

/// The server's message without what it says of the value.
fn without_value(message: &str) -> String {
    let mut text = message.to_owned();
    if text.starts_with("invalid byte sequence") {
        return "invalid byte sequence for encoding \"UTF8\"".into();
    }
    if text.starts_with("incorrect binary data format") {
        return "incorrect binary data format in bind parameter".into();
    }
    if text.starts_with("unsupported jsonb version number") {
        return "unsupported jsonb version number".into();
    }
    if text.starts_with("invalid hexadecimal digit") {
        return "invalid hexadecimal digit".into();
    }
    if text.starts_with("no data left in message") {
        return "insufficient data left in message".into();
    }
    if text.ends_with("not recognized") && text.starts_with("time zone") {
        return "time zone not recognized".into();
    }
    if text.contains("\" is out of range for type") {
        let kind = text.rsplit("type ").next().unwrap_or_default();
        return format!("value is out of range for type {kind}");
    }
    if let Some(at) = text.find(": \"") {
        text.truncate(at);
    }
    text
}

pub fn style(date_style: &str, time_zone: &str) -> TextStyle {
    TextStyle {
        date_style: date_style.into(),
        time_zone: time_zone.into(),
        ..TextStyle::default()
    }
}
