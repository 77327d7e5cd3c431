# SPDX-License-Identifier: GPL-2.0
#
# What people type. The work is done by the host tool in tools/initramfs-mount.

BASE ?= 6.12
BASES ?= 6.12 7.3
KDIR ?=
CONFIG ?=
T ?=
ARGS ?=

CARGO ?= $(or $(shell command -v cargo || ls $${HOME}/.cargo/bin/cargo 2>/dev/null),cargo)
TOOL := tools/initramfs-mount/target/debug/initramfs-mount
RUN = KDIR='$(KDIR)' CONFIG='$(CONFIG)' CARGO='$(CARGO)' $(TOOL) --base $(BASE)

.PHONY: help deps run test test-all report programs kernel kunit boot shell check bench series \
	bisect deb dist tree patch unpatch clean tool deps-all

help:
	@echo 'Targets, with BASE=6.12 unless given:'
	@echo '  run     the main job: install, fetch, build, and show pivot_root and a'
	@echo '          container fail without the feature and work with it'
	@echo '  test    all that CI runs, on each of BASES="$(BASES)"'
	@echo '  test-all  that and what takes longer: all of the programs, the report opened'
	@echo '          in a browser, Debian packages, KUnit on x86_64 on each base'
	@echo '  report  run container engines, init systems and distribution images on each'
	@echo '          of BASES, and leave tables and plots in build/report/index.html'
	@echo '  programs  those on BASE alone; T=name for some of them'
	@echo '  kernel  leave vmlinuz, System.map, config and linux/ in build/$$BASE/'
	@echo '  kunit   run the KUnit tests on user-mode Linux and in QEMU, and boot'
	@echo '          compressed archives cut off at hundreds of places'
	@echo '  boot    boot the kernel in each situation; T=name for some of them'
	@echo '  shell   open a shell in an initramfs, the host in /host'
	@echo '  check   formats, lints, checkpatch, sizes; T=name for some of them'
	@echo '  series  leave the patches for LKML in outgoing/$$BASE/;'
	@echo '          ARGS="--signoff --reroll N --changelog FILE", --rfc, --resend,'
	@echo '          --trailer "...", --fixes (those alone, in outgoing/$$BASE-fixes/)'
	@echo '  bisect  build and boot each commit of the series, with and without the option'
	@echo '  patch   apply the series to a tree of yours, KDIR=; unpatch takes it out'
	@echo '  dist    leave patches for distributions in dist/, and how to use them'
	@echo '  deb     leave Debian packages in build/$$BASE/; CONFIG=file for your own'
	@echo '          configuration'
	@echo '  bench   measure what the feature costs at boot'
	@echo '  tree    get the sources and patch them, in build/$$BASE/linux'
	@echo '  deps    install what is missing, and say why'
	@echo '  clean   remove build/, outgoing/ and dist/'
	@echo
	@echo 'KDIR=path uses a kernel tree of yours, with the patches applied.'

run: deps
	@$(RUN) run

test: deps
	@$(RUN) test --bases '$(BASES)' -- $(T)

test-all: deps-all
	@$(RUN) test --all --bases '$(BASES)' -- $(T)

report: deps-all
	@$(RUN) report --bases '$(BASES)'

kernel kunit shell bench series bisect deb dist tree patch unpatch: tool
	@$(RUN) $@ $(ARGS)

boot check programs: tool
	@$(RUN) $@ -- $(T)

deps: tool
	@$(RUN) deps

deps-all: tool
	@$(RUN) deps --all

clean:
	rm -rf build outgoing dist

tool:
	@{ command -v $(CARGO) && command -v cc; } >/dev/null || tools/install-cargo
	@cd tools/initramfs-mount && $(CARGO) build -q
