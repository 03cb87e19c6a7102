//! The statements that fuzzed clients send, and what a server answers them with. The comment in each tells the server which it is, whatever
//! became of the rest on the way.

use super::world::{CITY, CUSTOMERS, SEALED, envelope};

/// A result column.
#[derive(Clone, Copy)]
pub enum Value {
    /// An int4 of the table with this OID (or of none).
    Int(u32, i16),
    /// Text, so many bytes.
    Text(u32, i16, usize),
    /// What is stored sealed: 0 email, 1 name, 2 phone.
    Sealed(usize),
    /// Protected, stored in clear.
    City,
}

/// What the server does about a statement.
#[derive(Clone, Copy)]
pub enum Outcome {
    /// Rows, then this tag.
    Rows(&'static [Value], usize, &'static str),
    /// Only a tag.
    Done(&'static str),
    /// COPY … FROM STDIN
    CopyIn,
    /// COPY … TO STDOUT
    CopyOut,
    /// An error with this SQLSTATE.
    Fails(&'static str),
    /// Transaction begins (`T`) or ends (`I`).
    Transaction(u8, &'static str),
}

use Outcome::*;
use Value::*;

/// A statement.
pub struct Template {
    /// Its text.
    pub sql: &'static str,
    /// Types of its parameters, and whether the client gives a secret there.
    pub params: &'static [(u32, bool)],
    /// What comes of it.
    pub outcome: Outcome,
}

const fn t(sql: &'static str, outcome: Outcome) -> Template {
    Template {
        sql,
        params: &[],
        outcome,
    }
}

const fn p(sql: &'static str, params: &'static [(u32, bool)], outcome: Outcome) -> Template {
    Template { sql, params, outcome }
}

const PLAIN: u32 = 16_402;

/// All of them; the number in the comment is the index.
pub const TEMPLATES: [Template; 38] = [
    t("SELECT /*q00*/ 1", Rows(&[Int(0, 0)], 1, "SELECT 1")),
    t(
        "SELECT /*q01*/ id, email, name FROM customers",
        Rows(&[Int(CUSTOMERS, 1), Sealed(0), Sealed(1)], 2, "SELECT 2"),
    ),
    t(
        "SELECT /*q02*/ email FROM customers WHERE email = 'Zq8Given@secret.example'",
        Rows(&[Sealed(0)], 1, "SELECT 1"),
    ),
    p(
        "SELECT /*q03*/ name, phone FROM public.customers WHERE email = $1 AND id > $2",
        &[(25, true), (23, false)],
        Rows(&[Sealed(1), Sealed(2)], 3, "SELECT 3"),
    ),
    t(
        "INSERT /*q04*/ INTO customers (id, email, name, phone) VALUES (1, 'Zq8Given@secret.example', 'Zq8Given@secret.example', 'Zq8Given@secret.example')",
        Done("INSERT 0 1"),
    ),
    p(
        "INSERT /*q05*/ INTO customers (id, email, name) VALUES ($1, $2, $3) RETURNING id, name",
        &[(23, false), (25, true), (25, true)],
        Rows(&[Int(CUSTOMERS, 1), Sealed(1)], 1, "INSERT 0 1"),
    ),
    t(
        "UPDATE /*q06*/ customers SET name = 'Zq8Given@secret.example' WHERE id = 1",
        Done("UPDATE 1"),
    ),
    t(
        "DELETE /*q07*/ FROM customers WHERE phone = 'Zq8Given@secret.example'",
        Done("DELETE 0"),
    ),
    t("COPY /*q08*/ plain FROM STDIN", CopyIn),
    t("COPY /*q09*/ plain TO STDOUT", CopyOut),
    t("COPY /*q10*/ customers TO STDOUT", CopyOut),
    t("BEGIN /*q11*/", Transaction(b'T', "BEGIN")),
    t("COMMIT /*q12*/", Transaction(b'I', "COMMIT")),
    t("ROLLBACK /*q13*/", Transaction(b'I', "ROLLBACK")),
    t("LISTEN /*q14*/ news", Done("LISTEN")),
    t("SELECT /*q15*/ broken", Fails("42703")),
    t("CREATE /*q16*/ TABLE other (a int)", Done("CREATE TABLE")),
    t("ALTER /*q17*/ TABLE customers ADD extra int", Done("ALTER TABLE")),
    t("SET /*q18*/ search_path TO public", Done("SET")),
    t(
        "SELECT /*q19*/ lower(email) FROM customers",
        Rows(&[Text(0, 0, 5)], 1, "SELECT 1"),
    ),
    t("FETCH /*q20*/ ALL FROM p", Rows(&[Sealed(1)], 1, "FETCH 1")),
    t("EXECUTE /*q21*/ s", Rows(&[Sealed(1)], 1, "SELECT 1")),
    t(
        "SELECT /*q22*/ id, city FROM customers",
        Rows(&[Int(CUSTOMERS, 1), City], 2, "SELECT 2"),
    ),
    t(
        "SELECT /*q23*/ a, b FROM plain",
        Rows(&[Int(PLAIN, 1), Text(PLAIN, 2, 300)], 40, "SELECT 40"),
    ),
    t(
        "SELECT /*q24*/ name FROM customers ORDER BY id",
        Rows(&[Sealed(1)], 400, "SELECT 400"),
    ),
    t(
        "DECLARE /*q25*/ c CURSOR FOR SELECT name FROM customers",
        Done("DECLARE CURSOR"),
    ),
    t(
        "INSERT /*q26*/ INTO customers (id, email) VALUES (1, 'Zq8Given@secret.example') ON CONFLICT (id) DO UPDATE SET email = excluded.email",
        Done("INSERT 0 1"),
    ),
    t(
        "SELECT /*q27*/ count(*) FROM customers",
        Rows(&[Int(0, 0)], 1, "SELECT 1"),
    ),
    t("SELECT /*q28*/ a FROM nowhere", Fails("42P01")),
    t("PREPARE /*q29*/ t AS SELECT name FROM customers", Done("PREPARE")),
    t("CREATE /*q30*/ TABLE more (id int, email text)", Done("CREATE TABLE")),
    t("SELECT /*q31*/ email FROM people", Rows(&[Sealed(0)], 1, "SELECT 1")),
    p(
        "UPDATE /*q32*/ customers SET email = $1, name = $2 WHERE phone = $3",
        &[(25, true), (25, true), (25, true)],
        Done("UPDATE 1"),
    ),
    t("COPY /*q33*/ customers (id, note) FROM STDIN", CopyIn),
    t("DISCARD /*q34*/ ALL", Done("DISCARD ALL")),
    t(
        "INSERT /*q35*/ INTO customers (id, email) VALUES (1, 'Zq8Given@secret.example')",
        Fails("23505"),
    ),
    p(
        "SELECT /*q36*/ a FROM plain WHERE a = $1",
        &[(23, false)],
        Rows(&[Int(PLAIN, 1)], 3, "SELECT 3"),
    ),
    t("", Done("")),
];

impl Value {
    /// Table, attnum, type.
    pub fn origin(self) -> (u32, i16, u32) {
        match self {
            Int(table, attnum) => (table, attnum, 23),
            Text(table, attnum, _) => (table, attnum, 25),
            Sealed(column) => (CUSTOMERS, [2, 3, 5][column % 3], SEALED),
            City => (CUSTOMERS, 6, 25),
        }
    }

    /// A value, in text or in binary.
    pub fn write(self, binary: bool, out: &mut Vec<u8>) {
        match self {
            Int(..) if binary => out.extend_from_slice(&7u32.to_be_bytes()),
            Int(..) => out.push(b'7'),
            Text(_, _, length) => out.resize(out.len() + length, b't'),
            Sealed(column) if binary => out.extend_from_slice(envelope(column)),
            Sealed(column) => {
                out.extend_from_slice(b"\\x");
                for byte in envelope(column) {
                    out.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
                }
            }
            City => out.extend_from_slice(CITY),
        }
    }
}
