# Part of `dev`, which reads this file: virtual machines. Those that run one command (here), and those that are kept up and run many:
# machines.bash.
#
# vm/init is the first process in a machine.

# The time that a machine may take to reach its init, and the number of tries.
boot_seconds=${RINGSTEP_VM_BOOT_SECONDS:-60}
boot_tries=3

parse_vm_options() {
	vm_kernel=newest
	vm_time=300
	vm_memory=2048
	vm_cpus=2
	vm_icount=
	vm_append=
	vm_user=
	vm_tty=
	vm_net=
	vm_wire=
	vm_disk=
	vm_plugin=
	vm_env=()
	vm_own=
	vm_action=run
	vm_test=
	while (($#)); do
		case $1 in
			--keep | --test)
				(($# > 1)) || usage_error "vm: $1 needs a value" vm
				vm_action=${1#--}
				[[ $1 != --keep ]] || vm_kernel=$(full_kernel_name "$2")
				[[ $1 != --test ]] || vm_test=$2
				shift
				;;
			--stop)
				vm_action=stop
				vm_kernel=
				if [[ -n ${2:-} && $2 != -* ]]; then
					vm_kernel=$(full_kernel_name "$2")
					shift
				fi
				;;
			--test-start | --test-stop) vm_action=${1#--} ;;
			--kernel | --time | --memory | --cpus | --append | --disk | --wire | --plugin | --env)
				(($# > 1)) || usage_error "vm: $1 needs a value" vm
				case $1 in
					--kernel) vm_kernel=$(full_kernel_name "$2") ;;
					--time) vm_time=$2 ;;
					--memory) vm_memory=$2 ;;
					--cpus) vm_cpus=$2 ;;
					--append) vm_append+=" $2" ;;
					--disk) vm_disk=$2 ;;
					--wire) vm_wire=$2 ;;
					--plugin) vm_plugin=$2 ;;
					--env) vm_env+=("$2") ;;
				esac
				shift
				;;
			--icount) vm_icount=yes ;;
			--own) vm_own=yes ;;
			--user) vm_user=yes ;;
			--tty) vm_tty=yes ;;
			--net) vm_net=yes ;;
			--verbose) verbose=1 ;;
			--) shift; break ;;
			-*) usage_error "vm: unknown option $1" vm ;;
			*) break ;;
		esac
		shift
	done
	vm_command=("$@")
	[[ $vm_kernel != */* || -f $vm_kernel ]] || fail "vm: there is no kernel image $vm_kernel"
	local number
	for number in "$vm_time" "$vm_memory" "$vm_cpus" "${vm_disk:-0}"; do
		[[ $number =~ ^[0-9]+$ ]] || usage_error "vm: '$number' is not a whole number" vm
	done
	if [[ $vm_action != run && $vm_action != test ]]; then
		((${#vm_command[@]} == 0)) || usage_error "vm: --$vm_action takes no command" vm
	elif ((${#vm_command[@]} == 0)); then
		[[ -t 0 && -t 1 ]] || usage_error "vm: no command, and no terminal for a shell" vm
		vm_tty=yes
		# A shell has no time limit.
		vm_time=0
		vm_command=(/bin/bash -i)
	fi
	[[ -z $vm_icount ]] || vm_cpus=1
	[[ -z $vm_plugin || -n $vm_icount ]] || usage_error "vm: --plugin needs --icount" vm
}

# Whether KVM can be used. The device alone says little: on machines without the processor's support for it guests hang.
have_kvm() {
	grep -qwE 'svm|vmx' /proc/cpuinfo && [[ -r /dev/kvm && -w /dev/kvm ]]
}

quote() {
	printf "'%s'" "${1//\'/\'\\\'\'}"
}

# Prints the command as a shell script, with the current folder, the chosen environment, and the arguments exactly as given.
write_vm_command() {
	local name word
	local -a names=(PATH HOME TERM LANG)
	# shellcheck disable=SC2206 # split on purpose
	names+=(${!RINGSTEP_*} ${!CATCH*} ${!GTEST*} ${!BENCHMARK_*} ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS LSAN_OPTIONS)
	# The machine knows its kernel.
	printf '. /run/ringstep/host/settings\n'
	printf 'cd %s || exit 1\n' "$(quote "$PWD")"
	printf 'exec'
	[[ -z $vm_user ]] || printf ' /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups'
	printf ' /usr/bin/env -i'
	for name in "${names[@]}"; do
		[[ -z ${!name+set} ]] || printf ' %s' "$(quote "$name=${!name}")"
	done
	for name in "${vm_env[@]}"; do
		if [[ $name == *=* ]]; then
			printf ' %s' "$(quote "$name")"
		elif [[ -n ${!name+set} ]]; then
			printf ' %s' "$(quote "$name=${!name}")"
		fi
	done
	# shellcheck disable=SC2016 # the machine's shell expands them
	printf ' "RINGSTEP_VM_KERNEL=$kernel_version" "RINGSTEP_VM_ACCEL=$accelerator"'
	for word in "${vm_command[@]}"; do
		printf ' %s' "$(quote "$word")"
	done
	printf '\n'
}

write_vm_settings() {
	local size='24 80'
	[[ -z $vm_tty ]] || size=$(stty size 2>/dev/null || echo '24 80')
	[[ $size != '0 0' ]] || size='24 80'
	printf 'folders=%s\n' "$(quote "$RINGSTEP_SHARED_FOLDERS")"
	printf 'kernel_dir=%s\n' "$(quote "$vm_kernel_dir")"
	printf 'kernel_version=%s\naccelerator=%s\n' "$(quote "$vm_version")" "$vm_accel"
	printf 'terminal=%s\nnetwork=%s\ndisk=%s\n' "${vm_tty:-no}" "${vm_net:-no}" "${vm_disk:-no}"
	printf 'rows=%s\ncolumns=%s\n' "${size% *}" "${size#* }"
}

# Prints the modules of the chosen kernel that a machine needs to reach its root and its output, in the order in which they must be loaded.
# Prints nothing if all are built in.
boot_modules() {
	local dependencies=$vm_kernel_dir/modules/modules.dep module
	[[ -f $dependencies ]] || return 0
	for module in virtio_pci virtiofs virtio_console; do
		sed -n -E "s,^([^:]*/)?($module\.ko[^:]*): *,\\1\\2 ,p" "$dependencies" | tr ' ' '\n' | sed '/^$/d' | tac
	done | awk '!seen[$0]++'
}

# Sets $initramfs. There is one for each state of tools/dev/vm/init, and for each kernel that needs modules to boot.
make_initramfs() {
	local busybox hash work module number=100
	local -a modules
	busybox=$(command -v busybox)
	mapfile -t modules < <(boot_modules)
	hash=$(cat "$busybox" "$repo/tools/dev/vm/init" "${modules[@]/#/$vm_kernel_dir/modules/}" | sha256sum | cut -c 1-16)
	initramfs=$cache/initramfs/$hash.cpio
	[[ ! -f $initramfs ]] || return 0
	work=$(mktemp -d /tmp/ringstep-initramfs.XXXXXX)
	remove_at_exit "$work"
	mkdir -p "$cache/initramfs" "$work/bin"
	cp "$busybox" "$work/bin/busybox"
	cp "$repo/tools/dev/vm/init" "$work/init"
	chmod 755 "$work/init"
	mkdir "$work/modules"
	for module in "${modules[@]}"; do
		cp "$vm_kernel_dir/modules/$module" "$work/modules/$((number++))-${module##*/}"
	done
	(cd "$work" && find . | cpio --create --format=newc --quiet --reproducible) >"$initramfs.$$"
	mv "$initramfs.$$" "$initramfs"
}

# Sets $vm_image, $vm_kernel_dir, $vm_version.
choose_vm_kernel() {
	if [[ $vm_kernel == */* ]]; then
		vm_image=$(readlink -f "$vm_kernel")
		vm_kernel_dir=$(dirname "$vm_image")
		vm_version=$vm_image
	else
		find_kernel "$vm_kernel"
		vm_kernel_dir=$kernel_folder
		vm_image=$vm_kernel_dir/vmlinux
		if [[ $vm_kernel == *-debug* || $vm_kernel == *-kcsan ]]; then
			# What comes first on the way that saves the second is compiled for KASAN like the rest, but runs before its memory is there.
			vm_image=$vm_kernel_dir/vmlinuz
			# Without that, KASAN says nothing more once it has complained while the machine boots.
			vm_append=" kasan_multi_shot$vm_append"
		fi
		vm_version=$kernel_version
	fi
}

# Sets $virtiofsd to the command that serves this machine's files on socket $1. It holds a file open for each that the machine has seen.
# --cache always: without it the machine reads a program again each time it starts it, which takes 170 ms instead of 10.
virtiofsd_command() {
	virtiofsd=(/usr/libexec/virtiofsd --shared-dir / --socket-path "$1" --sandbox none --cache always --rlimit-nofile 0 --xattr)
}

start_virtiofsd() {
	local tries=0
	virtiofsd_command "$vm_run/fs"
	(
		ulimit -n "$(ulimit -H -n)"
		exec setpriv --pdeathsig KILL "${virtiofsd[@]}"
	) >"$vm_run/virtiofsd.log" 2>&1 </dev/null &
	kill_at_exit $!
	until [[ -S $vm_run/fs ]]; do
		if ((tries++ > 500)) || ! kill -0 $! 2>/dev/null; then
			sed 's/^/     /' "$vm_run/virtiofsd.log" >&2
			fail "virtiofsd did not start"
		fi
		sleep 0.01
	done
}

# Sets $vm_accel, and $accelerator to QEMU's arguments for that and for the processor.
choose_accelerator() {
	# The emulation runs string instructions byte by byte. Without these flags, the kernel copies memory in words.
	local cpu=max,-erms,-fsrm
	if [[ -n $vm_icount ]]; then
		vm_accel=icount
		accelerator=(-accel "tcg,thread=single" -icount "shift=0,sleep=off")
	elif have_kvm; then
		vm_accel=kvm
		accelerator=(-accel kvm)
		cpu=max
	else
		vm_accel=tcg
		accelerator=(-accel "tcg,thread=multi")
		# With these, the emulation leaves its fast way at each access of the kernel to memory of a process. A fifth of the time.
		cpu+=,-smap,-smep,-pku
	fi
	accelerator+=(-cpu "$cpu")
}

# Sets $vm_accel and $qemu, all but where the command's output goes. $1 is what comes before the names of files in the run folder.
qemu_command() {
	local at=$1
	local -a accelerator
	choose_accelerator
	qemu=(
		qemu-system-x86_64 "${accelerator[@]}" -M "q35,memory-backend=memory" -smp "$vm_cpus" -m "$vm_memory"
		-nodefaults -no-user-config -display none -no-reboot
		# virtiofsd reads and writes the machine's memory, so the memory must be shared.
		-object "memory-backend-memfd,id=memory,size=${vm_memory}M,share=on"
		-kernel "$vm_image" -initrd "$initramfs"
		-append "console=ttyS0 quiet loglevel=5 cryptomgr.notests panic=-1 oops=panic ringstep.run=$vm_run$vm_append"
		-chardev "file,id=console,path=${at}console" -serial chardev:console
		-chardev "socket,id=fs,path=${at}fs" -device "vhost-user-fs-pci,chardev=fs,tag=root,queue-size=1024"
		-device "virtio-serial-pci,max_ports=4"
	)
	[[ -z $vm_plugin ]] || qemu+=(-plugin "$vm_plugin")
	[[ -z $vm_net ]] || qemu+=(-netdev "user,id=net" -device "virtio-net-pci,netdev=net")
	if [[ -n $vm_wire ]]; then
		qemu+=(-netdev "hubport,id=wire0,hubid=1" -device "$vm_wire,netdev=wire0" -netdev "hubport,id=wire1,hubid=1" -device "$vm_wire,netdev=wire1")
	fi
	if [[ -n $vm_disk ]]; then
		truncate --size "${vm_disk}M" "$vm_run/disk"
		qemu+=(-drive "file=${at}disk,format=raw,if=none,id=disk,cache=unsafe" -device "nvme,drive=disk,serial=ringstep")
	fi
}

# Prints the last lines of the kernel's messages: as many as $1 says, or a thousand with --verbose.
show_console() {
	local lines=$1
	[[ -z $verbose ]] || lines=1000
	tr -d '\r' <"$vm_run/console" | sed 's/\x1b\[[0-9;?]*[A-Za-z]//g; s/\x1bc//g' | tail -n "$lines" | sed 's/^/     /' >&2
}

# Succeeds if the kernel complained after it was up. An emulated machine that is held up while it boots may get an interrupt before it
# can handle one. That complaint has nothing to do with later commands.
has_complained() {
	sed -n '/ringstep: the kernel is up/,$p' "$vm_run/console" | grep -aE '(WARNING|BUG|KASAN|UBSAN|INFO): ' >/dev/null
}

# Prints how the machine ended, and exits with the status to return.
finish_vm() {
	local qemu_status=$1 status
	if ((qemu_status == 124)); then
		say "vm: ended after $vm_time s, as --time says. The kernel ($vm_version) said last:"
		show_console 40
		exit 124
	elif grep -qa 'Kernel panic' "$vm_run/console" 2>/dev/null; then
		say "vm: the kernel ($vm_version) crashed. Its last messages:"
		# Earlier complaints of the kernel are often the cause.
		show_console 60
		exit 125
	elif [[ ! -s $vm_run/status ]]; then
		say "vm: the machine ended without the command's exit status (qemu: $qemu_status). The kernel ($vm_version) said last:"
		show_console 30
		[[ ! -s $vm_run/qemu.log ]] || sed 's/^/     qemu: /' "$vm_run/qemu.log" >&2
		exit 125
	fi
	if [[ -n $verbose ]]; then
		say "vm: messages of the kernel ($vm_version):"
		show_console 1000
	elif has_complained; then
		say "vm: the kernel ($vm_version) complained:"
		show_console 60
	fi
	status=$(cat "$vm_run/status")
	# A mistake in our own patches, whatever the command thinks of it.
	if ((status == 0)) && is_patched_kernel "$vm_kernel" && has_complained; then
		status=126
	fi
	exit "$status"
}

# Under emulation, and with the machine busy, a kernel now and then hangs in the first tenth of a second, while it measures its clocks.
# Ends a machine ($1: process) that does not get as far as its init, and leaves a note that it did.
watch_boot() {
	local waited=0
	while [[ ! -e $vm_run/up ]]; do
		sleep 1
		kill -0 "$1" 2>/dev/null || return 0
		waited=$((waited + 1))
		if ((waited == boot_seconds)); then
			touch "$vm_run/hung"
			kill "$1"
			return 0
		fi
	done
}

command_vm() {
	parse_vm_options "$@"
	case $vm_action in
		run)
			! choose_kept_machine || run_in_machine "$vm_kept"
			run_own_machine "$@"
			;;
		keep) keep_machine ;;
		stop) stop_kept_machines ;;
		test-start) start_test_machine ;;
		test-stop) stop_test_machine ;;
		test) run_test ;;
	esac
}

# Runs a machine for this command alone.
run_own_machine() {
	local status=0 try=${RINGSTEP_VM_TRY:-1} machine
	local -a readers=() arguments=("$@")
	[[ -n ${vm_version:-} ]] || choose_vm_kernel
	make_initramfs
	vm_run=$(mktemp -d /tmp/ringstep-vm.XXXXXX)
	chmod 755 "$vm_run"
	remove_at_exit "$vm_run"
	qemu_command "$vm_run/"
	write_vm_settings >"$vm_run/settings"
	write_vm_command >"$vm_run/command"
	if [[ -n $vm_tty ]]; then
		qemu+=(-chardev "stdio,id=tty,signal=off" -device "virtconsole,chardev=tty,nr=0")
	else
		# Through named pipes, not straight to our own stdout: qemu would change that file's flags, and it may be shared.
		mkfifo "$vm_run/out" "$vm_run/err"
		qemu+=(-chardev "file,id=out,path=$vm_run/out" -device "virtserialport,chardev=out,nr=1,name=out"
			-chardev "file,id=err,path=$vm_run/err" -device "virtserialport,chardev=err,nr=2,name=err")
		cat "$vm_run/out" &
		readers+=($!)
		cat "$vm_run/err" >&2 &
		readers+=($!)
		kill_at_exit "${readers[0]}"
		kill_at_exit "${readers[1]}"
	fi
	start_virtiofsd
	# Both end when the process that started them is killed.
	qemu=(setpriv --pdeathsig KILL timeout --foreground --kill-after 2 "$vm_time" setpriv --pdeathsig KILL "${qemu[@]}")
	if [[ -n $vm_tty ]]; then
		"${qemu[@]}" 2>"$vm_run/qemu.log" <&0 &
	else
		"${qemu[@]}" 2>"$vm_run/qemu.log" >/dev/null </dev/null &
	fi
	machine=$!
	kill_at_exit $machine
	watch_boot $machine &
	kill_at_exit $!
	wait $machine || status=$?
	((${#readers[@]} == 0)) || wait "${readers[@]}"
	# Not a matter of what runs in it: the emulation now and then has a kernel trip over its own code while it patches that.
	if [[ ! -e $vm_run/up ]] && ((try < boot_tries)) && { [[ -e $vm_run/hung ]] || ((status != 124 && status != 137 && status != 143)); }; then
		say "vm: the kernel ($vm_version) did not come up ($([[ -e $vm_run/hung ]] && echo "it hung" || echo "it crashed")); trying again"
		status=0
		RINGSTEP_VM_TRY=$((try + 1)) "$repo/dev" vm "${arguments[@]}" || status=$?
		exit $status
	fi
	[[ ! -e $vm_run/hung ]] || say "vm: no boot got as far as its init within $boot_seconds s"
	finish_vm $status
}

help_vm() {
	cat <<-'END'
		./dev vm [options] [--] [COMMAND ARGUMENTS…]
		./dev vm --keep KERNEL [options]
		./dev vm --stop [KERNEL]

		Runs a command in a virtual machine: in the kernel you name, with the tool box as its (read-only) root, and the same folders as
		in ./dev run, writable. Hands back the command's output and exit status. Without a command: a shell.

		--keep boots a machine that stays up. Later commands for the same kernel run in it, within a second or two: they see programs
		that you have built meanwhile, each has an empty /tmp, and several may run at a time. The machine is started again after
		the kernel has complained and after a command that was ended by its time limit. --stop ends it (all of them without KERNEL);
		so does nobody using it for two hours.

		  --kernel KERNEL    7.1, 7.3, 6.12 … (its newest point release), 7.3.4, newest or oldest (with the feature), 7.3-rt or newest-rt
		                     (with PREEMPT_RT), 6.12-ringstep or next (with our patches: ./dev kernel), or the path of a bzImage, with its modules in modules/ and
		                     its configuration in config beside it, where there are any. Without this: newest
		  --time SECONDS     end it after that time (300; 0 for no limit), start of the machine included if it is started for this
		  --memory MiB       memory (2048)
		  --cpus N           processors (2)
		  --icount           one processor, and a clock by which each instruction takes one nanosecond: repeatable figures
		  --plugin FILE[,ARGS]  with --icount: load this plugin into QEMU (tools/profile/count.c is one)
		  --user             run the command as an ordinary user (65534) and not as root
		  --tty              give the command a terminal. A shell has one anyway
		  --net              a network, by way of this machine (not in kernels that come without modules)
		  --wire MODEL       two network devices, connected with each other: virtio-net-pci, e1000e … as QEMU names them. The kernel needs
		                     their driver: next has those two
		  --disk MiB         an empty disk, /dev/nvme0n1
		  --env NAME[=VALUE] pass this variable. PATH, HOME, TERM, LANG, RINGSTEP_*, CATCH_*, GTEST_* and *SAN_OPTIONS are passed anyway
		  --append "ARGS"    more kernel arguments
		  --own              start a machine for this command alone, even if one is kept up
		  --verbose          the kernel's messages on stderr afterwards

		For ctest, and for one of its tests by hand:

		  --test NAME        run the command as that test, in the machine that tests with this kernel and these options share, which is
		                     started if need be. Fails also if the kernel complains, or if the command leaves anything behind:
		                     processes, mounts, files, BPF programs, settings of the kernel
		  --test-start       start that machine
		  --test-stop        end it; fails if its kernel has complained when no test ran

		Exit status: the command's; 124 when the time was up; 125 when the kernel crashed or did not start; 126 when the command
		succeeded, but the kernel is one with our patches and has complained (WARNING, BUG, KASAN, UBSAN …), or with --test for the
		reasons above.
		In the machine, RINGSTEP_VM_KERNEL and RINGSTEP_VM_ACCEL say where the command runs. Files that change here while the command
		runs do not change there.
	END
}
