//! Child processes that always end: each runs in a process group of its own, which is ended at its deadline,
//! when the child itself is done, and when this tool is interrupted.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    env::consts::EXE_SUFFIX,
    ffi::{OsStr, OsString},
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How long a group may take to end by itself once it has been asked to; half of it on Ctrl-C, so that this tool,
/// run by itself, is not ended before it has ended its own children.
const GRACE: Duration = Duration::from_secs(5);

/// How long output may still trickle in after the child is gone: a pipe that a stray grandchild keeps open must
/// not hold us up.
const TRICKLE: Duration = Duration::from_secs(2);

thread_local! {
    /// Where all that is shown is written too.
    static TRANSCRIPT: RefCell<Option<std::fs::File>> = const { RefCell::new(None) };
    /// What stands before each line that is shown.
    static NAME: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on, what [`Task::show`] shows on this thread is written to this file too.
pub(crate) fn keep_transcript(path: &Path) -> Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    TRANSCRIPT.set(Some(file));
    Ok(())
}

/// From now on, lines that are shown on this thread begin with this name.
pub(crate) fn name_lines(name: &str) {
    NAME.set(format!("{name} | "));
}

fn record(line: &str) {
    TRANSCRIPT.with_borrow_mut(|file| {
        if let Some(file) = file
            && let Err(error) = file.write_all(line.as_bytes())
        {
            eprintln!("cannot keep what is shown: {error}");
        }
    });
}

static CHILDREN: Mutex<Children> = Mutex::new(Children { groups: BTreeSet::new(), interrupted: false });

struct Children {
    groups: BTreeSet<u32>,
    /// Once set, nothing is started any more.
    interrupted: bool,
}

fn children() -> MutexGuard<'static, Children> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends every child when the user presses Ctrl-C or the system asks us to stop.
pub(crate) fn end_children_on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| {
        end_all();
        std::process::exit(130);
    })
    .context("cannot watch for Ctrl-C")
}

/// Ends everything, this program included, once so much time has passed.
pub(crate) fn give_up_after(limit: Duration, message: &'static str) {
    thread::spawn(move || {
        thread::sleep(limit);
        end_all();
        eprintln!("error: {message} ({} minutes)", limit.as_secs() / 60);
        std::process::exit(1);
    });
}

/// Ends every child, and lets no other be started.
fn end_all() {
    let mut children = children();
    children.interrupted = true;
    let groups = children.groups.clone();
    drop(children);
    for group in &groups {
        signal_group(*group, Ending::Ask);
    }
    let asked = Instant::now();
    while groups.iter().any(|group| group_lives(*group)) && asked.elapsed() < GRACE / 2 {
        thread::sleep(Duration::from_millis(20));
    }
    for group in &groups {
        signal_group(*group, Ending::Force);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Ask,
    Force,
}

#[cfg(unix)]
fn signal_group(group: u32, ending: Ending) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let signal = if ending == Ending::Force { Signal::KILL } else { Signal::INT };
    if let Some(pid) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // An error means that the group is already gone, which is what was asked for.
        let _ = kill_process_group(pid, signal);
    }
}

#[cfg(unix)]
fn group_lives(group: u32) -> bool {
    use rustix::process::{Pid, test_kill_process_group};
    i32::try_from(group).ok().and_then(Pid::from_raw).is_some_and(|pid| test_kill_process_group(pid).is_ok())
}

#[cfg(not(unix))]
fn signal_group(group: u32, ending: Ending) {
    if ending == Ending::Force {
        let group = group.to_string();
        // An error means that the process is already gone, which is what was asked for.
        drop(Command::new("taskkill").args(["/T", "/F", "/PID", &group]).output());
    }
}

#[cfg(not(unix))]
fn group_lives(_: u32) -> bool {
    false
}

/// A child and everything that it starts; all of it ends when this value does.
#[must_use = "the processes end when this is dropped"]
pub(crate) struct Group {
    child: Child,
}

impl Group {
    fn spawn(command: &mut Command) -> io::Result<Self> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let mut children = children();
        if children.interrupted {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let child = command.stdin(Stdio::null()).spawn()?;
        children.groups.insert(child.id());
        Ok(Self { child })
    }

    /// The child's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the child is done.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until the child is done by itself.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    fn end(&mut self) {
        let group = self.child.id();
        if matches!(self.child.try_wait(), Ok(None)) {
            signal_group(group, Ending::Ask);
            let asked = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < GRACE {
                thread::sleep(Duration::from_millis(10));
            }
        }
        signal_group(group, Ending::Force);
        // Reaps the child; it has been killed, so the status says nothing.
        drop(self.child.wait());
        children().groups.remove(&group);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a finished child left.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Exit code 0, within the deadline.
    pub(crate) success: bool,
    /// Everything it wrote, standard output and error in the order of arrival.
    pub(crate) text: String,
    /// Why it did not succeed, in a few words.
    pub(crate) reason: String,
}

enum Line {
    Out(String),
    Err(String),
}

/// A command to run, with its deadline.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    dir: PathBuf,
    deadline: Duration,
}

impl Task {
    /// A command in the root of the checkout that may take ten minutes.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            dir: crate::workspace::root().to_owned(),
            deadline: Duration::from_secs(600),
        }
    }

    /// The cargo that runs this tool.
    pub(crate) fn cargo() -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    pub(crate) fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), None));
        self
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        dir.as_ref().clone_into(&mut self.dir);
        self
    }

    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// The command as one would type it, without its environment.
    pub(crate) fn shown(&self) -> String {
        let short = Path::new(&self.program).file_stem().unwrap_or(&self.program);
        let words = std::iter::once(short).chain(self.args.iter().map(OsString::as_os_str));
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Starts it in the background; its output goes where ours goes.
    pub(crate) fn start(&self) -> Result<Group> {
        Group::spawn(&mut self.command()).with_context(|| format!("cannot start `{}`", self.shown()))
    }

    /// Starts it in the background with its output in a file.
    pub(crate) fn start_logged(&self, log: &Path) -> Result<Group> {
        let out = std::fs::File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = self.command();
        command.stdout(out.try_clone()?).stderr(out);
        Group::spawn(&mut command).with_context(|| format!("cannot start `{}`", self.shown()))
    }

    fn watch(&self, mut each: impl FnMut(&Line)) -> Result<Outcome> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group =
            Group::spawn(&mut command).with_context(|| format!("cannot start `{}`", self.shown()))?;
        let (sender, receiver) = mpsc::channel();
        if let Some(out) = group.child.stdout.take() {
            forward_lines(out, sender.clone(), Line::Out);
        }
        if let Some(err) = group.child.stderr.take() {
            forward_lines(err, sender, Line::Err);
        }

        let started = Instant::now();
        let mut text = String::new();
        let mut ended = None;
        loop {
            match receiver.recv_timeout(Duration::from_millis(20)) {
                Ok(line) => {
                    each(&line);
                    let (Line::Out(line) | Line::Err(line)) = line;
                    text.push_str(&line);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) if ended.is_some() => break,
                Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(5)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if ended.is_none() {
                if let Some(status) = group.try_wait()? {
                    ended = Some((status, Instant::now()));
                } else if started.elapsed() > self.deadline {
                    group.end();
                    let reason = format!("did not end within {} s and was stopped", self.deadline.as_secs());
                    return Ok(Outcome { success: false, text, reason });
                }
            } else if ended.is_some_and(|(_, at)| at.elapsed() > TRICKLE) {
                break;
            }
        }
        let status = match ended {
            Some((status, _)) => status,
            None => group.wait()?,
        };
        Ok(Outcome { success: status.success(), text, reason: status.to_string() })
    }

    /// Runs it with its output shown as it comes, and hands the output back too.
    pub(crate) fn show(&self) -> Result<Outcome> {
        let name = NAME.with_borrow(Clone::clone);
        eprintln!("{name}$ {}", self.shown());
        self.watch(|line| match line {
            Line::Out(line) => {
                record(line);
                let mut out = std::io::stdout().lock();
                // Whoever reads our output may have stopped reading (`| head`); that is no reason to fail.
                drop(out.write_all(format!("{name}{line}").as_bytes()).and_then(|()| out.flush()));
            }
            Line::Err(line) => {
                record(line);
                eprint!("{name}{line}");
            }
        })
    }

    /// Runs it with its output in the transcript alone, of which there may be thousands of lines, and hands it back.
    pub(crate) fn quietly(&self) -> Result<Outcome> {
        eprintln!("$ {}", self.shown());
        self.watch(|line| {
            let (Line::Out(line) | Line::Err(line)) = line;
            record(line);
        })
    }

    /// Runs it with its output shown; anything but success is an error.
    pub(crate) fn run(&self) -> Result<()> {
        let outcome = self.show()?;
        if !outcome.success {
            bail!("`{}`: {}", self.shown(), outcome.reason);
        }
        Ok(())
    }

    /// Runs a long step that shows by itself how far it is, as cargo does on a terminal of its own.
    pub(crate) fn in_sight(&self) -> Result<()> {
        let mut group = self.start()?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = group.try_wait()? {
                break status;
            }
            if started.elapsed() > self.deadline {
                bail!("`{}`: did not end within {} s and was stopped", self.shown(), self.deadline.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        };
        if !status.success() {
            bail!("`{}`: {status}", self.shown());
        }
        Ok(())
    }

    /// Runs it silently and returns what it wrote; anything but success is an error with that text.
    pub(crate) fn read(&self) -> Result<String> {
        let outcome = self.watch(|_| {})?;
        if !outcome.success {
            bail!("`{}`: {}\n{}", self.shown(), outcome.reason, tail(&outcome.text, 12));
        }
        Ok(outcome.text)
    }

    /// Runs a long step behind one line that says what goes on and for how long already; its output is shown
    /// only if it fails.
    pub(crate) fn step(&self, what: &str) -> Result<()> {
        let started = Instant::now();
        let live = std::io::stderr().is_terminal();
        let bar = if live { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg}")?);
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        if !live {
            eprintln!("  {what} ...");
        }
        let outcome = self.watch(|(Line::Out(line) | Line::Err(line))| {
            bar.set_message(line.trim().to_owned());
        });
        bar.finish_and_clear();
        let outcome = outcome?;
        if !outcome.success {
            bail!("{what}: `{}`: {}\n{}", self.shown(), outcome.reason, tail(&outcome.text, 40));
        }
        eprintln!("  {what}: done in {:.0} s", started.elapsed().as_secs_f32());
        Ok(())
    }
}

fn forward_lines(pipe: impl Read + Send + 'static, sender: Sender<Line>, wrap: fn(String) -> Line) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            if sender.send(wrap(String::from_utf8_lossy(&line).into_owned())).is_err() {
                break;
            }
            line.clear();
        }
    });
}

/// The last `count` lines of a text.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines.iter().skip(lines.len().saturating_sub(count)).copied().collect::<Vec<_>>().join("\n")
}

/// The directories of PATH.
pub(crate) fn path() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

/// The first of these programs that is on PATH.
pub(crate) fn on_path(names: &[&str]) -> Option<PathBuf> {
    names.iter().find_map(|name| find_in(&path(), name))
}

/// The first program of that name in these directories.
pub(crate) fn find_in(dirs: &[PathBuf], name: &str) -> Option<PathBuf> {
    dirs.iter().map(|dir| dir.join(format!("{name}{EXE_SUFFIX}"))).find(|file| file.is_file())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back() {
        let done = Task::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]).watch(|_| {}).unwrap();
        assert!(!done.success);
        assert!(done.text.contains("out\n") && done.text.contains("err\n"), "{}", done.text);
    }

    #[test]
    fn a_command_past_its_deadline_is_stopped() {
        let started = Instant::now();
        let late = Task::new("sh").args(["-c", "trap '' INT; while :; do sleep 1; done"]);
        let late = late.deadline(Duration::from_millis(300)).watch(|_| {}).unwrap();
        assert!(!late.success);
        assert!(late.reason.contains("did not end"), "{}", late.reason);
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn ending_a_group_ends_what_the_child_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo started; wait"]).stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command).unwrap();
        let mut out = BufReader::new(group.child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        drop(group);
        // The pipe closes once the last process that holds it is gone.
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(out.read_to_end(&mut Vec::new()).unwrap()));
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(0));
    }

    #[test]
    fn a_stray_grandchild_does_not_hold_the_result_up() {
        let started = Instant::now();
        let done = Task::new("sh").args(["-c", "sleep 600 & exit 0"]).watch(|_| {}).unwrap();
        assert!(done.success);
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn tail_keeps_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }
}
