//! The journal's thread: the only one that touches the files.

use super::open::Found;
use super::{Ack, JournalError, JournalOptions, Observer, Pending, Queue, Shared, at, lock, now};
use crate::audit::entry::{Chain, Event, Item, Stamp, TooLong};
use crate::audit::record::AuditAction;
use crate::audit::segment::{SegmentFile, Storage, segment_name};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A buffer that grew beyond this for one large group is given back.
const KEPT_BUFFER: usize = 1 << 20;

/// About as many bytes go into one group: beyond that a sync takes longer than it saves.
const GROUP_BYTES: usize = 8 << 20;

pub(super) struct Writer {
    storage: Box<dyn Storage>,
    shared: Arc<Shared>,
    directory: PathBuf,
    stamp: Stamp,
    policy_version: Arc<str>,
    segment_bytes: u64,
    retry: Duration,
    observer: Option<Arc<dyn Observer>>,
    /// What the next entry links to: the last durable one.
    chain: Chain,
    segment: Segment,
    state: State,
    buffer: Vec<u8>,
}

/// The segment that is written: everything up to `end` is durable and acknowledged.
struct Segment {
    name: String,
    end: u64,
}

enum State {
    /// The disk took the last write.
    Writing(Box<dyn SegmentFile>),
    /// It did not; nothing is taken until it does again.
    Failed {
        since: Instant,
        next_try: Instant,
        cause: String,
    },
}

enum Next {
    Batch(Vec<Pending>),
    Retry,
    Stop,
}

impl Writer {
    /// Begins a segment with a record of the start; an error stops the start-up.
    pub fn begin(
        storage: Box<dyn Storage>,
        options: &JournalOptions,
        shared: Arc<Shared>,
        found: Found,
    ) -> Result<Self, JournalError> {
        let now = Instant::now();
        let mut writer = Self {
            storage,
            shared,
            directory: options.directory.clone(),
            stamp: Stamp {
                node: Arc::clone(&options.node),
                retention_class: options.retention_class,
            },
            policy_version: Arc::clone(&options.policy_version),
            segment_bytes: options.segment_bytes,
            retry: options.retry,
            observer: options.observer.clone(),
            segment: Segment {
                name: segment_name(found.chain.next_index),
                end: 0,
            },
            chain: found.chain,
            state: State::Failed {
                since: now,
                next_try: now,
                cause: String::new(),
            },
            buffer: Vec::new(),
        };
        let mut note = format!("journal started (pgward {})", env!("CARGO_PKG_VERSION"));
        for more in &found.notes {
            note.push_str("; ");
            note.push_str(more);
        }
        writer
            .begin_segment(note)
            .map_err(|error| JournalError::new(format!("{}: can't be written: {error}", at(&writer.directory))))?;
        Ok(writer)
    }

    pub fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        // Whatever ends this thread, nobody waits for it in vain.
        let _end = Ended(shared);
        loop {
            match self.next() {
                Next::Batch(batch) => self.commit(batch),
                Next::Retry => self.recover(),
                Next::Stop => break,
            }
        }
        if matches!(self.state, State::Writing(_)) {
            let stop = self.event("journal stopped".to_owned());
            let mut chain = self.chain;
            self.buffer.clear();
            if chain.push(&self.stamp, &stop, &mut self.buffer).is_ok() {
                // Without it the log just ends with its last record: nobody waits for this one.
                let _ = self.store(chain);
            }
        }
    }

    fn next(&mut self) -> Next {
        let shared = Arc::clone(&self.shared);
        let mut queue = lock(&shared.queue);
        loop {
            if !queue.items.is_empty() {
                let batch = take_group(&mut queue);
                let since = batch
                    .first()
                    .map_or(Duration::ZERO, |first| first.since.duration_since(shared.base));
                shared
                    .in_flight_since
                    .store(since.as_micros() as u64, Ordering::Release);
                shared.in_flight.store(batch.len() as u64, Ordering::Release);
                return Next::Batch(batch);
            }
            if queue.closed {
                return Next::Stop;
            }
            queue = match &self.state {
                State::Writing(_) => shared
                    .wake
                    .wait(queue)
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
                State::Failed { next_try, .. } => {
                    let left = next_try.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Next::Retry;
                    }
                    match shared.wake.wait_timeout(queue, left) {
                        Ok((queue, _)) => queue,
                        Err(poisoned) => poisoned.into_inner().0,
                    }
                }
            };
        }
    }

    /// Encodes, writes, syncs, answers.
    fn commit(&mut self, batch: Vec<Pending>) {
        let mut chain = self.chain;
        let mut answers = Vec::with_capacity(batch.len());
        self.buffer.clear();
        for Pending { item, ack, since, .. } in batch {
            match chain.push(&self.stamp, &item, &mut self.buffer) {
                Ok(()) => answers.push((ack, since)),
                Err(TooLong) => answer(
                    ack,
                    Err(JournalError::new("journal: the record is too long for one line")),
                ),
            }
        }
        let bytes = self.buffer.len();
        let result = if answers.is_empty() {
            Ok(Duration::ZERO)
        } else {
            self.store(chain)
        };
        // Before the answers: whoever got one sees himself gone from the lag.
        self.shared.in_flight.store(0, Ordering::Release);
        match result {
            Ok(took) => {
                if let Some(observer) = self.observer.as_deref().filter(|_| !answers.is_empty()) {
                    observer.committed(answers.len(), bytes, took);
                    answers.iter().for_each(|(_, since)| observer.durable(since.elapsed()));
                }
                for (ack, _) in answers {
                    answer(ack, Ok(()));
                }
            }
            Err(error) => {
                for (ack, _) in answers {
                    answer(ack, Err(error.clone()));
                }
            }
        }
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
    }

    /// Writes the buffer and makes it durable; `chain` is the log's end with it. On error the journal is failed and the buffer's bytes are cut off.
    fn store(&mut self, chain: Chain) -> Result<Duration, JournalError> {
        if matches!(self.state, State::Failed { .. }) {
            return Err(lock(&self.shared.failure).clone());
        }
        let started = Instant::now();
        match self.try_store(chain) {
            Ok(()) => Ok(started.elapsed()),
            Err(error) => Err(self.fail(&error)),
        }
    }

    fn try_store(&mut self, chain: Chain) -> io::Result<()> {
        let bytes = self.buffer.len() as u64;
        if self.segment.end > 0 && self.segment.end.saturating_add(bytes) > self.segment_bytes {
            let name = segment_name(self.chain.next_index);
            let State::Writing(file) = &mut self.state else {
                return Err(io::Error::other("the journal has failed"));
            };
            *file = self.storage.create(&name)?;
            self.segment = Segment { name, end: 0 };
        }
        let State::Writing(file) = &mut self.state else {
            return Err(io::Error::other("the journal has failed"));
        };
        file.append(&self.buffer)?;
        file.sync()?;
        self.segment.end += bytes;
        self.chain = chain;
        Ok(())
    }

    /// Becomes failed, and tells it. The first attempt to cut off what was written is made at once, so that a crash now leaves no torn middle.
    fn fail(&mut self, error: &io::Error) -> JournalError {
        let error = JournalError::new(format!("{}: can't be written: {error}", at(&self.directory)));
        if let State::Writing(file) = &mut self.state {
            let _ = file.truncate(self.segment.end);
            let now = Instant::now();
            self.state = State::Failed {
                since: now,
                next_try: now + self.retry,
                cause: error.message.clone(),
            };
        }
        lock(&self.shared.failure).message.clone_from(&error.message);
        if self.shared.healthy.swap(false, Ordering::AcqRel) {
            tracing::error!(error = %error, "the journal can't be written; protected statements are refused until it can");
            if let Some(observer) = &self.observer {
                observer.health(false);
            }
        }
        error
    }

    /// Tries whether the disk takes records again.
    fn recover(&mut self) {
        let State::Failed { since, cause, .. } = &self.state else {
            return;
        };
        let note = format!(
            "journal writable again after {} s; cause: {cause}",
            since.elapsed().as_secs()
        );
        match self.try_recover(note) {
            Ok(()) => {
                self.shared.healthy.store(true, Ordering::Release);
                tracing::info!("the journal can be written again");
                if let Some(observer) = &self.observer {
                    observer.health(true);
                }
            }
            Err(error) => {
                lock(&self.shared.failure).message = format!("{}: can't be written: {error}", at(&self.directory));
                if let State::Failed { next_try, .. } = &mut self.state {
                    *next_try = Instant::now() + self.retry;
                }
            }
        }
    }

    /// The segment that failed is cut to its acknowledged end, durably, and never written again: after a failed fdatasync the kernel may hold pages
    /// for clean that never reached the disk. The log goes on in a new segment, with a record of the failure that proves that the disk takes writes.
    fn try_recover(&mut self, note: String) -> io::Result<()> {
        if self.segment.end > 0 {
            let mut file = self.storage.open(&self.segment.name)?;
            file.truncate(self.segment.end)?;
        }
        self.begin_segment(note)
    }

    /// Makes the segment that begins with the next entry, and that entry.
    fn begin_segment(&mut self, note: String) -> io::Result<()> {
        let event = self.event(note);
        let mut chain = self.chain;
        self.buffer.clear();
        chain
            .push(&self.stamp, &event, &mut self.buffer)
            .map_err(|TooLong| io::Error::other("the note is too long"))?;
        let name = segment_name(self.chain.next_index);
        let mut file = self.storage.create(&name)?;
        let stored = file.append(&self.buffer).and_then(|()| file.sync());
        if let Err(error) = stored {
            // Left empty or torn it would be cut at the next start; better now.
            let _ = file.truncate(0);
            return Err(error);
        }
        self.segment = Segment {
            name,
            end: self.buffer.len() as u64,
        };
        self.chain = chain;
        self.state = State::Writing(file);
        Ok(())
    }

    fn event(&self, note: String) -> Item {
        Item::Event(Event {
            action: AuditAction::Log,
            at: now(),
            origin: None,
            policy_version: Arc::clone(&self.policy_version),
            note,
        })
    }
}

/// What goes into the next group: everything, unless that would be very much.
fn take_group(queue: &mut Queue) -> Vec<Pending> {
    let mut bytes = 0;
    let fits = |pending: &&Pending| {
        bytes += pending.bytes;
        bytes <= GROUP_BYTES
    };
    let count = queue.items.iter().take_while(fits).count().max(1);
    let group: Vec<_> = queue.items.drain(..count).collect();
    queue.bytes = queue.items.iter().map(|pending| pending.bytes).sum();
    group
}

/// An ack is foreign code: its panic must not end the journal.
fn answer(ack: Ack, result: Result<(), JournalError>) {
    if catch_unwind(AssertUnwindSafe(|| ack(result))).is_err() {
        tracing::error!("an answer to an append panicked");
    }
}

/// Refuses what is still queued when the thread ends, and everything later.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let left = {
            let mut queue = lock(&self.0.queue);
            queue.closed = true;
            std::mem::take(&mut queue.items)
        };
        let error = JournalError::new("journal: it is closed");
        lock(&self.0.failure).message.clone_from(&error.message);
        self.0.healthy.store(false, Ordering::Release);
        for pending in left {
            answer(pending.ack, Err(error.clone()));
        }
    }
}
