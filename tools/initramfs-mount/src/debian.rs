// SPDX-License-Identifier: GPL-2.0

//! A small Debian, from the packages of this machine's mirror: as an initramfs, and on a disk with
//! the initramfs images that Debian's own tools make.

use crate::{
    apt,
    base::Base,
    cmd::{program, watch},
    files::{files, make_dir, read, write},
    kernel::DISTRIBUTION,
    once::{cached, hash, lock},
    paths,
};
use anyhow::Result;
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

/// What is in it, on top of Debian's essential packages, none of them changed.
pub const PACKAGES: &[&str] = &[
    "apt",
    "systemd",
    "systemd-sysv",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "udev",
    "login",
    "passwd",
    "kmod",
    "iproute2",
    "iptables",
    "nftables",
    "e2fsprogs",
    "ca-certificates",
    "runc",
    "crun",
    "bubblewrap",
    "podman",
    "uidmap",
    "slirp4netns",
    "netavark",
    "aardvark-dns",
    "docker.io",
    "systemd-container",
    "lxc",
    "initramfs-tools",
    "dracut-core",
    "cpio",
    "zstd",
];

/// What nothing here reads.
const LEFT_OUT: &[&str] = &["doc", "man", "locale", "info", "bash-completion"];

/// The helper that was built beside this program.
pub fn mounts() -> Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("mounts"))
}

/// Returns the archive, with systemd as its `/init`. It is made once and kept in the cache.
pub fn archive() -> Result<PathBuf> {
    let codename = apt::codename();
    let mut packages = PACKAGES.to_vec();
    if codename != "bookworm" {
        // Newer Debians have them apart.
        packages.extend(["docker-cli", "passt"]);
    }
    let customize = paths::tool("debian/customize.sh");
    let hash = hash((&packages, LEFT_OUT, read(&customize)?));
    let dir = paths::cache().join("debian");
    let archive = dir.join(format!("{codename}-{hash:016x}.cpio"));
    cached(&archive, |new| {
        let sources = new.with_extension("sources");
        write(&sources, apt::sources(&[])?)?;
        let mut mmdebstrap = Command::new(program("mmdebstrap", "mmdebstrap")?);
        mmdebstrap
            .env("ARCHIVE", new)
            .env("VERSIONS", archive.with_extension("versions"))
            .args(["--variant=essential", "--format=null"])
            .arg(format!("--include={}", packages.join(",")))
            .args(LEFT_OUT.iter().map(|dir| format!("--dpkgopt=path-exclude=/usr/share/{dir}/*")))
            .arg(format!("--customize-hook={}", customize.display()))
            .args([codename.as_str(), "-"])
            .arg(sources);
        let log = paths::cache().join("debian.log");
        watch(&format!("making a small Debian {codename}"), &log, &mut mmdebstrap)
    })?;
    Ok(archive)
}

/// Returns the packages in the archive with their versions, a line each.
pub fn versions() -> Result<String> {
    read(&archive()?.with_extension("versions"))
}

/// Installs the small Debian on a disk, and makes initramfs images for [`DISTRIBUTION`], which has been built. Returns
/// the folder with `disk.img`, `initramfs-tools.img` and `dracut.img`.
pub fn install(base: &Base, kernel: &Path) -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = lock(&ONE_AT_A_TIME);
    let (archive, mounts, script) = (archive()?, mounts()?, paths::tool("debian/install.sh"));
    let out = base.dir.join("debian");
    make_dir(&out)?;
    let made = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let mut inputs = vec![archive.clone(), kernel.to_owned(), mounts.clone()];
    for dir in ["guest", "debian"] {
        inputs.extend(files(&paths::tool(dir))?);
    }
    if made(&out.join("disk.img")) > inputs.iter().map(|path| made(path)).max().flatten() {
        return Ok(out);
    }
    let objects = DISTRIBUTION.dir(base);
    let release = read(&objects.join("include/config/kernel.release"))?;
    let given = [
        ("RELEASE", release.trim().into()),
        ("CONFIG", objects.join(".config").into()),
        ("KERNEL", kernel.into()),
        ("MOUNTS", mounts.into()),
    ];
    let what = "installing the small Debian, with initramfs-tools and dracut";
    on_disk(what, &base.log("debian-install.log"), &script, &out, &given)?;
    Ok(out)
}

/// Has apt install packages of a kernel in the small Debian, on a disk. Returns the folder with `disk.img`,
/// `vmlinuz`, the `initrd.img` that the packages have made, and `modules.cpio`.
pub fn install_kernel<'a>(
    base: &Base,
    packages: impl Iterator<Item = &'a PathBuf>,
) -> Result<PathBuf> {
    let out = base.dir.join("deb");
    let sources = tempfile::Builder::new().suffix(".sources").tempfile()?;
    fs::write(sources.path(), apt::sources(&[])?)?;
    let names: Vec<_> = packages.map(|package| package.display().to_string()).collect();
    let given = [
        ("PACKAGES", names.join(" ").into()),
        ("SOURCES", sources.path().into()),
        ("MODULE", paths::tool("debian/module").into()),
    ];
    let script = paths::tool("debian/install_kernel.sh");
    let what = "installing the packages in the small Debian";
    on_disk(what, &base.log("deb-install.log"), &script, &out, &given)?;
    Ok(out)
}

/// Leaves a disk in `out` with the small Debian, in which a script has done something.
fn on_disk(
    what: &str,
    log: &Path,
    script: &Path,
    out: &Path,
    given: &[(&str, OsString)],
) -> Result<()> {
    let dir = tempfile::tempdir()?;
    program("cpio", "cpio")?;
    let mut unshare = Command::new(program("unshare", "util-linux")?);
    if !apt::is_root() {
        program("newuidmap", "uidmap")?;
        unshare.args(["--map-root-user", "--map-auto"]);
    }
    unshare
        .args(["--mount", "--pid", "--fork", "--kill-child", "sh"])
        .arg(paths::tool("debian/on_disk.sh"))
        // There is no such folder in the small Debian.
        .env_remove("TMPDIR")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("DIR", dir.path())
        .env("SCRIPT", script)
        .env("OUT", out)
        .env("ARCHIVE", archive()?)
        .env("GUEST", paths::tool("guest"))
        .envs(given.iter().map(|(name, value)| (name, value)));
    watch(what, log, &mut unshare)
}
