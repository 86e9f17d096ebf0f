#!/bin/sh
# Counts words, unless the first one tells it to misbehave. It does so only in a jail, where its runner is process 1.
[ "$PPID" = 1 ] || exit 1
read -r verb rest
printf 'seen\t1\n'
case $verb in
error) echo a bad object >&2; exit 1 ;;
panic) kill -SEGV $$ ;;
exit) exit 7 ;;
loop) while :; do :; done ;;
asleep) sleep 60 ;;
chatter) while :; do echo chatter >&2; done ;;
flood) while :; do printf 'flood\t1\n'; done ;;
garbage) printf 'word\tno number\n' ;;
memory) x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done ;;
forks) while :; do sleep 60 & done ;;
disk) while :; do head -c 1000000 /dev/zero >>junk || exit 9; done ;;
stop) kill -STOP $$ ;;
# What follows ends well, and must harm nobody else.
leave) sleep 60 & ;;
setsid) setsid sleep 60 & ;;
massacre) kill -9 -1; kill -9 1; kill -9 $PPID ;;
esac
for w in $verb $rest; do printf '%s\t1\n' "$w"; done
