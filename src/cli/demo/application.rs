//! The part of the application that knows nothing of pgward: plain SQL and parameters, as any program sends them.

use super::people::{Person, people};
use super::stage::Fault;
use bytes::{BufMut, BytesMut};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// Customers an INSERT.
const BATCH: usize = 100;

const SCHEMA: &str = "
CREATE TABLE customers (
    id            integer PRIMARY KEY,
    email         varchar(320) NOT NULL UNIQUE,
    name          text NOT NULL,
    mobile_phone  text,
    organisation  text,
    country       text NOT NULL,
    postal_code   text,
    birth_date    date,
    access_ip     text,
    joined_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX customers_mobile_phone ON customers (mobile_phone);
CREATE TABLE orders (
    id           integer PRIMARY KEY,
    customer_id  integer NOT NULL REFERENCES customers (id),
    item         text NOT NULL,
    amount       integer NOT NULL,
    placed_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_customer ON orders (customer_id);
GRANT SELECT ON customers, orders TO support, marketing, analyst";

/// A date as a parameter: days since 2000-01-01 in binary format.
#[derive(Debug)]
struct SqlDate(Date);

impl ToSql for SqlDate {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Fault> {
        out.put_i32((self.0 - jiff::civil::date(2000, 1, 1)).get_days());
        Ok(IsNull::No)
    }
    fn accepts(ty: &Type) -> bool {
        *ty == Type::DATE
    }
    to_sql_checked!();
}

/// Creates the tables.
pub async fn create_tables(client: &Client) -> Result<(), Fault> {
    Ok(client.batch_execute(SCHEMA).await?)
}

/// Loads the customers, with a progress bar, and two orders a customer; how long it took.
pub async fn load(client: &mut Client, count: usize) -> Result<Duration, Fault> {
    let start = Instant::now();
    let bar = ProgressBar::new(count as u64);
    bar.set_style(ProgressStyle::with_template(
        "   {bar:40} {pos:>6}/{len} customers  {per_sec}",
    )?);
    let all: Vec<Person> = people(count).collect();
    let transaction = client.transaction().await?;
    for batch in all.chunks(BATCH) {
        insert(&transaction, batch).await?;
        bar.inc(batch.len() as u64);
    }
    transaction.commit().await?;
    bar.finish_and_clear();
    client
        .batch_execute(&format!(
            "INSERT INTO orders (id, customer_id, item, amount)
             SELECT g, 1 + g::bigint * 7919 % {count}, (ARRAY['coffee', 'tea', 'honey', 'rice', 'salt'])[1 + g % 5], 1000 + g % 97 * 100
             FROM generate_series(1, {}) g",
            count * 2
        ))
        .await?;
    Ok(start.elapsed())
}

async fn insert(transaction: &tokio_postgres::Transaction<'_>, batch: &[Person]) -> Result<(), Fault> {
    let rows: Vec<String> = (0..batch.len())
        .map(|row| {
            let places: Vec<String> = (1..=9).map(|place| format!("${}", row * 9 + place)).collect();
            format!("({})", places.join(", "))
        })
        .collect();
    let sql = format!(
        "INSERT INTO customers (id, email, name, mobile_phone, organisation, country, postal_code, birth_date, access_ip) VALUES {}",
        rows.join(", ")
    );
    let dates: Vec<SqlDate> = batch.iter().map(|p| SqlDate(p.birth)).collect();
    let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(batch.len() * 9);
    for (person, birth) in batch.iter().zip(&dates) {
        parameters.extend::<[&(dyn ToSql + Sync); 9]>([
            &person.id,
            &person.email,
            &person.name,
            &person.phone,
            &person.organisation,
            &person.country,
            &person.postal_code,
            birth,
            &person.access_ip,
        ]);
    }
    let inserted = transaction.execute(&sql, &parameters).await?;
    expect("rows inserted", &inserted, &(batch.len() as u64))
}

/// Looks customers up by e-mail, one after the other; the median time of a look-up.
pub async fn look_up(client: &Client, count: usize) -> Result<Duration, Fault> {
    let statement = client
        .prepare("SELECT id, name, mobile_phone FROM customers WHERE email = $1")
        .await?;
    let mut times = Vec::new();
    for person in people(count).step_by((count / 200).max(1)) {
        let start = Instant::now();
        let row = client.query_one(&statement, &[&person.email]).await?;
        times.push(start.elapsed());
        expect("id", &row.try_get::<_, i32>(0)?, &person.id)?;
        expect("name", &row.try_get::<_, String>(1)?, &person.name)?;
        expect("phone", &row.try_get::<_, String>(2)?, &person.phone)?;
    }
    if client.query_opt(&statement, &[&"nobody@example.com"]).await?.is_some() {
        return Err("a customer was found who does not exist".into());
    }
    times.sort();
    times
        .get(times.len() / 2)
        .copied()
        .ok_or_else(|| "no customer to look up".into())
}

/// Joins orders with their customer; what stands in the first of them.
pub async fn join(client: &Client, person: &Person) -> Result<Vec<(i32, String, i32, String)>, Fault> {
    let rows = client
        .query(
            "SELECT o.id, o.item, o.amount, c.name FROM orders o JOIN customers c ON c.id = o.customer_id
             WHERE c.email = $1 ORDER BY o.id",
            &[&person.email],
        )
        .await?;
    let mut orders = Vec::new();
    for row in rows {
        let name: String = row.try_get(3)?;
        expect("name in the join", &name, &person.name)?;
        orders.push((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, name));
    }
    expect("orders of a customer", &orders.len(), &2)?;
    Ok(orders)
}

/// Changes a customer's phone number and finds him by the new one.
pub async fn update(client: &Client, person: &Person, phone: &str) -> Result<(), Fault> {
    let row = client
        .query_one(
            "UPDATE customers SET mobile_phone = $1 WHERE email = $2 RETURNING id",
            &[&phone, &person.email],
        )
        .await?;
    expect("id", &row.try_get::<_, i32>(0)?, &person.id)?;
    let row = client
        .query_one("SELECT email FROM customers WHERE mobile_phone = $1", &[&phone])
        .await?;
    expect("e-mail", &row.try_get::<_, String>(0)?, &person.email)
}

/// Registers an address a second time: what PostgreSQL's constraint says to that.
pub async fn duplicate(client: &Client, person: &Person) -> Result<String, Fault> {
    let sql = "INSERT INTO customers (id, email, name, country) VALUES (0, $1, 'twice', 'KR')";
    match client.execute(sql, &[&person.email]).await {
        Ok(_) => Err("an e-mail address could be registered twice".into()),
        Err(error) => error_of(&error, "23505"),
    }
}

/// The message of a database error that must have this SQLSTATE.
pub fn error_of(error: &tokio_postgres::Error, sqlstate: &str) -> Result<String, Fault> {
    let Some(db) = error.as_db_error() else {
        return Err(format!("expected SQLSTATE {sqlstate}, got: {error}").into());
    };
    expect("SQLSTATE", &db.code().code(), &sqlstate)?;
    let hint = db
        .hint()
        .map(|hint| format!("\n      hint: {hint}"))
        .unwrap_or_default();
    Ok(format!("{}: {}{hint}", db.code().code(), db.message()))
}

/// A step must have shown what it says.
pub fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), Fault> {
    if found == expected {
        return Ok(());
    }
    // Demo data is invented: it may be shown.
    Err(format!("{what}: found {found:?}, expected {expected:?}").into())
}
