//! The journal: an append-only, hash-linked local log, group-committed with fdatasync.
//!
//! One thread owns the files. It takes all records that are queued, encodes and links them, writes them at once, syncs once, and then
//! answers all of them. While the disk fails, appends are refused at once, what was not acknowledged is cut off again, and the thread tries by
//! itself until the disk takes a record.

mod open;
#[cfg(test)]
mod tests;
mod writer;

use super::entry::{Event, Item};
use super::record::{AccessRecord, AuditAction, Origin};
use super::retention::RetentionClass;
use super::segment::{Directory, Storage};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Why a record could not be made durable, or the journal not opened or read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct JournalError {
    /// What happened, where, what to do. Holds nothing of a record.
    pub message: String,
}

impl JournalError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// What [`Journal::append`] calls when the fate of a record is known. Called from the journal's thread, or, when the record is refused at
/// once (journal failed, full or closed), by `append` itself: must be quick, not block, and hold no lock over `append` that it takes itself.
pub type Ack = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// Watches the journal, for metrics. Called from the journal's thread: must be quick.
pub trait Observer: Send + Sync {
    /// A group of records became durable; `sync` is what write and fdatasync took.
    fn committed(&self, _records: usize, _bytes: usize, _sync: Duration) {}
    /// One record became durable, this long after it was queued.
    fn durable(&self, _waited: Duration) {}
    /// Health changed.
    fn health(&self, _healthy: bool) {}
}

/// How a journal is opened.
#[derive(Clone)]
pub struct JournalOptions {
    /// Directory, made with mode 0700 where there is none; refused where others may enter it.
    pub directory: PathBuf,
    /// Name of this node in the records.
    pub node: Arc<str>,
    /// Retention class of its records.
    pub retention_class: RetentionClass,
    /// Version of the policy at start, for the journal's own records.
    pub policy_version: Arc<str>,
    /// A new segment is begun when one would grow beyond this many bytes.
    pub segment_bytes: u64,
    /// Records that may wait for the disk; more are refused.
    pub queue_records: usize,
    /// The same in bytes, roughly.
    pub queue_bytes: usize,
    /// How long between attempts while the disk fails.
    pub retry: Duration,
    /// The newest segments, up to this many bytes (at least one segment), are verified when the journal is opened.
    pub verify_bytes: u64,
    /// Watches it.
    pub observer: Option<Arc<dyn Observer>>,
}

impl JournalOptions {
    /// Defaults: node is the host's name, class access-2y, segments of 64 MiB, 65,536 records or 64 MiB waiting, retry every second.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            node: host_name(),
            retention_class: RetentionClass::default(),
            policy_version: Arc::from(""),
            segment_bytes: 64 << 20,
            queue_records: 65_536,
            queue_bytes: 64 << 20,
            retry: Duration::from_secs(1),
            verify_bytes: 1 << 30,
            observer: None,
        }
    }
}

fn host_name() -> Arc<str> {
    let name = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    match name.trim() {
        "" => Arc::from("unknown"),
        name => Arc::from(name),
    }
}

/// How far the disk is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records appended and not yet answered.
    pub records: usize,
    /// Age of the oldest of them.
    pub oldest: Duration,
}

/// An open journal; cheap to clone. Closed, with a record of that, by [`Journal::close`] or when its last clone goes.
#[derive(Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What appenders and the journal's thread share.
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    healthy: AtomicBool,
    failure: Mutex<JournalError>,
    /// Records that the thread has taken and not yet answered, and since when (microseconds after `base`).
    in_flight: AtomicU64,
    in_flight_since: AtomicU64,
    base: Instant,
    queue_records: usize,
    queue_bytes: usize,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Pending>,
    bytes: usize,
    closed: bool,
}

struct Pending {
    item: Item,
    ack: Ack,
    since: Instant,
    bytes: usize,
}

/// Locks held here guard plain data that is whole at every step, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// Opens the journal of a directory for this process alone: checks modes, takes the lock, verifies the newest segments, cuts off (and keeps
    /// aside) a line that a crash left unfinished, begins a new segment with a record of the start. Anything else that is not whole is an error.
    pub fn open(options: &JournalOptions) -> Result<Self, JournalError> {
        let directory = Directory::open(&options.directory)?;
        let found = open::examine(&directory, options)?;
        Self::start(Box::new(directory), options, found)
    }

    fn start(storage: Box<dyn Storage>, options: &JournalOptions, found: open::Found) -> Result<Self, JournalError> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            healthy: AtomicBool::new(true),
            failure: Mutex::new(JournalError::new("journal: failed")),
            in_flight: AtomicU64::new(0),
            in_flight_since: AtomicU64::new(0),
            base: Instant::now(),
            queue_records: options.queue_records,
            queue_bytes: options.queue_bytes,
        });
        let writer = writer::Writer::begin(storage, options, Arc::clone(&shared), found)?;
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())
            .map_err(|e| JournalError::new(format!("journal: can't start its thread: {e}")))?;
        Ok(Self {
            handle: Arc::new(Handle {
                shared,
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// Queues a record. `ack` is called exactly once: after the fdatasync that covers the record, or with an error when it is not durable.
    pub fn append(&self, record: AccessRecord, ack: Ack) {
        let bytes = weigh(&record);
        self.queue(Item::Access(Box::new(record)), bytes, ack);
    }

    /// Queues a record of something that is no statement: a change of rights, an event of a key, a reading of the log. `origin`: who caused it; pgward
    /// itself where `None`. `note` says what happened, for people; it must hold no value.
    pub fn append_event(
        &self,
        action: AuditAction,
        origin: Option<Arc<Origin>>,
        policy_version: &Arc<str>,
        note: String,
        ack: Ack,
    ) {
        let bytes = note.len() + 512;
        let event = Event {
            action,
            at: now(),
            origin,
            policy_version: Arc::clone(policy_version),
            note,
        };
        self.queue(Item::Event(event), bytes, ack);
    }

    fn queue(&self, item: Item, bytes: usize, ack: Ack) {
        let shared = &self.handle.shared;
        let refused = 'queued: {
            if !self.is_healthy() {
                break 'queued lock(&shared.failure).clone();
            }
            let mut queue = lock(&shared.queue);
            if queue.closed {
                break 'queued JournalError::new("journal: it is closed");
            }
            if queue.items.len() >= shared.queue_records || queue.bytes.saturating_add(bytes) > shared.queue_bytes {
                break 'queued JournalError::new(format!(
                    "journal: {} records wait for the disk already; it is too slow, or stuck",
                    queue.items.len()
                ));
            }
            queue.bytes += bytes;
            queue.items.push_back(Pending {
                item,
                ack,
                since: Instant::now(),
                bytes,
            });
            let first = queue.items.len() == 1;
            drop(queue);
            if first {
                shared.wake.notify_one();
            }
            return;
        };
        // Outside the lock: it is foreign code.
        ack(Err(refused));
    }

    /// False while the last write failed: protected statements are then refused before they start. Retried by the journal itself.
    pub fn is_healthy(&self) -> bool {
        self.handle.shared.healthy.load(Ordering::Acquire)
    }

    /// Why it is not healthy.
    pub fn failure(&self) -> Option<JournalError> {
        (!self.is_healthy()).then(|| lock(&self.handle.shared.failure).clone())
    }

    /// How far the disk is behind.
    pub fn lag(&self) -> Lag {
        let shared = &self.handle.shared;
        let queue = lock(&shared.queue);
        let in_flight = shared.in_flight.load(Ordering::Acquire) as usize;
        let oldest = if in_flight > 0 {
            let since = Duration::from_micros(shared.in_flight_since.load(Ordering::Acquire));
            shared.base.elapsed().saturating_sub(since)
        } else {
            queue
                .items
                .front()
                .map(|pending| pending.since.elapsed())
                .unwrap_or_default()
        };
        Lag {
            records: queue.items.len() + in_flight,
            oldest,
        }
    }

    /// Writes what is queued and a record of the stop, and ends. Later appends are refused. Blocks; not to be called from an [`Ack`].
    pub fn close(&self) {
        self.handle.close();
    }
}

impl Handle {
    fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.wake.notify_all();
        let thread = lock(&self.thread).take();
        // The last clone may go inside an ack, on the journal's own thread, which then ends by itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

fn weigh(record: &AccessRecord) -> usize {
    1024 + record.statement_text.len() + record.subjects.len() * 64 + record.objects.len() * 256
}

fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn at(directory: &Path) -> String {
    format!("journal {}", directory.display())
}
