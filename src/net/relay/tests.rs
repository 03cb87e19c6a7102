use super::*;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{DuplexStream, duplex};

/// Hands bytes through and does nothing else; `cap` bytes a direction before it stops reading.
struct PassThrough {
    to_client: OutBuf,
    to_server: OutBuf,
    status: Status,
    cap: usize,
    authenticated: bool,
    told: Arc<Told>,
    effects: Vec<Effect>,
    append_first: bool,
    waiting: bool,
}

#[derive(Default)]
struct Told {
    client_eof: AtomicBool,
    server_eof: AtomicBool,
    shutdown: AtomicBool,
    appended: AtomicUsize,
    largest: AtomicUsize,
}

impl PassThrough {
    fn new() -> (Self, Arc<Told>) {
        let told = Arc::<Told>::default();
        let machine = Self {
            to_client: OutBuf::default(),
            to_server: OutBuf::default(),
            status: Status::Open,
            cap: 64 * 1024,
            authenticated: true,
            told: told.clone(),
            effects: Vec::new(),
            append_first: false,
            waiting: false,
        };
        (machine, told)
    }
    fn note(&self) {
        let size = self.to_client.len().max(self.to_server.len());
        self.told.largest.fetch_max(size, Ordering::Relaxed);
    }
}

impl Machine for PassThrough {
    fn from_client(&mut self, input: &mut InBuf) {
        if self.append_first {
            self.append_first = false;
            self.waiting = true;
            self.effects.push(Effect::Append(Ticket(7), Box::new(record())));
            return;
        }
        self.to_server.put_front(input, input.len());
        self.note();
    }
    fn from_server(&mut self, input: &mut InBuf) {
        self.to_client.put_front(input, input.len());
        self.note();
    }
    fn client_eof(&mut self) {
        self.told.client_eof.store(true, Ordering::Relaxed);
        self.to_server.put(b"X");
        self.status = Status::Closing;
    }
    fn server_eof(&mut self) {
        self.told.server_eof.store(true, Ordering::Relaxed);
        self.to_client.put(b"E");
        self.status = Status::Closing;
    }
    fn appended(&mut self, ticket: Ticket, result: Result<(), JournalError>) {
        assert_eq!(ticket, Ticket(7));
        assert!(result.is_ok());
        self.waiting = false;
        self.told.appended.fetch_add(1, Ordering::Relaxed);
    }
    fn shutdown(&mut self) {
        self.told.shutdown.store(true, Ordering::Relaxed);
        self.status = Status::Closing;
    }
    fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop()
    }
    fn to_client(&mut self) -> &mut OutBuf {
        &mut self.to_client
    }
    fn to_server(&mut self) -> &mut OutBuf {
        &mut self.to_server
    }
    fn wants_client(&self) -> bool {
        !self.waiting && self.to_server.len() < self.cap
    }
    fn wants_server(&self) -> bool {
        self.to_client.len() < self.cap
    }
    fn status(&self) -> Status {
        self.status
    }
    fn is_authenticated(&self) -> bool {
        self.authenticated
    }
}

#[derive(Clone, Default)]
struct World {
    stopping: Arc<AtomicBool>,
    notify: Arc<tokio::sync::Notify>,
    from_client: Arc<AtomicUsize>,
}

impl Surroundings for World {
    fn perform(&mut self, effect: Effect, acks: &mut Acks) {
        if let Effect::Append(ticket, _) = effect {
            let acks = acks.expect();
            // From another thread, as the journal does it.
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                acks.send((ticket, Ok(()))).unwrap();
            });
        }
    }
    fn read_from_client(&mut self, bytes: usize) {
        self.from_client.fetch_add(bytes, Ordering::Relaxed);
    }
    fn read_from_server(&mut self, _: usize) {}
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

struct Setup {
    client: DuplexStream,
    server: DuplexStream,
    relay: tokio::task::JoinHandle<()>,
    world: World,
}

fn set_up(machine: PassThrough, early: &[u8], login: Duration) -> Setup {
    let (client, near_client) = duplex(1024);
    let (server, near_server) = duplex(1024);
    let world = World::default();
    let relay = Relay::new(
        machine,
        world.clone(),
        near_client,
        InBuf::from(early),
        near_server,
        Instant::now() + login,
    );
    let relay = tokio::spawn(run(relay, world.notify.clone()));
    Setup {
        client,
        server,
        relay,
        world,
    }
}

impl Link for DuplexStream {}

/// What a worker does.
async fn run(mut relay: Relay<PassThrough, DuplexStream, World>, stopping: Arc<tokio::sync::Notify>) {
    loop {
        let turned = poll_fn(|cx| {
            loop {
                match relay.turn(cx) {
                    Turn::Waits => return Poll::Pending,
                    Turn::Again => {}
                    Turn::Ended => return Poll::Ready(()),
                }
            }
        });
        tokio::select! {
            () = turned => return,
            () = stopping.notified() => {}
            // Whatever the deadline is.
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
}

const LONG: Duration = Duration::from_secs(3600);

async fn read(stream: &mut DuplexStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn read_to_end(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn bytes_go_both_ways_early_ones_first() {
    let (machine, _) = PassThrough::new();
    let mut setup = set_up(machine, b"early ", LONG);
    setup.client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut setup.server, 11).await, b"early hello");
    setup.server.write_all(b"world").await.unwrap();
    assert_eq!(read(&mut setup.client, 5).await, b"world");
    assert_eq!(setup.world.from_client.load(Ordering::Relaxed), 5);
    assert!(!setup.relay.is_finished());
}

#[tokio::test]
async fn wire_40_the_server_is_heard_while_the_client_is_silent() {
    let (machine, _) = PassThrough::new();
    let mut setup = set_up(machine, b"", LONG);
    tokio::time::sleep(Duration::from_millis(20)).await;
    setup.server.write_all(b"notification").await.unwrap();
    assert_eq!(read(&mut setup.client, 12).await, b"notification");
}

#[tokio::test]
async fn wire_34_end_of_file_of_the_client_closes_the_server() {
    let (machine, told) = PassThrough::new();
    let mut setup = set_up(machine, b"", LONG);
    setup.client.write_all(b"BEGIN").await.unwrap();
    drop(setup.client);
    assert_eq!(read_to_end(&mut setup.server).await, b"BEGINX");
    setup.relay.await.unwrap();
    assert!(told.client_eof.load(Ordering::Relaxed) && !told.server_eof.load(Ordering::Relaxed));
}

#[tokio::test]
async fn end_of_file_of_the_server_reaches_the_client_behind_its_last_words() {
    let (machine, told) = PassThrough::new();
    let mut setup = set_up(machine, b"", LONG);
    setup.server.write_all(b"last words ").await.unwrap();
    drop(setup.server);
    assert_eq!(read_to_end(&mut setup.client).await, b"last words E");
    setup.relay.await.unwrap();
    assert!(told.server_eof.load(Ordering::Relaxed));
}

#[tokio::test]
async fn wire_35_a_client_that_does_not_read_stops_the_server() {
    let (mut machine, told) = PassThrough::new();
    machine.cap = 8 * 1024;
    let setup = set_up(machine, b"", LONG);
    let sent = pattern(4 << 20);
    let expected = sent.clone();
    let (mut server, mut client) = (setup.server, setup.client);
    let writer = tokio::spawn(async move {
        server.write_all(&sent).await.unwrap();
        server
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!writer.is_finished());
    let largest = told.largest.load(Ordering::Relaxed);
    assert!(largest < 8 * 1024 + 2 * READ_SIZE, "{largest} bytes buffered");
    assert!(read(&mut client, expected.len()).await == expected);
    drop(writer.await.unwrap());
    assert_eq!(read_to_end(&mut client).await, b"E");
}

#[tokio::test]
async fn wire_35_a_server_that_does_not_read_stops_the_client() {
    let (mut machine, told) = PassThrough::new();
    machine.cap = 8 * 1024;
    let setup = set_up(machine, b"", LONG);
    let sent = pattern(4 << 20);
    let expected = sent.clone();
    let (mut server, mut client) = (setup.server, setup.client);
    let writer = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!writer.is_finished());
    assert!(told.largest.load(Ordering::Relaxed) < 8 * 1024 + 2 * READ_SIZE);
    assert!(read(&mut server, expected.len()).await == expected);
    drop(writer.await.unwrap());
    assert_eq!(read_to_end(&mut server).await, b"X");
}

#[tokio::test]
async fn the_fate_of_an_append_wakes_the_session() {
    let (mut machine, told) = PassThrough::new();
    machine.append_first = true;
    let mut setup = set_up(machine, b"", LONG);
    setup.client.write_all(b"SELECT").await.unwrap();
    assert_eq!(read(&mut setup.server, 6).await, b"SELECT");
    assert_eq!(told.appended.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn wire_38_log_in_takes_no_longer_than_it_may() {
    let (mut machine, _) = PassThrough::new();
    machine.authenticated = false;
    let mut setup = set_up(machine, b"", Duration::from_millis(50));
    let answer = read_to_end(&mut setup.client).await;
    assert!(answer.starts_with(b"E") && String::from_utf8_lossy(&answer).contains("timeout"));
    setup.relay.await.unwrap();
}

#[tokio::test]
async fn wire_38_a_stop_is_told_to_an_idle_session() {
    let (machine, told) = PassThrough::new();
    let mut setup = set_up(machine, b"", LONG);
    tokio::time::sleep(Duration::from_millis(20)).await;
    setup.world.stopping.store(true, Ordering::Release);
    setup.world.notify.notify_waiters();
    setup.relay.await.unwrap();
    assert!(told.shutdown.load(Ordering::Relaxed));
    assert_eq!(read_to_end(&mut setup.client).await, b"");
}

#[tokio::test]
async fn a_client_that_is_gone_while_the_server_talks_ends_the_session() {
    let (machine, told) = PassThrough::new();
    let mut setup = set_up(machine, b"", LONG);
    drop(setup.client);
    let _ = setup.server.write_all(&pattern(1 << 16)).await;
    setup.relay.await.unwrap();
    assert!(told.client_eof.load(Ordering::Relaxed));
}

#[tokio::test]
async fn an_idle_side_holds_no_buffer() {
    let (near, mut far) = duplex(1024);
    let mut side = Side::new(near, InBuf::default());
    far.write_all(b"abc").await.unwrap();
    poll_fn(|cx| {
        assert_eq!(side.read(cx), Some(3));
        side.input.advance(3);
        side.release();
        assert_eq!(side.input.capacity(), 0);
        assert_eq!(side.read(cx), None);
        side.release();
        assert_eq!(side.input.capacity(), 0);
        Poll::Ready(())
    })
    .await;
}

fn record() -> crate::audit::AccessRecord {
    let text = || Arc::<str>::from("x");
    crate::audit::AccessRecord {
        event_id: uuid::Uuid::nil(),
        part: 0,
        ts_start: 0,
        ts_end: 0,
        origin: Arc::new(crate::audit::Origin {
            handler: text(),
            handler_kind: text(),
            login_role: text(),
            auth_method: text(),
            session_id: uuid::Uuid::nil(),
            client: None,
            client_cert_fp: None,
            application_name: text(),
            database: text(),
            purpose: None,
        }),
        action: crate::audit::AuditAction::Read,
        objects: Vec::new(),
        subjects: Vec::new(),
        subject_count: 0,
        aggregate: false,
        rows: None,
        bytes: 0,
        decision: crate::audit::AuditDecision::Allowed,
        rule: text(),
        policy_version: text(),
        sqlstate: String::new(),
        reason: String::new(),
        statement_fingerprint: String::new(),
        statement_text: text(),
    }
}
