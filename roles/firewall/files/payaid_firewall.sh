#!/bin/sh
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Loads the rules of a machine, and takes those back that lock people out:
#   try SECONDS [NUMBER]  puts the wanted rules in force for so long, with room for so many connections
#   keep                  ... for good, and at the next boot
#   back                  puts those in force again that were kept before
#   remove                lets everything in
#   state                 says what is in force: kept, tried, other or none
#   room NUMBER           has the kernel keep track of at least so many connections
set -eu
table='inet payaid'
wanted=/etc/nftables.d/payaid.wanted
kept=/etc/nftables.d/payaid.nft
timer=payaid-firewall-back
PATH=/usr/sbin:/usr/bin:/sbin:/bin

in_force() {
  tables=$(nft list tables inet)
  if echo "$tables" | grep -qx "table $table"; then nft --stateless list table inet payaid; fi
}

# What the kernel makes of a file, in a network of its own where nothing else is.
meant_by() { unshare --net sh -c "nft --file '$1' && nft --stateless list table inet payaid"; }

state() {
  now=$(in_force)
  if [ -z "$now" ]; then
    echo none
  elif [ ! -f "$wanted" ] || [ "$now" != "$(meant_by "$wanted")" ]; then
    echo other
  elif cmp -s "$wanted" "$kept"; then
    echo kept
  else
    echo tried
  fi
}

forget_timers() {
  for unit in $(systemctl list-units --all --plain --no-legend "$timer-*.timer" | cut -d ' ' -f 1); do
    [ "$unit" = "${1-}" ] || systemctl stop "$unit"
  done
}

try() {
  own=$timer-$(date +%s)-$$
  # Armed before there is anything to take back.
  systemd-run --quiet --collect --unit="$own" --on-active="$1" --timer-property=AccuracySec=100ms "$0" back
  nft --file "$wanted"
  # By the first rules the kernel begins to keep track, and the unit that makes room is started only after the trial.
  room "${2-0}"
  forget_timers "$own.timer"
}

keep() {
  case $(state) in
  kept) ;;
  tried)
    cp "$wanted" "$kept.new"
    mv "$kept.new" "$kept"
    ;;
  *)
    echo "what is in force is not what was on trial" >&2
    exit 1
    ;;
  esac
  # One that goes off now puts in force what is.
  forget_timers
}

remove() { nft "add table $table; delete table $table"; }

back() { if [ -f "$kept" ]; then nft --file "$kept"; else remove; fi; }

room() {
  file=/proc/sys/net/netfilter/nf_conntrack_max
  # In a container it is its host's, and read-only.
  if [ -w "$file" ] && [ "$(cat "$file")" -lt "$1" ]; then echo "$1" >"$file"; fi
}

exec 9>/run/payaid-firewall.lock
flock 9
case $1 in
try | room) "$@" ;;
keep | back | state) "$1" ;;
remove)
  forget_timers
  remove
  ;;
*)
  echo "usage: $0 try SECONDS [NUMBER] | keep | back | remove | state | room NUMBER" >&2
  exit 2
  ;;
esac
