#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: podman run, as somebody else
# says: container: runs
# stock: pivot_root
loginctl enable-linger user && runuser -l user -c '
	podman import -q /images/c.tar local/test && podman run --rm local/test /bin/sh /inside'
