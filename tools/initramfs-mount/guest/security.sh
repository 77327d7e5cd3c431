#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What a security module allows on the root and on other file systems. $NAME is the archive or, after
# switch_root, the disk.
. /guest/lib.sh
mount_all
module=$(parameter lsm)
if [ "$NAME" = archive ]; then
	mount -t securityfs security /sys/kernel/security
	case $module in
	selinux)
		mount -t selinuxfs selinux /sys/fs/selinux
		dd if=/policy of=/sys/fs/selinux/load bs=16M 2>/dev/null
		echo 1 >/sys/fs/selinux/enforce
		;;
	apparmor)
		cat /profile >/sys/kernel/security/apparmor/.load
		;;
	ima)
		# Each file system is measured into a PCR of its own.
		for rule in 'rootfs pcr=11' 'tmpfs pcr=12' 'ext4 pcr=13'; do
			echo "measure func=BPRM_CHECK fsname=$rule"
		done >/sys/kernel/security/ima/policy
		;;
	esac
fi
say_on_port
echo "$NAME, modules: $(cat /sys/kernel/security/lsm)"

# A copy of busybox in a folder.
copy_to() {
	mkdir -p "$1" && cp /bin/busybox "$1"
}

# Whether a copy of busybox can be run from folder $1, which is on $2.
run_from() {
	copy_to "$1"
	"$1/busybox" true 2>/dev/null && echo "$NAME, from $2: runs" || echo "$NAME, from $2: refused"
}

case $module in
selinux)
	echo "$NAME, enforcing: $(cat /sys/fs/selinux/enforce)"
	[ "$NAME" = disk ] || echo "$NAME, label: $(/real/ls -Z /bin/busybox | cut -d' ' -f1)"
	;;
apparmor)
	copy_to /confined
	for file in allowed denied; do
		echo x >/tmp/$file
		/confined/busybox cat /tmp/$file >/dev/null 2>&1 && echo "$NAME, $file: read" || echo "$NAME, $file: not read"
	done
	;;
ima)
	copy_to /measured
	/measured/busybox true
	for rule in '11 rootfs' '12 tmpfs' '13 ext4'; do
		count=$(grep -c "^${rule% *} .*/measured" /sys/kernel/security/ima/ascii_runtime_measurements)
		echo "$NAME, measured as ${rule#* }: $count"
	done
	;;
esac

[ "$NAME" = archive ] || end
run_from /again root
mount -t tmpfs tmpfs /mnt
run_from /mnt tmpfs
umount /mnt
mount /dev/vda /mnt
run_from /mnt/again disk
for dir in proc sys dev; do mount --move /$dir /mnt/$dir; done
[ "$module" = ipe ] || exec switch_root /mnt /sbin/init
# Its init could not be run.
chroot /mnt /bin/busybox true 2>/dev/null && echo "disk: runs" || echo "disk: refused"
end
