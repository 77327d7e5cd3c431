// SPDX-License-Identifier: GPL-2.0

//! Boots through virtme-ng: the demonstration, and a shell.

use crate::{
    base::Base,
    cmd::{program, watch},
    deps, guest,
};
use anyhow::{ensure, Context, Result};
use std::{env, fs, io::IsTerminal, path::Path, process::Command};

/// How many MiB the archive of the demonstration has on top of its programs.
const BALLAST: usize = 64;

/// Shows what works in an initramfs. What comes before a `=` at the begin of a line goes into the
/// table at the end.
const SHOW: &str = r#"
cat > /bin/show <<'END'
#!/bin/sh
echo "== $1"; shift
echo "\$ $*"
"$@" 2>&1
END
chmod +x /bin/show
show "What is mounted" cat /proc/self/mountinfo
echo "root=$(awk '$5 == "/" { for (i = 7; $i != "-"; i++); print $(i + 1) }' /proc/self/mountinfo)"
mount -t cgroup2 cgroup /sys/fs/cgroup
show "A container" runc run -b /c demo > /tmp/runc
cat /tmp/runc
echo "runc=$(sed -n 's/^container: /container /p; s/"$//; s/.*: \(pivot_root\)/\1/p' /tmp/runc | tail -n 1)"
free=$(free-kib)
mkdir /new
mount -t tmpfs new /new
mkdir -p /new/bin /new/old /new/proc /new/dev /new/sys /new/tmp
cp -a /bin/. /new/bin/
cd /new
show "pivot_root to another root" pivot_root . old > /tmp/pivot
cat /tmp/pivot 2>/dev/null || cat /old/tmp/pivot
if [ ! -d /old ]; then
	echo "pivot_root=$(sed -n 's/^pivot_root: .*: //p' /tmp/pivot)"
	echo "umount=not reached"
	echo "back=none"
	poweroff -f
fi
echo "pivot_root=works"
for dir in proc dev sys; do mount --move /old/$dir /$dir; done
cd /
show "The old root is unmounted" umount -l /old
echo "umount=works"
exec chroot . /bin/sh -c '
	exec < /dev/console > /dev/console 2>&1
	echo "back=$((($(free-kib) - '$free') / 1024))"
	show "What is mounted" cat /proc/self/mountinfo
	poweroff -f'
"#;

/// A shell, with the host's files, on the terminal that virtme-ng has besides the kernel's console,
/// which nothing can be typed at.
const SHELL: &str = r#"
terminal=/dev/$(sed -n 's/.*virtme_console=\([^ ]*\).*/\1/p' /proc/cmdline)
exec < $terminal > $terminal 2>&1
busybox stty $(sed -n 's/.*"virtme_stty_con=\([^"]*\)".*/\1/p' /proc/cmdline) 2> /dev/null
mkdir -p /host
mount -t 9p -o trans=virtio,version=9p2000.L,access=any /dev/root /host ||
	echo "The host's files can't be mounted."
mount -t cgroup2 cgroup /sys/fs/cgroup
echo
echo "This is an initramfs, $(awk '$5 == "/" { for (i = 7; $i != "-"; i++); print $(i + 1) }' /proc/self/mountinfo) is its root. The host's files are in /host, a container is in /c:"
echo "  runc run -b /c name"
echo "exit ends it."
echo
busybox setsid -c sh -i
poweroff -f
"#;

/// What the script says of itself for the table, and what that is there.
const CELLS: [(&str, &str); 5] = [
    ("root", "/ is a"),
    ("runc", "runc run"),
    ("pivot_root", "pivot_root(2)"),
    ("umount", "umount of the old root"),
    ("back", "memory given back"),
];

/// Boots twice with the same archive, without the feature and with it, and compares.
pub fn demonstrate(base: &Base) -> Result<()> {
    let archive = guest::with_container(guest::on_console(&[("runc", "runc")], SHOW)?)?
        .file("ballast", 0o644, &guest::noise(BALLAST << 20))
        .finish();
    let initrd = base.dir.join("demo.cpio");
    fs::write(&initrd, &archive).with_context(|| format!("can't write {}", initrd.display()))?;

    let mut columns = Vec::new();
    for value in ["0", "1"] {
        let log = base.log(&format!("run-initramfs_mount={value}.log"));
        println!("\n=== initramfs_mount={value} ===\n");
        let append = format!("rdinit=/init initramfs_mount={value}");
        let mut vng = in_terminal(&with_initrd(base, &initrd, &append)?)?;
        watch(
            &format!("booting Linux {} in virtme-ng", base.name),
            &log,
            &mut vng,
        )?;
        let said = fs::read_to_string(&log)?.replace('\r', "");
        let (mut column, mut rest) = (vec!["?".to_owned(); CELLS.len()], Vec::new());
        for line in said
            .lines()
            .skip(1)
            .filter(|line| !line.starts_with("Script "))
        {
            let cell = line.split_once('=').and_then(|(key, value)| {
                Some((CELLS.iter().position(|(cell, _)| *cell == key)?, value))
            });
            match cell {
                Some((i, value)) => column[i] = value.to_owned(),
                None => rest.push(line),
            }
        }
        for line in rest {
            println!("  {line}");
        }
        if let Some(back) = column.last_mut().filter(|back| back.parse::<u32>().is_ok()) {
            *back += &format!(" MiB, of {} MiB in the archive", archive.len() >> 20);
        }
        columns.push((column, log));
    }

    let width = columns[0]
        .0
        .iter()
        .map(|cell| cell.len())
        .max()
        .unwrap_or(0)
        .clamp(17, 76);
    println!(
        "\n{:24}{:width$}  initramfs_mount=1",
        "", "initramfs_mount=0"
    );
    for (i, (_, row)) in CELLS.iter().enumerate() {
        println!("{row:24}{:width$}  {}", columns[0].0[i], columns[1].0[i]);
    }
    println!(
        "\nLogs: {}\n      {}",
        columns[0].1.display(),
        columns[1].1.display()
    );
    let worked = |cell: usize| matches!(columns[1].0[cell].as_str(), "works" | "container runs");
    ensure!(
        (1..=3).all(worked),
        "not all of it worked with initramfs_mount=1: see the second log"
    );
    Ok(())
}

/// Opens a shell in an initramfs.
pub fn shell(base: &Base) -> Result<()> {
    ensure!(
        std::io::stdin().is_terminal(),
        "standard input is no terminal, which a shell needs: run it from one, or under `script -qec`"
    );
    let status = shell_command(base, "")?.status().context("can't run vng")?;
    ensure!(status.success(), "vng failed ({status})");
    Ok(())
}

/// virtme-ng with a shell in an initramfs.
pub fn shell_command(base: &Base, append: &str) -> Result<Command> {
    let archive = guest::with_container(guest::on_console(&[("runc", "runc")], SHELL)?)?;
    let initrd = base.dir.join("shell.cpio");
    fs::write(&initrd, archive.finish())
        .with_context(|| format!("can't write {}", initrd.display()))?;
    with_initrd(base, &initrd, &format!("rdinit=/init {append}"))
}

fn with_initrd(base: &Base, initrd: &Path, append: &str) -> Result<Command> {
    let mut vng = command(base, append)?;
    vng.arg(format!("--qemu-opts=-initrd {}", initrd.display()));
    Ok(vng)
}

/// virtme-ng with the kernel of a base.
pub fn command(base: &Base, append: &str) -> Result<Command> {
    program("qemu-system-x86_64", "qemu-system-x86")?;
    let path = deps::vng()?;
    // It looks for its other programs in PATH.
    let dirs = path.parent().map(Path::to_path_buf).into_iter();
    let old = env::var_os("PATH").unwrap_or_default();
    let mut vng = Command::new(&path);
    vng.env("PATH", env::join_paths(dirs.chain(env::split_paths(&old)))?)
        .arg("--run")
        .arg(base.vmlinuz())
        .args([
            "--disable-kvm",
            "--disable-microvm",
            "--force-9p",
            "--memory",
            "768M",
        ])
        .args(["--append", append]);
    Ok(vng)
}

/// Gives a command a terminal, which virtme-ng wants whoever watches, and no more than 180 seconds.
pub fn in_terminal(command: &Command) -> Result<Command> {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
        .collect();
    let mut script = Command::new(program("script", "bsdutils")?);
    script.args([
        "-qec",
        // In the background it could not be typed at.
        &format!("timeout --foreground 180 {}", words.join(" ")),
        "/dev/null",
    ]);
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            script.env(key, value);
        }
    }
    Ok(script)
}
