# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What pivot_root(2) is for: what a container holds that the host wants to be rid of.

# Starts a container with a runtime that does nothing for a while, and says its process in $pid.
run() {
	$runtime -b /sleep -d --pid-file /run/pid s </dev/null >/dev/null 2>/run/err || {
		cat /run/err
		exit 1
	}
	pid=$(cat /run/pid)
}

clean() {
	runc delete -f s
	crun delete -f s
	for dir in /disk /secret /var/run/docker/netns/n; do umount -l $dir; done
	ip link delete v0
}

finish() {
	status=$?
	set +e
	clean >/dev/null 2>&1
	exit $status
}

begin() {
	runtime=$1
	set -e
	trap finish EXIT
}

# Is a mount of the host in the container's namespace? There it need not be in reach of anyone.
host_mounts() {
	begin "$1"
	mkdir -p /secret
	mount -t tmpfs host-secret /secret
	device=$(awk '$5 == "/secret" { print $3 }' /proc/self/mountinfo)
	mounts | grep " $device "
	run
	inside=$(grep -c host-secret "/proc/$pid/mountinfo" || :)
	namespace=$(nsenter -t "$pid" -m /bin/mounts | grep -c " $device " || :)
	echo "inside: $inside, in the namespace: $namespace"
	[ "$inside$namespace" = 00 ]
}

# Can a disk that is unmounted on the host be opened for oneself?
disk_is_free() {
	begin "$1"
	mkdir -p /disk
	mount -t ext4 /dev/vda /disk
	run
	umount /disk
	/real/wipefs --all --no-act /dev/vda
	echo "disk: free"
}

# Does a network namespace go away that is unmounted on the host? With it goes what is in it.
netns_is_free() {
	begin "$1"
	mkdir -p /var/run/docker/netns
	touch /var/run/docker/netns/n
	unshare -n sleep 100 &
	holder=$!
	until [ "$(readlink "/proc/$holder/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
	mount --bind "/proc/$holder/ns/net" /var/run/docker/netns/n
	/real/ip link add v0 type veth peer name v1
	/real/ip link set v1 netns "$holder"
	kill "$holder"
	run
	umount /var/run/docker/netns/n
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ -e /sys/class/net/v0 ] || {
			echo "netns: gone"
			exit 0
		}
		sleep 0.3
	done
	echo "the network namespace is still busy"
	exit 1
}
