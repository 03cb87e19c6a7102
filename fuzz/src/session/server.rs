//! A server, as far as a session can tell: it keeps the protocol's order, discards after an error, knows prepared statements, portals and row
//! limits, and answers pgward's own questions truthfully.

use super::statements::{Outcome, TEMPLATES, Value};
use super::world::{CATALOG, catalog_row};
use bytes::{BufMut, BytesMut};
use pgward::wire::compose;
use pgward::wire::read::{Bind, Execute, Field, Parse, Target, query};
use std::collections::HashMap;

/// What the server makes of a text.
#[derive(Clone)]
enum Statement {
    Template(usize),
    /// One that must fail, with the name in its error.
    Poison(Vec<u8>),
    Scope,
    Catalog,
    Other,
}

struct Portal {
    statement: Statement,
    formats: Vec<u16>,
    /// Rows already given.
    given: usize,
}

/// See the module.
pub struct Server {
    transaction: u8,
    skipping: bool,
    /// COPY FROM STDIN; whether by a Query.
    copying: Option<bool>,
    statements: HashMap<Vec<u8>, Statement>,
    portals: HashMap<Vec<u8>, Portal>,
    /// Frames of the session taken so far.
    pub taken: usize,
    /// Answers not yet delivered.
    pub out: Vec<Vec<u8>>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            transaction: b'I',
            skipping: false,
            copying: None,
            statements: HashMap::new(),
            portals: HashMap::new(),
            taken: 0,
            out: Vec::new(),
        }
    }
}

/// A message.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// What a server says until a client of role `app` is logged in. `how` chooses among ways of authentication.
pub fn log_in(how: u8) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    match how % 4 {
        1 => messages.push(frame(b'R', b"\0\0\0\x03")),
        2 => {
            messages.push(frame(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"));
            messages.push(frame(b'R', b"\0\0\0\x0br=x,s=eA==,i=4096"));
            messages.push(frame(b'R', b"\0\0\0\x0cv=eA=="));
        }
        3 => messages.push(frame(b'v', b"\0\x03\0\0\0\0\0\0")),
        _ => {}
    }
    messages.push(frame(b'R', &[0; 4]));
    for (name, value) in [
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("DateStyle", "ISO, MDY"),
        ("TimeZone", "UTC"),
    ] {
        messages.push(frame(b'S', format!("{name}\0{value}\0").as_bytes()));
    }
    messages.push(frame(b'K', b"\0\0\0\x05beef"));
    messages.push(frame(b'Z', b"I"));
    messages
}

/// The answer to the question about names: rows as a simple query's.
pub const SCOPE: [Option<&[u8]>; 9] = [
    // ["pg_catalog","public"]
    Some(b"5b2270675f636174616c6f67222c227075626c6963225d"),
    None,
    Some(b"hex"),
    Some(b"1"),
    Some(b"false"),
    Some(b"ISO, MDY"),
    Some(b"UTC"),
    Some(b"UTF8"),
    Some(b"on"),
];

fn statements(sql: &[u8]) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut rest = sql;
    while !rest.is_empty() {
        if let [b'/', b'*', b'q', tens, ones, b'*', b'/', ..] = rest {
            let number = usize::from(tens.wrapping_sub(b'0')) * 10 + usize::from(ones.wrapping_sub(b'0'));
            found.push(Statement::Template(number % TEMPLATES.len()));
        } else if rest.starts_with(b"\"pgward refuses this statement (") {
            let name = rest[1..].split(|b| *b == b'"').next().unwrap_or_default();
            found.push(Statement::Poison(name.to_vec()));
        } else if rest.starts_with(b"current_schemas(true)") {
            found.push(Statement::Scope);
        } else if rest.starts_with(b"WITH nsp AS MATERIALIZED") {
            found.push(Statement::Catalog);
        }
        rest = &rest[1..];
    }
    if found.is_empty() && !sql.is_empty() {
        found.push(Statement::Other);
    }
    found
}

impl Statement {
    fn columns(&self) -> Option<Vec<Value>> {
        match self {
            Statement::Template(number) => match TEMPLATES[*number].outcome {
                Outcome::Rows(columns, ..) => Some(columns.to_vec()),
                _ => None,
            },
            Statement::Scope => Some(vec![Value::Text(0, 0, 0); SCOPE.len()]),
            Statement::Catalog => Some(vec![Value::Text(0, 0, 0); 8]),
            Statement::Poison(_) | Statement::Other => None,
        }
    }

    fn rows(&self) -> usize {
        match self {
            Statement::Template(number) => match TEMPLATES[*number].outcome {
                Outcome::Rows(_, rows, _) => rows,
                _ => 0,
            },
            Statement::Scope => 1,
            Statement::Catalog => CATALOG.lines().count(),
            Statement::Poison(_) | Statement::Other => 0,
        }
    }

    fn row(&self, index: usize, formats: &[u16]) -> Vec<u8> {
        let put = |body: &mut Vec<u8>, value: Option<&[u8]>| match value {
            Some(value) => {
                body.put_u32(value.len() as u32);
                body.put_slice(value);
            }
            None => body.put_i32(-1),
        };
        let mut body = Vec::new();
        match self {
            Statement::Scope => {
                body.put_u16(SCOPE.len() as u16);
                SCOPE.iter().for_each(|value| put(&mut body, *value));
            }
            Statement::Catalog => {
                let values = catalog_row(CATALOG.lines().nth(index).unwrap_or_default());
                body.put_u16(values.len() as u16);
                values.iter().for_each(|value| put(&mut body, *value));
            }
            _ => {
                let columns = self.columns().unwrap_or_default();
                body.put_u16(columns.len() as u16);
                for (at, column) in columns.iter().enumerate() {
                    let binary = match formats {
                        [] => false,
                        [one] => *one == 1,
                        many => many.get(at) == Some(&1),
                    };
                    let mut value = Vec::new();
                    column.write(binary, &mut value);
                    // Some are NULL.
                    put(&mut body, (index % 7 != 6).then_some(&value));
                }
            }
        }
        frame(b'D', &body)
    }

    fn description(&self) -> Vec<u8> {
        let Some(columns) = self.columns() else {
            return frame(b'n', b"");
        };
        let mut out = BytesMut::new();
        let fields = columns.iter().map(|column| {
            let (table, attnum, type_oid) = column.origin();
            Field {
                name: b"c",
                table,
                attnum,
                type_oid,
                typlen: -1,
                typmod: -1,
                format: 0,
            }
        });
        compose::row_description(&mut out, fields);
        out.to_vec()
    }

    fn tag(&self) -> Vec<u8> {
        let tag = match self {
            Statement::Template(number) => match TEMPLATES[*number].outcome {
                Outcome::Rows(_, _, tag) | Outcome::Done(tag) | Outcome::Transaction(_, tag) => tag,
                Outcome::CopyIn | Outcome::CopyOut => "COPY 2",
                Outcome::Fails(_) => "",
            },
            _ => "SELECT 1",
        };
        if tag.is_empty() {
            return frame(b'I', b"");
        }
        frame(b'C', format!("{tag}\0").as_bytes())
    }

    /// SQLSTATE and message, where it fails.
    fn fault(&self, transaction: u8) -> Option<(&'static str, Vec<u8>)> {
        let ends = matches!(self, Statement::Template(12 | 13));
        if transaction == b'E' && !ends {
            return Some(("25P02", b"current transaction is aborted".to_vec()));
        }
        match self {
            Statement::Poison(name) => Some(("42703", [b"column \"", &name[..], b"\" does not exist"].concat())),
            Statement::Template(number) => match TEMPLATES[*number].outcome {
                Outcome::Fails(sqlstate) => Some((sqlstate, b"no".to_vec())),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Server {
    fn say(&mut self, bytes: Vec<u8>) {
        self.out.push(bytes);
    }

    fn fail(&mut self, sqlstate: &str, message: &[u8]) {
        let mut body = format!("SERROR\0VERROR\0C{sqlstate}\0M").into_bytes();
        body.extend_from_slice(message);
        body.extend_from_slice(b"\0DKey (x)=(y) exists.\0\0");
        self.say(frame(b'E', &body));
        if self.transaction == b'T' {
            self.transaction = b'E';
        }
        self.copying = None;
    }

    fn ready(&mut self) {
        let state = self.transaction;
        self.say(frame(b'Z', &[state]));
        if state == b'I' {
            self.portals.clear();
        }
    }

    /// Why a statement fails, if so: some of pgward's own questions do, as where others change the catalog, or somebody cancels.
    fn fault(&self, statement: &Statement) -> Option<(&'static str, Vec<u8>)> {
        let fault = statement.fault(self.transaction);
        let asks = matches!(statement, Statement::Scope | Statement::Catalog);
        let fails = || {
            ["XX000", "57014", "42501"]
                .get(self.taken / 5 % 5)
                .map(|s| (*s, b"no".to_vec()))
        };
        fault.or_else(|| (asks && self.taken % 5 == 4).then(fails).flatten())
    }

    /// Takes one message of the session.
    pub fn take(&mut self, tag: u8, body: &[u8]) {
        self.taken += 1;
        if let Some(simple) = self.copying {
            match tag {
                b'd' | b'S' | b'H' => return,
                b'c' => {
                    self.copying = None;
                    self.say(frame(b'C', b"COPY 2\0"));
                    if simple {
                        self.ready();
                    }
                    return;
                }
                _ => {
                    self.fail("57014", b"COPY from stdin failed");
                    if simple {
                        self.ready();
                    } else {
                        self.skipping = true;
                    }
                    if tag == b'f' {
                        return;
                    }
                }
            }
        }
        if self.skipping && !matches!(tag, b'S' | b'X') {
            return;
        }
        let done = match tag {
            b'Q' => self.query(body),
            b'P' => self.parse(body),
            b'B' => self.bind(body),
            b'D' => self.describe(body),
            b'E' => self.execute(body),
            b'C' => self.close(body),
            b'S' => {
                self.skipping = false;
                self.ready();
                Ok(())
            }
            b'F' => {
                self.say(frame(b'V', b"\0\0\0\x04\0\0\0\x07"));
                self.ready();
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err((sqlstate, message)) = done {
            self.fail(sqlstate, &message);
            self.skipping = true;
        }
    }

    fn query(&mut self, body: &[u8]) -> Result<(), (&'static str, Vec<u8>)> {
        let sql = query(body).map_err(|_| ("08P01", b"no query".to_vec()))?;
        let list = statements(sql);
        if list.is_empty() {
            self.say(frame(b'I', b""));
        }
        for statement in list {
            if let Some((sqlstate, message)) = self.fault(&statement) {
                self.fail(sqlstate, &message);
                break;
            }
            if let Statement::Template(number) = statement
                && self.acts(number, true)
            {
                if self.copying.is_some() {
                    return Ok(());
                }
                continue;
            }
            if statement.columns().is_some() {
                self.say(statement.description());
            }
            for index in 0..statement.rows() {
                self.say(statement.row(index, &[]));
            }
            self.say(statement.tag());
        }
        self.ready();
        Ok(())
    }

    /// Statements that are more than rows and a tag. Whether it was one.
    fn acts(&mut self, number: usize, simple: bool) -> bool {
        match TEMPLATES[number].outcome {
            Outcome::CopyIn => {
                self.say(frame(b'G', b"\0\0\x02\0\0\0\0"));
                self.copying = Some(simple);
            }
            Outcome::CopyOut => {
                self.say(frame(b'H', b"\0\0\x02\0\0\0\0"));
                self.say(frame(b'd', b"1\tone\n"));
                self.say(frame(b'd', b"2\ttwo\n"));
                self.say(frame(b'c', b""));
                self.say(Statement::Template(number).tag());
            }
            Outcome::Transaction(state, _) => {
                self.transaction = state;
                self.say(Statement::Template(number).tag());
            }
            Outcome::Done("SET") => {
                self.say(frame(b'S', b"search_path\0public\0"));
                self.say(Statement::Template(number).tag());
            }
            Outcome::Done("LISTEN") => {
                self.say(Statement::Template(number).tag());
                self.say(frame(b'A', b"\0\0\0\x07news\0hello\0"));
            }
            Outcome::Rows(..) | Outcome::Done(_) | Outcome::Fails(_) => return false,
        }
        true
    }

    fn parse(&mut self, body: &[u8]) -> Result<(), (&'static str, Vec<u8>)> {
        let message = Parse::read(body).map_err(|_| ("08P01", b"no Parse".to_vec()))?;
        let list = statements(message.sql);
        let statement = match &list[..] {
            [] => Statement::Template(TEMPLATES.len() - 1),
            [one] => one.clone(),
            _ => {
                return Err((
                    "42601",
                    b"cannot insert multiple commands into a prepared statement".to_vec(),
                ));
            }
        };
        // Names are resolved at once, rows break constraints later.
        if let Some(fault) = self.fault(&statement)
            && !fault.0.starts_with("23")
        {
            return Err(fault);
        }
        if !message.name.is_empty() && self.statements.contains_key(message.name) {
            return Err(("42P05", b"prepared statement already exists".to_vec()));
        }
        self.statements.insert(message.name.to_vec(), statement);
        self.say(frame(b'1', b""));
        Ok(())
    }

    fn bind(&mut self, body: &[u8]) -> Result<(), (&'static str, Vec<u8>)> {
        let message = Bind::read(body).map_err(|_| ("08P01", b"no Bind".to_vec()))?;
        let statement = self.statements.get(message.statement).cloned();
        let statement = statement.ok_or_else(|| ("26000", b"no such statement".to_vec()))?;
        let formats = (0..message.result_formats.len())
            .map(|index| message.result_formats.code(index))
            .collect();
        let portal = Portal {
            statement,
            formats,
            given: 0,
        };
        self.portals.insert(message.portal.to_vec(), portal);
        self.say(frame(b'2', b""));
        Ok(())
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), (&'static str, Vec<u8>)> {
        let target = Target::read(body, "Describe").map_err(|_| ("08P01", b"no Describe".to_vec()))?;
        if target.portal {
            let portal = self.portals.get(target.name);
            let description = portal
                .ok_or_else(|| ("34000", b"no such portal".to_vec()))?
                .statement
                .description();
            self.say(description);
            return Ok(());
        }
        let statement = self.statements.get(target.name).cloned();
        let statement = statement.ok_or_else(|| ("26000", b"no such statement".to_vec()))?;
        let params = match statement {
            Statement::Template(number) => TEMPLATES[number].params,
            _ => &[],
        };
        // What is sealed has become bytea on its way.
        let oids: Vec<u32> = params
            .iter()
            .map(|(oid, secret)| if *secret { 17 } else { *oid })
            .collect();
        let mut out = BytesMut::new();
        compose::parameter_description(&mut out, &oids);
        self.say(out.to_vec());
        self.say(statement.description());
        Ok(())
    }

    fn execute(&mut self, body: &[u8]) -> Result<(), (&'static str, Vec<u8>)> {
        let message = Execute::read(body).map_err(|_| ("08P01", b"no Execute".to_vec()))?;
        let limit = message.limit as usize;
        let portal = self.portals.remove(message.portal);
        let mut portal = portal.ok_or_else(|| ("34000", b"no such portal".to_vec()))?;
        if let Some(fault) = self.fault(&portal.statement) {
            return Err(fault);
        }
        if let Statement::Template(number) = portal.statement
            && self.acts(number, false)
        {
            return Ok(());
        }
        let rows = portal.statement.rows();
        let end = if limit == 0 {
            rows
        } else {
            rows.min(portal.given + limit)
        };
        for index in portal.given..end {
            let row = portal.statement.row(index, &portal.formats);
            self.say(row);
        }
        let end_of_rows = if end < rows {
            frame(b's', b"")
        } else {
            portal.statement.tag()
        };
        self.say(end_of_rows);
        portal.given = end;
        self.portals.insert(message.portal.to_vec(), portal);
        Ok(())
    }

    fn close(&mut self, body: &[u8]) -> Result<(), (&'static str, Vec<u8>)> {
        let target = Target::read(body, "Close").map_err(|_| ("08P01", b"no Close".to_vec()))?;
        if target.portal {
            self.portals.remove(target.name);
        } else {
            self.statements.remove(target.name);
        }
        self.say(frame(b'3', b""));
        Ok(())
    }
}
