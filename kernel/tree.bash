# Part of `build` and `package`: a kernel's source tree with a series applied to it, and make in there. They set
#   here      this folder
#   work      the folder to build in: source and objects go there. Always the same one for the same series, so that ccache recognizes
#             what it has seen
#   release   what comes after the number in the kernel's name

fail() {
	echo "kernel: $*" >&2
	exit 1
}

# unpack_source PACKAGE: of linux-source-*.deb.
unpack_source() {
	local -a archive
	rm -rf "$work"
	mkdir -p "$work/package" "$work/objects"
	dpkg-deb --fsys-tarfile "$1" | tar -x -C "$work/package" --wildcards './usr/src/linux-source-*.tar.xz'
	archive=("$work"/package/usr/src/linux-source-*.tar.xz)
	tar -xf "${archive[0]}" -C "$work"
	rm -r "$work/package"
	mv "$work"/linux-source-* "$work/source"
}

# apply_patches PATCH…
apply_patches() {
	local patch
	for patch in "$@"; do
		# Below nobody's repository: git would take the paths for that one's.
		GIT_CEILING_DIRECTORIES=$work git -C "$work/source" apply --whitespace=nowarn "$patch" || fail "$patch does not apply"
	done
}

# make in the source tree, objects elsewhere, nothing of today's date or this machine's name in the result.
run_make() {
	nice -n 15 make --directory "$work/source" --silent O="$work/objects" CC="ccache gcc" HOSTCC="ccache gcc" LOCALVERSION="-$release" \
		KBUILD_BUILD_TIMESTAMP='Thu Jan 1 00:00:00 UTC 1970' KBUILD_BUILD_USER=ringstep KBUILD_BUILD_HOST=localhost "$@"
}
