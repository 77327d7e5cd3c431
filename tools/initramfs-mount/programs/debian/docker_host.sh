#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: docker: no mount of the host in the container's namespace, its disk is free at once
# says: inside: 0, in the namespace: 0
# says: disk: free
# stock: pivot_root
docker import /images/c.tar local/test
mkdir -p /secret /disk
mount -t tmpfs host-secret /secret
mount -t ext4 /dev/vda /disk
device=$(mountpoint -d /secret)
mounts | grep " $device " || exit 1
id=$(docker run -d local/test /bin/sleep 100) || exit 1
pid=$(docker inspect -f '{{.State.Pid}}' "$id")
inside=$(grep -c host-secret "/proc/$pid/mountinfo")
namespace=$(nsenter -t "$pid" -m /bin/mounts | grep -c " $device ")
echo "inside: $inside, in the namespace: $namespace"
umount /disk && wipefs --all --no-act /dev/vda && echo "disk: free"
docker rm -f "$id"
umount /secret
