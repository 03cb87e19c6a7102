//! The same query as different people see it, side by side; and what pgward does not let through.

use super::application::{error_of, expect};
use super::people::Person;
use super::stage::{Fault, Stage};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use tokio_postgres::{Client, SimpleQueryMessage};

/// What everyone asks.
const COLUMNS: [&str; 6] = [
    "name",
    "email",
    "mobile_phone",
    "postal_code",
    "birth_date",
    "access_ip",
];
/// Customers that are asked for.
const SHOWN: usize = 3;

/// With the id: the records then tell whose data was seen.
fn query() -> String {
    format!(
        "SELECT id, {} FROM customers WHERE id <= {SHOWN} ORDER BY id",
        COLUMNS.join(", ")
    )
}

type Rows = Vec<Vec<String>>;

async fn rows(client: &Client) -> Result<Rows, tokio_postgres::Error> {
    let messages = client.simple_query(&query()).await?;
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (1..row.len())
                    .map(|i| row.get(i).unwrap_or("NULL").to_owned())
                    .collect(),
            ),
            _ => None,
        })
        .collect())
}

/// Asks as each of them, checks what each must see, and draws it.
pub async fn side_by_side(stage: &Stage, people: &[Person]) -> Result<String, Fault> {
    let people = people.get(..SHOWN).ok_or("too few customers")?;
    let database = rows(&stage.around("postgres").await?).await?;
    let support = rows(&stage.through("support").await?).await?;
    let marketing = rows(&stage.through("marketing").await?).await?;
    let refused = match rows(&stage.through("analyst").await?).await {
        Ok(_) => return Err("the analyst, who has no grant, was answered".into()),
        Err(error) => error_of(&error, "42501")?,
    };
    check(people, &database, &support, &marketing)?;
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["id", "column", "in the database", "support sees", "marketing sees"]);
    let views = database.iter().zip(&support).zip(&marketing);
    for (person, ((database, support), marketing)) in people.iter().zip(views) {
        for (n, column) in COLUMNS.iter().enumerate() {
            let cell = |row: &[String]| row.get(n).cloned().unwrap_or_default();
            let id = if n == 0 { person.id.to_string() } else { String::new() };
            table.add_row([
                id,
                (*column).to_owned(),
                shorten(&cell(database)),
                cell(support),
                cell(marketing),
            ]);
        }
    }
    Ok(format!("{}\n{table}\nThe analyst gets no row:\n   {refused}", query()))
}

/// Support: clear what the purpose needs, masked the rest. Marketing: nothing in clear. Database: envelopes.
fn check(people: &[Person], database: &Rows, support: &Rows, marketing: &Rows) -> Result<(), Fault> {
    for (n, person) in people.iter().enumerate() {
        let birth = person.birth.to_string();
        let values = [
            &person.name,
            &person.email,
            &person.phone,
            &person.postal_code,
            &birth,
            &person.access_ip,
        ];
        let row = |rows: &Rows| rows.get(n).cloned().ok_or("a row is missing");
        let (database, support, marketing) = (row(database)?, row(support)?, row(marketing)?);
        let cells = database.iter().zip(&support).zip(&marketing).zip(values).enumerate();
        for (column, (((database, support), marketing), value)) in cells {
            let name = COLUMNS.get(column).copied().unwrap_or_default();
            expect("in the database an envelope", &database.starts_with("\\xfa"), &true)?;
            match name {
                "name" | "email" | "mobile_phone" => expect("what support sees", support, value)?,
                "birth_date" => expect(
                    "what support sees",
                    support,
                    &format!("{:04}-01-01", person.birth.year()),
                )?,
                _ => expect("support sees a mask", &(support != value), &true)?,
            }
            // The first of January is its own mask.
            let masked = marketing != value || (name == "birth_date" && value.ends_with("-01-01"));
            expect("marketing sees a mask", &masked, &true)?;
        }
    }
    Ok(())
}

fn shorten(value: &str) -> String {
    let start: String = value.chars().take(20).collect();
    format!("{start}… ({} bytes)", value.len().saturating_sub(2) / 2)
}

/// What is not carried out: each with what the client is told.
pub async fn refused(stage: &Stage) -> Result<Vec<(String, String)>, Fault> {
    let shop = stage.through("shop").await?;
    let support = stage.through("support").await?;
    let around = stage.around("shop").await?;
    let attempts = [
        (
            &shop,
            "the shop",
            "SELECT id FROM customers WHERE name LIKE '김%'",
            "0A000",
        ),
        (
            &support,
            "support",
            "UPDATE customers SET name = 'x' WHERE id = 1",
            "42501",
        ),
        (
            &support,
            "support",
            "SELECT id FROM customers WHERE postal_code = '06236'",
            "",
        ),
        (
            &around,
            "the shop, around pgward",
            "UPDATE customers SET name = 'in clear' WHERE id = 1",
            "23514",
        ),
    ];
    let mut told = Vec::new();
    for (client, who, sql, sqlstate) in attempts {
        match client.simple_query(sql).await {
            Ok(_) => return Err(format!("not refused: {sql}").into()),
            Err(error) => {
                let found = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
                let expected = if sqlstate.is_empty() {
                    found
                } else {
                    sqlstate.to_owned()
                };
                told.push((format!("{who}: {sql}"), error_of(&error, &expected)?));
            }
        }
    }
    Ok(told)
}
