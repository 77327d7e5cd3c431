// SPDX-License-Identifier: GPL-2.0

//! Programs for guests: those of this machine, or, for another architecture, those in Debian's packages.

use crate::{
    apt, arch,
    cmd::{output, program},
    files::{elf, read_bytes},
    toolchain::Toolchain,
};
use anyhow::{ensure, Context, Result};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// What guests of another architecture get their programs from.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "runc",
    "crun",
    "bubblewrap",
    "util-linux",
    "iproute2",
    // For what is built for a guest.
    "libc6-dev",
    "libgcc-14-dev",
];

/// The package of kexec, which not every architecture has.
pub const KEXEC: &str = "kexec-tools";

/// The folder where the guests' programs are as they will be in the guest.
pub fn root() -> Result<PathBuf> {
    let arch = arch::current();
    if !arch.is_foreign() {
        return Ok("/".into());
    }
    let kexec: &[&str] = if arch.kexec { &[KEXEC] } else { &[] };
    apt::unpacked(arch.suite, arch.debian, &[PACKAGES, kexec].concat())
}

/// Where [`KEXEC`] is on its own, with its libraries, once it has been asked for. Installed, it would change
/// how this machine reboots.
static KEXEC_ROOT: OnceLock<PathBuf> = OnceLock::new();

/// Returns where a file of a guest is here.
pub fn here(path: &Path) -> Result<PathBuf> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let file = root()?.join(path);
    let apart = KEXEC_ROOT.get().map(|root| root.join(path));
    Ok(apart.filter(|apart| !file.exists() && apart.exists()).unwrap_or(file))
}

/// Returns where a program will be in the guest.
pub fn find(name: &str, package: &str) -> Result<PathBuf> {
    let arch = arch::current();
    if !arch.is_foreign() {
        if package != KEXEC {
            return program(name, package);
        }
        let root = apt::unpacked(&apt::codename(), arch.debian, &[KEXEC])?;
        KEXEC_ROOT.get_or_init(|| root);
        return Ok(Path::new("/usr/sbin").join(name));
    }
    let root = root()?;
    first(&["/usr/bin", "/usr/sbin"], name).with_context(|| {
        format!("there is no program {name} in {}: add {package} to guest.rs", root.display())
    })
}

/// Returns where a guest will have a file, in the first of these folders.
fn first(dirs: &[&str], name: &str) -> Option<PathBuf> {
    let mut places = dirs.iter().map(|dir| Path::new(dir).join(name));
    places.find(|place| here(place).is_ok_and(|file| file.is_file()))
}

/// Returns a program and the libraries that it loads, with what loads them. They are looked for where
/// Debian has them; a program that names another place is not for guests.
pub fn with_libraries(path: &Path) -> Result<Vec<PathBuf>> {
    let dir = format!("/usr/lib/{}", arch::current().triplet());
    let library = |name: &&str| {
        first(&[dir.as_str(), "/usr/lib"], name)
            .with_context(|| format!("there is no {name}, which {} loads", path.display()))
    };
    let mut files = vec![path.to_path_buf()];
    let mut next = 0;
    while let Some(file) = files.get(next) {
        let bytes = read_bytes(&here(file)?)?;
        let elf = elf(file, &bytes)?;
        let loaded: Result<Vec<_>> = elf.libraries.iter().map(library).collect();
        for file in elf.interpreter.map(PathBuf::from).into_iter().chain(loaded?) {
            // What loads them has the name of a library, too.
            if !files.iter().any(|known| known.file_name() == file.file_name()) {
                files.push(file);
            }
        }
        next += 1;
    }
    Ok(files)
}

/// The C compiler for what is built for a guest, with its arguments.
pub fn compiler() -> Result<String> {
    if !arch::current().is_foreign() {
        return Ok("cc".to_owned());
    }
    let (triplet, root) = (arch::current().triplet(), root()?);
    let clang = Toolchain::find()?.program("clang");
    let (clang, root) = (clang.display(), root.display());
    Ok(format!("{clang} --target={triplet} --sysroot={root} -fuse-ld=lld"))
}

/// Returns where busybox is here, one that needs no libraries.
pub fn busybox() -> Result<PathBuf> {
    let busybox = here(&find("busybox", "busybox-static")?)?;
    let bytes = read_bytes(&busybox)?;
    ensure!(
        elf(&busybox, &bytes)?.libraries.is_empty(),
        "{} needs libraries: install the package busybox-static",
        busybox.display()
    );
    Ok(busybox)
}

/// The programs that busybox has. This machine's is asked, since the guest's may not run here.
pub fn applets() -> Result<Vec<String>> {
    let list = output(Command::new(program("busybox", "busybox-static")?).arg("--list"))?;
    let applets = list.lines().filter(|applet| *applet != "busybox");
    Ok(applets.map(str::to_owned).collect())
}
