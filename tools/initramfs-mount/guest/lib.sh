# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What scripts in a guest have in common. What they say goes to the machine's second port.

export PATH=/bin:/sbin:/usr/bin:/usr/sbin:/usr/local/bin

mount_all() {
	[ -e /proc/self ] || mount -t proc proc /proc
	[ -e /sys/kernel ] || mount -t sysfs sys /sys
	[ -e /dev/hvc0 ] || mount -t devtmpfs dev /dev
}

say_on_port() {
	exec </dev/null >/dev/hvc0 2>&1
}

# What most scripts begin with.
start() {
	mount_all
	say_on_port
}

# The type of the root, or with an argument another field of mountinfo behind the dash.
root_field() {
	awk -v n="${1:-1}" '$5 == "/" { for (i = 7; $i != "-"; i++); print $(i + n) }' /proc/self/mountinfo
}

count_roots() {
	awk '$5 == "/"' /proc/self/mountinfo | wc -l
}

# How many KiB are free. What CPUs keep on lists of their own, which can be a lot after much has been
# freed, is not in MemFree. Pages are not 4 KiB everywhere.
count_free() {
	awk '
		$1 == "MemTotal:" { kib = $2 }
		$1 == "managed" { all += $2 }
		$1 ~ /^(nr_free_pages|count:)$/ { free += $2 }
		END { print free * int(kib / all + 0.5) }' /proc/meminfo /proc/zoneinfo
}

# The same, once what is being freed has been.
free_kib() {
	sleep 0.3
	echo 3 >/proc/sys/vm/drop_caches
	sleep 0.3
	count_free
}

# A parameter of the kernel's command line.
parameter() {
	sed -n "s/.*\\b$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline
}

# What a kernel under kmemleak has lost: of what is older than five seconds, what two scans in a row find
# unchanged and without a pointer to it. Other kernels have no such file.
find_leaks() {
	leaks=/sys/kernel/debug/kmemleak
	mount -t debugfs debug /sys/kernel/debug 2>/dev/null
	[ -e $leaks ] || return
	sleep 6
	{ echo scan >$leaks && echo scan >$leaks; } || echo "BUG: kmemleak is off"
	sed '' $leaks
	echo "leaks: $(grep -c '^unreferenced object' $leaks)"
}

# The machine ends instead of booting again.
end() {
	leaks=$(find_leaks 2>&1)
	[ -z "$leaks" ] || echo "$leaks" >/dev/console
	reboot -f
}

# Says how many KiB are free now, and when that is.
sample() {
	echo "$(cut -d' ' -f1 /proc/uptime) $(count_free)" >/dev/hvc0
}
