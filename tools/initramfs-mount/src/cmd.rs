// SPDX-License-Identifier: GPL-2.0

//! Runs other programs: with progress for those that take a while, and none goes on when this one is
//! told to stop.

use crate::{
    files::make_dir,
    once::{self, lock},
};
use anyhow::{bail, Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rustix::process::{kill_process, Pid, Signal};
use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{BufRead, BufReader, IsTerminal, Write},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{exit, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
        Arc, LazyLock, Mutex,
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Has all temporary files be in one folder, which it returns, and has Ctrl-C, or a request to
/// terminate, end all programs that were started here and remove that folder.
pub fn stop_on_signals() -> Result<TempDir> {
    let dir = tempfile::Builder::new()
        .prefix("initramfs-mount-")
        // Not only for this user: mmdebstrap works there as others.
        .permissions(Permissions::from_mode(0o755))
        // Some of them are large, and /tmp may be in memory.
        .tempdir_in(std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into()))
        .context("can't make a folder for temporary files")?;
    std::env::set_var("TMPDIR", dir.path());
    let path = dir.path().to_owned();
    ctrlc::set_handler(move || {
        let _whole = lock(&WHOLE);
        STOPPING.store(true, Ordering::SeqCst);
        let start = Instant::now();
        loop {
            let left = descendants();
            if left.is_empty() {
                break;
            }
            let late = start.elapsed() > Duration::from_secs(5);
            let signal = if late { Signal::KILL } else { Signal::TERM };
            for (pid, installs) in left {
                // What is half installed is not to be left so.
                if !installs {
                    // It may have ended by itself.
                    let _ = kill_process(pid, signal);
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        once::remove_half_made();
        let _ = fs::remove_dir_all(&path);
        // Who was listening may be gone, and then this thread is not to die of it.
        let _ = writeln!(std::io::stderr(), "\nstopped");
        exit(130);
    })?;
    Ok(dir)
}

/// Whoever holds it is not stopped before the end.
pub static WHOLE: Mutex<()> = Mutex::new(());

static STOPPING: AtomicBool = AtomicBool::new(false);

/// Comes to no end when all is being stopped, so that nothing more is started, and nobody tells of
/// what has failed for that reason.
pub fn go_on_unless_stopping() {
    while STOPPING.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// The same after a program has ended. A terminal stops all at once, and this one may not know of it yet.
fn go_on_after(status: ExitStatus) {
    let is_stopped = |signal: Signal| {
        status.signal() == Some(signal.as_raw()) || status.code() == Some(128 + signal.as_raw())
    };
    if is_stopped(Signal::INT) || is_stopped(Signal::TERM) {
        std::thread::sleep(Duration::from_millis(300));
    }
    go_on_unless_stopping();
}

/// The processes that this one has started, and those that they have started, with whether they install
/// packages.
fn descendants() -> Vec<(Pid, bool)> {
    let all: Vec<_> = procfs::process::all_processes()
        .into_iter()
        .flatten()
        .filter_map(|process| process.ok()?.stat().ok().filter(|stat| stat.state != 'Z'))
        .collect();
    let mut found = vec![(std::process::id() as i32, false)];
    let mut next = 0;
    while let Some((parent, installs)) = found.get(next).copied() {
        let children = all.iter().filter(|stat| stat.ppid == parent);
        let installs = |name: &str| installs || ["dpkg", "apt-get"].contains(&name);
        found.extend(children.map(|stat| (stat.pid, installs(&stat.comm))));
        next += 1;
    }
    found[1..]
        .iter()
        .filter_map(|(pid, installs)| Some((Pid::from_raw(*pid)?, *installs)))
        .collect()
}

/// Returns all programs of that name in `PATH`, or in one of the folders for the super-user.
pub fn all(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .filter(|file| file.is_file())
        .collect()
}

/// Returns the first of [`all`].
pub fn which(name: &str) -> Option<PathBuf> {
    all(name).into_iter().next()
}

/// Returns the program `name`, or an error that says which Debian package has it.
pub fn program(name: &str, package: &str) -> Result<PathBuf> {
    which(name).with_context(|| {
        format!(
            "the program {name} is missing: install the package {package}, or all with `make deps ARGS=--all`"
        )
    })
}

/// Runs a program and returns what it prints.
///
/// # Errors
///
/// If it can't be started or fails; then the error has all that it said.
pub fn output(command: &mut Command) -> Result<String> {
    let said = output_bytes(command.stdin(Stdio::null()))?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The same of one that prints what is no text, and may read something.
pub fn output_bytes(command: &mut Command) -> Result<Vec<u8>> {
    let name = describe(command);
    go_on_unless_stopping();
    let output = command.output().with_context(|| format!("can't run {name}"))?;
    go_on_after(output.status);
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{name} failed: {}", String::from_utf8_lossy(&said).trim_end());
    }
    Ok(output.stdout)
}

/// Runs a program that takes a while: shows what it does, and keeps all it prints in `log`.
///
/// # Errors
///
/// If it can't be started or fails; then the error names `log` and has what went wrong.
pub fn watch(what: &str, log: &Path, command: &mut Command) -> Result<()> {
    make_dir(log.parent().unwrap_or(Path::new(".")))?;
    let mut file = File::create(log).with_context(|| format!("can't write {}", log.display()))?;
    writeln!(file, "$ {}", describe(command))?;

    let (reader, writer) = os_pipe::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    go_on_unless_stopping();
    let mut child = command.spawn().with_context(|| format!("can't run {}", describe(command)))?;
    // The command holds the writing ends of the pipe, which would never come to an end.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let progress = Progress::new(what);
    let mut said = String::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(file, "{line}")?;
        progress.line(&line);
        said.push_str(&line);
        said.push('\n');
    }
    let status = child.wait()?;
    go_on_after(status);
    progress.done(status.success());
    if !status.success() {
        bail!("{what} failed, see {}:\n{}", log.display(), errors(&said));
    }
    Ok(())
}

/// Progress of something that takes a while: a line that changes, or, where nobody watches, one at
/// its start, one at its end and one each half minute.
pub struct Progress {
    what: String,
    start: Instant,
    bar: Option<ProgressBar>,
    last: Arc<Mutex<String>>,
    /// Dropped, it ends the thread that tells the last line.
    _alive: Sender<()>,
}

impl Progress {
    pub fn new(what: &str) -> Self {
        let start = Instant::now();
        let last = Arc::new(Mutex::new(String::new()));
        let (alive, ended) = mpsc::channel();
        let bar = std::io::stderr().is_terminal().then(|| {
            static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
            let bar = BARS.add(ProgressBar::new_spinner());
            let style =
                ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        if bar.is_none() {
            eprintln!("  {what} ...");
            let (last, what) = (Arc::clone(&last), what.to_owned());
            std::thread::spawn(move || {
                while ended.recv_timeout(Duration::from_secs(30)) == Err(RecvTimeoutError::Timeout)
                {
                    let line = lock(&last).clone();
                    eprintln!("    {:>4} s  {what}: {line:.60}", start.elapsed().as_secs());
                }
            });
        }
        Self { what: what.to_owned(), start, bar, last, _alive: alive }
    }

    /// Takes a line as the last one that was said.
    pub fn line(&self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(line.trim().to_owned());
        } else {
            line.trim().clone_into(&mut lock(&self.last));
        }
    }

    /// Says how it ended, and how long it took.
    pub fn done(&self, ok: bool) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let (sign, seconds) = (if ok { "✓" } else { "✗" }, self.start.elapsed().as_secs());
        eprintln!("{sign} {} ({seconds} s)", self.what);
    }
}

/// Returns a command with its arguments.
pub fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns the lines that speak of errors, or else the last ones.
fn errors(said: &str) -> String {
    let words = ["error:", "error[", "Error ", "undefined ", "*** ", "E: ", "fatal:"];
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let first = lines.iter().position(|line| words.iter().any(|word| line.contains(word)));
    let from = first.map_or(lines.len().saturating_sub(12), |at| at.saturating_sub(2));
    let few: Vec<_> = lines[from..].iter().take(25).copied().collect();
    few.join("\n")
}
