//! A session between a client and a server that keep to the protocol, in any order, pipelined or not; and what becomes of it when messages are
//! altered, lost, doubled or exchanged on the way, and connections end at any point. What must hold is in [`super::session`]'s driver; where
//! nothing is altered, also that everything can be read, and that nothing the client gives for a protected column leaves in clear.

use super::session::driver::{Driver, Event, check_cuts};
use super::session::reader::Reader;
use super::session::server::{Server, frame, log_in};
use super::session::statements::{TEMPLATES, Template};
use super::session::world::{GIVEN, Setting};
use std::collections::HashSet;

/// More than that tell nothing new, and take long.
const MAX_OPS: usize = 120;

/// Names of portals; the last two are the same to the server.
const PORTALS: [&[u8]; 4] = [
    b"",
    b"p",
    b"name_of_a_portal_that_is_longer_than_the_server_takes_it_to_be_A",
    b"name_of_a_portal_that_is_longer_than_the_server_takes_it_to_be_B",
];

/// See the module.
struct Play {
    driver: Driver,
    server: Server,
    events: Vec<Event>,
    /// Messages of the client that are still on their way.
    on_the_way: Vec<Vec<u8>>,
    /// Names whose Parse is not answered.
    fresh: HashSet<Vec<u8>>,
    /// Names that are known to be prepared.
    prepared: HashSet<Vec<u8>>,
    /// Frames of the session to the client that were looked at.
    seen: usize,
    /// The last thing it saw was an error and no ReadyForQuery.
    aborted: bool,
    /// Somebody does not read: the client can't tell what was prepared.
    unsure: bool,
    altered: bool,
}

fn name(template: usize, named: bool) -> Vec<u8> {
    if named {
        format!("s{template}").into_bytes()
    } else {
        Vec::new()
    }
}

fn template(byte: u8) -> usize {
    usize::from(byte) % TEMPLATES.len()
}

impl Play {
    fn step(&mut self, event: Event) {
        self.driver.step(&event, &[]);
        self.events.push(event);
    }

    fn say(&mut self, tag: u8, body: &[&[u8]]) {
        self.aborted &= tag != b'S';
        self.on_the_way.push(frame(tag, &body.concat()));
    }

    fn deliver(queue: &mut Vec<Vec<u8>>, count: usize) -> Vec<u8> {
        let mut bytes = queue.concat();
        queue.clear();
        let left = bytes.split_off(count.min(bytes.len()));
        if !left.is_empty() {
            queue.push(left);
        }
        bytes
    }

    fn deliver_client(&mut self, count: usize) {
        let bytes = Self::deliver(&mut self.on_the_way, count);
        if !bytes.is_empty() {
            self.step(Event::Client(bytes));
        }
    }

    fn deliver_server(&mut self, count: usize) {
        let bytes = Self::deliver(&mut self.server.out, count);
        if !bytes.is_empty() {
            self.step(Event::Server(bytes));
        }
    }

    /// The server takes what has reached it.
    fn serve(&mut self) {
        let taken = self.server.taken;
        for (tag, body) in self.driver.to_server.frames().skip(taken) {
            self.server.take(tag, body);
        }
    }

    /// Everything reaches everybody.
    fn exchange(&mut self) {
        self.deliver_client(usize::MAX);
        for _ in 0..50 {
            self.serve();
            let idle = self.server.out.is_empty() && !self.driver.waits_for_journal();
            self.deliver_server(usize::MAX);
            if self.driver.waits_for_journal() {
                self.step(Event::AllAppended { durable: true });
            }
            if idle {
                break;
            }
        }
        // What failed, or came behind an error and before Sync, is not prepared; a client knows that now.
        let mut failed = self.aborted;
        for (tag, _) in self.driver.to_client.frames().skip(self.seen) {
            failed |= tag == b'E';
            self.aborted = tag == b'E' || self.aborted && tag != b'Z';
        }
        self.seen = self.driver.to_client.frames.len();
        let fresh = std::mem::take(&mut self.fresh);
        for name in fresh {
            if failed {
                self.prepared.remove(&name);
            } else {
                self.prepared.insert(name);
            }
        }
    }

    fn parse(&mut self, template: usize, how: u8) {
        let name = name(template, how & 1 != 0);
        let Template { sql, params, .. } = &TEMPLATES[template];
        let mut oids = Vec::new();
        if how & 2 != 0 {
            oids = (params.len() as u16).to_be_bytes().to_vec();
            params
                .iter()
                .for_each(|(oid, _)| oids.extend_from_slice(&oid.to_be_bytes()));
        } else {
            oids.extend_from_slice(&[0, 0]);
        }
        self.say(b'P', &[&name, b"\0", sql.as_bytes(), b"\0", &oids]);
        self.forget(&name);
        if self.aborted && name.is_empty() {
            return; // It is discarded, and the client knows.
        }
        // The unnamed statement means the last Parse.
        self.fresh
            .insert([&name[..], b" ", template.to_string().as_bytes()].concat());
        self.fresh.insert(name);
    }

    /// The name means nothing any more, or not what it meant.
    fn forget(&mut self, name: &[u8]) {
        let other = |kept: &Vec<u8>| kept != name && kept.strip_prefix(name).is_none_or(|rest| !rest.starts_with(b" "));
        self.fresh.retain(other);
        self.prepared.retain(other);
    }

    fn bind(&mut self, template: usize, how: u8) {
        let name = name(template, how & 1 != 0);
        let portal = PORTALS[usize::from(how >> 4 & 3)];
        let Template { params, .. } = &TEMPLATES[template];
        let id = [&name[..], b" ", template.to_string().as_bytes()].concat();
        let known = !self.unsure && (self.fresh.contains(&id) || self.prepared.contains(&id));
        let mut body = [portal, b"\0", &name, b"\0\0\0"].concat();
        body.extend_from_slice(&(params.len() as u16).to_be_bytes());
        for (_, secret) in *params {
            let value = match (secret, known) {
                (true, true) => GIVEN,
                (true, false) => b"nothing",
                (false, _) => b"7",
            };
            body.extend_from_slice(&(value.len() as u32).to_be_bytes());
            body.extend_from_slice(value);
        }
        body.extend_from_slice(if how & 2 == 0 { &[0, 0] } else { &[0, 1, 0, 1] });
        self.say(b'B', &[&body]);
    }

    /// Alters messages on their way.
    fn alter(queue: &mut Vec<Vec<u8>>, input: &mut Reader<'_>) -> bool {
        let (which, how, at, change) = (usize::from(input.byte()), input.byte(), input.pair(), input.byte());
        if queue.is_empty() {
            return false;
        }
        let which = which % queue.len();
        let message = &mut queue[which];
        match how % 8 {
            0 => {
                let at = at % message.len().max(1);
                if let Some(byte) = message.get_mut(at) {
                    *byte ^= change.max(1);
                }
            }
            1 => {
                // A length that is wrong by a little, or by much.
                if let Some(length) = message.get_mut(1..5) {
                    let wrong = u32::from_be_bytes([length[0], length[1], length[2], length[3]])
                        .wrapping_add_signed(i32::from(change as i8) << (at % 24));
                    length.copy_from_slice(&wrong.to_be_bytes());
                }
            }
            2 => drop(queue.remove(which)),
            3 => {
                let again = message.clone();
                queue.insert(which, again);
            }
            4 => {
                let other = at % queue.len();
                queue.swap(which, other);
            }
            5 => message.truncate(at % message.len().max(1)),
            6 => {
                let at = at % (message.len() + 1);
                let more = input.counted().to_vec();
                message.splice(at..at, more);
            }
            _ => {
                // Shorter or longer, and its length says so.
                let size = at % 64;
                message.resize((5 + size).max(5), change);
                message[1..5].copy_from_slice(&(size as u32 + 4).to_be_bytes());
            }
        }
        true
    }

    fn op(&mut self, op: u8, input: &mut Reader<'_>) {
        match op & 31 {
            0 => {
                let count = 1 + usize::from(op >> 5 & 1);
                let texts: Vec<&str> = (0..count).map(|_| TEMPLATES[template(input.byte())].sql).collect();
                self.say(b'Q', &[texts.join("; ").as_bytes(), b"\0"]);
            }
            1 => self.parse(template(input.byte()), input.byte()),
            2 => self.bind(template(input.byte()), input.byte()),
            3 | 5 => {
                let how = input.byte();
                let tag = if op & 31 == 3 { b'D' } else { b'C' };
                if how & 128 == 0 {
                    let name = name(template(how >> 1), how & 1 != 0);
                    self.say(tag, &[b"S", &name, b"\0"]);
                    if tag == b'C' {
                        self.forget(&name);
                    }
                } else {
                    self.say(tag, &[b"P", PORTALS[usize::from(how & 3)], b"\0"]);
                }
            }
            4 => {
                let how = input.byte();
                let limit = [0, 1, 2, 50][usize::from(how >> 2 & 3)];
                self.say(b'E', &[PORTALS[usize::from(how & 3)], b"\0", &u32::to_be_bytes(limit)]);
            }
            6 => self.say(b'S', &[]),
            7 => self.say(b'H', &[]),
            8 => self.say(b'd', &[b"1\tdata\n"]),
            9 => self.say(b'c', &[]),
            10 => self.say(b'f', &[b"no more\0"]),
            11 => {
                let oid: u32 = if input.byte() & 1 == 0 { 964 } else { 1598 };
                self.say(b'F', &[&oid.to_be_bytes(), &[0, 0, 0, 0, 0, 0]]);
            }
            12 => self.say(b'X', &[]),
            13 | 14 => {
                let (template, how) = (template(input.byte()), input.byte());
                self.parse(template, how);
                self.bind(template, how);
                let portal = PORTALS[usize::from(how >> 4 & 3)];
                if how & 4 != 0 {
                    self.say(b'D', &[b"P", portal, b"\0"]);
                }
                let limit = u32::from(how & 8 != 0);
                self.say(b'E', &[portal, b"\0", &limit.to_be_bytes()]);
                if op & 31 == 13 {
                    self.say(b'S', &[]);
                }
            }
            15 => {
                self.altered = true;
                self.on_the_way.push(input.counted().to_vec());
            }
            16 => self.altered |= Self::alter(&mut self.on_the_way, input),
            17 => {
                self.deliver_client(usize::MAX);
                self.serve();
                self.altered |= Self::alter(&mut self.server.out, input);
            }
            18 => self.deliver_client(input.pair()),
            19 => {
                self.deliver_client(usize::MAX);
                self.serve();
            }
            20 => self.deliver_server(input.pair()),
            how @ 21..=23 => self.step(Event::Appended {
                oldest: how != 22,
                durable: how != 23,
            }),
            24 => self.step(Event::AllAppended { durable: false }),
            25 => self.step(Event::ClientEof),
            26 => self.step(Event::ServerEof),
            27 => self.step(Event::Shutdown),
            how @ (28 | 29) => {
                self.unsure = true;
                let reads = op & 32 != 0;
                self.step(if how == 28 {
                    Event::ClientReads(reads)
                } else {
                    Event::ServerReads(reads)
                });
            }
            30 => {
                self.altered = true;
                let bytes = input.counted().to_vec();
                self.server.out.push(bytes);
            }
            _ => {
                let message = match input.byte() % 5 {
                    0 => frame(b'E', b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"),
                    1 => frame(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mnote\0\0"),
                    2 => frame(b'S', b"client_encoding\0LATIN1\0"),
                    3 => frame(b'S', b"standard_conforming_strings\0off\0"),
                    _ => frame(b'A', b"\0\0\0\x07news\0hello\0"),
                };
                self.server.out.push(message);
            }
        }
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
    let cuts = [usize::from(input.byte() % 16), usize::from(input.byte())];
    let mut play = Play {
        driver: Driver::new(setting),
        server: Server::default(),
        events: Vec::new(),
        on_the_way: Vec::new(),
        fresh: HashSet::new(),
        prepared: HashSet::new(),
        seen: 0,
        aborted: false,
        unsure: false,
        altered: false,
    };
    play.server.out = log_in(how);
    if how & 128 == 0 {
        play.exchange();
    }
    let mut ops = 0;
    while let Some(op) = input.next()
        && ops < MAX_OPS
    {
        ops += 1;
        play.op(op, &mut input);
        // Only what can stand in a pipeline waits.
        if op & 128 == 0 && op & 31 < 16 {
            play.exchange();
        }
    }
    play.exchange();
    play.driver.finish();
    if !play.altered {
        play.driver.check_readable();
        if setting.protected {
            play.driver.check_given();
        }
    }
    (setting, play.events, play.driver, cuts)
}
