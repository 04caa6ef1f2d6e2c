# Part of `dev`, which reads this file: outside of the tool box. Namespaces of its own for each ./dev, and who ends what is in them.

am_root() {
	[[ $(id -u) == 0 ]]
}

# Prints what keeps an ordinary user from having namespaces on this machine.
explain_no_namespaces() {
	local user limit
	user=$(id -un)
	say "an ordinary user needs user namespaces, and they do not work here:"
	limit=$(cat /proc/sys/user/max_user_namespaces 2>/dev/null || echo 0)
	if ! command -v newuidmap >/dev/null; then
		say "  the program newuidmap is missing. As root: apt-get install uidmap"
	elif ! grep -qs "^$user:" /etc/subuid || ! grep -qs "^$user:" /etc/subgid; then
		say "  $user has no range of subordinate ids. As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user"
	elif ((limit == 0)); then
		say "  the kernel allows none: /proc/sys/user/max_user_namespaces is $limit"
	elif [[ $(cat /proc/sys/kernel/unprivileged_userns_clone 2>/dev/null || echo 1) == 0 ]]; then
		say "  they are for root only here: /proc/sys/kernel/unprivileged_userns_clone is 0"
	elif [[ $(cat /proc/sys/kernel/apparmor_restrict_unprivileged_userns 2>/dev/null || echo 0) != 0 ]]; then
		say "  AppArmor forbids them: /proc/sys/kernel/apparmor_restrict_unprivileged_userns is not 0"
	elif ! unshare --help | grep -q -- --map-auto; then
		say "  this machine's unshare does not know --map-auto: util-linux 2.38 is needed"
	else
		say "  unshare --user --map-root-user --map-auto true: $(unshare --user --map-root-user --map-auto true 2>&1 || true)"
	fi
	say "Or run ./dev as root."
	exit 1
}

# Sets $namespace_command to the command that starts another one in namespaces of its own, as root there.
choose_namespaces() {
	local tool
	for tool in unshare setpriv flock mount chroot; do
		command -v $tool >/dev/null || fail "this machine has no $tool: install util-linux, mount and coreutils"
	done
	# pdeathsig: when this script is killed, even by kill -9, every process that it started also ends.
	namespace_command=(setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child)
	am_root && return
	unshare --user --map-root-user --map-auto true 2>/dev/null || explain_no_namespaces
	namespace_command+=(--user --map-root-user --map-auto)
}

# Removes files that belong to this user's subordinate ids.
remove_as_owner() {
	! am_root || return 1
	unshare --user --map-root-user --map-auto rm -rf "$1"
}

# supervise COMMAND…: runs it in the foreground and ends with its exit status. A command run directly by the shell would delay signals
# until the command has ended.
supervise() {
	local status=0 terminal='' tries signal
	local -a signals=()
	if [[ -n $interactive && -t 0 ]]; then
		terminal=$(stty -g)
	fi
	# A background process of a script ignores Ctrl-C and reads /dev/null, unless told otherwise. What this script was started to
	# ignore stays ignored.
	for signal in INT QUIT; do
		[[ $(trap -p $signal) == "trap -- '' SIG$signal" ]] || signals+=(--default-signal=$signal)
	done
	env "${signals[@]}" "$@" <&0 &
	supervised=$!
	kill_at_exit $supervised
	interrupted=0
	trap 'interrupted=129; kill -KILL $supervised' HUP
	trap 'interrupted=143; kill -KILL $supervised' TERM
	if [[ -n $interactive ]]; then
		trap : INT
	else
		trap 'interrupted=130' INT
	fi
	while true; do
		wait $supervised 2>/dev/null && status=0 || status=$?
		if ((interrupted)); then
			# Ctrl-C has reached all processes of the terminal. They get two seconds to end by themselves.
			tries=0
			while kill -0 $supervised 2>/dev/null && ((tries++ < 20)); do
				sleep 0.1 || true
			done
			{ kill -KILL $supervised && wait $supervised; } 2>/dev/null || true
			status=$interrupted
			break
		fi
		kill -0 $supervised 2>/dev/null || break
	done
	if [[ -n $terminal ]]; then
		# A shell inside may have left us in the background, where this signal would stop stty.
		trap '' TTOU
		stty "$terminal" 2>/dev/null || true
	fi
	exit $status
}
