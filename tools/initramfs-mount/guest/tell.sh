#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Says who it is ($NAME) and what / is, and finds out if that can be pivoted and unmounted. How much
# memory is free takes a moment, and is told if the command line asks for it.
# shellcheck disable=SC2154
. /guest/lib.sh
start
echo "init: $NAME"
echo "console: $([ -c /dev/console ] && echo yes)"
echo "roots: $(count_roots)"
here=$(stat -c %d:%i .) && [ "$here" = "$(stat -c %d:%i /)" ] && echo "working directory: /"
echo "root: $(root_field 1) $(root_field 3)"
find / -xdev -name '*marker*' | sed 's/^/file: /'
[ "$(parameter tell)" != memory ] || echo "free: $(free_kib)"
mkdir -p /new
mount -t tmpfs new /new
mkdir -p /new/bin /new/old /new/proc /new/dev /new/sys
cp /bin/busybox /new/bin/
for applet in awk grep mount reboot sed sh sleep umount; do ln -s busybox /new/bin/$applet; done
cp -r /guest /new/
cd /new || exit
if pivot_root . old; then
	echo "pivot_root: ok"
	exec chroot . sh -c '
		. /guest/lib.sh
		for dir in proc sys dev; do mount --move /old/$dir /$dir; done
		say_on_port
		umount -l /old && echo "umount: ok"
		[ "$(parameter tell)" != memory ] || echo "pivoted: $(free_kib)"
		end'
fi
echo "pivot_root: failed"
end
