#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the programs in /programs that the command line names, or all, and says how each went.
. /guest/lib.sh
wanted=$(parameter programs)
for file in /programs/*.sh; do
	name=$(basename "$file" .sh)
	[ "$name" != lib ] || continue
	case ",$wanted," in *",$name,"* | ,,) ;; *) continue ;; esac
	echo "== $name"
	timeout 150 sh "$file" </dev/null 2>&1
	echo "== $name: $?"
done
