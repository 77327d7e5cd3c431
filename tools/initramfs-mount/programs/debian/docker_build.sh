#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: docker build
# says: built here
# stock: pivot_root
docker import /images/c.tar local/test && docker build -q -t built /images/build &&
	docker run --rm built
