# Part of `dev`, which reads this file: virtual machines that are kept up. vm/keeper.py starts and watches one, vm/agent.py runs commands in it,
# vm/client.py asks for that.
#
# Each has a folder, which names it:
#   BUILD/vm/VERSION             kept by hand (./dev vm --keep), in namespaces of its own
#   /tmp/…/KERNEL-OPTIONS        for tests, in the namespaces of the ./dev that runs them; ends with these

keeper=$repo/tools/dev/vm/keeper.py
client=(python3 -S -E -B "$repo/tools/dev/vm/client.py")

# The least that a machine for tests has, so that tests that need a disk do not need another machine.
test_disk=512
# A machine that is kept by hand ends when it has not been used for this time.
kept_idle_seconds=7200

# Succeeds if a machine's keeper is alive ($1: folder).
machine_is_there() {
	local lock
	[[ -e $1/lock ]] || return 1
	exec {lock}<"$1/lock"
	if flock --shared --nonblock $lock; then
		exec {lock}<&-
		return 1
	fi
	exec {lock}<&-
}

# Options of a machine that a command may ask for, as one word. Two commands with the same word can share a machine.
machine_options() {
	local options=cpus-$vm_cpus-memory-$vm_memory
	[[ -z $vm_net ]] || options+=-net
	[[ -z $vm_wire ]] || options+=-wire-$vm_wire
	[[ -z $vm_disk ]] || options+=-disk-$vm_disk
	[[ -z $vm_append ]] || options+=-$(sha256sum <<<"$vm_append" | cut -c 1-8)
	echo "$options"
}

# prepare_machine FOLDER: writes the command with which the keeper starts the machine. Sets $vm_run.
prepare_machine() {
	local -a qemu virtiofsd
	vm_run=$1
	[[ -n ${vm_version:-} ]] || choose_vm_kernel
	make_initramfs
	mkdir -p "$vm_run"
	chmod 755 "$vm_run"
	qemu_command ""
	virtiofsd_command fs
	qemu+=(-chardev "socket,id=agent,path=agent,server=on,wait=off" -device "virtserialport,chardev=agent,nr=1,name=agent")
	{
		write_vm_settings
		printf 'agent=%s\n' "$(quote "$repo/tools/dev/vm/agent.py")"
	} >"$vm_run/settings"
	printf '%s\0' "${qemu[@]}" >"$vm_run/qemu"
	printf '%s\0' "${virtiofsd[@]}" >"$vm_run/virtiofsd"
	machine_options >"$vm_run/options"
}

# run_keeper [options]: as this process.
run_keeper() {
	! is_patched_kernel "$vm_kernel" || set -- --patched "$@"
	ulimit -n "$(ulimit -H -n)"
	# What was only needed to prepare it.
	clean_up
	exec setsid python3 -S -E -B "$keeper" "$vm_run" --kernel "$vm_version" --boot-seconds "$boot_seconds" --boot-tries "$boot_tries" \
		${RINGSTEP_VM_HUNG_AFTER:+--hung-after "$RINGSTEP_VM_HUNG_AFTER"} "$@"
}

# run_in_machine FOLDER [options of the client]: runs the command there, and ends with its exit status.
run_in_machine() {
	local folder=$1
	local -a options=(--time "$vm_time")
	shift
	[[ -z $verbose ]] || options+=(--verbose)
	[[ -z $vm_tty ]] || options+=(--terminal)
	! is_patched_kernel "$vm_kernel" || options+=(--patched)
	clean_up
	exec "${client[@]}" "$folder" run "${options[@]}" "$@" 3< <(write_vm_command)
}

# --- Kept by hand ---

# Prints the folder of the machine with a kernel ($1: its version).
kept_folder() {
	echo "$build/vm/${1//\//_}"
}

# Whether a machine is kept that the command can run in, and sets $vm_kept. One is looked for only if there are any.
choose_kept_machine() {
	local folder any='' options
	[[ -z $vm_own && -z $vm_icount ]] || return 1
	for folder in "$build"/vm/*/; do
		! machine_is_there "${folder%/}" || any=yes
	done
	[[ -n $any ]] || return 1
	choose_vm_kernel
	vm_kept=$(kept_folder "$vm_version")
	machine_is_there "$vm_kept" || return 1
	# A machine with more than the usual is asked for, or the usual one.
	options=$(machine_options)
	if [[ $options != cpus-2-memory-2048 && $options != "$(cat "$vm_kept/options")" ]]; then
		say "vm: the machine that is kept up has not these options: starting another one"
		return 1
	fi
	# The system's folders are identical everywhere.
	folder=$(nearest_shared_folder)
	if [[ -n $folder ]] && ! grep -qxF -- "$folder" "$vm_kept/folders"; then
		say "vm: the machine that is kept up does not see $PWD: starting another one"
		return 1
	fi
}

# The shared folder that the current one is in, or nothing.
nearest_shared_folder() {
	local folder
	while read -r folder; do
		[[ $PWD/ != "$folder"/* ]] || echo "$folder"
	done <<<"$RINGSTEP_SHARED_FOLDERS" | head -n 1
}

# Becomes the keeper, inside namespaces of its own. Outside, start_kept_machine has started it and waits.
keep_machine() {
	local folder
	choose_vm_kernel
	folder=$(kept_folder "$vm_version")
	if machine_is_there "$folder"; then
		say "vm: a machine with $vm_version is up already"
		exit 0
	fi
	rm -rf "$folder"
	prepare_machine "$folder"
	printf '%s\n' "$RINGSTEP_SHARED_FOLDERS" >"$folder/folders"
	unset RINGSTEP_KEEP
	run_keeper --idle "$kept_idle_seconds"
}

# Starts, outside, a ./dev that outlives this one, and waits until the machine is up.
start_kept_machine() {
	local log status=0 lines process text
	mkdir -p "$build/vm"
	log=$(mktemp "$build/vm/keep.XXXXXX")
	remove_at_exit "$log"
	RINGSTEP_KEEP=1 setsid "$repo/dev" vm "$@" </dev/null >"$log" 2>&1 &
	process=$!
	kill_at_exit $process
	exec {lines}< <(exec tail --pid=$process --lines=+1 --follow "$log" 2>/dev/null)
	kill_at_exit $!
	while read -r -u "$lines" text; do
		case $text in
			'up after '*)
				# From here on it is nobody's.
				disown $process
				exit_processes=("${exit_processes[@]/#$process/}")
				say "vm: the machine is $text. It ends by ./dev vm --stop, or when nobody has used it for $((kept_idle_seconds / 3600)) hours"
				exit 0
				;;
			*' is up already')
				printf '%s\n' "$text" >&2
				exit 0
				;;
			*) printf '%s\n' "$text" >&2 ;;
		esac
	done
	wait $process || status=$?
	exit $((status == 0 ? 125 : status))
}

stop_kept_machines() {
	local folder version='' found=''
	if [[ -n $vm_kernel ]]; then
		choose_vm_kernel
		version=$vm_version
	fi
	for folder in "$build"/vm/*/; do
		folder=${folder%/}
		[[ -d $folder ]] || continue
		[[ -z $version || $folder == "$(kept_folder "$version")" ]] || continue
		if machine_is_there "$folder"; then
			found=yes
			say "vm: ending the machine with $(basename "$folder")"
			"${client[@]}" "$folder" stop || true
			while machine_is_there "$folder"; do sleep 0.05; done
		fi
		rm -rf "$folder"
	done
	[[ -n $found ]] || say "vm: no machine is kept up"
}

# --- For tests ---

# The folder of the machine that tests with this kernel and these options share. Its users are in the same process namespace, and only there:
# the kernel gives a namespace's number to another one later, so that the time of its first process belongs to the name.
test_folder() {
	local namespace
	namespace=$(stat -L -c %i /proc/self/ns/pid)-$(sed 's/.*) //' /proc/1/stat | cut -d' ' -f20)
	((${vm_disk:-0} > test_disk)) || vm_disk=$test_disk
	test_machine=/tmp/ringstep-machines-$namespace/${vm_kernel//\//_}-$(machine_options)
}

# Starts the machine if it is not running. Its keeper continues after this process ends.
ensure_test_machine() {
	local lock tries=0
	test_folder
	mkdir -p "$(dirname "$test_machine")"
	exec {lock}>"$test_machine.lock"
	flock $lock
	if ! machine_is_there "$test_machine"; then
		note_dead_keeper
		(
			exec {lock}>&-
			rm -rf "$test_machine"
			exit_processes=() exit_files=()
			prepare_machine "$test_machine"
			# The tests' own: whoever waits for the end of this command's output must not wait for the machine's.
			exec </dev/null >"$test_machine/log" 2>&1
			run_keeper --one-at-a-time --strict &
		)
		until machine_is_there "$test_machine" && [[ -S $test_machine/control ]]; do
			if ((tries++ > 1000)); then
				sed 's/^/     /' "$test_machine/log" >&2
				fail "the machine's keeper did not start"
			fi
			sleep 0.01
		done
	fi
	exec {lock}>&-
}

# A folder without a keeper: the keeper has died, for it is removed where a machine is stopped. What it said last is kept for that.
note_dead_keeper() {
	[[ -d $test_machine ]] || return 0
	{
		echo "The machine's keeper ended by itself. It said last:"
		tail -n 30 "$test_machine/log" 2>/dev/null || true
	} >>"$test_machine.died"
	rm -rf "$test_machine"
}

start_test_machine() {
	ensure_test_machine
	exec "${client[@]}" "$test_machine" ping
}

run_test() {
	ensure_test_machine
	run_in_machine "$test_machine" --strict --name "$vm_test" --program "${vm_command[0]}"
}

# Fails also if a keeper has died meanwhile, whatever became of the machine: nobody knows what its kernel has said.
stop_test_machine() {
	local status=0 started='' tries
	test_folder
	if machine_is_there "$test_machine"; then
		started=yes
		"${client[@]}" "$test_machine" stop || status=$?
		# With another status, the keeper has not answered, and may not end either.
		for ((tries = 0; tries < 400 && (status == 0 || status == 126); tries++)); do
			machine_is_there "$test_machine" || break
			sleep 0.05
		done
		((status != 0 && status != 126)) || rm -rf "$test_machine"
	fi
	note_dead_keeper
	if [[ -s $test_machine.died ]]; then
		sed 's/^/     /' "$test_machine.died" >&2
		rm -f "$test_machine.died"
		((status > 0)) || status=125
	elif [[ -z $started ]]; then
		say "vm: the machine was not started"
	fi
	exit $status
}
