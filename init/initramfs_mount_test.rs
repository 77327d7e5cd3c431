// SPDX-License-Identifier: GPL-2.0

//! KUnit tests for the root mount: its transaction on a fake kernel, where every operation fails in
//! turn, and on the real one, in a mount namespace of the test's own.

use super::*;
use core::{
    cell::Cell,
    ffi::CStr as Text,
    fmt::{self, Write},
};
use kernel::{
    error::to_result, ffi::c_ulong, kunit_init::Test, kunit_init_expect as expect,
    kunit_init_expect_eq as expect_eq, kunit_init_test_suite,
};

kunit_init_test_suite!(
    "initramfs_mount",
    [
        the_choice_of_file_system_and_options,
        every_operation_fails_in_turn,
        an_archive_becomes_the_root,
        a_revert_leaves_no_trace,
        a_drop_is_a_revert,
        a_mount_that_fails_leaves_no_trace,
        bad_options_are_left_out,
        options_never_make_it_read_only,
        an_archive_without_rdinit_stays_for_now,
        a_finish_that_fails_leaves_no_trace,
        an_archive_that_breaks_off_is_not_whole,
    ]
);

fn the_choice_of_file_system_and_options(test: &Test<'_>) {
    // root=, rootfstype=, rootflags=, initramfs_options=: file system, options
    type Case = (
        &'static Text,
        Option<&'static Text>,
        &'static Text,
        &'static Text,
        &'static str,
        &'static str,
    );
    let table: &[Case] = &[
        (c"", None, c"", c"", "tmpfs", ""),
        (c"", None, c"size=1M", c"", "tmpfs", "size=1M"),
        (c"", None, c"", c"size=2M", "tmpfs", "size=2M"),
        (c"", None, c"size=1M", c"size=2M", "tmpfs", "size=2M"),
        (c"", Some(c"tmpfs"), c"size=1M", c"", "tmpfs", "size=1M"),
        (c"", Some(c"ext4,tmpfs"), c"", c"", "tmpfs", ""),
        (c"", Some(c"ramfs"), c"", c"", "ramfs", ""),
        (c"", Some(c"ramfs"), c"mode=700", c"", "ramfs", "mode=700"),
        (c"", Some(c"ext4"), c"", c"", "ramfs", ""),
        (c"", Some(c""), c"", c"", "ramfs", ""),
        (c"/dev/vda", None, c"", c"", "ramfs", ""),
        (c"/dev/vda", None, c"data=journal", c"", "ramfs", ""),
        (
            c"/dev/vda",
            None,
            c"data=journal",
            c"mode=700",
            "ramfs",
            "mode=700",
        ),
        (c"/dev/vda", Some(c"tmpfs"), c"", c"", "tmpfs", ""),
        (
            c"/dev/vda",
            Some(c"tmpfs"),
            c"ro",
            c"size=2M",
            "tmpfs",
            "size=2M",
        ),
        (c"/dev/vda", Some(c"ext4"), c"ro", c"", "ramfs", ""),
    ];

    for &(root, rootfstype, rootflags, initramfs_options, fs_type, options) in table {
        let (chosen, chosen_options) = Params {
            root: char_ptr(root),
            rootflags: char_ptr(rootflags),
            initramfs_options: char_ptr(initramfs_options),
            rdinit: char_ptr(c"/init"),
            rootfstype: rootfstype.map(char_ptr),
        }
        .choose();
        let case = (root, rootfstype, rootflags, initramfs_options);
        expect_eq!(
            test,
            text(chosen.into()),
            fs_type,
            "file system for {case:?}"
        );
        expect_eq!(test, text(chosen_options), options, "options for {case:?}");
    }
}

fn char_ptr(text: &'static Text) -> CharPtr<'static> {
    // SAFETY: A string with a NUL, and static.
    unsafe { CharPtr::from_raw(text.to_bytes_with_nul().as_ptr().cast()) }
        .unwrap_or(c_str!("").into())
}

fn text(string: CharPtr<'_>) -> &str {
    let text = string.as_char_ptr();
    // SAFETY: By its type, this is a string with a NUL, and `strlen()` counts what is before it.
    let bytes =
        unsafe { core::slice::from_raw_parts(text.cast(), bindings::strlen(text) as usize) };
    core::str::from_utf8(bytes).unwrap_or("(not text)")
}

/// What is asked of the fake kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    None,
    Hold,
    Mount {
        options: bool,
    },
    Chdir,
    Chroot,
    Eaccess,
    RestorePwd,
    Mknod,
    Bind,
    Restore,
    Detach,
    /// What was held has been given back.
    Release,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Rootfs,
    RootMount,
}

/// What the fake kernel's world is like.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    root: Place,
    pwd: Place,
    mounts: u32,
    held: u32,
    /// Whether the root mount shows the console of rootfs.
    console: bool,
}

impl State {
    const BOOT: Self = Self {
        root: Place::Rootfs,
        pwd: Place::Rootfs,
        mounts: 0,
        held: 0,
        console: false,
    };
    const KEPT: Self = Self {
        root: Place::RootMount,
        pwd: Place::RootMount,
        mounts: 1,
        ..Self::BOOT
    };
    const KEPT_FOR_NOW: Self = Self {
        pwd: Place::Rootfs,
        console: true,
        ..Self::KEPT
    };
}

/// A fake kernel, in which operations can fail.
struct World {
    state: Cell<State>,
    rdinit: bool,
    ops: Cell<[Op; 20]>,
    count: Cell<usize>,
    /// Which operation is to fail, counted from 0 among those that can, and with what.
    fail: Option<(usize, Error)>,
    /// Whether unmounting fails, too.
    stuck: bool,
    tried: Cell<usize>,
    reported: Cell<Option<Error>>,
    /// How many operations there were until the one that failed, that one included, and how
    /// many mounts.
    failed: Cell<Option<(usize, u32)>>,
}

impl World {
    fn new(rdinit: bool, fail: Option<(usize, Error)>, stuck: bool) -> Self {
        Self {
            state: Cell::new(State::BOOT),
            rdinit,
            ops: Cell::new([Op::None; 20]),
            count: Cell::new(0),
            fail,
            stuck,
            tried: Cell::new(0),
            reported: Cell::new(None),
            failed: Cell::new(None),
        }
    }

    fn note(&self, op: Op) {
        let mut ops = self.ops.get();
        if let Some(place) = ops.get_mut(self.count.get()) {
            *place = op;
        }
        self.ops.set(ops);
        self.count.set(self.count.get() + 1);
    }

    /// An operation that can fail.
    fn try_op(&self, op: Op) -> Result {
        self.note(op);
        let tried = self.tried.replace(self.tried.get() + 1);
        match self.fail {
            Some((which, e)) if which == tried => {
                self.failed
                    .set(Some((self.count.get(), self.state.get().mounts)));
                Err(e)
            }
            _ if self.stuck && op == Op::Detach => Err(EBUSY),
            _ => Ok(()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.get();
        change(&mut state);
        self.state.set(state);
    }
}

struct Fake<'a>(&'a World);

struct FakeHeld<'a>(&'a World, State);

impl Drop for FakeHeld<'_> {
    fn drop(&mut self) {
        self.0.note(Op::Release);
        self.0.change(|state| state.held -= 1);
    }
}

impl<'a> Ops for Fake<'a> {
    type Held = FakeHeld<'a>;

    fn hold(&self) -> Result<FakeHeld<'a>> {
        self.0.try_op(Op::Hold)?;
        let then = self.0.state.get();
        self.0.change(|state| state.held += 1);
        Ok(FakeHeld(self.0, then))
    }

    fn restore(&self, held: &FakeHeld<'a>) {
        self.0.note(Op::Restore);
        self.0
            .change(|state| (state.root, state.pwd) = (held.1.root, held.1.pwd));
    }

    fn restore_pwd(&self, held: &FakeHeld<'a>) {
        self.0.note(Op::RestorePwd);
        self.0.change(|state| state.pwd = held.1.pwd);
    }

    fn mount(&self, _: &CStr, options: CharPtr<'_>, _: &mut Page) -> Result {
        let options = !options.is_empty();
        self.0.try_op(Op::Mount { options })?;
        self.0.change(|state| state.mounts += 1);
        Ok(())
    }

    fn bind_mount(&self, _: &CStr, _: &CStr) -> Result {
        self.0.try_op(Op::Bind)?;
        self.0.change(|state| state.console = true);
        Ok(())
    }

    fn detach(&self, _: &CStr) -> Result {
        self.0.try_op(Op::Detach)?;
        // From within the root mount there is nothing at `/..`, and rootfs can't be unmounted.
        if self.0.state.get().root != Place::Rootfs || self.0.state.get().mounts == 0 {
            return Err(EINVAL);
        }
        self.0.change(|state| state.mounts -= 1);
        Ok(())
    }

    fn chdir(&self, _: &CStr) -> Result {
        self.0.try_op(Op::Chdir)?;
        if self.0.state.get().mounts > 0 {
            self.0.change(|state| state.pwd = Place::RootMount);
        }
        Ok(())
    }

    fn chroot(&self, _: &CStr) -> Result {
        self.0.try_op(Op::Chroot)?;
        self.0.change(|state| state.root = state.pwd);
        Ok(())
    }

    fn eaccess(&self, _: CharPtr<'_>) -> Result {
        self.0.try_op(Op::Eaccess)?;
        if self.0.rdinit {
            Ok(())
        } else {
            Err(ENOENT)
        }
    }

    fn mknod_console(&self, _: &CStr) -> Result {
        self.0.try_op(Op::Mknod)
    }

    fn report(&self, e: Error, _: &CStr) {
        self.0.reported.set(Some(e));
    }
}

/// What is done with a root mount once it is prepared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Finish,
    FinishForNow,
    Revert,
    Drop,
}

/// Runs the transaction. Returns the outcome, and the errno if options were refused.
fn transaction(world: &World, then: Then, options: bool, page: &mut Page) -> (Result, c_int) {
    let mut options: CharPtr<'_> = if options {
        c_str!("size=1M").into()
    } else {
        c_str!("").into()
    };
    let mut refused = 0;

    let prepared = match prepare(
        Fake(world),
        c_str!("tmpfs"),
        &mut options,
        &mut refused,
        page,
    ) {
        Ok(prepared) => prepared,
        Err(e) => return (Err(e), refused),
    };
    let outcome = match then {
        Then::Finish | Then::FinishForNow => {
            if prepared.holds(c_str!("/init").into()) {
                prepared.finish();
                Ok(())
            } else {
                prepared.finish_for_now()
            }
        }
        Then::Revert => {
            prepared.revert();
            Ok(())
        }
        Then::Drop => {
            drop(prepared);
            Ok(())
        }
    };
    (outcome, refused)
}

fn every_operation_fails_in_turn(test: &Test<'_>) {
    let errors = [ENOMEM, EINVAL, EPERM, ENOENT, EBUSY, ENOSPC, EIO];
    let all = [Then::Finish, Then::FinishForNow, Then::Revert, Then::Drop];
    let Ok(mut page) = page() else {
        test.fail(c_str!(file!()), line!(), format_args!("no memory"));
        return;
    };

    for (then, options) in all
        .into_iter()
        .flat_map(|then| [(then, false), (then, true)])
    {
        let rdinit = then == Then::Finish;
        let clean = World::new(rdinit, None, false);
        let (outcome, refused) = transaction(&clean, then, options, &mut page);
        let end = match then {
            Then::Finish => State::KEPT,
            Then::FinishForNow => State::KEPT_FOR_NOW,
            Then::Revert | Then::Drop => State::BOOT,
        };
        expect_eq!(test, outcome, Ok(()), "{then:?}");
        expect_eq!(test, refused, 0, "{then:?}");
        expect_eq!(test, clean.state.get(), end, "{then:?}");
        // More than this, and they would not all have been seen.
        expect!(test, clean.count.get() < clean.ops.get().len(), "{then:?}");

        for which in 0..clean.tried.get() {
            for (e, stuck) in errors.into_iter().flat_map(|e| [(e, false), (e, true)]) {
                let world = World::new(rdinit, Some((which, e)), stuck);
                let result = transaction(&world, then, options, &mut page);
                one_failure(test, &world, (then, options), e, result, end);
            }
        }
    }
}

/// Checks what came of a transaction in which one operation failed.
fn one_failure(
    test: &Test<'_>,
    world: &World,
    what: (Then, bool),
    e: Error,
    (outcome, refused): (Result, c_int),
    end: State,
) {
    let state = world.state.get();
    let ops = world.ops.get();
    let Some((count, mounts)) = world.failed.get() else {
        test.fail(
            c_str!(file!()),
            line!(),
            format_args!("nothing failed in {what:?}"),
        );
        return;
    };
    let op = ops[count - 1];
    let followed = &ops[count..world.count.get()];
    let case = (what, op, e, world.stuck);
    let reverts = matches!(what.0, Then::Revert | Then::Drop);
    let left = State {
        mounts: u32::from(world.stuck && mounts > 0),
        ..State::BOOT
    };

    match op {
        // Mounted without options instead, and nothing else changes.
        Op::Mount { options: true } => {
            expect_eq!(test, (outcome, refused), (Ok(()), e.to_errno()), "{case:?}");
            expect_eq!(
                test,
                followed.first(),
                Some(&Op::Mount { options: false }),
                "{case:?}"
            );
            let stays = u32::from(world.stuck && reverts);
            let end = State {
                mounts: end.mounts + stays,
                ..end
            };
            expect_eq!(test, state, end, "{case:?}");
        }
        // As if there were no rdinit.
        Op::Eaccess => {
            expect_eq!(test, (outcome, refused), (Ok(()), 0), "{case:?}");
            expect_eq!(test, state, State::KEPT_FOR_NOW, "{case:?}");
        }
        // The archives had no console.
        Op::Bind if e == ENOENT => {
            expect_eq!(test, (outcome, refused), (Ok(()), 0), "{case:?}");
            expect_eq!(test, followed, [Op::Release], "{case:?}");
            let end = State {
                console: false,
                ..State::KEPT_FOR_NOW
            };
            expect_eq!(test, state, end, "{case:?}");
        }
        // There is nothing else that could be done; root and working directory are right.
        Op::Detach => {
            expect!(test, reverts, "{case:?}");
            expect_eq!(test, world.reported.get(), Some(e), "{case:?}");
            expect_eq!(test, (outcome, refused), (Ok(()), 0), "{case:?}");
            expect_eq!(test, followed, [Op::Release], "{case:?}");
            expect_eq!(
                test,
                state,
                State {
                    mounts: 1,
                    ..State::BOOT
                },
                "{case:?}"
            );
        }
        // Whatever else fails, what was done is undone, in this order.
        _ => {
            expect_eq!(test, (outcome, refused), (Err(e), 0), "{case:?}");
            let undo: &[Op] = match (op, mounts) {
                (Op::Hold, _) => &[],
                (_, 0) => &[Op::Release],
                _ => &[Op::Restore, Op::Detach, Op::Release],
            };
            expect_eq!(test, followed, undo, "{case:?}");
            expect_eq!(
                test,
                (state.root, state.pwd),
                (left.root, left.pwd),
                "{case:?}"
            );
            expect_eq!(
                test,
                (state.mounts, state.held),
                (left.mounts, left.held),
                "{case:?}"
            );
        }
    }
}

/// A mount namespace and an `fs_struct` of the test's own, with an empty root in which there is
/// nothing but `/proc`. Ends with a check that nobody holds that root any more.
struct Sandbox<'a> {
    test: &'a Test<'a>,
    kernel: Kernel,
    outside: FsStruct,
}

impl<'a> Sandbox<'a> {
    fn enter(test: &'a Test<'a>) -> Result<Self> {
        // SAFETY: KUnit runs init suites before init memory is freed, and waits for this thread.
        let kernel = unsafe {
            to_result(bindings::initramfs_mount_test_unshare())?;
            Kernel(InitSyscalls::new())
        };
        let outside = kernel.hold()?;
        kernel.mount(c_str!("tmpfs"), c_str!("").into(), &mut *page()?)?;
        kernel.chdir(c_str!("/.."))?;
        kernel.chroot(c_str!("."))?;
        let sandbox = Self {
            test,
            kernel,
            outside,
        };
        sandbox.mount_proc()?;
        Ok(sandbox)
    }

    fn mount_proc(&self) -> Result {
        // SAFETY: Init memory is still there, and this is a string.
        to_result(unsafe { bindings::init_mkdir(c_str!("/proc").as_char_ptr(), 0o755) })
            .or_else(|e| if e == EEXIST { Ok(()) } else { Err(e) })?;
        let syscalls = &self.kernel.0;
        let (proc, none) = (c_str!("proc"), c_str!("").into());
        syscalls.mount(proc, c_str!("/proc"), proc, none, &mut *page()?)
    }

    /// What is mounted, as seen from the root.
    fn mounts(&self) -> Contents {
        self.read(c_str!("/proc/self/mountinfo"))
    }

    fn read(&self, path: &CStr) -> Contents {
        let mut contents = Contents {
            bytes: [0; 1024],
            len: 0,
        };
        // SAFETY: `path` is a string. What `filp_open()` returns is a file or an error; a file
        // is given back once it has been read, and has no other user. That may happen at once,
        // since test cases run in kernel threads. `kernel_read()` gets a buffer and its size.
        unsafe {
            let Ok(file) = kernel::error::from_err_ptr(bindings::filp_open(
                path.as_char_ptr(),
                bindings::O_RDONLY as c_int,
                0,
            )) else {
                return contents;
            };
            let mut pos = 0;
            loop {
                let rest = &mut contents.bytes[contents.len..];
                let got =
                    bindings::kernel_read(file, rest.as_mut_ptr().cast(), rest.len(), &mut pos);
                if got <= 0 {
                    break;
                }
                contents.len += got as usize;
            }
            bindings::__fput_sync(file);
        }
        contents
    }

    fn there(&self, path: &CStr) -> bool {
        self.kernel.eaccess(path.into()).is_ok()
    }
}

impl Drop for Sandbox<'_> {
    fn drop(&mut self) {
        let unmount = |path: &CStr, flags: c_int| {
            // SAFETY: Init memory is still there, and this is a string.
            to_result(unsafe { bindings::init_umount(path.as_char_ptr(), flags) })
        };
        let restored = unmount(c_str!("/proc"), 0);
        expect_eq!(self.test, restored, Ok(()), "/proc of the sandbox");
        self.outside.restore(&self.kernel.0);
        // Not a lazy one: it fails if there is a reference too many.
        expect_eq!(
            self.test,
            unmount(c_str!("/.."), 0),
            Ok(()),
            "root of the sandbox"
        );
    }
}

/// What is in a file.
#[derive(PartialEq)]
struct Contents {
    bytes: [u8; 1024],
    len: usize,
}

impl Contents {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("(not text)")
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Write for Contents {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// A cpio archive that is being written.
struct Archive(Contents);

impl Archive {
    fn new() -> Self {
        Self(Contents {
            bytes: [0; 1024],
            len: 0,
        })
    }

    fn entry(mut self, name: &str, mode: u32, data: &str) -> Self {
        let inode = self.0.len;
        // Nothing fails here but a write that does not fit, and then the content is not right.
        let _ = write!(
            self.0,
            "070701{inode:08X}{mode:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}\
             {:08X}{:08X}{name}\0",
            0,
            0,
            1,
            0,
            data.len(),
            0,
            0,
            5,
            1,
            name.len() + 1,
            0,
        );
        self.pad();
        let _ = self.0.write_str(data);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.0.len = self.0.len.next_multiple_of(4);
    }

    /// A directory, a program with that content, a link to it, and a console.
    fn with_init(content: &str) -> Self {
        Self::new()
            .entry("dev", 0o040755, "")
            .entry("dev/console", 0o020600, "")
            .entry("init", 0o100755, content)
            .entry("link", 0o120777, "init")
    }

    fn end(self) -> Contents {
        self.entry("TRAILER!!!", 0, "").0
    }
}

/// Unpacks an archive, and returns whether it was a whole one.
fn unpack(archive: &[u8]) -> bool {
    // SAFETY: Init suites run before init memory is freed, and one after the other, so that nobody
    // else uses the unpacker. It only reads what it is given.
    unsafe {
        bindings::initramfs_mount_test_unpack(archive.as_ptr().cast(), archive.len() as c_ulong)
    }
}

/// A page is a lot for a stack.
#[inline(never)]
fn page() -> Result<KBox<Page>> {
    Ok(KBox::new([0; PAGE_SIZE], GFP_KERNEL)?)
}

#[inline(never)]
fn root_mount(rootflags: &'static Text) -> Result<KBox<RootMount<'static>>> {
    let mount = RootMount {
        params: Params {
            root: char_ptr(c""),
            rootflags: char_ptr(rootflags),
            initramfs_options: char_ptr(c""),
            rdinit: char_ptr(c"/init"),
            rootfstype: None,
        },
        fs_type: None,
        options: char_ptr(c""),
        rootfs: None,
        refused: 0,
        is_final: false,
        _on: true,
        page: [0; PAGE_SIZE],
        broken: None,
    };
    Ok(KBox::new(mount, GFP_KERNEL)?)
}

/// What the C side calls, and its result.
fn prepared(mount: &mut RootMount<'static>) -> c_int {
    // SAFETY: Init suites run before init memory is freed. The boot parameters are static.
    unsafe { prepare_mount_rootfs(mount) }
}

fn finished(mount: &mut RootMount<'static>) -> c_int {
    // SAFETY: As in `prepared()`.
    unsafe { finish_mount_rootfs(mount) }
}

fn reverted(mount: &mut RootMount<'static>) {
    // SAFETY: As in `prepared()`.
    unsafe { revert_mount_rootfs(mount) };
}

/// Runs a test case in a sandbox. If there can't be one, that is a failure.
fn in_sandbox(test: &Test<'_>, case: impl FnOnce(&Sandbox<'_>) -> Result) {
    match Sandbox::enter(test) {
        Ok(sandbox) => expect_eq!(
            test,
            case(&sandbox),
            Ok(()),
            "an operation of the test's own"
        ),
        Err(e) => test.fail(c_str!(file!()), line!(), format_args!("no sandbox: {e:?}")),
    }
}

/// Goes back from a root mount that was kept, and takes it away.
fn leave(sandbox: &Sandbox<'_>, before: &FsStruct) -> Result {
    before.restore(&sandbox.kernel.0);
    sandbox.kernel.detach(c_str!("/.."))
}

fn an_archive_becomes_the_root(test: &Test<'_>) {
    in_sandbox(test, |sandbox| {
        let before = sandbox.kernel.hold()?;
        let mut mount = root_mount(c"size=512k,mode=750")?;
        expect_eq!(test, prepared(&mut mount), 0, "prepare");
        expect!(
            test,
            mount.rootfs.is_some() && mount.refused == 0,
            "prepare keeps the way back"
        );
        expect!(
            test,
            unpack(Archive::with_init("content").end().as_bytes()),
            "a whole archive"
        );
        expect_eq!(test, finished(&mut mount), 0, "finish");
        expect!(
            test,
            mount.is_final && mount.rootfs.is_none(),
            "finish is final"
        );

        expect_eq!(
            test,
            sandbox.read(c_str!("/init")).as_str(),
            "content",
            "an absolute path"
        );
        expect_eq!(
            test,
            sandbox.read(c_str!("link")).as_str(),
            "content",
            "a relative path"
        );
        expect!(
            test,
            !sandbox.there(c_str!("/console")),
            "this is for roots without rdinit"
        );
        sandbox.mount_proc()?;
        let mounts = sandbox.mounts();
        let mut lines = mounts.as_str().lines();
        let root = lines.next().unwrap_or_default();
        expect!(test, root.contains(" / / rw"), "{root}");
        expect!(
            test,
            root.contains(" - tmpfs rootfs rw,size=512k,mode=750"),
            "{root}"
        );
        expect_eq!(
            test,
            lines.count(),
            1,
            "nothing but /proc after it: {mounts:?}"
        );
        leave(sandbox, &before)
    });
}

/// Checks that something leaves the world as it was.
fn no_trace(test: &Test<'_>, sandbox: &Sandbox<'_>, something: impl FnOnce() -> Result) -> Result {
    let before = sandbox.mounts();
    something()?;
    expect!(
        test,
        sandbox.there(c_str!("/proc/self")),
        "the root is what it was"
    );
    expect!(
        test,
        sandbox.there(c_str!("proc/self")),
        "the working directory is what it was"
    );
    expect!(
        test,
        !sandbox.there(c_str!("/init")),
        "nothing of the archive is left"
    );
    expect_eq!(
        test,
        sandbox.mounts(),
        before,
        "the mount table is what it was"
    );
    Ok(())
}

fn a_revert_leaves_no_trace(test: &Test<'_>) {
    in_sandbox(test, |sandbox| {
        no_trace(test, sandbox, || {
            let mut mount = root_mount(c"")?;
            expect_eq!(test, prepared(&mut mount), 0, "prepare");
            let archive = Archive::with_init("content")
                .entry("big", 0o100644, "cut off")
                .end();
            let cut = archive.len - 140;
            expect!(
                test,
                !unpack(&archive.as_bytes()[..cut]),
                "not a whole archive"
            );
            expect!(test, sandbox.there(c_str!("/init")), "but a part of it");
            reverted(&mut mount);
            expect!(
                test,
                mount.rootfs.is_none() && !mount.is_final,
                "revert is over"
            );
            Ok(())
        })?;
        // And there is nothing in the way of another one.
        an_archive_after(test, sandbox)
    });
}

fn an_archive_after(test: &Test<'_>, sandbox: &Sandbox<'_>) -> Result {
    let before = sandbox.kernel.hold()?;
    let mut mount = root_mount(c"")?;
    expect_eq!(test, prepared(&mut mount), 0, "prepare");
    expect!(
        test,
        unpack(Archive::with_init("2nd").end().as_bytes()),
        "a whole archive"
    );
    expect_eq!(test, finished(&mut mount), 0, "finish");
    expect_eq!(
        test,
        sandbox.read(c_str!("/init")).as_str(),
        "2nd",
        "of the other archive"
    );
    leave(sandbox, &before)
}

/// The transaction itself, on the real kernel.
fn prepare_real(
    fs_type: &CStr,
    options: &mut CharPtr<'_>,
    refused: &mut c_int,
) -> Result<Prepared<Kernel>> {
    // SAFETY: Init suites run before init memory is freed.
    let kernel = Kernel(unsafe { InitSyscalls::new() });
    prepare(kernel, fs_type, options, refused, &mut *page()?)
}

fn a_drop_is_a_revert(test: &Test<'_>) {
    in_sandbox(test, |sandbox| {
        no_trace(test, sandbox, || {
            let mut options = c_str!("").into();
            let prepared = prepare_real(c_str!("tmpfs"), &mut options, &mut 0)?;
            expect!(test, !sandbox.there(c_str!("/proc")), "a new root");
            expect!(
                test,
                unpack(Archive::with_init("content").end().as_bytes()),
                "whole"
            );
            expect!(test, prepared.holds(c_str!("/init").into()), "it is there");
            Ok(())
        })
    });
}

fn a_mount_that_fails_leaves_no_trace(test: &Test<'_>) {
    in_sandbox(test, |sandbox| {
        no_trace(test, sandbox, || {
            for options in [c_str!(""), c_str!("size=1M")] {
                let mut left = options.into();
                let mut refused = 0;
                let result = prepare_real(c_str!("nosuchfs"), &mut left, &mut refused);
                expect_eq!(test, result.err(), Some(ENODEV), "{options:?}");
                let errno = if options.is_empty() {
                    0
                } else {
                    ENODEV.to_errno()
                };
                expect_eq!(test, refused, errno, "{options:?}");
            }
            Ok(())
        })
    });
}

fn bad_options_are_left_out(test: &Test<'_>) {
    in_sandbox(test, |sandbox| {
        for options in [c"nosuchoption", c"size=1M,nosuchoption=1", c"size=many"] {
            let before = sandbox.kernel.hold()?;
            let mut mount = root_mount(options)?;
            expect_eq!(test, prepared(&mut mount), 0, "{options:?}");
            expect_eq!(test, mount.refused, EINVAL.to_errno(), "{options:?}");
            expect!(test, mount.options.is_empty(), "{options:?}");
            expect!(
                test,
                unpack(Archive::with_init("content").end().as_bytes()),
                "{options:?}"
            );
            expect_eq!(test, finished(&mut mount), 0, "{options:?}");
            expect!(test, mount.is_final, "{options:?}");
            leave(sandbox, &before)?;
        }
        Ok(())
    });
}

fn options_never_make_it_read_only(test: &Test<'_>) {
    in_sandbox(test, |_| {
        for options in [c_str!("ro"), c_str!("ro,size=1M")] {
            let mut left = options.into();
            let mut refused = 0;
            let prepared = prepare_real(c_str!("tmpfs"), &mut left, &mut refused)?;
            expect!(
                test,
                unpack(Archive::with_init("content").end().as_bytes()),
                "{options:?}"
            );
            expect!(test, prepared.holds(c_str!("/init").into()), "{options:?}");
            expect_eq!(test, refused, 0, "{options:?}");
        }
        Ok(())
    });
}

fn an_archive_without_rdinit_stays_for_now(test: &Test<'_>) {
    in_sandbox(test, |sandbox| {
        for (archive, console) in [
            (Archive::new().entry("fw", 0o100644, "firmware"), false),
            (
                Archive::new()
                    .entry("dev", 0o040755, "")
                    .entry("dev/console", 0o020600, "")
                    .entry("fw", 0o100644, "firmware"),
                true,
            ),
        ] {
            let before = sandbox.kernel.hold()?;
            let mut mount = root_mount(c"")?;
            expect_eq!(test, prepared(&mut mount), 0, "prepare");
            expect!(test, unpack(archive.end().as_bytes()), "a whole archive");
            expect_eq!(test, finished(&mut mount), 0, "finish");
            expect!(
                test,
                !mount.is_final && mount.rootfs.is_none(),
                "not the root for good"
            );

            let firmware = sandbox.read(c_str!("/fw"));
            expect_eq!(test, firmware.as_str(), "firmware", "drivers find it");
            expect!(
                test,
                sandbox.there(c_str!("proc/self")),
                "rootfs is the working directory"
            );
            sandbox.mount_proc()?;
            let mounts = sandbox.mounts();
            expect_eq!(
                test,
                mounts.as_str().contains(" /console /dev/console "),
                console,
                "the console is that of rootfs: {mounts:?}"
            );
            leave(sandbox, &before)?;
            // SAFETY: Init memory is still there, and this is a string.
            to_result(unsafe { bindings::init_unlink(c_str!("/console").as_char_ptr()) })?;
        }
        Ok(())
    });
}

fn a_finish_that_fails_leaves_no_trace(test: &Test<'_>) {
    in_sandbox(test, |sandbox| {
        // Where finish would put one.
        sandbox.kernel.mknod_console(c_str!("console"))?;
        no_trace(test, sandbox, || {
            let mut mount = root_mount(c"")?;
            expect_eq!(test, prepared(&mut mount), 0, "prepare");
            let archive = Archive::new().entry("fw", 0o100644, "firmware").end();
            expect!(test, unpack(archive.as_bytes()), "a whole archive");
            expect_eq!(test, finished(&mut mount), EEXIST.to_errno(), "finish");
            expect!(
                test,
                mount.rootfs.is_none() && !mount.is_final,
                "finish is over"
            );
            expect!(
                test,
                !sandbox.there(c_str!("/fw")),
                "nothing of the archive is left"
            );
            Ok(())
        })
    });
}

fn an_archive_that_breaks_off_is_not_whole(test: &Test<'_>) {
    in_sandbox(test, |_| {
        let mut archive = Archive::new();
        let mut ends = [0; 5];
        for (end, (name, mode, data)) in ends[1..].iter_mut().zip([
            ("dir", 0o040755, ""),
            ("dir/file", 0o100755, "content"),
            ("link", 0o120777, "dir/file"),
            // As long as the name of a trailer.
            ("dir/file.2", 0o100644, "content!"),
        ]) {
            archive = archive.entry(name, mode, data);
            *end = archive.0.len;
        }
        // There may be no trailer, but not a part of one.
        let archive = archive.end();
        let _root_mount = prepare_real(c_str!("tmpfs"), &mut c_str!("").into(), &mut 0)?;
        for len in 0..=archive.len {
            let whole = ends.contains(&len) || len == archive.len;
            expect_eq!(
                test,
                unpack(&archive.as_bytes()[..len]),
                whole,
                "{len} bytes"
            );
        }

        let mut two = Contents {
            bytes: [0; 1024],
            len: archive.len,
        };
        two.bytes[..archive.len].copy_from_slice(archive.as_bytes());
        let mut two = Archive(two).entry("b", 0o100644, "b");
        let second = two.0.len;
        two = Archive(two.end());
        for len in archive.len..=two.0.len {
            let begun =
                (archive.len + 2..second).contains(&len) || (second + 1..two.0.len).contains(&len);
            expect_eq!(
                test,
                unpack(&two.0.as_bytes()[..len]),
                !begun,
                "two archives, {len} bytes"
            );
        }
        Ok(())
    });
}
