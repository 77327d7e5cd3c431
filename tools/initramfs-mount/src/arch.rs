// SPDX-License-Identifier: GPL-2.0

//! The architectures that kernels are built for. What else differs between them is in
//! `configs/arch/`.

use crate::{apt, cmd::program};
use anyhow::{bail, Error, Result};
use std::{path::PathBuf, sync::OnceLock};

/// An architecture.
#[derive(Debug)]
pub struct Arch {
    /// As `configs/arch/` and people call it. What follows a dash sets it apart from another row.
    pub name: &'static str,
    /// As the kernel's `ARCH=` does.
    pub kernel: &'static str,
    pub page_kib: u32,
    /// As kunit.py does.
    pub kunit: &'static str,
    /// As Debian does.
    pub debian: &'static str,
    /// Whether virtme-ng knows it, by Debian's name.
    pub in_vng: bool,
    /// The release of Debian that its guests get their programs from.
    pub suite: &'static str,
    /// Whether kexec works there, and that release has it.
    pub kexec: bool,
    /// What a boot loader takes, in the folder that a kernel is built in.
    pub image: &'static str,
    /// As GCC and Rust do, and the folders of libraries.
    pub gnu: &'static str,
    pub qemu: &'static str,
    /// Debian's packages with that.
    pub qemu_packages: &'static [&'static str],
    /// Whether that of Debian 12 is too old to boot it.
    needs_new_qemu: bool,
    pub machine: &'static str,
    pub cpu: &'static str,
    /// The serial port of that machine.
    pub console: &'static str,
    /// What else the kernel is told there.
    pub words: &'static str,
    /// The command that runs for it there.
    pub in_test_all: &'static str,
}

/// What others have, too, unless their rows have something else.
const ARM64: Arch = Arch {
    name: "arm64",
    kernel: "arm64",
    page_kib: 4,
    kunit: "arm64",
    debian: "arm64",
    in_vng: true,
    suite: "trixie",
    kexec: true,
    image: "arch/arm64/boot/Image.gz",
    gnu: "aarch64",
    qemu: "qemu-system-aarch64",
    qemu_packages: &["qemu-system-arm"],
    needs_new_qemu: false,
    // A kernel that takes no random place leaves the seed for it, which kexec refuses.
    machine: "virt,dtb-randomness=off",
    cpu: "max",
    console: "ttyAMA0",
    words: "",
    in_test_all: "test",
};

const ALL: &[Arch] = &[
    Arch {
        name: "x86_64",
        kernel: "x86",
        kunit: "x86_64",
        debian: "amd64",
        image: "arch/x86/boot/bzImage",
        gnu: "x86_64",
        qemu: "qemu-system-x86_64",
        qemu_packages: &["qemu-system-x86"],
        machine: "pc",
        console: "ttyS0",
        // Where the host is busy, QEMU's timer is late, and the kernel, which looks for it early, panics with
        // "IO-APIC + timer doesn't work!".
        words: "no_timer_check",
        ..ARM64
    },
    ARM64,
    Arch { name: "arm64-64k", page_kib: 64, ..ARM64 },
    Arch {
        name: "riscv64",
        kernel: "riscv",
        kunit: "riscv",
        debian: "riscv64",
        kexec: false,
        image: "arch/riscv/boot/Image",
        gnu: "riscv64",
        qemu: "qemu-system-riscv64",
        qemu_packages: &["qemu-system-misc", "opensbi"],
        machine: "virt",
        cpu: "rv64",
        console: "ttyS0",
        // A panic may come before the port's driver.
        words: "earlycon",
        ..ARM64
    },
    Arch {
        name: "loongarch64",
        kernel: "loongarch",
        page_kib: 16,
        kunit: "loongarch",
        debian: "loong64",
        in_vng: false,
        suite: "forky",
        // The second kernel says nothing in QEMU.
        kexec: false,
        image: "arch/loongarch/boot/vmlinux.elf",
        gnu: "loongarch64",
        qemu: "qemu-system-loongarch64",
        qemu_packages: &["qemu-system-misc"],
        needs_new_qemu: true,
        machine: "virt",
        cpu: "max",
        console: "ttyS0",
        // As on riscv64.
        words: "earlycon",
        // A machine that panics early does not reboot, and QEMU wants more memory than some situations have.
        in_test_all: "kunit",
    },
];

static CHOSEN: OnceLock<&Arch> = OnceLock::new();

/// Has kernels built for an architecture, and no other later on.
///
/// # Errors
///
/// If it has no row here.
pub fn choose(name: &str) -> Result<()> {
    let Some(arch) = ALL.iter().find(|arch| [arch.name, arch.kernel].contains(&name)) else {
        let known: Vec<_> = ALL.iter().map(|arch| arch.name).collect();
        bail!("ARCH={name} is not known here: use {}", known.join(", "));
    };
    CHOSEN.get_or_init(|| arch);
    Ok(())
}

/// The one that kernels are built for: this machine's, unless another one was chosen.
pub fn current() -> &'static Arch {
    CHOSEN.get_or_init(native)
}

/// All but the one that kernels are built for.
pub fn others() -> impl Iterator<Item = &'static Arch> {
    ALL.iter().filter(|arch| arch.name != current().name)
}

/// This machine's.
fn native() -> &'static Arch {
    let runs_here = |arch: &&Arch| arch.gnu == std::env::consts::ARCH;
    ALL.iter().find(runs_here).unwrap_or(&ALL[0])
}

impl Arch {
    /// Its name, without what is behind a dash.
    pub fn family(&self) -> &str {
        self.name.split('-').next().unwrap_or(self.name)
    }

    /// Returns where its QEMU is.
    pub fn qemu(&self) -> Result<PathBuf> {
        static NEW: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        if !self.needs_new_qemu || apt::codename() != "bookworm" {
            return program(self.qemu, self.qemu_packages[0]);
        }
        let get = || apt::program_of_debian_13(self.qemu, native().debian, self.qemu_packages);
        NEW.get_or_init(|| get().map_err(|e| format!("{e:#}"))).clone().map_err(Error::msg)
    }

    /// What make is asked for to make the image.
    pub fn target(&self) -> &str {
        self.image.rsplit('/').next().unwrap_or(self.image)
    }

    /// The folder of its libraries in Debian.
    pub fn triplet(&self) -> String {
        format!("{}-linux-gnu", self.gnu)
    }

    /// Whether it is another row than this machine's.
    pub fn is_foreign(&self) -> bool {
        self.name != native().name
    }

    /// What a folder with kernels for it is called, `name` being that of those for this machine.
    pub fn dir_name(&self, name: &str) -> String {
        if self.is_foreign() {
            format!("{name}-{}", self.name)
        } else {
            name.to_owned()
        }
    }
}
