// SPDX-License-Identifier: GPL-2.0

//! Boots kernels in QEMU.

use crate::cmd::program;
use anyhow::{bail, ensure, Context, Result};
use regex::Regex;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// A virtual machine.
///
/// It has two serial ports: the kernel's console, and one for what the guest has to say, so that
/// neither breaks the other's lines.
#[derive(Clone)]
pub struct Machine {
    pub kernel: PathBuf,
    pub initrd: Option<Initrd>,
    pub disk: Option<PathBuf>,
    pub append: String,
    /// What to type at the kernel's console, each once the console has said the first of the two.
    pub talk: Vec<(&'static str, String)>,
    pub mib: u32,
    pub cpus: u32,
    /// Count instructions, and have time go by with them: a nanosecond each.
    pub icount: bool,
    pub seconds: u64,
}

/// What a boot loader loads beside the kernel.
#[derive(Clone)]
pub enum Initrd {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl From<Vec<u8>> for Initrd {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// What was seen of a boot.
pub struct Boot {
    /// The kernel's console.
    pub console: String,
    /// What the guest said on the other port.
    pub guest: String,
    /// Whether the machine switched itself off.
    pub ended: bool,
}

/// What on a console no kernel should say, but for a panic, which a test may be about.
const COMPLAINTS: &str =
    "WARNING: |BUG: |Oops|general protection|UBSAN|KASAN|blocked for more than\
    |possible recursive locking|circular locking|inconsistent lock state|INFO: rcu|suspicious RCU";

impl Boot {
    /// Returns what the kernel has to complain of, if anything.
    pub fn complaint(&self) -> Result<Option<&str>> {
        Ok(Regex::new(COMPLAINTS)?
            .find(&self.console)
            .map(|found| found.as_str()))
    }
}

impl Machine {
    pub fn new(kernel: &Path) -> Self {
        Self {
            kernel: kernel.to_owned(),
            initrd: None,
            disk: None,
            append: String::new(),
            talk: Vec::new(),
            mib: 256,
            cpus: 1,
            icount: false,
            seconds: 60,
        }
    }

    pub fn boot(&self) -> Result<Boot> {
        self.boot_with(if self.icount {
            "tcg"
        } else {
            accelerator(&self.kernel)
        })
    }

    fn boot_with(&self, accelerator: &str) -> Result<Boot> {
        ensure!(
            self.kernel.is_file(),
            "{} is not there: run `make kernel` first",
            self.kernel.display()
        );
        let dir = tempfile::tempdir().context("can't make a folder for a virtual machine")?;
        let console = dir.path().join("console");
        let guest = dir.path().join("guest");
        let mut qemu = Command::new(program("qemu-system-x86_64", "qemu-system-x86")?);
        qemu.args([
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-machine",
            "pc",
            "-cpu",
            "max",
        ])
        .args(["-accel", accelerator])
        .arg("-chardev")
        .arg(format!(
            "stdio,id=console,signal=off,logfile={}",
            console.display()
        ))
        .args(["-serial", "chardev:console"])
        .args(["-m", &self.mib.to_string(), "-smp", &self.cpus.to_string()])
        .args(["-serial", &format!("file:{}", guest.display())])
        .arg("-kernel")
        .arg(&self.kernel)
        .args([
            "-append",
            &format!("console=ttyS0 panic=-1 {}", self.append),
        ]);
        match &self.initrd {
            Some(Initrd::Bytes(bytes)) => {
                let file = dir.path().join("initrd");
                fs::write(&file, bytes)?;
                qemu.arg("-initrd").arg(file);
            }
            Some(Initrd::File(file)) => {
                qemu.arg("-initrd").arg(file);
            }
            None => {}
        }
        if let Some(disk) = &self.disk {
            // What a test writes there is nothing to the next one.
            let disk = disk.display();
            qemu.args([
                "-drive",
                &format!("if=virtio,format=raw,snapshot=on,file={disk}"),
            ]);
        }
        if self.icount {
            qemu.args(["-icount", "shift=0"]);
        }
        let errors = dir.path().join("errors");
        let child = qemu
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&errors)?)
            .spawn()
            .context("can't run qemu-system-x86_64")?;
        let status = converse(
            child,
            &console,
            &self.talk,
            Duration::from_secs(self.seconds),
        )?;
        let boot = Boot {
            console: read(&console),
            guest: read(&guest),
            ended: status.is_some(),
        };
        let wrong = match status {
            Some(status) if !status.success() => format!("failed ({status})"),
            _ if !boot.console.contains("Linux version ") => "did not start".to_owned(),
            _ => return Ok(boot),
        };
        bail!(
            "the machine {wrong}, and QEMU says: {}\n--- console ---\n{}",
            read(&errors).trim(),
            boot.console.trim_end()
        )
    }
}

/// Returns what a terminal was sent, as lines. What has not begun has not said anything.
pub fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\r', "")
}

/// Waits for a program to end that writes to `log`, and types what it waits for. Stops it after
/// `limit`, and otherwise returns what it came to.
pub fn converse(
    mut child: Child,
    log: &Path,
    talk: &[(&str, String)],
    limit: Duration,
) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut input = child.stdin.take();
    let (mut talk, mut seen) = (talk.iter(), 0);
    let mut next = talk.next();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if let (Some((question, answer)), Some(input)) = (next, &mut input) {
            let said = read(log);
            if let Some(at) = said.get(seen..).and_then(|new| new.find(question)) {
                seen += at + question.len();
                // It may have ended meanwhile, which the next round finds.
                let _ = input
                    .write_all(format!("{answer}\n").as_bytes())
                    .and_then(|()| input.flush());
                next = talk.next();
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Returns QEMU's fastest way to run a kernel here.
///
/// There are machines with a `/dev/kvm` that can't run an ordinary kernel: only a boot tells. One
/// without any root goes as far as it can and panics.
fn accelerator(kernel: &Path) -> &'static str {
    static FOUND: OnceLock<&str> = OnceLock::new();
    FOUND.get_or_init(|| {
        let usable = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok();
        let probe = Machine {
            seconds: 15,
            ..Machine::new(kernel)
        };
        if usable
            && probe
                .boot_with("kvm")
                .is_ok_and(|boot| boot.console.contains("Kernel panic"))
        {
            "kvm"
        } else {
            "tcg"
        }
    })
}
