#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: what is below / stays out of reach of a user namespace's root
# says: below: out of reach
/real/setpriv --reuid 1000 --regid 1000 --clear-groups unshare -U -r -m -p -f --mount-proc \
	sh /guest/escape.sh /host-file
