// SPDX-License-Identifier: GPL-2.0

//! KUnit tests for the root mount: its transaction on a fake kernel, where every operation fails in
//! turn, and on the real one, in a mount namespace of the test's own.

use super::*;
use core::{
    cell::Cell,
    fmt::{self, Write},
    str, //
};
use kernel::{
    error::to_result,
    ffi::{c_int, c_long, c_ulong}, //
};

// initramfs_mount_test.c
extern "C" {
    fn initramfs_test_enter() -> c_int;
    fn initramfs_test_leave() -> c_int;
    fn initramfs_test_read(path: *const c_char, buf: *mut c_char, len: usize) -> c_long;
    fn initramfs_test_populate(archive: *const c_char, len: c_ulong) -> bool;
}

/// What is asked of the fake kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Enter,
    Mount { options: bool },
    Chdir,
    Chroot,
    Unpack,
    Holds,
    Publish,
    Leave,
    Detach,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Rootfs,
    RootMount,
}

/// A root and a working directory.
type Fs = [Place; 2];

/// What the fake kernel's world is like.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    shared: Fs,
    /// Those of the current thread, if it has any of its own.
    own: Option<Fs>,
    mounts: u32,
}

impl State {
    const BOOT: Self = Self {
        shared: [Place::Rootfs; 2],
        own: None,
        mounts: 0,
    };
    const FINISHED: Self = Self {
        shared: [Place::RootMount; 2],
        own: None,
        mounts: 1,
    };

    fn current(&mut self) -> &mut Fs {
        self.own.as_mut().unwrap_or(&mut self.shared)
    }
}

/// A fake kernel, in which one operation can fail.
#[derive(Clone)]
struct World {
    whole: bool,
    rdinit: bool,
    /// Which of the operations that can fail is to do so, counted from 0, and with what.
    fail: Option<(usize, Error)>,
    state: Cell<State>,
    ops: Cell<[Option<Op>; 12]>,
    tried: Cell<usize>,
    failed: Cell<Option<Op>>,
}

impl World {
    fn new(whole: bool, rdinit: bool, fail: Option<(usize, Error)>) -> Self {
        Self {
            whole,
            rdinit,
            fail,
            state: Cell::new(State::BOOT),
            ops: Cell::new([None; 12]),
            tried: Cell::new(0),
            failed: Cell::new(None),
        }
    }

    fn note(&self, op: Op) {
        let mut ops = self.ops.get();
        if let Some(place) = ops.iter_mut().find(|place| place.is_none()) {
            *place = Some(op);
        }
        self.ops.set(ops);
    }

    /// An operation that can fail.
    fn try_op(&self, op: Op) -> Result {
        self.note(op);
        match (self.fail, self.tried.replace(self.tried.get() + 1)) {
            (Some((which, e)), tried) if which == tried => {
                self.failed.set(Some(op));
                Err(e)
            }
            _ => Ok(()),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.get();
        let result = change(&mut state);
        self.state.set(state);
        result
    }

    fn is_inside(&self) -> bool {
        self.state.get().own == Some([Place::RootMount; 2])
    }

    fn run(&self, options: bool) -> Result<Option<&CStr>> {
        let options = if options { c"size=1M" } else { c"" };
        transaction(self, c"tmpfs", options, c"/init")
    }

    /// Returns what was done after the operation that failed.
    fn after_failure(&self) -> [Option<Op>; 12] {
        let ops = self.ops.get();
        let mut after = [None; 12];
        let rest = ops
            .iter()
            .skip_while(|op| **op != self.failed.get())
            .skip(1);
        after
            .iter_mut()
            .zip(rest)
            .for_each(|(to, from)| *to = *from);
        after
    }
}

struct FakeFs<'a>(&'a World);

impl Drop for FakeFs<'_> {
    fn drop(&mut self) {
        self.0.note(Op::Leave);
        self.0.change(|state| state.own = None);
    }
}

impl Ops for World {
    type Fs<'a> = FakeFs<'a>;

    fn enter(&self) -> Result<FakeFs<'_>> {
        self.try_op(Op::Enter)?;
        self.change(|state| state.own = Some(state.shared));
        Ok(FakeFs(self))
    }

    fn publish(&self, _: &FakeFs<'_>) {
        self.note(Op::Publish);
        self.change(|state| state.shared = *state.current());
    }

    fn mount(&self, _: &CStr, options: &CStr) -> Result {
        let options = !options.is_empty();
        self.try_op(Op::Mount { options })?;
        self.change(|state| state.mounts += 1);
        Ok(())
    }

    fn detach(&self) -> Result {
        self.try_op(Op::Detach)?;
        self.change(|state| {
            // From within the root mount there is nothing at `/..`.
            if *state.current() != [Place::Rootfs; 2] || state.mounts == 0 {
                return Err(EINVAL);
            }
            state.mounts -= 1;
            Ok(())
        })
    }

    fn chdir(&self) -> Result {
        self.try_op(Op::Chdir)?;
        self.change(|state| {
            if state.mounts > 0 {
                state.current()[1] = Place::RootMount;
            }
        });
        Ok(())
    }

    fn chroot(&self) -> Result {
        self.try_op(Op::Chroot)?;
        self.change(|state| {
            let fs = state.current();
            fs[0] = fs[1];
        });
        Ok(())
    }

    fn unpack(&self) -> bool {
        self.note(Op::Unpack);
        self.whole && self.is_inside()
    }

    fn holds(&self, _: &CStr) -> Result<bool> {
        self.try_op(Op::Holds)?;
        Ok(self.rdinit && self.is_inside())
    }
}

/// A list of operations, as [`World`] keeps them.
fn ops<const N: usize>(list: [Op; N]) -> [Option<Op>; 12] {
    let mut ops = [None; 12];
    ops.iter_mut().zip(list).for_each(|(to, op)| *to = Some(op));
    ops
}

/// Text or an archive. What there is no memory for is left out, and then the test fails.
#[derive(PartialEq)]
struct Bytes(KVec<u8>);

impl Bytes {
    fn new() -> Self {
        Self(KVec::new())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self) -> &[u8] {
        &self.0
    }

    /// Returns the first `len` bytes.
    fn first(&self, len: usize) -> &[u8] {
        self.0.get(..len).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.0.extend_from_slice(bytes, GFP_KERNEL);
        self
    }

    fn pad(&mut self) -> &mut Self {
        let zeros = self.len().next_multiple_of(4) - self.len();
        let _ = self.0.extend_with(zeros, 0, GFP_KERNEL);
        self
    }

    fn as_str(&self) -> &str {
        str::from_utf8(self.get()).unwrap_or_default()
    }

    /// A file in a cpio archive.
    fn file(&mut self, name: &str, data: &str) -> &mut Self {
        let (mode, links, len) = (0o100755, 1, (data.len(), name.len() + 1));
        let _ = write!(
            self,
            "070701{:08X}{mode:08X}{:08X}{:08X}{links:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}\
             {:08X}{:08X}{name}\0",
            0, 0, 0, 0, len.0, 0, 0, 0, 0, len.1, 0,
        );
        self.pad().push(data.as_bytes()).pad()
    }

    fn trailer(&mut self) -> &mut Self {
        self.file("TRAILER!!!", "")
    }

    /// A gzip archive of it, not made any smaller.
    fn gzip(&self) -> Self {
        let data = self.get();
        let len = data.len() as u16;
        let mut crc = !0_u32;
        for byte in data {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            }
        }
        let mut packed = Self::new();
        packed
            .push(b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01")
            .push(&len.to_le_bytes())
            .push(&(!len).to_le_bytes())
            .push(data)
            .push(&(!crc).to_le_bytes())
            .push(&u32::from(len).to_le_bytes());
        packed
    }
}

impl Write for Bytes {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// An archive that can be booted, so to say.
fn archive() -> Bytes {
    let mut archive = Bytes::new();
    archive
        .file("init", "content")
        .file("other", "7 bytes")
        .trailer();
    archive
}

/// A mount namespace of the test's own, with an empty root. It ends with the test's thread.
struct Sandbox(Kernel);

impl Sandbox {
    fn enter() -> Result<Self> {
        // SAFETY: KUnit runs init suites before init memory is freed, where the function is.
        to_result(unsafe { initramfs_test_enter() })?;
        // INVARIANT: That has waited for the one who unpacks, and suites run one after the other.
        // SAFETY: This is gone when the test ends, for which KUnit waits before init memory is
        // freed. The test's thread works with an `fs_struct` of its own until then.
        Ok(Self(Kernel(unsafe { InitSyscalls::new() })))
    }

    /// Fails if anybody still holds something of it.
    fn leave(self) -> Result {
        // SAFETY: As in `enter()`.
        to_result(unsafe { initramfs_test_leave() })
    }

    fn read(&self, path: &CStr) -> Bytes {
        let mut buf = Bytes::new();
        let _ = buf.0.extend_with(1024, 0, GFP_KERNEL);
        // SAFETY: `path` ends in a NUL. `buf` is this function's own, and C writes no more bytes to
        // it than it is told that there are.
        let len = unsafe {
            initramfs_test_read(path.as_char_ptr(), buf.0.as_mut_ptr().cast(), buf.len())
        };
        let mut content = Bytes::new();
        content.push(buf.first(usize::try_from(len).unwrap_or(0)));
        content
    }

    fn there(&self, path: &CStr) -> bool {
        self.0.holds(path) == Ok(true)
    }

    /// What is mounted, as seen from the root.
    fn mounts(&self) -> Bytes {
        self.read(c"/proc/self/mountinfo")
    }

    /// Does with an archive what happens at boot. Returns whether this thread works with the
    /// `fs_struct` that it had before.
    fn populate(&self, archive: &[u8]) -> bool {
        // SAFETY: KUnit runs init suites before init memory is freed. The archive is only read, and
        // borrowed for as long as that takes: C forgets where it is before it returns.
        unsafe { initramfs_test_populate(archive.as_ptr().cast(), archive.len() as c_ulong) }
    }

    /// Returns whether `archive` leaves nothing behind but what is unpacked into the root.
    fn is_left_alone_by(&self, archive: &[u8]) -> bool {
        let before = self.mounts();
        self.populate(archive) && self.mounts() == before
    }
}

#[kunit_tests(initramfs_mount, init)]
mod tests {
    use super::*;

    #[test]
    fn finish_if_whole_and_rdinit_is_there() {
        for options in [false, true] {
            let world = World::new(true, true, None);
            let kept = if options { c"size=1M" } else { c"" };
            assert!(world.run(options) == Ok(Some(kept)));
            assert!(world.state.get() == State::FINISHED);
            let all = [
                Op::Enter,
                Op::Mount { options },
                Op::Chdir,
                Op::Chroot,
                Op::Unpack,
                Op::Holds,
                Op::Publish,
                Op::Leave,
            ];
            assert!(world.ops.get() == ops(all));
        }
    }

    #[test]
    fn revert_otherwise() {
        for (whole, rdinit) in [(true, false), (false, true), (false, false)] {
            let world = World::new(whole, rdinit, None);
            assert!(world.run(false) == Ok(None));
            assert!(world.state.get() == State::BOOT);
        }
    }

    #[test]
    fn revert_when_dropped() {
        let world = World::new(true, true, None);
        assert!(prepare(&world, c"tmpfs", c"").is_ok_and(|prepared| prepared.options.is_empty()));
        assert!(world.state.get() == State::BOOT);
    }

    #[test]
    fn prepare_without_options_that_are_refused() {
        // The mount is what is tried after the private root and working directory.
        let world = World::new(true, true, Some((1, EINVAL)));
        assert!(world.run(true) == Ok(Some(c"")));
        assert!(world.failed.get() == Some(Op::Mount { options: true }));
        assert!(world.state.get() == State::FINISHED);
    }

    #[test]
    fn every_operation_fails_in_turn() {
        for (whole, options) in [(true, false), (true, true), (false, false), (false, true)] {
            let clean = World::new(whole, true, None);
            let result = clean.run(options);
            assert!(result.is_ok());
            for which in 0..clean.tried.get() {
                for e in [ENOMEM, EINVAL, EPERM, ENOENT, EBUSY, ENOSPC, EIO, ENODEV] {
                    let world = World::new(whole, true, Some((which, e)));
                    let outcome = world.run(options);
                    let (state, after) = (world.state.get(), world.after_failure());
                    match world.failed.get() {
                        Some(Op::Enter) => {
                            assert!(outcome == Err(e) && state == State::BOOT);
                            assert!(after == ops([]));
                        }
                        Some(Op::Mount { options: true }) if e == EINVAL => {
                            assert!(outcome == result.map(|kept| kept.map(|_| c"")));
                            assert!(state == clean.state.get());
                        }
                        Some(Op::Mount { .. }) => {
                            assert!(outcome == Err(e) && state == State::BOOT);
                            assert!(after == ops([Op::Leave]));
                        }
                        Some(Op::Chdir | Op::Chroot | Op::Holds) => {
                            assert!(outcome == Err(e) && state == State::BOOT);
                            assert!(after == ops([Op::Leave, Op::Detach]));
                        }
                        // There is nothing else to be tried, but nobody is in there.
                        Some(Op::Detach) => {
                            let left = State {
                                mounts: 1,
                                ..State::BOOT
                            };
                            assert!(outcome == Ok(None) && state == left);
                        }
                        _ => assert!(false),
                    }
                }
            }
        }
    }

    #[test]
    fn prepare_enters_an_empty_root_alone() -> Result {
        let sandbox = Sandbox::enter()?;
        let before = sandbox.mounts();
        // What this thread shares with others, for all that `prepare()` knows.
        let shared = PrivateFs::enter(&sandbox.0 .0)?;
        let prepared = prepare(&sandbox.0, c"tmpfs", c"size=1M")?;
        assert!(!sandbox.there(c"/proc") && !sandbox.there(c"proc"));
        assert!(sandbox.0.unpack());
        assert!(sandbox.there(c"/dev/console") && sandbox.there(c"dev/console"));
        drop(prepared);
        assert!(sandbox.there(c"/proc/self") && sandbox.there(c"proc/self"));
        drop(shared);
        assert!(sandbox.mounts() == before);
        sandbox.leave()
    }

    #[test]
    fn prepare_fails_without_a_trace() -> Result {
        let sandbox = Sandbox::enter()?;
        let before = sandbox.mounts();
        for options in [c"", c"size=1M"] {
            assert!(prepare(&sandbox.0, c"nosuchfs", options).err() == Some(ENODEV));
        }
        assert!(sandbox.there(c"/proc/self") && sandbox.there(c"proc/self"));
        assert!(sandbox.mounts() == before);
        sandbox.leave()
    }

    #[test]
    fn prepare_leaves_bad_options_out() -> Result {
        let sandbox = Sandbox::enter()?;
        for options in [c"nosuchoption", c"size=1M,nosuchoption=1", c"size=many"] {
            assert!(prepare(&sandbox.0, c"tmpfs", options)?.options.is_empty());
        }
        sandbox.leave()
    }

    #[test]
    fn finish_makes_it_the_root() -> Result {
        let sandbox = Sandbox::enter()?;
        assert!(sandbox.populate(archive().get()));
        assert!(sandbox.read(c"/init").as_str() == "content");
        assert!(sandbox.read(c"init").as_str() == "content");
        // The default archive is there, too.
        assert!(sandbox.there(c"/dev/console"));

        let proc = c"/root";
        sandbox.0 .0.mount(c"proc", proc, c"proc", c"")?;
        let mounts = sandbox.read(c"/root/self/mountinfo");
        let mut lines = mounts.as_str().lines();
        assert!(lines.next().is_some_and(|root| root.contains(" / / rw")));
        assert!(lines.count() == 1);
        Ok(())
    }

    #[test]
    fn revert_leaves_nothing_of_a_broken_archive() -> Result {
        let sandbox = Sandbox::enter()?;
        let (whole, mut cut) = (archive(), Bytes::new());
        cut.push(whole.first(whole.len() - 140));
        for broken in [&cut, &cut.gzip()] {
            assert!(sandbox.is_left_alone_by(broken.get()));
            assert!(!sandbox.there(c"/init"));
        }
        // The default archive is what there would be without.
        assert!(sandbox.there(c"/dev/console"));
        sandbox.leave()
    }

    #[test]
    fn revert_if_there_is_no_rdinit() -> Result {
        let sandbox = Sandbox::enter()?;
        let mut firmware = Bytes::new();
        firmware.file("fw", "firmware").trailer();
        assert!(sandbox.is_left_alone_by(firmware.get()));
        assert!(sandbox.read(c"/fw").as_str() == "firmware");
        sandbox.leave()
    }

    #[test]
    fn no_mount_no_difference() -> Result {
        let sandbox = Sandbox::enter()?;
        // Nothing can be mounted on a root that is itself not mounted any more.
        let kernel = &sandbox.0 .0;
        kernel.mount(c"gone", c"/", c"tmpfs", c"")?;
        kernel.chdir(c"/..")?;
        kernel.chroot(c".")?;
        kernel.detach(c"/")?;
        assert!(sandbox.populate(archive().get()));
        assert!(sandbox.read(c"/init").as_str() == "content");
        Ok(())
    }
}
