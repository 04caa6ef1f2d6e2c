# Part of `dev`, which reads this file: outside of the tool box. Whether this machine's own packages will do, how the tool box is made, and how
# this script starts itself again in there.

# Changing any of these makes a new tool box.
suite=trixie
suite_name="Debian 13"
variant=apt
packages=(
	# Compilers, and what makes BPF programs and skeletons
	g++ g++-12 clang-19 clang-17 llvm-19 lld-19 libclang-rt-19-dev clang-tidy-19 clang-format-19 bpftool
	# Libraries
	libbpf-dev liburing-dev catch2 libfmt-dev libcli11-dev libbenchmark-dev
	# Building, looking
	cmake ninja-build make pkgconf ccache git ca-certificates doxygen doxygen-awesome-css gdb strace gnuplot-nox python3-minimal file
	# Building kernels
	flex bison bc libelf-dev libssl-dev dwarves python3 rsync debhelper
	# Virtual machines
	qemu-system-x86 virtiofsd busybox-static cpio kmod xz-utils zstd lz4 libcap2-bin e2fsprogs util-linux mount procps iproute2
	# Clients, servers and proxies that tests and benchmarks compare with
	curl apache2-utils wrk socat openssl iperf3 nginx libnginx-mod-stream haproxy redis-server redis-tools
)

# --- Which tools? ---

# Succeeds if this machine has all packages, from the Debian release that the kernels are from. Sets $tools_reason to the reason for the
# answer.
machine_has_tools() {
	local codename package
	local -a missing=()
	codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
	if [[ $codename != "$suite" ]]; then
		tools_reason="this machine does not run $suite_name"
		return 1
	fi
	for package in "${packages[@]}"; do
		[[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
	done
	if ((${#missing[@]})); then
		tools_reason="to use this machine's own: apt-get install ${missing[*]}"
		return 1
	fi
	tools_reason="this machine has all that is needed"
}

# Sets $box to the root folder of the tool box, or to / for this machine's own tools.
choose_tools() {
	local choice=${RINGSTEP_TOOLBOX:-}
	case $choice in
		host)
			box=/
			tools_reason="RINGSTEP_TOOLBOX=host"
			;;
		box | '')
			if [[ -z $choice ]] && machine_has_tools; then
				box=/
			else
				[[ -z $choice ]] || tools_reason="RINGSTEP_TOOLBOX=box"
				box=$cache/toolbox/$(toolbox_hash)
			fi
			;;
		*) fail "RINGSTEP_TOOLBOX is '$choice': it has to be box, host or nothing" ;;
	esac
}

say_tools() {
	if [[ $box == / ]]; then
		say "tools: this machine's ($tools_reason)"
	else
		say "tools: $suite_name in $box ($tools_reason)"
	fi
}

# --- Making the tool box ---

toolbox_hash() {
	printf '%s\n' "$suite" "$variant" "${packages[@]}" | sha256sum | cut -c 1-12
}

# Sets $mmdebstrap to the program that makes Debian systems. Gets the program first if it is missing.
find_mmdebstrap() {
	mmdebstrap=$(command -v mmdebstrap || true)
	[[ -z $mmdebstrap ]] || return 0
	command -v apt-get >/dev/null ||
		fail "mmdebstrap is missing, and this is no Debian system to install it on: install it with this system's package manager"
	if am_root; then
		step "Installing mmdebstrap" install_mmdebstrap
	elif sudo -n true 2>/dev/null; then
		step "Installing mmdebstrap (with sudo)" install_mmdebstrap sudo -n
	else
		step "Fetching mmdebstrap" fetch_mmdebstrap
		PATH=$PATH:$cache/mmdebstrap/usr/bin
	fi || true
	mmdebstrap=$(command -v mmdebstrap) || fail "mmdebstrap could not be installed. As root: apt-get install mmdebstrap"
}

install_mmdebstrap() {
	"$@" apt-get install --yes --no-install-recommends mmdebstrap && return
	"$@" apt-get update && "$@" apt-get install --yes --no-install-recommends mmdebstrap
}

# fetch_mmdebstrap [apt_kernels]: unpacks mmdebstrap, which is a single script, into the cache. An ordinary user cannot install packages, and a
# command in the tool box does not. In the tool box, apt has only the lists of packages that apt_kernels names.
fetch_mmdebstrap() {
	local work=$cache/mmdebstrap.tmp.$$
	[[ ! -x $cache/mmdebstrap/usr/bin/mmdebstrap ]] || return 0
	mkdir -p "$work"
	remove_at_exit "$work"
	(cd "$work" && "$@" apt-get download mmdebstrap && dpkg-deb -x ./*.deb . && rm ./*.deb) || return
	rm -rf "$cache/mmdebstrap"
	mv "$work" "$cache/mmdebstrap"
}

# Runs in namespaces of its own, as root there.
make_toolbox() {
	local work=$1 mmdebstrap=$2 target list
	umask 022
	target=$work/root
	mkdir -p "$work/tmp"
	export TMPDIR=$work/tmp
	mount -t proc proc /proc
	list=$(IFS=,; echo "${packages[*]}")
	"$mmdebstrap" --mode=root --variant="$variant" --include="$list" \
		--aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
		--dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		"$suite" "$target"
	# Mount points, here and in virtual machines.
	mkdir -p "$target/usr/lib/modules" "$target/boot" "$target/var/tmp"
	# An ordinary user in a virtual machine has to get through here to a repository below /root.
	chmod 755 "$target/root"
	touch "$target/etc/resolv.conf" "$target/etc/hosts"
}

# Makes sure that the tool box is there, and holds a lock on it as long as this script runs, so that nobody removes it meanwhile.
ensure_toolbox() {
	local lock
	[[ $box != / ]] || return 0
	mkdir -p "$cache/toolbox"
	exec {lock}>"$box.lock"
	while ! flock --shared --nonblock $lock || [[ ! -d $box ]]; do
		if ! flock --nonblock $lock; then
			say "waiting for another ./dev that makes the tool box"
			flock $lock
		fi
		if [[ ! -d $box ]]; then
			check_machine
			find_mmdebstrap
			# Nobody else is at it: what lies here is from an interrupted run.
			rm -rf "$box.tmp" 2>/dev/null || remove_as_owner "$box.tmp"
			remove_at_exit "$box.tmp"
			step "Making the tool box ($suite_name, 1.7 GB, one or two minutes)" \
				"${namespace_command[@]}" "$repo/dev" --make-toolbox "$box.tmp" "$mmdebstrap" ||
				fail "the tool box could not be made. If the network is fine, ./dev clean and try again"
			mv "$box.tmp/root" "$box"
			rm -rf "$box.tmp" 2>/dev/null || remove_as_owner "$box.tmp"
		fi
	done
}

check_machine() {
	local free
	[[ $(uname -m) == x86_64 ]] || fail "this is a $(uname -m) machine: the tool box and its kernels exist for x86_64 only"
	free=$(df --output=avail --block-size=1M "$cache" | tail -n 1)
	((free > 4096)) || fail "$cache has $free MB free, and 4 GB are needed. XDG_CACHE_HOME chooses another place"
}

# --- Entering it ---

# The folders that are the same inside as outside, one on a line.
shared_folders() {
	local folder
	{
		printf '%s\n' "$repo" "$cache" "$build" "${extra_folders[@]}"
		[[ -z ${RINGSTEP_MOUNT:-} ]] || tr ':' '\n' <<<"$RINGSTEP_MOUNT"
		# The current folder, unless it belongs to the system, because the tool box has its own system folders.
		case $PWD/ in
			// | /usr/* | /bin/* | /sbin/* | /lib*/* | /etc/* | /dev/* | /proc/* | /sys/* | /run/* | /boot/* | /tmp/ | /var/ | /var/tmp/) ;;
			*) echo "$PWD" ;;
		esac
	} | outermost_folders
}

# Those of the folders on stdin that are there and in no other one of them.
outermost_folders() {
	local folder last=
	LC_ALL=C sort -u | while read -r folder; do
		[[ -d $folder && ( -z $last || $folder/ != "$last"/* ) ]] || continue
		echo "$folder"
		last=$folder
	done
}

# enter COMMAND…: starts this script inside.
enter() {
	local -a folders
	local folder
	while read -r folder; do
		[[ -z $folder || ( $folder == /* && -d $folder ) ]] ||
			fail "RINGSTEP_MOUNT names $folder, which is not the absolute path of a folder"
	done < <(tr ':' '\n' <<<"${RINGSTEP_MOUNT:-}")
	mkdir -p "$cache" "$build"
	mapfile -t folders < <(shared_folders)
	supervise "${namespace_command[@]}" "$repo/dev" --enter "$box" "$PWD" "${#folders[@]}" "${folders[@]}" "$@"
}

# The first process in the new namespaces. Mounts what the tool box needs, goes there and starts the command.
stage_enter() {
	local box=$1 directory=$2 count=$3 folder shared status=0
	local -a folders
	shift 3
	folders=("${@:1:count}")
	shift "$count"
	shared=$(printf '%s\n' "${folders[@]}")
	if [[ $box == / ]]; then
		mount -t proc proc /proc
		RINGSTEP_IN_TOOLBOX=host RINGSTEP_CACHE=$cache RINGSTEP_SHARED_FOLDERS=$shared "$repo/dev" "$@" || status=$?
		exit $status
	fi
	mount --bind "$box" "$box"
	mount_system_folders "$box"
	for folder in "${folders[@]}"; do
		mkdir -p "$box$folder"
		# In a user namespace, a folder with other mounts below it can be bound only together with those mounts.
		mount --bind "$folder" "$box$folder" 2>/dev/null || mount --rbind "$folder" "$box$folder"
	done
	# The tool box is read-only, so that nobody changes what its name says is in it.
	#
	# This is not exec: signals by which programs end themselves do not work on the first process of a namespace.
	# shellcheck disable=SC2016 # the inner shell expands it
	chroot "$box" /usr/bin/env --unset=LD_LIBRARY_PATH --unset=LD_PRELOAD --unset=LIBRARY_PATH --unset=CPATH --unset=PKG_CONFIG_PATH \
		--unset=TMPDIR --unset=BASH_ENV --unset=LC_ALL LANG=C.UTF-8 \
		RINGSTEP_IN_TOOLBOX=1 RINGSTEP_CACHE="$cache" RINGSTEP_SHARED_FOLDERS="$shared" \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		/bin/sh -c 'mount -o remount,bind,ro / 2>/dev/null; cd "$1" 2>/dev/null || cd "$2"; shift 2; exec "$@"' sh \
		"$directory" "$repo" "$repo/dev" "$@" || status=$?
	exit $status
}

mount_system_folders() {
	local root=$1 device file
	# A container that hides parts of /proc refuses a new /proc, so use the old one.
	mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
	mount --rbind /sys "$root/sys"
	mount -t tmpfs -o mode=755 dev "$root/dev"
	for device in null zero full random urandom tty ptmx kvm fuse net/tun; do
		[[ -c /dev/$device ]] || continue
		mkdir -p "$root/dev/$(dirname $device)"
		touch "$root/dev/$device"
		mount --bind "/dev/$device" "$root/dev/$device"
	done
	mkdir "$root/dev/pts" "$root/dev/shm"
	mount --rbind /dev/pts "$root/dev/pts"
	ln -s /proc/self/fd "$root/dev/fd"
	ln -s /proc/self/fd/0 "$root/dev/stdin"
	ln -s /proc/self/fd/1 "$root/dev/stdout"
	ln -s /proc/self/fd/2 "$root/dev/stderr"
	mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
	mount -t tmpfs -o mode=1777 tmp "$root/tmp"
	mount -t tmpfs -o mode=1777 vartmp "$root/var/tmp"
	mount -t tmpfs -o mode=755 run "$root/run"
	for file in resolv.conf hosts; do
		[[ ! -f /etc/$file ]] || mount --bind "$(readlink -f /etc/$file)" "$root/etc/$file"
	done
}

# The places in the tool box that begin empty and go with it, those that RINGSTEP_MOUNT replaces left out.
own_places=(/tmp /var/tmp /dev/shm /run)

# Names the files that the command has left in places that are about to go.
tell_thrown_away() {
	local place shared folder most=10
	local -a places=() files
	for place in "${own_places[@]}"; do
		shared=
		while read -r folder; do
			[[ $place/ != "$folder"/* ]] || shared=yes
		done <<<"${RINGSTEP_SHARED_FOLDERS:-}"
		[[ -n $shared ]] || places+=("$place")
	done
	((${#places[@]})) || return 0
	# Shared folders below these places are other file systems.
	mapfile -d '' files < <(find "${places[@]}" -xdev -type f -print0 2>/dev/null)
	((${#files[@]})) || return 0
	say "thrown away with the tool box, to which ${places[*]} belong:"
	printf '     %s\n' "${files[@]:0:most}" >&2
	((${#files[@]} <= most)) || printf '     and %d more\n' $((${#files[@]} - most)) >&2
	say "To keep files, write them below the current folder (unless that is one of these), or name a folder that is to be shared:"
	say "RINGSTEP_MOUNT=/path ./dev …"
}
