# Part of `dev`, which reads this file: the command `clean`, outside of the tool box.

help_clean() {
	cat <<-'END'
		./dev clean [--all]

		Removes the build folder, tool boxes of older package lists, superseded kernels, those of our own whose patches have changed,
		tests of older releases of liburing, and what interrupted runs left in the cache.

		  --all   remove the whole cache: tool box, kernels, compiler cache
	END
}

remove_tree() {
	[[ -e $1 ]] || return 0
	say "removing $1"
	rm -rf "$1" 2>/dev/null || remove_as_owner "$1"
}

# Removes a tool box, unless it is in use.
remove_toolbox() {
	local lock
	exec {lock}>"$1.lock"
	if flock --nonblock $lock; then
		remove_tree "$1"
		remove_tree "$1.tmp"
		rm -f "$1.lock"
	else
		say "leaving $1: it is in use"
	fi
	exec {lock}>&-
}

command_clean() {
	local everything='' folder current version previous=''
	case ${1:-} in
		'') ;;
		--all) everything=yes ;;
		*) usage_error "clean: unknown argument $1" clean ;;
	esac
	# Does not remove a folder that is a build only according to RINGSTEP_BUILD_DIR.
	if [[ -f $build/CMakeCache.txt ]]; then
		remove_tree "$build"
	fi
	current=$cache/toolbox/$(toolbox_hash)
	for folder in $(find "$cache/toolbox" -mindepth 1 -maxdepth 1 2>/dev/null | sed -E 's/\.(lock|tmp)$//' | sort -u); do
		if [[ -n $everything || $folder != "$current" ]]; then
			remove_toolbox "$folder"
		fi
	done
	for version in $(cached_kernels | sort -Vr); do
		# The newest of each series and flavour stays.
		current=" $(series_of "$version")-${version%-amd64} "
		current=${current/-*-/-}
		if [[ -n $everything || $previous == *"$current"* ]]; then
			remove_tree "$cache/kernels/$version"
		fi
		previous+=$current
	done
	for version in $([[ -z $everything ]] || added_kernels); do
		remove_tree "$cache/kernels/$version"
	done
	clean_patched_kernels "$everything"
	clean_liburing "$everything"
	for folder in "$cache"/kernels/tmp "$cache"/kernels/failed-* "$cache"/initramfs "$cache"/demo/*.tmp; do
		remove_tree "$folder"
	done
	if [[ -n $everything && ! -d $current ]]; then
		remove_tree "$cache"
	fi
}
