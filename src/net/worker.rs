//! Worker threads: each turns its residents (sessions with their sockets) when their sockets have something for them.
//!
//! Why not a task a session on Tokio: there, a message pays for the task's state, its wakers, the locks around a socket's readiness, budgets
//! and timers, a quarter of all the time that pgward spends outside the kernel, most of it on code gone cold while the thread slept. Here
//! an event is an index, and the resident's turn a plain call. Tokio's traits stay (TLS is written against them), and its runtime
//! receives clients until their sessions begin.
//!
//! Invariants: a resident is turned by one thread at a time, and only by the worker that holds it; between turns it may be given to another
//! ([`balance`]). Whoever ends is dropped, and with it its sockets. A resident that panics ends alone.

use super::balance::{self, Advice, Balance, Mille};
use super::socket::Readiness;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

/// Events taken at a time.
const EVENTS: usize = 256;
/// The inbox's own token; residents' are twice their key, and one more for the second socket.
const INBOX: Token = Token(usize::MAX);
/// The clock is looked at once in so many turns.
const TURNS_A_LOOK: u32 = 64;
/// Pause after waiting for events failed, which should never happen.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Until an event, its waker or its deadline.
    Waits,
    /// There is more to do, but it is the others' turn.
    Again,
    /// It is over.
    Ended,
}

/// What lives on a worker: two sockets and what is between them.
pub trait Resident: Send + 'static {
    /// Its sockets; `None`: one is not detached, and it can't live here.
    fn sockets(&self) -> Option<[BorrowedFd<'_>; 2]>;
    /// An event of one of them, `0` or `1`.
    fn note(&mut self, socket: usize, readiness: Readiness);
    /// Moves what can be moved now. The waker gives it another turn.
    fn turn(&mut self, cx: &mut Context<'_>) -> Turn;
    /// When it needs a turn though nothing else gives it one.
    fn deadline(&self) -> Option<Instant>;
}

/// All workers.
pub struct Crew<R> {
    inboxes: Arc<[Inbox<R>]>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    began: Instant,
}

/// What others want of a worker.
enum Order<R> {
    Adopt(Box<R>),
    Turn(usize),
    TurnAll,
    Quit,
}

struct Inbox<R> {
    /// `None`: nobody is there any more to obey them.
    orders: Mutex<Option<Vec<Order<R>>>>,
    waker: mio::Waker,
    /// How busy it was, as [`Report`] packs it.
    report: AtomicU64,
}

/// How busy a worker was in its last window, and when that ended (milliseconds since the crew began).
struct Report {
    at: u64,
    busy: Mille,
}

impl Report {
    fn pack(&self) -> u64 {
        self.at << 16 | u64::from(self.busy.min(1000))
    }
    fn unpack(packed: u64) -> Self {
        Self {
            at: packed >> 16,
            busy: (packed & 0xffff) as Mille,
        }
    }
}

impl<R> Inbox<R> {
    fn order(&self, order: Order<R>) {
        let mut orders = self.lock();
        let Some(list) = orders.as_mut() else {
            // A resident that comes too late is closed; not with the lock held.
            drop(orders);
            return drop(order);
        };
        list.push(order);
        // Whoever finds others' orders there knows that it is woken already.
        if list.len() == 1
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "can't wake a worker");
        }
    }
    fn take(&self) -> Vec<Order<R>> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }
    fn close(&self) {
        let orders = self.lock().take();
        drop(orders);
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Order<R>>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How busy each worker is, as far as it is known.
fn busy<R>(inboxes: &[Inbox<R>], began: Instant) -> Vec<Mille> {
    let now = millis(began.elapsed());
    inboxes
        .iter()
        .map(|inbox| {
            let report = Report::unpack(inbox.report.load(Ordering::Relaxed));
            let is_stale = now.saturating_sub(report.at) > millis(balance::STALE);
            if is_stale { 0 } else { report.busy }
        })
        .collect()
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

impl<R: Resident> Crew<R> {
    /// Starts `count` workers (one at least).
    ///
    /// # Errors
    /// No thread, or no set of events.
    pub fn start(count: usize) -> io::Result<Self> {
        Self::with_clock(count, cpu_time)
    }

    /// `cpu_time` is that of the calling thread.
    fn with_clock(count: usize, cpu_time: fn() -> Duration) -> io::Result<Self> {
        let began = Instant::now();
        let mut polls = Vec::new();
        let mut inboxes = Vec::new();
        for _ in 0..count.max(1) {
            let poll = Poll::new()?;
            inboxes.push(Inbox {
                orders: Mutex::new(Some(Vec::new())),
                waker: mio::Waker::new(poll.registry(), INBOX)?,
                report: AtomicU64::new(0),
            });
            polls.push(poll);
        }
        let crew = Self {
            inboxes: inboxes.into(),
            threads: Mutex::default(),
            began,
        };
        for (me, poll) in polls.into_iter().enumerate() {
            let worker = Worker {
                me,
                inboxes: crew.inboxes.clone(),
                poll,
                seats: Slab::new(),
                due: Vec::new(),
                timers: BTreeSet::new(),
                meter: Meter::new(began, cpu_time),
            };
            let thread = std::thread::Builder::new()
                .name(format!("pgward-{me}"))
                .spawn(|| worker.run());
            match thread {
                Ok(thread) => crew.threads().push(thread),
                Err(error) => {
                    crew.quit();
                    return Err(error);
                }
            }
        }
        Ok(crew)
    }

    /// Gives a resident to a worker that has time.
    pub fn adopt(&self, resident: Box<R>) {
        let chosen = match self.inboxes.len() {
            1 => 0,
            _ => balance::newcomer(&busy(&self.inboxes, self.began)),
        };
        if let Some(inbox) = self.inboxes.get(chosen) {
            inbox.order(Order::Adopt(resident));
        }
    }

    /// Gives each resident a turn.
    pub fn turn_all(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.order(Order::TurnAll));
    }

    /// Ends the threads, and with them what still lives there. Blocks until they have ended.
    pub fn quit(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.order(Order::Quit));
        let threads = std::mem::take(&mut *self.threads());
        for thread in threads {
            let _ = thread.join();
        }
        self.inboxes.iter().for_each(Inbox::close);
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<std::thread::JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a resident a turn from any thread. One that has moved on meanwhile was given a turn when it did, and asks anew with a new waker.
struct Doorbell<R> {
    inboxes: Arc<[Inbox<R>]>,
    worker: usize,
    key: usize,
}

impl<R: Resident> Wake for Doorbell<R> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(inbox) = self.inboxes.get(self.worker) {
            inbox.order(Order::Turn(self.key));
        }
    }
}

/// A resident and what its worker keeps of it.
struct Seat<R> {
    resident: Box<R>,
    waker: Waker,
    /// Where it stands in the timers.
    timer: Option<Instant>,
    /// It stands among the due.
    is_due: bool,
    /// Turns in this window.
    turns: u32,
}

struct Worker<R> {
    me: usize,
    inboxes: Arc<[Inbox<R>]>,
    poll: Poll,
    seats: Slab<Seat<R>>,
    /// Keys of those that get a turn next.
    due: Vec<usize>,
    timers: BTreeSet<(Instant, usize)>,
    meter: Meter,
}

impl<R: Resident> Worker<R> {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut turning = Vec::new();
        loop {
            let timeout = if !self.due.is_empty() {
                Some(Duration::ZERO)
            } else {
                let first = self.timers.first();
                first.map(|(deadline, _)| deadline.saturating_duration_since(Instant::now()))
            };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "waiting for sockets failed");
                    std::thread::sleep(FAILURE_PAUSE);
                }
            }
            let mut is_ordered = false;
            for event in &events {
                if event.token() == INBOX {
                    is_ordered = true;
                    continue;
                }
                let key = event.token().0 >> 1;
                // Of one that has left meanwhile, or of another that sat here: then the worst is a turn that finds nothing.
                if let Some(seat) = self.seats.get_mut(key) {
                    let is_broken = event.is_error();
                    let readiness = Readiness {
                        readable: event.is_readable(),
                        ended: event.is_read_closed() || is_broken,
                        writable: event.is_writable() || event.is_write_closed() || is_broken,
                    };
                    seat.resident.note(event.token().0 & 1, readiness);
                    if !seat.is_due {
                        seat.is_due = true;
                        self.due.push(key);
                    }
                }
            }
            if is_ordered && self.obey() {
                return;
            }
            self.ring_timers();
            std::mem::swap(&mut self.due, &mut turning);
            for key in turning.drain(..) {
                self.turn(key);
            }
            if self.inboxes.len() > 1
                && let Some(busy) = self.meter.look()
            {
                self.balance(busy);
            }
        }
    }

    /// Whether to quit.
    fn obey(&mut self) -> bool {
        let Some(inbox) = self.inboxes.get(self.me) else {
            return true;
        };
        for order in inbox.take() {
            match order {
                Order::Adopt(resident) => self.adopt(resident),
                Order::Turn(key) => self.call(key),
                Order::TurnAll => {
                    let keys: Vec<_> = self.seats.iter().map(|(key, _)| key).collect();
                    keys.into_iter().for_each(|key| self.call(key));
                }
                Order::Quit => return true,
            }
        }
        false
    }

    fn call(&mut self, key: usize) {
        if let Some(seat) = self.seats.get_mut(key)
            && !seat.is_due
        {
            seat.is_due = true;
            self.due.push(key);
        }
    }

    fn adopt(&mut self, mut resident: Box<R>) {
        let entry = self.seats.vacant_entry();
        let key = entry.key();
        if let Err(error) = register(&self.poll, resident.as_ref(), key) {
            tracing::error!(%error, "can't take over a session: its connections are closed");
            return;
        }
        resident.note(0, Readiness::UNKNOWN);
        resident.note(1, Readiness::UNKNOWN);
        let doorbell = Doorbell {
            inboxes: self.inboxes.clone(),
            worker: self.me,
            key,
        };
        entry.insert(Seat {
            resident,
            waker: Waker::from(Arc::new(doorbell)),
            timer: None,
            is_due: true,
            turns: 0,
        });
        self.due.push(key);
    }

    fn turn(&mut self, key: usize) {
        let Some(seat) = self.seats.get_mut(key) else {
            return;
        };
        seat.is_due = false;
        seat.turns += 1;
        self.meter.turns += 1;
        let mut cx = Context::from_waker(&seat.waker);
        // Nothing of a resident that panicked is used again but for dropping it.
        let turn = catch_unwind(AssertUnwindSafe(|| {
            let turn = seat.resident.turn(&mut cx);
            (turn, seat.resident.deadline())
        }));
        let (turn, deadline) = turn.unwrap_or_else(|_| {
            tracing::error!("a session panicked: its connections are closed");
            (Turn::Ended, None)
        });
        if seat.timer != deadline {
            if let Some(timer) = seat.timer {
                self.timers.remove(&(timer, key));
            }
            if let Some(deadline) = deadline {
                self.timers.insert((deadline, key));
            }
            seat.timer = deadline;
        }
        match turn {
            Turn::Waits => {}
            Turn::Again => {
                seat.is_due = true;
                self.due.push(key);
            }
            Turn::Ended => {
                let seat = self.seats.remove(key);
                if let Some(timer) = seat.timer {
                    self.timers.remove(&(timer, key));
                }
            }
        }
    }

    /// Those whose deadline is past get a turn.
    fn ring_timers(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(&(deadline, key)) = self.timers.first()
            && deadline <= now
        {
            self.timers.pop_first();
            if let Some(seat) = self.seats.get_mut(key) {
                // Should it still have this deadline after its turn, it gets another: a resident never waits for a deadline in the past.
                seat.timer = None;
            }
            self.call(key);
        }
    }

    /// A window is over.
    fn balance(&mut self, busy_self: Mille) {
        let Some(inbox) = self.inboxes.get(self.me) else {
            return;
        };
        let report = Report {
            at: millis(self.meter.began.elapsed()),
            busy: busy_self,
        };
        inbox.report.store(report.pack(), Ordering::Relaxed);
        let busy = busy(&self.inboxes, self.meter.began);
        let advice = self.meter.balance.advise(self.me, &busy);
        let all: u32 = self.seats.iter().map(|(_, seat)| seat.turns).sum();
        if let Advice::Give { to, share } = advice {
            self.give(to, u64::from(all) * u64::from(share) / 1000);
        }
        for (_, seat) in &mut self.seats {
            seat.turns = 0;
        }
    }

    /// Gives those away that had, together, up to so many turns; each that had any, where that is all.
    fn give(&mut self, to: usize, mut turns: u64) {
        let active: Vec<_> = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.turns > 0)
            .map(|(key, seat)| (key, u64::from(seat.turns)))
            .collect();
        for (key, its) in active {
            if its > turns {
                continue;
            }
            turns -= its;
            let Some(seat) = self.seats.try_remove(key) else {
                continue;
            };
            if let Some(timer) = seat.timer {
                self.timers.remove(&(timer, key));
            }
            if let Err(error) = deregister(&self.poll, seat.resident.as_ref()) {
                tracing::error!(%error, "can't hand over a session: its connections are closed");
                continue;
            }
            if let Some(inbox) = self.inboxes.get(to) {
                inbox.order(Order::Adopt(seat.resident));
            }
        }
    }
}

fn sockets<R: Resident>(resident: &R) -> io::Result<[BorrowedFd<'_>; 2]> {
    let not_ours = || io::Error::new(io::ErrorKind::NotConnected, "a socket was not detached");
    resident.sockets().ok_or_else(not_ours)
}

fn register<R: Resident>(poll: &Poll, resident: &R, key: usize) -> io::Result<()> {
    for (n, socket) in sockets(resident)?.into_iter().enumerate() {
        let token = Token(key << 1 | n);
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut SourceFd(&socket.as_raw_fd()), token, both)?;
    }
    Ok(())
}

fn deregister<R: Resident>(poll: &Poll, resident: &R) -> io::Result<()> {
    for socket in sockets(resident)? {
        poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()))?;
    }
    Ok(())
}

/// How much of its time a thread needs.
struct Meter {
    began: Instant,
    balance: Balance,
    turns: u32,
    window_began: Instant,
    cpu_then: Duration,
    cpu_time: fn() -> Duration,
}

impl Meter {
    fn new(began: Instant, cpu_time: fn() -> Duration) -> Self {
        Self {
            cpu_time,
            began,
            balance: Balance::default(),
            turns: 0,
            window_began: began,
            cpu_then: Duration::ZERO,
        }
    }

    /// Now and then, at the end of a window, how busy the thread was in it.
    fn look(&mut self) -> Option<Mille> {
        if self.turns < TURNS_A_LOOK {
            return None;
        }
        self.turns = 0;
        let now = Instant::now();
        let passed = now.duration_since(self.window_began);
        if passed < balance::WINDOW {
            return None;
        }
        let cpu = (self.cpu_time)();
        let used = cpu.saturating_sub(self.cpu_then);
        self.window_began = now;
        self.cpu_then = cpu;
        let busy = used.as_nanos() * 1000 / passed.as_nanos().max(1);
        Some(busy.min(1000) as Mille)
    }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or_default(),
        time.tv_nsec.try_into().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests;
