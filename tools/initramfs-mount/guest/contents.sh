#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Compares what is there with what should be. Each line of /expected is a name, what stat says of it, its
# size, and the word that its contents repeat, unless another name of it brings them.
. /guest/lib.sh
start
cd / || exit
count=0
while read -r name stat size word; do
	count=$((count + 1))
	is=$(stat -c %f:%u:%g:%h:%Y:%t:%T "$name")
	[ "$is" = "$stat" ] || echo "differs: $name is $is, not $stat"
	case $word in
	"") ;;
	link:*) [ "$(readlink "$name")" = "${word#link:}" ] || echo "differs: $name is another link" ;;
	*) yes "$word" | head -c "$size" | cmp -s - "$name" || echo "differs: contents of $name" ;;
	esac
done </expected
echo "compared: $count"
end
