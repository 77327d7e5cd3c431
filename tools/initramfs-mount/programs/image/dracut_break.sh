#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: dracut with rd.break: a shell, then the login
# image: dracut.img
# append: rd.break
# type: or press Control-D to continue): |
# type: # | . /guest/stopped.sh
# type: # | exit
