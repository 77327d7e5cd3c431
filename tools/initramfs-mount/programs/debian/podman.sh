#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: podman run, as root
# says: container: runs
# stock: pivot_root
podman import -q /images/c.tar local/test && podman run --rm local/test /bin/sh /inside
