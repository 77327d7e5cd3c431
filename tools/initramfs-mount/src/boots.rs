// SPDX-License-Identifier: GPL-2.0

//! Boot tests: the real kernel, real archives, a situation each.

use crate::{
    archive::{self, compress, pad, Archive, COMPRESSIONS},
    base::Base,
    cmd::{output, program},
    disk, guest,
    kernel::{self, Variant},
    qemu::{Boot, Initrd, Machine},
};
use anyhow::{bail, ensure, Context, Result};
use libtest_mimic::{Failed, Trial};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// The panic that a test may be about is no failure.
const PANIC: &str = "Kernel panic";

/// What tests share.
pub struct Lab {
    kernel: PathBuf,
    builtin: PathBuf,
    disk: PathBuf,
    has_nullfs: bool,
    sources: PathBuf,
    _dir: tempfile::TempDir,
}

impl Lab {
    pub fn new(base: &Base) -> Result<Self> {
        let dir = tempfile::tempdir().context("can't make a folder for disk images")?;
        let image = dir.path().join("disk.img");
        disk::make(&image, "ext4", 16, "sbin/init", &guest::report("disk"))?;
        Ok(Self {
            kernel: base.vmlinuz(),
            builtin: base.variant(Variant::BuiltIn),
            disk: image,
            has_nullfs: base.has_nullfs(),
            sources: base.sources.clone(),
            _dir: dir,
        })
    }

    fn machine(&self) -> Machine {
        Machine::new(&self.kernel)
    }

    /// A machine that boots this archive.
    fn archive(&self, archive: impl Into<Vec<u8>>) -> Machine {
        Machine {
            initrd: Some(Initrd::Bytes(archive.into())),
            ..self.machine()
        }
    }

    /// A machine with a disk to boot.
    fn disk(&self) -> Machine {
        let machine = self.machine().append("root=/dev/vda");
        Machine {
            disk: Some(self.disk.clone()),
            ..machine
        }
    }

    /// The same, with an archive.
    fn disk_and(&self, archive: impl Into<Vec<u8>>) -> Machine {
        Machine {
            initrd: Some(Initrd::Bytes(archive.into())),
            ..self.disk()
        }
    }
}

/// What a guest has reported, with the console for the message of a failure.
pub struct Report(pub Arc<Boot>);

impl Report {
    /// Boots a machine to its end, and makes sure that the kernel has nothing to complain of.
    fn of(machine: &Machine) -> Result<Self> {
        let report = Self(Arc::new(machine.boot()?));
        report.check(report.0.ended, "the machine did not switch off")?;
        if let Some(complaint) = report.0.complaint()? {
            return report.fail(format!("the console has {complaint:?}"));
        }
        Ok(report)
    }

    fn fail<T>(&self, what: impl std::fmt::Display) -> Result<T> {
        bail!(
            "{what}\n--- guest ---\n{}\n--- console ---\n{}",
            self.0.guest.trim_end(),
            self.0.console.trim_end()
        )
    }

    pub fn check(&self, ok: bool, what: impl std::fmt::Display) -> Result<&Self> {
        if ok {
            Ok(self)
        } else {
            self.fail(what)
        }
    }

    /// Makes sure that the guest has said this line.
    pub fn says(&self, line: &str) -> Result<&Self> {
        self.check(
            self.0.guest.lines().any(|l| l == line),
            format!("the guest does not say {line:?}"),
        )
    }

    fn never_says(&self, part: &str) -> Result<&Self> {
        self.check(
            !self.0.guest.contains(part),
            format!("the guest says {part:?}"),
        )
    }

    fn logs(&self, part: &str) -> Result<&Self> {
        self.check(
            self.0.console.contains(part),
            format!("the console has no {part:?}"),
        )
    }

    /// The message of today: which one depends on if anything was unpacked.
    fn logs_what_is_broken(&self) -> Result<&Self> {
        let messages = [
            "Initramfs unpacking failed: ",
            "rootfs image is not initramfs (",
        ];
        let found = messages
            .iter()
            .any(|message| self.0.console.contains(message));
        self.check(found, "the console does not say that the archive is broken")
    }

    fn never_logs(&self, part: &str) -> Result<&Self> {
        self.check(
            !self.0.console.contains(part),
            format!("the console has {part:?}"),
        )
    }

    fn line(&self, key: &str) -> Result<&str> {
        let prefix = format!("{key}: ");
        match self
            .0
            .guest
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
        {
            Some(value) => Ok(value),
            None => self.fail(format!("the guest does not say its {key:?}")),
        }
    }

    pub fn number(&self, key: &str) -> Result<u64> {
        self.line(key)?
            .trim()
            .parse()
            .with_context(|| format!("{key} of the guest is no number"))
    }

    /// The archive is the root, in a mount that can be left behind.
    fn is_root_mount(&self, name: &str, fs: &str) -> Result<&Self> {
        self.says(&format!("init: {name}"))?
            .says("roots: 1")?
            .says("console: yes")?
            .says("pivot_root: ok")?
            .says("umount: ok")?
            .logs(&format!("initramfs_mount: / is the initramfs, {fs}"))?;
        let root = self.line("root")?;
        let fs_type = fs.split(' ').next().unwrap_or_default();
        self.check(
            root.starts_with(&format!("{fs_type} rw")),
            format!("the root is {root:?}"),
        )
    }

    /// The disk is the root, and nothing is below it but the kernel's own.
    fn is_disk(&self) -> Result<&Self> {
        self.says("init: disk")?
            .says("roots: 1")?
            .never_logs("initramfs_mount: / is")?
            .never_says("file: ")?;
        let root = self.line("root")?;
        self.check(root.starts_with("ext4"), format!("the root is {root:?}"))
    }

    /// The kernel gave up, and said that it was for the archive.
    fn is_panic_of_the_initramfs(&self) -> Result<&Self> {
        let panic = self.0.console.lines().find(|line| line.contains(PANIC));
        self.check(self.0.guest.is_empty(), "something of the archive was run")?
            .check(
                panic.is_some_and(|panic| panic.contains("initramfs")),
                "no panic that names the initramfs",
            )
    }
}

trait Append {
    fn append(self, words: &str) -> Self;
}

impl Append for Machine {
    fn append(mut self, words: &str) -> Self {
        self.append.push(' ');
        self.append.push_str(words);
        self
    }
}

/// All the tests of a base.
pub fn trials(base: &Base) -> Result<Vec<Trial>> {
    let lab = Arc::new(Lab::new(base)?);
    let mut trials = Vec::new();
    type Test = Box<dyn Fn(&Lab) -> Result<()> + Send>;
    let mut add = |name: String, test: Test| {
        let lab = Arc::clone(&lab);
        let name = format!("{}::{name}", base.name);
        trials.push(Trial::test(name, move || {
            test(&lab).map_err(|e| Failed::from(format!("{e:#}")))
        }));
    };
    for &(name, test) in SITUATIONS {
        add(name.to_owned(), Box::new(test));
    }
    for (how, ..) in COMPRESSIONS {
        add(
            format!("compression::{how}"),
            Box::new(|lab| compression(lab, how)),
        );
        add(
            format!("compression::{how}_cut_off"),
            Box::new(|lab| compression_cut_off(lab, how)),
        );
    }
    for (init_async, cpus) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        add(
            format!("boot::async{init_async}_cpus{cpus}"),
            Box::new(move |lab| boot_async_cpus(lab, init_async, cpus)),
        );
    }
    Ok(trials)
}

/// A test's name and what it does.
type Situation = (&'static str, fn(&Lab) -> Result<()>);

macro_rules! situations {
    ($($module:ident { $($test:ident),+ $(,)? })+) => {
        const SITUATIONS: &[Situation] = &[
            $($((concat!(stringify!($module), "::", stringify!($test)), $module::$test)),+),+
        ];
    };
}

situations! {
    root {
        pivots, pivots_and_gives_memory_back, is_rootfs_when_off, has_a_console_of_its_own,
        of_several_archives, of_several_compressions, by_rdinit, has_all_kinds_of_files,
        after_junk, without_retained_initrd, with_retained_initrd, of_zero_padded_archive,
        is_what_usermode_helpers_see, is_what_findmnt_shows, leaves_kernel_threads_where_they_are,
        is_left_by_the_selftest,
    }
    options {
        from_bootconfig, initramfs_options, rootflags, initramfs_options_come_first,
        rootflags_belong_to_a_root, rootfstype_ramfs, unknown, unknown_and_known,
        ignored_when_off, bad_parameter,
    }
    broken {
        compressed, uncompressed_anywhere, larger_than_the_mount, second_of_two, checksum_of_xz,
        checksum_of_cpio, then_the_disk, and_its_memory, and_the_half_is_run_when_off,
        not_configured, not_an_archive, length_or_checksum_of_gzip, second_of_two_lz4,
        second_of_two_in_one_gzip, misaligned, not_an_archive_after_microcode,
    }
    whole {
        without_padding_or_trailer, without_padding_of_the_trailer, without_padding_of_a_name,
        without_trailer_compressed, with_any_number_of_zeros, lz4_then_cpio, lz4_then_junk,
        with_junk_in_a_gzip, after_a_gzip_of_nothing, with_a_symlink_named_trailer,
        with_a_name_that_is_too_long, in_little_memory,
    }
    policy {
        panic, panic_with_a_root, panic_after_microcode, no_panic_for_an_initrd,
        no_panic_for_junk, drop, unknown,
    }
    helpers {
        of_a_broken_archive_never_run, of_a_whole_one_run_in_its_root, are_many,
    }
    disk_boot {
        without_archive, with_an_empty_archive, without_init, without_init_takes_no_more_memory,
        with_missing_rdinit, finds_firmware, legacy_initrd, linuxrc, when_off,
    }
    built_in {
        is_the_root, and_external, and_broken_external, larger_than_the_mount, when_off,
    }
    container {
        runc, crun, bwrap, user_namespace, fail_when_off,
    }
    canary {
        machine_that_cannot_start, kernel_that_hangs, guest_that_says_nothing, wrong_outcome,
        warning_on_the_console,
    }
}

/// Boots that must fail, or else none of the others says anything.
mod canary {
    use super::*;

    fn fails<T>(outcome: Result<T>, with: &str) -> Result<()> {
        let Err(e) = outcome else {
            bail!("it passes");
        };
        let said = format!("{e:#}");
        ensure!(
            said.contains(with),
            "it fails, but not with {with:?}:\n{said}"
        );
        Ok(())
    }

    fn guest(lab: &Lab, script: &str) -> Result<Machine> {
        Ok(lab.archive(guest::with_programs(&[], script)?.finish()))
    }

    pub fn machine_that_cannot_start(lab: &Lab) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), guest::noise(100_000))?;
        let machine = Machine {
            seconds: 5,
            ..Machine::new(file.path())
        };
        fails(Report::of(&machine), "and QEMU says: ")?;
        let machine = Machine {
            initrd: Some(Initrd::File("/nosuch".into())),
            ..lab.machine()
        };
        fails(Report::of(&machine), "/nosuch")
    }

    pub fn kernel_that_hangs(lab: &Lab) -> Result<()> {
        let machine = Machine {
            seconds: 10,
            ..guest(lab, "sleep 1000")?
        };
        fails(Report::of(&machine), "the machine did not switch off")
    }

    pub fn guest_that_says_nothing(lab: &Lab) -> Result<()> {
        let report = Report::of(&guest(lab, "")?)?;
        fails(
            report.says("init: archive"),
            "does not say \"init: archive\"",
        )?;
        fails(report.is_root_mount("archive", "tmpfs"), "does not say")?;
        fails(report.number("free"), "does not say its \"free\"")
    }

    pub fn wrong_outcome(lab: &Lab) -> Result<()> {
        let archive = guest::reporter("archive")?.finish();
        let on = Report::of(&lab.archive(&archive[..]))?;
        fails(
            on.is_panic_of_the_initramfs(),
            "something of the archive was run",
        )?;
        fails(on.is_disk(), "init: disk")?;
        let off = Report::of(&lab.archive(archive).append("initramfs_mount=0"))?;
        fails(off.logs("/ is the initramfs"), "the console has no")?;
        fails(
            Report::of(&lab.disk())?.is_root_mount("archive", "tmpfs"),
            "init: archive",
        )
    }

    pub fn warning_on_the_console(lab: &Lab) -> Result<()> {
        let machine = guest(
            lab,
            "echo 'WARNING: canary' > /dev/kmsg; echo 'init: archive'",
        )?;
        fails(Report::of(&machine), "the console has \"WARNING: \"")
    }
}

mod root {
    use super::*;

    pub fn pivots(lab: &Lab) -> Result<()> {
        let report = Report::of(&lab.archive(guest::reporter("archive")?.finish()))?;
        report
            .is_root_mount("archive", "tmpfs")?
            .never_logs("initramfs_mount: error")?;
        Ok(())
    }

    pub fn pivots_and_gives_memory_back(lab: &Lab) -> Result<()> {
        let archive = guest::reporter("archive")?.file("big", 0o644, &guest::noise(BIG_MIB << 20));
        let mib = 5 * BIG_MIB as u32;
        let report = Report::of(&Machine {
            mib,
            ..lab.archive(archive.finish())
        })?;
        report.is_root_mount("archive", "tmpfs")?;
        let back = report
            .number("pivoted")?
            .saturating_sub(report.number("free")?);
        report.check(
            back > (BIG_MIB as u64 - 4) << 10,
            format!("only {back} KiB came back"),
        )?;
        Ok(())
    }

    pub fn is_rootfs_when_off(lab: &Lab) -> Result<()> {
        let machine = lab
            .archive(guest::reporter("archive")?.finish())
            .append("initramfs_mount=0");
        let report = Report::of(&machine)?;
        let works = if lab.has_nullfs { "ok" } else { "failed" };
        report
            .says("init: archive")?
            .says(&format!("pivot_root: {works}"))?
            .never_logs("initramfs_mount: ")?;
        let root = report.line("root")?;
        report.check(
            root.starts_with("rootfs") || lab.has_nullfs,
            format!("the root is {root:?}"),
        )?;
        Ok(())
    }

    pub fn has_a_console_of_its_own(lab: &Lab) -> Result<()> {
        // The archive brings no /dev; what is on standard output comes through the console.
        let script = "#!/bin/busybox sh\n\
            /bin/busybox echo 'guest: console works'\n\
            /bin/busybox ls -l /proc/self/fd /dev/console\n\
            /bin/busybox poweroff -f\n";
        let archive = Archive::new()
            .dir("bin")
            .copy(&archive::busybox_program()?, "bin/busybox")?
            .file("init", 0o755, script.as_bytes());
        let report = Report::of(&lab.archive(archive.finish()))?;
        report
            .logs("guest: console works")?
            .never_logs("unable to open an initial console")?;
        Ok(())
    }

    pub fn of_several_archives(lab: &Lab) -> Result<()> {
        let mut all = Archive::new()
            .dir("early")
            .file("early/marker-1", 0o644, b"1")
            .finish();
        pad(&mut all, 4096);
        all.extend(Archive::new().file("marker-2", 0o644, b"2").finish());
        all.extend([0; 12]);
        all.extend(guest::reporter("last")?.finish());
        let report = Report::of(&lab.archive(all))?;
        report
            .is_root_mount("last", "tmpfs")?
            .says("file: /early/marker-1")?
            .says("file: /marker-2")?;
        Ok(())
    }

    pub fn of_several_compressions(lab: &Lab) -> Result<()> {
        let mut all = Archive::new().file("marker-0", 0o644, b"0").finish();
        // Not LZ4, whose end the kernel can't tell.
        for (i, how) in ["gzip", "xz", "zstd", "bzip2"].iter().enumerate() {
            let archive = Archive::new()
                .file(&format!("marker-{}", i + 1), 0o644, b"x")
                .finish();
            all.extend(compress(how, &archive)?);
            pad(&mut all, 4);
        }
        all.extend(guest::reporter("last")?.finish());
        let report = Report::of(&lab.archive(all))?;
        report.is_root_mount("last", "tmpfs")?;
        for i in 0..=4 {
            report.says(&format!("file: /marker-{i}"))?;
        }
        Ok(())
    }

    pub fn by_rdinit(lab: &Lab) -> Result<()> {
        let archive = guest::reporter("init")?.dir("sbin").file(
            "sbin/other",
            0o755,
            guest::report("other").as_bytes(),
        );
        let machine = lab.archive(archive.finish()).append("rdinit=/sbin/other");
        Report::of(&machine)?.is_root_mount("other", "tmpfs")?;
        Ok(())
    }

    /// Names that are relative, start with `./` or are absolute; links; devices; pipes; modes.
    pub fn has_all_kinds_of_files(lab: &Lab) -> Result<()> {
        let script = "
            for file in a/relative b/dotted c/absolute; do echo \"$file: $(cat /$file)\"; done
            echo \"symlink: $(readlink /link) $(cat /link)\"
            echo \"absolute-link: $(cat /d/link)\"
            echo \"hard: $(cat /hard1) $(cat /hard2) $(stat -c %h /hard1)\"
            [ /hard1 -ef /hard2 ] && echo 'hard links: same'
            echo \"node: $(stat -c '%F %t:%T' /null)\"
            echo \"mode: $(stat -c %a:%u:%g /mode)\"
            echo \"sum: $(cat /sum)\"";
        let archive = archive::busybox()?
            .dir(".")
            .dir("a")
            .file("a/relative", 0o644, b"1")
            .dir("./b")
            .file("./b/dotted", 0o644, b"2")
            .dir("/c")
            .file("/c/absolute", 0o644, b"3")
            .symlink("link", "a/relative")
            .dir("/d")
            .symlink("/d/link", "/c/absolute")
            .hard_links(&["hard1", "/hard2", "./hard3"], 0o600, b"shared")
            .char_device("null", 1, 3)
            .file("mode", 0o4711, b"")
            .file_with_sum("sum", b"summed", true)
            .file("/init", 0o755, guest::init(script).as_bytes());
        let report = Report::of(&lab.archive(archive.finish()))?;
        report
            .says("a/relative: 1")?
            .says("b/dotted: 2")?
            .says("c/absolute: 3")?
            .says("symlink: a/relative 1")?
            .says("absolute-link: 3")?
            .says("hard: shared shared 3")?
            .says("hard links: same")?
            .says("node: character special file 1:3")?
            .says("mode: 4711:0:0")?
            .says("sum: summed")?
            .logs("initramfs_mount: / is the initramfs")?;
        Ok(())
    }

    pub fn after_junk(lab: &Lab) -> Result<()> {
        let mut plain = guest::reporter("archive")?.finish();
        plain.extend(b"this is no archive, and no zeros");
        let mut packed = compress("gzip", &guest::reporter("archive")?.finish())?;
        packed.extend(b"this is no archive, and no zeros");
        for archive in [plain, packed] {
            Report::of(&lab.archive(archive))?.is_root_mount("archive", "tmpfs")?;
        }
        Ok(())
    }

    pub fn without_retained_initrd(lab: &Lab) -> Result<()> {
        let archive =
            guest::with_programs(&[], "[ -e /sys/firmware/initrd ] || echo 'initrd: gone'")?;
        Report::of(&lab.archive(archive.finish()))?.says("initrd: gone")?;
        Ok(())
    }

    pub fn with_retained_initrd(lab: &Lab) -> Result<()> {
        let archive =
            guest::with_programs(&[], "echo \"initrd: $(wc -c < /sys/firmware/initrd)\"")?.finish();
        let len = archive.len();
        Report::of(&lab.archive(archive).append("retain_initrd"))?
            .says(&format!("initrd: {len}"))?
            .logs("initramfs_mount: / is the initramfs")?;
        Ok(())
    }

    pub fn of_zero_padded_archive(lab: &Lab) -> Result<()> {
        for (before, after) in [(0, 1), (0, 3), (512, 4096), (4, 100_001)] {
            let mut archive = vec![0; before];
            archive.extend(guest::reporter("archive")?.finish());
            archive.resize(archive.len() + after, 0);
            Report::of(&lab.archive(archive))?
                .is_root_mount("archive", "tmpfs")?
                .never_logs("Initramfs unpacking failed")?;
        }
        Ok(())
    }

    /// The kernel starts programs in the root mount, and not below it.
    pub fn is_what_usermode_helpers_see(lab: &Lab) -> Result<()> {
        let script = "
            echo '|/helper %p' > /proc/sys/kernel/core_pattern
            ulimit -c unlimited
            sh -c 'kill -SEGV $$'
            sleep 1
            echo \"helper: $(cat /helped)\"";
        let archive = guest::with_programs(&[], script)?.file(
            "helper",
            0o755,
            b"#!/bin/sh\nread x < /proc/self/mountinfo\necho yes > /helped\n",
        );
        Report::of(&lab.archive(archive.finish()))?.says("helper: yes")?;
        Ok(())
    }

    /// One root, at the top of a tree in which each mount has another number.
    pub fn is_what_findmnt_shows(lab: &Lab) -> Result<()> {
        let script = "
            echo \"root: $(findmnt -n -o SOURCE,FSTYPE,PROPAGATION / | tr -s ' ')\"
            echo \"tops: $(findmnt -n -l -o TARGET | head -n 1) $(findmnt -n -o TARGET | grep -c '^/')\"
            ids=$(cut -d ' ' -f 1 /proc/self/mountinfo)
            [ \"$(echo \"$ids\" | sort | uniq -d)\" ] || echo 'ids: differ'";
        let archive = guest::with_programs(&[("findmnt", "util-linux")], script)?;
        let report = Report::of(&lab.archive(archive.finish()))?;
        report
            .says("root: rootfs tmpfs private")?
            .says("tops: / 1")?
            .says("ids: differ")?;
        Ok(())
    }

    /// They share the root of the first process, but for where they have nullfs.
    pub fn leaves_kernel_threads_where_they_are(lab: &Lab) -> Result<()> {
        let archive =
            guest::with_programs(&[], "echo \"kthreadd: $(stat -f -c %t /proc/2/root)\"")?;
        let report = Report::of(&lab.archive(archive.finish()))?;
        // The magic numbers of nullfs and tmpfs.
        let magic = if lab.has_nullfs {
            "4e554c4c"
        } else {
            "1021994"
        };
        report.says(&format!("kthreadd: {magic}"))?;
        Ok(())
    }

    /// The series' own selftest, which tells on any kernel.
    pub fn is_left_by_the_selftest(lab: &Lab) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let source = lab.sources.join("tools/testing/selftests/initramfs_mount");
        let mut make = Command::new("make");
        output(
            make.arg("-C")
                .arg(source)
                .arg(format!("OUTPUT={}", dir.path().display()))
                .env_remove("MAKEFLAGS")
                .env_remove("MAKELEVEL"),
        )?;
        let archive = guest::with_programs(&[], "/selftest; ls /")?
            .copy(&dir.path().join("initramfs_mount_test"), "selftest")?
            .finish();
        Report::of(&lab.archive(&archive[..]))?
            .says("ok 1 one mount is the root")?
            .says("ok 2 pivot_root out of the initramfs")?
            .says("ok 3 umount of the old root")?
            .never_says("initramfs_mount_test.")?;
        let off = lab.archive(&archive[..]).append("initramfs_mount=0");
        let pivots = if lab.has_nullfs { "ok" } else { "not ok" };
        Report::of(&off)?.says(&format!("{pivots} 2 pivot_root out of the initramfs"))?;
        Ok(())
    }
}

mod options {
    use super::*;

    fn root_of(lab: &Lab, words: &str) -> Result<Report> {
        Report::of(
            &lab.archive(guest::reporter("archive")?.finish())
                .append(words),
        )
    }

    fn has(report: &Report, options: &[&str]) -> Result<()> {
        let root = report.line("root")?;
        for option in options {
            report.check(root.contains(option), format!("{option} does not hold"))?;
        }
        Ok(())
    }

    pub fn initramfs_options(lab: &Lab) -> Result<()> {
        let report = root_of(lab, "initramfs_options=size=64M,mode=750")?;
        report.is_root_mount("archive", "tmpfs size=64M,mode=750")?;
        has(&report, &["size=65536k", "mode=750"])
    }

    pub fn rootflags(lab: &Lab) -> Result<()> {
        let report = root_of(lab, "rootflags=size=48M,nr_inodes=5k")?;
        report.is_root_mount("archive", "tmpfs size=48M,nr_inodes=5k")?;
        has(&report, &["size=49152k", "nr_inodes=5120"])
    }

    pub fn initramfs_options_come_first(lab: &Lab) -> Result<()> {
        let report = root_of(lab, "rootflags=size=48M initramfs_options=size=64M")?;
        report.is_root_mount("archive", "tmpfs size=64M")?;
        has(&report, &["size=65536k"])
    }

    /// With root=, rootflags= are for that one, be they good for tmpfs or not.
    pub fn rootflags_belong_to_a_root(lab: &Lab) -> Result<()> {
        let machine = lab.disk_and(guest::reporter("archive")?.finish());
        let report = Report::of(&machine.append("rootflags=data=journal"))?;
        report
            .is_root_mount("archive", "ramfs")?
            .never_logs("initramfs_mount: error")?;
        let report = Report::of(&lab.disk().append("rootflags=data=journal"))?;
        report.is_disk()?.check(
            report.line("root")?.contains("data=journal"),
            "rootflags= don't hold for the disk",
        )?;
        Ok(())
    }

    pub fn rootfstype_ramfs(lab: &Lab) -> Result<()> {
        root_of(lab, "rootfstype=ramfs")?.is_root_mount("archive", "ramfs")?;
        root_of(lab, "rootfstype=tmpfs")?.is_root_mount("archive", "tmpfs")?;
        Ok(())
    }

    pub fn unknown(lab: &Lab) -> Result<()> {
        for words in ["initramfs_options=nosuchoption", "rootflags=nosuchoption=5"] {
            root_of(lab, words)?
                .is_root_mount("archive", "tmpfs")?
                .logs("nosuchoption")?
                .logs(" refused, mounted without")?;
        }
        Ok(())
    }

    pub fn unknown_and_known(lab: &Lab) -> Result<()> {
        root_of(lab, "rootflags=size=64M,nosuchoption")?
            .is_root_mount("archive", "tmpfs")?
            .logs("Unknown parameter 'nosuchoption'")?
            .logs("initramfs_mount: options size=64M,nosuchoption refused, mounted without")?;
        Ok(())
    }

    pub fn ignored_when_off(lab: &Lab) -> Result<()> {
        let report = root_of(lab, "rootflags=size=48M initramfs_mount=0")?;
        report.says("init: archive")?.check(
            !report.line("root")?.contains("49152k"),
            "rootflags= hold though the feature is off",
        )?;
        Ok(())
    }

    /// A loader puts it behind the initrd.
    pub fn from_bootconfig(lab: &Lab) -> Result<()> {
        let mut initrd = guest::reporter("archive")?.finish();
        let mut config = b"kernel.initramfs_mount = 0\n".to_vec();
        pad(&mut config, 4);
        let sum: u32 = config.iter().map(|byte| u32::from(*byte)).sum();
        let len = config.len() as u32;
        initrd.extend(config);
        initrd.extend(len.to_le_bytes());
        initrd.extend(sum.to_le_bytes());
        initrd.extend(b"#BOOTCONFIG\n");
        Report::of(&lab.archive(&initrd[..]))?.is_root_mount("archive", "tmpfs")?;
        Report::of(&lab.archive(initrd).append("bootconfig"))?
            .says("init: archive")?
            .never_logs("initramfs_mount: ")?;
        Ok(())
    }

    /// What is no bool is as if it were not there.
    pub fn bad_parameter(lab: &Lab) -> Result<()> {
        root_of(lab, "initramfs_mount=maybe")?.is_root_mount("archive", "tmpfs")?;
        root_of(lab, "initramfs_mount=on")?.is_root_mount("archive", "tmpfs")?;
        for off in ["off", "n", "no", "0"] {
            root_of(lab, &format!("initramfs_mount={off}"))?
                .says("init: archive")?
                .never_logs("/ is the initramfs")?;
        }
        Ok(())
    }
}

mod broken {
    use super::*;

    /// Whole up to the init, and then enough for it to be seen when it is there.
    fn big(mib: usize) -> Result<Archive> {
        Ok(guest::reporter("half")?.file("marker-whole", 0o644, &guest::noise(mib << 20)))
    }

    /// Without a disk, there is nothing to be run.
    fn panics(lab: &Lab, archive: Vec<u8>) -> Result<()> {
        let report = Report::of(&lab.archive(archive))?;
        report
            .is_panic_of_the_initramfs()?
            .logs("Initramfs unpacking failed: ")?;
        Ok(())
    }

    fn half(whole: &[u8]) -> Vec<u8> {
        whole[..whole.len() / 2].to_vec()
    }

    pub fn compressed(lab: &Lab) -> Result<()> {
        panics(lab, half(&compress("gzip", &big(4)?.finish())?))
    }

    /// Wherever it ends, but for between two entries, since there need not be a trailer.
    pub fn uncompressed_anywhere(lab: &Lab) -> Result<()> {
        let open = guest::reporter("half")?.file("last", 0o644, b"last").open();
        let header = open.len();
        let mut whole = open;
        whole.extend(&Archive::new().finish());
        let trailer_name = header + 110;
        for len in [
            whole.len() / 2, // in the data of a file
            header - 1,      // in the last file's data
            header - 7,      // in its name
            header - 60,     // in the last file's header
            header + 1,
            header + 50,       // in the trailer's header
            trailer_name + 5,  // in its name
            trailer_name + 10, // before the NUL
        ] {
            panics(lab, whole[..len].to_vec())
                .with_context(|| format!("ends at {len} of {}", whole.len()))?;
        }
        for len in [header, trailer_name + 11, trailer_name + 14] {
            Report::of(&lab.archive(&whole[..len]))?.is_root_mount("half", "tmpfs")?;
        }
        Ok(())
    }

    pub fn larger_than_the_mount(lab: &Lab) -> Result<()> {
        let archive = big(16)?.finish();
        for packed in [compress("zstd", &archive)?, archive] {
            let machine = lab.archive(packed).append("rootflags=size=8M");
            let report = Report::of(&machine)?;
            report
                .is_panic_of_the_initramfs()?
                .logs("Initramfs unpacking failed: ")?;
        }
        // Nor are there more files than it may have.
        let mut many = guest::reporter("half")?;
        for i in 0..200 {
            many = many.file(&format!("file{i}"), 0o644, b"");
        }
        let machine = lab
            .archive(many.finish())
            .append("initramfs_options=nr_inodes=150");
        Report::of(&machine)?.is_panic_of_the_initramfs()?;
        Ok(())
    }

    pub fn second_of_two(lab: &Lab) -> Result<()> {
        let mut plain = guest::reporter("first")?.finish();
        let mut packed = compress("gzip", &plain)?;
        let second = Archive::new()
            .file("second", 0o644, &guest::noise(1 << 20))
            .finish();
        plain.extend(half(&second));
        pad(&mut packed, 4);
        packed.extend(half(&compress("xz", &second)?));
        panics(lab, plain)?;
        panics(lab, packed)
    }

    pub fn checksum_of_xz(lab: &Lab) -> Result<()> {
        let mut packed = compress("xz", &guest::reporter("half")?.finish())?;
        // The index and the footer are the last 28 bytes or so; the block's CRC32 precedes them.
        let at = packed.len() - 36;
        packed[at..at + 12]
            .iter_mut()
            .for_each(|byte| *byte ^= 0x55);
        panics(lab, packed)
    }

    pub fn checksum_of_cpio(lab: &Lab) -> Result<()> {
        panics(
            lab,
            guest::reporter("half")?
                .file_with_sum("sum", b"summed", false)
                .finish(),
        )
    }

    pub fn then_the_disk(lab: &Lab) -> Result<()> {
        let archive = big(2)?.finish();
        for broken in [
            half(&compress("gzip", &archive)?),
            half(&compress("zstd", &archive)?),
            half(&archive),
        ] {
            Report::of(&lab.disk_and(broken))?
                .is_disk()?
                .never_says("half")?
                .logs("Initramfs unpacking failed: ")?;
        }
        Ok(())
    }

    pub fn and_its_memory(lab: &Lab) -> Result<()> {
        let archive = big(BIG_MIB)?.finish();
        disk_has_all_memory(lab, archive[..archive.len() - 1024].to_vec())
    }

    pub fn and_the_half_is_run_when_off(lab: &Lab) -> Result<()> {
        let archive = big(2)?.finish();
        let machine = lab.archive(half(&archive)).append("initramfs_mount=0");
        Report::of(&machine)?.says("init: half")?;
        Ok(())
    }

    /// The kernel with the built-in archive has no LZ4.
    pub fn not_configured(lab: &Lab) -> Result<()> {
        let packed = compress("lz4", &guest::reporter("external")?.finish())?;
        let machine = Machine {
            kernel: lab.builtin.clone(),
            ..lab.archive(packed)
        };
        Report::of(&machine)?
            .is_root_mount("builtin", "tmpfs")?
            .logs("compression method lz4 not configured")?;
        let mut second = guest::reporter("external")?.finish();
        second.extend(compress(
            "lz4",
            &Archive::new().file("x", 0o644, b"x").finish(),
        )?);
        let machine = Machine {
            kernel: lab.builtin.clone(),
            ..lab.archive(second)
        };
        Report::of(&machine)?
            .is_root_mount("builtin", "tmpfs")?
            .logs("compression method lz4 not configured")?;
        Ok(())
    }

    pub fn length_or_checksum_of_gzip(lab: &Lab) -> Result<()> {
        let packed = compress("gzip", &guest::reporter("half")?.finish())?;
        for from_end in [1, 4, 5, 8] {
            let mut bent = packed.clone();
            let at = bent.len() - from_end;
            bent[at] ^= 1;
            panics(lab, bent)?;
        }
        Ok(())
    }

    /// The kernel decompresses them as one.
    pub fn second_of_two_lz4(lab: &Lab) -> Result<()> {
        let mut two = compress("lz4", &guest::reporter("first")?.finish())?;
        let second = compress(
            "lz4",
            &Archive::new().file("x", 0o644, &[b'x'; 99]).finish(),
        )?;
        two.extend(&second[..second.len() - 9]);
        panics(lab, two)
    }

    pub fn second_of_two_in_one_gzip(lab: &Lab) -> Result<()> {
        let mut two = guest::reporter("first")?.finish();
        two.extend(&Archive::new().file("x", 0o644, b"x").finish()[..60]);
        panics(lab, two.clone())?;
        panics(lab, compress("gzip", &two)?)
    }

    /// Zeros may come before an archive, but so many that it begins at a multiple of 4.
    pub fn misaligned(lab: &Lab) -> Result<()> {
        let mut two = guest::reporter("first")?.finish();
        two.push(0);
        two.extend(Archive::new().file("x", 0o644, b"x").finish());
        panics(lab, two)
    }

    /// As when a bit of its magic number has changed. The panic is that there is no root.
    pub fn not_an_archive_after_microcode(lab: &Lab) -> Result<()> {
        let report = Report::of(&lab.archive(microcode_and_noise()))?;
        report.is_panic_of_the_initramfs()?;
        Report::of(&lab.disk_and(microcode_and_noise()))?
            .is_disk()?
            .logs("rootfs image is not initramfs (")?;
        Ok(())
    }

    pub fn not_an_archive(lab: &Lab) -> Result<()> {
        let report = Report::of(&lab.disk_and(guest::noise(8192)))?;
        report.is_disk()?;
        Ok(())
    }
}

mod whole {
    use super::*;

    fn is_root(lab: &Lab, archive: Vec<u8>) -> Result<Report> {
        let report = Report::of(&lab.archive(archive))?;
        report
            .is_root_mount("archive", "tmpfs")?
            .never_logs("Initramfs unpacking failed")?;
        Ok(report)
    }

    fn open() -> Result<Vec<u8>> {
        Ok(guest::reporter("archive")?.open_with("marker-last", b"9 bytes.."))
    }

    /// As iPXE injects files.
    pub fn without_padding_or_trailer(lab: &Lab) -> Result<()> {
        for archive in [open()?, compress("gzip", &open()?)?] {
            is_root(lab, archive)?.says("file: /marker-last")?;
        }
        Ok(())
    }

    pub fn without_padding_of_the_trailer(lab: &Lab) -> Result<()> {
        let archive = guest::reporter("archive")?;
        let len = archive.open().len() + 110 + "TRAILER!!!\0".len();
        let plain = &archive.finish()[..len];
        is_root(lab, plain.to_vec())?;
        is_root(lab, compress("gzip", plain)?)?;
        Ok(())
    }

    /// An empty file has nothing but its name.
    pub fn without_padding_of_a_name(lab: &Lab) -> Result<()> {
        let archive = guest::reporter("archive")?;
        let len = archive.open().len() + 110 + "marker-empty\0".len();
        let plain = &archive.file("marker-empty", 0o644, b"").open()[..len];
        for archive in [plain.to_vec(), compress("xz", plain)?] {
            is_root(lab, archive)?.says("file: /marker-empty")?;
        }
        Ok(())
    }

    pub fn without_trailer_compressed(lab: &Lab) -> Result<()> {
        for (how, ..) in COMPRESSIONS {
            is_root(lab, compress(how, &open()?)?).with_context(|| how.to_owned())?;
        }
        Ok(())
    }

    /// Only what is not compressed is aligned.
    pub fn with_any_number_of_zeros(lab: &Lab) -> Result<()> {
        let mut archive = guest::reporter("archive")?.finish();
        archive.extend([0; 3]);
        archive.extend(compress(
            "xz",
            &Archive::new().file("marker-2", 0o644, b"2").finish(),
        )?);
        is_root(lab, archive)?.says("file: /marker-2")?;
        Ok(())
    }

    /// As GRUB and systemd-stub append archives.
    pub fn lz4_then_cpio(lab: &Lab) -> Result<()> {
        let mut archive = compress("lz4", &guest::reporter("archive")?.finish())?;
        pad(&mut archive, 4);
        archive.extend(Archive::new().file("marker-2", 0o644, b"2").finish());
        is_root(lab, archive)?.says("file: /marker-2")?;
        Ok(())
    }

    /// Also if it could be taken for a short chunk.
    pub fn lz4_then_junk(lab: &Lab) -> Result<()> {
        for junk in [
            &b"this is no archive"[..],
            &[5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            let mut archive = compress("lz4", &guest::reporter("archive")?.finish())?;
            archive.extend(junk);
            is_root(lab, archive)?;
        }
        Ok(())
    }

    pub fn with_junk_in_a_gzip(lab: &Lab) -> Result<()> {
        let mut archive = guest::reporter("archive")?.finish();
        archive.extend(b"this is no archive");
        is_root(lab, compress("gzip", &archive)?)?;
        archive.extend(guest::noise(1 << 20));
        is_root(lab, compress("zstd", &archive)?)?;
        Ok(())
    }

    pub fn after_a_gzip_of_nothing(lab: &Lab) -> Result<()> {
        let mut archive = compress("gzip", b"")?;
        pad(&mut archive, 4);
        archive.extend(guest::reporter("archive")?.finish());
        is_root(lab, archive)?;
        Ok(())
    }

    pub fn with_a_symlink_named_trailer(lab: &Lab) -> Result<()> {
        let archive = guest::reporter("archive")?
            .symlink("TRAILER!!!", &"x".repeat(4000))
            .file("marker-last", 0o644, b"1")
            .finish();
        is_root(lab, archive)?.says("file: /marker-last")?;
        Ok(())
    }

    /// Such an entry is skipped, and nothing else, wherever its header comes in two pieces.
    pub fn with_a_name_that_is_too_long(lab: &Lab) -> Result<()> {
        let archive = guest::reporter("archive")?;
        let len = archive.open().len();
        // gunzip hands out 32 KiB at a time.
        let header = len.next_multiple_of(32 << 10) - 50;
        let archive = archive
            .file("pad", 0o644, &vec![0; header - len - 116])
            .file(&"n".repeat(5000), 0o644, b"")
            .file("marker-last", 0o644, b"1");
        is_root(lab, compress("gzip", &archive.finish())?)?.says("file: /marker-last")?;
        Ok(())
    }

    /// What is unpacked twice, since there is no init in it, is never there twice.
    pub fn in_little_memory(lab: &Lab) -> Result<()> {
        let archive = Archive::new()
            .dir("dev")
            .char_device("dev/console", 5, 1)
            .file("big", 0o644, &guest::noise(BIG_MIB << 20))
            .finish();
        // The initrd, what is in it, and the kernel.
        let mib = 2 * BIG_MIB as u32 + 72;
        for words in ["", "initramfs_mount=0"] {
            let machine = lab.disk_and(&archive[..]).append(words);
            Report::of(&Machine { mib, ..machine })?.is_disk()?;
        }
        Ok(())
    }
}

fn microcode_and_noise() -> Vec<u8> {
    let mut image = Archive::new()
        .dir("kernel")
        .file("kernel/microcode", 0o644, &guest::noise(1000))
        .finish();
    image.extend(guest::noise(8192));
    image
}

mod policy {
    use super::*;

    const PANIC: &str = "initramfs_errors=panic";

    fn broken() -> Result<Vec<u8>> {
        let archive = guest::reporter("half")?.finish();
        Ok(archive[..archive.len() / 2].to_vec())
    }

    fn panics(machine: Machine) -> Result<()> {
        Report::of(&machine.append(PANIC))?
            .is_panic_of_the_initramfs()?
            .logs("Kernel panic - not syncing: VFS: initramfs unpacking failed: ")?;
        Ok(())
    }

    pub fn panic(lab: &Lab) -> Result<()> {
        panics(lab.archive(broken()?))
    }

    pub fn panic_with_a_root(lab: &Lab) -> Result<()> {
        panics(lab.disk_and(broken()?))?;
        panics(lab.disk_and(compress("xz", &broken()?)?))?;
        // Nothing comes out of it.
        panics(lab.disk_and(&compress("zstd", &broken()?)?[..1000]))
    }

    pub fn panic_after_microcode(lab: &Lab) -> Result<()> {
        panics(lab.disk_and(microcode_and_noise()))
    }

    pub fn no_panic_for_an_initrd(lab: &Lab) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("initrd.img");
        disk::make(&image, "ext2", 8, "sbin/init", &guest::report("initrd"))?;
        let image = std::fs::read(image)?;
        for initrd in [compress("gzip", &image)?, image] {
            let machine = lab.archive(initrd).append("root=/dev/ram0 rw");
            Report::of(&machine.append(PANIC))?.says("init: initrd")?;
        }
        let machine = lab.disk_and(guest::noise(8192));
        Report::of(&machine.append(PANIC))?.is_disk()?;
        Ok(())
    }

    pub fn no_panic_for_junk(lab: &Lab) -> Result<()> {
        let mut archive = guest::reporter("archive")?.finish();
        archive.extend(b"this is no archive");
        Report::of(&lab.archive(archive).append(PANIC))?.is_root_mount("archive", "tmpfs")?;
        Report::of(&lab.disk().append(PANIC))?.is_disk()?;
        Ok(())
    }

    pub fn drop(lab: &Lab) -> Result<()> {
        let machine = lab.disk_and(broken()?).append("initramfs_errors=drop");
        Report::of(&machine)?.is_disk()?.never_says("half")?;
        Ok(())
    }

    pub fn unknown(lab: &Lab) -> Result<()> {
        let machine = lab.disk_and(broken()?).append("initramfs_errors=ignore");
        Report::of(&machine)?.is_disk()?.never_says("half")?;
        Ok(())
    }
}

mod helpers {
    use super::*;

    /// The helper leaves a mark in its root, and says in the log that it is there.
    const HOTPLUG: &str = "#!/bin/busybox sh
/bin/busybox echo x >> /helped
/bin/busybox echo helper in $(/bin/busybox cat /marker) > /dev/kmsg
";

    fn archive(init: &str, mib: usize) -> Result<Archive> {
        Ok(archive::busybox()?
            .dir("sbin")
            .file("sbin/hotplug", 0o755, HOTPLUG.as_bytes())
            .file("marker", 0o644, b"archive")
            .char_device("dev/kmsg", 1, 11)
            .file("init", 0o755, init.as_bytes())
            .file("big", 0o644, &guest::noise(mib << 20)))
    }

    fn machine(lab: &Lab, cpus: u32, archive: Vec<u8>) -> Machine {
        Machine {
            kernel: lab.builtin.clone(),
            cpus,
            // Hundreds of programs at a time
            mib: 768,
            seconds: 240,
            ..lab.archive(archive)
        }
    }

    pub fn of_a_broken_archive_never_run(lab: &Lab) -> Result<()> {
        for cpus in [1, 2] {
            let whole = archive(&guest::report("half"), 32)?.finish();
            let broken = whole[..whole.len() - 4096].to_vec();
            Report::of(&machine(lab, cpus, broken))?
                .is_root_mount("builtin", "tmpfs")?
                .logs("Initramfs unpacking failed: ")?
                .never_logs("helper in")?;
        }
        Ok(())
    }

    fn helped(lab: &Lab, cpus: u32, words: &str) -> Result<u64> {
        let init = guest::init("sleep 2; echo \"helped: $(wc -l < /helped)\"");
        let machine = machine(lab, cpus, archive(&init, 32)?.finish());
        let report = Report::of(&machine.append(words))?;
        report.logs("helper in archive")?.number("helped")
    }

    pub fn of_a_whole_one_run_in_its_root(lab: &Lab) -> Result<()> {
        for cpus in [1, 2] {
            helped(lab, cpus, "")?;
        }
        Ok(())
    }

    /// More of them wait than work items may run at a time, and it comes to an end.
    pub fn are_many(lab: &Lab) -> Result<()> {
        let helped = helped(lab, 2, "loop.max_loop=600 initramfs_async=1")?;
        if helped < 600 {
            bail!("only {helped} helpers");
        }
        Ok(())
    }
}

mod disk_boot {
    use super::*;

    pub fn without_archive(lab: &Lab) -> Result<()> {
        Report::of(&lab.disk())?
            .is_disk()?
            .never_logs("initramfs_mount: ")?;
        Ok(())
    }

    pub fn with_an_empty_archive(lab: &Lab) -> Result<()> {
        Report::of(&lab.disk_and(Archive::new().finish()))?
            .is_disk()?
            .never_logs("initramfs_mount: error")?;
        Ok(())
    }

    pub fn without_init(lab: &Lab) -> Result<()> {
        let archive = Archive::new()
            .dir("lib")
            .file("lib/marker", 0o644, b"x")
            .finish();
        Report::of(&lab.disk_and(archive))?
            .is_disk()?
            .never_logs("initramfs_mount: error")?;
        Ok(())
    }

    /// What is in rootfs stays there, or not: as without the option.
    pub fn without_init_takes_no_more_memory(lab: &Lab) -> Result<()> {
        let archive = Archive::new()
            .dir("dev")
            .char_device("dev/console", 5, 1)
            .file("marker", 0o644, &guest::noise(BIG_MIB << 20))
            .finish();
        let off = free_on_disk(lab.disk_and(&archive[..]).append("initramfs_mount=0"))?;
        has_as_much(lab.disk_and(archive), off)
    }

    pub fn with_missing_rdinit(lab: &Lab) -> Result<()> {
        let machine = lab
            .disk_and(guest::reporter("archive")?.finish())
            .append("rdinit=/nosuch");
        Report::of(&machine)?.is_disk()?;
        Ok(())
    }

    /// cfg80211 asks for its database while the disk isn't the root yet. This one has no signature.
    pub fn finds_firmware(lab: &Lab) -> Result<()> {
        let archive = Archive::new()
            .dir("lib")
            .dir("lib/firmware")
            .file("lib/firmware/regulatory.db", 0o644, b"no database")
            .finish();
        for words in ["", "initramfs_mount=0"] {
            Report::of(&lab.disk_and(&archive[..]).append(words))?
                .is_disk()?
                .logs("regulatory.db is malformed")?;
        }
        Report::of(&lab.disk())?
            .is_disk()?
            .never_logs("regulatory.db is malformed")?;
        Ok(())
    }

    pub fn legacy_initrd(lab: &Lab) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("initrd.img");
        disk::make(&image, "ext2", 8, "sbin/init", &guest::report("initrd"))?;
        let image = std::fs::read(image)?;
        for initrd in [compress("gzip", &image)?, image] {
            let machine = lab.archive(initrd).append("root=/dev/ram0 rw");
            let report = Report::of(&machine)?;
            report.says("init: initrd")?.says("roots: 1")?;
            let root = report.line("root")?;
            report.check(root.starts_with("ext"), format!("the root is {root:?}"))?;
        }
        Ok(())
    }

    /// Before 7.0, an initrd may have a program that runs before there is a root.
    pub fn linuxrc(lab: &Lab) -> Result<()> {
        if lab.has_nullfs {
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("initrd.img");
        let linuxrc = "#!/bin/busybox sh\n/bin/busybox echo guest: linuxrc\n";
        disk::make(&image, "ext2", 8, "linuxrc", linuxrc)?;
        let image = std::fs::read(image)?;
        // There is an archive in this kernel, but not that program in it.
        for words in ["", "initramfs_mount=0"] {
            let machine = Machine {
                kernel: lab.builtin.clone(),
                ..lab
                    .disk_and(&image[..])
                    .append("rdinit=/nosuch")
                    .append(words)
            };
            Report::of(&machine)?.is_disk()?.logs("guest: linuxrc")?;
        }
        Ok(())
    }

    pub fn when_off(lab: &Lab) -> Result<()> {
        let archive = Archive::new()
            .dir("lib")
            .file("lib/marker", 0o644, b"x")
            .finish();
        for machine in [lab.disk(), lab.disk_and(archive)] {
            Report::of(&machine.append("initramfs_mount=0"))?
                .is_disk()?
                .never_logs("initramfs_mount: ")?;
        }
        Ok(())
    }
}

mod built_in {
    use super::*;

    fn machine(lab: &Lab, external: Option<Vec<u8>>) -> Machine {
        Machine {
            kernel: lab.builtin.clone(),
            initrd: external.map(Initrd::Bytes),
            ..lab.machine()
        }
    }

    pub fn is_the_root(lab: &Lab) -> Result<()> {
        Report::of(&machine(lab, None))?
            .is_root_mount("builtin", "tmpfs")?
            .says("file: /marker-builtin")?;
        Ok(())
    }

    pub fn and_external(lab: &Lab) -> Result<()> {
        let external = guest::reporter("external")?
            .file("marker-external", 0o644, b"x")
            .finish();
        Report::of(&machine(lab, Some(external)))?
            .is_root_mount("external", "tmpfs")?
            .says("file: /marker-builtin")?
            .says("file: /marker-external")?;
        Ok(())
    }

    pub fn and_broken_external(lab: &Lab) -> Result<()> {
        let external =
            guest::reporter("external")?.file("marker-external", 0o644, &guest::noise(4096));
        let open = external.open();
        for broken in [
            open[..open.len() - 512].to_vec(),
            compress("gzip", &open)?[..2000].to_vec(),
        ] {
            Report::of(&machine(lab, Some(broken)))?
                .is_root_mount("builtin", "tmpfs")?
                .says("file: /marker-builtin")?
                .never_says("external")?
                .logs("Initramfs unpacking failed: ")?;
        }
        Ok(())
    }

    /// There is no way back for what is in the kernel but into rootfs, as ever.
    pub fn larger_than_the_mount(lab: &Lab) -> Result<()> {
        let report = Report::of(&machine(lab, None).append("initramfs_options=size=256k"))?;
        report
            .says("init: builtin")?
            .says("roots: 1")?
            .says("console: yes")?
            .logs("initramfs_mount: built-in archive: ")?
            .never_logs("/ is the initramfs")?;
        Ok(())
    }

    pub fn when_off(lab: &Lab) -> Result<()> {
        let report = Report::of(&machine(lab, None).append("initramfs_mount=0"))?;
        let works = if lab.has_nullfs { "ok" } else { "failed" };
        report
            .says("init: builtin")?
            .says(&format!("pivot_root: {works}"))?;
        Ok(())
    }
}

mod container {
    use super::*;

    /// What a user who is not root does to have a root of its own.
    const PIVOT: &str = "set -e
mount --bind /c/rootfs /c/rootfs
mount -t proc proc /c/rootfs/proc
cd /c/rootfs
pivot_root . .
umount -l .
exec /bin/sh /inside
";

    const RUNTIMES: &[(&str, &str, &str)] = &[
        ("runc", "runc", "runc run -b /c c1"),
        ("crun", "crun", "crun run -b /c c2"),
        (
            "bwrap",
            "bubblewrap",
            "bwrap --bind /c/rootfs / --proc /proc --unshare-all /bin/sh /inside",
        ),
        (
            "setpriv",
            "util-linux",
            "/usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups unshare -U -r -m -p -f sh /pivot",
        ),
    ];

    /// Boots with programs of the host, and a container for OCI runtimes in `/c`.
    fn machine(lab: &Lab, runtimes: &[(&str, &str, &str)]) -> Result<Machine> {
        let mut script = guest::CGROUPS.to_owned();
        let mut programs = Vec::new();
        for (name, package, command) in runtimes {
            script += &format!("{command}\necho \"{name}: $?\"\n");
            programs.push((*name, *package));
        }
        let archive = guest::with_container(guest::with_programs(&programs, &script)?)?.file(
            "pivot",
            0o755,
            PIVOT.as_bytes(),
        );
        Ok(Machine {
            mib: 384,
            seconds: 120,
            ..lab.archive(archive.finish())
        })
    }

    fn runs(lab: &Lab, runtime: usize) -> Result<()> {
        let report = Report::of(&machine(lab, &RUNTIMES[runtime..=runtime])?)?;
        report
            .says("container: runs")?
            .says("mounts: 1")?
            .says("host: out of sight")?;
        Ok(())
    }

    pub fn runc(lab: &Lab) -> Result<()> {
        runs(lab, 0)
    }

    pub fn crun(lab: &Lab) -> Result<()> {
        runs(lab, 1)
    }

    pub fn bwrap(lab: &Lab) -> Result<()> {
        runs(lab, 2)
    }

    pub fn user_namespace(lab: &Lab) -> Result<()> {
        runs(lab, 3)
    }

    /// Without the feature, and without nullfs, pivot_root is what they all fail at.
    pub fn fail_when_off(lab: &Lab) -> Result<()> {
        let report = Report::of(&machine(lab, RUNTIMES)?.append("initramfs_mount=0"))?;
        let said = report
            .0
            .guest
            .to_lowercase()
            .replace("pivot root", "pivot_root");
        for (name, ..) in RUNTIMES {
            report.check(
                (report.line(name)? == "0") == lab.has_nullfs,
                format!("{name}, off"),
            )?;
        }
        let errors = said
            .lines()
            .filter(|line| line.contains("pivot_root"))
            .count();
        report.check(
            lab.has_nullfs || errors >= RUNTIMES.len(),
            format!("{errors} errors"),
        )?;
        Ok(())
    }
}

/// Boots the kernel of a Debian package from a disk that the package has been unpacked to, and with
/// an archive.
pub fn packages(base: &Base) -> Result<()> {
    let built = kernel::packages(base)?;
    let package = built
        .iter()
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("linux-image-") && !name.contains("-dbg")
        })
        .context("there is no package linux-image-*")?;
    let dir = tempfile::tempdir()?;
    let unpacked = dir.path().join("root");
    let unpack = |root: &Path| {
        let dpkg = program("dpkg-deb", "dpkg")?;
        output(Command::new(dpkg).arg("-x").arg(package).arg(root)).map(drop)
    };
    unpack(&unpacked)?;
    let kernel = fs::read_dir(unpacked.join("boot"))?
        .flatten()
        .map(|file| file.path())
        .find(|path| path.to_string_lossy().contains("/vmlinuz-"))
        .context("the package has no kernel")?;

    let disk = dir.path().join("disk.img");
    let init = guest::init(
        "echo \"init: disk\"
        grep INITRAMFS_MOUNT= /boot/config-$(uname -r)
        [ -e /boot/vmlinuz-$(uname -r) ] && echo 'kernel: there'",
    );
    disk::make_with(&disk, "ext4", 128, ("sbin/init", &init), unpack)?;
    let machine = Machine {
        disk: Some(disk),
        ..Machine::new(&kernel).append("root=/dev/vda")
    };
    Report::of(&machine)?
        .says("init: disk")?
        .says("CONFIG_INITRAMFS_MOUNT=y")?
        .says("kernel: there")?;
    let machine = Machine {
        initrd: Some(guest::reporter("archive")?.finish().into()),
        ..machine
    };
    Report::of(&machine)?.is_root_mount("archive", "ramfs")?;
    Ok(())
}

/// The size of archives whose memory is looked for.
const BIG_MIB: usize = 64;

/// With an archive that is not run, as much is free on the disk as without one.
fn disk_has_all_memory(lab: &Lab, archive: Vec<u8>) -> Result<()> {
    let without = free_on_disk(lab.disk())?;
    has_as_much(lab.disk_and(archive), without)
}

fn free_on_disk(machine: Machine) -> Result<u64> {
    let mib = 5 * BIG_MIB as u32;
    let report = Report::of(&Machine { mib, ..machine })?;
    report.is_disk()?.number("free")
}

fn has_as_much(machine: Machine, other: u64) -> Result<()> {
    let free = free_on_disk(machine)?;
    if free + (4 << 10) < other {
        bail!("{free} KiB are free, and {other} KiB otherwise, with an archive of {BIG_MIB} MiB");
    }
    Ok(())
}

fn compression(lab: &Lab, how: &str) -> Result<()> {
    let packed = compress(how, &guest::reporter("archive")?.finish())?;
    Report::of(&lab.archive(packed))?.is_root_mount("archive", "tmpfs")?;
    Ok(())
}

/// Also where nothing but the checksum at its end is missing.
fn compression_cut_off(lab: &Lab, how: &str) -> Result<()> {
    let archive = guest::reporter("half")?
        .file("marker", 0o644, &guest::noise(1 << 20))
        .finish();
    let packed = compress(how, &archive)?;
    for len in [packed.len() / 2, packed.len() - 64] {
        let report = Report::of(&lab.disk_and(&packed[..len]))?;
        report
            .is_disk()?
            .never_says("half")?
            .logs_what_is_broken()?;
    }
    Ok(())
}

fn boot_async_cpus(lab: &Lab, init_async: u32, cpus: u32) -> Result<()> {
    let boot = |machine: Machine| {
        let machine = machine.append(&format!("initramfs_async={init_async}"));
        Report::of(&Machine { cpus, ..machine })
    };
    let archive = guest::reporter("archive")?
        .file("marker", 0o644, &guest::noise(1 << 20))
        .finish();
    boot(lab.archive(compress("zstd", &archive)?))?.is_root_mount("archive", "tmpfs")?;
    boot(lab.disk_and(&archive[..archive.len() - 4096]))?.is_disk()?;
    Ok(())
}
