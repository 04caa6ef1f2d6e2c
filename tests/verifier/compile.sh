#!/bin/sh
# Compiles a loop that clang may refuse. What clang says goes into a file; where it refuses, the object is empty.
# Usage: compile.sh OBJECT CLANG ARGUMENTS…
object=$1
shift
"$@" -MD -MF "$object.d" -MT "$object" -o "$object" >"$object.log" 2>&1 && exit 0
# Not the fault of the loop, but of the command.
grep -q 'error: ' "$object.log" || { cat "$object.log" >&2; exit 1; }
[ -e "$object.d" ] || : >"$object.d"
: >"$object"
