#!/bin/sh
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Looks at a service as often as it is told, and ends badly as soon as two looks in a row have failed. keepalived starts it
# once a second or less often, because before version 2.3 it knows whole seconds only.
url=$1 every=$2 looks=$3 failed=0
while :; do
  curl --disable --fail --silent --output /dev/null --max-time "$every" "$url"
  status=$?
  looks=$((looks - 1))
  if [ "$status" -eq 0 ]; then
    failed=0
    [ "$looks" -gt 0 ] || exit 0
  else
    failed=$((failed + 1))
    [ "$failed" -lt 2 ] || exit 1
  fi
  # 28: it has waited already.
  [ "$status" -eq 28 ] || sleep "$every"
done
