#!/bin/sh
# Builds the library and its loops as somebody does who wants to install them; installs them, and moves what was installed; makes
# the Debian package, and installs that.
# Usage: prepare.sh REPO WORK
set -eu
repo=$1
work=$2
rm -rf "$work"
mkdir -p "$work"
work=$(cd "$work" && pwd)

cmake -S "$repo" -B "$work/library" -G Ninja -DCMAKE_BUILD_TYPE=Release -DRINGSTEP_BUILD_TESTS=OFF -DRINGSTEP_BUILD_TOOLS=OFF -DRINGSTEP_BUILD_EXAMPLES=OFF \
	-DRINGSTEP_BUILD_BENCH=OFF
cmake --build "$work/library"
cmake --install "$work/library" --prefix "$work/first"
mv "$work/first" "$work/installed"
# What names the folder it was built or first installed in cannot be moved, nor go to another machine. The programs are in the headers, as octets.
if grep -rlF -e "$work" -e "$repo" "$work/installed" || grep -lF -e "$work" -e "$repo" "$work"/library/loops/*/*.bpf.o; then
	echo "these files name folders of the machine that built them" >&2
	exit 1
fi

(cd "$work/library" && cpack)
deb=$(echo "$work"/library/*.deb)
dpkg-deb --info "$deb"
depends=$(dpkg-deb --field "$deb" Depends)
for package in libbpf-dev liburing-dev; do
	case "$depends," in
	*"$package,"* | *"$package ("*) ;;
	*)
		echo "the package does not depend on $package: $depends" >&2
		exit 1
		;;
	esac
done
case "$depends" in
*libfmt*)
	echo "the package depends on fmt, which only the formatters need: $depends" >&2
	exit 1
	;;
esac
# A root of its own that knows which packages this machine has: dpkg refuses to install what lacks one of them.
mkdir -p "$work/root/var/lib/dpkg/info" "$work/root/var/lib/dpkg/updates"
cp /var/lib/dpkg/status "$work/root/var/lib/dpkg/"
cp /var/lib/dpkg/info/format /var/lib/dpkg/info/*.list "$work/root/var/lib/dpkg/info/"
dpkg --root="$work/root" --log="$work/dpkg.log" --force-script-chrootless --install "$deb"
