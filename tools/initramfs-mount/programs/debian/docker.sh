#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: docker run
# says: container: runs
# stock: pivot_root
docker import /images/c.tar local/test && docker run --rm local/test /bin/sh /inside
