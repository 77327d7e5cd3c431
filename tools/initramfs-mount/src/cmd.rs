// SPDX-License-Identifier: GPL-2.0

//! Runs other programs: with progress for those that take a while, and none goes on when this one is
//! told to stop.

use anyhow::{bail, ensure, Context, Result};
use goblin::elf::Elf;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rustix::process::{kill_process, Pid, Signal};
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File, Permissions},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    io::{BufRead, BufReader, IsTerminal, Write},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{exit, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
        Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
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
        for dir in lock(&HALF_MADE).iter().chain([&path]) {
            let _ = fs::remove_dir_all(dir);
        }
        // Who was listening may be gone, and then this thread is not to die of it.
        let _ = writeln!(std::io::stderr(), "\nstopped");
        exit(130);
    })?;
    Ok(dir)
}

static STOPPING: AtomicBool = AtomicBool::new(false);

/// Folders of the cache in which something is being made, or has been.
static HALF_MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

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

/// Reads the headers of an ELF file.
pub fn elf<'a>(file: &Path, bytes: &'a [u8]) -> Result<Elf<'a>> {
    Elf::parse(bytes).with_context(|| format!("{} is no ELF file", file.display()))
}

/// The size of a section of an ELF file, or 0 if it has none of that name.
pub fn section_size(file: &Path, name: &str) -> Result<u64> {
    let bytes = read_bytes(file)?;
    let elf = elf(file, &bytes)?;
    let mut sections = elf.section_headers.iter();
    let section = sections.find(|head| elf.shdr_strtab.get_at(head.sh_name) == Some(name));
    Ok(section.map_or(0, |head| head.sh_size))
}

/// The files of a folder, always in the same order.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(dir).with_context(|| format!("can't read {}", dir.display()))?;
    let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}

/// Locks what other threads use, too. One that panicked has failed its test; what it left is still used.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that tells a value from others, the same in each run.
pub fn hash(value: impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
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

/// Makes a folder, and those that it is in.
pub fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))
}

/// Values that are made once, by whoever wants one first. All others get the same, or its error.
pub struct MadeOnce<K, V>(Mutex<HashMap<K, Made<V>>>);

type Made<V> = Arc<OnceLock<Result<V, String>>>;

impl<K: Eq + Hash, V: Clone> MadeOnce<K, V> {
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    /// Returns the value of a key, which `make` makes.
    pub fn get(&self, key: K, make: impl FnOnce() -> Result<V>) -> Result<V> {
        let cell = {
            let mut cells = lock(&self.0);
            Arc::clone(cells.entry(key).or_default())
        };
        let mut first = false;
        let value = cell.get_or_init(|| {
            first = true;
            make().map_err(|e| format!("{e:#}"))
        });
        match value {
            Ok(value) => Ok(value.clone()),
            Err(e) if first => bail!(e.clone()),
            // Once is enough for a compiler's errors.
            Err(e) => bail!("{}\n(as above)", e.lines().next().unwrap_or_default()),
        }
    }
}

/// Makes what stays in the cache, unless it is there, in a folder of its own: nobody sees a half of it.
pub fn cached(done: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    static MADE: LazyLock<MadeOnce<PathBuf, ()>> = LazyLock::new(MadeOnce::new);
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    MADE.get(done.to_owned(), || {
        let _one = lock(&ONE_AT_A_TIME);
        if done.exists() {
            return Ok(());
        }
        let parent = done.parent().unwrap_or(Path::new("/"));
        make_dir(parent)?;
        let dir = tempfile::tempdir_in(parent)
            .with_context(|| format!("can't make a folder in {}", parent.display()))?;
        lock(&HALF_MADE).push(dir.path().to_owned());
        let new = dir.path().join("new");
        make(&new)?;
        if let Err(e) = fs::rename(&new, done) {
            // Or another make was faster.
            ensure!(done.exists(), "can't make {}: {e}", done.display());
        }
        Ok(())
    })
}

/// Reads a text file.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

/// Reads a file.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("can't read {}", path.display()))
}

/// Writes a file, unless it is just that already.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes.as_ref()) {
        return Ok(());
    }
    make_dir(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, bytes).with_context(|| format!("can't write {}", path.display()))
}

/// Returns lines as a script.
pub fn script(lines: &str) -> String {
    format!("#!/bin/sh\n{lines}\n")
}

/// Writes lines as a script that can be run.
pub fn write_script(path: &Path, lines: &str) -> Result<()> {
    write(path, script(lines))?;
    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).with_context(|| format!("can't make {} run", path.display()))
}
