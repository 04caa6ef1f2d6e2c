# Servers and the proxy, with programs of others: clients, servers and proxies from Debian's packages.

# ringstep_add_foreign_test(<name> TARGETS target… [HERE argument…] [KERNEL argument…] [NOT_HERE])
#
# A script in net/foreign/, which gets the programs of the targets as its arguments: by the user engine on this machine, with HERE behind
# them, and by the kernel engine in the newest kernel, with KERNEL behind them. With NOT_HERE, only there.
function(ringstep_add_foreign_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "NOT_HERE" "" "TARGETS;HERE;KERNEL")
  set(command "${CMAKE_CURRENT_SOURCE_DIR}/net/foreign/${name}.sh")
  foreach(target IN LISTS arg_TARGETS)
    list(APPEND command "$<TARGET_FILE:${target}>")
  endforeach()
  if(NOT arg_NOT_HERE)
    add_test(NAME user/net/foreign/${name} COMMAND ${command} ${arg_HERE})
    set_tests_properties(user/net/foreign/${name} PROPERTIES LABELS "host;user" TIMEOUT 300 ENVIRONMENT RINGSTEP_ENGINE=user)
  endif()
  list(GET RINGSTEP_TEST_KERNELS -1 newest)
  # One processor, for the reason that net/proxy has one: servers hand a shutdown to a worker, too, when they close before their peer does.
  ringstep_add_vm_test(${newest} net/foreign/${name} TIMEOUT 240 VM_OPTIONS --cpus 1 COMMAND ${command} ${arg_KERNEL})
  set_tests_properties(${newest}/net/foreign/${name} PROPERTIES ENVIRONMENT RINGSTEP_ENGINE=kernel SKIP_RETURN_CODE 77)
endfunction()

ringstep_add_foreign_test(curl TARGETS http-server)
ringstep_add_foreign_test(load TARGETS http-server KERNEL 1000)
ringstep_add_foreign_test(in_front TARGETS http-server KERNEL 200)
ringstep_add_foreign_test(behind TARGETS ringstep-proxy KERNEL 200)
ringstep_add_foreign_test(streams TARGETS ringstep-proxy KERNEL 2)
ringstep_add_foreign_test(differential TARGETS http-server HERE 4000 KERNEL 300)
# This machine's kernel need not have netem.
ringstep_add_foreign_test(netem NOT_HERE TARGETS http-server key-value ringstep-proxy)
ringstep_add_foreign_test(redis TARGETS ringstep-proxy key-value KERNEL 200 300)
ringstep_add_foreign_test(upstreams TARGETS ringstep-proxy KERNEL 200)
ringstep_add_foreign_test(limits TARGETS http-server key-value ringstep-proxy KERNEL 5)
ringstep_add_foreign_test(faults TARGETS http-server key-value KERNEL 300 1200)

# The servers that the benchmark compares answer alike, also to its load.
add_test(NAME host/bench/servers COMMAND "${PROJECT_SOURCE_DIR}/bench/servers.py" --runs 1 --requests 64 --connections 2 --pipelines 2)
set_tests_properties(host/bench/servers PROPERTIES LABELS host TIMEOUT 300)
