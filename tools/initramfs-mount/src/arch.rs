// SPDX-License-Identifier: GPL-2.0

//! The architectures that kernels are built for. What else differs between them is in
//! `configs/arch/`.

/// An architecture.
#[derive(Debug)]
pub struct Arch {
    /// As QEMU, KUnit and `configs/arch/` call it.
    pub name: &'static str,
    /// As the kernel's `ARCH=` does.
    pub kernel: &'static str,
    /// What a boot loader takes, in the folder that a kernel is built in.
    pub image: &'static str,
    pub qemu: &'static str,
    /// Debian's package with that.
    pub qemu_package: &'static str,
    pub machine: &'static str,
    /// The serial port of that machine.
    pub console: &'static str,
}

const ALL: &[Arch] = &[Arch {
    name: "x86_64",
    kernel: "x86",
    image: "arch/x86/boot/bzImage",
    qemu: "qemu-system-x86_64",
    qemu_package: "qemu-system-x86",
    machine: "pc",
    console: "ttyS0",
}];

impl Arch {
    /// What make is asked for to make the image.
    pub fn target(&self) -> &str {
        self.image.rsplit('/').next().unwrap_or(self.image)
    }
}

/// The one that kernels are built for.
pub fn current() -> &'static Arch {
    &ALL[0]
}
