#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Shows files of all kinds, with names of all kinds.
. /guest/lib.sh
start
for file in a/relative b/dotted c/absolute; do echo "$file: $(cat /$file)"; done
echo "symlink: $(readlink /link) $(cat /link)"
echo "absolute-link: $(cat /d/link)"
echo "hard: $(cat /hard1) $(cat /hard2) $(stat -c %h /hard1)"
[ "$(stat -c %d:%i /hard1)" = "$(stat -c %d:%i /hard2)" ] && echo "hard links: same"
echo "node: $(stat -c '%F %t:%T' /null)"
echo "mode: $(stat -c %a:%u:%g /mode)"
echo "time: $(stat -c %Y /old-file)"
echo "sum: $(cat /sum)"
end
