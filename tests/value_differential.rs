//! Holds `pgward::value` against a real PostgreSQL: for each type, what the server stores, shows and faults for the same bytes; and what it
//! calls equal. An `0A000` of pgward's own is a clean refusal: counted, printed, and kept few.

mod value_corpus;
mod value_server;

use pgward::value::{
    self, Format, LogicalType, Plaintext, TextStyle, ValueError, convert, convert_for_comparison, decode_for_comparison,
};
use value_corpus::{Random, dates, numbers, texts};
use value_server::{Raw, Server, bytes, normal, style};

const DATE_STYLES: [&str; 9] = [
    "ISO, MDY",
    "ISO, DMY",
    "ISO, YMD",
    "SQL, MDY",
    "SQL, DMY",
    "Postgres, MDY",
    "Postgres, DMY",
    "Postgres, YMD",
    "German, DMY",
];

#[tokio::test]
async fn text_types() {
    let mut server = Server::start().await;
    let mut random = Random::new(1);
    let inputs = texts(&mut random);
    let mut kept = Vec::new();
    for ty in [
        LogicalType::Text,
        LogicalType::Varchar(None),
        LogicalType::Varchar(Some(1)),
        LogicalType::Varchar(Some(5)),
        LogicalType::Char(1),
        LogicalType::Char(5),
    ] {
        let values = server.compare_all(ty, &inputs).await;
        for input in &inputs {
            server.compare(ty, Format::Binary, input).await;
        }
        kept.push((ty, values));
    }
    for (a, b) in [(0, 0), (0, 1), (1, 3), (2, 3), (5, 5), (4, 5)] {
        let (a, b) = (&kept[a], &kept[b]);
        server.compare_equality([a.0, b.0], [&a.1, &b.1], &mut random).await;
    }
    server.report(0);
}

#[tokio::test]
async fn integers_booleans_uuids_and_bytes() {
    let mut server = Server::start().await;
    let mut random = Random::new(2);
    let inputs = value_corpus::integers(&mut random);
    let mut kept = Vec::new();
    for ty in [LogicalType::Int2, LogicalType::Int4, LogicalType::Int8] {
        let values = server.compare_all(ty, &inputs).await;
        server.compare_damaged(ty, &values, &mut random).await;
        kept.push((ty, values));
    }
    for (a, b) in [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)] {
        let (a, b) = (&kept[a], &kept[b]);
        server.compare_equality([a.0, b.0], [&a.1, &b.1], &mut random).await;
    }
    for (ty, inputs) in [
        (LogicalType::Bool, value_corpus::booleans(&mut random)),
        (LogicalType::Uuid, value_corpus::uuids(&mut random)),
        (LogicalType::Bytea, value_corpus::byteas(&mut random)),
    ] {
        for bytea_hex in [true, false] {
            let style = TextStyle {
                bytea_hex,
                ..TextStyle::default()
            };
            server.set_style(style).await;
            let values = server.compare_all(ty, &inputs).await;
            server.compare_damaged(ty, &values, &mut random).await;
            server.compare_equality([ty, ty], [&values, &values], &mut random).await;
        }
    }
    server.report(0);
}

#[tokio::test]
async fn numerics() {
    let mut server = Server::start().await;
    let mut random = Random::new(3);
    let inputs = numbers(&mut random);
    for modifier in [
        None,
        Some((10, 2)),
        Some((4, 0)),
        Some((3, 5)),
        Some((3, -2)),
        Some((1000, 1000)),
        Some((38, 10)),
    ] {
        let ty = LogicalType::Numeric(modifier);
        let values = server.compare_all(ty, &inputs).await;
        server.compare_damaged(ty, &values, &mut random).await;
        server.compare_equality([ty, ty], [&values, &values], &mut random).await;
    }
    server.report(0);
}

#[tokio::test]
async fn doubles() {
    let mut server = Server::start().await;
    let mut random = Random::new(4);
    let ty = LogicalType::Float8;
    let inputs = numbers(&mut random);
    let values = server.compare_all(ty, &inputs).await;
    server.compare_equality([ty, ty], [&values, &values], &mut random).await;
    server.compare_damaged(ty, &values, &mut random).await;
    // Every power of two and of ten, their neighbours, and anything: the shortest digits must be the server's.
    let mut bits: Vec<u64> = (0..2047u64)
        .flat_map(|e| [e << 52, (e << 52) + 1, (e << 52).wrapping_sub(1) & !(1 << 63)])
        .collect();
    bits.extend((-320..=308).map(|e| format!("1e{e}").parse::<f64>().expect("a double").to_bits()));
    bits.extend((0..20_000).map(|_| random.word()));
    bits.extend((0..4_000).map(|_| ((random.word() >> 11) as f64 / 1000.0).to_bits()));
    for extra_float_digits in [1, 3, 0, -3, -14, -15] {
        let style = TextStyle {
            extra_float_digits,
            ..TextStyle::default()
        };
        server.set_style(style).await;
        let step = if extra_float_digits == 1 { 1 } else { 17 };
        for bits in bits.iter().step_by(step) {
            server.compare(ty, Format::Binary, &bits.to_be_bytes()).await;
        }
    }
    server.report(40);
}

#[tokio::test]
async fn dates_and_times() {
    let mut server = Server::start().await;
    let mut random = Random::new(5);
    let inputs = dates(&mut random);
    let zones = [
        "UTC",
        "Asia/Seoul",
        "America/New_York",
        "Europe/London",
        "<+09>-09",
        "Asia/Kolkata",
    ];
    for (index, date_style) in DATE_STYLES.iter().enumerate() {
        server.set_style(style(date_style, zones[index % zones.len()])).await;
        for ty in [
            LogicalType::Date,
            LogicalType::Timestamp(None),
            LogicalType::Timestamp(Some(3)),
            LogicalType::Timestamptz(None),
            LogicalType::Timestamptz(Some(0)),
        ] {
            let values = server.compare_all(ty, &inputs).await;
            server.compare_damaged(ty, &values, &mut random).await;
            server.compare_equality([ty, ty], [&values, &values], &mut random).await;
        }
    }
    // A hostile corpus: half of it is there to be refused.
    server.report(server.compared / 15);
}

#[tokio::test]
async fn time_zones() {
    let mut server = Server::start().await;
    let mut random = Random::new(6);
    let ty = LogicalType::Timestamptz(None);
    for zone in [
        "UTC",
        "GMT",
        "Etc/UTC",
        "Asia/Seoul",
        "Asia/Tokyo",
        "Asia/Kathmandu",
        "America/New_York",
        "America/Sao_Paulo",
        "America/St_Johns",
        "Europe/Dublin",
        "Europe/Moscow",
        "Europe/Berlin",
        "Africa/Casablanca",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Antarctica/Troll",
        "EST5EDT",
        "<+09>-09",
        "<-03:30>+03:30",
    ] {
        for date_style in ["ISO, MDY", "SQL, DMY", "Postgres, MDY", "German, DMY"] {
            server.set_style(style(date_style, zone)).await;
            for _ in 0..150 {
                // From 1970 to 2024: before and after, releases and builds of the time zone database differ.
                let micros = -946_684_800_000_000 + (random.word() % 1_735_000_000_000_000) as i64;
                server.compare(ty, Format::Binary, &micros.to_be_bytes()).await;
            }
            for year in [4000, 9000, 9999, 15000, 290_000]
                .into_iter()
                .filter(|_| zone != "Africa/Casablanca")
            {
                let text = format!("{year}-07-05 12:00");
                server.compare(ty, Format::Text, text.as_bytes()).await;
            }
        }
        server.set_style(style("ISO, MDY", zone)).await;
        // Around the changes of clocks, as local times.
        for (year, month) in [
            (2011, 12),
            (2014, 10),
            (2018, 2),
            (2018, 11),
            (2024, 3),
            (2024, 4),
            (2024, 10),
            (2024, 11),
        ] {
            for _ in 0..150 {
                let (day, hour, minute) = (1 + random.below(31), random.below(5), random.below(60));
                let text = format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}");
                server.compare(ty, Format::Text, text.as_bytes()).await;
            }
        }
    }
    server.report(0);
}

#[tokio::test]
async fn json_documents() {
    let mut server = Server::start().await;
    let mut random = Random::new(7);
    let inputs = value_corpus::documents(&mut random);
    for ty in [LogicalType::Json, LogicalType::Jsonb] {
        let values = server.compare_all(ty, &inputs).await;
        server.compare_damaged(ty, &values, &mut random).await;
    }
    server.report(0);
}

/// A parameter of another type against a column: found exactly where the server finds it, stored as the server stores it.
#[tokio::test]
async fn parameters_of_other_types() {
    let mut server = Server::start().await;
    let texts: Vec<String> = [
        "",
        "a",
        "abc",
        "abc  ",
        "abcdef",
        "abcde   ",
        "1",
        "1.50",
        "32767",
        "32768",
        "2147483648",
        "-0",
    ]
    .map(str::to_owned)
    .to_vec();
    use LogicalType::*;
    let columns = [
        Text,
        Varchar(Some(5)),
        Char(5),
        Int2,
        Int4,
        Int8,
        Numeric(Some((6, 2))),
        Numeric(None),
        Float8,
        Timestamp(Some(0)),
        Json,
        Jsonb,
    ];
    let given = [Text, Varchar(None), Int2, Int4, Int8, Date, Json, Jsonb];
    let mut tried = 0;
    for column in columns {
        for parameter in given {
            let Some(read_as) = column.accepts_parameter(parameter.oid()) else {
                continue;
            };
            let mut inputs = texts.clone();
            inputs.extend(["2024-01-05", "infinity", "{\"b\":1,\"a\":2}", "99999999"].map(str::to_owned));
            for input in &inputs {
                let mut raw = Plaintext::default();
                if value::decode(parameter, Format::Text, input.as_bytes(), &server.style, &mut raw).is_err() {
                    continue;
                }
                tried += 1;
                assignment(&mut server, column, parameter, read_as, &raw).await;
                if column.has_equality() && parameter.has_equality() {
                    comparison(&mut server, column, parameter, read_as, &raw, &inputs).await;
                }
            }
        }
    }
    assert!(tried > 200, "{tried}");
}

async fn assignment(
    server: &mut Server,
    column: LogicalType,
    parameter: LogicalType,
    read_as: LogicalType,
    raw: &[u8],
) {
    let table = format!("assigned_{}", column.oid());
    let sql = format!(
        "CREATE TEMP TABLE IF NOT EXISTS {table} (v {0}); TRUNCATE {table}",
        column.to_sql()
    );
    server.client.batch_execute(&sql).await.expect("a table");
    let sql = format!("INSERT INTO {table} VALUES ($1::{}) RETURNING v", parameter.to_sql());
    let statement = server.client.prepare(&sql).await.expect("an insertion");
    let theirs = match server.client.query_one(&statement, &[&Raw(Format::Binary, raw)]).await {
        Ok(row) => Ok(bytes(&row, 0)),
        Err(error) => Err(error.code().expect("a code").code().to_owned()),
    };
    let ours = read(server, column, read_as, raw, false).map(|(_, canonical)| canonical);
    let ours = ours.map_err(|error| error.sqlstate.to_string());
    assert_eq!(ours, theirs, "{} into {}: {raw:?}", parameter.to_sql(), column.to_sql());
    server
        .client
        .batch_execute(&format!("DROP TABLE {table}"))
        .await
        .expect("gone");
}

async fn comparison(
    server: &mut Server,
    column: LogicalType,
    parameter: LogicalType,
    read_as: LogicalType,
    raw: &[u8],
    stored: &[String],
) {
    let sql = format!("SELECT $1::{} = $2::{}", column.to_sql(), parameter.to_sql());
    let statement = server.client.prepare(&sql).await.expect("a comparison");
    for text in stored {
        let mut canonical = Plaintext::default();
        if value::decode(column, Format::Text, text.as_bytes(), &server.style, &mut canonical).is_err() {
            continue;
        }
        let row = server
            .client
            .query_one(
                &statement,
                &[&Raw(Format::Binary, &canonical), &Raw(Format::Binary, raw)],
            )
            .await
            .expect("an answer");
        let theirs: bool = row.get(0);
        match read(server, column, read_as, raw, true) {
            Ok((ty, given)) => {
                let ours = normal(column, &canonical) == normal(ty, &given);
                assert_eq!(
                    ours,
                    theirs,
                    "{} {text:?} = {} {raw:?}",
                    column.to_sql(),
                    parameter.to_sql()
                );
            }
            Err(error) => assert_eq!(error.sqlstate.as_str(), "0A000"),
        }
    }
}

fn read(
    server: &Server,
    column: LogicalType,
    read_as: LogicalType,
    raw: &[u8],
    compared: bool,
) -> Result<(LogicalType, Vec<u8>), ValueError> {
    let (mut first, mut second) = (Plaintext::default(), Plaintext::default());
    if read_as == column {
        if compared {
            decode_for_comparison(column, Format::Binary, raw, &server.style, &mut first)?;
        } else {
            value::decode(column, Format::Binary, raw, &server.style, &mut first)?;
        }
        return Ok((column, first.to_vec()));
    }
    value::decode(read_as, Format::Binary, raw, &server.style, &mut first)?;
    let ty = if compared {
        convert_for_comparison(read_as, column, &first, &mut second)?
    } else {
        convert(read_as, column, &first, &mut second)?;
        column
    };
    Ok((ty, second.to_vec()))
}

/// What the catalog says of the types.
#[tokio::test]
async fn catalog_numbers_and_names() {
    let server = Server::start().await;
    for written in [
        "text",
        "varchar",
        "varchar(320)",
        "character varying (7)",
        "char",
        "char(3)",
        "CHARACTER(12)",
        "bpchar(4)",
        "int2",
        "smallint",
        "int",
        "INTEGER",
        "int4",
        "bigint",
        "int8",
        "numeric",
        "numeric(5)",
        "decimal(10, 2)",
        "dec(3,-2)",
        "numeric(3,5)",
        "float8",
        "float",
        "float(53)",
        "double  precision",
        "bool",
        "boolean",
        "date",
        "timestamp",
        "timestamp(3)",
        "timestamp without time zone",
        "timestamp(0) without time zone",
        "timestamptz",
        "timestamptz(2)",
        "timestamp with time zone",
        "timestamp ( 3 ) with time zone",
        "timestamp(9)",
        "uuid",
        "bytea",
        "json",
        "jsonb",
        "pg_catalog.int4",
        "char varying(2)",
    ] {
        let ty = LogicalType::from_sql(written).expect(written);
        server
            .client
            .batch_execute(&format!("CREATE TEMP TABLE named (v {written})"))
            .await
            .expect(written);
        let row = server
            .client
            .query_one(
                "SELECT atttypid, atttypmod, typlen, format_type(atttypid, atttypmod) FROM pg_attribute JOIN pg_type t ON t.oid = atttypid \
                 WHERE attrelid = 'named'::regclass AND attname = 'v'",
                &[],
            )
            .await
            .expect("the column");
        let (oid, typmod, typlen, name): (u32, i32, i16, String) = (row.get(0), row.get(1), row.get(2), row.get(3));
        assert_eq!(
            (ty.oid(), ty.typmod(), ty.typlen(), ty.to_sql()),
            (oid, typmod, typlen, name.clone()),
            "{written}"
        );
        assert_eq!(LogicalType::from_catalog(oid, typmod), Some(ty), "{written}");
        assert_eq!(LogicalType::from_sql(&name), Some(ty), "{written}");
        server.client.batch_execute("DROP TABLE named").await.expect("gone");
    }
    for other in [
        "money",
        "text[]",
        "varchar(0)",
        "numeric(1001)",
        "timestamp(-1)",
        "int with time zone",
        "\"char\"",
        "float(24)",
        "int(4)",
        "bpchar",
    ] {
        assert_eq!(LogicalType::from_sql(other), None, "{other}");
    }
}
