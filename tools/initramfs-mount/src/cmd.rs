// SPDX-License-Identifier: GPL-2.0

//! Runs other programs, with progress for those that take a while.

use anyhow::{bail, Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

/// Returns the first of `names` that is in `PATH`, or in one of the folders for the super-user.
pub fn which(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .collect();
    names.iter().find_map(|name| {
        dirs.iter()
            .map(|dir| dir.join(name))
            .find(|file| file.is_file())
    })
}

/// Returns the program `name`, or an error that says which Debian package has it.
pub fn program(name: &str, package: &str) -> Result<PathBuf> {
    which(&[name]).with_context(|| {
        format!("the program {name} is missing: install the package {package}, or run `make deps`")
    })
}

/// Runs a program and returns what it prints.
///
/// # Errors
///
/// If it can't be started or fails; then the error has the end of what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("can't run {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed: {}", last_lines(&said, 12));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program that takes a while: shows what it does, and keeps all it prints in `log`.
///
/// # Errors
///
/// If it can't be started or fails; then the error names `log` and has its last lines.
pub fn watch(what: &str, log: &Path, command: &mut Command) -> Result<()> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    }
    let mut file = File::create(log).with_context(|| format!("can't write {}", log.display()))?;
    writeln!(file, "$ {}", describe(command))?;

    let (reader, writer) = os_pipe::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("can't run {}", describe(command)))?;
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
    bar: Option<ProgressBar>,
    start: Instant,
    said: Mutex<Instant>,
}

impl Progress {
    pub fn new(what: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let style =
                ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        if bar.is_none() {
            eprintln!("  {what} ...");
        }
        Self {
            what: what.to_owned(),
            bar,
            start: Instant::now(),
            said: Mutex::new(Instant::now()),
        }
    }

    pub fn line(&self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(line.trim().to_owned());
            return;
        }
        let Ok(mut said) = self.said.lock() else {
            return;
        };
        if said.elapsed() > Duration::from_secs(30) {
            *said = Instant::now();
            eprintln!(
                "    {:>4} s  {}",
                self.start.elapsed().as_secs(),
                line.trim()
            );
        }
    }

    pub fn done(&self, ok: bool) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!(
            "{} {} ({} s)",
            if ok { "✓" } else { "✗" },
            self.what,
            self.start.elapsed().as_secs()
        );
    }
}

/// Returns a command as somebody would type it.
pub fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns the lines that speak of errors, or else the last ones.
fn errors(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let first = lines.iter().position(|line| {
        [
            "error:",
            "error[",
            "Error ",
            "undefined symbol",
            "undefined reference",
            "*** ",
            "E: ",
        ]
        .iter()
        .any(|word| line.contains(word))
    });
    match first {
        Some(first) => {
            lines[first.saturating_sub(2)..]
                .iter()
                .take(25)
                .fold(String::new(), |mut all, line| {
                    all.push_str(line);
                    all.push('\n');
                    all
                })
        }
        None => last_lines(said, 15),
    }
}

fn last_lines(said: &str, count: usize) -> String {
    let lines: Vec<&str> = said.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
