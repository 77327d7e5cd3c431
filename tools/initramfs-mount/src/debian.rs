// SPDX-License-Identifier: GPL-2.0

//! A small Debian, from the packages of this machine's mirror: as an initramfs, and on a disk with
//! the initramfs images that Debian's own tools make.

use crate::{
    base::Base,
    cmd::{output, program, watch},
    deps::debian_codename,
    kernel, paths, source,
};
use anyhow::{Context, Result};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

/// What is in it, on top of Debian's essential packages. None of it is changed or configured.
pub const PACKAGES: &[&str] = &[
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
    "kexec-tools",
    "initramfs-tools",
    "dracut-core",
    "cpio",
    "zstd",
];

/// What nothing here reads.
const LEFT_OUT: &[&str] = &["doc", "man", "locale", "info", "bash-completion"];

/// What is done in the new root before it is packed: a user, and a root who needs no password.
const CUSTOMIZE: &str = r#"set -e
chroot "$1" useradd --create-home --shell /bin/sh user
chroot "$1" passwd --quiet --delete root
echo debian > "$1/etc/hostname"
rm -f "$1/etc/resolv.conf"
ln -s sbin/init "$1/init"
chroot "$1" dpkg-query --show > "$VERSIONS"
cd "$1"
find . -xdev ! -path './dev/*' ! -path './var/lib/apt/lists/*' ! -path './var/cache/*' |
	cpio --quiet -o -H newc > "$ARCHIVE"
"#;

/// Returns the archive, with systemd as its `/init`. It is made once and kept in the cache.
pub fn archive() -> Result<PathBuf> {
    let codename = debian_codename();
    let mut packages = PACKAGES.to_vec();
    if codename != "bookworm" {
        // Newer Debians have them apart.
        packages.extend(["docker-cli", "passt"]);
    }
    let mut hasher = DefaultHasher::new();
    (&packages, LEFT_OUT, CUSTOMIZE).hash(&mut hasher);
    let dir = paths::cache().join("debian");
    let archive = dir.join(format!("{codename}-{:016x}.cpio", hasher.finish()));
    if archive.is_file() {
        return Ok(archive);
    }
    fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
    let half = tempfile::NamedTempFile::new_in(&dir)?;
    let sources = tempfile::Builder::new().suffix(".sources").tempfile()?;
    fs::write(sources.path(), source::debian_sources(&[])?)?;

    let mut mmdebstrap = Command::new(program("mmdebstrap", "mmdebstrap")?);
    mmdebstrap
        .env("ARCHIVE", half.path())
        .env("VERSIONS", archive.with_extension("versions"))
        .args(["--variant=essential", "--format=null"])
        .arg(format!("--include={}", packages.join(",")))
        .args(
            LEFT_OUT
                .iter()
                .map(|dir| format!("--dpkgopt=path-exclude=/usr/share/{dir}/*")),
        )
        .arg(format!("--customize-hook={CUSTOMIZE}"))
        .args([codename.as_str(), "-"])
        .arg(sources.path());
    watch(
        &format!("making a small Debian {codename}"),
        &paths::cache().join("debian.log"),
        &mut mmdebstrap,
    )?;
    half.persist(&archive)
        .with_context(|| format!("can't write {}", archive.display()))?;
    Ok(archive)
}

/// Returns the packages in the archive with their versions, a line each.
pub fn versions() -> Result<String> {
    let file = archive()?.with_extension("versions");
    fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))
}

/// A Debian on a disk, and the images that its tools have made for a kernel.
pub struct Installed {
    pub disk: PathBuf,
    pub initramfs_tools: PathBuf,
    pub dracut: PathBuf,
}

/// Runs as root, or as what looks like it in a user namespace, with mounts of its own.
const INSTALL: &str = r#"set -e
mount -t tmpfs root "$DIR"
cd "$DIR"
cpio --quiet -id < "$ARCHIVE"
mkdir -p "lib/modules/$RELEASE" dev/pts
cp "$CONFIG" "boot/config-$RELEASE"
cp "$KERNEL" "boot/vmlinuz-$RELEASE"
cp "$MOUNTS" usr/local/bin/mounts
# All of it is in the kernel.
touch "lib/modules/$RELEASE/modules.order" "lib/modules/$RELEASE/modules.builtin"
echo /dev/vda / ext4 defaults 0 1 > etc/fstab
mount --rbind /dev dev
mount --rbind /proc proc
depmod --basedir . "$RELEASE"
chroot . mkinitramfs -o /boot/initramfs-tools.img "$RELEASE"
chroot . dracut --no-hostonly --kver "$RELEASE" /boot/dracut.img
umount -l dev proc
mv boot/*.img "$OUT"
mke2fs -q -F -t ext4 -E root_owner=0:0 -d . "$OUT/disk.img" 1500M
"#;

/// Installs the small Debian on a disk, as an image, with a helper `mounts`, and makes initramfs
/// images for the kernel.
pub fn install(base: &Base, mounts: &Path) -> Result<Installed> {
    let archive = archive()?;
    let kernel = base.vmlinuz();
    let out = base.dir.join("debian");
    fs::create_dir_all(&out).with_context(|| format!("can't make {}", out.display()))?;
    let script = out.join("install.sh");
    kernel::write_if_changed(&script, INSTALL.as_bytes())?;
    let installed = Installed {
        disk: out.join("disk.img"),
        initramfs_tools: out.join("initramfs-tools.img"),
        dracut: out.join("dracut.img"),
    };
    let made = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let newest = [&archive, &kernel, mounts, &script]
        .map(made)
        .into_iter()
        .max();
    if made(&installed.disk) > newest.flatten() {
        return Ok(installed);
    }
    let dir = tempfile::tempdir()?;
    let release = base.dir.join("obj/include/config/kernel.release");
    let release = fs::read_to_string(&release)
        .with_context(|| format!("can't read {}", release.display()))?;
    program("cpio", "cpio")?;
    let mut unshare = Command::new(program("unshare", "util-linux")?);
    if output(Command::new("id").arg("-u"))?.trim() != "0" {
        program("newuidmap", "uidmap")?;
        unshare.args(["--map-root-user", "--map-auto"]);
    }
    unshare
        .args(["--mount", "--pid", "--fork", "sh"])
        .arg(&script)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("DIR", dir.path())
        .env("OUT", &out)
        .env("ARCHIVE", &archive)
        .env("RELEASE", release.trim())
        .env("CONFIG", base.dir.join("config"))
        .env("KERNEL", &kernel)
        .env("MOUNTS", mounts);
    watch(
        "installing the small Debian, with initramfs-tools and dracut",
        &base.log("debian-install.log"),
        &mut unshare,
    )?;
    Ok(installed)
}
