#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: make shell, the host's files in /host
