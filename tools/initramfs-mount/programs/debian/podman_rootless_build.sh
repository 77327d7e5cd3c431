#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: podman build, as somebody else
# says: built here
# stock: pivot_root
loginctl enable-linger user && runuser -l user -c '
	podman import -q /images/c.tar local/test && podman build -q -t built /images/build &&
		podman run --rm built'
