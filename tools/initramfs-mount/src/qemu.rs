// SPDX-License-Identifier: GPL-2.0

//! Boots kernels in QEMU.

use crate::cmd::program;
use anyhow::{ensure, Context, Result};
use regex::Regex;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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
    pub initrd: Option<Vec<u8>>,
    pub disk: Option<PathBuf>,
    pub append: String,
    pub mib: u32,
    pub cpus: u32,
    /// Count instructions, and have time go by with them: a nanosecond each.
    pub icount: bool,
    pub seconds: u64,
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
        .args(["-m", &self.mib.to_string(), "-smp", &self.cpus.to_string()])
        .args(["-serial", &format!("file:{}", console.display())])
        .args(["-serial", &format!("file:{}", guest.display())])
        .arg("-kernel")
        .arg(&self.kernel)
        .args([
            "-append",
            &format!("console=ttyS0 panic=-1 {}", self.append),
        ]);
        if let Some(initrd) = &self.initrd {
            let file = dir.path().join("initrd");
            fs::write(&file, initrd)?;
            qemu.arg("-initrd").arg(file);
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
        let child = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("can't run qemu-system-x86_64")?;
        let ended = wait(child, Duration::from_secs(self.seconds))?;
        let read = |path: &Path| {
            let bytes = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\r', "")
        };
        Ok(Boot {
            console: read(&console),
            guest: read(&guest),
            ended,
        })
    }
}

/// Waits for a machine to switch itself off; after `limit`, switches it off.
fn wait(mut child: Child, limit: Duration) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
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
