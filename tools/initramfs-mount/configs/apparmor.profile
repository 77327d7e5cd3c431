# SPDX-License-Identifier: GPL-2.0
# What one program may read.
abi <abi/3.0>,
profile confined /confined/busybox {
  /confined/busybox mr,
  /dev/null rw,
  /tmp/allowed r,
}
