//! A session between two peers that send anything: raw bytes, and frames whose types and lengths are right. What must hold is in
//! [`super::session`]'s driver.

use super::session::driver::{Driver, Event, check_cuts};
use super::session::reader::Reader;
use super::session::server::{SCOPE, frame, log_in};
use super::session::statements::TEMPLATES;
use super::session::world::{CATALOG, Setting, catalog_row, envelope};

/// More than that tell nothing new, and take long.
const MAX_EVENTS: usize = 200;

fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        body.extend_from_slice(&value.map_or(-1, |value| value.len() as i32).to_be_bytes());
        body.extend_from_slice(value.unwrap_or_default());
    }
    frame(b'D', &body)
}

/// The answer to one of pgward's own questions, in the form of either protocol.
fn answer(rows: Vec<Vec<u8>>, extended: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let bare = |out: &mut Vec<u8>, tags: &[u8]| tags.iter().for_each(|tag| out.extend(frame(*tag, b"")));
    if extended {
        bare(&mut out, b"312");
    } else {
        out.extend(frame(b'T', b"\0\0"));
    }
    rows.into_iter().for_each(|row| out.extend(row));
    out.extend(frame(b'C', b"SELECT 1\0"));
    if extended {
        bare(&mut out, b"33");
    } else {
        out.extend(frame(b'Z', b"I"));
    }
    out
}

fn event(op: u8, input: &mut Reader<'_>) -> Event {
    match op % 16 {
        0 | 1 => Event::Client(input.counted().to_vec()),
        2 | 3 => Event::Server(input.counted().to_vec()),
        4 => Event::Client(frame(input.byte(), input.counted())),
        5 => Event::Server(frame(input.byte(), input.counted())),
        6 => Event::Client(frame(b'Q', &[input.counted(), b"\0"].concat())),
        7 => {
            // Sealed values, as bytes or (in the simple protocol) as text; or others.
            let (count, how) = (input.byte() % 8, input.byte());
            let value = |index: u8| match (how.wrapping_add(index)) % 6 {
                3 => None,
                4 => Some(b"7".to_vec()),
                5 => Some(input.counted().to_vec()),
                column if how & 128 == 0 => Some(envelope(column.into()).to_vec()),
                column => {
                    let hex: String = envelope(column.into())
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect();
                    Some(format!("\\x{hex}").into_bytes())
                }
            };
            let values: Vec<Option<Vec<u8>>> = (0..count).map(value).collect();
            Event::Server(row(&values.iter().map(|value| value.as_deref()).collect::<Vec<_>>()))
        }
        8 => Event::Server(answer(vec![row(&SCOPE)], input.byte() & 1 != 0)),
        9 => {
            let rows = CATALOG.lines().map(|line| row(&catalog_row(line))).collect();
            Event::Server(answer(rows, input.byte() & 1 != 0))
        }
        10 => Event::Appended {
            oldest: true,
            durable: input.byte() & 1 == 0,
        },
        11 => Event::AllAppended {
            durable: input.byte() & 1 == 0,
        },
        12 => match input.byte() % 3 {
            0 => Event::ClientEof,
            1 => Event::ServerEof,
            _ => Event::Shutdown,
        },
        13 => match input.byte() {
            how if how & 2 == 0 => Event::ClientReads(how & 1 != 0),
            how => Event::ServerReads(how & 1 != 0),
        },
        14 => {
            let template = &TEMPLATES[usize::from(input.byte()) % TEMPLATES.len()];
            Event::Client(frame(b'Q', &[template.sql.as_bytes(), b"\0"].concat()))
        }
        _ => Event::Server(frame(b'Z', &[b"ITE"[usize::from(input.byte() % 3)]])),
    }
}

/// One input.
pub fn run(data: &[u8]) {
    let (setting, events, driver, cuts) = play(data);
    check_cuts(setting, &events, &driver, &cuts);
}

/// What happens in it, what came of that, and the cuts that are to change nothing.
pub fn play(data: &[u8]) -> (Setting, Vec<Event>, Driver, [usize; 2]) {
    let mut input = Reader(data);
    let setting = Setting::read(input.byte());
    let how = input.byte();
    let cuts = [usize::from(input.byte() % 32), usize::from(input.byte())];
    let mut driver = Driver::new(setting);
    let mut events = Vec::new();
    if how & 128 == 0 {
        events.push(Event::Server(log_in(how).concat()));
    }
    while let Some(op) = input.next()
        && events.len() < MAX_EVENTS
    {
        events.push(event(op, &mut input));
    }
    for event in &events {
        driver.step(event, &[]);
    }
    driver.finish();
    (setting, events, driver, cuts)
}
