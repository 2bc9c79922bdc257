use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Unavailable;
use crate::calls::Record;

/// One line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    Write(Box<Record>),
    Forget(Uuid),
}

/// A write-ahead journal of JSON lines. One thread writes, and syncs once for all that waits: many calls at a time
/// cost one sync.
#[derive(Debug)]
pub(super) struct Journal {
    jobs: mpsc::Sender<Job>,
    broken: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Job {
    Append { line: Vec<u8>, synced: Option<oneshot::Sender<()>> },
    Rewrite(Vec<u8>),
}

/// Becomes ready when what was appended would survive a crash.
#[derive(Debug)]
pub(super) struct Synced(Option<oneshot::Receiver<()>>);

impl Synced {
    pub(super) fn at_once() -> Self {
        Self(None)
    }

    pub(super) async fn wait(self) -> Result<(), Unavailable> {
        match self.0 {
            None => Ok(()),
            Some(synced) => synced.await.map_err(|_| broken()),
        }
    }
}

fn broken() -> Unavailable {
    Unavailable("the journal can't be written".to_owned())
}

impl Journal {
    /// Reads what is there, writes it anew without what is out of date, and keeps the file locked.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Entry>), Unavailable> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Unavailable(format!("journal {}: {what}: {error}", path.display()))
        };
        let lock = private(OpenOptions::new().create(true).truncate(false).write(true))
            .open(with_suffix(path, "lock"))
            .map_err(|error| failed("can't be opened", &error))?;
        lock.try_lock().map_err(|error| failed("another process has it", &error))?;
        let entries = match File::open(path) {
            Ok(file) => replay(file).map_err(|error| failed("can't be read", &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("can't be opened", &error)),
        };
        let (jobs, queue) = mpsc::channel();
        let broken = Arc::new(AtomicBool::new(false));
        let writer = Writer { path: path.to_owned(), file: None, _lock: lock };
        let flag = Arc::clone(&broken);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&queue, &flag))
            .map_err(|error| failed("no thread for it", &error))?;
        Ok((Self { jobs, broken }, entries))
    }

    /// Queues an entry; entries keep their order.
    pub(super) fn append(&self, entry: &Entry, sync: bool) -> Result<Synced, Unavailable> {
        self.ready()?;
        self.queue(line(entry)?, sync)
    }

    /// Waits for all that was queued before.
    pub(super) fn barrier(&self) -> Result<Synced, Unavailable> {
        self.ready()?;
        self.queue(Vec::new(), true)
    }

    /// Replaces the whole journal.
    pub(super) fn rewrite<'a>(&self, records: impl Iterator<Item = &'a Record>) -> Result<(), Unavailable> {
        let mut lines = Vec::new();
        for record in records {
            lines.extend(line(&Entry::Write(Box::new(record.clone())))?);
        }
        self.jobs.send(Job::Rewrite(lines)).map_err(|_| broken())
    }

    pub(super) fn ready(&self) -> Result<(), Unavailable> {
        if self.broken.load(Ordering::Acquire) { Err(broken()) } else { Ok(()) }
    }

    fn queue(&self, line: Vec<u8>, sync: bool) -> Result<Synced, Unavailable> {
        let (done, synced) = oneshot::channel();
        let job = Job::Append { line, synced: sync.then_some(done) };
        self.jobs.send(job).map_err(|_| broken())?;
        Ok(Synced(sync.then_some(synced)))
    }
}

fn line(entry: &Entry) -> Result<Vec<u8>, Unavailable> {
    let mut line = serde_json::to_vec(entry).map_err(|error| Unavailable(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

struct Writer {
    path: PathBuf,
    file: Option<File>,
    /// Held as long as the thread lives.
    _lock: File,
}

impl Writer {
    fn run(mut self, queue: &mpsc::Receiver<Job>, broken: &AtomicBool) {
        while let Ok(first) = queue.recv() {
            let jobs: Vec<Job> = std::iter::once(first).chain(queue.try_iter()).collect();
            // After a failure nothing is written any more: a line after a torn one could not be read. It shows before
            // those who wait learn of it, which they do by the loss of their channels.
            if self.write(&jobs).is_err() {
                broken.store(true, Ordering::Release);
                return;
            }
            for job in jobs {
                if let Job::Append { synced: Some(synced), .. } = job {
                    // Its request may have gone away meanwhile.
                    let _gone = synced.send(());
                }
            }
        }
    }

    fn write(&mut self, jobs: &[Job]) -> io::Result<()> {
        for job in jobs {
            match job {
                Job::Append { line, .. } => self.file()?.write_all(line)?,
                Job::Rewrite(lines) => self.rewrite(lines)?,
            }
        }
        if jobs.iter().any(|job| matches!(job, Job::Append { synced: Some(_), .. })) {
            self.file()?.sync_data()?;
        }
        Ok(())
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            self.file = Some(private(OpenOptions::new().create(true).append(true)).open(&self.path)?);
        }
        self.file.as_mut().ok_or_else(|| io::Error::other("no journal"))
    }

    /// By a second file that takes the first one's place: a crash leaves the one or the other.
    fn rewrite(&mut self, lines: &[u8]) -> io::Result<()> {
        let beside = with_suffix(&self.path, "new");
        let mut file = private(OpenOptions::new().create(true).truncate(true).write(true)).open(&beside)?;
        file.write_all(lines)?;
        file.sync_all()?;
        self.file = None;
        std::fs::rename(&beside, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// It holds telephone numbers.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    PathBuf::from(path)
}

/// The last line may be torn; then nothing was done on its strength.
fn replay(file: File) -> io::Result<Vec<Entry>> {
    let mut reader = BufReader::new(file);
    let mut entries = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 || line.last() != Some(&b'\n') {
            return Ok(entries);
        }
        let entry = serde_json::from_slice(&line).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                // Its own text may hold what stands there.
                format!("line {}: no record of this version", entries.len().saturating_add(1)),
            )
        })?;
        entries.push(entry);
    }
}
