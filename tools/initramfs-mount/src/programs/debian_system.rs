// SPDX-License-Identifier: GPL-2.0

//! A whole small Debian in its initramfs, with systemd as `/init`, and what people run on it.

use super::{Case, Expect, Lab, Script, RUN_CASES};
use crate::{
    archive::Archive,
    debian, disk, guest,
    qemu::{Boot, Initrd, Machine},
};
use anyhow::{anyhow, Context, Result};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

const RUNS: &[&str] = &["container: runs", "mounts: 1", "host: out of sight"];

const SCRIPTS: &[Script] = &[
    Script::new(
        "systemd",
        "systemd reaches multi-user.target, no unit failed",
        "systemctl is-system-running --wait
systemctl --failed --no-legend --plain
[ -z \"$(systemctl --failed --no-legend --plain)\" ] && systemctl is-active multi-user.target",
        &["running", "active"],
    )
    .off(Expect::Works),
    Script::new(
        "podman",
        "podman run, as root",
        "podman import -q /images/c.tar local/test && podman run --rm local/test /bin/sh /inside",
        RUNS,
    ),
    Script::new(
        "podman_build",
        "podman build, as root",
        "podman import -q /images/c.tar local/test && podman build -q -t built /images/build &&
podman run --rm built",
        &["built here"],
    ),
    Script::new(
        "podman_rootless",
        "podman run, as somebody else",
        "loginctl enable-linger user && runuser -l user -c '
podman import -q /images/c.tar local/test && podman run --rm local/test /bin/sh /inside'",
        RUNS,
    ),
    Script::new(
        "podman_rootless_build",
        "podman build, as somebody else",
        "loginctl enable-linger user && runuser -l user -c '
podman import -q /images/c.tar local/test && podman build -q -t built /images/build &&
podman run --rm built'",
        &["built here"],
    ),
    Script::new(
        "docker",
        "docker run",
        "docker import /images/c.tar local/test && docker run --rm local/test /bin/sh /inside",
        RUNS,
    ),
    Script::new(
        "docker_build",
        "docker build",
        "docker import /images/c.tar local/test && docker build -q -t built /images/build &&
docker run --rm built",
        &["built here"],
    ),
    Script::new(
        "docker_host",
        "docker: no mount of the host in the container's namespace, its disk is free at once",
        r#"docker import /images/c.tar local/test
mkdir -p /secret /disk
mount -t tmpfs host-secret /secret
mount -t ext4 /dev/vda /disk
device=$(mountpoint -d /secret)
mounts | grep " $device " || exit 1
id=$(docker run -d local/test /bin/sleep 100) || exit 1
pid=$(docker inspect -f '{{.State.Pid}}' "$id")
inside=$(grep -c host-secret "/proc/$pid/mountinfo")
namespace=$(nsenter -t "$pid" -m /bin/mounts | grep -c " $device ")
echo "inside: $inside, in the namespace: $namespace"
umount /disk && wipefs --all --no-act /dev/vda && echo "disk: free"
docker rm -f "$id"
umount /secret"#,
        &["inside: 0, in the namespace: 0", "disk: free"],
    ),
    Script::new(
        "nspawn",
        "systemd-nspawn",
        "systemd-nspawn --quiet --pipe -D /c/rootfs /bin/sh /inside",
        RUNS,
    )
    // It moves the new root over the old one where it can't pivot.
    .off(Expect::Works),
    Script::new(
        "lxc",
        "lxc-start",
        "echo 'sh /inside > /tmp/said 2>&1' > /c/rootfs/lxc
mkdir -p /var/lib/lxc/c4
cat > /var/lib/lxc/c4/config <<'END'
lxc.rootfs.path = dir:/c/rootfs
lxc.init.cmd = /bin/sh /lxc
lxc.net.0.type = empty
lxc.uts.name = c4
lxc.mount.auto = proc:mixed
END
lxc-start -F -n c4 -l INFO -o /dev/stdout
cat /c/rootfs/tmp/said",
        RUNS,
    )
    // It looks for rootfs in its mountinfo and then moves the new root, too.
    .off(Expect::Works),
    Script::new("runc", "runc run, under systemd", "runc run -b /c c1", RUNS),
    Script::new("crun", "crun run, under systemd", "crun run -b /c c2", RUNS),
    Script::new(
        "bwrap",
        "bubblewrap, as somebody who is not root",
        "runuser -u user -- bwrap --bind /c/rootfs / --proc /proc --unshare-all /bin/sh /inside",
        RUNS,
    ),
];

const KEXEC: &[Script] = &[Script::new(
    "kexec",
    "kexec into the same kernel, with the archive that retain_initrd keeps",
    r#"
awk '$5 == "/" { for (i = 7; $i != "-"; i++); print "root: " $(i + 1) }' /proc/self/mountinfo
if grep -q ' again$' /proc/cmdline; then
	echo "kexec: done"
	runc run -b /c again
	exit
fi
mount -t ext4 /dev/vda /mnt &&
	kexec -l /mnt/boot/vmlinuz --initrd=/sys/firmware/initrd --append="$(cat /proc/cmdline) again" &&
	umount /mnt && systemctl kexec && sleep 100
"#,
    &["kexec: done", "container: runs"],
)];

/// What systemd starts once all else has been started. It is no part of that itself.
const SERVICE: &str = "[Unit]
DefaultDependencies=no
After=multi-user.target

[Service]
Type=exec
ExecStart=/cases/run
";

const RUN: &str = "#!/bin/sh
exec > /dev/ttyS1 2>&1
tar -C /c/rootfs -cf /images/c.tar .
";

const DOCKERFILE: &str = "FROM local/test
RUN echo built here > /tmp/built
CMD [\"/bin/cat\", \"/tmp/built\"]
";

/// The small Debian, and after it an archive with the cases; and a disk with the kernel.
fn files(lab: &Lab) -> Result<(PathBuf, PathBuf)> {
    let dir = lab.dir.path();
    let (initrd, image) = (dir.join("debian.cpio"), dir.join("debian.img"));
    let made = lab.debian.get_or_init(|| {
        let make = || -> Result<()> {
            fs::copy(debian::archive()?, &initrd)?;
            let mut file = OpenOptions::new().append(true).open(&initrd)?;
            file.write_all(&addition()?.finish())
                .with_context(|| format!("can't write {}", initrd.display()))?;
            let kernel = lab.base.vmlinuz();
            let fill = |root: &Path| {
                fs::create_dir(root.join("boot"))?;
                fs::copy(&kernel, root.join("boot/vmlinuz"))
                    .map(drop)
                    .with_context(|| format!("can't copy {}", kernel.display()))
            };
            disk::make_with(&image, "ext4", 64, ("sbin/init", ""), fill)
        };
        make().map_err(|e| format!("{e:#}"))
    });
    made.clone().map_err(|e| anyhow!(e))?;
    Ok((initrd, image))
}

fn addition() -> Result<Archive> {
    let all: Vec<_> = SCRIPTS.iter().chain(KEXEC).collect();
    let archive = super::with_mounts(guest::with_container(Archive::new())?, "c/rootfs/")?;
    let archive = super::with_cases(archive, &all)
        // Debian has its libraries.
        .copy(&super::mounts()?, "usr/local/bin/mounts")?
        .dir("images")
        .dir("images/build")
        .file("images/build/Dockerfile", 0o644, DOCKERFILE.as_bytes());
    let run = format!("{RUN}{RUN_CASES}echo end\nsystemctl poweroff -ff\n");
    let unit = "etc/systemd/system/cases.service";
    let wants = "etc/systemd/system/multi-user.target.wants";
    Ok(archive
        .file("cases/run", 0o755, run.as_bytes())
        .file(unit, 0o644, SERVICE.as_bytes())
        .symlink(&format!("{wants}/cases.service"), "../cases.service"))
}

fn machine(lab: &Lab, on: bool, wanted: &str) -> Result<Machine> {
    let (initrd, image) = files(lab)?;
    let machine = lab.machine(on);
    Ok(Machine {
        initrd: Some(Initrd::File(initrd)),
        disk: Some(image),
        append: format!("{} cases={wanted}", machine.append),
        mib: 4096,
        cpus: 2,
        seconds: 900,
        ..machine
    })
}

/// Boots with all of the cases, or with those that `make test` has.
fn boot(lab: &Lab, on: bool) -> Result<Arc<Boot>> {
    lab.boot("debian", on, || {
        let all: Vec<_> = SCRIPTS.iter().map(|script| script.name).collect();
        let all = all.join(",");
        machine(lab, on, if lab.all { &all } else { FAST })
    })
}

fn boot_kexec(lab: &Lab, on: bool) -> Result<Arc<Boot>> {
    lab.boot("kexec", on, || {
        let machine = machine(lab, on, "kexec")?;
        Ok(Machine {
            append: format!("{} retain_initrd", machine.append),
            ..machine
        })
    })
}

/// The cases that `make test` has, with the feature on.
const FAST: &str = "systemd,podman";

pub fn cases() -> Vec<Case> {
    let fast = |script: &Script| -> &'static [bool] {
        if FAST.split(',').any(|name| name == script.name) {
            &[true]
        } else {
            &[]
        }
    };
    SCRIPTS
        .iter()
        .map(|script| script.case("debian", fast(script), ("debian", boot)))
        .chain(
            KEXEC
                .iter()
                .map(|script| script.case("debian", &[], ("kexec", boot_kexec))),
        )
        .collect()
}
