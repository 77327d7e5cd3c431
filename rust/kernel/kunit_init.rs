// SPDX-License-Identifier: GPL-2.0

//! KUnit suites that test code in init sections.
//!
//! Such a suite runs once, at boot, and can't be run again through debugfs. It does not end at the
//! first failure, so that what a case holds is always given back.
//!
//! C header: [`include/kunit/test.h`](srctree/include/kunit/test.h)

use crate::{
    bindings, c_str,
    ffi::{c_char, c_int, c_void},
    prelude::*,
};
use core::{fmt, marker::PhantomData, mem::zeroed, ptr, ptr::NonNull};

/// The running test case.
///
/// # Invariants
///
/// The pointer is valid for `'a`.
pub struct Test<'a>(NonNull<bindings::kunit>, PhantomData<&'a bindings::kunit>);

impl Test<'_> {
    /// # Safety
    ///
    /// `test` must be what KUnit has called a test case with, and that must not have returned yet
    /// for as long as the value is used.
    #[doc(hidden)]
    #[inline]
    pub unsafe fn from_raw(test: *mut bindings::kunit) -> Self {
        // INVARIANT: This is what the caller promises.
        // SAFETY: What the caller promises to be valid isn't null.
        Self(unsafe { NonNull::new_unchecked(test) }, PhantomData)
    }

    /// Fails the test case, and returns.
    pub fn fail(&self, file: &'static CStr, line: u32, why: fmt::Arguments<'_>) {
        let location = bindings::kunit_loc {
            line: line as c_int,
            file: file.as_char_ptr(),
        };
        let assertion = bindings::kunit_assert {};
        // SAFETY: The test is valid by the type invariant. All else outlives the call, which is
        // for an expectation and so comes back. What `%pA` reads is an `Arguments`.
        unsafe {
            bindings::__kunit_do_failed_assertion(
                self.0.as_ptr(),
                &location,
                bindings::kunit_assert_type_KUNIT_EXPECTATION,
                &assertion,
                Some(bindings::kunit_fail_assert_format),
                c_str!("%pA").as_char_ptr(),
                ptr::from_ref(&why).cast::<c_void>(),
            )
        };
    }
}

/// Fails the test case if a condition does not hold, and says so with a formatted message.
#[macro_export]
macro_rules! kunit_init_expect {
    ($test:expr, $condition:expr, $($why:tt)+) => {
        if !$condition {
            $test.fail($crate::c_str!(file!()), line!(), format_args!(
                "Expected {}: {}", stringify!($condition), format_args!($($why)+)
            ));
        }
    };
}

/// Fails the test case if two values differ, and shows both with a formatted message.
#[macro_export]
macro_rules! kunit_init_expect_eq {
    ($test:expr, $left:expr, $right:expr, $($why:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                if *left != *right {
                    $test.fail($crate::c_str!(file!()), line!(), format_args!(
                        "Expected {} == {}: {}\n    left: {:?}\n    right: {:?}",
                        stringify!($left), stringify!($right), format_args!($($why)+), left, right
                    ));
                }
            }
        }
    };
}

/// Makes a suite of functions that take a [`Test`].
///
/// The suite and the names stay in memory, for KUnit shows their results in debugfs. The functions
/// may be in init sections.
#[macro_export]
macro_rules! kunit_init_test_suite {
    ($name:literal, [$($case:path),+ $(,)?]) => {
        const _: () = {
            use $crate::{bindings, kunit_init};

            #[link_section = ".ref.data"]
            static mut CASES: [bindings::kunit_case; [$(stringify!($case)),+].len() + 1] = [
                $({
                    unsafe extern "C" fn run(test: *mut bindings::kunit) {
                        // SAFETY: KUnit passes a valid test, which it keeps until this returns.
                        $case(&unsafe { kunit_init::Test::from_raw(test) });
                    }

                    const TEXT: &str = stringify!($case);
                    #[link_section = ".ref.data"]
                    static mut NAME: [$crate::ffi::c_char; TEXT.len() + 1] = kunit_init::name(TEXT);
                    // SAFETY: Nobody ever writes to the name.
                    kunit_init::case(run, unsafe { core::ptr::addr_of!(NAME) }.cast())
                }),+,
                kunit_init::END,
            ];

            #[link_section = ".ref.data"]
            static mut SUITE: bindings::kunit_suite =
                // SAFETY: KUnit gets the cases with the suite, and nobody else uses them.
                kunit_init::suite($name, unsafe { core::ptr::addr_of_mut!(CASES) }.cast());

            #[repr(transparent)]
            struct Entry(*mut bindings::kunit_suite);

            // SAFETY: Only KUnit looks at it, and does so from one thread.
            unsafe impl Sync for Entry {}

            #[used]
            #[link_section = ".kunit_init_test_suites"]
            // SAFETY: As for the cases.
            static ENTRY: Entry = Entry(unsafe { core::ptr::addr_of_mut!(SUITE) });
        };
    };
}

/// What ends a list of cases.
#[doc(hidden)]
// SAFETY: All members can be zero, as they are in C's `{}`.
pub const END: bindings::kunit_case = unsafe { zeroed() };

#[doc(hidden)]
pub const fn case(
    run: unsafe extern "C" fn(*mut bindings::kunit),
    name: *const c_char,
) -> bindings::kunit_case {
    let mut case = END;
    case.run_case = Some(run);
    case.name = name;
    case
}

#[doc(hidden)]
pub const fn suite(text: &str, cases: *mut bindings::kunit_case) -> bindings::kunit_suite {
    // SAFETY: All members can be zero, as they are in C for those that a suite leaves out.
    let mut suite: bindings::kunit_suite = unsafe { zeroed() };
    suite.name = name(text);
    suite.test_cases = cases;
    suite
}

/// Returns a text with zeros after it. Does not compile for one without room for a zero.
#[doc(hidden)]
pub const fn name<const N: usize>(text: &str) -> [c_char; N] {
    assert!(text.len() < N);
    let mut name = [0; N];
    let mut i = 0;
    while i < text.len() {
        name[i] = text.as_bytes()[i] as c_char;
        i += 1;
    }
    name
}
