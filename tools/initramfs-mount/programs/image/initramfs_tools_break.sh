#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: initramfs-tools with break=premount: a shell, then the login
# image: initramfs-tools.img
# append: break=premount panic=
# type: (initramfs) | . /guest/stopped.sh
# type: (initramfs) | exit
