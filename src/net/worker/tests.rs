use super::super::socket::Socket;
use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What comes in at its first socket goes out at its second, in capitals; some words do more.
struct Parrot {
    sockets: [Socket; 2],
    notes: Arc<Notes>,
    /// Comes back for another turn at once, for ever.
    is_restless: bool,
    deadline: Option<Instant>,
}

/// What is seen of it from outside.
#[derive(Default)]
struct Notes {
    turns: AtomicUsize,
    waker: Mutex<Option<Waker>>,
    /// The threads that turned it.
    threads: Mutex<Vec<String>>,
    is_dropped: AtomicBool,
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.notes.is_dropped.store(true, Ordering::SeqCst);
    }
}

impl Resident for Parrot {
    fn sockets(&self) -> Option<[BorrowedFd<'_>; 2]> {
        Some([self.sockets[0].fd()?, self.sockets[1].fd()?])
    }
    fn note(&mut self, socket: usize, readiness: Readiness) {
        self.sockets[socket].note(readiness);
    }
    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        self.notes.turns.fetch_add(1, Ordering::SeqCst);
        *self.notes.waker.lock().unwrap() = Some(cx.waker().clone());
        let name = std::thread::current().name().unwrap().to_owned();
        let mut threads = self.notes.threads.lock().unwrap();
        if threads.last() != Some(&name) {
            threads.push(name);
        }
        drop(threads);
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Turn::Ended;
        }
        let mut room = [0; 64];
        let mut buf = ReadBuf::new(&mut room);
        while std::pin::Pin::new(&mut self.sockets[0])
            .poll_read(cx, &mut buf)
            .is_ready()
        {
            let heard = buf.filled().to_ascii_uppercase();
            match &heard[..] {
                b"" => return Turn::Ended,
                b"FAINT" => panic!("as asked"),
                words => {
                    assert!(
                        std::pin::Pin::new(&mut self.sockets[1])
                            .poll_write(cx, words)
                            .is_ready()
                    );
                }
            }
            buf.clear();
        }
        match self.is_restless {
            true => Turn::Again,
            false => Turn::Waits,
        }
    }
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// The far ends.
struct Keeper {
    mouth: TcpStream,
    ear: TcpStream,
    notes: Arc<Notes>,
}

impl Keeper {
    fn says(&mut self, words: &str) {
        self.mouth.write_all(words.as_bytes()).unwrap();
    }
    fn hears(&mut self, words: &str) {
        let mut heard = vec![0; words.len()];
        self.ear.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8(heard).unwrap(), words);
    }
    fn is_closed(&mut self) {
        assert_eq!(self.ear.read(&mut [0]).unwrap_or(0), 0);
        wait(|| self.notes.is_dropped.load(Ordering::SeqCst));
    }
}

fn wait(mut until: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !until() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never comes");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn pair(listener: &TcpListener) -> (TcpStream, Socket) {
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut socket = Socket::from(tokio::net::TcpStream::from_std(near).unwrap());
    socket.detach().unwrap();
    (far, socket)
}

fn parrot(change: impl FnOnce(&mut Parrot)) -> (Keeper, Box<Parrot>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (mouth, first) = pair(&listener);
    let (ear, second) = pair(&listener);
    let notes = Arc::<Notes>::default();
    let mut parrot = Parrot {
        sockets: [first, second],
        notes: notes.clone(),
        is_restless: false,
        deadline: None,
    };
    change(&mut parrot);
    (Keeper { mouth, ear, notes }, Box::new(parrot))
}

fn settle(crew: &Crew<Parrot>, change: impl FnOnce(&mut Parrot)) -> Keeper {
    let (keeper, parrot) = parrot(change);
    crew.adopt(parrot);
    keeper
}

#[test]
fn what_comes_to_a_socket_gives_a_turn() {
    let crew = Crew::start(1).unwrap();
    let mut keepers: Vec<_> = (0..20).map(|_| settle(&crew, |_| {})).collect();
    for _ in 0..3 {
        for keeper in &mut keepers {
            keeper.says("hello");
        }
        for keeper in &mut keepers {
            keeper.hears("HELLO");
        }
    }
    crew.quit();
}

#[test]
fn what_was_there_before_it_came_is_not_overlooked() {
    let crew = Crew::start(1).unwrap();
    let (mut keeper, parrot) = parrot(|_| {});
    keeper.says("early");
    crew.adopt(parrot);
    keeper.hears("EARLY");
    crew.quit();
}

#[test]
fn idle_ones_have_no_turns() {
    let crew = Crew::start(1).unwrap();
    let (idle, mut busy) = (settle(&crew, |_| {}), settle(&crew, |_| {}));
    wait(|| idle.notes.turns.load(Ordering::SeqCst) > 0);
    let before = idle.notes.turns.load(Ordering::SeqCst);
    for _ in 0..100 {
        busy.says("a");
        busy.hears("A");
    }
    // One for each socket's first event, should they have come meanwhile.
    assert!(idle.notes.turns.load(Ordering::SeqCst) <= before + 2);
    crew.quit();
}

#[test]
fn one_that_panics_ends_alone() {
    let crew = Crew::start(1).unwrap();
    let (mut first, mut second) = (settle(&crew, |_| {}), settle(&crew, |_| {}));
    first.says("faint");
    first.is_closed();
    second.says("still here");
    second.hears("STILL HERE");
    crew.quit();
}

#[test]
fn the_end_of_one_frees_its_seat() {
    let crew = Crew::start(1).unwrap();
    let mut lasting = settle(&crew, |_| {});
    for _ in 0..10 {
        let mut keeper = settle(&crew, |_| {});
        keeper.says("x");
        keeper.hears("X");
        keeper.mouth.shutdown(std::net::Shutdown::Write).unwrap();
        keeper.is_closed();
    }
    lasting.says("y");
    lasting.hears("Y");
    crew.quit();
}

#[test]
fn bytes_and_end_that_come_together_are_both_seen() {
    let crew = Crew::start(1).unwrap();
    for _ in 0..50 {
        let mut keeper = settle(&crew, |_| {});
        keeper.says("bye");
        keeper.mouth.shutdown(std::net::Shutdown::Write).unwrap();
        keeper.hears("BYE");
        keeper.is_closed();
    }
    crew.quit();
}

#[test]
fn a_waker_works_from_any_thread() {
    let crew = Crew::start(1).unwrap();
    let keeper = settle(&crew, |_| {});
    wait(|| keeper.notes.waker.lock().unwrap().is_some());
    for _ in 0..100 {
        let before = keeper.notes.turns.load(Ordering::SeqCst);
        keeper.notes.waker.lock().unwrap().as_ref().unwrap().wake_by_ref();
        wait(|| keeper.notes.turns.load(Ordering::SeqCst) > before);
    }
    crew.quit();
}

#[test]
fn all_are_given_a_turn() {
    let crew = Crew::start(2).unwrap();
    let keepers: Vec<_> = (0..5).map(|_| settle(&crew, |_| {})).collect();
    wait(|| keepers.iter().all(|k| k.notes.turns.load(Ordering::SeqCst) > 0));
    let before: Vec<_> = keepers.iter().map(|k| k.notes.turns.load(Ordering::SeqCst)).collect();
    crew.turn_all();
    wait(|| {
        let mut now = keepers
            .iter()
            .map(|k| k.notes.turns.load(Ordering::SeqCst))
            .zip(&before);
        now.all(|(now, before)| now > *before)
    });
    crew.quit();
}

#[test]
fn a_deadline_gives_a_turn() {
    let crew = Crew::start(1).unwrap();
    let mut late = settle(&crew, |p| p.deadline = Some(Instant::now() + Duration::from_secs(3600)));
    let mut soon = settle(&crew, |p| p.deadline = Some(Instant::now() + Duration::from_millis(30)));
    soon.is_closed();
    late.says("not yet");
    late.hears("NOT YET");
    crew.quit();
}

#[test]
fn one_with_endless_work_does_not_keep_others_waiting() {
    let crew = Crew::start(1).unwrap();
    let restless = settle(&crew, |p| p.is_restless = true);
    let mut other = settle(&crew, |_| {});
    other.says("me too");
    other.hears("ME TOO");
    let seen = restless.notes.turns.load(Ordering::SeqCst);
    wait(|| restless.notes.turns.load(Ordering::SeqCst) > seen);
    crew.quit();
}

/// Writes so many bytes to its second socket, then ends.
struct Spout {
    sockets: [Socket; 2],
    left: usize,
}

impl Resident for Spout {
    fn sockets(&self) -> Option<[BorrowedFd<'_>; 2]> {
        Some([self.sockets[0].fd()?, self.sockets[1].fd()?])
    }
    fn note(&mut self, socket: usize, readiness: Readiness) {
        self.sockets[socket].note(readiness);
    }
    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        let piece = [7; 65536];
        while self.left > 0 {
            let piece = &piece[..self.left.min(piece.len())];
            match std::pin::Pin::new(&mut self.sockets[1]).poll_write(cx, piece) {
                std::task::Poll::Ready(written) => self.left -= written.unwrap(),
                std::task::Poll::Pending => return Turn::Waits,
            }
        }
        Turn::Ended
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

#[test]
fn one_whose_socket_is_full_gets_a_turn_when_there_is_room() {
    const MUCH: usize = 64 << 20;
    let crew = Crew::start(1).unwrap();
    let (_mouth, mut ear, sockets) = {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let ((mouth, first), (ear, second)) = (pair(&listener), pair(&listener));
        (mouth, ear, [first, second])
    };
    crew.adopt(Box::new(Spout { sockets, left: MUCH }));
    // It is full long before the reading begins, and again and again.
    std::thread::sleep(Duration::from_millis(50));
    let mut heard = 0;
    let mut room = vec![0; 1 << 20];
    while heard < MUCH {
        let n = ear.read(&mut room).unwrap();
        assert!(n > 0, "ended after {heard} bytes");
        heard += n;
    }
    assert_eq!(ear.read(&mut room).unwrap(), 0);
    crew.quit();
}

#[test]
fn quitting_closes_what_lives_there() {
    let crew = Crew::start(2).unwrap();
    let mut keeper = settle(&crew, |_| {});
    keeper.says("a");
    keeper.hears("A");
    crew.quit();
    keeper.is_closed();
    // What comes later finds nobody.
    settle(&crew, |_| {}).is_closed();
}

#[test]
fn a_crowded_worker_shares_its_residents_and_they_notice_nothing() {
    let began = Instant::now();
    // All of its time: whoever turns is crowded.
    static BEGAN: Mutex<Option<Instant>> = Mutex::new(None);
    *BEGAN.lock().unwrap() = Some(began);
    let crew = Crew::with_clock(2, || BEGAN.lock().unwrap().unwrap().elapsed()).unwrap();
    let mut keepers: Vec<_> = (0..8).map(|_| settle(&crew, |_| {})).collect();
    wait(|| {
        for keeper in &mut keepers {
            keeper.says("still ");
            keeper.says("here");
        }
        for keeper in &mut keepers {
            keeper.hears("STILL HERE");
        }
        let moved = |k: &Keeper| k.notes.threads.lock().unwrap().len() > 1;
        keepers.iter().any(moved) && !keepers.iter().all(moved)
    });
    // Wakers made before the move have lost nothing.
    for keeper in &keepers {
        let before = keeper.notes.turns.load(Ordering::SeqCst);
        keeper.notes.waker.lock().unwrap().as_ref().unwrap().wake_by_ref();
        wait(|| keeper.notes.turns.load(Ordering::SeqCst) > before);
    }
    crew.quit();
}

#[test]
fn workers_with_little_to_do_come_together() {
    let crew = Crew::with_clock(2, || Duration::ZERO).unwrap();
    let (mut keeper, parrot) = parrot(|_| {});
    crew.inboxes[1].order(Order::Adopt(parrot));
    wait(|| {
        keeper.says("a");
        keeper.hears("A");
        let threads = keeper.notes.threads.lock().unwrap();
        *threads == ["pgward-1", "pgward-0"]
    });
    crew.quit();
}

#[test]
fn a_socket_that_is_still_tokios_is_not_taken() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let (mut keeper, mut parrot) = parrot(|_| {});
    let _inside = runtime.enter();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let _far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    parrot.sockets[0] = tokio::net::TcpStream::from_std(near).unwrap().into();
    let crew = Crew::start(1).unwrap();
    crew.adopt(parrot);
    keeper.is_closed();
    crew.quit();
}

#[test]
fn cpu_time_grows_with_work() {
    let before = cpu_time();
    let mut sum = 0_u64;
    while cpu_time() == before {
        sum = std::hint::black_box(sum + 1);
    }
    assert!(cpu_time() > before);
}

#[test]
fn reports_survive_packing() {
    let report = Report::unpack(Report { at: 123_456, busy: 987 }.pack());
    assert_eq!((report.at, report.busy), (123_456, 987));
    assert_eq!(Report::unpack(Report { at: 1, busy: 5000 }.pack()).busy, 1000);
}

#[test]
fn borrowed_descriptors_are_those_of_the_sockets() {
    let (_keeper, parrot) = parrot(|_| {});
    let [first, second] = parrot.sockets().unwrap();
    assert_ne!(first.as_fd().as_raw_fd(), second.as_fd().as_raw_fd());
}
