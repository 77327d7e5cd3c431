// SPDX-License-Identifier: GPL-2.0

//! Boots kernels in QEMU.

use crate::{arch, cmd::go_on_unless_stopping, files::read_bytes};
use anyhow::{bail, ensure, Context, Result};
use regex::Regex;
use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, OnceLock},
    time::{Duration, Instant},
};

/// A virtual machine.
///
/// It has a serial port, which is the kernel's console, and a virtio console for what the guest has
/// to say, so that neither breaks the other's lines.
#[derive(Clone)]
pub struct Machine {
    pub kernel: PathBuf,
    /// What is booted in place of the kernel.
    pub loader: Option<Loader>,
    /// What a boot loader loads beside the kernel.
    pub initrd: Option<Initrd>,
    pub disk: Option<PathBuf>,
    pub append: String,
    /// What to type at the kernel's console, each once the console has said the first of the two.
    pub talk: Vec<(String, String)>,
    pub mib: u32,
    pub cpus: u32,
    /// Whether half of the memory is another node's.
    pub numa: bool,
    /// Count instructions, and have time go by with them: a nanosecond each.
    pub icount: bool,
    pub seconds: u64,
    /// Whether the kernel is under sanitizers, which take memory and time.
    pub debug: bool,
}

#[derive(Clone)]
pub enum Loader {
    /// A disk, which is booted again after each reset.
    Disk(PathBuf),
    /// The network card's own, with `boot.ipxe` in this folder.
    Network(PathBuf),
    /// UEFI, which finds a program in this folder, as on a removable disk.
    Uefi(PathBuf),
}

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
    "WARNING: |BUG: |Oops|general protection|UBSAN|KASAN: |blocked for more than\
    |possible recursive locking|circular locking|inconsistent lock state|INFO: rcu|suspicious RCU\
    |Segfault with no mm|unreferenced object|new suspected memory leaks";

/// What all kernels are told, but for those that a loader boots. A machine with much else to do may keep a
/// guest waiting for the 21 seconds after which RCU complains otherwise.
const WORDS: &str = "panic=-1 rcupdate.rcu_cpu_stall_timeout=60";

/// What the kernel says when an archive is the root, in a root mount; the file system and its options follow.
pub const ROOT_MOUNT: &str = "initramfs_mount: / is the initramfs";

impl Boot {
    /// All that was said, for the message of a failure.
    pub fn text(&self) -> String {
        let (guest, console) = (self.guest.trim_end(), self.console.trim_end());
        format!("--- guest ---\n{guest}\n--- console ---\n{console}")
    }

    /// Makes sure that the machine has switched itself off and the kernel had nothing to complain of.
    ///
    /// # Errors
    ///
    /// If not, with all that was said.
    pub fn check(&self) -> Result<()> {
        ensure!(self.ended, "the machine did not switch off\n{}", self.text());
        if let Some(complaint) = complaint(&self.console) {
            bail!("the console has {complaint:?}\n{}", self.text());
        }
        Ok(())
    }

    /// Whether an archive was taken for whole, and is the root.
    pub fn is_root(&self) -> bool {
        self.console.contains(ROOT_MOUNT)
    }

    /// The line with the kernel's panic.
    pub fn panic(&self) -> Option<&str> {
        self.console.lines().find(|line| line.contains("Kernel panic"))
    }
}

/// What a kernel has to complain of on its console.
pub fn complaint(console: &str) -> Option<&str> {
    static COMPLAINT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(COMPLAINTS).ok());
    COMPLAINT.as_ref()?.find(console).map(|found| found.as_str())
}

impl Machine {
    /// A machine with a kernel, 256 MiB, one CPU, and nothing else.
    pub fn new(kernel: &Path) -> Self {
        Self {
            kernel: kernel.to_owned(),
            loader: None,
            initrd: None,
            disk: None,
            append: String::new(),
            talk: Vec::new(),
            mib: 256,
            cpus: 1,
            numa: false,
            icount: false,
            seconds: 120,
            debug: false,
        }
    }

    /// Adds to the kernel's command line.
    pub fn append(mut self, words: &str) -> Self {
        self.append += &format!(" {words}");
        self
    }

    /// Boots it, and waits until it has switched itself off, or its time is over.
    ///
    /// # Errors
    ///
    /// If it can't start, or QEMU fails; then with what QEMU said.
    pub fn boot(&self) -> Result<Boot> {
        self.boot_with(if self.icount { "tcg" } else { accelerator(&self.kernel) })
    }

    fn boot_with(&self, accelerator: &str) -> Result<Boot> {
        let kernel = &self.kernel;
        ensure!(kernel.is_file(), "{} is not there", kernel.display());
        let arch = arch::current();
        let (mib, seconds) =
            if self.debug { (self.mib + 256, self.seconds * 4) } else { (self.mib, self.seconds) };
        let dir = tempfile::tempdir().context("can't make a folder for a virtual machine")?;
        let path = |name: &str| dir.path().join(name);
        let console = path("console");
        let mut qemu = Command::new(arch.qemu()?);
        qemu.args(["-nodefaults", "-display", "none"])
            .args(["-machine", arch.machine, "-cpu", arch.cpu, "-accel", accelerator])
            .args(["-m", &mib.to_string(), "-smp", &self.cpus.to_string()])
            .arg("-chardev")
            .arg(format!("stdio,id=console,signal=off,logfile={}", console.display()))
            .args(["-serial", "chardev:console"])
            .arg("-chardev")
            .arg(format!("file,id=guest,path={}", path("guest").display()))
            .args(["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=guest"]);
        let mut disks: Vec<&Path> = self.disk.iter().map(PathBuf::as_path).collect();
        match &self.loader {
            Some(Loader::Disk(disk)) => disks.insert(0, disk),
            Some(Loader::Network(dir)) => {
                let network = format!("user,id=network,bootfile=boot.ipxe,tftp={}", dir.display());
                qemu.args(["-no-reboot", "-netdev", &network])
                    .args(["-device", "virtio-net-pci,netdev=network"]);
            }
            Some(Loader::Uefi(dir)) => {
                let disk = format!("if=virtio,format=raw,readonly=on,file=fat:{}", dir.display());
                qemu.args(["-no-reboot", "-bios", "/usr/share/ovmf/OVMF.fd", "-drive", &disk]);
            }
            None => {
                let words = format!("console={} {} {WORDS}", arch.console, arch.words);
                qemu.args(["-no-reboot", "-kernel"]).arg(kernel);
                qemu.args(["-append", &(words + &self.append)]);
            }
        }
        if let Some(initrd) = &self.initrd {
            let file = match initrd {
                Initrd::File(file) => file.clone(),
                Initrd::Bytes(bytes) => {
                    fs::write(path("initrd"), bytes)?;
                    path("initrd")
                }
            };
            qemu.arg("-initrd").arg(file);
        }
        for disk in disks {
            // What a test writes there is nothing to the next one.
            let drive = format!("if=virtio,format=raw,snapshot=on,file={}", disk.display());
            qemu.args(["-drive", &drive]);
        }
        if self.numa {
            for node in ["0", "1"] {
                let memory = format!("memory-backend-ram,id=memory{node},size={}M", mib / 2);
                let node = format!("node,nodeid={node},memdev=memory{node}");
                qemu.args(["-object", &memory, "-numa", &node]);
            }
        }
        if self.icount {
            qemu.args(["-icount", "shift=0"]);
        }
        go_on_unless_stopping();
        let child = qemu
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(path("errors"))?)
            .spawn()
            .with_context(|| format!("can't run {}", arch.qemu))?;
        let status = converse(child, &console, &self.talk, Duration::from_secs(seconds))?;
        let boot =
            Boot { console: said(&console), guest: said(&path("guest")), ended: status.is_some() };
        let wrong = match status {
            Some(status) if !status.success() => format!("failed ({status})"),
            _ if !boot.console.contains("Linux version ") => "did not start".to_owned(),
            _ => return Ok(boot),
        };
        let errors = said(&path("errors"));
        bail!("the machine {wrong}, and QEMU says: {}\n{}", errors.trim(), boot.text())
    }
}

/// Returns what a terminal was sent, as lines. What has not begun has not said anything.
pub fn said(path: &Path) -> String {
    String::from_utf8_lossy(&read_bytes(path).unwrap_or_default()).replace('\r', "")
}

/// Waits for a program to end that writes to `log`, and types what it waits for. Stops it after
/// `limit`, and otherwise returns what it came to.
pub fn converse(
    mut child: Child,
    log: &Path,
    talk: &[(String, String)],
    limit: Duration,
) -> Result<Option<ExitStatus>> {
    let (start, mut told) = (Instant::now(), 0);
    let mut input = child.stdin.take();
    let (mut talk, mut seen) = (talk.iter(), 0);
    let mut next = talk.next();
    while start.elapsed() < limit {
        go_on_unless_stopping();
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if let (Some((question, answer)), Some(input)) = (next, &mut input) {
            let all = said(log);
            if let Some(at) = all.get(seen..).and_then(|new| new.find(question.as_str())) {
                seen += at + question.len();
                // It may have ended meanwhile, which the next round finds.
                let _ = input.write_all(format!("{answer}\n").as_bytes());
                let _ = input.flush();
                next = talk.next();
            }
        }
        let seconds = start.elapsed().as_secs();
        if seconds >= told + 30 {
            told = seconds;
            let all = said(log);
            eprintln!("    {seconds:>4} s  {}", all.lines().last().unwrap_or_default());
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
/// without any root goes as far as it can and panics, or runs what is in the kernel. Where none of it
/// works, the guest spins without a word.
pub fn accelerator(kernel: &Path) -> &'static str {
    static FOUND: OnceLock<&str> = OnceLock::new();
    FOUND.get_or_init(|| {
        let boot = |seconds| Machine { seconds, ..Machine::new(kernel) }.boot_with("kvm");
        let is_through =
            |boot: Boot| boot.console.contains("Kernel panic") || !boot.guest.is_empty();
        // The first seconds are for it to say anything.
        let runs = || boot(3).is_ok_and(|seen| is_through(seen) || boot(15).is_ok_and(is_through));
        let why = match File::options().read(true).write(true).open("/dev/kvm") {
            Err(e) if e.kind() == ErrorKind::NotFound => return "tcg",
            Err(e) => e.to_string(),
            Ok(_) if runs() => return "kvm",
            Ok(_) => "a kernel does not get through a boot with it".to_owned(),
        };
        eprintln!("  /dev/kvm is of no use: {why}. QEMU emulates, which takes longer.");
        "tcg"
    })
}
