//! The journal's directory: segment files named by their first index, modes, the lock of the single writer. Everything that changes the disk
//! goes through [`Storage`] and [`SegmentFile`], so that tests can let it fail.

use super::JournalError;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the segment whose first entry has this index.
pub fn segment_name(first_index: u64) -> String {
    format!("journal-{first_index:020}.jsonl")
}

fn first_index_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".jsonl")?;
    let index = digits.parse().ok()?;
    // One spelling per index: a file of another form is not part of the log.
    (segment_name(index) == name).then_some(index)
}

/// A segment as found in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of its first entry, by its name.
    pub first_index: u64,
    /// File name.
    pub name: String,
    /// Length in bytes when it was listed.
    pub len: u64,
}

/// The segments of a directory in order of their indexes.
pub fn segments(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let Some(first_index) = first_index_of(&name) else {
            continue;
        };
        let metadata = entry.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other(format!("{name} is not a regular file")));
        }
        found.push(Segment {
            first_index,
            name,
            len: metadata.len(),
        });
    }
    found.sort_by_key(|segment| segment.first_index);
    Ok(found)
}

/// Reads lines of bounded length.
pub struct Lines<R> {
    input: R,
    offset: u64,
}

/// One line of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Stands in the buffer, without its newline.
    Whole,
    /// Stands in the buffer; the file ends before a newline.
    Torn,
    /// More than [`super::entry::MAX_LINE`] bytes without a newline.
    TooLong,
    /// No more bytes.
    End,
}

impl Lines<BufReader<File>> {
    /// Opens a segment.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            input: BufReader::with_capacity(256 << 10, File::open(path)?),
            offset: 0,
        })
    }
}

impl<R: BufRead> Lines<R> {
    /// The next line, into `line` (cleared first).
    pub fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        line.clear();
        let read = (&mut self.input)
            .take(super::entry::MAX_LINE as u64)
            .read_until(b'\n', line)?;
        self.offset += read as u64;
        Ok(match line.last() {
            None => Line::End,
            Some(b'\n') => {
                line.pop();
                Line::Whole
            }
            Some(_) if read == super::entry::MAX_LINE => Line::TooLong,
            Some(_) => Line::Torn,
        })
    }

    /// Bytes read so far: after a whole line, where the next one begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

/// What makes segments.
pub trait Storage: Send + 'static {
    /// Makes a segment, or empties it where a failed attempt left one, and makes its directory entry durable.
    fn create(&mut self, name: &str) -> io::Result<Box<dyn SegmentFile>>;
    /// Opens a segment that holds acknowledged entries.
    fn open(&mut self, name: &str) -> io::Result<Box<dyn SegmentFile>>;
}

/// A segment that can be appended to.
pub trait SegmentFile: Send {
    /// Appends all bytes.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended durable. Fails where the file is no longer in its directory: what is written there is lost.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts everything from `len` on, durably. Fails where the file is shorter.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// How often the lock is tried, and the pause between.
const LOCK_ATTEMPTS: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Takes the lock, within half a second: the one before may just be ending, or a program that its process has started may share the lock until it
/// runs.
fn lock_soon(lock: &File) -> Result<(), TryLockError> {
    for _ in 1..LOCK_ATTEMPTS {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
    lock.try_lock()
}

/// The directory of a journal, locked for one writer as long as this lives.
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory where there is none, checks its mode and those of its segments, takes the lock.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let fail =
            |what: &str, error: io::Error| JournalError::new(format!("journal {}: {what}: {error}", path.display()));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| fail("can't make the directory", e))?;
        let metadata = fs::metadata(path).map_err(|e| fail("can't read the directory's mode", e))?;
        check_mode(path, metadata.permissions().mode(), "700")?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|e| fail("can't make the lock file", e))?;
        match lock_soon(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::new(format!(
                    "journal {}: another pgward writes it; give each its own directory",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(fail("can't be locked", error)),
        }
        for segment in segments(path).map_err(|e| fail("can't be listed", e))? {
            let file = path.join(&segment.name);
            let metadata = fs::metadata(&file).map_err(|e| fail(&segment.name, e))?;
            check_mode(&file, metadata.permissions().mode(), "600")?;
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Keeps bytes that are about to be cut off a segment in a file beside it, durably; its name.
    pub fn keep_aside(&self, segment: &Segment, from: u64) -> io::Result<String> {
        let mut source = File::open(self.path.join(&segment.name))?;
        io::Seek::seek(&mut source, io::SeekFrom::Start(from))?;
        let mut attempt = 0;
        let (name, mut target) = loop {
            let name = format!("torn-{:020}-{from}-{attempt}.bin", segment.first_index);
            match OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(self.path.join(&name))
            {
                Ok(file) => break (name, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 10_000 => attempt += 1,
                Err(error) => return Err(error),
            }
        };
        io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        self.sync_entries()?;
        Ok(name)
    }

    pub(super) fn open_segment(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Box::new(DiskSegment { path, file }))
    }

    fn sync_entries(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn check_mode(path: &Path, mode: u32, wanted: &str) -> Result<(), JournalError> {
    if mode & 0o077 != 0 {
        return Err(JournalError::new(format!(
            "journal: {} is open to others (mode {:o}); chmod {wanted} it",
            path.display(),
            mode & 0o777
        )));
    }
    Ok(())
}

impl Storage for Directory {
    fn create(&mut self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        file.set_len(0)?;
        self.sync_entries()?;
        Ok(Box::new(DiskSegment { path, file }))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.open_segment(name)
    }
}

struct DiskSegment {
    path: PathBuf,
    file: File,
}

impl SegmentFile for DiskSegment {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // A file that was unlinked or replaced can still be written and synced, and everything in it would be gone.
        let (open, named) = (self.file.metadata()?, fs::symlink_metadata(&self.path)?);
        if (open.dev(), open.ino()) != (named.dev(), named.ino()) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} was replaced", self.path.display()),
            ));
        }
        self.file.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        if self.file.metadata()?.len() < len {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "{} is shorter than what was acknowledged ({len} bytes)",
                    self.path.display()
                ),
            ));
        }
        self.file.set_len(len)?;
        // Not sync_data: the shorter length must be durable, or cut lines could come back after a crash.
        self.file.sync_all()
    }
}
