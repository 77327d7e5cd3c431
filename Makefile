# SPDX-License-Identifier: GPL-2.0
#
# What people type. The work is done by the host tool in tools/initramfs-mount.

# What is done on all bases unless one is named: `make test BASE=7.3` is about that one.
BASES := $(or $(BASES),$(BASE))
BASE ?= 6.12
KDIR ?=
DEBUG ?=
ARCH ?=
COUNT ?= 1000
SEED ?=
CASE ?=
CONFIG ?=
FLAVOUR ?=
T ?=
ARGS ?=

CARGO ?= $(or $(shell command -v cargo || ls $${HOME}/.cargo/bin/cargo 2>/dev/null),cargo)
TOOL := tools/initramfs-mount/target/debug/initramfs-mount
UNDER_SANITIZERS = $(if $(filter-out 0 n no,$(DEBUG)),--debug)
# make's own child, so that a signal to make ends it, too.
RUN = exec env TOP='$(CURDIR)' KDIR='$(KDIR)' CONFIG='$(CONFIG)' FLAVOUR='$(FLAVOUR)' CARGO='$(CARGO)' $(TOOL) --base '$(BASE)' $(if $(ARCH),--arch '$(ARCH)')

.PHONY: help deps run test test-all report programs kernel kunit fuzz boot shell check bench series \
	bisect deb deb-boot dist tree refresh patch unpatch clean tool

help:
	@echo 'Targets, with BASE=6.12 unless given:'
	@echo '  run     the main job: install, fetch, build, and show pivot_root and a'
	@echo '          container fail without the feature and work with it'
	@echo '  test    all that CI runs, on each base, or on BASES="..."; T=name for tests with that'
	@echo '          in their names, T=--list for all names'
	@echo '  test-all  that and what takes longer: systemd, podman, docker, images of'
	@echo '          initramfs-tools and dracut, the report opened in a browser, Debian'
	@echo '          packages, GCC, arm64 (4 and 64 KiB pages), riscv64, LoongArch, NUMA,'
	@echo '          security modules, the kernel'"'"'s own selftests, vng --build, failing'
	@echo '          allocations, 10,000 generated archives, and KUnit and the situations on'
	@echo '          kernels under sanitizers'
	@echo '  report  run all of these programs on each base, and leave a table and a plot'
	@echo '          of memory in build/report/index.html'
	@echo '  programs  run those programs on BASE only; T=name for some of them'
	@echo '  kernel  leave vmlinuz, System.map, config and linux/ in build/$$BASE/; it runs'
	@echo '          runc, crun, bwrap and virtme-ng; `make programs T=docker` builds one for docker;'
	@echo '          DEBUG=1 the one under sanitizers, in build/$$BASE-debug/, with ARCH=um'
	@echo '          user-mode Linux under them, in build/$$BASE-um-debug/'
	@echo '  kunit   run the KUnit tests on user-mode Linux and in QEMU, and boot'
	@echo '          compressed archives cut off at hundreds of places'
	@echo '  fuzz    boot COUNT=1000 generated archives, whole and bent, on user-mode Linux, and'
	@echo '          compare what comes of each with what it is; SEED=n for the same ones,'
	@echo '          CASE=file for one of its findings;'
	@echo '          ARGS=--corpus to have half begin with an archive of libarchive'"'"'s tests,'
	@echo '          ARGS="--corpus folder" with one of that folder;'
	@echo '          ARGS=--faults for whole and broken ones, with each allocation failing in turn'
	@echo '  boot    boot the kernel in each situation but those of test-all; T=name for some of'
	@echo '          them, DEBUG=1 for the one under sanitizers'
	@echo '  shell   open a shell in an initramfs, the host in /host; ARGS=word for the'
	@echo '          command line of the kernel'
	@echo '  check   formats, lints, checkpatch, sizes; T=name for some of them'
	@echo '  series  leave the patches for LKML in outgoing/$$BASE/;'
	@echo '          ARGS="--signoff --reroll N --changelog FILE", --rfc, --resend,'
	@echo '          --trailer "...", --fixes (those alone, in outgoing/$$BASE-fixes/)'
	@echo '  bisect  build and boot each commit of the series, with and without the option'
	@echo '  patch   apply the series to a tree of yours, KDIR=; unpatch takes it out'
	@echo '  dist    leave patches for distributions in dist/, and how to use them'
	@echo '  deb     leave Debian packages in build/$$BASE/deb/, with the configuration of Debian'
	@echo '          (FLAVOUR=cloud-amd64 for that of another flavour) or CONFIG=file for yours;'
	@echo '          DEB_BUILD_PROFILES= to have symbols for debuggers, too'
	@echo '  deb-boot  install those with apt in a Debian on a disk, and boot it; podman, too, with'
	@echo '          that kernel and a whole Debian as its initramfs'
	@echo '  bench   measure what the feature costs at boot, and what memory it takes to have'
	@echo '          a root that can be left'
	@echo '  tree    get the sources and patch them, in build/$$BASE/linux'
	@echo '  refresh  bring commits of the series that you have changed there back into patches/'
	@echo '  deps    install what is missing, and say why; ARGS=--all for test-all'
	@echo '  clean   remove build/, outgoing/ and dist/'
	@echo
	@echo 'KDIR=path uses a kernel tree of yours, with the patches applied. ARCH=arm64, arm64-64k,'
	@echo 'riscv64 or loongarch64 has kernel, kunit, boot, programs and test work for that, in'
	@echo 'build/$$BASE-$$ARCH/; run and shell, too, but for LoongArch.'

run: tool
	@$(RUN) run

test: tool
	@$(RUN) test --bases '$(BASES)' $(T)

test-all: tool
	@$(RUN) test --all --bases '$(BASES)' $(T)

report: tool
	@$(RUN) report --bases '$(BASES)'

kunit bench series bisect deb deb-boot dist tree refresh patch unpatch deps: tool
	@$(RUN) $@ $(ARGS)

kernel: tool
	@$(RUN) $@ $(UNDER_SANITIZERS)

shell: tool
	@$(RUN) shell -- $(ARGS)

fuzz: tool
	@$(RUN) fuzz --count '$(COUNT)' $(if $(SEED),--seed='$(SEED)') $(if $(CASE),--case '$(CASE)') $(ARGS)

boot: tool
	@$(RUN) $@ $(UNDER_SANITIZERS) $(T)

check programs: tool
	@$(RUN) $@ $(T)

clean:
	rm -rf build outgoing dist

tool: $(TOOL)

# cargo knows best what has to be built, but it says something each time.
$(TOOL): $(shell find tools/initramfs-mount/src tools/initramfs-mount/Cargo.* -type f)
	@{ command -v $(CARGO) && command -v cc; } >/dev/null || tools/install-cargo
	cd tools/initramfs-mount && $(CARGO) build
	@touch $@
