#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the kernel's own selftests that the archive has. Each line says which one has said it.
. /guest/lib.sh
mount_all
mkdir -p /sys/fs/cgroup /dev/shm /dev/pts
mount -t securityfs security /sys/kernel/security
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tmpfs shm /dev/shm
mount -t devpts pts /dev/pts
ip link set lo up
say_on_port
echo "init: kselftests"
# What stresses or measures goes on for longer than there is.
grep -v -e stress -e bench /selftests/kselftest-list.txt | while IFS=: read -r folder name; do
	cd "/selftests/$folder" || continue
	# Through a file, since what it has started may keep a pipe open.
	timeout -s KILL 120 ./"$name" </dev/null >/tmp/said 2>&1
	status=$?
	sed "s|^|$folder/$name: |" /tmp/said
	# Some print no TAP.
	[ $status -ne 0 ] || grep -Eq '^ *(not )?ok ' /tmp/said || echo "$folder/$name: ok 0 exits with 0"
done
end
